//! Owns `/v1/services`, and one of them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use evenkeel_control::snapshot::{QueueSnapshot, ServiceSnapshot};
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Name, Page, Paging, Plain};
use super::problem::Problem;

/// A service. Its backends are at `/v1/services/{service}/backends`.
#[derive(Serialize, ToSchema)]
struct Service {
    name: String,
    /// Who chooses.
    #[schema(example = "adaptive")]
    policy: String,
    /// On which rung of the ladder picks stand: `proven` while all is well.
    rung: &'static str,
    /// The first tier that serves; null: no backend is healthy, or too few are.
    tier: Option<u16>,
    /// Its backends by their standing; those that none has are left out.
    backends: BTreeMap<&'static str, usize>,
    /// How long none of its backends, or too few, have been healthy; absent while they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    all_down_seconds: Option<f64>,
    /// Answers by class of status: `1xx` to `5xx`, and `none` where there was none.
    answers: BTreeMap<&'static str, u64>,
    /// Exchanges by why they ended as they did, `served` among them.
    reasons: BTreeMap<&'static str, u64>,
    attempts: u64,
    /// Attempts made again, by what went wrong before.
    retries: BTreeMap<&'static str, u64>,
    /// Retries that the budget has left.
    retry_budget: u64,
    /// Picks that were refused, by why.
    refusals: BTreeMap<&'static str, u64>,
    /// Mean time of exchanges; null before the first.
    mean_latency_ms: Option<f64>,
    /// Exchanges so far by how long they took, the shortest first; buckets that none fell into are left out. Two answers tell the quantiles of
    /// what lies between them.
    durations: Vec<Duration>,
    /// Bytes of requests' bodies.
    received_bytes: u64,
    /// Bytes of answers' bodies.
    sent_bytes: u64,
    /// Attempts that its own limit counts; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
    /// Who waits; absent where nobody may.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
    /// Tunnels that are open.
    tunnels: u64,
    /// Flows that are open.
    flows: u64,
}

/// Exchanges that took so long, and longer than the next shorter bucket says.
#[derive(Serialize, ToSchema)]
struct Duration {
    /// At most; null in the last, which has no bound.
    most_ms: Option<f64>,
    /// Above which they lie: the bound of the bucket below, that none may have fallen into.
    above_ms: f64,
    exchanges: u64,
}

fn durations(buckets: &[(f64, u64)]) -> Vec<Duration> {
    let mut above = 0.0;
    let mut all = Vec::new();
    for (most, exchanges) in buckets {
        if *exchanges > 0 {
            all.push(Duration {
                most_ms: most.is_finite().then_some(most * 1e3),
                above_ms: above,
                exchanges: *exchanges,
            });
        }
        above = most * 1e3;
    }
    all
}

/// Asks that wait for a full service.
#[derive(Serialize, ToSchema)]
struct Queue {
    /// Now.
    waiting: usize,
    /// So far.
    entered: u64,
    /// Of them, those that got a pick.
    served: u64,
    /// Of them, those that were refused.
    refused: u64,
    /// Of them, those whose client left.
    left: u64,
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[expect(
    clippy::cast_precision_loss,
    reason = "a mean of 53 bits is fine enough"
)]
fn row(seen: ServiceSnapshot) -> Service {
    let mut backends = BTreeMap::new();
    for backend in &seen.backends {
        *backends.entry(backend.standing).or_default() += 1;
    }
    let exchanges: u64 = seen.latency.iter().map(|(_, count)| count).sum();
    let mean = seen.latency_sum.as_secs_f64() * 1e3 / exchanges as f64;
    let (in_flight, max_in_flight) = seen.places.unzip();
    Service {
        name: seen.name.to_string(),
        policy: seen.policy.to_string(),
        rung: seen.rung,
        tier: seen.tier,
        backends,
        all_down_seconds: seen.all_down.map(|since| since.as_secs_f64()),
        answers: CLASSES.into_iter().zip(seen.classes).collect(),
        reasons: seen.reasons.into_iter().collect(),
        attempts: seen.attempts,
        retries: seen.retries.into_iter().collect(),
        retry_budget: seen.retry_budget,
        refusals: seen.refusals.into_iter().collect(),
        mean_latency_ms: (exchanges > 0).then_some(mean),
        durations: durations(&seen.latency),
        received_bytes: seen.received,
        sent_bytes: seen.sent,
        in_flight,
        max_in_flight,
        queue: seen.queue.as_ref().map(queue),
        tunnels: seen.tunnels.open,
        flows: seen.flows.open,
    }
}

const fn queue(seen: &QueueSnapshot) -> Queue {
    Queue {
        waiting: seen.waiting,
        entered: seen.entered,
        served: seen.served,
        refused: seen.refused,
        left: seen.left,
    }
}

/// Services, in the order of the configuration.
#[utoipa::path(get, path = "/v1/services", tag = "services", params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<Service>)))]
async fn services(
    State(shown): State<Asked>,
    paging: Paging,
) -> Result<Json<Page<Service>>, Problem> {
    let seen = shown.watch.services(&paging.span())?;
    Ok(Json(Page::of(seen, row)))
}

/// One service.
#[utoipa::path(get, path = "/v1/services/{service}", tag = "services",
    params(("service" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The service.", body = Service)))]
async fn service(
    State(shown): State<Asked>,
    Name(name): Name,
    _: Plain,
) -> Result<Json<Service>, Problem> {
    Ok(Json(row(shown.watch.service_named(&name)?)))
}

resource![services, service];
