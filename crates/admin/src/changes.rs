//! Owns the writes: what of an instance may be changed from outside, and from where.
//!
//! No access control yet: an address that is bound beyond this machine changes nothing. Of what reaches a loopback address, a
//! browser may have been sent by any page: nothing is done that such a page could ask for in its own name.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use evenkeel_control::Command;
use evenkeel_control::command::{Admin, Done, Refused};
use serde::Serialize;

use crate::pages::Shown;

/// Bytes of a body: none is needed.
const BODY_MOST: usize = 1024;

/// The field that no page of another origin can send unasked.
const OWN_FIELD: &str = "x-evenkeel";

/// Whether an address may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Through a Unix socket.
    Socket,
    /// It can be reached from this machine only.
    Here,
    Anywhere,
}

pub(crate) fn router(from: From) -> Router<Arc<Shown>> {
    let backend = "/v1/services/{service}/backends/{backend}";
    let one = |admin: Admin| {
        post(move |state, path, body| async move { backend_is(state, path, body, admin).await })
    };
    let service = |drain: bool| {
        post(move |state, path, body| async move { service_is(state, path, body, drain).await })
    };
    let listener = |drain: bool| {
        post(move |state, path, body| async move { listener_is(state, path, body, drain).await })
    };
    Router::new()
        .route(&format!("{backend}/drain"), one(Admin::Draining))
        .route(&format!("{backend}/enable"), one(Admin::Enabled))
        .route(&format!("{backend}/disable"), one(Admin::Disabled))
        .route("/v1/services/{service}/drain", service(true))
        .route("/v1/services/{service}/enable", service(false))
        .route("/v1/listeners/{listener}/drain", listener(true))
        .route("/v1/listeners/{listener}/enable", listener(false))
        .method_not_allowed_fallback(|| async {
            let why = "this address takes POST";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", why)
        })
        .layer(from_fn(move |request, next| meant(from, request, next)))
        .layer(DefaultBodyLimit::max(BODY_MOST))
}

/// Only who means it changes anything.
async fn meant(from: From, request: Request, next: Next) -> Response {
    // Whatever else is asked is answered that it is not taken.
    let writes = request.method() == Method::POST;
    match refusal(from, request.headers()).filter(|_| writes) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(from: From, headers: &HeaderMap) -> Option<Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let forbidden = |word, why| Some(Problem::new(StatusCode::FORBIDDEN, word, why));
    if from == From::Anywhere {
        let why = "this admin address is bound beyond loopback, and access control is not built yet: change things through an admin address on loopback or a Unix socket";
        return forbidden("not_local", why);
    }
    if !matches!(text("sec-fetch-site"), None | Some("same-origin" | "none")) {
        return forbidden(
            "cross_site",
            "a page of another origin may change nothing here",
        );
    }
    let host = text(header::HOST.as_str()).unwrap_or_default();
    let own = |origin: &str| origin.strip_prefix("http://") == Some(host);
    if text(header::ORIGIN.as_str()).is_some_and(|origin| !own(origin)) {
        return forbidden(
            "cross_site",
            "a page of another origin may change nothing here",
        );
    }
    let json = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    };
    if !headers.contains_key(OWN_FIELD) && !text(header::CONTENT_TYPE.as_str()).is_some_and(json) {
        let why = "say that it is meant: send `Content-Type: application/json`, or a field `X-Evenkeel`, which no form of a page can";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Some(Problem::new(status, "not_meant", why));
    }
    None
}

type Asked = State<Arc<Shown>>;

async fn backend_is(
    State(shown): Asked,
    Path((service, backend)): Path<(String, String)>,
    body: Bytes,
    admin: Admin,
) -> Result<Json<Changed>, Problem> {
    let command = Command::Backend {
        service,
        backend,
        admin,
    };
    order(&shown, command, &body).await
}

async fn service_is(
    State(shown): Asked,
    Path(service): Path<String>,
    body: Bytes,
    drain: bool,
) -> Result<Json<Changed>, Problem> {
    order(&shown, Command::Service { service, drain }, &body).await
}

