//! Owns what is told of exchanges that are remembered, of those that failed and others: by the rules of the access log, so that nothing
//! stands here that would not stand there.

use std::time::Duration;

use evenkeel_config::limits::FAILED_REQUESTS;
use evenkeel_config::plan::{AccessLogPlan, QueryShown};
use evenkeel_proxy::failed::{Failure, OneTry, TryOutcome};
use evenkeel_proxy::record::{Record, Text};

use super::Watch;
use crate::access_log::{address, protocol, put_query, status};

/// An exchange that is remembered.
#[derive(Clone, Debug)]
pub struct RequestPart {
    /// What it is called: its worker, and its number there.
    pub id: String,
    /// When its first byte came, since 1970.
    pub began: Duration,
    /// The listener.
    pub listener: Option<String>,
    /// The rule that matched.
    pub rule: Option<String>,
    /// The service that was asked last.
    pub service: Option<String>,
    /// Who asked.
    pub client: String,
    /// As it was asked, where that was understood.
    pub method: Option<String>,
    /// The host, or the name that the client of a flow asked for.
    pub host: Option<String>,
    /// The path, without a query.
    pub path: Option<String>,
    /// What the access log shows of the query; nothing where there is none.
    pub query: Option<String>,
    /// `HTTP/1.1` and others; `TCP` of a flow.
    pub protocol: Option<&'static str>,
    /// What the client was answered, or would have been.
    pub status: Option<u16>,
    /// Why.
    pub reason: &'static str,
    /// Whose fault that is.
    pub blame: &'static str,
    /// How it ended as a call of gRPC.
    pub grpc: Option<&'static str>,
    /// Attempts that were made.
    pub attempts: u32,
    /// The first of them.
    pub tries: Vec<TryPart>,
    /// What its backends know it by.
    pub request_id: Option<String>,
    /// The trace that it is a part of.
    pub trace_id: Option<String>,
    /// Waited for a place under a limit.
    pub queue: Duration,
    /// Spent on connecting in the last attempt.
    pub connect: Option<Duration>,
    /// From the connection of the last attempt to its response head.
    pub head: Option<Duration>,
    /// From the first byte to the last.
    pub total: Duration,
}

/// An attempt of it.
#[derive(Clone, Debug)]
pub struct TryPart {
    /// The backend.
    pub backend: String,
    /// What it answered.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub reason: Option<&'static str>,
    /// How long after the begin that was.
    pub after: Duration,
}

/// What is remembered of exchanges that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedCounts {
    /// Those that failed.
    pub failed: u64,
    /// Of them, those that are not remembered, as somebody looked at that moment.
    pub missed: u64,
    /// The most that are remembered, of all workers.
    pub most: usize,
}

impl Watch {
    /// The last exchanges that failed and are wanted, in the order in which they began, `most` at most. Cost: all that are remembered.
    #[must_use]
    pub fn failed(&self, most: usize, wanted: impl Fn(&RequestPart) -> bool) -> Vec<RequestPart> {
        let live = self.published.load();
        let log = live.plan.access_log.as_ref();
        let mut all = Vec::new();
        for (worker, shelf) in self.published.shelves.all().iter().enumerate() {
            let rows = shelf.all();
            all.extend(rows.iter().filter_map(|one| failed(worker, one, log)));
        }
        all.retain(wanted);
        all.sort_by_key(|one| one.began);
        let more = all.len().saturating_sub(most);
        all.drain(..more);
        all
    }

    /// The one that is called so, or the last that its backends know by this.
    #[must_use]
    pub fn failed_of(&self, id: &str) -> Option<RequestPart> {
        let is = |one: &RequestPart| one.id == id || one.request_id.as_deref() == Some(id);
        self.failed(1, is).pop()
    }

    /// How many failed.
    #[must_use]
    pub fn failed_counts(&self) -> FailedCounts {
        let shelves = self.published.shelves.all();
        let counts = shelves.iter().map(|shelf| shelf.counts());
        let (failed, missed) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        FailedCounts {
            failed,
            missed,
            most: self.workers.len() * FAILED_REQUESTS,
        }
    }
}

pub(super) fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn failed(worker: usize, failure: &Failure, log: Option<&AccessLogPlan>) -> Option<RequestPart> {
    let tries = failure.trail().tries().map(|one| tried(&one)).collect();
    let id = format!("{worker}-{}", failure.number());
    Some(part(id, failure.record()?, tries, log))
}

/// What is told of an exchange.
pub(crate) fn part(
    id: String,
    record: Record<'_>,
    tries: Vec<TryPart>,
    log: Option<&AccessLogPlan>,
) -> RequestPart {
    let seen = record.seen();
    let text = |text: Text| record.text(text).map(lossy);
    let query = record.text(Text::Query).and_then(|query| {
        let mut shown = Vec::new();
        let how = log.map_or(QueryShown::None, |log| log.query);
        put_query(query, how, &mut shown).then(|| lossy(&shown))
    });
    let truncated = log.is_some_and(|log| log.truncated);
    RequestPart {
        id,
        began: record.began(),
        listener: text(Text::Listener),
        rule: text(Text::Rule),
        service: text(Text::Service),
        client: address(seen.client, truncated).to_string(),
        method: text(Text::Method),
        host: text(Text::Host),
        path: text(Text::Path),
        query,
        protocol: match seen.flow {
            true => Some("TCP"),
            false => record.version().map(protocol),
        },
        status: status(&record),
        reason: seen.reason.word(),
        blame: seen.reason.blame().word(),
        grpc: seen.grpc.map(|status| status.name()),
        attempts: seen.attempts,
        tries,
        request_id: text(Text::RequestId),
        trace_id: text(Text::TraceId),
        queue: seen.queue,
        connect: seen.connect,
        head: seen.head,
        total: seen.total,
    }
}

fn tried(one: &OneTry<'_>) -> TryPart {
    let (status, reason) = match one.outcome {
        TryOutcome::Answered(status) => (Some(status), None),
        TryOutcome::Failed(reason) => (None, Some(reason.word())),
    };
    TryPart {
        backend: lossy(one.backend),
        status,
        reason,
        after: one.after,
    }
}
