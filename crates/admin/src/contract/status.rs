//! Owns the status as JSON: field names are a promise, converted by hand from the control plane's values.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use evenkeel_control::names::NameSnapshot;
use evenkeel_control::snapshot::{
    Backend, PassedSnapshot, QueueSnapshot, RateSnapshot, Snapshot, Spill, TierSnapshot,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::Plain;

/// `GET /v1/status`.
#[derive(Serialize, ToSchema)]
struct Status {
    version: &'static str,
    process: u32,
    draining: bool,
    /// Processes that this one took over from, and that still drain: what they have in flight is not counted here.
    predecessors: usize,
    uptime_seconds: f64,
    /// The last reload of the configuration was refused.
    reload_refused: bool,
    /// Certificates or tokens were refused when they were read last.
    files_refused: bool,
    /// Where what operators want is kept over a restart: `disk`, `memory` or `failing`.
    #[schema(example = "disk")]
    kept: &'static str,
    workers: usize,
    contained_panics: u64,
    listeners: Vec<Listener>,
    services: Vec<Service>,
    /// Rate limits, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    rates: Vec<Rate>,
}

/// As the metrics have it.
#[derive(Serialize, ToSchema)]
#[schema(as = StatusRate)]
struct Rate {
    of: &'static str,
    name: String,
    limit: String,
    passed: u64,
    refused: u64,
    shadowed: u64,
    keys: usize,
    keys_evicted: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatusListener)]
struct Listener {
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    draining: bool,
    connections: usize,
    accepted: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatusService)]
struct Service {
    name: String,
    policy: String,
    rung: &'static str,
    tier: Option<u16>,
    /// Where it has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    tiers: Vec<Tier>,
    /// Where zones are heeded: picks that had a preferred zone, by what became of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone_picks: Option<BTreeMap<&'static str, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all_down_seconds: Option<f64>,
    requests: u64,
    attempts: u64,
    /// Attempts that the service's own limit counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
    tunnels: Passed,
    flows: Passed,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    names: Vec<Name>,
    backends: Vec<Member>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatusTier)]
struct Tier {
    tier: u16,
    /// Of picks, that it should get now, 0 to 1.
    share: f64,
    picked: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatusQueue)]
struct Queue {
    waiting: usize,
    entered: u64,
    served: u64,
    refused: u64,
    left: u64,
    /// Of those that were served.
    mean_wait_ms: Option<f64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatusPassed)]
struct Passed {
    open: u64,
    /// Over all that there were, as they go.
    received_bytes: u64,
    sent_bytes: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatusName)]
struct Name {
    name: String,
    kind: &'static str,
    addresses: usize,
    /// Of the last good answer.
    age_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatusMember)]
struct Member {
    id: String,
    standing: &'static str,
    reason: String,
    since_seconds: f64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
    weight: u16,
    tier: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// While it warms up.
    #[serde(skip_serializing_if = "Option::is_none")]
    ramp: Option<f32>,
    /// Under the `health_based` policy, the part of its share that it is trusted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust: Option<f32>,
    in_flight: u32,
    /// Where limits are adaptive: what holds now, and what it comes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_wanted: Option<f64>,
    connections: usize,
    picked: u64,
    failed: u64,
    latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<Load>,
}

/// What it reports, and what follows.
#[derive(Serialize, ToSchema)]
#[schema(as = StatusLoad)]
struct Load {
    utilization: Option<f32>,
    age_seconds: Option<f64>,
    reports: u64,
    factor: f32,
    reason: &'static str,
    /// The share of the service's attempts that it should get, with its weight, its standing and slow start.
    share: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatusCheck)]
struct Check {
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    latency_ms: f64,
}

