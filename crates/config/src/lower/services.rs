//! Owns `services:`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::settings::{
    AdaptiveLimit, BreakerSettings, OnAllDown, QueueSettings, ServiceSettings,
};

use super::{
    Written, affinity, backends, health, load, monitoring, on_all_down, policy, retry, tiers, zones,
};
use crate::keys::{ADAPTIVE_LIMIT, BREAKER, QUEUE, SERVICE_LIMITS, SERVICE_TIMEOUTS, UPSTREAM};
use crate::limits::ServiceLimits;
use crate::plan::tls::UpstreamTls;
use crate::plan::{BackendAddress, Protocol, ServicePlan, UpstreamPlan};
use crate::problem::At;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// What stands in services and is looked at once all are read.
#[derive(Default)]
pub(crate) struct Noted {
    /// Every address of a backend, by service.
    pub(crate) addresses: Vec<Written<BackendAddress>>,
    /// Where a service names its cookie of affinity.
    pub(crate) cookies: Vec<(At, Arc<str>)>,
}

pub(super) fn read(
    name: Arc<str>,
    at: At,
    fields: Fields<'_>,
    noted: &mut Noted,
) -> Option<ServicePlan> {
    let reading = fields.reading;
    let (policy, key) = policy::read(&fields).unwrap_or_default();
    // The proxy serves rather than refuses when every verdict is against everybody.
    let mut settings = ServiceSettings::with_policy(policy).on_all_down(OnAllDown::FailOpen);
    fields.set("slow_start", Reading::duration, &mut settings.slow_start);
    let believed = on_all_down::read(&fields, &mut settings);
    if let Some(breaker) = breaker(&fields) {
        settings.breaker = breaker;
    }
    taken_at_once(&fields, &mut settings);
    let load = load::read(&fields, &mut settings);
    let health = fields.with("health", health::read);
    let (health, active) = health.unzip();
    settings.health = active;
    let (retry, told) = retry::read(&fields).unwrap_or_else(retry::absent);
    settings.hedge = retry::hedge::read(&fields, &retry);
    settings.retry = retry;
    let limits = deadlines(&fields, told);
    let (affinity, keeps) =
        affinity::read(&fields, &name, limits.drain, &mut noted.cookies).unzip();
    settings.affinity = keeps;
    let monitoring = monitoring::read(&fields);
    let adjust = monitoring::adjust(&fields, &settings.policy);
    let serve = fields.word("tiers");
    let prefer = zones::shared(&fields, &mut settings);
    let upstream = fields
        .map("upstream", &UPSTREAM)
        .map(upstream)
        .unwrap_or_default();
    let backends = fields.get("backends");
    let members = backends.map(|node| backends::read(reading, node, &name, &mut noted.addresses));
    fields.done();
    match &members {
        None => reading.error(
            at,
            "missing",
            format!("service `{name}` has no `backends`; write `backends: [10.0.0.1:9000]`"),
        ),
        Some(members) => backends::together(reading, at, &name, members),
    }
    let (mut backends, mut names) = backends::parted(members?);
    tiers::settle(reading, at, serve, (&mut backends, &mut names));
    let all = backends.iter().map(|one| &one.spec);
    let all = all.chain(names.iter().map(|one| &one.spec));
    waited_for(reading, at, &settings, all);
    if names.is_empty() {
        on_all_down::reached(reading, believed, &settings, &backends);
    }
    Some(ServicePlan {
        name,
        settings,
        key,
        backends: backends.into(),
        names,
        upstream,
        health,
        load,
        affinity,
        prefer,
        monitoring,
        adjust,
        limits,
    })
}

/// The deadlines; `told` is what `retry` says of one attempt, and where.
fn deadlines(fields: &Fields<'_>, told: Option<(At, Duration)>) -> ServiceLimits {
    let reading = fields.reading;
    let mut limits = ServiceLimits::default();
    fields.set("drain", Reading::duration, &mut limits.drain);
    let default = told.map_or(limits.per_try, |(_, told)| told);
    let mut held = None;
    if let Some(map) = fields.map("timeouts", &SERVICE_TIMEOUTS) {
        map.set("connect", Reading::wait, &mut limits.connect);
        held = map.with("per_try", Reading::wait);
        map.set("exchange", Reading::wait, &mut limits.exchange);
        map.set("idle_body", Reading::wait, &mut limits.idle_body);
        map.set("tunnel", Reading::wait, &mut limits.tunnel);
        if held.unwrap_or(default) > limits.exchange {
            let message = "`per_try` is longer than `exchange`, which ends first";
            reading.warning(map.at, "deadlines", message);
        }
        map.done();
    }
    limits.per_try = held.unwrap_or(default);
    limits.per_try_said = held.or(told.map(|(_, told)| told));
    if let Some((at, told)) = told
        && told != limits.per_try
    {
        let message =
            "`timeouts.per_try` says something else: they are one deadline; leave one out";
        reading.error(at, "per_try", message);
    }
    limits
}

/// `limits:`
fn taken_at_once(fields: &Fields<'_>, settings: &mut ServiceSettings) {
    if let Some(map) = fields.map("limits", &SERVICE_LIMITS) {
        settings.max_in_flight = map.number("max_in_flight").and_then(NonZeroU32::new);
        settings.adaptive_limit = adaptive_limit(&map);
        settings.queue = map.map("queue", &QUEUE).map(queue);
        map.done();
    }
}

