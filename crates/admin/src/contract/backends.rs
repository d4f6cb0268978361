//! Owns `/v1/services/{service}/backends`, and one of them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use evenkeel_control::snapshot::{BackendPart, BreakerPart, Load};
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Name, Names, Page, Paging, Plain};
use super::problem::Problem;

/// A backend.
#[derive(Serialize, ToSchema)]
struct Backend {
    id: String,
    /// Where it is reached; null while it leaves.
    address: Option<String>,
    /// May it be picked: `disabled`, `draining`, `down`, `ejected`, `probing`, `unproven` or `serving`.
    #[schema(example = "serving")]
    standing: &'static str,
    /// Why.
    reason: String,
    /// For how long.
    since_seconds: f64,
    /// What is wanted of it: `enabled`, `draining` or `disabled`.
    #[schema(example = "enabled")]
    wanted: &'static str,
    /// Free words of the operator.
    labels: BTreeMap<String, String>,
    weight: u16,
    tier: u16,
    /// Where it stands; null: nobody has said.
    zone: Option<String>,
    /// Slow start: the share of its weight that it has, 0.1 to 1.
    ramp: f32,
    in_flight: u32,
    /// The most attempts at once; null: no limit.
    max_in_flight: Option<u32>,
    /// Its adaptive limit; absent where limits are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    adaptive_limit: Option<AdaptiveLimit>,
    /// Sockets that are open, idle ones too.
    connections: usize,
    attempts: Attempts,
    /// The share of the service's attempts that it should get by tier, weight and standing, 0 to 1.
    share_wanted: f64,
    /// The share of them that it got since the service began.
    share_got: f64,
    latency: Latency,
    checks: Checks,
    breaker: Breaker,
    /// What it reports of its load; absent where the policy does not go by that.
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<ReportedLoad>,
    /// Under the `health_based` policy, the part of its share that it is trusted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust: Option<f32>,
}

/// Attempts since a backend joined.
#[derive(Serialize, ToSchema)]
struct Attempts {
    picked: u64,
    /// Of them, those that ended, well or badly.
    finished: u64,
    /// Of them, those that ended without a word on how.
    abandoned: u64,
    /// Of them, failures.
    failed: u64,
}

/// Time to the response head.
#[derive(Serialize, ToSchema)]
struct Latency {
    /// A moving mean; null before the first answer.
    mean_ms: Option<f64>,
    /// By the share of answers that take no longer, such as `0.99`; empty where distributions are not kept.
    quantiles_ms: BTreeMap<String, f64>,
}

/// Checks of a backend.
#[derive(Serialize, ToSchema)]
struct Checks {
    /// By what they came to; empty: none are made.
    results: BTreeMap<&'static str, u64>,
    /// Passed in a row.
    passed_in_a_row: u32,
    /// Failed in a row, verdicts by hand too.
    failed_in_a_row: u32,
    /// The newest; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<LastCheck>,
}

/// The newest check.
#[derive(Serialize, ToSchema)]
struct LastCheck {
    passed: bool,
    /// The status that it saw, where it saw one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    latency_ms: f64,
    /// Since it began.
    age_seconds: f64,
}

/// A backend's breaker.
#[derive(Serialize, ToSchema)]
struct Breaker {
    /// `closed`, `open` or `half_open`.
    #[schema(example = "closed")]
    gate: &'static str,
    /// Until trials begin; absent unless it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    trials_in_seconds: Option<f64>,
    /// Failures in a row.
    consecutive_failures: u32,
    /// The verdicts that it goes by.
    window: Window,
}

/// Verdicts of the last seconds.
#[derive(Serialize, ToSchema)]
struct Window {
    /// How much of it is filled.
    seconds: f64,
    succeeded: u64,
    failed: u64,
    /// Of those that succeeded.
    slow: u64,
}

/// A limit that is found.
#[derive(Serialize, ToSchema)]
struct AdaptiveLimit {
    /// What holds.
    in_use: u32,
    /// What it comes to by what was heard.
    wanted: f64,
}

