//! Owns `/v1/listeners`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use evenkeel_control::snapshot::ListenerPart;
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Page, Paging};
use super::problem::Problem;

/// A listener.
#[derive(Serialize, ToSchema)]
struct Listener {
    name: String,
    /// Its addresses, as they are configured.
    binds: Vec<String>,
    /// `http` or `tcp`.
    #[schema(example = "http")]
    protocol: &'static str,
    /// TLS is ended here.
    tls: bool,
    /// HTTP/2 is spoken too.
    http2: bool,
    /// PROXY headers are expected.
    proxy_protocol: bool,
    /// Clients are steered away from it.
    draining: bool,
    /// Connections that are open.
    connections: usize,
    /// The most of them.
    max_connections: usize,
    /// Connections that were accepted.
    accepted: u64,
    /// Of them, those that had a place.
    admitted: u64,
    /// Times that accepting failed.
    accept_failed: u64,
    /// Answers that were made here before a service was known, by the word of their reason.
    answered: BTreeMap<&'static str, u64>,
}

fn row(seen: ListenerPart) -> Listener {
    Listener {
        name: seen.name.to_string(),
        binds: seen.binds,
        protocol: seen.protocol,
        tls: seen.tls,
        http2: seen.http2,
        proxy_protocol: seen.proxy_protocol,
        draining: seen.draining,
        connections: seen.connections,
        max_connections: seen.connections_most,
        accepted: seen.accepted,
        admitted: seen.admitted,
        accept_failed: seen.accept_failed,
        answered: seen.answered.into_iter().collect(),
    }
}

/// Listeners, in the order of the configuration.
#[utoipa::path(get, path = "/v1/listeners", tag = "listeners", params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<Listener>)))]
async fn listeners(
    State(shown): State<Asked>,
    paging: Paging,
) -> Result<Json<Page<Listener>>, Problem> {
    let seen = shown.watch.listeners(&paging.span())?;
    Ok(Json(Page::of(seen, row)))
}

resource![listeners];
