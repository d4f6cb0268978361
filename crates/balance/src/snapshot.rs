//! Owns the shape of what a service tells of itself: for status pages, metrics and tests. Plain data.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{BackendId, BackendSpec, Counts};
use crate::breaker::Gate;
use crate::eligibility::Rung;
use crate::health::{Active, CheckReport};
use crate::learn::histogram;
use crate::learn::speed::Learned;
use crate::learn::window::Tally;
use crate::load::LoadShare;
use crate::queue::QueueSnapshot;
use crate::settings::QueueSettings;
use crate::spill::Spill;
use crate::standing::{Reason, Standing};
use crate::time::Instant;

/// A service at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// The policy's word.
    pub policy: Arc<str>,
    /// On which rung of the ladder it stands.
    pub rung: Rung,
    /// The first tier that serves; none: no backend is healthy, or too few are.
    pub tier: Option<u16>,
    /// The last one that has a share, as pickers see it; those behind it stand by.
    pub last_tier: Option<u16>,
    /// Where there is more than one, the first 16 that were seen, in order.
    pub tiers: Vec<TierSnapshot>,
    /// How many picks went where, beside where they would go first.
    pub spilled: [(Spill, u64); Spill::ALL.len()],
    /// Since when no backend is healthy, or too few are.
    pub down_since: Option<Instant>,
    /// Retries that the budget would allow now.
    pub retry_budget: u64,
    /// Hedges that their allowance would allow now, as far as the retry budget does; none: there are no hedges.
    pub hedge_budget: Option<u64>,
    /// Backends that left, as far as remembered: those with attempts under way, and others until the next tick.
    pub departed: usize,
    /// Attempts in flight that its own limit counts, and that limit. None: it has none.
    pub places: Option<(u32, u32)>,
    /// Who waits, and who did.
    pub queue: QueueSnapshot,
    /// Whether asks may wait while it is full.
    pub queue_settings: Option<QueueSettings>,
    /// Its members, in the order of configuration.
    pub backends: Vec<BackendSnapshot>,
}

impl ServiceSnapshot {
    /// The member with this identity.
    #[must_use]
    pub fn backend(&self, id: &str) -> Option<&BackendSnapshot> {
        self.backends
            .iter()
            .find(|backend| backend.id.as_str() == id)
    }

    /// How many may be picked without failing open; of a service that has too few of them, how many there are.
    #[must_use]
    pub fn healthy(&self) -> usize {
        let healthy = |one: &&BackendSnapshot| {
            is_healthy(one.standing, one.spec.tier, self.rung, self.last_tier)
        };
        self.backends.iter().filter(healthy).count()
    }
}

/// Whether a member may be picked without failing open.
pub(crate) fn is_healthy(standing: Standing, tier: u16, rung: Rung, last: Option<u16>) -> bool {
    let least = match rung {
        Rung::Unproven => Standing::Unproven,
        _ => Standing::Serving,
    };
    standing >= least && last.is_none_or(|last| tier <= last)
}

/// A tier at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TierSnapshot {
    /// Which.
    pub tier: u16,
    /// The share of exchanges that it should get, 0 to 1, as pickers see it.
    pub share: f64,
    /// Picks of its members since the service had several tiers; those of trials, and of clients that are kept or lost their backend, apart.
    pub picked: u64,
}

/// An adaptive limit at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LimitSnapshot {
    /// What holds: no more attempts at once, by it or by the backend's own limit, if that is lower.
    pub in_use: u32,
    /// What it comes to by what was heard. `in_use` follows the larger steps, and is half of it while it looks whether answers are
    /// faster then.
    pub wanted: f64,
}

/// How much of what checks go by has changed since a service began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Who its members are, and what is configured of them.
    pub members: u64,
    /// What checks, traffic or an operator say of some member.
    pub health: u64,
    /// Where the service stands in memory: another of its name, which nothing has happened to either, is not the same. Meant for who holds
    /// the one that it compares with.
    pub(crate) of: usize,
}

/// A backend at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendSnapshot {
    /// Its identity.
    pub id: BackendId,
    /// What was configured of it.
    pub spec: BackendSpec,
    /// May it be picked?
    pub standing: Standing,
    /// Why its standing is what it is.
    pub reason: Reason,
    /// Since when.
    pub since: Instant,
    /// What checks and verdicts by hand say.
    pub active: Active,
    /// Passed checks in a row.
    pub checks_passed: u32,
    /// Failed checks, and verdicts by hand, in a row.
    pub checks_failed: u32,
    /// The newest check.
    pub last_check: Option<CheckReport>,
    /// Its breaker.
    pub gate: Gate,
    /// When trials begin, while its breaker is open.
    pub open_until: Option<Instant>,
    /// Failures of traffic in a row; see [`Backend::consecutive_failures`](crate::backend::Backend::consecutive_failures).
    pub consecutive_failures: u32,
    /// Counted since it joined.
    pub counts: Counts,
    /// Verdicts in the breaker's window.
    pub window: Tally,
    /// How much of the window is filled.
    pub window_length: Duration,
    /// Verdicts per second over the window.
    pub per_second: f64,
    /// Mean time to the response head.
    pub latency: Option<Duration>,
    /// Distribution of it, where histograms are kept.
    pub latencies: Option<histogram::Snapshot>,
    /// What the `adaptive` policy learned.
    pub learned: Learned,
    /// What it reports of its load, and what follows; none where the policy does not go by it.
    pub load: Option<LoadSnapshot>,
    /// Its adaptive limit; none: the service has none.
    pub limit: Option<LimitSnapshot>,
    /// The part of its share that the `health_based` policy trusts it with, above 0 and at most 1; none under others.
    pub trust: Option<f32>,
    /// The part of its share that whoever watches gives it ([`Service::adjust`](crate::service::Service::adjust)), 0.01 to 100.
    pub factor: f32,
    /// Slow start: the share of its weight that it has, 0.1 to 1.
    pub ramp: f32,
    /// The share of exchanges it should get by tier, weight and standing, 0 to 1; all sum to 1 or 0. Of a member that is looked at alone
    /// ([`Service::backend`](crate::service::Service::backend)), beside what the others were given when the service changed last.
    pub share_wanted: f64,
    /// The share of all picks that it got since the service began, 0 to 1. Of a member that is looked at alone, beside the picks of the
    /// others at the last tick.
    pub share_got: f64,
    /// Picks since a member joined last, or one was configured otherwise (weight, tier, by whom it is taken out): beside those of the others,
    /// what it got of what it should get.
    pub picked_since: u64,
}

/// What a backend reports of its load at one moment, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LoadSnapshot {
    /// The utilization that counts, of the newest report.
    pub utilization: Option<f32>,
    /// Requests per second, by its word.
    pub rps: Option<f32>,
    /// Of them, those that failed.
    pub eps: Option<f32>,
    /// How old the newest report is; none: there was none.
    pub age: Option<Duration>,
    /// Reports since it joined.
    pub reports: u64,
    /// How many requests a second it can answer, by its word, as weighed last.
    pub capacity: Option<f32>,
    /// What that makes of its configured share, and why.
    pub share: LoadShare,
}
