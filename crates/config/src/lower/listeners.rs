//! Owns `listeners:`.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::rules::Services;
use super::{Written, address, flows, proxy_protocol, rates, tls};
use crate::keys::{LISTENER_LIMITS, LISTENER_TIMEOUTS};
use crate::limits::{self, ListenerLimits};
use crate::plan::{Bind, ListenerPlan, PathHandling, RatePlan};
use crate::problem::At;
use crate::read::{Fields, Reading};
use crate::tree::Node;

pub(super) fn read(
    name: Arc<str>,
    at: At,
    fields: Fields<'_>,
    all: &mut Vec<Written<Bind>>,
    services: &mut Services,
) -> Option<ListenerPlan> {
    let reading = fields.reading;
    let binds = fields.get("bind");
    let binds = binds.map(|node| self::binds(reading, node, &name, all));
    if binds.is_none() {
        let message = format!("listener `{name}` has no `bind`; write `bind: 0.0.0.0:8080`");
        reading.error(at, "missing", message);
    }
    let tcp = fields.word("protocol") == Some("tcp");
    let flows = flows::read(&fields, tcp, at, services);
    let (limits, rates) = limits_of(&fields, tcp);
    let from = proxy_protocol::listener(&fields, binds.as_deref().unwrap_or_default());
    let path = match fields.word("path") {
        Some("refuse") => PathHandling::Refuse,
        Some("as_is") => PathHandling::AsIs,
        _ => PathHandling::Normalize,
    };
    let via = fields.with("via", via);
    let real_ip = fields.with("real_ip", Reading::boolean).unwrap_or(false);
    let http2 = fields.with("http2", Reading::boolean).unwrap_or(true);
    let attempts_header = fields.with("attempts_header", field_name);
    let tls = |node| tls::listener(reading, node, spoken(tcp, http2));
    let tls = fields.get("tls").map(tls);
    let half_close = fields.with("half_close", Reading::boolean);
    let error_pages = fields.with("error_pages", super::pages::read);
    let of_http = [
        ("path", path != PathHandling::Normalize),
        ("via", via.is_some()),
        ("real_ip", real_ip),
        ("attempts_header", attempts_header.is_some()),
        ("half_close", half_close == Some(true)),
        ("http2", fields.get("http2").is_some() && !http2),
        ("error_pages", error_pages.is_some()),
    ];
    for (key, _) in of_http.into_iter().filter(|(_, said)| tcp && *said) {
        flows::of_http(&fields, key);
    }
    fields.done();
    Some(ListenerPlan {
        name,
        binds: binds?,
        // One that cannot be read is not left out: HTTP is not what was meant.
        flows: if tcp { Some(flows?) } else { None },
        // One that cannot be read is not left out: who was to be refused would be served.
        proxy_protocol: from?,
        // One that cannot be read is not left out: what was to be secret would be plain.
        tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
        limits,
        rates: rates.unwrap_or_default(),
        http2,
        path,
        via,
        real_ip,
        attempts_header,
        half_close: half_close.unwrap_or(false),
        error_pages: error_pages.unwrap_or_default(),
    })
}

/// What is agreed on over TLS, nothing where what is spoken is not ours to know. Clients that are told to speak HTTP/1.0 offer that
/// alone.
const fn spoken(tcp: bool, http2: bool) -> &'static [&'static str] {
    match (tcp, http2) {
        (true, _) => &[],
        (false, true) => &["h2", "http/1.1", "http/1.0"],
        (false, false) => &["http/1.1", "http/1.0"],
    }
}

