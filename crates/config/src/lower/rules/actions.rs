//! Owns what a rule does.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::conditions::host;
use crate::keys::{REDIRECT, RESPOND};
use crate::limits;
use crate::lower::pages;
use crate::lower::paths::exact;
use crate::plan::{Action, HostPattern, RedirectPlan, RespondPlan};
use crate::problem::At;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// The longest answer of a rule.
const BODY_MOST: usize = 64 * 1024;

/// The one action of a rule, and the service that it names.
pub(super) fn action(fields: &Fields<'_>, name: &Scalar) -> (Option<Action>, Option<(At, Scalar)>) {
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
    let content_type = map.with("content_type", pages::media_type);
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
