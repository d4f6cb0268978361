//! Owns `alerts:`.

use std::sync::Arc;

use super::health::headers;
use super::named::name;
use super::{tls, traces};
use crate::keys::{ALERTS, WEBHOOK};
use crate::limits;
use crate::plan::tls::{Material, UpstreamTls};
use crate::plan::{AlertSeverity, AlertTurn, AlertsPlan, WebhookPlan};
use crate::read::{Fields, Reading, Scalar};
use crate::tree::Node;

/// `{ webhooks: [{ name: ops, to: https://hooks.example:443/alerts }] }`
pub(super) fn read(reading: &Reading, node: &Node) -> Option<AlertsPlan> {
    let fields = reading.map(node, &ALERTS)?;
    let mut plan = AlertsPlan::default();
    if let Some(node) = fields.get("webhooks") {
        let what = format!("{} webhooks", limits::WEBHOOKS);
        let items = reading.first(reading.items(node), limits::WEBHOOKS, |item| item.at, &what);
        for item in items {
            let Some(webhook) = webhook(reading, item) else {
                continue;
            };
            let mut others = plan.webhooks.iter();
            if others.any(|other| other.name == webhook.name) {
                let message = "another webhook has this name";
                reading.error(item.at, "duplicate_name", message);
            }
            plan.webhooks.push(webhook);
        }
    } else {
        let message = "`webhooks` is missing: who is told";
        reading.error(fields.at, "missing", message);
    }
    fields.done();
    Some(plan)
}

fn webhook(reading: &Reading, node: &Node) -> Option<WebhookPlan> {
    let fields = reading.map(node, &WEBHOOK)?;
    for key in ["name", "to"] {
        if fields.stands(key).is_none() {
            let message = format!("`{key}` is missing");
            reading.error(fields.at, "missing", message);
        }
    }
    let called = fields.with("name", |reading, node| {
        reading.parsed(node, "name", |text| {
            name(text.value()).map(|()| Arc::<str>::from(text.value()))
        })
    });
    let to = fields.with("to", |reading, node| {
        reading.parsed(node, "address", |text| {
            let like = "a webhook is written like `http://127.0.0.1:9000/alerts` or `https://hooks.example:443/alerts`";
            traces::endpoint(text, like, "/")
        })
    });
    let secret = fields.with("secret", secret);
    let ca = fields.with("ca", tls::material);
    if let (Some((false, ..)), Some(node)) = (&to, fields.get("ca")) {
        let message = "`ca` is for a receiver at `https://`";
        reading.error(node.at, "ca", message);
    }
    let sent = fields.with("headers", |reading, node| {
        let entries = reading.free(node, "headers");
        entries.map(|entries| headers(reading, entries))
    });
    let events = fields.with("events", events);
    let severity = match fields.word("severity") {
        Some("critical") => AlertSeverity::Critical,
        Some("warning") => AlertSeverity::Warning,
        _ => AlertSeverity::Info,
    };
    let mut timeout = limits::WEBHOOK_WITHIN;
    fields.set("timeout", Reading::wait, &mut timeout);
    if let Some(node) = fields.get("timeout")
        && timeout > limits::WEBHOOK_WITHIN_MOST
    {
        reading.error(node.at, "range", "one attempt takes at most 1m");
    }
    let attempts = attempts(&fields);
    fields.done();
    let (encrypted, to, path) = to?;
    Some(WebhookPlan {
        name: called?,
        to,
        tls: encrypted.then(|| {
            Arc::new(UpstreamTls {
                ca,
                ..UpstreamTls::default()
            })
        }),
        path,
        secret,
        headers: sent.unwrap_or_default(),
        events: events.unwrap_or_else(|| AlertTurn::ALL.into()),
        severity,
        timeout,
        attempts,
    })
}

fn attempts(fields: &Fields<'_>) -> u32 {
    let said = fields.number("attempts");
    said.unwrap_or(limits::WEBHOOK_ATTEMPTS)
}

/// A file that nobody guesses. What is wrong with it says nothing of what it holds.
fn secret(reading: &Reading, node: &Node) -> Option<Material> {
    let file = tls::material(reading, node)?;
    let length = WebhookPlan::key_of(&file).len();
    if !limits::SECRET_BYTES.contains(&length) {
        let (least, most) = (*limits::SECRET_BYTES.start(), *limits::SECRET_BYTES.end());
        let message = format!(
            "a secret has {least} to {most} bytes, not {length}; `openssl rand -hex 32` makes one"
        );
        reading.error(node.at, "secret", message);
        return None;
    }
    Some(file)
}

/// Those that are named, in our order.
fn events(reading: &Reading, node: &Node) -> Option<Vec<AlertTurn>> {
    let mut all = Vec::new();
    for item in reading.items(node) {
        let turn = reading.parsed(item, "value", turn)?;
        if all.contains(&turn) {
            let message = format!("`{}` stands here twice", turn.name());
            reading.error(item.at, "duplicate_name", message);
        }
        all.push(turn);
    }
    if all.is_empty() {
        let message = "no turn is named: this webhook is told of nothing; leave it out";
        reading.error(node.at, "range", message);
    }
    all.sort_unstable();
    Some(all)
}

fn turn(text: &Scalar) -> Result<AlertTurn, String> {
    let named = |turn: &AlertTurn| turn.name() == text.value();
    AlertTurn::ALL
        .into_iter()
        .find(named)
        .ok_or_else(|| format!("`raised` or `cleared` is expected, not `{text}`"))
}
