//! Owns `services:`.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::settings::{
    BreakerSettings, HashMethod, OnAllDown, PolicyChoice, ServiceSettings,
};

use super::{address, health};
use crate::limits::ServiceLimits;
use crate::plan::{BackendPlan, HashKey, ServicePlan, UpstreamPlan};
use crate::problem::At;
use crate::read::{Fields, Reading};
use crate::tree::{Node, Value};

pub(super) fn read(name: Arc<str>, at: At, fields: Fields<'_>) -> Option<ServicePlan> {
    let reading = fields.reading;
    let (policy, key) = fields.with("policy", policy).unwrap_or_default();
    let mut settings = ServiceSettings {
        policy,
        // The proxy serves rather than refuses when every verdict is against everybody.
        on_all_down: OnAllDown::FailOpen,
        ..ServiceSettings::default()
    };
    fields.set("slow_start", Reading::duration, &mut settings.slow_start);
    fields.set("on_all_down", on_all_down, &mut settings.on_all_down);
    fields.set("breaker", breaker, &mut settings.breaker);
    let health = fields.with("health", health::read);
    let (health, active) = health.unzip();
    settings.health = active;
    let mut limits = ServiceLimits::default();
    if let Some(map) = fields
        .get("timeouts")
        .and_then(|node| reading.map(node, "timeouts"))
    {
        map.set("connect", Reading::wait, &mut limits.connect);
        map.set("per_try", Reading::wait, &mut limits.per_try);
        map.set("exchange", Reading::wait, &mut limits.exchange);
        map.set("idle_body", Reading::wait, &mut limits.idle_body);
        if limits.per_try > limits.exchange {
            reading.warning(
                map.at,
                "deadlines",
                "`per_try` is longer than `exchange`, which ends first",
            );
        }
        map.done();
    }
    let upstream = fields
        .with("upstream", upstream)
        .unwrap_or_else(default_upstream);
    let backends = fields.get("backends").map(|node| {
        let items = reading.items(node).iter();
        if items.len() == 0 {
            reading.error(
                node.at,
                "empty",
                "a service without backends serves nothing",
            );
        }
        items
            .filter_map(|node| backend(reading, node))
            .collect::<Vec<_>>()
    });
    fields.later(&["retry", "hedge", "limits", "drain", "affinity"]);
    fields.done();
    match &backends {
        None => reading.error(
            at,
            "missing",
            format!("service `{name}` has no `backends`; write `backends: [10.0.0.1:9000]`"),
        ),
        Some(backends) => members(reading, at, &name, backends),
    }
    Some(ServicePlan {
        name,
        settings,
        key,
        backends: backends?.into_iter().map(|(_, backend)| backend).collect(),
        upstream,
        health,
        limits,
    })
}

/// What only all members together can have wrong.
fn members(reading: &Reading, at: At, name: &str, backends: &[(At, BackendPlan)]) {
    let mut seen: BTreeMap<&str, At> = BTreeMap::new();
    for (at, backend) in backends {
        if let Some(earlier) = seen.insert(backend.spec.id.as_str(), *at) {
            reading.error_with(
                *at,
                "duplicate_backend",
                format!(
                    "backend `{}` stands here twice; give the second one an `id`",
                    backend.spec.id
                ),
                earlier,
            );
        }
    }
    if !backends.is_empty()
        && backends
            .iter()
            .all(|(_, backend)| backend.spec.weight == Weight::ZERO)
    {
        reading.warning(
            at,
            "weights",
            format!("all backends of `{name}` have weight 0: nothing is sent to any of them"),
        );
    }
}

fn policy(reading: &Reading, node: &Node) -> Option<(PolicyChoice, Option<HashKey>)> {
    if matches!(node.value, Value::Map(_)) {
        let map = reading.map(node, "policy")?;
        let chosen = map.get("hash").and_then(|node| hash(reading, node));
        if map.get("hash").is_none() {
            reading.error(map.at, "policy", "a policy with settings is `{ hash: { key: source } }`; the others are written by their name");
        }
        map.done();
        return chosen;
    }
    reading.parsed(node, "policy", |text| match text {
        "adaptive" => Ok((PolicyChoice::Adaptive, None)),
        "round_robin" => Ok((PolicyChoice::RoundRobin, None)),
        "random" => Ok((PolicyChoice::Random, None)),
        "least_connections" => Ok((PolicyChoice::LeastConnections, None)),
        "power_of_two" => Ok((PolicyChoice::PowerOfTwo, None)),
        "hash" => Ok((PolicyChoice::Hash(HashMethod::Maglev), Some(HashKey::Source))),
        _ => Err(format!("`{text}` is no policy; there are adaptive, round_robin, random, least_connections, power_of_two, hash")),
    })
}

