//! Owns how conditions are shown to people: what a rule asks, as a configuration has it, and what a request has.

use std::fmt::Display;

use evenkeel_config::Plan;
use evenkeel_config::plan::{
    CertificatePart, Conditions, Further, HostPattern, Parameter, PathPattern, RulePlan,
    TextPattern,
};

use super::conditions::{Condition, host_holds, unmet_of};
use super::{Asked, further};
use crate::decide;

/// Bytes of a text that are looked through for secrets, from each word of it on; a longer one is not shown.
const LOOKED_AT: usize = 256;

/// Fields whose values a client says of itself to any server: what is asked of them is no secret. All others may have one whatever they
/// are called, as what a CDN sends so that nobody goes past it (`X-Origin-Verify`).
const PLAIN_FIELDS: [&str; 22] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-type",
    "expect",
    "host",
    "range",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "te",
    "upgrade",
    "user-agent",
    "x-forwarded-proto",
];

/// Whether what is asked of this field is no secret.
#[must_use]
pub fn is_plain_field(name: &str) -> bool {
    PLAIN_FIELDS
        .iter()
        .any(|one| name.eq_ignore_ascii_case(one))
}

/// The same of keys of a query. Of cookies there are none: each is its site's own.
const PLAIN_KEYS: [&str; 10] = [
    "format", "lang", "language", "limit", "locale", "offset", "order", "page", "sort", "version",
];

/// The key of a rule that asks a condition, and the name below it where there is one.
pub(crate) fn word(condition: Condition<'_>) -> String {
    match condition {
        Condition::Listener => "listeners".into(),
        Condition::Host => "host".into(),
        Condition::Path => "path".into(),
        Condition::Method => "method".into(),
        Condition::Source => "source".into(),
        Condition::Client => "source.client".into(),
        Condition::Header(name) => format!("header.{name}"),
        Condition::Cookie(name) => format!("cookie.{name}"),
        Condition::Certificate(part) => match part {
            CertificatePart::Whole => "client_certificate".into(),
            CertificatePart::Subject => "client_certificate.subject".into(),
            CertificatePart::Fingerprint => "client_certificate.fingerprint".into(),
            CertificatePart::San => "client_certificate.san".into(),
        },
        Condition::Query => "query".into(),
        Condition::Not => "not".into(),
    }
}

/// How far a rule came before this condition did not hold: they are asked in this order.
pub(crate) const fn reached(condition: Condition<'_>) -> u8 {
    match condition {
        Condition::Listener => 0,
        Condition::Host => 1,
        Condition::Path => 2,
        Condition::Method => 3,
        // One after another, in the order of their kinds.
        Condition::Source
        | Condition::Client
        | Condition::Certificate(_)
        | Condition::Header(_)
        | Condition::Cookie(_)
        | Condition::Query
        | Condition::Not => 4,
    }
}

/// What a rule asks by one of its conditions.
pub(crate) fn wants(
    rule: &RulePlan,
    asked: &Asked<'_>,
    condition: Condition<'_>,
    plan: &Plan,
) -> Vec<String> {
    let when = &rule.when;
    let missed = |pattern| !host_holds(pattern, asked.host);
    match condition {
        Condition::Listener => each(&rule.listeners, |&at| name_of(plan, at)),
        // Where they hold, it is the map that does not.
        Condition::Host if !when.hosts.is_empty() && when.hosts.iter().all(missed) => {
            each(&when.hosts, host)
        }
        Condition::Path => each(&when.paths, path),
        Condition::Method => each(&when.methods, ToString::to_string),
        _ => {
            let asks = |further: &&Further| further::condition(further) == condition;
            when.further
                .iter()
                .find(asks)
                .map(values)
                .unwrap_or_default()
        }
    }
}

