//! Owns the core's pick joined to the balancer's clock, so that a caller need not bring the time.
//!
//! Holds one charge of one backend until it is finished or dropped. Read next: `follow`.

use std::time::Duration;

use evenkeel_balance::backend::{Backend, BackendId};
use evenkeel_balance::load::LoadReport;
use evenkeel_balance::pick::Pick as CorePick;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};

use crate::clock::Clock;
use crate::follow::Followed;

/// The right to send one attempt to one backend. Owned: it may travel between tasks and threads, and outlive the
/// service, the membership of its backend and the [`LoadBalancer`](crate::LoadBalancer).
///
/// Taking it and counting it are one step. Dropped without an outcome it gives its charge back, teaches nothing and
/// counts as abandoned.
#[must_use = "a pick that is dropped gives its charge back and counts as abandoned"]
#[derive(Debug)]
pub struct Pick {
    core: CorePick,
    clock: Clock,
}

impl Pick {
    #[inline]
    pub(crate) fn new(core: CorePick, clock: Clock) -> Self {
        Self { core, clock }
    }

    /// Where to send the attempt, with its running state.
    #[must_use]
    #[inline]
    pub fn backend(&self) -> &Backend {
        self.core.backend()
    }

    /// The identity of the backend, by default its address.
    #[must_use]
    #[inline]
    pub fn id(&self) -> &BackendId {
        self.core.backend().id()
    }

    /// Whether it is a trial of a half-open breaker.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.core.is_trial()
    }

    /// Whether its client is kept on another backend, which was full: it is not to be kept here, but goes back there.
    #[must_use]
    pub fn is_spilled(&self) -> bool {
        self.core.is_spilled()
    }

    /// The attempt begins only now: what was waited since it was taken is not held against the backend. For who picks
    /// before there is anything to send.
    #[inline]
    pub fn begins(&mut self) {
        self.core.begins(self.clock.now());
    }

    /// Time since it was taken, or began.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.clock.now().since(self.core.at())
    }

    /// The response head came, or the attempt failed before it. To be said at once: it is where latency is measured.
    /// Only the first counts. A good one is a success once the attempt is over.
    #[inline]
    pub fn answered(&mut self, verdict: Verdict) {
        self.core.answered(verdict, self.clock.now());
    }

    /// The backend says this of its load, with its answer: for the `weighted_by_load` policy.
    pub fn report_load(&self, report: &LoadReport) {
        self.backend().report_load(report, self.clock.now());
    }

    /// The last byte, or the end before it. Without an answer before, completion counts as success and a break as
    /// failure; a body that breaks after a good head is a failure, and no success.
    #[inline]
    pub fn finish(self, outcome: Outcome) {
        self.core.finish(outcome, self.clock.now());
    }

    /// Response head and last byte in one: for calls that return whole.
    #[inline]
    pub fn succeeded(self) {
        self.finish(Outcome::Completed);
    }

    /// The attempt failed.
    #[inline]
    pub fn failed(self, fault: Fault) {
        self.finish(Outcome::Broken(fault));
    }

    /// Ties the charge to a body: it is held until the body ends, breaks or is dropped. Say
    /// [`answered`](Self::answered) first, else the length of the body is taken for the backend's latency.
    ///
    /// A body that is no `AsyncRead` can be tied too: whoever reads it says [`Followed::finish`].
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use evenkeel::{LoadBalancer, ServiceSettings, Verdict};
    /// use tokio::io::AsyncReadExt;
    ///
    /// let balancer = LoadBalancer::new();
    /// balancer.register("api", ServiceSettings::default(), ["a:80"])?;
    /// let api = balancer.service("api").expect("it was registered");
    /// let mut pick = api.select()?;
    /// pick.answered(Verdict::Success);
    /// let mut body = pick.follow(&b"a body"[..]);
    /// assert_eq!(api.stats().attempts.in_flight, 1);
    /// let mut text = String::new();
    /// body.read_to_string(&mut text).await?;
    /// assert_eq!(api.stats().attempts.in_flight, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow<B>(self, body: B) -> Followed<B> {
        Followed::new(body, self)
    }
}
