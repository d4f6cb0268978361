//! Owns the way of traces to their collector: exchanges that wait at the workers are taken in batches and told by OTLP over HTTP.
//!
//! A task of its own, which nobody waits for: a collector that is slow or away costs what waits at the workers, where the newest are dropped
//! and counted. What the collector asks to have again is sent again, so often and so long (OTLP 1.9, section Failures).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_config::plan::{AccessLogPlan, TracesPlan};
use evenkeel_proxy::clock::seed;
use evenkeel_proxy::live::Published;
use evenkeel_proxy::recorded::TraceCounts;
use fastrand::Rng;
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::post::{self, Post, rest_before, retry_after};

/// What is said to a collector.
mod otlp;

/// So often somebody looks whether anything waits.
const EVERY: Duration = Duration::from_secs(1);

/// Exchanges of one message: some 200 KiB.
const BATCH: usize = 256;

/// The longest that one message may take.
const WITHIN: Duration = Duration::from_secs(10);

/// How often a message is sent in all.
const TRIES: u32 = 5;

/// The last that is told when the process ends may take so long.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What came of telling.
#[derive(Debug, Default)]
pub(crate) struct Told {
    spans: AtomicU64,
    rejected: AtomicU64,
    sent: AtomicU64,
    again: AtomicU64,
    given_up: AtomicU64,
    lost: AtomicU64,
}

/// What is traced, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TracesSnapshot {
    /// At the workers.
    pub exchanges: TraceCounts,
    /// Exchanges whose message was given up.
    pub lost: u64,
    /// Spans that the collector took.
    pub spans: u64,
    /// Spans that it refused.
    pub rejected: u64,
    /// Messages that it took.
    pub sent: u64,
    /// Times that one was sent again, or is to be.
    pub again: u64,
    /// Messages that it refused, or that were sent as often as may be.
    pub given_up: u64,
}

impl Told {
    pub(crate) fn snapshot(&self, published: &Published) -> TracesSnapshot {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut exchanges = TraceCounts::default();
        for shelf in published.records.all() {
            let counts = shelf.traces().counts();
            exchanges.kept += counts.kept;
            exchanges.dropped += counts.dropped;
            exchanges.crowded += counts.crowded;
        }
        TracesSnapshot {
            exchanges,
            lost: read(&self.lost),
            spans: read(&self.spans),
            rejected: read(&self.rejected),
            sent: read(&self.sent),
            again: read(&self.again),
            given_up: read(&self.given_up),
        }
    }
}

