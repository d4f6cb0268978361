//! Owns what is done beside changes of the configuration: reading it again, going back to a revision, verdicts, checks, the log, clients.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use evenkeel_control::Command;
use evenkeel_control::command::Came;
use evenkeel_control::snapshot::Span;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::edits::{Configured, configured};
use super::empty;
use super::seen::{Seen, Written, give};
use crate::contract::Asked;
use crate::contract::adjustments::{self, Adjustments};
use crate::contract::asked::{Name, Names, Number, Plain, ROWS};
use crate::contract::problem::{Problem, Reason};
use crate::pages::Shown;

/// The longest time of a verdict by hand, in seconds: a month. Without one it holds until another.
const VERDICT_MOST: f64 = 31.0 * 24.0 * 3600.0;

/// What was done.
#[derive(Serialize, ToSchema)]
pub(super) struct Acted {
    /// To how many: backends, clients, logs, alerts, dead letters.
    pub(super) count: u64,
}

/// A verdict by hand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HandVerdict {
    verdict: Word,
    /// For so long; absent: until another one. At most a month.
    for_seconds: Option<f64>,
}

/// What a verdict says.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// It is well, whatever checks and traffic say.
    Up,
    /// It is not.
    Down,
    /// What was said by hand is taken back.
    Withdrawn,
}

/// Reads the configuration again.
#[utoipa::path(post, path = "/v1/reload", tag = "configuration",
    responses((status = 200, description = "It runs.", body = Configured)))]
async fn reload(
    State(shown): State<Asked>,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    empty(&body)?;
    configured(give(&shown, seen, Command::Reload).await?, None)
}

/// Goes back to a revision that is remembered: what it was made of is a new revision.
#[utoipa::path(post, path = "/v1/revisions/{revision}/rollback", tag = "configuration",
    params(("revision" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "It runs again.", body = Configured)))]
async fn roll_back(
    State(shown): State<Asked>,
    Number(revision): Number,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    empty(&body)?;
    configured(give(&shown, seen, Command::RollBack(revision)).await?, None)
}

/// Says by hand whether a backend is well.
#[utoipa::path(post, path = "/v1/services/{service}/backends/{backend}/verdict", tag = "backends",
    params(("service" = String, Path, description = "The service's name."), ("backend" = String, Path, description = "Its id.")),
    request_body(content = HandVerdict, content_type = "application/json"),
    responses((status = 200, description = "It is held to that.", body = Acted)))]
async fn verdict(
    State(shown): State<Asked>,
    Names(service, backend): Names,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Acted>, Problem> {
    let wrong = |why: String| Problem::new(Reason::Body, why);
    let said: HandVerdict = serde_json::from_slice(&body)
        .map_err(|error| wrong(format!("the body is not understood: {error}")))?;
    let within = match said.for_seconds {
        Some(seconds) if seconds > 0.0 && seconds <= VERDICT_MOST => {
            Some(Duration::from_secs_f64(seconds))
        }
        Some(_) => {
            let why = format!("`for_seconds` is above 0 and at most {VERDICT_MOST}");
            return Err(wrong(why));
        }
        None => None,
    };
    let healthy = match said.verdict {
        Word::Up => Some(true),
        Word::Down => Some(false),
        Word::Withdrawn => None,
    };
    let command = Command::Verdict {
        service,
        backend,
        healthy,
        within,
    };
    act(&shown, seen, command).await
}

/// Checks all backends of a service now; what comes of it is told by them.
#[utoipa::path(post, path = "/v1/services/{service}/check", tag = "services",
    params(("service" = String, Path, description = "Its name.")),
    responses((status = 200, description = "So many are checked.", body = Acted)))]
async fn check_now(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Acted>, Problem> {
    empty(&body)?;
    act(&shown, seen, Command::Check(service)).await
}

/// Has the weights of a service follow what its backends did since the last step now, ahead of its time: once, until the step that is due
/// has come.
#[utoipa::path(post, path = "/v1/services/{service}/adjustments", tag = "monitoring",
    params(("service" = String, Path, description = "Its name.")),
    responses((status = 200, description = "What came of it, and the first hundred backends.", body = Adjustments)))]
async fn adjust_now(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Adjustments>, Problem> {
    empty(&body)?;
    let answer = give(&shown, seen, Command::Adjust(service.clone())).await?;
    let came = (shown.watch).adjustments(
        &service,
        &Span {
            after: None,
            limit: ROWS.into(),
        },
    )?;
    Ok(Written::of(answer.revision, adjustments::all(came)))
}

/// Forgets the clients that a service remembers; those who come with a cookie stay where it says.
#[utoipa::path(post, path = "/v1/services/{service}/affinity/clear", tag = "services",
    params(("service" = String, Path, description = "Its name.")),
    responses((status = 200, description = "So many are forgotten.", body = Acted)))]
async fn clear_affinity(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Acted>, Problem> {
    empty(&body)?;
    act(&shown, seen, Command::Forget(service)).await
}

/// Opens the access log's file anew: the one that is open has been renamed.
#[utoipa::path(post, path = "/v1/access-log/rotate", tag = "instance",
    responses((status = 200, description = "So many logs are opened anew: none where there is none.", body = Acted)))]
async fn rotate_log(
    State(shown): State<Asked>,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Acted>, Problem> {
    empty(&body)?;
    act(&shown, seen, Command::Rotate).await
}

async fn act(shown: &Shown, seen: Seen, command: Command) -> Result<Written<Acted>, Problem> {
    let answer = give(shown, seen, command).await?;
    let count = match answer.came {
        Came::Acted(count) => count,
        _ => 0,
    };
    Ok(Written::of(answer.revision, Acted { count }))
}

resource![
    reload,
    roll_back,
    verdict,
    check_now,
    adjust_now,
    clear_affinity,
    rotate_log,
];
