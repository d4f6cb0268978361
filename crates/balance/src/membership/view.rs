//! Owns the making of a snapshot from the writer's knowledge and the counters of the moment.

use std::collections::BTreeMap;

use super::entry::Totals;
use super::{Entry, Ledger, MembershipError};
use crate::backend::{BackendId, BackendSpec};
use crate::eligibility::Footing;
use crate::queue::QueueSnapshot;
use crate::ramp::ramp;
use crate::settings::PolicyChoice;
use crate::snapshot::{BackendSnapshot, LimitSnapshot, LoadSnapshot, ServiceSnapshot, is_healthy};
use crate::standing::Standing;
use crate::time::Instant;

impl Ledger {
    pub(crate) fn spec(&self, id: &BackendId) -> Result<&BackendSpec, MembershipError> {
        self.find(id).map(|at| &self.members[at].spec)
    }

    pub(crate) fn specs(&self) -> Vec<BackendSpec> {
        self.members
            .iter()
            .map(|entry| entry.spec.clone())
            .collect()
    }

    /// All of it, its shares exact.
    pub(crate) fn snapshot(&self, queue: QueueSnapshot, now: Instant) -> ServiceSnapshot {
        let picks = |entry: &Entry| entry.backend.counts().picked;
        let totals = Totals {
            wanted: self.members.iter().map(|one| self.wanted(one, now)).sum(),
            picked: self.members.iter().map(picks).sum(),
            ..self.totals
        };
        let backends = self.members.iter();
        let backends = backends.map(|entry| self.seen(entry, totals, now));
        ServiceSnapshot {
            departed: self.departed.len(),
            name: self.facts.name.clone(),
            policy: self.policy.clone(),
            rung: self.footing.rung,
            tier: self.footing.tier,
            last_tier: self.footing.last,
            tiers: self.tier_snapshots(),
            spilled: self.facts.spills.0.read(),
            down_since: self.down_since,
            retry_budget: self.facts.budget.left(),
            hedge_budget: (self.settings.hedge).map(|_| self.facts.hedging.left()),
            places: (self.settings.max_in_flight)
                .map(|most| (self.facts.places.0.taken(), most.get())),
            queue,
            queue_settings: self.settings.queue,
            backends: backends.collect(),
        }
    }

    /// One member, without a look at the others: its shares are of what they came to at the last tick.
    pub(crate) fn backend(&self, id: &str, now: Instant) -> Option<BackendSnapshot> {
        let entry = &self.members[*self.index.get(id)?];
        let own = entry.backend.counts().picked;
        let others = self.totals.picked.saturating_sub(entry.picked);
        let totals = Totals {
            picked: others.saturating_add(own),
            ..self.totals
        };
        Some(self.seen(entry, totals, now))
    }

    /// Members, and those of them that may be picked without failing open.
    pub(crate) fn census(&self) -> (usize, usize) {
        let Footing { rung, last, .. } = self.footing;
        let healthy = |entry: &&Entry| is_healthy(entry.standing, entry.spec.tier, rung, last);
        let healthy = self.members.iter().filter(healthy).count();
        (self.members.len(), healthy)
    }

    pub(crate) fn laws(&self) -> Result<(), BackendId> {
        match self.members.iter().find(|entry| !entry.backend.law()) {
            Some(entry) => Err(entry.spec.id.clone()),
            None => Ok(()),
        }
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// Members and what is in flight on them.
    pub(crate) fn load(&self) -> (usize, u64) {
        (
            self.members.len(),
            self.members
                .iter()
                .map(|entry| u64::from(entry.backend.in_flight()))
                .sum(),
        )
    }

    /// What tiers get, and what weights come to, for the shares of members that are looked at one by one. Before a table is made.
    pub(crate) fn add_up(&mut self, now: Instant) {
        self.share_out(now);
        let mut tiers: BTreeMap<u16, f64> = BTreeMap::new();
        for entry in &self.members {
            *tiers.entry(entry.spec.tier).or_default() += self.weighed(entry, now);
        }
        self.scale(&tiers);
        let members = self.members.iter();
        self.totals.wanted = members.map(|entry| self.wanted(entry, now)).sum();
    }

    pub(super) fn seen(&self, entry: &Entry, totals: Totals, now: Instant) -> BackendSnapshot {
        let counts = entry.backend.counts();
        let wanted = self.wanted(entry, now);
        BackendSnapshot {
            id: entry.spec.id.clone(),
            spec: entry.spec.clone(),
            standing: entry.standing,
            reason: entry.reason,
            since: entry.since,
            active: entry.health.active(),
            checks_passed: entry.health.passes,
            checks_failed: entry.health.failures,
            last_check: entry.health.last,
            gate: entry.breaker.gate(),
            open_until: entry.breaker.until(),
            consecutive_failures: entry.backend.consecutive_failures(),
            counts,
            window: entry.window.tally(),
            window_length: entry.window.covered(),
            per_second: entry.window.per_second(),
            latency: entry.backend.latency(),
            latencies: entry
                .backend
                .histogram()
                .map(crate::learn::histogram::Histogram::snapshot),
            learned: entry.backend.learned(),
            load: self.weighs().then(|| entry.seen_load(now)),
            limit: entry.limit.map(|limit| LimitSnapshot {
                in_use: entry
                    .spec
                    .max_in_flight
                    .map_or(limit.in_use(), |most| most.get().min(limit.in_use())),
                wanted: limit.wanted(),
            }),
            trust: matches!(self.settings.policy, PolicyChoice::HealthBased)
                .then(|| entry.trust.part()),
            factor: entry.factor,
            ramp: ramp(entry.warming, self.settings.slow_start, now).unwrap_or(1.0),
            // A ramp may have moved since the others were weighed.
            share_wanted: match totals.wanted > 0.0 {
                true => (wanted / totals.wanted).min(1.0),
                false => 0.0,
            },
            share_got: share(counts.picked, totals.picked),
            picked_since: counts.picked.saturating_sub(entry.compared),
        }
    }

    /// What a backend is to get now: of what its tier gets, its part by weight. What a preference for zones makes of that depends on who
    /// asks.
    fn wanted(&self, entry: &Entry, now: Instant) -> f64 {
        self.weighed(entry, now) * self.scale_of(entry.spec.tier)
    }

    /// The weight that the operator and the standing give a backend now.
    fn weighed(&self, entry: &Entry, now: Instant) -> f64 {
        // Who fails open, or refuses, wants no shares: neither goes by who is healthy.
        let believed = self.footing.tier.is_some();
        let stands_by = self.footing.last.is_some_and(|last| entry.spec.tier > last);
        if !believed || entry.standing < Standing::Unproven || stands_by {
            return 0.0;
        }
        f64::from(entry.spec.weight.get())
            * f64::from(ramp(entry.warming, self.settings.slow_start, now).unwrap_or(1.0))
            * f64::from(self.trusted(entry))
    }
}

impl Entry {
    fn seen_load(&self, now: Instant) -> LoadSnapshot {
        let said = self.backend.cold.reported.read();
        LoadSnapshot {
            utilization: said.utilization,
            rps: said.rps,
            eps: said.eps,
            age: said.at.map(|at| now.since(at)),
            reports: said.count,
            capacity: self.load.capacity(),
            share: self.load.share(),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of 53 bits is fine enough"
)]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
