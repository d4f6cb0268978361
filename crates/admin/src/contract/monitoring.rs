//! Owns what an instance sees of itself over time: `/v1/health`, `/v1/performance`, how requests were spread.
//!
//! Words and figures are those of `evenkeel_watch`; times are milliseconds, as everywhere below `/v1`.

use axum::Json;
use axum::extract::State;
use evenkeel_control::monitor::{BackendHealth, FiguresPart, HealthPart, SPREAD_OVER};
use evenkeel_control::sight::{self, Direction, Metric, Over, Span, Summary, Unit};
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Name, Page, Paging, Plain};
use super::problem::Problem;

/// How healthy all services are.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `healthy`, `degraded` or, where no service serves, `unhealthy`.
    #[schema(example = "healthy")]
    health: &'static str,
    services: Page<ServiceHealth>,
}

/// How healthy a service is.
#[derive(Serialize, ToSchema)]
struct ServiceHealth {
    service: String,
    /// `healthy`; `degraded` where something is wrong with it or with one of its backends; `unhealthy` where it does not serve.
    #[schema(example = "degraded")]
    health: &'static str,
    /// How many of its backends are of each kind.
    backends: Kinds,
    /// Alerts of it and of its backends that are raised.
    alerts: usize,
}

/// Backends by how healthy they are.
#[derive(Serialize, ToSchema)]
struct Kinds {
    healthy: usize,
    degraded: usize,
    unhealthy: usize,
}

/// How healthy a service and its backends are.
#[derive(Serialize, ToSchema)]
struct HealthOfService {
    #[serde(flatten)]
    service: ServiceHealth,
    members: Page<HealthOfBackend>,
}

/// How healthy a backend is.
#[derive(Serialize, ToSchema)]
struct HealthOfBackend {
    backend: String,
    /// `unhealthy` at once when it is out, `degraded` while an alert of it is raised.
    #[schema(example = "healthy")]
    health: &'static str,
    /// May it be picked.
    #[schema(example = "serving")]
    standing: &'static str,
    /// Alerts of it that are raised, by number: `/v1/alerts`.
    alerts: Vec<u64>,
}

/// Figures of a service or a backend.
#[derive(Serialize, ToSchema)]
struct Performance {
    /// A service's name, or a backend's id.
    name: String,
    /// Over the last 10 seconds, minute, ten minutes, hour and day, back from the last second that is over. Empty: nothing has ended yet.
    windows: Vec<Figures>,
    /// Where figures go, of which enough is known.
    trends: Vec<FigureTrend>,
}

/// Figures of a service, and of its backends.
#[derive(Serialize, ToSchema)]
struct PerformanceOfService {
    service: Performance,
    backends: Page<Performance>,
}

/// Figures over a window. Of a service they are of exchanges, of a backend of attempts on it.
#[derive(Serialize, ToSchema)]
struct Figures {
    /// How long it is.
    #[schema(example = 60)]
    window_seconds: u64,
    /// How much of it was seen.
    seen_seconds: f64,
    requests: u64,
    errors: u64,
    /// To the response head; null where none came.
    mean_ms: Option<f64>,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    /// What ended in a second; null where no time was seen.
    throughput: Option<f64>,
    /// The share that failed, 0 to 1; null where nothing ended.
    error_rate: Option<f64>,
    /// The share of the time in which it could be picked, 0 to 1.
    availability: Option<f64>,
}

/// Where a figure goes.
#[derive(Serialize, ToSchema)]
struct FigureTrend {
    /// `mean`, `p95`, `p99`, `throughput` or `error_rate`.
    #[schema(example = "p95")]
    metric: &'static str,
    /// `hour`: over the minutes of the last hour; `day`: over the hours of the last day.
    over: &'static str,
    /// `rising`, `falling` or `steady`.
    #[schema(example = "rising")]
    direction: &'static str,
    /// How fast, in an hour: milliseconds of latencies, requests a second of throughput, a share of the error rate.
    slope_per_hour: f64,
    /// The figure in the middle, in the same unit.
    median: f64,
    /// How likely so much of a trend is where there is none, 0 to 1.
    significance: f64,
    /// How many minutes or hours it was looked for in.
    points: usize,
}

/// How requests of the last ten minutes were spread over the backends of a service.
#[derive(Serialize, ToSchema)]
struct SpreadOfService {
    service: String,
    #[schema(example = 600)]
    window_seconds: u64,
    /// Each backend's, in the order of the configuration. Both sides sum to 100, or to 0 where there is nothing.
    backends: Vec<SpreadShare>,
    /// The most that one is off, in points of per cent.
    most_off_percent: f64,
    /// Jain's index of what each got for its weight: 1 where all got the same, one over their number where one got all.
    fairness: f64,
}

/// What a backend got beside what it was to get.
#[derive(Serialize, ToSchema)]
struct SpreadShare {
    backend: String,
    requests: u64,
    /// By weight, tier and standing of now.
    wanted_percent: f64,
    got_percent: f64,
}

const fn word(health: sight::Health) -> &'static str {
    match health {
        sight::Health::Healthy => "healthy",
        sight::Health::Degraded => "degraded",
        sight::Health::Unhealthy => "unhealthy",
    }
}

