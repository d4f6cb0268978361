//! Owns what only the whole configuration can have wrong: addresses that overlap, rules that cannot be reached, services that
//! nothing uses.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use crate::lower::{Parts, Placed, RawRule, listeners_most};
use crate::plan::{BackendAddress, Bind, PathHandling, PathPattern};
use crate::problem::At;
use crate::read::Reading;

/// Rules that are never reached.
mod reach;

pub(crate) fn whole(parts: &Parts, reading: &Reading, begin: At) {
    let most = listeners_most(parts);
    match parts.listeners.len() {
        0 if parts.stands("listeners", None) => {}
        0 => reading.error(
            begin,
            "no_listeners",
            "there is no listener; write `listeners: { web: { bind: 0.0.0.0:8080 } }`",
        ),
        count if count > most => reading.error(
            parts.listeners[most].at,
            "too_many_listeners",
            format!("{count} listeners are more than the {most} that `max_listeners` allows"),
        ),
        _ => {}
    }
    if parts.rules.is_empty() && !parts.stands("rules", None) {
        reading.error(
            begin,
            "no_rules",
            "there is no rule; with one service and no rules, everything goes to that service",
        );
    }
    overlaps(parts, reading);
    unusual_paths(parts, reading);
    reach::unreachable(parts, reading);
    tried_one_by_one(&parts.rules, reading);
    let forwarded = parts
        .rules
        .iter()
        .filter_map(|rule| rule.part.service.as_ref());
    let forwarded: HashSet<&str> = forwarded.map(|(_, name)| name.value()).collect();
    for service in &parts.services {
        let name = &*service.part.name;
        if !forwarded.contains(name) {
            reading.warning(
                service.at,
                "unused_service",
                format!("no rule forwards to `{name}`"),
            );
        }
        for backend in &service.part.backends {
            if let BackendAddress::Tcp(address) = backend.address
                && binds(parts)
                    .any(|(_, bind)| matches!(bind, Bind::Tcp(own) if loops(*own, address)))
            {
                reading.warning(
                    service.at,
                    "loop",
                    format!("backend {address} of `{name}` is one of our own listeners"),
                );
            }
        }
    }
}

fn binds(parts: &Parts) -> impl Iterator<Item = (At, &Bind)> {
    parts
        .listeners
        .iter()
        .flat_map(|listener| listener.part.binds.iter().map(|bind| (listener.at, bind)))
}

fn overlaps(parts: &Parts, reading: &Reading) {
    let all: Vec<_> = binds(parts).collect();
    for (number, (at, bind)) in all.iter().enumerate() {
        let earlier = all[..number].iter().find(|(_, other)| match (bind, other) {
            (Bind::Tcp(one), Bind::Tcp(other)) => meets(*one, *other) || meets(*other, *one),
            (Bind::Unix(one), Bind::Unix(other)) => one == other,
            _ => false,
        });
        if let Some((earlier, other)) = earlier {
            reading.error_with(
                *at,
                "overlap",
                format!(
                    "{} takes connections that {} takes already",
                    show(bind),
                    show(other)
                ),
                *earlier,
            );
        }
    }
}

fn show(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Whether a connection to `to` would be accepted at `bound`. Sockets of IPv6 take IPv6 only; port 0 is a free one.
fn meets(bound: SocketAddr, to: SocketAddr) -> bool {
    bound.port() == to.port()
        && bound.port() != 0
        && bound.is_ipv4() == to.is_ipv4()
        && (bound.ip() == to.ip() || bound.ip().is_unspecified())
}

/// Whether a backend is surely our own listener: a socket on all addresses takes what goes to this machine, but which
/// addresses are this machine's is not known here, beyond its loopback.
fn loops(bound: SocketAddr, to: SocketAddr) -> bool {
    meets(bound, to) && (bound.ip() == to.ip() || to.ip().is_loopback())
}

/// Paths that are not in normal form are seen by listeners that leave paths as they came, and by no other.
fn unusual_paths(parts: &Parts, reading: &Reading) {
    let as_is = |name: &str| {
        // What could not be read may be one.
        let mut found = parts.listeners.iter().filter(|one| &*one.part.name == name);
        found
            .next()
            .is_none_or(|one| one.part.path == PathHandling::AsIs)
    };
    for rule in &parts.rules {
        let names = seen_by(&rule.part, parts);
        if names.iter().any(|name| as_is(name)) {
            continue;
        }
        for (at, why) in &rule.part.unusual {
            reading.error(*at, "path", why.clone());
        }
    }
}

/// Patterns without a text at their begin or end have no place in the index of rules: each is tried with every request of its
/// host, and the client chooses how long the path is. Most take microseconds, some 50 us with the longest.
const TRIED_MOST: usize = 256;

fn tried_one_by_one(rules: &[Placed<RawRule>], reading: &Reading) {
    let wild = |text: &str| text.starts_with(['*', '?']) && text.ends_with(['*', '?']);
    let tried = |pattern: &PathPattern| match pattern {
        PathPattern::Wildcard(wildcard) if wild(wildcard.as_str()) => {
            Some(wildcard.as_str().to_owned())
        }
        PathPattern::Regex(regex) if !regex.as_str().starts_with("^/") => {
            Some(regex.as_str().to_owned())
        }
        _ => None,
    };
    // By the first host: rules of one host mostly name it first, and those counted together are surely tried together.
    let mut by_host = HashMap::<String, HashSet<String>>::new();
    for rule in rules {
        let when = &rule.part.rule.when;
        let host = when.hosts.first().map(|host| format!("{host:?}"));
        let patterns = by_host.entry(host.unwrap_or_default()).or_default();
        let before = patterns.len();
        patterns.extend(when.paths.iter().filter_map(tried));
        if before <= TRIED_MOST && patterns.len() > TRIED_MOST {
            reading.error(
                rule.at,
                "too_many_patterns",
                format!(
                    "more than {TRIED_MOST} path patterns of one host would be tried one by one with each request: begin them with a path, as in `/api/*` or `^/api/`, or end wildcards with a text"
                ),
            );
        }
    }
}

/// The listeners that a rule is tried on.
pub(crate) fn seen_by<'p>(rule: &'p RawRule, parts: &'p Parts) -> Vec<&'p str> {
    if rule.listeners.is_empty() {
        let all = parts.names.iter().filter(|(key, _)| *key == "listeners");
        return all.map(|(_, name)| &**name).collect();
    }
    rule.listeners
        .iter()
        .map(|(_, name)| name.value())
        .collect()
}