async fn listener_is(
    State(shown): Asked,
    Path(listener): Path<String>,
    body: Bytes,
    drain: bool,
) -> Result<Json<Changed>, Problem> {
    order(&shown, Command::Listener { listener, drain }, &body).await
}

async fn order(shown: &Shown, command: Command, body: &Bytes) -> Result<Json<Changed>, Problem> {
    if !matches!(body.trim_ascii(), b"" | b"{}") {
        let why = "nothing is asked for in the body: leave it out, or send `{}`";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "body", why));
    }
    match shown.watch.order(command).await {
        Ok(done) => Ok(Json(done.into())),
        Err(refused) => Err(refused.into()),
    }
}

/// What a change came to.
#[derive(Serialize)]
struct Changed {
    changed: bool,
    state: &'static str,
    in_flight: u64,
    /// Earlier processes that drain since an upgrade: they may have more in flight.
    predecessors: usize,
    /// Until what is in flight is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_after_seconds: Option<f64>,
}

impl std::convert::From<Done> for Changed {
    fn from(done: Done) -> Self {
        Self {
            changed: done.changed,
            state: done.state,
            in_flight: done.in_flight,
            predecessors: done.predecessors,
            cut_after_seconds: done.within.map(|within| within.as_secs_f64()),
        }
    }
}

/// The media type of what RFC 9457 calls a problem.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// Why nothing was changed, as RFC 9457 has it.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(skip)]
    code: StatusCode,
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// One word for it.
    reason: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    did_you_mean: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code,
            kind: "about:blank",
            title: code.canonical_reason().unwrap_or_default(),
            status: code.as_u16(),
            reason,
            detail: detail.into(),
            did_you_mean: None,
        }
    }
}

impl std::convert::From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (code, word) = match &refused {
            Refused::Unknown { what, .. } => (
                StatusCode::NOT_FOUND,
                match *what {
                    "service" => "unknown_service",
                    "backend" => "unknown_backend",
                    _ => "unknown_listener",
                },
            ),
            Refused::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Refused::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Refused::Upgrading => (StatusCode::SERVICE_UNAVAILABLE, "upgrading"),
            Refused::TooMany => (StatusCode::CONFLICT, "too_many"),
            Refused::Bind(_) => (StatusCode::CONFLICT, "bind"),
        };
        let problem = Self::new(code, word, refused.to_string());
        let near = match refused {
            Refused::Unknown { near, .. } => near,
            _ => None,
        };
        Self {
            did_you_mean: near,
            ..problem
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, PROBLEM)];
        (self.code, kind, Json(self)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields as `name: value`, and the word of the refusal.
    #[track_caller]
    fn check(from: From, fields: &[&str], expect: Option<&str>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            let name: axum::http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let refusal = refusal(from, &headers);
        assert_eq!(refusal.map(|one| one.reason), expect, "{fields:?}");
    }

    #[test]
    fn only_who_means_it_changes_anything() {
        let here = |fields: &[&str], expect| check(From::Here, fields, expect);
        let own = "x-evenkeel: 1";
        here(&["host: 127.0.0.1:9900", own], None);
        here(&["content-type: application/json"], None);
        here(&["content-type: Application/JSON ; charset=utf-8"], None);
        here(&[], Some("not_meant"));
        // What a form can send.
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ] {
            here(&[&format!("content-type: {kind}")], Some("not_meant"));
        }
        for site in ["cross-site", "same-site", "other"] {
            here(
                &[own, &format!("sec-fetch-site: {site}")],
                Some("cross_site"),
            );
        }
        here(&[own, "sec-fetch-site: same-origin"], None);
        here(&[own, "sec-fetch-site: none"], None);
        let host = "host: 127.0.0.1:9900";
        here(&[own, host, "origin: http://127.0.0.1:9900"], None);
        for origin in [
            "null",
            "http://127.0.0.1:9901",
            "https://127.0.0.1:9900",
            "http://a.test",
        ] {
            here(
                &[own, host, &format!("origin: {origin}")],
                Some("cross_site"),
            );
        }
        check(From::Anywhere, &[own, host], Some("not_local"));
    }
}
