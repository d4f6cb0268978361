//! Owns the closed list of what happens to a service, for listeners.
//!
//! Rich enough to build every event of the five covered systems; how, stands in `docs/coverage-events.md`.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Admin, BackendId};
use crate::health::CheckFault;
use crate::pick::Refusal;
use crate::standing::{Reason, Standing};
use crate::time::Instant;
use crate::verdict::{Outcome, Verdict};

/// Something that happened to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The service's name.
    pub service: Arc<str>,
    /// When.
    pub at: Instant,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// The service began, with so many backends.
    ServiceStarted {
        /// Members.
        members: usize,
    },
    /// The last handle's owner ended the service.
    ServiceStopped {
        /// Members at the end.
        members: usize,
        /// Attempts still under way.
        in_flight: u64,
    },
    /// A backend joined.
    BackendAdded {
        /// Which.
        backend: BackendId,
        /// Its first standing.
        standing: Standing,
    },
    /// A backend left; attempts in flight end in peace.
    BackendRemoved {
        /// Which.
        backend: BackendId,
        /// Attempts still under way there.
        in_flight: u32,
    },
    /// A backend's configuration changed.
    BackendUpdated {
        /// Which.
        backend: BackendId,
        /// What the operator wants of it now.
        admin: Admin,
        /// Its weight now.
        weight: u16,
    },
    /// The service's settings changed.
    SettingsChanged {
        /// The policy's word now.
        policy: Arc<str>,
    },
    /// May a backend be picked: the answer changed.
    StandingChanged {
        /// Which.
        backend: BackendId,
        /// Before.
        from: Standing,
        /// Now.
        to: Standing,
        /// Why.
        reason: Reason,
    },
    /// A check ended.
    Checked {
        /// Which backend.
        backend: BackendId,
        /// How long it took.
        latency: Duration,
        /// None: it passed.
        fault: Option<CheckFault>,
        /// The status it saw, where it saw one.
        status: Option<u16>,
        /// Failed checks in a row, this one included.
        failures: u32,
    },
    /// A breaker opened.
    BreakerOpened {
        /// Which backend.
        backend: BackendId,
        /// What opened it.
        reason: Reason,
        /// Failures in a row at that time.
        failures: u32,
        /// When trials begin.
        until: Instant,
    },
    /// A breaker admits trials, or more of them because all that it admitted hang.
    BreakerHalfOpened {
        /// Which backend.
        backend: BackendId,
        /// So many.
        trials: u16,
    },
    /// A breaker closed: its trials passed, somebody said so by hand, or its backend came back from maintenance.
    BreakerClosed {
        /// Which backend.
        backend: BackendId,
    },
    /// A breaker would have opened, but the cap or the state of the whole service forbade it. Once per episode.
    BreakerWithheld {
        /// Which backend.
        backend: BackendId,
        /// Why not.
        why: Withheld,
    },
    /// No backend is healthy, or fewer are than must be. Once per episode.
    AllDown {
        /// Whether all that can be are served through.
        fail_open: bool,
        /// How many are healthy, or wait for their first check; of no weight, or draining, nobody.
        healthy: usize,
        /// Members.
        members: usize,
    },
    /// At least one backend is healthy again, and as many as must be.
    Recovered {
        /// How long they were too few.
        after: Duration,
    },
    /// Another tier serves than the last one that did.
    TierChanged {
        /// Before.
        from: u16,
        /// Now.
        to: u16,
    },
    /// A draining backend has nothing in flight.
    Drained {
        /// Which.
        backend: BackendId,
    },
    /// A backend's adaptive limit came to one of its ends. Once until it has left there.
    LimitReached {
        /// Which backend.
        backend: BackendId,
        /// Which end.
        end: LimitEnd,
        /// The limit.
        limit: u32,
    },
    /// The program's own policy panicked or chose who may not be chosen; round robin stands in.
    PolicyFailed {
        /// Its name.
        policy: Arc<str>,
    },
    /// A retry was refused because the budget is spent. Once per tick at most.
    RetryBudgetSpent {
        /// Refused since the last such event.
        refused: u64,
    },
    /// One attempt was sent. Only for listeners that want exchanges.
    Picked {
        /// Where to.
        backend: BackendId,
        /// The policy's word.
        policy: Arc<str>,
        /// How many backends could have been picked.
        candidates: usize,
        /// Whether it is a trial of a half-open breaker.
        trial: bool,
    },
    /// One attempt was refused. Only for listeners that want exchanges.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Members.
        members: usize,
    },
    /// One attempt was answered. Only for listeners that want exchanges.
    Answered {
        /// Where.
        backend: BackendId,
        /// How.
        verdict: Verdict,
        /// Time to the response head.
        latency: Duration,
        /// The backend's mean latency now.
        mean: Option<Duration>,
    },
    /// One attempt ended. Only for listeners that want exchanges.
    Finished {
        /// Where.
        backend: BackendId,
        /// How.
        outcome: Outcome,
        /// Time from the pick to the end.
        total: Duration,
        /// Whether the attempt counts as failed, by its verdict or its outcome.
        failed: bool,
    },
    /// One attempt was dropped without an outcome. Only for listeners that want exchanges.
    Abandoned {
        /// Where.
        backend: BackendId,
    },
}

/// Why a breaker did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// As many as may be are out already.
    Cap,
    /// The service's median backend fails too: the fault is not this backend's.
    MedianFails,
}

/// The ends of an adaptive limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitEnd {
    /// It would be lower still: the backend is slow with the fewest that it may be given.
    Least,
    /// It would be higher: as many as it may be given are in flight, and it answers at its ease.
    Most,
}

/// Who wants to know. Called outside the core's locks, on the thread where it happened; must not block. It may do with the service what it
/// likes: what it changes it hears after what it is hearing.
pub trait Listener: Send + Sync {
    /// Something happened.
    fn hear(&self, event: &Event);

    /// Whether the events of single attempts are wanted: they cost each pick a call. Asked when the service begins
    /// and at each tick.
    fn wants_exchanges(&self) -> bool {
        false
    }

    /// A tick before its time would help: a breaker is to open, or a check of a large service has found one that is lost. Said once until
    /// the tick came.
    fn tick_wanted(&self) {}
}

/// Hears nothing.
impl Listener for () {
    fn hear(&self, _event: &Event) {}
}
