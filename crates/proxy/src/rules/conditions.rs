//! Owns what each condition of a rule means. The index must agree with it and is tested against it.

use evenkeel_config::plan::{CertificatePart, Conditions, HostPattern, PathPattern, RulePlan};

use super::{Asked, further, wildcard};

/// A condition of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'r> {
    /// Its `listeners`.
    Listener,
    /// Its hosts.
    Host,
    /// Its paths.
    Path,
    /// Its methods.
    Method,
    /// Its `source`: where the connection comes from.
    Source,
    /// The `client` of its `source`.
    Client,
    /// Its values of the field of this name, in lower case.
    Header(&'r str),
    /// Its values of the cookie of this name.
    Cookie(&'r str),
    /// Its values there of the client's certificate.
    Certificate(CertificatePart),
    /// Its `query`.
    Query,
    /// Its `not`: what must not hold does.
    Not,
}

/// The first condition of a rule that does not hold; none: the rule holds.
#[must_use]
pub fn unmet<'r>(rule: &'r RulePlan, asked: &Asked<'_>) -> Option<Condition<'r>> {
    if !one(&rule.listeners, |&listener| listener == asked.listener) {
        return Some(Condition::Listener);
    }
    unmet_of(&rule.when, asked)
}

/// The same of conditions that stand in no listener's place.
pub(super) fn unmet_of<'r>(when: &'r Conditions, asked: &Asked<'_>) -> Option<Condition<'r>> {
    if !one(&when.hosts, |host| host_holds(host, asked.host)) {
        return Some(Condition::Host);
    }
    if !one(&when.paths, |path| path_holds(path, asked.path)) {
        return Some(Condition::Path);
    }
    if !one(&when.methods, |method| method.as_bytes() == asked.method) {
        return Some(Condition::Method);
    }
    further::unmet(&when.further, asked)
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
