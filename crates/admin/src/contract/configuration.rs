//! Owns `/v1/configuration` and `/v1/revisions`: every value that holds and where it comes from, which revisions ran, and what lies between two.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use evenkeel_control::command::Refused;
use evenkeel_control::revisions::Revision as Remembered;
use evenkeel_control::snapshot::{Paged, Span};
use evenkeel_control::texts::{Difference, Value};
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Number, Page, Paging, Plain, Since};
use super::changes::seen::Written;
use super::problem::{Problem, Reason};

/// Configurations that are read at once to be shown: each takes a thread and memory.
static READING: Semaphore = Semaphore::const_new(1);

/// Differences that are told; of more the first.
const DIFFERENCES: usize = 1000;

/// A value that holds.
#[derive(Serialize, ToSchema)]
struct Setting {
    /// Keys and names that lead to it.
    #[schema(example = "services.api.backends[10.0.0.1:9000].weight")]
    path: String,
    /// As it is written; null: it is not shown.
    value: Option<String>,
    /// `default`, `file`, `environment`, or `operator`: changed beside the texts.
    #[schema(example = "file")]
    from: &'static str,
    /// The text that it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

/// A revision.
#[derive(Serialize, ToSchema)]
struct Revision {
    number: u64,
    /// Since 1970.
    at_seconds: f64,
    /// Who wanted it: `start`, `reload`, `files` (certificates were renewed) or `api`.
    #[schema(example = "api")]
    by: String,
    /// What changed, in words; of more than fifty the first.
    changes: Vec<String>,
    /// How much more changed.
    more: usize,
    /// It runs now.
    runs: bool,
}

/// What lies between two revisions.
#[derive(Serialize, ToSchema)]
struct Between {
    /// The number of the one.
    from: u64,
    /// The number of the other.
    to: u64,
    /// By path; of more than a thousand the first.
    differences: Vec<Differs>,
    /// How many more there are.
    more: usize,
}

/// A value that two revisions have otherwise.
#[derive(Serialize, ToSchema)]
struct Differs {
    path: String,
    /// `added`, `changed` or `removed`.
    #[schema(example = "changed")]
    effect: &'static str,
    /// Null: there was none, or it is not shown.
    from: Option<String>,
    /// Null: there is none, or it is not shown.
    to: Option<String>,
}

fn setting(value: Value) -> Setting {
    let (file, line) = value.place.unzip();
    Setting {
        path: value.path,
        value: value.shown,
        from: value.from,
        file,
        line,
    }
}

fn differs(one: Difference) -> Differs {
    let effect = match (&one.from, &one.to) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    Differs {
        path: one.path,
        effect,
        from: one.from.flatten(),
        to: one.to.flatten(),
    }
}

/// What takes a thread of its own for milliseconds, one after another.
async fn read<T: Send + 'static>(
    shown: Asked,
    look: impl FnOnce(&Asked) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    let Ok(one) = READING.acquire().await else {
        return Err(Refused::Busy.into());
    };
    let looked = tokio::task::spawn_blocking(move || {
        // Who leaves meanwhile does not let the next one in.
        let _one = one;
        look(&shown)
    });
    let looked = looked.await;
    Ok(looked.unwrap_or(Err(Refused::Busy))?)
}

/// Those of all that a span asks for.
fn page(all: Vec<Value>, span: &Span) -> Result<Paged<Value>, Problem> {
    let total = all.len();
    let from = match &span.after {
        None => 0,
        Some(after) => {
            let at = all.iter().position(|one| one.path == *after);
            let why = "there is no value at the path that the page is to begin behind";
            at.ok_or_else(|| Problem::new(Reason::UnknownValue, why))? + 1
        }
    };
    let items: Vec<_> = all.into_iter().skip(from).take(span.limit).collect();
    let last = items.last().filter(|_| from + items.len() < total);
    Ok(Paged {
        next: last.map(|one| one.path.clone()),
        total,
        items,
    })
}

/// Every value that holds, and where it comes from.
#[utoipa::path(get, path = "/v1/configuration", tag = "configuration", params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<Setting>)))]
async fn configuration(
    State(shown): State<Asked>,
    paging: Paging,
) -> Result<Written<Page<Setting>>, Problem> {
    let revision = shown.watch.revision();
    let values = read(shown, move |shown| shown.watch.values(revision.number)).await?;
    let paged = page(values, &paging.span())?;
    Ok(Written::of(revision, Page::of(paged, setting)))
}

fn revision(one: &Arc<Remembered>, runs: u64) -> Revision {
    Revision {
        number: one.number,
        at_seconds: one.at.as_secs_f64(),
        by: one.by.to_string(),
        changes: one.what.to_vec(),
        more: one.more,
        runs: one.number == runs,
    }
}

/// Revisions that are remembered, the newest first.
#[utoipa::path(get, path = "/v1/revisions", tag = "configuration", params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<Revision>)))]
async fn revisions(
    State(shown): State<Asked>,
    paging: Paging,
) -> Result<Written<Page<Revision>>, Problem> {
    let runs = shown.watch.revision();
    let all = shown.watch.revisions(&paging.span())?;
    let page = Page::of(all, |one| revision(&one, runs.number));
    Ok(Written::of(runs, page))
}

/// One revision.
#[utoipa::path(get, path = "/v1/revisions/{revision}", tag = "configuration",
    params(("revision" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The revision.", body = Revision)))]
async fn one_revision(
    State(shown): State<Asked>,
    Number(number): Number,
    _: Plain,
) -> Result<Json<Revision>, Problem> {
    let one = shown.watch.revision_of(number)?;
    Ok(Json(revision(&one, shown.watch.revision().number)))
}

/// What lies between two revisions.
#[utoipa::path(get, path = "/v1/revisions/{revision}/diff", tag = "configuration",
    params(("revision" = u64, Path, description = "Its number."), Since),
    responses((status = 200, description = "What differs.", body = Between)))]
async fn diff(
    State(shown): State<Asked>,
    Number(to): Number,
    since: Since,
) -> Result<Json<Between>, Problem> {
    let from = since.number(to);
    let all = read(shown, move |shown| shown.watch.between(from, to)).await?;
    let more = all.len().saturating_sub(DIFFERENCES);
    let told = all.into_iter().take(DIFFERENCES).map(differs);
    Ok(Json(Between {
        from,
        to,
        differences: told.collect(),
        more,
    }))
}

resource![configuration, revisions, one_revision, diff];
