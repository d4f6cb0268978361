//! Owns how conditions are shown to people: what a rule asks, as a configuration has it, and what a request has.

use std::fmt::Display;

use evenkeel_config::Plan;
use evenkeel_config::plan::{HostPattern, PathPattern, RulePlan};

use super::Asked;
use super::conditions::Condition;

/// The key of a rule that asks a condition, and the name below it where there is one.
pub(crate) fn word(condition: Condition) -> String {
    match condition {
        Condition::Listener => "listeners".into(),
        Condition::Host => "host".into(),
        Condition::Path => "path".into(),
        Condition::Method => "method".into(),
    }
}

/// How far a rule came before this condition did not hold: they are asked in this order.
pub(crate) const fn reached(condition: Condition) -> u8 {
    match condition {
        Condition::Listener => 0,
        Condition::Host => 1,
        Condition::Path => 2,
        Condition::Method => 3,
    }
}

/// What a rule asks by one of its conditions.
pub(crate) fn wants(rule: &RulePlan, condition: Condition, plan: &Plan) -> Vec<String> {
    let when = &rule.when;
    match condition {
        Condition::Listener => each(&rule.listeners, |&at| name_of(plan, at)),
        Condition::Host => each(&when.hosts, host),
        Condition::Path => each(&when.paths, path),
        Condition::Method => each(&when.methods, ToString::to_string),
    }
}

/// What a request has there.
pub(crate) fn has(asked: &Asked<'_>, condition: Condition, plan: &Plan) -> String {
    match condition {
        Condition::Listener => name_of(plan, asked.listener),
        Condition::Host => asked.host.to_owned(),
        Condition::Path => text(asked.path),
        Condition::Method => text(asked.method),
    }
}

fn each<T>(list: &[T], show: impl FnMut(&T) -> String) -> Vec<String> {
    list.iter().map(show).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn name_of(plan: &Plan, listener: usize) -> String {
    let listener = plan.listeners.get(listener);
    listener.map_or_else(String::new, |listener| listener.name.to_string())
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
        HostPattern::Wildcard(wildcard) => wildcard.as_str().to_owned(),
    }
}

fn path(pattern: &PathPattern) -> String {
    let keyed = |key: &str, value: &dyn Display| format!("{key}: {value}");
    match pattern {
        PathPattern::Exact(path) => path.to_string(),
        PathPattern::Prefix(prefix) if prefix.is_empty() => keyed("prefix", &"/"),
        PathPattern::Prefix(prefix) => keyed("prefix", prefix),
        PathPattern::Wildcard(wildcard) => wildcard.as_str().to_owned(),
        PathPattern::Regex(regex) => keyed("regex", regex),
    }
}
