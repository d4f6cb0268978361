//! Owns `affinity:` of a service, and the file of its keys.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::affinity::ClientsSettings;
use evenkeel_balance::hashing;
use evenkeel_balance::settings::AffinitySettings;

use super::rules::cookie_name;
use super::tls::material;
use crate::keys::{AFFINITY, AFFINITY_COOKIE, AFFINITY_SOURCE, APP_COOKIE};
use crate::limits;
use crate::plan::tls::{Material, ticket_keys};
use crate::plan::{AffinityBy, AffinityPlan, CookiePlan, is_of_one_host, is_secure_by_name};
use crate::problem::At;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// What keeps clients, and what those may rely on; `drain` is how long a backend of the service drains. Where its cookies are named, or
/// what has one, is noted in `cookies`.
pub(super) fn read(
    fields: &Fields<'_>,
    service: &Arc<str>,
    drain: Duration,
    cookies: &mut Vec<(At, Arc<str>)>,
) -> Option<(AffinityPlan, AffinitySettings)> {
    let (reading, node) = (fields.reading, fields.get("affinity")?);
    if !matches!(node.value, Value::Map(_)) {
        fields.word("affinity");
        return None;
    }
    let map = reading.map(node, &AFFINITY)?;
    let cookie = map.get("cookie").map(|node| cookie(reading, node, service));
    let app = map
        .get("app_cookie")
        .map(|node| app_cookie(reading, node, service));
    let named = map.get("cookie").or(map.get("app_cookie"));
    cookies.extend(named.map(|node| (name_of(node), service.clone())));
    let source = map.get("source").map(|node| source(reading, node));
    if [&cookie, &app, &source].into_iter().flatten().count() != 1 {
        let message = "an affinity is one of `cookie`, `app_cookie` and `source`";
        reading.error(map.at, "affinity", message);
    }
    let moves = map.word("draining") == Some("move");
    map.done();
    let settings = AffinitySettings::default().draining(if moves { Duration::ZERO } else { drain });
    Some((cookie.or(app).or(source).flatten()?, settings))
}

/// Where the name of a cookie stands, or what has one.
fn name_of(node: &Node) -> At {
    let Value::Map(entries) = &node.value else {
        return node.at;
    };
    let name = entries.iter().find(|(key, _)| key.text == "name");
    name.map_or(node.at, |(_, name)| name.at)
}

/// The name of a service's own cookie: two services of one host must not take each other's for theirs.
fn own_name(service: &str) -> Arc<str> {
    format!("keel-{:08x}", hashing::key(service.as_bytes()) >> 32).into()
}

fn cookie(reading: &Reading, node: &Node, service: &str) -> Option<AffinityPlan> {
    let map = reading.map(node, &AFFINITY_COOKIE)?;
    let mut name = own_name(service);
    let named = |reading: &Reading, node: &Node| reading.parsed(node, "name", cookie_name);
    map.set("name", named, &mut name);
    let mut ttl = limits::AFFINITY_TTL;
    map.set("ttl", lasting, &mut ttl);
    let mut attributes = String::from("; Path=");
    let path = map.with("path", |reading, node| {
        reading.parsed(node, "path", |text| match text.value() {
            path if path.len() > limits::AFFINITY_PATH => Err(format!(
                "`{text}` is longer than the {} bytes that browsers take of a path",
                limits::AFFINITY_PATH
            )),
            path if path.starts_with('/') && path.bytes().all(is_plain) => Ok(path.to_owned()),
            _ => Err(format!(
                "`{text}` is no path of a cookie: `/`, then letters, no `;`"
            )),
        })
    });
    attributes.push_str(path.as_deref().unwrap_or("/"));
    let domain = map.with("domain", |reading, node| {
        reading.parsed(node, "domain", domain)
    });
    let domain_said = domain.is_some();
    if let Some(domain) = domain {
        // Writing to a text does not fail.
        let _ = write!(attributes, "; Domain={domain}");
    }
    if map.with("http_only", Reading::boolean) != Some(false) {
        attributes.push_str("; HttpOnly");
    }
    let moved = path.as_deref().is_some_and(|path| path != "/") || domain_said;
    if is_of_one_host(&name) && moved {
        let message = format!(
            "browsers take `{name}` without `domain` and with `path: /` only: its name says that it is of one host"
        );
        reading.error(name_of(node), "name", message);
    }
    let (site, everywhere) = match map.word("same_site") {
        Some("strict") => ("Strict", false),
        Some("none") => ("None", true),
        _ => ("Lax", false),
    };
    let _ = write!(attributes, "; SameSite={site}");
    map.done();
    Some(AffinityPlan {
        by: AffinityBy::Cookie(CookiePlan {
            ttl,
            secure: everywhere || is_secure_by_name(&name),
            name,
            attributes: attributes.into(),
        }),
        clients: ClientsSettings::default(),
    })
}

