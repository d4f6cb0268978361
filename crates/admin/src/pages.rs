//! Owns the pages: `/livez`, `/readyz`, `/metrics`, and below `/v1` what `contract` has.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use evenkeel_control::Watch;
use tokio::net::{TcpListener, UnixListener};

use crate::contract::changes::{self, From};
use crate::contract::looks;
use crate::contract::problem::{MEDIA_TYPE, Problem, Reason};
use crate::guests::{Counts, Hall, Socket};
use crate::metrics;

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
    let from = match &listener {
        Listener::Tcp(socket) => match socket.local_addr()?.ip().to_canonical().is_loopback() {
            true => From::Here,
            false => From::Anywhere,
        },
        Listener::Unix(_) => From::Socket,
    };
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
        Pages::All => {
            let asked = looks()
                .merge(changes::router(from))
                .layer(map_response(in_words));
            let all = open.merge(asked).fallback(|| async {
                let why = "there is no such page; see /v1/openapi.json for those that there are";
                Problem::new(Reason::NoPage, why)
            });
            match from {
                // No name leads to it.
                From::Socket => all,
                From::Here | From::Anywhere => all.layer(from_fn(own_host)),
            }
        }
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
    match is_own(host) {
        true => next.run(request).await,
        false => {
            let why = "this address answers to `localhost` and to addresses of this machine, and to no other name";
            Problem::new(Reason::NotYourHost, why).into_response()
        }
    }
}

/// Whether nobody can have bound this name to this address: it is one, or means this machine by itself (RFC 6761 section 6.3).
fn is_own(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((within, _)) => within,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let local = name.rsplit('.').next();
    name.is_empty()
        || local.is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
        || name.parse::<std::net::IpAddr>().is_ok()
}

/// What is refused before anybody here has read it is refused in the same form as the rest.
async fn in_words(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if status.is_success() || kind.is_some_and(|kind| kind == MEDIA_TYPE) {
        return response;
    }
    let allowed = response.headers().get(header::ALLOW).cloned();
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let why = "nothing is asked for in the body: leave it out";
            Problem::new(Reason::BodyTooLarge, why)
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let methods = allowed.as_ref().and_then(|one| one.to_str().ok());
            let methods = methods.unwrap_or("another method");
            Problem::new(Reason::Method, format!("this address takes {methods}"))
        }
        StatusCode::BAD_REQUEST => Problem::new(Reason::Body, "the body broke off"),
        _ => Problem::new(Reason::Refused, "this is refused").with_status(status),
    };
    let mut told = problem.into_response();
    if let Some(allowed) = allowed {
        told.headers_mut().insert(header::ALLOW, allowed);
    }
    told
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_may_bind_are_not_its_own() {
        for (host, own) in [
            ("", true),
            ("localhost", true),
            ("LocalHost:9900", true),
            ("localhost.:9900", true),
            ("keel.localhost:9900", true),
            ("127.0.0.1", true),
            ("127.0.0.1:9900", true),
            ("10.1.2.3:9900", true),
            ("[::1]:9900", true),
            ("[::1]", true),
            ("evil.test", false),
            ("evil.test:9900", false),
            // A search list, or a file of hosts, may lead it here.
            ("keel", false),
            ("keel:9900", false),
            ("localhost.evil.test", false),
            ("evillocalhost", false),
            ("[evil.test]:9900", false),
        ] {
            assert_eq!(is_own(host), own, "{host}");
        }
    }
}
