//! Owns the right to send one attempt to one backend, and what its end teaches.
//!
//! ```text
//! sent --answered(verdict)--> answered --finish(outcome)--> ended
//!   \--------------------------------------finish---------/     dropped: the charge is given back, abandoned
//! ```
//! A pick records facts and asks for a tick; it never changes a standing or a shared table.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::ask::ClassId;
use crate::backend::Backend;
use crate::choice::Taken;
use crate::event::EventKind;
use crate::facts::Flags;
use crate::sync::{Arc, Ordering};
use crate::time::Instant;
use crate::trials::Epoch;
use crate::verdict::{Fault, Outcome, Verdict};

/// Why there is no pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u64)]
pub enum Refusal {
    /// The service, or the caller's subset of it, has no members.
    NoBackends,
    /// None may be picked: down, ejected, draining, disabled or of weight 0.
    AllDown,
    /// All that may be picked, or the service itself, have as many in flight as they may.
    AllFull,
    /// All that may be picked were tried by this exchange.
    AllTried,
    /// The program's own policy chose nobody of those that may be picked.
    Declined,
    /// The service is full, and as many wait for it as may.
    QueueFull,
    /// It waited for a full service as long as it may.
    QueueTimeout,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoBackends,
        Self::AllDown,
        Self::AllFull,
        Self::AllTried,
        Self::Declined,
        Self::QueueFull,
        Self::QueueTimeout,
    ];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::NoBackends => 0,
            Self::AllDown => 1,
            Self::AllFull => 2,
            Self::AllTried => 3,
            Self::Declined => 4,
            Self::QueueFull => 5,
            Self::QueueTimeout => 6,
        }
    }

    /// The word for it in logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoBackends => "no_backends",
            Self::AllDown => "all_down",
            Self::AllFull => "all_full",
            Self::AllTried => "all_tried",
            Self::Declined => "declined",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
        }
    }

    /// What it means, in a sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NoBackends => "The service, or the caller's subset of it, has no members.",
            Self::AllDown => {
                "None may be picked: down, ejected, draining, disabled or of weight 0."
            }
            Self::AllFull => {
                "All that may be picked, or the service itself, have as many in flight as they may."
            }
            Self::AllTried => "All that may be picked were tried by this exchange.",
            Self::Declined => "The program's own policy chose nobody of those that may be picked.",
            Self::QueueFull => "The service is full, and as many wait for it as may.",
            Self::QueueTimeout => "It waited for a full service as long as it may.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBackends => "the service has no backends",
            Self::AllDown => "no backend of the service may be picked",
            Self::AllFull => {
                "the service, or every backend of it, has as many attempts in flight as it may"
            }
            Self::AllTried => "every backend of the service was tried already",
            Self::Declined => "the policy chose no backend",
            Self::QueueFull => "the service is full, and so is its queue",
            Self::QueueTimeout => "the service was full for as long as the queue lets one wait",
        })
    }
}

impl std::error::Error for Refusal {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Sent,
    Answered,
    Ended,
}

/// The right to send one attempt to one backend. Holds one charge of it until it is finished or dropped.
///
/// `H` is how it holds the backend: [`Arc`] for one that travels between threads,
/// [`Seat`](crate::service::Seat) for one of a worker's own [`Handle`](crate::service::Handle).
#[must_use = "a pick that is dropped gives its charge back and counts as abandoned"]
#[derive(Debug)]
pub struct Pick<H: Deref<Target = Backend> = Arc<Backend>> {
    held: H,
    at: Instant,
    class: ClassId,
    trial: Option<Epoch>,
    stage: Stage,
    failed: bool,
    /// It has a place of the service's own limit.
    placed: bool,
}

impl<H: Deref<Target = Backend>> Pick<H> {
    /// What was taken is the pick's to give back from here on.
    #[inline]
    pub(crate) fn new(held: H, class: ClassId, taken: Taken, at: Instant) -> Self {
        Self {
            held,
            at,
            class,
            trial: taken.trial,
            stage: Stage::Sent,
            failed: false,
            placed: taken.placed,
        }
    }

