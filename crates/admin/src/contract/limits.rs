//! Owns `/v1/limits`.

use axum::Json;
use axum::extract::State;
use evenkeel_control::snapshot::Usage;
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::Plain;

/// A limit, and how much of it is in use.
#[derive(Serialize, ToSchema)]
struct Limit {
    /// Whose: `process`, `listener` or `service`.
    #[schema(example = "listener")]
    of: &'static str,
    /// The name of that; absent of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// `client_connections`, `event_readers` and `picks` of the process; `connections` and `handshakes` of listeners; `in_flight`, `queue` and `affinity_clients` of services.
    #[schema(example = "connections")]
    limit: &'static str,
    /// How much is in use.
    used: u64,
    /// The most.
    most: u64,
}

fn row(seen: Usage) -> Limit {
    Limit {
        of: seen.of,
        name: seen.name.map(|name| name.to_string()),
        limit: seen.limit,
        used: seen.used,
        most: seen.most,
    }
}

/// Limits of what may be at once, and how much of each is in use.
#[utoipa::path(get, path = "/v1/limits", tag = "instance",
    responses((status = 200, description = "Those of the process, then of listeners, then of services that have any.", body = Vec<Limit>)))]
async fn limits(State(shown): State<Asked>, _: Plain) -> Json<Vec<Limit>> {
    Json(shown.watch.usage().into_iter().map(row).collect())
}

resource![limits];
