//! Owns the writes: what of an instance may be changed from outside. Who may has passed the gate.
//!
//! Of what reaches a loopback address, a browser may have been sent by any page: nothing is done that such a page could ask for in its own
//! name.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use evenkeel_control::Command;
use evenkeel_control::command::{Admin, Came, Done};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::Asked;
use super::asked::{Name, Names, Plain};
use super::problem::{Problem, Reason};
use crate::pages::Shown;

/// What a write has seen, and what it answers.
pub(crate) mod seen;

/// What is done once, however often it is asked for.
pub(crate) mod once;

/// What of the configuration is changed.
mod edits;

/// What is done beside that.
mod acts;

/// What is done about alerts.
mod notes;

use seen::{Seen, Written, give};

/// Bytes of a body where little is asked for.
const BODY_MOST: usize = 1024;

/// The field that no page of another origin can send unasked.
const OWN_FIELD: &str = "x-evenkeel";

/// What may be changed.
pub(crate) fn router() -> Router<Asked> {
    let known = Arc::new(once::Known::begin());
    let small =
        notes::served(acts::served(served(Router::new()))).layer(DefaultBodyLimit::max(BODY_MOST));
    let large = edits::served(Router::new()).layer(DefaultBodyLimit::max(edits::BODY_MOST));
    (small.merge(large))
        .layer(from_fn(move |request, next| {
            once::once(known.clone(), request, next)
        }))
        .layer(from_fn(meant))
}

/// What the document has of them.
pub(super) fn all_told() -> Vec<OpenApiRouter<Asked>> {
    vec![told(), edits::told(), acts::told(), notes::told()]
}

/// Each path with its method.
pub(super) fn all_routes() -> Vec<(&'static str, String)> {
    let notes = notes::routes();
    [routes(), edits::routes(), acts::routes(), notes].concat()
}

resource![
    drain_backend,
    enable_backend,
    disable_backend,
    drain_service,
    enable_service,
    drain_listener,
    enable_listener,
];

/// Only who means it changes anything.
pub(super) async fn meant(request: Request, next: Next) -> Response {
    // Whatever else is asked is answered that it is not taken.
    let writes = !request.method().is_safe();
    match refusal(request.headers()).filter(|_| writes) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(headers: &HeaderMap) -> Option<Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let json = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    };
    if !headers.contains_key(OWN_FIELD) && !text(header::CONTENT_TYPE.as_str()).is_some_and(json) {
        let why = "say that it is meant: send `Content-Type: application/json`, or a field `X-Evenkeel`, which no form of a page can";
        return Some(Problem::new(Reason::NotMeant, why));
    }
    None
}

/// Sends nothing new to a backend; what is under way may take as long as `drain` of its service.
#[utoipa::path(post, path = "/v1/services/{service}/backends/{backend}/drain", tag = "backends",
    params(("service" = String, Path, description = "The service's name."), ("backend" = String, Path, description = "Its id.")),
    responses((status = 200, description = "It is so now.", body = Changed)))]
async fn drain_backend(
    State(shown): State<Asked>,
    Names(service, backend): Names,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Changed>, Problem> {
    let admin = Admin::Draining;
    let command = Command::Backend {
        service,
        backend,
        admin,
    };
    order(&shown, seen, command, &body).await
}

/// Lets a backend serve, whatever the configuration says.
#[utoipa::path(post, path = "/v1/services/{service}/backends/{backend}/enable", tag = "backends",
    params(("service" = String, Path, description = "The service's name."), ("backend" = String, Path, description = "Its id.")),
    responses((status = 200, description = "It is so now.", body = Changed)))]
async fn enable_backend(
    State(shown): State<Asked>,
    Names(service, backend): Names,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Changed>, Problem> {
    let admin = Admin::Enabled;
    let command = Command::Backend {
        service,
        backend,
        admin,
    };
    order(&shown, seen, command, &body).await
}

/// Takes a backend out: as a drain, and who returns from it is not held to what its breaker knew.
#[utoipa::path(post, path = "/v1/services/{service}/backends/{backend}/disable", tag = "backends",
    params(("service" = String, Path, description = "The service's name."), ("backend" = String, Path, description = "Its id.")),
    responses((status = 200, description = "It is so now.", body = Changed)))]
