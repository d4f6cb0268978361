//! Owns the load: an open loop, in which requests are sent when their time has come, whether earlier ones were answered or not.
//!
//! Latency counts from the intended time to the response head, so that a stall is seen by all that it holds up. The schedule is
//! drawn (Poisson) from a seed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::client::{Class, Conn, Kind, exchange};
use crate::clock::Start;

/// Requests at a time: more than any fault here piles up, fewer than this process has ports and descriptors for.
const OPEN_MOST: u64 = 8_000;

/// One exchange that is over.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// When it was to be sent.
    pub(crate) intended: Duration,
    /// From there to its response head, or to its end where none came.
    pub(crate) latency: Duration,
    pub(crate) kind: Kind,
    pub(crate) class: Class,
    /// A kept connection had ended before its answer began, and it was sent again.
    pub(crate) raced: bool,
}

impl Record {
    /// A request that nobody need have failed: it may be repeated, and nothing of an answer had come.
    pub(crate) fn failed_needlessly(&self) -> bool {
        self.kind.is_idempotent() && self.class != Class::Answered && !self.class.had_begun()
    }
}

/// How it is loaded.
#[derive(Clone)]
pub(crate) struct Terms {
    /// Where to; later ones when earlier ones refuse.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Requests in a second.
    pub(crate) rate: f64,
    /// So long a client waits for an exchange.
    pub(crate) deadline: Duration,
    pub(crate) seed: u64,
    pub(crate) mix: Mix,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Small and large, GET and POST: something is always within an answer.
    Faults,
    /// GETs of a few bytes, so that what is measured is the wait.
    Small,
}

struct Shared {
    terms: Terms,
    start: Start,
    stop: AtomicBool,
    idle: Mutex<Vec<Conn>>,
    records: Mutex<Vec<Record>>,
    offered: AtomicU64,
    done: AtomicU64,
}

/// Load that runs.
pub(crate) struct Load {
    shared: Arc<Shared>,
    pacing: tokio::task::JoinHandle<()>,
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// From now on.
    pub(crate) fn start(terms: Terms, start: Start) -> Self {
        let shared = Arc::new(Shared {
            terms,
            start,
            stop: AtomicBool::new(false),
            idle: Mutex::default(),
            records: Mutex::default(),
            offered: AtomicU64::new(0),
            done: AtomicU64::new(0),
        });
        let pacing = tokio::spawn(pace(shared.clone()));
        Self { shared, pacing }
    }

    /// Exchanges that are over.
    pub(crate) fn done(&self) -> u64 {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// Sends nothing more, waits for what is open, closes what is idle.
    pub(crate) async fn end(mut self) -> Vec<Record> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = (&mut self.pacing).await;
        while self.done() < self.shared.offered.load(Ordering::Relaxed) {
            // Each has its deadline.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        held(&self.shared.idle).clear();
        let mut records = std::mem::take(&mut *held(&self.shared.records));
        records.sort_by_key(|record| record.intended);
        records
    }
}

async fn pace(shared: Arc<Shared>) {
    let mut chance = fastrand::Rng::with_seed(shared.terms.seed);
    let mut next = shared.start.passed();
    loop {
        let drawn = 1.0 - chance.f64();
        next += Duration::from_secs_f64(-drawn.ln() / shared.terms.rate);
        shared.start.until(next).await;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let kind = match shared.terms.mix {
            Mix::Faults => Kind::drawn(chance.u8(0..100)),
            Mix::Small => Kind::SMALL,
        };
        let open =
            shared.offered.fetch_add(1, Ordering::Relaxed) - shared.done.load(Ordering::Relaxed);
        if open >= OPEN_MOST {
            shared.over(next, None, kind, (Class::NotSent, false));
            continue;
        }
        tokio::spawn(one(shared.clone(), kind, next));
    }
}

/// One exchange, on a kept connection if there is one.
async fn one(shared: Arc<Shared>, kind: Kind, intended: Duration) {
    let deadline = intended + shared.terms.deadline;
    let left = deadline.saturating_sub(shared.start.passed());
    let mut head = None;
    let came = tokio::time::timeout(left, tries(&shared, kind, &mut head)).await;
    let ended = match came {
        Ok(ended) => ended,
        Err(_) if head.is_some() => (Class::TimeoutWithin, false),
        Err(_) => (Class::Timeout, false),
    };
    shared.over(intended, head, kind, ended);
}

async fn tries(shared: &Shared, kind: Kind, head: &mut Option<Duration>) -> (Class, bool) {
    if let Some(conn) = shared.kept() {
        let came = exchange(conn, kind, shared.start, head).await;
        match came.class {
            Class::ResetBefore if kind.is_idempotent() => {}
            class => {
                held(&shared.idle).extend(came.conn);
                return (class, false);
            }
        }
        return (fresh(shared, kind, head).await, true);
    }
    (fresh(shared, kind, head).await, false)
}

async fn fresh(shared: &Shared, kind: Kind, head: &mut Option<Duration>) -> Class {
    let Ok(conn) = Conn::open(&shared.terms.addresses).await else {
        return Class::Refused;
    };
    let came = exchange(conn, kind, shared.start, head).await;
    held(&shared.idle).extend(came.conn);
    came.class
}

impl Shared {
    /// A kept connection that has not ended.
    fn kept(&self) -> Option<Conn> {
        let mut idle = held(&self.idle);
        while let Some(conn) = idle.pop() {
            if !conn.has_ended() {
                return Some(conn);
            }
        }
        None
    }

    fn over(&self, intended: Duration, head: Option<Duration>, kind: Kind, ended: (Class, bool)) {
        let (class, raced) = ended;
        let latency = head.unwrap_or_else(|| self.start.passed()) - intended;
        held(&self.records).push(Record {
            intended,
            latency,
            kind,
            class,
            raced,
        });
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}