/// A field that answers get: none that they have.
fn field_name(reading: &Reading, node: &Node) -> Option<Arc<str>> {
    let name = reading.parsed(node, "name", super::services::token)?;
    let taken = [
        "connection",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "location",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if taken.contains(&name.to_ascii_lowercase().as_str()) {
        let message = format!("`{name}` says something else in an answer; `x-attempts` is free");
        reading.error(node.at, "name", message);
        return None;
    }
    Some(name.into())
}

fn via(reading: &Reading, node: &Node) -> Option<Arc<str>> {
    let text = reading.text(node)?;
    if super::named::name(text.value()).is_err() {
        reading.error(
            node.at,
            "name",
            "`via` is a name of this instance: letters, digits, `-`, `_` and `.`",
        );
    }
    Some(text.value().into())
}

/// The addresses of one listener, which join those of all.
fn binds(
    reading: &Reading,
    node: &Node,
    name: &Arc<str>,
    all: &mut Vec<Written<Bind>>,
) -> Vec<Bind> {
    let what = format!("{} addresses of one listener", limits::BINDS);
    let addresses = reading.items(node);
    let addresses = reading.first(addresses, limits::BINDS, |node| node.at, &what);
    if addresses.is_empty() {
        reading.error(node.at, "empty", "an empty list listens nowhere");
    }
    let begin = all.len();
    all.extend(addresses.iter().filter_map(|node| {
        Some(Written {
            at: node.at,
            of: name.clone(),
            address: reading.parsed(node, "address", address::bind)?,
            shown: reading.text(node)?,
        })
    }));
    let own = all.iter().skip(begin);
    own.map(|one| one.address.clone()).collect()
}

fn limits_of(fields: &Fields<'_>, tcp: bool) -> (ListenerLimits, Option<Arc<[RatePlan]>>) {
    let (mut limits, mut rates) = (ListenerLimits::default(), None);
    if let Some(map) = fields.map("limits", &LISTENER_LIMITS) {
        if tcp {
            let keys = ["streams", "head", "target", "fields", "body", "requests"];
            flows::of_requests(&map, &keys);
        }
        let of = match tcp {
            true => rates::Of::Flows,
            false => rates::Of::Listener,
        };
        rates = rates::read(&map, of);
        read_limits(map, &mut limits);
    }
    if let Some(map) = fields.map("timeouts", &LISTENER_TIMEOUTS) {
        if tcp {
            flows::of_requests(&map, &["head", "tunnel", "keep_alive"]);
        }
        read_timeouts(map, &mut limits);
    }
    (limits, rates)
}

fn read_timeouts(map: Fields<'_>, limits: &mut ListenerLimits) {
    map.set("handshake", Reading::wait, &mut limits.handshake_within);
    map.set("head", Reading::wait, &mut limits.head_within);
    map.set("idle_body", Reading::wait, &mut limits.idle_body);
    map.set("idle", Reading::wait, &mut limits.idle);
    map.set("tunnel", Reading::wait, &mut limits.tunnel);
    map.set("keep_alive", Reading::wait, &mut limits.keep_alive);
    map.done();
}

fn read_limits(map: Fields<'_>, limits: &mut ListenerLimits) {
    map.set_number("connections", &mut limits.connections);
    limits.connections_per_address =
        (map.number("connections_per_address")).and_then(NonZeroUsize::new);
    map.set_number("handshakes", &mut limits.handshakes);
    map.set_number("streams", &mut limits.streams);
    // The short buffers hold a head of 32 KiB and the begin of a body.
    let bytes = |reading: &Reading, node: &Node, most: u64| {
        let size = reading.size(node)?;
        if !(256..=most).contains(&size) {
            reading.error(
                node.at,
                "range",
                format!("it must lie between 256 B and {} KiB", most / 1024),
            );
            return None;
        }
        usize::try_from(size).ok()
    };
    map.set(
        "head",
        |reading, node| bytes(reading, node, 32 * 1024),
        &mut limits.head,
    );
    map.set(
        "target",
        |reading, node| bytes(reading, node, 16 * 1024),
        &mut limits.target,
    );
    map.set_number("fields", &mut limits.fields);
    map.set(
        "body",
        |reading, node| reading.size(node).map(Some),
        &mut limits.body,
    );
    limits.requests = map.number("requests");
    map.done();
}
