//! Owns `/v1/events`: a page of what happened, or, to who takes `text/event-stream`, all that happens as it happens.
//!
//! A reader is a task that copies some events, writes them, and waits until they are taken: what it has not copied is the ring's, which
//! forgets it in time and then ends it. So many read along as may; a line that says nothing comes often enough that neither end takes a
//! quiet instance for a dead one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::header::{self, HeaderMap};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use evenkeel_control::events::{Happened, KINDS, Missed, Next, Page, Reader};
use http_body::Frame;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{ROWS, limit_of, values};
use super::problem::{Problem, Reason};
use crate::gate::Right;

/// What who reads along takes.
const STREAM: &str = "text/event-stream";

/// Where a client says how far it has read before its connection broke.
const LAST_ID: &str = "last-event-id";

/// So often something is said when nothing happens: half of what a connection here may rest.
const BEAT: Duration = Duration::from_secs(5);

/// When a client is to come back.
const AGAIN: &str = "retry: 2000\n\n";

/// Something that happened. Keys without a meaning for its kind are absent.
#[derive(Serialize, ToSchema)]
struct Event {
    /// Its number: one more than that of the event before, and above all of a process before this one.
    number: u64,
    /// When, in seconds since 1970.
    at_seconds: f64,
    /// What, in one word of a closed list.
    #[schema(example = "standing_changed")]
    kind: &'static str,
    /// `info`, `warning` or `error`.
    #[schema(example = "warning")]
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<String>,
    /// The file of a certificate, a name that stands for backends, or the figure whose limit an alert is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// What was before: a standing, a tier, a policy that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// What is now: a standing, a tier, a policy, what an operator wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// Why, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// In words, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// How long what is over was, or what is told of lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    /// How many of what: `members`, `failures`, `connections` and others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<&'static str, u64>,
}

impl From<&Happened> for Event {
    fn from(happened: &Happened) -> Self {
        let facts = happened.facts();
        Self {
            number: happened.number,
            at_seconds: happened.at.as_secs_f64(),
            kind: happened.kind(),
            level: happened.level().word(),
            service: facts.service,
            backend: facts.backend,
            listener: facts.listener,
            subject: facts.subject,
            from: facts.from,
            to: facts.to,
            reason: facts.reason,
            detail: facts.detail,
            seconds: facts.seconds,
            counts: facts.counts.into_iter().collect(),
        }
    }
}

/// Events that were asked for and are not known any more.
#[derive(Serialize, ToSchema)]
struct Gap {
    /// Behind which number it was asked.
    after: u64,
    /// The first event that is known.
    first: u64,
    /// How many are between; absent where the number is of another process.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
}

impl From<Missed> for Gap {
    fn from(missed: Missed) -> Self {
        Self {
            after: missed.after,
            first: missed.first,
            events: missed.events,
        }
    }
}

/// Some of what happened.
#[derive(Serialize, ToSchema)]
struct EventPage {
    /// In the order of their numbers.
    items: Vec<Event>,
    /// What `after` takes for those behind these, those to come too.
    next: u64,
    /// Events behind `after` that are forgotten; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Gap>,
}

impl From<Page> for EventPage {
    fn from(page: Page) -> Self {
        Self {
            items: page.rows.iter().map(|row| Event::from(&**row)).collect(),
            next: page.next,
            gap: page.missed.map(Gap::from),
        }
    }
}

/// Which events.
#[derive(Debug, Default, PartialEq, Eq, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// So many rows at most; 100 unless it is said. Nothing to who reads along.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Those behind this number. Without it the last ones, or, to who reads along, those to come.
    after: Option<u64>,
    /// Of these kinds, with commas between.
    kind: Option<String>,
    /// About this service, which need not be there any more.
    service: Option<String>,
}

impl Which {
    fn of(query: Option<&str>) -> Result<Self, Problem> {
        let [limit, after, kind, service] = values(query, ["limit", "after", "kind", "service"])?;
        let refused = |why: String| Problem::new(Reason::Query, why);
        let after = after.map(|text| {
            let why = || refused("`after` takes the number of an event".into());
            text.parse().map_err(|_| why())
        });
        for word in kind.iter().flat_map(|kinds| kinds.split(',')) {
            if !KINDS.contains(&word) {
                let word: String = word.chars().take(64).collect();
                let all = KINDS.join("`, `");
                return Err(refused(format!(
                    "there is no kind `{word}` of events; there are `{all}`"
                )));
            }
        }
        Ok(Self {
            limit: limit.as_deref().map(limit_of).transpose()?,
            after: after.transpose()?,
            kind,
            service,
        })
    }

    fn wants(&self, event: &Happened) -> bool {
        let kind = |kinds: &String| kinds.split(',').any(|kind| kind == event.kind());
        let service = |name: &String| event.service() == Some(name);
        self.kind.as_ref().is_none_or(kind) && self.service.as_ref().is_none_or(service)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts.uri.query())
    }
}

