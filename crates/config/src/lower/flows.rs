//! Owns what a TCP listener does with its flows: `forward:`, or `sni:` by the names that TLS clients ask for.

use std::collections::HashMap;
use std::sync::Arc;

use super::rules::{Services, host, sides};
use super::tls::ALPN_NAME;
use crate::keys::SNI;
use crate::limits;
use crate::plan::{FlowPlan, HelloName, HelloPlan, HelloTarget, HostPattern, SidePlan};
use crate::problem::{At, clipped};
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// The flows of a listener, if it speaks TCP. Its services are numbers among those that all listeners name.
pub(super) fn read(
    fields: &Fields<'_>,
    tcp: bool,
    at: At,
    services: &mut Services,
) -> Option<FlowPlan> {
    let reading = fields.reading;
    let forward = fields.entry("forward");
    let sni = fields.entry("sni");
    let to = forward.map(|(_, node)| sides(reading, node, services).map(FlowPlan::All));
    let hello = sni.map(|(_, node)| hello(reading, node, services).map(FlowPlan::Hello));
    if !tcp {
        for (key, _) in forward.into_iter().chain(sni) {
            let message = format!(
                "rules say where HTTP goes; `{}` is for a listener with `protocol: tcp`",
                key.text
            );
            reading.error(key.at, "protocol", message);
        }
        return None;
    }
    if let Some((key, _)) = sni
        && fields.stands("tls").is_some()
    {
        let message = "`sni` passes TLS on as it comes, `tls` ends it here: leave one of them out";
        reading.error(key.at, "protocol", message);
    }
    match (to, hello) {
        (Some(to), None) => to,
        (None, Some(hello)) => hello,
        (Some(_), Some(_)) => {
            if let Some((key, _)) = sni {
                let message = "a TCP listener has one of `forward` and `sni`; who asks for no known name goes to the `default` of `sni`";
                reading.error(key.at, "protocol", message);
            }
            None
        }
        (None, None) => {
            let message = "a listener that speaks TCP says where to: write `forward: SERVICE`, or `sni: { NAME: SERVICE }`";
            reading.error(at, "missing", message);
            None
        }
    }
}

/// Notes a key that says something of HTTP.
pub(super) fn of_http(fields: &Fields<'_>, key: &str) {
    if let Some((key, _)) = fields.stands(key) {
        let message = format!(
            "`{}` is for HTTP, and this listener speaks TCP: leave it out",
            key.text
        );
        fields.reading.error(key.at, "protocol", message);
    }
}

/// Warns of keys that say something of requests. No error: they were taken without a word before, and do no harm.
pub(super) fn of_requests(fields: &Fields<'_>, keys: &[&'static str]) {
    for key in keys.iter().filter_map(|key| fields.stands(key)) {
        let message = format!(
            "`{}` has no effect here: it is for requests, and this listener speaks TCP",
            key.0.text
        );
        fields.reading.warning(key.0.at, "no_effect", message);
    }
}

/// `sni: { db.example.com: db, "*.web.example.com": { alpn: { h2: new }, forward: old }, default: web }`
fn hello(reading: &Reading, node: &Node, services: &mut Services) -> Option<HelloPlan> {
    let entries = reading.free(node, "sni")?;
    if entries.is_empty() {
        reading.error(node.at, "empty", "without a name nobody is served");
    }
    let most = limits::SNI_NAMES;
    let what = format!("{most} names of one listener");
    let entries = reading.first(entries, most, |(key, _)| key.at, &what);
    let (mut plan, mut seen) = (HelloPlan::default(), HashMap::<String, At>::new());
    for (key, node) in entries {
        let target = target(reading, node, services);
        let name = match name(&key.text) {
            Ok(name) => name,
            Err(message) => {
                reading.error(key.at, "name", message);
                continue;
            }
        };
        let whole = key.text.trim_end_matches('.').to_ascii_lowercase();
        if let Some(earlier) = seen.insert(whole, key.at) {
            let message = format!("`{}` stands here already", clipped(&key.text));
            reading.error_with(key.at, "duplicate_name", message, earlier);
        }
        if let Some(target) = target {
            plan.insert(name, target);
        }
    }
    Some(plan)
}

fn name(text: &str) -> Result<HelloName, String> {
    if text == "default" {
        return Ok(HelloName::Default);
    }
    match host(&Scalar::plain(text))? {
        HostPattern::Exact(name) => Ok(HelloName::Exact((*name).into())),
        HostPattern::Suffix(suffix) => {
            Ok(HelloName::Wildcard(suffix.trim_start_matches('.').into()))
        }
        HostPattern::Wildcard(_) => Err(format!(
            "`{}`: names and `*.example.com`, for one label, stand here, and `default`",
            clipped(text)
        )),
    }
}

/// A service or a split; or that by protocol.
fn target(reading: &Reading, node: &Node, services: &mut Services) -> Option<HelloTarget> {
    if !matches!(node.value, Value::Map(_)) {
        return sides(reading, node, services).map(|forward| HelloTarget {
            alpn: Vec::new(),
            forward,
        });
    }
    let fields = reading.map(node, &SNI)?;
    let forward = fields.get("forward");
    let forward = forward.map(|node| sides(reading, node, services));
    let alpn = fields.get("alpn").and_then(|node| {
        let entries = reading.free(node, "alpn")?;
        let most = limits::ALPN_NAMES;
        let what = format!("{most} protocols of one name");
        let entries = reading.first(entries, most, |(key, _)| key.at, &what);
        let mut all: Vec<(Arc<[u8]>, Vec<SidePlan>)> = Vec::new();
        for (key, node) in entries {
            // RFC 7301 section 3.1.
            if !(1..=255).contains(&key.text.len()) {
                reading.error(key.at, "name", ALPN_NAME);
            }
            let sides = sides(reading, node, services);
            all.extend(sides.map(|sides| (key.text.as_bytes().into(), sides)));
        }
        Some(all)
    });
    let at = fields.at;
    fields.done();
    let target = HelloTarget {
        alpn: alpn.unwrap_or_default(),
        forward: forward.map_or(Some(Vec::new()), |read| read)?,
    };
    if target.forward.is_empty() && target.alpn.is_empty() {
        let message =
            "there is no service: write one, or `{ alpn: { h2: SERVICE }, forward: SERVICE }`";
        reading.error(at, "missing", message);
    }
    Some(target)
}
