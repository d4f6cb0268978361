//! Owns the pages: `/livez`, `/readyz`, `/metrics`, and below `/v1` what `contract` has.

use std::convert::Infallible;
use std::future::IntoFuture;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use axum::routing::{MethodRouter, get};
use evenkeel_control::Watch;
use evenkeel_control::snapshot::DecisionPart;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::sleep;
use tower_service::Service;

use crate::contract::explain::BODY_MOST;
use crate::contract::problem::{MEDIA_TYPE, Problem, Reason};
use crate::contract::{self, Asked, changes, looks, picks};
use crate::dashboard;
use crate::gate::{Door, From, Gate, pass};
use crate::guests::{Counts, Hall, Peer, Socket, closed};
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

/// A request that is to be explained.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method, as on the wire.
    pub method: String,
    /// The URL, or a path beside a field `Host`.
    pub url: String,
    /// Fields, in their order.
    pub headers: Vec<(String, String)>,
    /// The address that connects.
    pub from: IpAddr,
    /// The listener, if it is named.
    pub listener: Option<String>,
}

/// Explains a request by what an instance is now; or says in words why it is none.
pub type Explain = fn(&Watch, &Ask) -> Result<Vec<serde_json::Value>, String>;

/// What a decision of a request that was recorded found, and what came of it, for each.
pub type Recorded = fn(&Watch, &DecisionPart) -> Vec<serde_json::Value>;

/// Where the words for decisions are.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// What would be decided.
    pub explain: Explain,
    /// What was.
    pub recorded: Recorded,
}

/// Serves pages until `closing` is true, or its sender is gone: from there on it takes no connection, and ends when those that it has are
/// answered, after a second at the latest. At most 64 connections at once, each at most ten seconds without an answer. All addresses of the
/// process have one `gate`, which those with all pages ask who may have them.
///
/// # Errors
/// The socket cannot be registered with the runtime.
pub async fn serve(
    listener: Listener,
    pages: Pages,
    watch: Watch,
    gate: Arc<Gate>,
    words: Words,
    closing: watch::Receiver<bool>,
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
    let shown = Shown {
        watch: watch.clone(),
        counts: gate.counts.clone(),
        words,
    };
    let late = Late::of({
        let gate = gate.clone();
        move || router(pages, from, shown, &gate)
    });
    let app = Router::new().fallback_service(late);
    let app = app.into_make_service_with_connect_info::<Peer>();
    let secure = pages == Pages::All;
    let counts = gate.counts.clone();
    let hall = Hall::new(socket, secure, (gate, watch), closing.clone());
    // Dropped, it closes whoever has asked nothing that was read, so that is waited for.
    tokio::select! {
        served = axum::serve(hall, app).into_future() => served,
        () = async {
            closed(closing).await;
            answered(&counts).await;
        } => Ok(()),
    }
}

/// When all that have asked are answered. Who asks nothing is not waited for long.
async fn answered(counts: &Counts) {
    for _ in 0..ANSWERED_MOST {
        if counts.asking() == 0 {
            return;
        }
        sleep(ANSWERED_LOOK).await;
    }
}

/// So often is looked whether all are answered,
const ANSWERED_LOOK: Duration = Duration::from_millis(5);
/// and so many times.
const ANSWERED_MOST: u32 = 200;

/// Pages that are put together when the first of them is asked for: the tree of their paths would be nearly half of what a start takes.
#[derive(Clone)]
struct Late(Arc<LazyLock<Router, Box<dyn FnOnce() -> Router + Send>>>);

impl Late {
    fn of(make: impl FnOnce() -> Router + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }
}

impl Service<Request> for Late {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        (**self.0).clone().call(request)
    }
}

/// What the pages show.
pub(crate) struct Shown {
    pub(crate) watch: Watch,
    counts: Arc<Counts>,
    pub(crate) words: Words,
}

/// The pages that are no part of the API.
fn open() -> [(&'static str, MethodRouter<Asked>); 3] {
    [
        ("/livez", get(|| async { "alive\n" })),
        ("/readyz", get(ready)),
        ("/metrics", get(measured)),
    ]
}

/// Every page by its method, for the table of who may have it.
pub(crate) fn routes() -> Vec<(&'static str, String)> {
    let pages = open().into_iter().map(|(path, _)| ("GET", path.to_owned()));
    pages.chain(contract::routes()).collect()
}

fn router(pages: Pages, from: From, shown: Shown, gate: &Arc<Gate>) -> Router {
    let pages_alone = open().into_iter();
    let alone = pages_alone.fold(Router::new(), |router, (path, page)| {
        router.route(path, page)
    });
    let all = match pages {
        Pages::Metrics => alone,
        Pages::All => {
            let asked = looks()
                .layer(DefaultBodyLimit::max(BODY_MOST))
                .merge(changes::router())
                .merge(picks::router())
                .layer(map_response(in_words));
            let all = alone.merge(asked).fallback(dashboard::serve);
            let (gate, watch) = (gate.clone(), shown.watch.clone());
            let door = Arc::new(Door { gate, from, watch });
            all.layer(from_fn_with_state(door, pass))
        }
    };
    all.with_state(Arc::new(shown))
}

/// What is refused before anybody here has read it is refused in the same form as the rest.
async fn in_words(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if status.is_success() || kind.is_some_and(|kind| kind == MEDIA_TYPE) {
        return response;
    }
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let why = "no body that is taken here is so large; where nothing is asked for in it, leave it out";
            Problem::new(Reason::BodyTooLarge, why)
        }
        StatusCode::BAD_REQUEST => Problem::new(Reason::Body, "the body broke off"),
        _ => Problem::new(Reason::Refused, "this is refused").with_status(status),
    };
    problem.into_response()
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