fn hash(reading: &Reading, node: &Node) -> Option<(PolicyChoice, Option<HashKey>)> {
    let map = reading.map(node, "hash")?;
    let key = map.with("key", hash_key);
    let method = map.with("method", |reading, node| {
        reading.parsed(node, "value", |text| match text {
            "maglev" => Ok(HashMethod::Maglev),
            "rendezvous" => Ok(HashMethod::Rendezvous),
            "ring" => Err("`ring` is not built yet".into()),
            _ => Err(format!(
                "`maglev` or `rendezvous` is expected, not `{text}`"
            )),
        })
    });
    map.later(&["bounded"]);
    map.done();
    Some((
        PolicyChoice::Hash(method.unwrap_or_default()),
        Some(key.unwrap_or(HashKey::Source)),
    ))
}

/// The name of a field or cookie.
fn token(text: &str) -> Result<String, String> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(letters) {
        return Err(format!("`{text}` is no name of a field or cookie"));
    }
    Ok(text.to_owned())
}

fn hash_key(reading: &Reading, node: &Node) -> Option<HashKey> {
    if matches!(node.value, Value::Map(_)) {
        let map = reading.map(node, "key")?;
        let named = |reading: &Reading, node: &Node| reading.parsed(node, "name", token);
        let header = map.with("header", named);
        let header = header.map(|name| HashKey::Header(name.to_ascii_lowercase().into()));
        let cookie = map
            .with("cookie", named)
            .map(|name| HashKey::Cookie(name.into()));
        if map.get("header").is_some() == map.get("cookie").is_some() {
            let message = "a key is one of `{ header: name }` and `{ cookie: name }`";
            reading.error(map.at, "key", message);
        }
        map.done();
        return header.or(cookie);
    }
    reading.parsed(node, "value", |text| match text {
        "source" => Ok(HashKey::Source),
        "path" => Ok(HashKey::Path),
        "uri" => Ok(HashKey::Uri),
        _ => Err(format!("a key is `source`, `path`, `uri`, `{{ header: name }}` or `{{ cookie: name }}`, not `{text}`")),
    })
}

fn on_all_down(reading: &Reading, node: &Node) -> Option<OnAllDown> {
    reading.parsed(node, "value", |text| match text {
        "fail_open" => Ok(OnAllDown::FailOpen),
        "fail_closed" => Ok(OnAllDown::FailClosed),
        _ => Err(format!(
            "`fail_open` or `fail_closed` is expected, not `{text}`"
        )),
    })
}

fn breaker(reading: &Reading, node: &Node) -> Option<Option<BreakerSettings>> {
    if !matches!(node.value, Value::Map(_)) {
        return reading.parsed(node, "value", |text| match text {
            "off" => Ok(None),
            "on" => Ok(Some(BreakerSettings::default())),
            _ => Err(format!("`on`, `off` or a map is expected, not `{text}`")),
        });
    }
    let map = reading.map(node, "breaker")?;
    let mut settings = BreakerSettings::default();
    let small = |reading: &Reading, node: &Node| {
        reading
            .number(node, 0, 1_000_000)
            .and_then(|number| u32::try_from(number).ok())
    };
    map.set("consecutive", small, &mut settings.consecutive);
    map.set("failure_rate", Reading::share, &mut settings.failure_rate);
    map.set(
        "slow",
        |reading, node| reading.wait(node).map(Some),
        &mut settings.slow,
    );
    map.set("slow_rate", Reading::share, &mut settings.slow_rate);
    map.set("least", small, &mut settings.least);
    map.set("window", Reading::wait, &mut settings.window);
    map.set("open", Reading::wait, &mut settings.open);
    map.set("open_max", Reading::wait, &mut settings.open_max);
    map.set(
        "trials",
        |reading, node| {
            reading
                .number(node, 1, 32_767)
                .and_then(|number| u16::try_from(number).ok())
        },
        &mut settings.trials,
    );
    map.set("cap", Reading::share, &mut settings.cap);
    if settings.open > settings.open_max {
        reading.error(map.at, "range", "`open` is longer than `open_max`");
    }
    map.done();
    Some(Some(settings))
}

