//! Owns what each condition of a rule means. The index must agree with it and is tested against it.

use evenkeel_config::plan::{HostPattern, PathPattern, RulePlan};

use super::{Asked, wildcard};

/// Whether all conditions of a rule hold.
pub(super) fn hold(rule: &RulePlan, asked: &Asked<'_>) -> bool {
    let when = &rule.when;
    one(&rule.listeners, |&listener| listener == asked.listener)
        && one(&when.methods, |method| method.as_bytes() == asked.method)
        && one(&when.hosts, |host| host_holds(host, asked.host))
        && one(&when.paths, |path| path_holds(path, asked.path))
}

/// An empty list asks nothing; otherwise one is enough.
fn one<T>(list: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(holds)
}

pub(super) fn host_holds(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(name) => **name == *host,
        HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        HostPattern::Wildcard(wildcard) => {
            wildcard::matches(wildcard.as_str().as_bytes(), host.as_bytes())
        }
    }
}

pub(super) fn path_holds(pattern: &PathPattern, path: &[u8]) -> bool {
    match pattern {
        PathPattern::Exact(exact) => exact.as_bytes() == path,
        PathPattern::Prefix(prefix) => path
            .strip_prefix(prefix.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/'),
        PathPattern::Wildcard(wildcard) => wildcard::matches(wildcard.as_str().as_bytes(), path),
        PathPattern::Regex(regex) => regex.is_match(path),
    }
}