    /// Where to send the attempt.
    #[must_use]
    #[inline]
    pub fn backend(&self) -> &Backend {
        &self.held
    }

    pub(crate) fn held(&self) -> &H {
        &self.held
    }

    /// The same pick, its backend held otherwise: the charge goes over.
    pub(crate) fn held_by<K: Deref<Target = Backend>>(mut self, held: K) -> Pick<K> {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        Pick {
            held,
            at: self.at,
            class: self.class,
            trial: self.trial,
            stage,
            failed: self.failed,
            placed: self.placed,
        }
    }

    /// When it was taken.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The attempt begins only now: what the caller waited since the pick was taken is not held against the backend.
    pub fn begins(&mut self, now: Instant) {
        self.at = now;
    }

    /// What successes of its class usually take to their response head, as a mean; `None` before the first. Cost: one load.
    #[must_use]
    pub fn usual(&self) -> Option<Duration> {
        self.held.facts.usual(self.class)
    }

    /// Whether it is a trial of a half-open breaker.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The response head, or a failure before it. Teaches latency, failing and the breaker. Only the first counts.
    #[inline]
    pub fn answered(&mut self, verdict: Verdict, now: Instant) {
        if self.stage != Stage::Sent {
            return;
        }
        self.stage = Stage::Answered;
        match verdict {
            Verdict::Success => self.succeeded(now),
            Verdict::Failure(fault) => self.failed(fault),
            Verdict::Neutral => self.silent(),
        }
        if self.held.facts.answers_heeded() {
            self.heed_answer(verdict, now);
        }
    }

    /// A good response head that says little of this attempt: how it went is said at its end, as by the trailers of gRPC. It teaches as
    /// [`answered`](Self::answered) with a success does, but a row of failures goes on until [`ended_well`](Self::ended_well).
    #[cold]
    pub fn answered_in_part(&mut self, now: Instant) {
        let row = self.held.consecutive.load(Ordering::Relaxed);
        self.answered(Verdict::Success, now);
        // Set back rather than left: who ends a row with its head, as most do, pays nothing for this.
        self.held.consecutive.fetch_max(row, Ordering::Relaxed);
    }

    /// What was answered in part ended well: a row of failures ends.
    pub fn ended_well(&self) {
        if self.held.consecutive.load(Ordering::Relaxed) != 0 {
            self.held.consecutive.store(0, Ordering::Relaxed);
        }
    }

    #[cold]
    fn heed_answer(&self, verdict: Verdict, now: Instant) {
        let backend = &*self.held;
        let latency = now.since(self.at);
        if backend.facts.flags.has(Flags::PEAKS) && verdict == Verdict::Success {
            let relative = backend.facts.compared(self.class, latency.as_secs_f32());
            backend.peak.observe(relative, now);
        }
        if !backend.facts.watched() {
            return;
        }
        backend
            .facts
            .hook(now, |policy| policy.answered(backend, verdict, latency));
        if backend.facts.wants_exchanges() {
            let kind = EventKind::Answered {
                backend: backend.id().clone(),
                verdict,
                latency,
                mean: backend.latency(),
            };
            backend.facts.tell(now, kind);
        }
    }

    /// The last byte. Closes the charge. Without an answer before, completion counts as success and a break as
    /// failure; a body that breaks after a good head is a failure too.
    #[inline]
    pub fn finish(mut self, outcome: Outcome, now: Instant) {
        self.end(outcome, now);
    }

