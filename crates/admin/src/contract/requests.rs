//! Owns `/v1/requests`: the last requests that failed, and one of them.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use evenkeel_control::snapshot::{RequestPart, TryPart};
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Name, Plain, ROWS, limit_of, values};
use super::problem::{Problem, Reason};

/// A request that is remembered, or a flow. Shown by the rules of the access log: without one, no query.
#[derive(Serialize, ToSchema)]
pub(super) struct Request {
    /// What it is called here, for as long as it is remembered.
    #[schema(example = "0-17")]
    id: String,
    /// When its first byte came, in seconds since 1970.
    began_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// The service that was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Who asked.
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// Without its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// What the access log shows of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    /// What the client was answered, or would have been; absent of a flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why, in one word.
    #[schema(example = "backend_timeout")]
    reason: &'static str,
    /// Whose fault that is: `backend`, `operator`, `machine`, `client` or `nobody`.
    #[schema(example = "backend")]
    blame: &'static str,
    /// How it ended as a call of gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<&'static str>,
    /// How many attempts were made.
    attempts: u32,
    /// The first sixteen of them, in their order.
    tries: Vec<RequestTry>,
    /// What its backends know it by (`X-Request-Id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// Waited for a place under a limit.
    queue_ms: f64,
    /// Spent on connecting in the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    /// From the last attempt's connection to its response head.
    #[serde(skip_serializing_if = "Option::is_none")]
    head_ms: Option<f64>,
    total_ms: f64,
}

/// An attempt of such a request.
#[derive(Serialize, ToSchema)]
struct RequestTry {
    backend: String,
    /// What the backend answered; absent where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// How long after the request's begin that was.
    after_ms: f64,
}

/// Requests that failed.
#[derive(Serialize, ToSchema)]
struct FailedRequests {
    /// In the order in which they began.
    items: Vec<Request>,
    /// How many failed since the process began.
    failed: u64,
    /// How many of them nobody remembers, as somebody looked at the moment at which they ended.
    missed: u64,
    /// How many are remembered, at most.
    most: usize,
}

pub(super) fn milliseconds(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn tried(one: TryPart) -> RequestTry {
    RequestTry {
        backend: one.backend,
        status: one.status,
        reason: one.reason,
        after_ms: milliseconds(one.after),
    }
}

pub(super) fn row(one: RequestPart) -> Request {
    Request {
        id: one.id,
        began_seconds: one.began.as_secs_f64(),
        listener: one.listener,
        rule: one.rule,
        service: one.service,
        client: one.client,
        method: one.method,
        host: one.host,
        path: one.path,
        query: one.query,
        protocol: one.protocol,
        status: one.status,
        reason: one.reason,
        blame: one.blame,
        grpc_status: one.grpc,
        attempts: one.attempts,
        tries: one.tries.into_iter().map(tried).collect(),
        request_id: one.request_id,
        trace_id: one.trace_id,
        queue_ms: milliseconds(one.queue),
        connect_ms: one.connect.map(milliseconds),
        head_ms: one.head.map(milliseconds),
        total_ms: milliseconds(one.total),
    }
}

/// Which requests.
#[derive(Debug, Default, PartialEq, Eq, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Sought {
    /// So many rows at most, the last; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `true`: others are not remembered.
    failed: Option<bool>,
    /// Of this service.
    service: Option<String>,
    /// That ended for this reason.
    reason: Option<String>,
}

impl Sought {
    fn of(query: Option<&str>) -> Result<Self, Problem> {
        let [limit, failed, service, reason] =
            values(query, ["limit", "failed", "service", "reason"])?;
        if failed.as_ref().is_some_and(|word| word != "true") {
            let why = "`failed` takes `true`: of requests that did not fail nothing is remembered";
            return Err(Problem::new(Reason::Query, why));
        }
        Ok(Self {
            limit: limit.as_deref().map(limit_of).transpose()?,
            failed: failed.map(|_| true),
            service,
            reason,
        })
    }

    fn wants(&self, one: &RequestPart) -> bool {
        let service = |name: &String| one.service.as_ref() == Some(name);
        let reason = |word: &String| one.reason == word;
        self.service.as_ref().is_none_or(service) && self.reason.as_ref().is_none_or(reason)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Sought {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts.uri.query())
    }
}

/// The last requests that failed: those that a backend, this machine or too little room for them has cost an answer, or that were
/// answered with 500 and above. Each worker remembers 128.
#[utoipa::path(get, path = "/v1/requests", tag = "events", params(Sought),
    responses((status = 200, description = "Those that are remembered.", body = FailedRequests)))]
async fn requests(State(shown): State<Asked>, sought: Sought) -> Json<FailedRequests> {
    let most = sought.limit.unwrap_or(ROWS).into();
    let items = shown.watch.failed(most, |one| sought.wants(one));
    let counts = shown.watch.failed_counts();
    Json(FailedRequests {
        items: items.into_iter().map(row).collect(),
        failed: counts.failed,
        missed: counts.missed,
        most: counts.most,
    })
}

/// One request that failed.
#[utoipa::path(get, path = "/v1/requests/{request}", tag = "events",
    params(("request" = String, Path, description = "Its id, or what its backends know it by.")),
    responses((status = 200, description = "The request.", body = Request)))]
async fn request(
    State(shown): State<Asked>,
    Name(id): Name,
    _: Plain,
) -> Result<Json<Request>, Problem> {
    match shown.watch.failed_of(&id) {
        Some(one) => Ok(Json(row(one))),
        None => {
            let why = "no request of this name is remembered: it did not fail, or others have taken its place";
            Err(Problem::new(Reason::UnknownRequest, why))
        }
    }
}

resource![requests, request];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_requests_is_taken_or_refused_by_name() {
        let sought = |query| Sought::of(Some(query)).map_err(|problem| problem.detail().to_owned());
        assert_eq!(sought(""), Ok(Sought::default()));
        let all = Sought {
            limit: Some(5),
            failed: Some(true),
            service: Some("api".into()),
            reason: Some("backend_reset".into()),
        };
        let query = "failed=true&limit=5&service=api&reason=backend_reset";
        assert_eq!(sought(query), Ok(all));
        assert!(sought("failed=false").unwrap_err().contains("`true`"));
        assert!(sought("limit=0").unwrap_err().contains("1 to 1000"));
        assert!(sought("after=1").unwrap_err().contains("no key `after`"));
    }
}
