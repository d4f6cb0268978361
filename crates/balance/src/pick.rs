//! Owns the right to send one attempt to one backend, and what its end teaches.
//!
//! ```text
//! sent --answered(verdict)--> well, or answered --finish(outcome)--> ended
//!   \------------------------------------------------finish---------/     dropped: the charge is given back, abandoned
//! ```
//! A failure is counted when it shows, a success when the attempt is over: each attempt is counted once, and as one of them.
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

/// What is learned of who was given up for another.
mod outrun;

/// Why there is no pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u64)]
pub enum Refusal {
    /// The service, or the caller's subset of it, has no members.
    NoBackends,
    /// None may be picked: down, ejected, draining, disabled or of weight 0; or fewer are healthy than must be.
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
                "None may be picked: down, ejected, draining, disabled or of weight 0; or fewer are healthy than must be."
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
    /// A good head; all of it may yet break.
    Well,
    /// The same, later than the settings allow.
    Slow,
    /// A head that is none of its backend's successes.
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
    spilled: bool,
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
            spilled: taken.spilled,
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
            spilled: self.spilled,
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

    /// Whether its client is kept on another backend ([`Ask::kept`](crate::ask::Ask::kept)), which was full: that one has room in a moment,
    /// and the client is not to be kept here.
    #[must_use]
    pub fn is_spilled(&self) -> bool {
        self.spilled
    }

    /// The response head, or a failure before it. Teaches latency, failing and the breaker; a good one counts as a success
    /// once the attempt is over. Only the first counts.
    #[inline]
    pub fn answered(&mut self, verdict: Verdict, now: Instant) {
        if self.stage != Stage::Sent {
            return;
        }
        self.stage = Stage::Answered;
        match verdict {
            Verdict::Success => self.began_well(now),
            Verdict::Failure(fault) => self.failed(fault, false),
            Verdict::Neutral => self.silent(),
        }
        if self.held.facts.answers_heeded() {
            self.heed_answer(verdict, now);
        }
    }

