//! Owns what only the whole configuration can have wrong: addresses that overlap, rules that cannot be reached, services that
//! nothing uses.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use crate::limits::{RATE_KEYS_MOST, TRIED_RULES};
use crate::lower::{Parts, Placed, RawRule, Written, listeners_most};
use crate::plan::tls::ClientAuth;
use crate::plan::{
    BackendAddress, Bind, Further, ListenerPlan, LoadSource, PathHandling, PathPattern, TextPattern,
};
use crate::problem::At;
use crate::read::Reading;

/// Cookies of ours that are in each other's way.
mod cookies;

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
    let tcp_only = parts.is_tcp_only();
    if let (true, Some(rule)) = (tcp_only, parts.rules.first()) {
        let message = "no listener speaks HTTP: rules are for nobody";
        reading.warning(rule.at, "unreachable_rule", message);
    }
    if parts.rules.is_empty() && !tcp_only && !parts.stands("rules", None) {
        reading.error(
            begin,
            "no_rules",
            "there is no rule; with one service and no rules, everything goes to that service",
        );
    }
    overlaps(&parts.binds, reading);
    unusual_paths(parts, reading);
    never_shown(parts, reading);
    reach::unreachable(parts, reading);
    rules_of_tcp(parts, reading);
    cookies_of_flows(parts, reading);
    cookies::clashes(parts, reading);
    tried_one_by_one(&parts.rules, reading);
    keys_of_rates(parts, reading);
    let forwarded = parts.rules.iter().flat_map(|rule| &rule.part.services);
    let mut forwarded: HashSet<&str> = forwarded.map(|(_, name)| name.value()).collect();
    let maps = parts.rules.iter().filter_map(|rule| rule.part.map.as_ref());
    let mapped = maps.flat_map(|map| map.map.services());
    forwarded.extend(mapped.map(|name| &**name));
    reports_of_flows(parts, &forwarded, reading);
    forwarded.extend(parts.flows.iter().map(|(_, name)| name.value()));
    for service in &parts.services {
        let name = &*service.part.name;
        if !forwarded.contains(name) {
            reading.warning(
                service.at,
                "unused_service",
                format!("no rule and no listener forwards to `{name}`"),
            );
        }
    }
    loops(parts, reading);
}

/// All rate limits together have so many keys: their memory is taken when the configuration is.
fn keys_of_rates(parts: &Parts, reading: &Reading) {
    let of_rules = parts.rules.iter();
    let of_rules = of_rules.map(|rule| (rule.at, rule.part.rule.rates.as_deref()));
    let of_listeners = parts.listeners.iter();
    let of_listeners = of_listeners.map(|one| (one.at, Some(&*one.part.rates)));
    let mut all = 0_usize;
    for (at, rates) in of_listeners.chain(of_rules) {
        let before = all;
        for rate in rates.into_iter().flatten() {
            all = all.saturating_add(rate.settings.keys.get());
        }
        if before <= RATE_KEYS_MOST && all > RATE_KEYS_MOST {
            let message = format!(
                "all rate limits up to here have more than {RATE_KEYS_MOST} keys, some 40 bytes each; write `keys` in some of them"
            );
            reading.error(at, "too_many_keys", message);
        }
    }
}

/// A flow shows no cookie.
fn cookies_of_flows(parts: &Parts, reading: &Reading) {
    for (at, name) in &parts.flows {
        let mut services = parts.services.iter().map(|placed| &placed.part);
        let service = services.find(|service| *service.name == *name.value());
        let by = service.and_then(|service| Some(&service.affinity.as_ref()?.by));
        if by.is_some_and(|by| by.cookie().is_some()) {
            let message = format!(
                "`{name}` keeps its clients by a cookie, which TCP has not; write `affinity: {{ source: true }}` there"
            );
            reading.error(*at, "affinity", message);
        }
    }
}

/// A flow carries no field: of a service that has only flows nothing is ever reported by one.
fn reports_of_flows(parts: &Parts, by_rules: &HashSet<&str>, reading: &Reading) {
    for (at, name) in &parts.flows {
        let mut services = parts.services.iter().map(|placed| &placed.part);
        let service = services.find(|service| *service.name == *name.value());
        let load = service.and_then(|service| service.load.as_ref());
        let by_field = load.is_some_and(|load| load.from == LoadSource::Header);
        if by_field && !by_rules.contains(name.value()) {
            let message = format!(
                "`{name}` goes by reports of load in a field of answers, which TCP has not; write `load: {{ report: {{ http: {{ path: /load }} }} }}` there"
            );
            reading.warning(*at, "load", message);
        }
    }
}

/// Addresses that take the same connections. Sockets of IPv6 take IPv6 only; port 0 is a free one.
fn overlaps(binds: &[Written<Bind>], reading: &Reading) {
    /// The earlier ones of one port and family.
    #[derive(Default)]
    struct Earlier {
        first: Option<usize>,
        /// The first one on all addresses.
        all: Option<usize>,
        addresses: HashMap<IpAddr, usize>,
    }
    let (mut ports, mut paths) = (HashMap::<_, Earlier>::new(), HashMap::new());
    for (number, one) in binds.iter().enumerate() {
        let earlier = match &one.address {
            Bind::Unix(path) => match paths.entry(path) {
                Entry::Occupied(earlier) => Some(*earlier.get()),
                Entry::Vacant(place) => {
                    place.insert(number);
                    None
                }
            },
            Bind::Tcp(address) if address.port() == 0 => None,
            Bind::Tcp(address) => {
                let ip = address.ip();
                let port = ports.entry((address.port(), ip.is_ipv4())).or_default();
                let same = port.addresses.get(&ip).copied();
                let earlier = match ip.is_unspecified() {
                    true => port.first,
                    false => same.into_iter().chain(port.all).min(),
                };
                port.first.get_or_insert(number);
                if ip.is_unspecified() {
                    port.all.get_or_insert(number);
                }
                port.addresses.entry(ip).or_insert(number);
                earlier
            }
        };
        if let Some(earlier) = earlier.and_then(|earlier| binds.get(earlier)) {
            let message = format!(
                "{} takes connections that {} takes already",
                one.shown, earlier.shown
            );
            reading.error_with(one.at, "overlap", message, earlier.at);
        }
    }
}