/// What a backend says of its load.
#[derive(Serialize, ToSchema)]
struct ReportedLoad {
    /// Null: it has said nothing.
    utilization: Option<f32>,
    /// Of the newest report.
    age_seconds: Option<f64>,
    reports: u64,
    /// Times its configured weight.
    factor: f32,
    /// Why.
    reason: &'static str,
}

fn millis(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn row(part: BackendPart) -> Backend {
    let seen = part.seen;
    let quantiles = part.quantiles.iter();
    let [passed_in_a_row, failed_in_a_row] = part.in_a_row;
    let age = part.check_age.unwrap_or_default().as_secs_f64();
    Backend {
        id: seen.id,
        address: part.address,
        standing: seen.standing,
        reason: seen.reason,
        since_seconds: seen.since.as_secs_f64(),
        wanted: part.wanted,
        labels: part.labels.into_iter().collect(),
        weight: seen.weight,
        tier: seen.tier,
        zone: seen.zone,
        ramp: seen.ramp,
        in_flight: seen.in_flight,
        max_in_flight: part.max_in_flight,
        adaptive_limit: (seen.limit).map(|(in_use, wanted)| AdaptiveLimit { in_use, wanted }),
        connections: seen.connections,
        attempts: Attempts {
            picked: seen.picked,
            finished: seen.finished,
            abandoned: seen.abandoned,
            failed: seen.failed,
        },
        share_wanted: seen.share_wanted,
        share_got: part.share_got,
        latency: Latency {
            mean_ms: seen.latency.map(millis),
            quantiles_ms: quantiles
                .map(|(share, latency)| (share.to_string(), millis(*latency)))
                .collect(),
        },
        checks: Checks {
            results: seen.checks.into_iter().collect(),
            passed_in_a_row,
            failed_in_a_row,
            last: seen.check.map(|(passed, status, latency)| LastCheck {
                passed,
                status,
                latency_ms: millis(latency),
                age_seconds: age,
            }),
        },
        breaker: breaker(&part.breaker),
        load: seen.load.as_ref().map(load),
        trust: seen.trust,
    }
}

fn breaker(seen: &BreakerPart) -> Breaker {
    let [succeeded, failed, slow] = seen.window;
    Breaker {
        gate: seen.word,
        trials_in_seconds: seen.trials_in.map(|left| left.as_secs_f64()),
        consecutive_failures: seen.consecutive_failures,
        window: Window {
            seconds: seen.window_length.as_secs_f64(),
            succeeded,
            failed,
            slow,
        },
    }
}

fn load(seen: &Load) -> ReportedLoad {
    ReportedLoad {
        utilization: seen.utilization,
        age_seconds: seen.age.map(|age| age.as_secs_f64()),
        reports: seen.reports,
        factor: seen.factor,
        reason: seen.reason,
    }
}

/// Backends of a service, in the order of the configuration, and behind them those that names stand for.
#[utoipa::path(get, path = "/v1/services/{service}/backends", tag = "backends",
    params(("service" = String, Path, description = "The service's name."), Paging),
    responses((status = 200, description = "A page of them.", body = Page<Backend>)))]
async fn backends(
    State(shown): State<Asked>,
    Name(service): Name,
    paging: Paging,
) -> Result<Json<Page<Backend>>, Problem> {
    let seen = shown.watch.backends(&service, &paging.span())?;
    Ok(Json(Page::of(seen, row)))
}

/// One backend.
#[utoipa::path(get, path = "/v1/services/{service}/backends/{backend}", tag = "backends",
    params(("service" = String, Path, description = "The service's name."), ("backend" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The backend.", body = Backend)))]
async fn backend(
    State(shown): State<Asked>,
    Names(service, id): Names,
    _: Plain,
) -> Result<Json<Backend>, Problem> {
    Ok(Json(row(shown.watch.backend(&service, &id)?)))
}

resource![backends, backend];