/// Who tells.
pub(crate) struct Teller {
    pub(crate) told: Arc<Told>,
    leaves: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Teller {
    /// Nobody tells yet.
    pub(crate) fn new() -> Self {
        Self {
            told: Arc::default(),
            leaves: Arc::default(),
            task: None,
        }
    }

    /// Tells from the first plan on that wants it. Needs a tokio runtime then.
    pub(crate) fn follow(&mut self, published: &Arc<Published>) {
        if self.task.is_some() || published.load().plan.traces.is_none() {
            return;
        }
        let telling = Telling {
            published: published.clone(),
            told: self.told.clone(),
            leaves: self.leaves.clone(),
            fails: false,
            leaving: false,
            rng: Rng::with_seed(seed()),
        };
        self.task = Some(tokio::spawn(telling.run()));
    }

    /// Tells what is left, as far as that is soon done.
    pub(crate) async fn end(&mut self) {
        self.leaves.notify_one();
        if let Some(mut task) = self.task.take()
            && timeout(LAST_WORDS, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

struct Telling {
    published: Arc<Published>,
    told: Arc<Told>,
    leaves: Arc<Notify>,
    /// The message before did not arrive: that was said once.
    fails: bool,
    /// The process ends.
    leaving: bool,
    rng: Rng,
}

/// Who is told, as a plan has it.
struct Collector {
    plan: TracesPlan,
    post: Post,
}

/// Why a message did not arrive.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    /// It may be sent again, after so long if the collector says so.
    Again(String, Option<Duration>),
    /// It would be refused again.
    Refused(String),
}

/// Some exchanges, as they are told.
struct Message {
    text: Bytes,
    spans: u64,
    exchanges: u64,
    /// How often it was sent.
    tries: u32,
}

impl Telling {
    async fn run(mut self) {
        let (mut collector, mut rest): (Option<Collector>, _) = (None, EVERY);
        let mut left = None;
        while !self.leaving {
            tokio::select! {
                () = self.leaves.notified() => self.leaving = true,
                () = sleep(rest) => {}
            }
            rest = EVERY;
            let live = self.published.load();
            let Some(plan) = &live.plan.traces else {
                collector = None;
                add(
                    &self.told.lost,
                    left.take().map_or(0, |one: Message| one.exchanges),
                );
                for shelf in self.published.records.all() {
                    shelf.traces().drop_all();
                }
                continue;
            };
            // What is left of before goes to who is named now.
            let collector = match &mut collector {
                Some(same) if same.plan == *plan => same,
                other => other.insert(Collector::new(plan)),
            };
            let log = live.plan.access_log.clone();
            drop(live);
            while let Some(message) = left
                .take()
                .or_else(|| self.message(&collector.plan, log.as_ref()))
            {
                if let Err((again, after)) = self.tell(collector, message).await {
                    (left, rest) = (Some(again), after);
                    break;
                }
            }
        }
    }

    /// The oldest of each worker. None: nobody waits.
    fn message(&self, plan: &TracesPlan, log: Option<&AccessLogPlan>) -> Option<Message> {
        let mut batch = Vec::new();
        for shelf in self.published.records.all() {
            batch.extend(shelf.traces().take(BATCH - batch.len()));
        }
        let (spans, text) = otlp::message(&plan.service, log, &batch);
        (!batch.is_empty()).then(|| Message {
            text: text.into(),
            spans,
            exchanges: batch.len() as u64,
            tries: 0,
        })
    }

    /// Sends a message. One that is to be sent again comes back, with how long to wait before.
    async fn tell(
        &mut self,
        collector: &Collector,
        mut message: Message,
    ) -> Result<(), (Message, Duration)> {
        message.tries += 1;
        let why = match collector.send(message.text.clone()).await {
            Ok(rejected) => {
                let rejected = rejected.min(message.spans);
                add(&self.told.sent, 1);
                add(&self.told.spans, message.spans - rejected);
                add(&self.told.rejected, rejected);
                if std::mem::take(&mut self.fails) {
                    info!("the collector of traces takes them again");
                }
                return Ok(());
            }
            Err(Failed::Again(why, rest)) if message.tries < TRIES && !self.leaving => {
                self.say(&why);
                add(&self.told.again, 1);
                let rest = rest_before(message.tries, rest, self.rng.f64());
                return Err((message, rest));
            }
            Err(Failed::Again(why, _) | Failed::Refused(why)) => why,
        };
        self.say(&why);
        add(&self.told.given_up, 1);
        add(&self.told.lost, message.exchanges);
        Ok(())
    }

    fn say(&mut self, why: &str) {
        if !std::mem::replace(&mut self.fails, true) {
            warn!(
                "the collector of traces does not take them: {why}; they are dropped when too many wait"
            );
        }
    }
}

fn add(count: &AtomicU64, number: u64) {
    count.fetch_add(number, Ordering::Relaxed);
}

impl Collector {
    fn new(plan: &TracesPlan) -> Self {
        let to = (&plan.to, &plan.path);
        let tls = plan.tls.as_ref();
        Self {
            post: Post::new("the collector of traces", to, tls, &plan.headers),
            plan: plan.clone(),
        }
    }

    /// Sends a message; says how many spans of it were refused.
    async fn send(&self, text: Bytes) -> Result<u64, Failed> {
        let late = |_| Failed::Again(format!("no answer within {WITHIN:?}"), None);
        let sent = timeout(WITHIN, self.post.send(text, &[]));
        match sent.await.map_err(late)? {
            Ok(answer) => judged(answer.status, &answer.headers, &answer.body),
            Err(post::Failed::Now(why)) => Err(Failed::Again(why, None)),
            Err(post::Failed::Always(why)) => Err(Failed::Refused(why)),
        }
    }
}

/// What an answer says: how many spans were refused, or that all were, and whether they may come again.
fn judged(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<u64, Failed> {
    let why = || format!("it answers {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(otlp::rejected(body)),
        429 | 502 | 503 | 504 => Err(Failed::Again(why(), retry_after(headers))),
        _ => Err(Failed::Refused(why())),
    }
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn what_may_come_again_is_what_the_protocol_says() {
        let check = |status: u16, fields: &[&str], body: &str, expect: Result<u64, Option<u64>>| {
            let mut headers = HeaderMap::new();
            for value in fields {
                headers.insert(RETRY_AFTER, value.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            let got = judged(status, &headers, body.as_bytes());
            let got = got.map_err(|failed| match failed {
                Failed::Again(_, rest) => Some(rest.map_or(0, |rest| rest.as_secs())),
                Failed::Refused(_) => None,
            });
            assert_eq!(got, expect, "{status} {fields:?} {body}");
        };
        check(200, &[], "{}", Ok(0));
        check(202, &[], "not JSON", Ok(0));
        let some = r#"{"partialSuccess":{"rejectedSpans":"7","errorMessage":"x"}}"#;
        check(200, &[], some, Ok(7));
        check(200, &[], r#"{"partialSuccess":{"rejectedSpans":7}}"#, Ok(7));
        for status in [429, 502, 503, 504] {
            check(status, &[], "", Err(Some(0)));
            check(status, &["7"], "", Err(Some(7)));
            check(status, &["Wed, 21 Oct 2026 07:28:00 GMT"], "", Err(Some(0)));
        }
        for status in [301, 400, 401, 404, 413, 500, 501] {
            check(status, &["7"], "", Err(None));
        }
    }
}