/// Backends that are surely our own listeners: a socket on all addresses takes what goes to this machine, but which addresses
/// are this machine's is not known here, beyond its loopback.
fn loops(parts: &Parts, reading: &Reading) {
    let own = parts.binds.iter().filter_map(|bind| match bind.address {
        Bind::Tcp(address) => Some(address),
        Bind::Unix(_) => None,
    });
    let own: HashSet<SocketAddr> = own.collect();
    for one in &parts.noted.addresses {
        let BackendAddress::Tcp(address) = one.address else {
            continue;
        };
        let all: IpAddr = match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let by_all = address.ip().is_loopback() && own.contains(&(all, address.port()).into());
        if own.contains(&address) || by_all {
            reading.warning(
                one.at,
                "loop",
                format!(
                    "backend {} of `{}` is one of our own listeners",
                    one.shown, one.of
                ),
            );
        }
    }
}

/// Paths that are not in normal form are seen by listeners that leave paths as they came, and by no other.
fn unusual_paths(parts: &Parts, reading: &Reading) {
    let mut normal = HashSet::new();
    for one in &parts.listeners {
        if one.part.path != PathHandling::AsIs {
            normal.insert(&*one.part.name);
        }
    }
    let all = all_listeners(parts);
    for rule in parts
        .rules
        .iter()
        .filter(|rule| !rule.part.unusual.is_empty())
    {
        // What could not be read may be one that leaves them.
        if seen_by(&rule.part, &all)
            .iter()
            .any(|name| !normal.contains(name))
        {
            continue;
        }
        for (at, why) in &rule.part.unusual {
            reading.error(*at, "path", why.clone());
        }
    }
}

/// Rules that ask for a client's certificate where no listener does.
fn never_shown(parts: &Parts, reading: &Reading) {
    let asks = |one: &&Placed<ListenerPlan>| {
        let tls = one.part.tls.as_ref();
        tls.is_some_and(|tls| tls.client_auth != ClientAuth::Off)
    };
    let asking = parts.listeners.iter().filter(asks);
    let asking: HashSet<&str> = asking.map(|one| &*one.part.name).collect();
    let all = all_listeners(parts);
    let wants = |one: &Further| match one {
        Further::Certificate(certified) => !certified.values.contains(&TextPattern::Absent),
        _ => false,
    };
    for rule in &parts.rules {
        let seen = seen_by(&rule.part, &all);
        if rule.part.whole
            && rule.part.rule.when.further.iter().any(wants)
            && !seen.is_empty()
            && !seen.iter().any(|name| asking.contains(name))
        {
            let message = format!(
                "rule `{}` never holds: none of its listeners asks clients for certificates; write `client_auth: {{ ca: clients.pem, mode: request }}` in `tls`",
                rule.part.shown
            );
            reading.warning(rule.at, "no_client_auth", message);
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
    let mut by_host = HashMap::<String, (HashSet<String>, usize)>::new();
    for rule in rules {
        let when = &rule.part.rule.when;
        let host = when.hosts.first().map(|host| format!("{host:?}"));
        let (patterns, asking) = by_host.entry(host.unwrap_or_default()).or_default();
        *asking += usize::from(!when.further.is_empty());
        if *asking == TRIED_RULES + 1 {
            reading.error(
                rule.at,
                "too_many_rules",
                format!(
                    "more than {TRIED_RULES} rules of one host ask for more than host, path and method, and may be tried one by one with each request"
                ),
            );
        }
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

/// Rules that name a listener which asks no rules.
fn rules_of_tcp(parts: &Parts, reading: &Reading) {
    let tcp = tcp_listeners(parts);
    let named = parts.rules.iter().flat_map(|rule| &rule.part.listeners);
    for (at, name) in named.filter(|(_, name)| tcp.contains(name.value())) {
        let message = format!("listener `{name}` speaks TCP, for which rules are not asked");
        reading.error(*at, "protocol", message);
    }
}

fn tcp_listeners(parts: &Parts) -> HashSet<&str> {
    let listeners = parts.listeners.iter().map(|placed| &placed.part);
    let tcp = listeners.filter(|listener| listener.flows.is_some());
    tcp.map(|listener| &*listener.name).collect()
}

/// Every listener that rules are for, in order.
pub(crate) fn all_listeners(parts: &Parts) -> Rc<[&str]> {
    let tcp = tcp_listeners(parts);
    let all = parts.names.get("listeners").into_iter().flatten();
    let all = all.map(|name| &**name);
    all.filter(|name| !tcp.contains(name)).collect()
}

/// The listeners that a rule is tried on, in order; a rule that names none shares the list of all.
pub(crate) fn seen_by<'p>(rule: &'p RawRule, all: &Rc<[&'p str]>) -> Rc<[&'p str]> {
    if rule.listeners.is_empty() {
        return all.clone();
    }
    let mut own: Vec<_> = rule
        .listeners
        .iter()
        .map(|(_, name)| name.value())
        .collect();
    own.sort_unstable();
    own.into()
}