/// `adaptive:`
fn adaptive_limit(limits: &Fields<'_>) -> Option<AdaptiveLimit> {
    let (reading, node) = (limits.reading, limits.get("adaptive")?);
    if !matches!(node.value, Value::Map(_)) {
        return (limits.word("adaptive") == Some("on")).then(AdaptiveLimit::default);
    }
    let map = reading.map(node, &ADAPTIVE_LIMIT)?;
    let mut limit = AdaptiveLimit::default();
    let count = |key, absent| map.number(key).and_then(NonZeroU32::new).unwrap_or(absent);
    limit.min = count("min", limit.min);
    limit.max = count("max", limit.max);
    limit.start = count("start", limit.start);
    map.set("tolerance", Reading::share, &mut limit.tolerance);
    if limit.min > limit.max {
        let (min, max) = (limit.min, limit.max);
        let message = format!("`min` is {min}, and `max`, {max}, is less");
        reading.error(map.at, "range", message);
    }
    if !(0.05..=1.0).contains(&limit.tolerance) {
        let message = "`tolerance` is 5% to 100%: chance alone makes answers differ by less";
        reading.error(map.at, "range", message);
    }
    map.done();
    Some(limit)
}

/// Says so where there is a queue and nobody ever waits in it.
fn waited_for<'a>(
    reading: &Reading,
    at: At,
    settings: &ServiceSettings,
    backends: impl Iterator<Item = &'a BackendSpec>,
) {
    if settings.queue.is_some() && !is_limited(settings, backends) {
        reading.warning(
            at,
            "queue",
            "nobody ever waits in its `queue`: neither the service nor a backend of it has `max_in_flight`, nor are limits `adaptive`",
        );
    }
}

/// Whether it is ever full.
fn is_limited<'a>(
    settings: &ServiceSettings,
    mut backends: impl Iterator<Item = &'a BackendSpec>,
) -> bool {
    settings.max_in_flight.is_some()
        || settings.adaptive_limit.is_some()
        || backends.any(|spec| spec.max_in_flight.is_some())
}

fn queue(map: Fields<'_>) -> QueueSettings {
    let mut queue = QueueSettings::default();
    map.set_number("length", &mut queue.length);
    map.set("timeout", Reading::wait, &mut queue.timeout);
    map.done();
    queue
}

/// The name of a field or cookie.
pub(super) fn token(written: &Scalar) -> Result<String, String> {
    let text = written.value();
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(letters) {
        return Err(format!("`{written}` is no name of a field or cookie"));
    }
    Ok(text.to_owned())
}

fn breaker(fields: &Fields<'_>) -> Option<Option<BreakerSettings>> {
    let (reading, node) = (fields.reading, fields.get("breaker")?);
    if !matches!(node.value, Value::Map(_)) {
        let word = fields.word("breaker")?;
        return Some((word == "on").then(BreakerSettings::default));
    }
    let map = reading.map(node, &BREAKER)?;
    let mut settings = BreakerSettings::default();
    map.set_number("consecutive", &mut settings.consecutive);
    map.set("failure_rate", Reading::share, &mut settings.failure_rate);
    map.set(
        "slow",
        |reading, node| reading.wait(node).map(Some),
        &mut settings.slow,
    );
    map.set("slow_rate", Reading::share, &mut settings.slow_rate);
    map.set_number("least", &mut settings.least);
    map.set("window", Reading::wait, &mut settings.window);
    map.set("open", Reading::wait, &mut settings.open);
    // Who says how long the first time is has not to say how long the others are.
    settings.open_max = settings.open_max.max(settings.open);
    map.set("open_max", Reading::wait, &mut settings.open_max);
    map.set_number("trials", &mut settings.trials);
    map.set("cap", Reading::share, &mut settings.cap);
    if settings.open > settings.open_max {
        reading.error(map.at, "range", "`open` is longer than `open_max`");
    }
    map.done();
    Some(Some(settings))
}

fn upstream(map: Fields<'_>) -> UpstreamPlan {
    let mut plan = UpstreamPlan::default();
    map.set("idle", Reading::duration, &mut plan.idle);
    plan.requests = map.number("requests").and_then(NonZeroUsize::new);
    map.set(
        "age",
        |reading, node| reading.wait(node).map(Some),
        &mut plan.age,
    );
    map.set_number("idle_most", &mut plan.idle_most);
    let address = |reading: &Reading, node: &Node| {
        reading.parsed(node, "address", |text| {
            let address = text.value().parse();
            address.map_err(|_| format!("`{text}` is no address"))
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
    plan.protocol = match map.word("protocol") {
        Some("http2") => Protocol::Http2,
        Some("auto") => Protocol::Auto,
        _ => Protocol::Http1,
    };
    let spoken: &[&str] = match plan.protocol {
        Protocol::Http1 => &["http/1.1"],
        Protocol::Http2 => &["h2"],
        Protocol::Auto => &["h2", "http/1.1"],
    };
    map.set(
        "tls",
        |reading, node| {
            let tls = super::tls::upstream(reading, node)?;
            Some(tls.map(|tls| Arc::new(UpstreamTls { spoken, ..tls })))
        },
        &mut plan.tls,
    );
    map.set_number("streams", &mut plan.streams);
    map.set(
        "proxy_protocol",
        super::proxy_protocol::upstream,
        &mut plan.proxy_protocol,
    );
    map.done();
    plan
}
