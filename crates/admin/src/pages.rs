//! Owns the pages: `/livez`, `/readyz`, `/metrics`, `/v1/status`, and where changes are asked for.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use evenkeel_control::Watch;
use tokio::net::{TcpListener, UnixListener};

use crate::changes::{self, From, Problem};
use crate::guests::{Counts, Hall, Socket};
use crate::{metrics, status};

/// A bound address.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(std::os::unix::net::UnixListener),
}

/// Which pages are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// All of them.
    All,
    /// `/metrics`, `/livez` and `/readyz`: what may be seen from anywhere.
    Metrics,
}

/// Serves pages until it is dropped: at most 64 connections at once, each at most ten seconds without an answer. `counts` are those
/// of all addresses of the process.
///
/// # Errors
/// The socket cannot be registered with the runtime.
pub async fn serve(
    listener: Listener,
    pages: Pages,
    watch: Watch,
    counts: Arc<Counts>,
) -> io::Result<()> {
    let here = match &listener {
        Listener::Tcp(socket) => socket.local_addr()?.ip().to_canonical().is_loopback(),
        Listener::Unix(_) => true,
    };
    let from = if here { From::Here } else { From::Anywhere };
    let socket = match listener {
        Listener::Tcp(socket) => Socket::Tcp(TcpListener::from_std(socket)?),
        Listener::Unix(socket) => Socket::Unix(UnixListener::from_std(socket)?),
    };
    let app = router(pages, from, watch, counts.clone());
    axum::serve(Hall::new(socket, counts), app).await
}

/// What the pages show.
pub(crate) struct Shown {
    pub(crate) watch: Watch,
    counts: Arc<Counts>,
}

fn router(pages: Pages, from: From, watch: Watch, counts: Arc<Counts>) -> Router {
    let open = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(measured));
    let all = match pages {
        Pages::Metrics => open,
        Pages::All => open
            .route("/v1/status", get(status_page))
            .merge(changes::router(from))
            .fallback(|| async {
                let why = "there is no such page; see /v1/status";
                Problem::new(StatusCode::NOT_FOUND, "no_page", why)
            })
            .layer(from_fn(own_host)),
    };
    all.with_state(Arc::new(Shown { watch, counts }))
}

/// A page in a browser may ask this address in its own name by rebinding a name to it: only names of this machine are answered.
async fn own_host(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let own = matches!(name, "localhost" | "[::1]" | "")
        || name.parse::<std::net::IpAddr>().is_ok()
        || !host.contains('.');
    if own {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "this is not your host\n").into_response()
    }
}

async fn ready(State(shown): State<Arc<Shown>>) -> Response {
    let why = if shown.watch.is_draining() {
        "draining\n"
    } else if shown.watch.is_looking_up() {
        "looking names up\n"
    } else {
        return "ready\n".into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn measured(State(shown): State<Arc<Shown>>) -> Response {
    match metrics::text(&shown.watch, &shown.counts) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn status_page(State(shown): State<Arc<Shown>>) -> Json<status::Status> {
    Json(status::Status::from(shown.watch.snapshot()))
}