async fn disable_backend(
    State(shown): State<Asked>,
    Names(service, backend): Names,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Changed>, Problem> {
    let admin = Admin::Disabled;
    let command = Command::Backend {
        service,
        backend,
        admin,
    };
    order(&shown, seen, command, &body).await
}

/// Drains all backends of a service, those to come too.
#[utoipa::path(post, path = "/v1/services/{service}/drain", tag = "services",
    params(("service" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It is so now.", body = Changed)))]
async fn drain_service(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Changed>, Problem> {
    let drain = true;
    order(&shown, seen, Command::Service { service, drain }, &body).await
}

/// Lets a service serve again.
#[utoipa::path(post, path = "/v1/services/{service}/enable", tag = "services",
    params(("service" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It is so now.", body = Changed)))]
async fn enable_service(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Changed>, Problem> {
    let drain = false;
    order(&shown, seen, Command::Service { service, drain }, &body).await
}

/// Takes no more connections; those that are open end with the exchange that they carry.
#[utoipa::path(post, path = "/v1/listeners/{listener}/drain", tag = "listeners",
    params(("listener" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It is so now.", body = Changed)))]
async fn drain_listener(
    State(shown): State<Asked>,
    Name(listener): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Changed>, Problem> {
    let drain = true;
    order(&shown, seen, Command::Listener { listener, drain }, &body).await
}

/// Listens again.
#[utoipa::path(post, path = "/v1/listeners/{listener}/enable", tag = "listeners",
    params(("listener" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It is so now.", body = Changed)))]
async fn enable_listener(
    State(shown): State<Asked>,
    Name(listener): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Changed>, Problem> {
    let drain = false;
    order(&shown, seen, Command::Listener { listener, drain }, &body).await
}

async fn order(
    shown: &Shown,
    seen: Seen,
    command: Command,
    body: &Bytes,
) -> Result<Written<Changed>, Problem> {
    empty(body)?;
    let answer = give(shown, seen, command).await?;
    let Came::State(done) = answer.came else {
        return Err(Problem::new(Reason::Refused, "this has no state"));
    };
    let kept = answer.keeping.word();
    Ok(Written::of(answer.revision, Changed::of(&done, kept)))
}

/// Where nothing is asked for in the body.
fn empty(body: &Bytes) -> Result<(), Problem> {
    if matches!(body.trim_ascii(), b"" | b"{}") {
        return Ok(());
    }
    let why = "nothing is asked for in the body: leave it out, or send `{}`";
    Err(Problem::new(Reason::Body, why))
}

/// What a change came to.
#[derive(Serialize, ToSchema)]
struct Changed {
    /// It was otherwise before.
    changed: bool,
    /// What is wanted now: `enabled`, `draining` or `disabled`.
    #[schema(example = "draining")]
    state: &'static str,
    /// Attempts, or connections of a listener, that are under way.
    in_flight: u64,
    /// Earlier processes that drain since an upgrade: they may have more in flight.
    predecessors: usize,
    /// Where it is kept over a restart: `disk`, soon after this answer; `memory`, so nowhere; or `failing`: the disk did not take what
    /// came before, and is tried again.
    #[schema(example = "disk")]
    kept: &'static str,
    /// Until what is in flight is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_after_seconds: Option<f64>,
}

impl Changed {
    fn of(done: &Done, kept: &'static str) -> Self {
        Self {
            kept,
            changed: done.changed,
            state: done.state,
            in_flight: done.in_flight,
            predecessors: done.predecessors,
            cut_after_seconds: done.within.map(|within| within.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields as `name: value`, and the word of the refusal.
    #[track_caller]
    fn check(fields: &[&str], expect: Option<&str>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            let name: axum::http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let refusal = refusal(&headers);
        assert_eq!(refusal.map(|one| one.reason().word()), expect, "{fields:?}");
    }

    #[test]
    fn only_who_means_it_changes_anything() {
        let here = check;
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
    }
}