    /// As [`finish`](Self::finish), for who keeps the pick: its charge is given back, and what is still to be moved is nobody's. Only the
    /// first end counts.
    #[inline]
    pub fn end(&mut self, outcome: Outcome, now: Instant) {
        match (self.stage, outcome) {
            (Stage::Ended, _) => return,
            (Stage::Sent, Outcome::Completed) => self.answered(Verdict::Success, now),
            (Stage::Sent, Outcome::Broken(fault)) => self.answered(Verdict::Failure(fault), now),
            (Stage::Sent, Outcome::ClientLeft) => self.answered(Verdict::Neutral, now),
            (Stage::Answered, Outcome::Broken(fault)) if !self.failed => self.failed(fault),
            _ => {}
        }
        self.stage = Stage::Ended;
        self.held.charge.finish();
        // One look for all: it finds nothing nearly always.
        if self.held.facts.flags.any() {
            self.heed_end(outcome, now);
        }
    }

    #[cold]
    fn heed_end(&self, outcome: Outcome, now: Instant) {
        let backend = &*self.held;
        backend.facts.has_room(self.placed, now);
        if !backend.facts.watched() {
            return;
        }
        backend
            .facts
            .hook(now, |policy| policy.finished(backend, Some(outcome)));
        if backend.facts.wants_exchanges() {
            let kind = EventKind::Finished {
                backend: backend.id().clone(),
                outcome,
                total: now.since(self.at),
                failed: self.failed,
            };
            backend.facts.tell(now, kind);
        }
    }

    #[inline]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a latency needs no more than 24 bits"
    )]
    fn succeeded(&mut self, now: Instant) {
        let backend = &*self.held;
        let nanos = now.nanos_since(self.at);
        let seconds = nanos as f32 * 1e-9;
        backend.succeeded.fetch_add(1, Ordering::Relaxed);
        backend
            .speed
            .succeeded(backend.facts.relative(self.class, seconds, now));
        backend.learn_latency(seconds, nanos);
        if backend.facts.is_slow(nanos) {
            backend.slow.fetch_add(1, Ordering::Relaxed);
        }
        if backend.consecutive.load(Ordering::Relaxed) != 0 {
            backend.consecutive.store(0, Ordering::Relaxed);
        }
        // Races may keep an older one: it then proves a little less, never more.
        backend
            .success_picked
            .store(self.at.as_nanos().max(1), Ordering::Relaxed);
        if self.trial.is_some_and(|epoch| backend.trials.passed(epoch)) {
            backend.facts.ask_tick();
        }
    }

    #[cold]
    fn failed(&mut self, fault: Fault) {
        self.failed = true;
        let backend = &*self.held;
        backend.failed.fetch_add(1, Ordering::Relaxed);
        backend.speed.failed();
        if fault == Fault::Connect {
            backend.unreached_at(self.at);
        }
        // A backend that says it is overloaded is alive: that counts for the rate, not as a row of failures.
        if !matches!(fault, Fault::Overloaded { .. }) {
            let row = backend
                .consecutive
                .fetch_add(1, Ordering::Relaxed)
                .saturating_add(1);
            backend.facts.failures(row);
        }
        if self.trial.is_some_and(|epoch| backend.trials.failed(epoch)) {
            backend.facts.ask_tick();
        }
    }

    /// Nothing was learned: a trial may be tried again.
    #[cold]
    fn silent(&mut self) {
        if let Some(epoch) = self.trial.take() {
            self.held.trials.give_back(epoch);
        }
    }
}

impl<H: Deref<Target = Backend>> Drop for Pick<H> {
    #[inline]
    fn drop(&mut self) {
        if self.stage != Stage::Ended {
            abandon(
                &self.held,
                self.trial.filter(|_| self.stage == Stage::Sent),
                self.placed,
                self.at,
            );
        }
    }
}

#[cold]
fn abandon(backend: &Backend, unanswered_trial: Option<Epoch>, placed: bool, at: Instant) {
    if let Some(epoch) = unanswered_trial {
        backend.trials.give_back(epoch);
    }
    backend.abandoned.fetch_add(1, Ordering::Relaxed);
    backend.charge.abandon();
    backend.facts.has_room(placed, at);
    backend
        .facts
        .hook(at, |policy| policy.finished(backend, None));
    if backend.facts.wants_exchanges() {
        backend.facts.tell(
            at,
            EventKind::Abandoned {
                backend: backend.id().clone(),
            },
        );
    }
}