impl From<Snapshot> for Status {
    fn from(seen: Snapshot) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            process: std::process::id(),
            draining: seen.draining,
            predecessors: seen.predecessors,
            uptime_seconds: seen.uptime.as_secs_f64(),
            reload_refused: seen.texts_refused,
            files_refused: seen.files_refused,
            kept: seen.keeping.word(),
            workers: seen.workers,
            contained_panics: seen.contained_panics,
            listeners: seen
                .listeners
                .iter()
                .map(|listener| Listener {
                    name: listener.name.to_string(),
                    draining: listener.draining,
                    connections: listener.connections,
                    accepted: listener.accepted,
                })
                .collect(),
            services: seen
                .services
                .into_iter()
                .map(|service| Service {
                    name: service.name.to_string(),
                    policy: service.policy.to_string(),
                    rung: service.rung,
                    tier: service.tier,
                    tiers: service.tiers.iter().map(tier).collect(),
                    zone_picks: service.heeds_zones.then(|| zone_picks(&service.spilled)),
                    all_down_seconds: service.all_down.map(|since| since.as_secs_f64()),
                    requests: service.classes.iter().sum(),
                    attempts: service.attempts,
                    in_flight: service.places.map(|(taken, _)| taken),
                    max_in_flight: service.places.map(|(_, most)| most),
                    queue: service.queue.map(queue),
                    tunnels: passed(&service.tunnels),
                    flows: passed(&service.flows),
                    names: service.names.into_iter().map(name).collect(),
                    backends: service.backends.into_iter().map(member).collect(),
                })
                .collect(),
            rates: seen.rates.iter().map(rate).collect(),
        }
    }
}

fn rate(seen: &RateSnapshot) -> Rate {
    Rate {
        of: seen.of,
        name: seen.name.to_string(),
        limit: seen.limit.to_string(),
        passed: seen.counts.passed,
        refused: seen.counts.refused,
        shadowed: seen.counts.shadowed,
        keys: seen.keys,
        keys_evicted: seen.counts.evicted,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a mean of 53 bits is fine enough"
)]
fn queue(seen: QueueSnapshot) -> Queue {
    let mean = seen.waited.as_secs_f64() * 1e3 / seen.served as f64;
    Queue {
        waiting: seen.waiting,
        entered: seen.entered,
        served: seen.served,
        refused: seen.refused,
        left: seen.left,
        mean_wait_ms: (seen.served > 0).then_some(mean),
    }
}

const fn tier(seen: &TierSnapshot) -> Tier {
    Tier {
        tier: seen.tier,
        share: seen.share,
        picked: seen.picked,
    }
}

fn zone_picks(spilled: &[(Spill, u64)]) -> BTreeMap<&'static str, u64> {
    let zones = spilled.iter().filter(|(spill, _)| spill.is_of_zones());
    zones.map(|(spill, count)| (spill.word(), *count)).collect()
}

const fn passed(seen: &PassedSnapshot) -> Passed {
    Passed {
        open: seen.open,
        received_bytes: seen.received,
        sent_bytes: seen.sent,
    }
}

fn name(name: NameSnapshot) -> Name {
    Name {
        name: name.name,
        kind: name.kind,
        addresses: name.addresses,
        age_seconds: name.age.map(|age| age.as_secs_f64()),
        fault: name.fault,
    }
}

fn member(backend: Backend) -> Member {
    Member {
        id: backend.id,
        standing: backend.standing,
        reason: backend.reason,
        since_seconds: backend.since.as_secs_f64(),
        state: backend.state,
        state_reason: backend.state_reason,
        check: backend.check.map(|(passed, status, latency)| Check {
            passed,
            status,
            latency_ms: latency.as_secs_f64() * 1e3,
        }),
        weight: backend.weight,
        tier: backend.tier,
        zone: backend.zone,
        ramp: Some(backend.ramp).filter(|ramp| *ramp < 1.0),
        trust: backend.trust,
        in_flight: backend.in_flight,
        limit: backend.limit.map(|(in_use, _)| in_use),
        limit_wanted: backend.limit.map(|(_, wanted)| wanted),
        connections: backend.connections,
        picked: backend.picked,
        failed: backend.failed,
        latency_ms: backend.latency.map(|latency| latency.as_secs_f64() * 1e3),
        load: backend.load.map(|load| Load {
            utilization: load.utilization,
            age_seconds: load.age.map(|age| age.as_secs_f64()),
            reports: load.reports,
            factor: load.factor,
            reason: load.reason,
            share: backend.share_wanted,
        }),
    }
}

/// The whole at once: what `evenkeel status --json` prints.
#[utoipa::path(get, path = "/v1/status", tag = "status",
    responses((status = 200, description = "The instance.", body = Status)))]
async fn status(State(shown): State<Asked>, _: Plain) -> Json<Status> {
    Json(Status::from(shown.watch.snapshot()))
}

resource![status];
