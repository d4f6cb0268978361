//! Owns `rules:`.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::{Placed, RawRule};
use crate::keys::{PATH, REDIRECT, RESPOND, RULE, RULE_LIMITS, RULE_TIMEOUTS, WHEN};
use crate::limits;
use crate::plan::{
    Action, Conditions, HostPattern, PathPattern, RedirectPlan, RespondPlan, RulePlan, Wildcard,
};
use crate::problem::At;
use crate::read::{Fields, Reading};
use crate::tree::{Node, Value};

/// The longest answer of a rule.
const BODY_MOST: usize = 64 * 1024;

/// The most characters of a pattern with wildcards, and of wildcards in it (ALB's limits).
const WILDCARD_MOST: (usize, usize) = (128, 5);

/// The most bytes that a compiled expression may take.
const REGEX_BYTES: usize = 1 << 20;

pub(super) fn read(reading: &Reading, node: &Node, into: &mut Vec<Placed<RawRule>>) {
    let earlier = into
        .iter()
        .map(|placed| (placed.part.rule.name.clone(), placed.at));
    let mut seen: HashMap<Arc<str>, At> = earlier.collect();
    for (number, item) in reading.items(node).iter().enumerate() {
        if let Some(fields) = reading.map(item, &RULE) {
            let raw = rule(number, fields);
            let at = item.at;
            if let Some(raw) = raw {
                if let Some(earlier) = seen.insert(raw.rule.name.clone(), at) {
                    reading.error_with(
                        at,
                        "duplicate_name",
                        format!("two rules are called `{}`", raw.rule.name),
                        earlier,
                    );
                }
                into.push(Placed { at, part: raw });
            }
        }
    }
}

/// The rule of a file that has none.
pub(super) fn everything(service: &str) -> RawRule {
    RawRule {
        rule: RulePlan {
            name: limits::RULE_NAME.into(),
            priority: limits::PRIORITY,
            listeners: Vec::new(),
            when: Conditions::default(),
            action: Action::Forward(0),
            exchange: None,
            body: None,
        },
        service: Some((
            At {
                file: 0,
                line: 1,
                column: 1,
                length: 1,
            },
            service.to_owned(),
        )),
        listeners: Vec::new(),
    }
}

fn rule(number: usize, fields: Fields<'_>) -> Option<RawRule> {
    let reading = fields.reading;
    let name = fields
        .text("name")
        .unwrap_or_else(|| format!("rule-{}", number + 1));
    let priority = fields.number("priority");
    let listeners = fields.get("listeners").map(|node| {
        let names = reading.items(node).iter();
        names
            .filter_map(|node| Some((node.at, reading.text(node)?)))
            .collect()
    });
    let when = fields
        .map("when", &WHEN)
        .map(conditions)
        .unwrap_or_default();
    let (action, service) = action(&fields, &name);
    let mut exchange = None;
    if let Some(map) = fields.map("timeouts", &RULE_TIMEOUTS) {
        exchange = map.with("exchange", Reading::wait);
        map.done();
    }
    let mut body = None;
    if let Some(map) = fields.map("limits", &RULE_LIMITS) {
        body = map.with("body", Reading::size);
        map.done();
    }
    fields.done();
    Some(RawRule {
        rule: RulePlan {
            name: name.as_str().into(),
            priority: priority.unwrap_or(limits::PRIORITY),
            listeners: Vec::new(),
            when,
            action: action?,
            exchange,
            body,
        },
        service,
        listeners: listeners.unwrap_or_default(),
    })
}

/// The one action of a rule, and the service that it names.
fn action(fields: &Fields<'_>, name: &str) -> (Option<Action>, Option<(At, String)>) {
    let reading = fields.reading;
    let mut service = None;
    let mut actions: Vec<(At, Option<Action>)> = Vec::new();
    if let Some((key, node)) = fields.entry("forward") {
        service = forward(reading, node);
        actions.push((key.at, service.is_some().then_some(Action::Forward(0))));
    }
    if let Some((key, node)) = fields.entry("redirect") {
        actions.push((key.at, redirect(reading, node).map(Action::Redirect)));
    }
    if let Some((key, node)) = fields.entry("respond") {
        actions.push((key.at, respond(reading, node).map(Action::Respond)));
    }
    if let [_, (second, _), ..] = &actions[..] {
        let message = "a rule has one of `forward`, `redirect` and `respond`";
        reading.error(*second, "two_actions", message);
    }
    if actions.is_empty() {
        let message =
            format!("rule `{name}` does nothing; give it `forward`, `redirect` or `respond`");
        reading.error(fields.at, "missing", message);
    }
    (
        actions.into_iter().next().and_then(|(_, action)| action),
        service,
    )
}

