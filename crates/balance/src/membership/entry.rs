//! Owns what the writer keeps of one member, and the count of members by standing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backend::{Backend, BackendSpec, Counts};
use crate::breaker::{Breaker, Gate};
use crate::health::{CheckFault, Health};
use crate::learn::window::{Tally, Window};
use crate::limit::Limit;
use crate::load::Load;
use crate::standing::{Reason, Standing};
use crate::sync::Arc;
use crate::time::Instant;
use crate::trust::Trust;

/// What the writer knows of one member.
pub(super) struct Entry {
    pub(super) backend: Arc<Backend>,
    pub(super) spec: BackendSpec,
    pub(super) health: Health,
    pub(super) breaker: Breaker,
    pub(super) window: Window,
    /// When slow start began.
    pub(super) warming: Option<Instant>,
    /// Since when checks or traffic have it out, where it served before.
    pub(super) out: Option<Instant>,
    /// For the `health_based` policy.
    pub(super) trust: Trust,
    /// For the `weighted_by_load` policy.
    pub(super) load: Load,
    /// The part of its share that whoever watches gives it.
    pub(super) factor: f32,
    /// Where the settings have one.
    pub(super) limit: Option<Limit>,
    pub(super) standing: Standing,
    pub(super) reason: Reason,
    pub(super) since: Instant,
    /// Verdicts at the last tick, and when the newest good head was picked: the same now means idle.
    pub(super) heard: (u64, Option<Instant>),
    /// How long it heard nothing, as far as it was not forgiven for it.
    pub(super) idle: Duration,
    /// Picks at the last tick. One that joins or returns begins with those it has: they were counted before.
    pub(super) picked: u64,
    /// Picks that it had when somebody joined last, or a member was configured otherwise: those since then are compared with the others'.
    pub(super) compared: u64,
    pub(super) drain_told: bool,
    /// It joined beside others that served, and has not been out since: as far as it does not serve yet, nobody misses it.
    pub(super) new: bool,
    /// It joined while nobody served: its first proof is a start, not a return.
    pub(super) first: bool,
    /// A check that began earlier was of somebody else with this identity.
    pub(super) joined: Instant,
    /// As much of the service's news had come when the last one was of it.
    pub(super) news: u64,
}

impl Entry {
    pub(super) fn tally(&self) -> Tally {
        self.backend.counts().into()
    }

    /// Closes the breaker; what stood against it is served. False when it was closed.
    pub(super) fn acquit(&mut self, peace: Duration, now: Instant) -> bool {
        if self.breaker.gate() == Gate::Closed {
            return false;
        }
        self.breaker.close(peace, now);
        self.backend.trials.end();
        self.absolve(now);
        true
    }

    /// What failed so far is held against it no more.
    pub(super) fn absolve(&mut self, now: Instant) {
        self.backend.row.set(0);
        self.window.restart(now, self.tally());
    }

    /// When slow start began, of one that serves again. Who was away for a while has lost no more by it, and begins with the rest of its
    /// share: a pause of a collector leaves a cache warm. Whoever could not be connected to meanwhile may have begun anew, and is cold.
    pub(super) fn warms_from(
        &self,
        slow_start: Duration,
        window: Duration,
        now: Instant,
    ) -> Instant {
        let unreached = self.backend.last_unreached();
        match self.out {
            Some(out) if unreached == Instant::ZERO || unreached + window < out => {
                now - slow_start.saturating_sub(now.since(out))
            }
            _ => now,
        }
    }

    /// A check that began then said that nobody takes a connection.
    pub(super) fn refused(&self, fault: Option<CheckFault>, began: Instant) {
        if fault == Some(CheckFault::Refused) {
            self.backend.unreached_at(began);
        }
    }

    pub(super) fn zero_weight(&self) -> bool {
        self.spec.weight.get() == 0
    }
}

impl From<Counts> for Tally {
    fn from(counts: Counts) -> Self {
        Self {
            succeeded: counts.succeeded,
            failed: counts.failed,
            slow: counts.slow,
        }
    }
}

/// What one member's shares are shares of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    /// Of all weights that the operator and the standings give, when it was published last.
    pub(super) wanted: f64,
    /// Picks of all members, at the last tick or change of membership.
    pub(super) picked: u64,
    /// Somebody joined, or is configured otherwise: what members got from here on is compared.
    pub(super) anew: bool,
}

/// How many members of some weight in one tier have each standing.
#[derive(Clone, Copy, Debug, Default)]
struct Census([usize; 7]);

/// The same of all tiers that have members, the first first.
#[derive(Clone, Debug, Default)]
pub(super) struct Tiers(BTreeMap<u16, Census>);

impl Tiers {
    pub(super) fn of(&mut self, tier: u16, standing: Standing) -> &mut usize {
        &mut self.0.entry(tier).or_default().0[standing as usize]
    }

    pub(super) fn count(&self, tier: u16, standing: Standing) -> usize {
        let census = self.0.get(&tier);
        census.map_or(0, |census| census.0[standing as usize])
    }

    /// The tier, where there is one.
    pub(super) fn only(&self) -> Option<u16> {
        let mut tiers = self.0.keys();
        tiers.next().copied().filter(|_| tiers.next().is_none())
    }

    /// Of each tier, of how many nothing bad is known, and how many are meant to serve.
    pub(super) fn sound(&self) -> impl Iterator<Item = (usize, usize)> {
        use Standing::{Down, Ejected, Probing, Serving, Unproven};
        self.0.values().map(|census| {
            let count = |&one: &Standing| census.0[one as usize];
            let sum = |all: &[Standing]| all.iter().map(count).sum::<usize>();
            let healthy = sum(&[Serving, Unproven]);
            (healthy, healthy + sum(&[Down, Ejected, Probing]))
        })
    }

    /// The first tier with a member of this standing.
    pub(super) fn first(&self, standing: Standing) -> Option<u16> {
        let mut tiers = self.0.iter();
        let found = tiers.find(|(_, census)| census.0[standing as usize] > 0);
        found.map(|(tier, _)| *tier)
    }
}
