//! Owns `/v1/workers`.

use axum::Json;
use axum::extract::State;
use evenkeel_control::snapshot::WorkerPart;
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::Plain;

/// A data-plane thread.
#[derive(Serialize, ToSchema)]
struct Worker {
    /// Its number, from 0.
    worker: usize,
    /// Connections of clients that are open, as of its last sweep: ten times a second.
    connections: usize,
    /// Sockets that it takes connections from.
    listening: usize,
    /// Panics that ended one connection and nothing else; must read 0.
    contained_panics: u64,
}

fn row((worker, seen): (usize, WorkerPart)) -> Worker {
    Worker {
        worker,
        connections: seen.connections,
        listening: seen.listening,
        contained_panics: seen.panics,
    }
}

/// The data-plane threads; at most 1,024.
#[utoipa::path(get, path = "/v1/workers", tag = "instance",
    responses((status = 200, description = "All of them, by number.", body = Vec<Worker>)))]
async fn workers(State(shown): State<Asked>, _: Plain) -> Json<Vec<Worker>> {
    let all = shown.watch.workers();
    Json(all.into_iter().enumerate().map(row).collect())
}

resource![workers];