fn default_upstream() -> UpstreamPlan {
    UpstreamPlan {
        // Node's servers close after 5 s: we must be first.
        idle: Duration::from_secs(4),
        requests: None,
        age: None,
        idle_most: 256,
        source: None,
        keepalive: None,
    }
}

fn upstream(reading: &Reading, node: &Node) -> Option<UpstreamPlan> {
    let map = reading.map(node, "upstream")?;
    let mut plan = default_upstream();
    map.set("idle", Reading::duration, &mut plan.idle);
    map.set(
        "requests",
        |reading, node| reading.count(node, 1, usize::MAX).map(NonZeroUsize::new),
        &mut plan.requests,
    );
    map.set(
        "age",
        |reading, node| reading.wait(node).map(Some),
        &mut plan.age,
    );
    map.set(
        "idle_most",
        |reading, node| reading.count(node, 0, 1_000_000),
        &mut plan.idle_most,
    );
    let address = |reading: &Reading, node: &Node| {
        reading.parsed(node, "address", |text| {
            text.parse().map_err(|_| format!("`{text}` is no address"))
        })
    };
    map.set(
        "source",
        |reading, node| address(reading, node).map(Some),
        &mut plan.source,
    );
    map.set(
        "keepalive",
        |reading, node| reading.wait(node).map(Some),
        &mut plan.keepalive,
    );
    // The only values there are, so that a file may say them.
    for (key, only) in [
        ("protocol", "http1"),
        ("tls", "off"),
        ("proxy_protocol", "off"),
    ] {
        if let Some(node) = map.get(key)
            && !matches!(&node.value, Value::Scalar { text, .. } if text == only)
        {
            reading.error(
                node.at,
                "not_yet",
                format!("only `{key}: {only}` is built yet"),
            );
        }
    }
    map.done();
    Some(plan)
}

fn backend(reading: &Reading, node: &Node) -> Option<(At, BackendPlan)> {
    if !matches!(node.value, Value::Map(_)) {
        let text = reading.text(node)?;
        let address = reading.parsed(node, "address", address::backend)?;
        let spec = BackendSpec::new(text);
        return Some((
            node.at,
            BackendPlan {
                spec,
                address,
                max_connections: None,
                zone: None,
            },
        ));
    }
    let map = reading.map(node, "a backend")?;
    map.later(&["dns", "refresh", "tier"]);
    let dns = map.get("dns").is_some();
    let written = map.text("address");
    let address = written
        .as_deref()
        .zip(map.get("address"))
        .and_then(|(text, node)| {
            address::backend(text)
                .map_err(|message| reading.error(node.at, "address", message))
                .ok()
        });
    let id = map.text("id").or(written);
    let weight = map.with("weight", |reading, node| {
        reading.number(node, 0, Weight::MOST.into())
    });
    let max_in_flight = map.with("max_in_flight", |reading, node| {
        reading.number(node, 1, u32::MAX.into())
    });
    let max_connections = map.with("max_connections", |reading, node| {
        reading.count(node, 1, 10_000_000)
    });
    let zone = map.text("zone");
    let admin = map.with("state", state);
    let labels = map.with("labels", |reading, node| {
        reading.map(node, "labels").map(|map| labels(&map))
    });
    let at = map.at;
    if map.get("address").is_none() && !dns {
        reading.error(at, "missing", "a backend needs its `address`");
    }
    map.done();
    let weight = Weight::new(u32::try_from(weight.unwrap_or(1)).ok()?).ok()?;
    let spec = BackendSpec {
        weight,
        max_in_flight: max_in_flight.and_then(|most| NonZeroU32::new(u32::try_from(most).ok()?)),
        admin: admin.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        ..BackendSpec::new(id?)
    };
    let max_connections = max_connections.and_then(NonZeroUsize::new);
    Some((
        at,
        BackendPlan {
            spec,
            address: address?,
            max_connections,
            zone: zone.map(Into::into),
        },
    ))
}

fn state(reading: &Reading, node: &Node) -> Option<Admin> {
    reading.parsed(node, "value", |text| match text {
        "enabled" => Ok(Admin::Enabled),
        "draining" => Ok(Admin::Draining),
        "disabled" => Ok(Admin::Disabled),
        _ => Err(format!(
            "`enabled`, `draining` or `disabled` is expected, not `{text}`"
        )),
    })
}

fn labels(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let all = fields.all().iter();
    all.filter_map(|(key, node)| Some((key.text.clone(), fields.reading.text(node)?)))
        .collect()
}