/// What a request has there.
pub(crate) fn has(
    rule: &RulePlan,
    asked: &Asked<'_>,
    condition: Condition<'_>,
    plan: &Plan,
) -> String {
    match condition {
        Condition::Listener => name_of(plan, asked.listener),
        Condition::Host => asked.host.to_owned(),
        Condition::Path => text(asked.path),
        Condition::Method => text(asked.method),
        Condition::Source => asked.peer.to_string(),
        Condition::Client => asked.client.to_string(),
        Condition::Header(name) => listed(asked.head.values(name.as_bytes())),
        Condition::Cookie(name) => listed(decide::cookies(asked.head, name.as_bytes())),
        Condition::Certificate(part) => listed(further::certified(part, asked)),
        Condition::Query => asked.head.query().map_or_else(|| "none".into(), text),
        Condition::Not => {
            let parts = rule.when.further.iter().flat_map(|further| match further {
                Further::Not(parts) => parts.as_slice(),
                _ => &[],
            });
            let mut holding = parts.filter(|part| unmet_of(part, asked).is_none());
            holding.next().map_or_else(String::new, all)
        }
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

/// Values of which one is enough; of `not`, none.
fn values(further: &Further) -> Vec<String> {
    match further {
        Further::Hosts(map) => vec![format!("one of {} hosts of a file", map.hosts())],
        Further::Peer(networks) | Further::Client(networks) => {
            networks.iter().map(|network| network.to_string()).collect()
        }
        Further::Header(named) | Further::Cookie(named) => each(&named.values, value),
        Further::Certificate(certified) if certified.part == CertificatePart::Whole => {
            let word = |value: &TextPattern| match value {
                TextPattern::Absent => "none".into(),
                _ => "any".into(),
            };
            each(&certified.values, word)
        }
        Further::Certificate(certified) => each(&certified.values, value),
        Further::Query(lists) => each(lists, |list| each(list, parameter).join(" and ")),
        Further::Not(parts) => each(parts, |part| format!("none of {}", all(part))),
    }
}

fn value(pattern: &TextPattern) -> String {
    match pattern {
        TextPattern::Present => "present".into(),
        TextPattern::Absent => "present: false".into(),
        TextPattern::Exact(text) => format!("exact: {text}"),
        TextPattern::AnyCase(text) => text.to_string(),
        TextPattern::Wildcard(wildcard) | TextPattern::WildcardAnyCase(wildcard) => {
            wildcard.as_str().to_owned()
        }
        TextPattern::Regex(regex) => format!("regex: {regex}"),
    }
}

fn parameter(one: &Parameter) -> String {
    format!(
        "{}: {}",
        value(&one.key),
        each(&one.values, value).join(" or ")
    )
}

/// What a rule asks: the key of each condition, and its values, of which one is enough. Left out are those of fields, cookies and keys of
/// the query that are not known to have no secrets, and of a condition that has one by `hides`, which is asked of names (of a field, a
/// key of the query; else empty) with a text beside each. Whether one is there at all is no value.
#[must_use]
pub fn asks(when: &Conditions, hides: &dyn Fn(&[u8], &[u8]) -> bool) -> Vec<(String, Vec<String>)> {
    let shown = |texts: &[&str], values: Vec<String>| {
        let hidden = texts.iter().any(|text| hides_any(b"", text, hides));
        if hidden { not_shown() } else { values }
    };
    let hosts: Vec<_> = when.hosts.iter().map(host_text).collect();
    let paths: Vec<_> = when.paths.iter().map(path_text).collect();
    let own = [
        ("host", shown(&hosts, each(&when.hosts, host))),
        ("path", shown(&paths, each(&when.paths, path))),
        ("method", each(&when.methods, ToString::to_string)),
    ];
    let own = own.into_iter().filter(|(_, values)| !values.is_empty());
    let mut asked: Vec<_> = own.map(|(key, values)| (key.to_owned(), values)).collect();
    for further in &*when.further {
        let values = match is_hidden(further, hides) {
            true => not_shown(),
            false => values(further),
        };
        asked.push((word(further::condition(further)), values));
    }
    asked
}

fn not_shown() -> Vec<String> {
    vec!["(not shown)".into()]
}

/// Whether it has values that nobody is to be shown, however deep.
fn is_hidden(further: &Further, hides: &dyn Fn(&[u8], &[u8]) -> bool) -> bool {
    let any = |name: &str, values: &[TextPattern]| {
        let mut texts = values.iter().filter_map(pattern_text);
        hides(name.as_bytes(), b"") || texts.any(|text| hides_any(name.as_bytes(), text, hides))
    };
    let has_text = |values: &[TextPattern]| values.iter().any(|one| pattern_text(one).is_some());
    let among = |plain: &[&str], name: &str| plain.iter().any(|one| name.eq_ignore_ascii_case(one));
    match further {
        Further::Header(named) if is_plain_field(&named.name) => any(&named.name, &named.values),
        Further::Header(named) | Further::Cookie(named) => has_text(&named.values),
        Further::Query(lists) => lists.iter().flatten().any(|one| match &one.key {
            TextPattern::Exact(key) | TextPattern::AnyCase(key) if among(&PLAIN_KEYS, key) => {
                any(key, &one.values)
            }
            TextPattern::Exact(key) | TextPattern::AnyCase(key) => {
                has_text(&one.values) || hides_any(b"", key, hides)
            }
            // What it matches may be a secret's name, whatever it looks like.
            _ => has_text(&one.values),
        }),
        Further::Certificate(certified) => any("", &certified.values),
        Further::Not(parts) => parts.iter().any(|part| {
            let own = part.hosts.iter().map(host_text);
            let mut own = own.chain(part.paths.iter().map(path_text));
            own.any(|text| hides_any(b"", text, hides))
                || part.further.iter().any(|within| is_hidden(within, hides))
        }),
        Further::Hosts(_) | Further::Peer(_) | Further::Client(_) => false,
    }
}

/// Whether a text is hidden, or what it has from one of its words on: a pattern begins before the secret does (`*`, `(?i)`, `^`), a
/// path has other parts before it.
fn hides_any(name: &[u8], text: &str, hides: &dyn Fn(&[u8], &[u8]) -> bool) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() > LOOKED_AT {
        return true;
    }
    let begins = |at: usize| {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        before.is_none_or(|byte| !byte.is_ascii_alphanumeric())
    };
    let mut words = (0..bytes.len()).filter(|&at| begins(at));
    words.any(|at| hides(name, &bytes[at..]))
}

fn host_text(pattern: &HostPattern) -> &str {
    match pattern {
        HostPattern::Exact(name) => name,
        HostPattern::Suffix(suffix) => suffix,
        HostPattern::Wildcard(wildcard) => wildcard.as_str(),
    }
}

fn path_text(pattern: &PathPattern) -> &str {
    match pattern {
        PathPattern::Exact(path) | PathPattern::Prefix(path) => path,
        PathPattern::Wildcard(wildcard) => wildcard.as_str(),
        PathPattern::Regex(regex) => regex.as_str(),
    }
}

/// None: it has no text of its own.
fn pattern_text(pattern: &TextPattern) -> Option<&str> {
    match pattern {
        TextPattern::Present | TextPattern::Absent => None,
        TextPattern::Exact(text) | TextPattern::AnyCase(text) => Some(text),
        TextPattern::Wildcard(wildcard) | TextPattern::WildcardAnyCase(wildcard) => {
            Some(wildcard.as_str())
        }
        TextPattern::Regex(regex) => Some(regex.as_str()),
    }
}

/// All conditions of one part of a `not`.
fn all(when: &Conditions) -> String {
    let parts = asks(when, &|_, _| false).into_iter();
    let parts: Vec<_> = parts
        .filter(|(_, values)| !values.is_empty())
        .map(|(key, values)| format!("{key} {}", values.join(" or ")))
        .collect();
    parts.join(", ")
}

fn listed<'v>(values: impl Iterator<Item = &'v [u8]>) -> String {
    let values: Vec<_> = values.map(text).collect();
    match values.is_empty() {
        true => "none".into(),
        false => values.join(", "),
    }
}