/// `forward: api`, or `{ api: 100 }`, which says the same.
fn forward(reading: &Reading, node: &Node) -> Option<(At, String)> {
    match &node.value {
        Value::Map(entries) if entries.len() == 1 => {
            entries.first().map(|(key, _)| (key.at, key.text.clone()))
        }
        Value::Map(_) => {
            reading.error(
                node.at,
                "not_yet",
                "a split over several services is not built yet; name one",
            );
            None
        }
        _ => Some((node.at, reading.text(node)?)),
    }
}

fn conditions(map: Fields<'_>) -> Conditions {
    let reading = map.reading;
    fn each<T>(
        map: &Fields<'_>,
        key: &'static str,
        read: impl Fn(&Reading, &Node) -> Option<T>,
    ) -> Vec<T> {
        let reading = map.reading;
        map.get(key).map_or_else(Vec::new, |node| {
            reading
                .items(node)
                .iter()
                .filter_map(|node| read(reading, node))
                .collect()
        })
    }
    let when = Conditions {
        hosts: each(&map, "host", |reading, node| {
            reading.parsed(node, "host", host)
        }),
        paths: each(&map, "path", path),
        methods: each(&map, "method", |reading, node| {
            reading.parsed(node, "method", method)
        }),
    };
    for key in ["host", "path", "method"] {
        if let Some(node) = map.get(key)
            && matches!(&node.value, Value::List(items) if items.is_empty())
        {
            reading.error(
                node.at,
                "empty",
                format!("an empty list of `{key}` holds for nothing; leave it out or fill it"),
            );
        }
    }
    map.done();
    when
}

fn method(text: &str) -> Result<Arc<str>, String> {
    let token = !text.is_empty()
        && text.len() <= 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !token {
        return Err(format!("`{text}` is no method"));
    }
    if text != text.to_ascii_uppercase() {
        return Err(format!(
            "methods are case-sensitive; did you mean `{}`?",
            text.to_ascii_uppercase()
        ));
    }
    Ok(text.into())
}

fn host(text: &str) -> Result<HostPattern, String> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    if name.contains("://") || name.contains('/') {
        return Err(format!("a host has no scheme and no path: `{text}`"));
    }
    let bracketed = name.starts_with('[');
    if !bracketed && name.contains(':') {
        return Err(format!("a host is matched without its port: `{text}`"));
    }
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if let Some(suffix) = name.strip_prefix('*')
        && suffix.starts_with('.')
        && plain(&suffix[1..])
    {
        return Ok(HostPattern::Suffix(suffix.into()));
    }
    if name.contains(['*', '?']) {
        return wildcard(name).map(HostPattern::Wildcard);
    }
    let address = bracketed
        && name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .is_some_and(|name| name.parse::<std::net::Ipv6Addr>().is_ok());
    if !address && !plain(name) {
        return Err(format!(
            "`{text}` is no host; names beyond ASCII are written in their `xn--` form"
        ));
    }
    Ok(HostPattern::Exact(name.into()))
}

fn wildcard(pattern: &str) -> Result<Wildcard, String> {
    let stars = pattern
        .bytes()
        .filter(|byte| matches!(byte, b'*' | b'?'))
        .count();
    if pattern.len() > WILDCARD_MOST.0 || stars > WILDCARD_MOST.1 {
        return Err(format!(
            "a pattern has at most {} characters and {} of `*` and `?`",
            WILDCARD_MOST.0, WILDCARD_MOST.1
        ));
    }
    Ok(Wildcard::new(pattern))
}

fn path(reading: &Reading, node: &Node) -> Option<PathPattern> {
    if !matches!(node.value, Value::Map(_)) {
        return reading.parsed(node, "path", |text| match text.contains(['*', '?']) {
            true => wildcard(text).map(PathPattern::Wildcard),
            false => exact(text).map(PathPattern::Exact),
        });
    }
    let map = reading.map(node, &PATH)?;
    let exact = map.with("exact", |reading, node| {
        reading.parsed(node, "path", exact).map(PathPattern::Exact)
    });
    let prefix = map.with("prefix", |reading, node| {
        reading
            .parsed(node, "path", prefix)
            .map(PathPattern::Prefix)
    });
    let regex = map.with("regex", |reading, node| {
        reading.parsed(node, "regex", regex).map(PathPattern::Regex)
    });
    let given = PATH.one_of.iter().filter(|key| map.stands(key).is_some());
    if given.count() != 1 {
        let message = "a path is one of `exact`, `prefix` and `regex`";
        reading.error(map.at, "one_pattern", message);
    }
    map.done();
    exact.or(prefix).or(regex)
}