fn service_health(part: &HealthPart) -> ServiceHealth {
    let [healthy, degraded, unhealthy] = part.backends;
    ServiceHealth {
        service: part.service.to_string(),
        health: word(part.health),
        backends: Kinds {
            healthy,
            degraded,
            unhealthy,
        },
        alerts: part.alerts,
    }
}

fn backend_health(part: BackendHealth) -> HealthOfBackend {
    HealthOfBackend {
        backend: part.id,
        health: word(part.health),
        standing: part.standing,
        alerts: part.alerts,
    }
}

fn figures((window, seen): &(Span, Summary)) -> Figures {
    let millis = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e3);
    Figures {
        window_seconds: window.secs(),
        seen_seconds: seen.seconds,
        requests: seen.requests,
        errors: seen.errors,
        mean_ms: millis(seen.mean),
        p50_ms: millis(seen.p50),
        p95_ms: millis(seen.p95),
        p99_ms: millis(seen.p99),
        throughput: seen.throughput(),
        error_rate: seen.error_rate(),
        availability: seen.availability(),
    }
}

fn trend((metric, over, seen): &(Metric, Over, sight::Trend)) -> FigureTrend {
    let scale = match metric.unit() {
        Unit::Seconds => 1e3,
        Unit::PerSecond | Unit::Share => 1.0,
    };
    FigureTrend {
        metric: metric.name(),
        over: match over {
            Over::Hour => "hour",
            Over::Day => "day",
        },
        direction: match seen.direction {
            Direction::Rising => "rising",
            Direction::Falling => "falling",
            Direction::Steady => "steady",
        },
        slope_per_hour: seen.slope * scale,
        median: seen.median * scale,
        significance: seen.significance,
        points: seen.points,
    }
}

fn performance_row(part: FiguresPart) -> Performance {
    Performance {
        windows: part.windows.iter().map(figures).collect(),
        trends: part.trends.iter().map(trend).collect(),
        name: part.name,
    }
}

/// How healthy the instance's services are: all together, and each.
#[utoipa::path(get, path = "/v1/health", tag = "monitoring", params(Paging),
    responses((status = 200, description = "All of them, and a page of services in the order of the configuration.", body = Health)))]
async fn health(State(shown): State<Asked>, paging: Paging) -> Result<Json<Health>, Problem> {
    let (all, seen) = shown.watch.health(&paging.span())?;
    Ok(Json(Health {
        health: word(all),
        services: Page::of(seen, |part| service_health(&part)),
    }))
}

/// How healthy a service is, and each of its backends.
#[utoipa::path(get, path = "/v1/services/{service}/health", tag = "monitoring",
    params(("service" = String, Path, description = "The service's name."), Paging),
    responses((status = 200, description = "It, and a page of its backends.", body = HealthOfService)))]
async fn service_health_page(
    State(shown): State<Asked>,
    Name(service): Name,
    paging: Paging,
) -> Result<Json<HealthOfService>, Problem> {
    let (whole, seen) = shown.watch.backends_health(&service, &paging.span())?;
    Ok(Json(HealthOfService {
        service: service_health(&whole),
        members: Page::of(seen, backend_health),
    }))
}

/// Latency, throughput, errors and availability of services over five windows, and where they go.
#[utoipa::path(get, path = "/v1/performance", tag = "monitoring", params(Paging),
    responses((status = 200, description = "A page of services, in the order of the configuration.", body = Page<Performance>)))]
async fn performance(
    State(shown): State<Asked>,
    paging: Paging,
) -> Result<Json<Page<Performance>>, Problem> {
    let seen = shown.watch.performance(&paging.span())?;
    Ok(Json(Page::of(seen, performance_row)))
}

/// The same of a service, and of each of its backends.
#[utoipa::path(get, path = "/v1/services/{service}/performance", tag = "monitoring",
    params(("service" = String, Path, description = "The service's name."), Paging),
    responses((status = 200, description = "It, and a page of its backends.", body = PerformanceOfService)))]
async fn service_performance(
    State(shown): State<Asked>,
    Name(service): Name,
    paging: Paging,
) -> Result<Json<PerformanceOfService>, Problem> {
    let (whole, seen) = shown.watch.performance_of(&service, &paging.span())?;
    Ok(Json(PerformanceOfService {
        service: performance_row(whole),
        backends: Page::of(seen, performance_row),
    }))
}

/// How requests of the last ten minutes were spread over the backends of a service, beside how they were to be.
#[utoipa::path(get, path = "/v1/services/{service}/distribution", tag = "monitoring",
    params(("service" = String, Path, description = "The service's name.")),
    responses((status = 200, description = "All of its backends.", body = SpreadOfService)))]
async fn distribution(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
) -> Result<Json<SpreadOfService>, Problem> {
    let seen = shown.watch.distribution(&service)?;
    let shares = seen.shares.into_iter();
    Ok(Json(SpreadOfService {
        service,
        window_seconds: SPREAD_OVER.secs(),
        backends: shares
            .map(|share| SpreadShare {
                backend: share.backend,
                requests: share.requests,
                wanted_percent: share.wanted,
                got_percent: share.got,
            })
            .collect(),
        most_off_percent: seen.most_off,
        fairness: seen.fairness,
    }))
}

resource![
    health,
    service_health_page,
    performance,
    service_performance,
    distribution,
];
