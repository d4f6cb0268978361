//! Owns what of a service goes over to the process that takes its place: plain data, with times as lengths, as two processes share
//! no clock.
//!
//! Counters do not go over: they count what a process did. What comes in is another process's word: a number that is none, or
//! out of range, is left out.

use std::time::Duration;

use crate::breaker::Gate;
use crate::health::Active;
use crate::learn::speed::Learned;
pub use crate::limit::CarriedLimit;
use crate::load::CarriedLoad;
use crate::service::Service;
use crate::standing::Reason;
use crate::time::Instant;

/// A service as it was learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CarriedService {
    /// Mean latency of each class, in seconds; none where nothing is known.
    pub classes: Vec<Option<f32>>,
    /// The same as it was when the class became known, which adaptive limits measure by.
    pub first_classes: Vec<Option<f32>>,
    /// After how many seconds an attempt of each class may have another beside it; none where nothing is known, or nothing is measured.
    pub hedges: Vec<Option<f32>>,
    /// Its members, in no order.
    pub backends: Vec<CarriedBackend>,
}

/// A backend as it was learned.
#[derive(Clone, Debug, PartialEq)]
pub struct CarriedBackend {
    /// Its identity.
    pub id: String,
    /// What checks said.
    pub checked: Active,
    /// A verdict by hand, and for how long it still holds; none is for ever.
    pub hand: Option<(bool, Option<Duration>)>,
    /// Its breaker.
    pub gate: Gate,
    /// Until trials begin while the breaker is open, until hanging ones are given up while it is half-open, until an opening is
    /// forgiven while it is closed.
    pub next: Duration,
    /// Openings that are not forgiven.
    pub openings: u32,
    /// Failures of traffic in a row.
    pub consecutive: u32,
    /// Mean time to the response head, in seconds.
    pub latency: Option<f32>,
    /// What the `adaptive` policy learned.
    pub learned: Learned,
    /// What it reports of its load came to.
    pub load: Option<CarriedLoad>,
    /// Its adaptive limit, where the service has one.
    pub limit: Option<CarriedLimit>,
    /// The part of its share that the `health_based` policy trusts it with, 1/64 to 1. Only as long as it is not all: what is lowered
    /// rises by itself.
    pub trust: Option<f32>,
    /// How long ago slow start began, while it lasts.
    pub warming: Option<Duration>,
    /// Why its standing is what it is.
    pub reason: Reason,
    /// For how long.
    pub since: Duration,
}

/// No time that goes over is longer; a wrong one must not hold a backend for ever.
pub(crate) const LONGEST: Duration = Duration::from_hours(24 * 366);

/// A mean that can be one, in seconds.
pub(crate) fn mean(seconds: f32) -> Option<f32> {
    let most = LONGEST.as_secs_f32();
    (seconds.is_finite() && seconds > 0.0 && seconds <= most).then_some(seconds)
}

impl CarriedService {
    /// As it is so much later: what was learned in between is nobody's, but time has passed. Cost: members.
    #[must_use]
    pub fn later(mut self, passed: Duration) -> Self {
        let passed = passed.min(LONGEST);
        let older = |length: Duration| length.min(LONGEST) + passed;
        for one in &mut self.backends {
            one.next = one.next.saturating_sub(passed);
            one.since = older(one.since);
            one.warming = one.warming.map(older);
            if let Some(load) = &mut one.load {
                (load.age, load.reporting) = (older(load.age), older(load.reporting));
            }
            if let Some((_, Some(left))) = &mut one.hand {
                *left = left.saturating_sub(passed);
            }
        }
        self
    }
}

impl Service {
    /// What is to go over to another process. Cost: members.
    #[must_use]
    pub fn carried(&self, now: Instant) -> CarriedService {
        self.locked(|ledger| ledger.carried(now))
    }

    /// Takes in what another process knew of this service, before it serves: of members, the standing with its reason, the breaker
    /// and what was learned. Not what the operator wants: the configuration says it, or [`Service::set_admin`]. Says how many were
    /// members. What lasts longer than `now` has is taken to have begun at [`Instant::ZERO`]. Cost: both.
    pub fn take_over(&self, carried: &CarriedService, now: Instant) -> usize {
        self.write(now, |ledger| ledger.take_over(carried, now))
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
