//! Owns `rules:`.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::paths::{self, Unusual, exact, wildcard};
use super::{Placed, RawRule};
use crate::keys::{REDIRECT, RESPOND, RULE, RULE_LIMITS, RULE_TIMEOUTS, WHEN};
use crate::limits;
use crate::plan::{Action, Conditions, HostPattern, RedirectPlan, RespondPlan, RulePlan};
use crate::problem::At;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// The longest answer of a rule.
const BODY_MOST: usize = 64 * 1024;

/// The longest host that a request may name.
const HOST_MOST: usize = 255;

pub(super) fn read(reading: &Reading, node: &Node, into: &mut Vec<Placed<RawRule>>) {
    let earlier = into
        .iter()
        .map(|placed| (placed.part.rule.name.clone(), placed.at));
    let mut seen: HashMap<Arc<str>, At> = earlier.collect();
    let room = limits::RULES.saturating_sub(into.len());
    let what = format!("{} rules", limits::RULES);
    let items = reading.first(reading.items(node), room, |node| node.at, &what);
    for (number, item) in items.iter().enumerate() {
        if let Some(fields) = reading.map(item, &RULE) {
            let raw = rule(number, fields);
            let at = item.at;
            if let Some(raw) = raw {
                if let Some(earlier) = seen.insert(raw.rule.name.clone(), at) {
                    reading.error_with(
                        at,
                        "duplicate_name",
                        format!("two rules are called `{}`", raw.shown),
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
            idle_body: None,
            body: None,
        },
        shown: limits::RULE_NAME.into(),
        service: Some((
            At {
                file: 0,
                line: 1,
                column: 1,
                length: 1,
            },
            Scalar::plain(service),
        )),
        listeners: Vec::new(),
        whole: true,
        unusual: Vec::new(),
    }
}

fn rule(number: usize, fields: Fields<'_>) -> Option<RawRule> {
    let reading = fields.reading;
    let name = fields
        .text("name")
        .unwrap_or_else(|| Scalar::plain(&format!("rule-{}", number + 1)));
    let priority = fields.number("priority");
    let listeners = fields.get("listeners").map(|node| {
        let names = values(reading, node, "listeners");
        names
            .iter()
            .filter_map(|node| Some((node.at, reading.text(node)?)))
            .collect()
    });
    let unusual = Unusual::default();
    let (when, whole) = match fields.get("when") {
        None => (Conditions::default(), true),
        Some(node) => reading
            .map(node, &WHEN)
            .map(|map| conditions(map, &unusual))
            .unwrap_or_default(),
    };
    let (action, service) = action(&fields, &name);
    let (mut exchange, mut idle_body) = (None, None);
    if let Some(map) = fields.map("timeouts", &RULE_TIMEOUTS) {
        exchange = map.with("exchange", Reading::wait);
        idle_body = map.with("idle_body", Reading::wait);
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
            name: name.value().into(),
            priority: priority.unwrap_or(limits::PRIORITY),
            listeners: Vec::new(),
            when,
            action: action?,
            exchange,
            idle_body,
            body,
        },
        shown: name.to_string(),
        service,
        listeners: listeners.unwrap_or_default(),
        whole,
        unusual: unusual.into_inner(),
    })
}

/// The one action of a rule, and the service that it names.
fn action(fields: &Fields<'_>, name: &Scalar) -> (Option<Action>, Option<(At, Scalar)>) {
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
fn forward(reading: &Reading, node: &Node) -> Option<(At, Scalar)> {
    match &node.value {
        Value::Map(entries) if entries.len() == 1 => {
            let key = entries.first().map(|(key, _)| key);
            key.map(|key| (key.at, Scalar::plain(&key.text)))
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

/// The conditions, and whether all that stand there could be read.
fn conditions(map: Fields<'_>, unusual: &Unusual) -> (Conditions, bool) {
    let reading = map.reading;
    fn each<T>(
        map: &Fields<'_>,
        key: &'static str,
        read: impl Fn(&Reading, &Node) -> Option<T>,
    ) -> Vec<T> {
        let reading = map.reading;
        map.get(key).map_or_else(Vec::new, |node| {
            values(reading, node, key)
                .iter()
                .filter_map(|node| read(reading, node))
                .collect()
        })
    }
    let when = Conditions {
        hosts: each(&map, "host", |reading, node| {
            reading.parsed(node, "host", host)
        }),
        paths: each(&map, "path", |reading, node| {
            paths::path(reading, node, unusual)
        }),
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
    let count = |key| map.get(key).map_or(0, |node| reading.items(node).len());
    let stands = count("host") + count("path") + count("method");
    let whole = when.hosts.len() + when.paths.len() + when.methods.len() == stands;
    map.done();
    (when, whole)
}

/// The values of one condition.
fn values<'t>(reading: &Reading, node: &'t Node, key: &str) -> &'t [Node] {
    let most = limits::RULE_VALUES;
    let what = format!("{most} values of `{key}` in one rule");
    reading.first(reading.items(node), most, |node| node.at, &what)
}

fn method(written: &Scalar) -> Result<Arc<str>, String> {
    let text = written.value();
    let token = !text.is_empty()
        && text.len() <= 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !token {
        return Err(format!("`{written}` is no method"));
    }
    if text != text.to_ascii_uppercase() {
        return Err(format!(
            "methods are case-sensitive; did you mean `{}`?",
            written.spelled(str::to_ascii_uppercase)
        ));
    }
    Ok(text.into())
}

fn host(written: &Scalar) -> Result<HostPattern, String> {
    let text = written.value();
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    if name.contains("://") || name.contains('/') {
        return Err(format!("a host has no scheme and no path: `{written}`"));
    }
    let bracketed = name.starts_with('[');
    if !bracketed && name.contains(':') {
        return Err(format!("a host is matched without its port: `{written}`"));
    }
    // What the wire takes as a host, and no label of it empty.
    let label = |label: &str| {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.bytes().all(sound)
    };
    let plain = |text: &str| text.len() <= HOST_MOST && text.split('.').all(label);
    if let Some(suffix) = name.strip_prefix('*')
        && suffix.starts_with('.')
        && plain(&suffix[1..])
    {
        return Ok(HostPattern::Suffix(suffix.into()));
    }
    if name.contains(['*', '?']) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*?".contains(&byte);
        // An address in brackets holds colons; it can be meant by what begins so, or by a wildcard there.
        let letters = match bracketed {
            true => name
                .bytes()
                .all(|byte| plain(byte) || b"[:]".contains(&byte)),
            false => name.bytes().all(plain),
        };
        if !letters {
            return Err(format!(
                "`{written}` can be no request's host: names beyond ASCII are written in their `xn--` form"
            ));
        }
        return wildcard(name).map(HostPattern::Wildcard);
    }
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .and_then(|name| name.parse::<Ipv6Addr>().ok());
    // Rules see addresses in one spelling (RFC 5952).
    if let Some(address) = address {
        return Ok(HostPattern::Exact(format!("[{address}]").into()));
    }
    if name.len() > HOST_MOST {
        return Err(format!(
            "`{written}` can be no request's host: it has more than {HOST_MOST} characters"
        ));
    }
    if !plain(name) {
        return Err(format!(
            "`{written}` is no host; names beyond ASCII are written in their `xn--` form"
        ));
    }
    Ok(HostPattern::Exact(name.into()))
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
            if text.value().contains("#{") {
                return Err("placeholders are not built yet".into());
            }
            exact(text)
        })
    });
    let query = map.with("query", |reading, node| {
        reading.parsed(node, "query", |text| {
            let text = text.value();
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
    let content_type = map.with("content_type", super::pages::media_type);
    let text = map.text("body");
    let body = text.as_ref().map_or("", Scalar::value);
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
        body: body.as_bytes().into(),
    })
}