    #[cold]
    fn heed_answer(&self, verdict: Verdict, now: Instant) {
        let backend = &*self.held;
        backend.facts.stir();
        let latency = now.since(self.at);
        if backend.facts.flags.has(Flags::ANSWERS) {
            self.learn_apart(verdict, latency, now);
        }
        if backend.facts.flags.has(Flags::HEDGES) && verdict == Verdict::Success {
            backend.facts.hedging.answered(self.class, latency);
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

    /// What the answers of some services teach besides.
    fn learn_apart(&self, verdict: Verdict, latency: Duration, now: Instant) {
        let (backend, facts) = (&*self.held, &self.held.facts);
        let (flags, seconds) = (&facts.flags, latency.as_secs_f32());
        if verdict == Verdict::Success {
            if flags.has(Flags::PEAKS) {
                backend
                    .peak
                    .observe(facts.compared(self.class, seconds), now);
            }
            if let Some(histogram) = backend.histogram() {
                histogram.record(latency);
            }
        }
        if !flags.has(Flags::PACES) {
            return;
        }
        let pace = &backend.apart.pace;
        match verdict {
            Verdict::Success => {
                if let Some(relative) = facts.paced(self.class, seconds) {
                    pace.answered(relative, backend.in_flight());
                }
            }
            Verdict::Failure(Fault::Timeout | Fault::Overloaded { .. }) => {
                pace.lost(backend.in_flight());
            }
            Verdict::Failure(_) | Verdict::Neutral => {}
        }
    }

    /// The last byte. Closes the charge. Without an answer before, completion counts as success and a break as
    /// failure; a body that breaks after a good head is a failure, and no success.
    #[inline]
    pub fn finish(mut self, outcome: Outcome, now: Instant) {
        self.end(outcome, now);
    }

    /// As [`finish`](Self::finish), for who keeps the pick: its charge is given back, and what is still to be moved is nobody's. Only the
    /// first end counts.
    #[inline]
    pub fn end(&mut self, outcome: Outcome, now: Instant) {
        match self.stage {
            Stage::Well if matches!(outcome, Outcome::Completed) => {
                self.held.succeeded.fetch_add(1, Ordering::Relaxed);
                self.held.row.end();
            }
            Stage::Ended => return,
            _ => self.ends(outcome, now),
        }
        self.stage = Stage::Ended;
        self.held.charge.finish();
        // One look for all: it finds nothing nearly always.
        if self.held.facts.flags.any() {
            self.heed_end(outcome, now);
        }
    }

    /// What an end says other than that of most: by itself, late, or badly.
    #[cold]
    fn ends(&mut self, outcome: Outcome, now: Instant) {
        if self.stage == Stage::Sent {
            let verdict = match outcome {
                Outcome::Completed => Verdict::Success,
                Outcome::Broken(fault) => Verdict::Failure(fault),
                Outcome::ClientLeft => Verdict::Neutral,
                Outcome::Outrun => {
                    self.outlasted(now);
                    Verdict::Neutral
                }
            };
            self.answered(verdict, now);
        }
        match outcome {
            Outcome::Broken(fault) => self.broke(fault),
            Outcome::Completed if self.succeeded() => self.held.row.end(),
            Outcome::Completed => {}
            // Who left says nothing of what he did not read.
            Outcome::ClientLeft | Outcome::Outrun => drop(self.succeeded()),
        }
    }

    #[cold]
    fn heed_end(&self, outcome: Outcome, now: Instant) {
        let backend = &*self.held;
        backend.facts.stir();
        backend.facts.has_room(backend, self.placed, now);
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
    fn began_well(&mut self, now: Instant) {
        let backend = &*self.held;
        let nanos = now.nanos_since(self.at);
        let seconds = nanos as f32 * 1e-9;
        backend
            .speed
            .succeeded(backend.facts.relative(self.class, seconds, now));
        backend.learn_latency(seconds);
        self.stage = match backend.facts.is_slow(nanos) {
            true => Stage::Slow,
            false => Stage::Well,
        };
        backend.row.head();
        // Races may keep an older one: it then proves a little less, never more.
        backend
            .success_picked
            .store(self.at.as_nanos().max(1), Ordering::Relaxed);
        if self.trial.is_some_and(|epoch| backend.trials.passed(epoch)) {
            backend.facts.ask_tick();
        }
    }

    /// It is over: whether its head was good, which is counted.
    fn succeeded(&self) -> bool {
        let backend = &*self.held;
        if !matches!(self.stage, Stage::Well | Stage::Slow) {
            return false;
        }
        backend.succeeded.fetch_add(1, Ordering::Relaxed);
        if self.stage == Stage::Slow {
            backend.slow.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// What was answered breaks, which counts where no failure was counted before.
    fn broke(&mut self, fault: Fault) {
        if self.stage != Stage::Answered {
            self.held.speed.recanted();
        }
        if !self.failed {
            self.failed(fault, true);
        }
    }

    #[cold]
    fn failed(&mut self, fault: Fault, behind_head: bool) {
        self.failed = true;
        let backend = &*self.held;
        backend.failed.fetch_add(1, Ordering::Relaxed);
        backend.speed.failed();
        if fault == Fault::Connect {
            backend.unreached_at(self.at);
        }
        // A backend that says it is overloaded is alive: that counts for the rate, not as a row of failures.
        if !matches!(fault, Fault::Overloaded { .. }) {
            backend.facts.failures(backend.row.failed(behind_head));
        }
        if self.trial.is_some_and(|epoch| backend.trials.failed(epoch)) {
            backend.facts.ask_tick();
        }
    }

    #[cold]
    fn abandon(&self) {
        let (backend, at) = (&*self.held, self.at);
        self.succeeded();
        if let Some(epoch) = self.trial.filter(|_| self.stage == Stage::Sent) {
            backend.trials.give_back(epoch);
        }
        backend.abandoned.fetch_add(1, Ordering::Relaxed);
        backend.charge.abandon();
        backend.facts.stir();
        backend.facts.has_room(backend, self.placed, at);
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
            self.abandon();
        }
    }
}
