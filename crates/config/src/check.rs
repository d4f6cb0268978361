//! Owns what only the whole configuration can have wrong: addresses that overlap, rules that cannot be reached, services that
//! nothing uses.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::lower::{Parts, Placed, RawRule, listeners_most};
use crate::plan::{BackendAddress, Bind, Conditions, HostPattern, PathPattern};
use crate::problem::At;
use crate::read::Reading;

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
    unreachable(&parts.rules, reading);
    let forwarded = parts
        .rules
        .iter()
        .filter_map(|rule| rule.part.service.as_ref());
    let forwarded: HashSet<&str> = forwarded.map(|(_, name)| name.as_str()).collect();
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

/// A rule is never reached if an earlier one holds wherever it holds. Said only where that is certain.
fn unreachable(rules: &[Placed<RawRule>], reading: &Reading) {
    let mut sorted: Vec<_> = rules.iter().collect();
    sorted.sort_by_key(|placed| placed.part.rule.priority);
    // Everything-before-everything is quadratic: enough for what people write, and bounded for what programs write.
    for (number, rule) in sorted.iter().enumerate().take(2_000) {
        let earlier = sorted[..number]
            .iter()
            .find(|earlier| covers(&earlier.part, &rule.part));
        if let Some(earlier) = earlier {
            reading.error_with(
                rule.at,
                "unreachable_rule",
                format!(
                    "rule `{}` is never reached: `{}` comes before it and holds wherever it holds",
                    rule.part.rule.name, earlier.part.rule.name
                ),
                earlier.at,
            );
        }
    }
}

fn covers(earlier: &RawRule, later: &RawRule) -> bool {
    let listeners = earlier.listeners.is_empty()
        || (!later.listeners.is_empty()
            && later
                .listeners
                .iter()
                .all(|(_, name)| earlier.listeners.iter().any(|(_, other)| other == name)));
    let (one, other): (&Conditions, &Conditions) = (&earlier.rule.when, &later.rule.when);
    listeners
        && all_in(&one.methods, &other.methods, |one, other| one == other)
        && all_in(&one.hosts, &other.hosts, host_covers)
        && all_in(&one.paths, &other.paths, path_covers)
}

/// Whether each of `later` is covered by one of `earlier`; an empty list asks nothing.
fn all_in<T>(earlier: &[T], later: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    earlier.is_empty()
        || (!later.is_empty()
            && later
                .iter()
                .all(|later| earlier.iter().any(|earlier| covers(earlier, later))))
}

fn host_covers(earlier: &HostPattern, later: &HostPattern) -> bool {
    match (earlier, later) {
        (HostPattern::Exact(one), HostPattern::Exact(other)) => one == other,
        (HostPattern::Suffix(suffix), HostPattern::Exact(other) | HostPattern::Suffix(other)) => {
            other.ends_with(&**suffix)
                && (other.len() > suffix.len() || matches!(later, HostPattern::Suffix(_)))
        }
        (HostPattern::Wildcard(one), HostPattern::Wildcard(other)) => {
            one == other || one.as_str() == "*"
        }
        (HostPattern::Wildcard(one), _) => one.as_str() == "*",
        _ => false,
    }
}

fn path_covers(earlier: &PathPattern, later: &PathPattern) -> bool {
    let below = |prefix: &str, path: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match (earlier, later) {
        (PathPattern::Exact(one), PathPattern::Exact(other)) => one == other,
        (PathPattern::Prefix(prefix), PathPattern::Exact(path) | PathPattern::Prefix(path)) => {
            below(prefix, path)
        }
        (PathPattern::Wildcard(one), PathPattern::Wildcard(other)) => {
            one == other || matches!(one.as_str(), "*" | "/*")
        }
        (PathPattern::Wildcard(one), _) => matches!(one.as_str(), "*" | "/*"),
        (PathPattern::Prefix(prefix), _) => prefix.is_empty(),
        (PathPattern::Regex(one), PathPattern::Regex(other)) => one.as_str() == other.as_str(),
        _ => false,
    }
}