/// What happened to services, backends, breakers, certificates and the process. With `Accept: text/event-stream` all that happens from
/// then on, as server-sent events whose ids are numbers: who comes back with `Last-Event-ID` misses nothing unsaid, since an event of
/// the type `gap` says what is forgotten.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(Which),
    responses((status = 200, description = "A page of them, or all to come.", content((EventPage = "application/json"), (String = "text/event-stream")))))]
async fn events(
    State(shown): State<Asked>,
    which: Which,
    Extension(right): Extension<Right>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let chronicle = shown.watch.chronicle();
    if !wants_stream(&headers) {
        let most = which.limit.unwrap_or(ROWS).into();
        let page = chronicle.page(which.after, most, |event| which.wants(event));
        return Ok(Json(EventPage::from(page)).into_response());
    }
    // What is no number of ours is told as one that is forgotten.
    let last = headers.get(LAST_ID).map(|id| {
        let id = id.to_str().ok();
        id.and_then(|id| id.trim().parse().ok()).unwrap_or(0)
    });
    let Ok(reader) = chronicle.follow(last.or(which.after)) else {
        let why = "as many read events along as may: ask for pages, or come back";
        return Err(Problem::new(Reason::TooManyReaders, why));
    };
    let (to, from) = channel(1);
    tokio::spawn(tell(reader, which, right, to));
    let fields = [
        (header::CONTENT_TYPE, STREAM),
        (header::CACHE_CONTROL, "no-store"),
        // Whoever comes back may be for another process.
        (header::CONNECTION, "close"),
    ];
    Ok((fields, Body::new(Lines(from))).into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT).iter();
    let mut kinds = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    kinds.any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case(STREAM)
    })
}

/// Tells a reader what it wants for as long as it takes it, and may have it: a token that has ended, or that a reload takes away, ends it
/// before anything else is told.
async fn tell(mut reader: Reader, which: Which, right: Right, to: Sender<Bytes>) {
    let mut text = AGAIN.to_owned();
    loop {
        if !text.is_empty() && to.send(std::mem::take(&mut text).into()).await.is_err() {
            return;
        }
        let next = tokio::select! {
            () = to.closed() => return,
            next = timeout(BEAT, reader.next()) => next,
        };
        if !right.holds() {
            return;
        }
        match next {
            Err(_) => text.push_str(": nothing new\n\n"),
            Ok(Next::Rows(rows)) => put(&rows, &which, &mut text),
            Ok(Next::Missed(missed)) => {
                let (gap, id) = (json(&Gap::from(missed)), missed.first - 1);
                // Who breaks off here has heard of it.
                let _ = write!(text, "id: {id}\nevent: gap\ndata: {gap}\n\n");
            }
            Ok(Next::Overtaken | Next::Closed) => return,
        }
    }
}

/// Those of some events that are wanted. Of many that are not the last is named, so that who comes back is not told of a gap.
fn put(rows: &[std::sync::Arc<Happened>], which: &Which, text: &mut String) {
    for row in rows.iter().filter(|row| which.wants(row)) {
        // Writing to a text does not fail.
        let _ = write!(
            text,
            "id: {}\ndata: {}\n\n",
            row.number,
            json(&Event::from(&**row))
        );
    }
    if let Some(last) = rows.last().filter(|last| !which.wants(last)) {
        let _ = write!(text, "id: {}\n\n", last.number);
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("all keys are texts")
}

/// A body of what comes through a line.
struct Lines(Receiver<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.get_mut().0.poll_recv(cx);
        next.map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

resource![events];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expect: Result<Which, &str>) {
        match (Which::of(Some(query)), expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got, expect, "{query}"),
            (Err(problem), Err(says)) => {
                assert_eq!(problem.reason(), Reason::Query);
                let detail = problem.detail();
                assert!(detail.contains(says), "{query}: {detail}");
                assert!(detail.len() < 2000, "{query}");
            }
            (got, _) => panic!("{query}: {got:?}"),
        }
    }

    #[test]
    fn what_is_asked_of_events_is_taken_or_refused_by_name() {
        check("", Ok(Which::default()));
        let all = Which {
            limit: Some(7),
            after: Some(u64::MAX),
            kind: Some("drained,all_down".into()),
            service: Some("a b".into()),
        };
        check(
            "limit=7&after=18446744073709551615&kind=drained,all_down&service=a+b",
            Ok(all),
        );
        check("limit=0", Err("from 1 to 1000"));
        check("after=-1", Err("number of an event"));
        check("after=zzz", Err("number of an event"));
        check("kind=drained,nope", Err("no kind `nope`"));
        check("kind=", Err("no kind ``"));
        check(&format!("kind={}", "x".repeat(9000)), Err("no kind `xxx"));
        check("kinds=drained", Err("no key `kinds`"));
    }

    #[test]
    fn only_who_names_the_stream_gets_it() {
        for (accept, expect) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream ;q=0.5", true),
            ("*/*", false),
            ("text/event-streams", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(wants_stream(&headers), expect, "{accept}");
        }
        assert!(!wants_stream(&HeaderMap::new()));
    }
}