/// A cookie's age is told in whole seconds.
fn lasting(reading: &Reading, node: &Node) -> Option<Duration> {
    let ttl = reading.duration(node)?;
    let range = limits::AFFINITY_TTL_LEAST..=limits::SPLIT_TTL_MOST;
    if !ttl.is_zero() && (!range.contains(&ttl) || ttl.subsec_nanos() > 0) {
        let message =
            "a cookie lasts 10s to 7d, in whole seconds, or `0s`: until the browser is closed";
        reading.error(node.at, "range", message);
        return None;
    }
    Some(ttl)
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b';' && byte != b','
}

fn domain(written: &Scalar) -> Result<String, String> {
    let text = written.value();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(plain) {
        return Err(format!("`{written}` is no domain"));
    }
    Ok(text.to_owned())
}

fn app_cookie(reading: &Reading, node: &Node, service: &str) -> Option<AffinityPlan> {
    let by = |name| AffinityPlan {
        by: AffinityBy::AppCookie {
            name,
            beside: CookiePlan {
                name: own_name(service),
                ttl: Duration::ZERO,
                attributes: "; Path=/; HttpOnly; SameSite=Lax".into(),
                secure: false,
            },
        },
        clients: ClientsSettings::default(),
    };
    if !matches!(node.value, Value::Map(_)) {
        return reading.parsed(node, "name", cookie_name).map(by);
    }
    let map = reading.map(node, &APP_COOKIE)?;
    if map.get("name").is_none() {
        let message = "`name` is missing: which cookie does the application set?";
        reading.error(map.at, "missing", message);
    }
    let named = |reading: &Reading, node: &Node| reading.parsed(node, "name", cookie_name);
    let name = map.with("name", named);
    let clients = clients(&map);
    map.done();
    name.map(|name| AffinityPlan {
        clients,
        ..by(name)
    })
}

fn source(reading: &Reading, node: &Node) -> Option<AffinityPlan> {
    let mut settings = ClientsSettings::default();
    let mut ipv6_prefix = limits::AFFINITY_IPV6_PREFIX;
    if matches!(node.value, Value::Map(_)) {
        let map = reading.map(node, &AFFINITY_SOURCE)?;
        settings = clients(&map);
        map.set_number("ipv6_prefix", &mut ipv6_prefix);
        map.done();
    } else if !reading.boolean(node)? {
        let message = "`source: false` keeps no client anywhere; write `affinity: off`";
        reading.error(node.at, "affinity", message);
    }
    Some(AffinityPlan {
        by: AffinityBy::Source { ipv6_prefix },
        clients: settings,
    })
}

fn clients(map: &Fields<'_>) -> ClientsSettings {
    let mut clients = ClientsSettings::default();
    map.set("ttl", Reading::wait, &mut clients.ttl);
    map.set_number("clients", &mut clients.most);
    clients
}

/// `affinity_keys:`
pub(super) fn keys(reading: &Reading, node: &Node) -> Option<Material> {
    let file = material(reading, node)?;
    if let Err(message) = ticket_keys(&file.bytes) {
        reading.error(node.at, "affinity_keys", message);
        return None;
    }
    Some(file)
}
