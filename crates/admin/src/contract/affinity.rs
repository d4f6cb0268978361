//! Owns `/v1/affinity`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use evenkeel_control::snapshot::ServiceSnapshot;
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Page, Paging};
use super::problem::Problem;

/// The clients that a service keeps on their backends. Who they are is not told.
#[derive(Serialize, ToSchema)]
struct Affinity {
    service: String,
    /// By what a client is known again.
    #[schema(example = "cookie")]
    by: &'static str,
    /// Exchanges whose client was new, or was kept.
    stays: BTreeMap<&'static str, u64>,
    /// Clients that moved, by why.
    moves: BTreeMap<&'static str, u64>,
    /// Cookies that counted as nothing, by why.
    ignored: BTreeMap<&'static str, u64>,
    /// Those who are remembered; absent where nobody is, as the client's own cookie says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Clients>,
}

/// A table of clients.
#[derive(Serialize, ToSchema)]
struct Clients {
    /// Those that are in it.
    kept: u64,
    /// The most.
    most: usize,
    /// Those that came so far.
    came: u64,
    /// Those whose time was over.
    expired: u64,
    /// Those that went because there was no room.
    evicted: u64,
}

/// None: it keeps nobody.
fn row(seen: ServiceSnapshot) -> Option<Affinity> {
    let affinity = seen.affinity?;
    Some(Affinity {
        service: seen.name.to_string(),
        by: affinity.by,
        stays: affinity.stays.into_iter().collect(),
        moves: affinity.moves.into_iter().collect(),
        ignored: affinity.ignored.into_iter().collect(),
        clients: affinity.clients.map(|clients| Clients {
            kept: clients.clients,
            most: affinity.most,
            came: clients.came,
            expired: clients.expired,
            evicted: clients.evicted,
        }),
    })
}

/// Services that keep clients on their backends, and how many.
#[utoipa::path(get, path = "/v1/affinity", tag = "services", params(Paging),
    responses((status = 200, description = "A page of the services that do, in the order of the configuration.", body = Page<Affinity>)))]
async fn affinity(
    State(shown): State<Asked>,
    paging: Paging,
) -> Result<Json<Page<Affinity>>, Problem> {
    let seen = shown.watch.keeping(&paging.span())?;
    Ok(Json(Page::of_some(seen, row)))
}

resource![affinity];