fn exact(text: &str) -> Result<Arc<str>, String> {
    normal(text)?;
    Ok(text.into())
}

fn prefix(text: &str) -> Result<Arc<str>, String> {
    normal(text)?;
    Ok(text.strip_suffix('/').unwrap_or(text).into())
}

/// Whether every escape is one that the normal form of a path has.
fn escapes_are_normal(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.get(..2).filter(|digits| {
            let upper = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
            digits.bytes().all(upper)
        });
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_some_and(|byte| {
            byte != 0 && !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte)
        })
    })
}

/// A path that requests can have: in the form in which rules see it.
fn normal(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("a path begins with a slash: `/{text}`"));
    }
    if text.contains('?') {
        return Err(format!(
            "`{text}`: a path has no query and, as `exact` or `prefix`, no `?`"
        ));
    }
    if !escapes_are_normal(text) {
        return Err(format!(
            "`{text}` can be no request's path: rules see escapes in upper case, and letters, digits, `-`, `.`, `_` and `~` plain"
        ));
    }
    if text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "`{text}` can be no request's path; what is not plain ASCII is written in its `%XX` form"
        ));
    }
    let dots = text.split('/').any(|segment| matches!(segment, "." | ".."));
    if text.contains("//") || dots {
        return Err(format!(
            "`{text}` can be no request's path: rules see paths without `//`, `.` and `..`"
        ));
    }
    Ok(())
}

fn regex(text: &str) -> Result<regex::bytes::Regex, String> {
    regex::bytes::RegexBuilder::new(text)
        .size_limit(REGEX_BYTES)
        .build()
        .map_err(|error| {
            let last = error.to_string();
            format!(
                "not a usable expression: {}",
                last.lines().last().unwrap_or(&last)
            )
        })
}

fn redirect(reading: &Reading, node: &Node) -> Option<RedirectPlan> {
    let map = reading.map(node, &REDIRECT)?;
    let status = map.number("status");
    if let (Some(status), Some(node)) = (status, map.get("status"))
        && !matches!(status, 301 | 302 | 303 | 307 | 308)
    {
        let message = "a redirect's status is 301, 302, 303, 307 or 308";
        reading.error(node.at, "range", message);
    }
    let scheme = map.word("scheme").map(Arc::from);
    let host = map.with("host", |reading, node| {
        reading.parsed(node, "host", |text| match host(text)? {
            HostPattern::Exact(name) => Ok(name),
            _ => Err("a redirect leads to one host".into()),
        })
    });
    let port = map.number("port").and_then(NonZeroU16::new);
    let path = map.with("path", |reading, node| {
        reading.parsed(node, "path", |text| {
            if text.contains("#{") {
                return Err("placeholders are not built yet".into());
            }
            exact(text)
        })
    });
    let query = map.with("query", |reading, node| {
        reading.parsed(node, "query", |text| {
            let sound = text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#');
            if sound {
                Ok(Arc::from(text))
            } else {
                Err("a query holds visible ASCII without `#`".into())
            }
        })
    });
    let at = map.at;
    map.done();
    if scheme.is_none() && host.is_none() && port.is_none() && path.is_none() && query.is_none() {
        reading.error(at, "redirect_loop", "this redirect leads to where it comes from; change its scheme, host, port, path or query");
        return None;
    }
    Some(RedirectPlan {
        status: status.unwrap_or(limits::REDIRECT_STATUS),
        scheme,
        host,
        port,
        path,
        query,
    })
}

fn respond(reading: &Reading, node: &Node) -> Option<RespondPlan> {
    let map = reading.map(node, &RESPOND)?;
    let status = map.number("status");
    let content_type = map.with("content_type", |reading, node| {
        reading.parsed(node, "value", |text| {
            let sound = !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() || byte == b' ');
            if sound {
                Ok(Arc::from(text))
            } else {
                Err("a media type is plain ASCII".into())
            }
        })
    });
    let body = map.text("body").unwrap_or_default();
    if body.len() > BODY_MOST {
        reading.error(
            map.at,
            "range",
            format!("an answer's body has at most {} KiB", BODY_MOST / 1024),
        );
    }
    map.done();
    Some(RespondPlan {
        status: status.unwrap_or(limits::RESPOND_STATUS),
        content_type: content_type.unwrap_or_else(|| limits::RESPOND_TYPE.into()),
        body: body.into_bytes().into(),
    })
}
