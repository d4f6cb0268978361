//! Owns going over: what the writer knows of each member as [`carried`](crate::carried) data, and taking it in where another
//! process knew it.

use super::{Entry, Ledger};
use crate::backend::BackendId;
use crate::breaker::{Breaker, Gate};
use crate::carried::{CarriedBackend, CarriedService, LONGEST};
use crate::limit::Limit;
use crate::load::Load;
use crate::time::Instant;
use crate::trust::Trust;

impl Ledger {
    pub(crate) fn carried(&self, now: Instant) -> CarriedService {
        CarriedService {
            classes: self.facts.class_means(),
            first_classes: self.facts.first_means(),
            hedges: self.hedges_carried(),
            backends: self
                .members
                .iter()
                .map(|entry| entry.carried(now))
                .collect(),
        }
    }

    /// Takes in what is known of members; others are passed over. What the operator wants is the configuration's to say, or the
    /// caller's. Says how many were known.
    pub(crate) fn take_over(&mut self, carried: &CarriedService, now: Instant) -> usize {
        (self.facts).learn_classes(&carried.classes, &carried.first_classes);
        self.hedges_take_over(&carried.hedges);
        let limits = self.settings.adaptive_limit;
        let mut known = 0;
        for one in &carried.backends {
            let Some(&at) = self.index.get(&BackendId::from(&*one.id)) else {
                continue;
            };
            known += 1;
            let (checks, breaker) = (self.settings.health.is_some(), self.settings.breaker);
            let entry = &mut self.members[at];
            entry.learn(one);
            if let Some((settings, carried)) = limits.as_ref().zip(one.limit) {
                entry.limit = Some(Limit::carried_in(carried, settings, now));
            }
            entry.health.take_over(one.checked, one.hand, checks, now);
            if let Some(settings) = breaker {
                entry.breaker = Breaker::carried(one, now);
                if one.gate == Gate::HalfOpen {
                    entry.backend.trials.begin(settings.trials.max(1));
                }
                entry.backend.row.set(one.consecutive);
            }
            self.restand(at, one.reason, now);
            let entry = &mut self.members[at];
            // Where the owner's time began later: at its start.
            (entry.reason, entry.since) = (one.reason, now - one.since.min(LONGEST));
            if let Some(load) = one.load {
                entry.load = Load::take_over(load, &self.settings.load, now);
            }
            entry.warming = one.warming.map(|passed| now - passed.min(LONGEST));
            // Who was out elsewhere may have begun anew there: that is not known here, so slow start gives nothing back.
            entry.out = None;
            entry.first = false;
            self.dirty = true;
        }
        known
    }
}

impl Entry {
    fn carried(&self, now: Instant) -> CarriedBackend {
        let (checked, hand) = self.health.carried(now);
        let (next, openings) = self.breaker.left(now);
        CarriedBackend {
            id: self.spec.id.as_str().to_owned(),
            checked,
            hand,
            gate: self.breaker.gate(),
            next,
            openings,
            consecutive: self.backend.consecutive_failures(),
            latency: self.backend.latency().map(|mean| mean.as_secs_f32()),
            learned: self.backend.learned(),
            load: self.load.carried(now),
            limit: self.limit.as_ref().map(Limit::carried),
            trust: self.trust.carried(),
            warming: self.warming.map(|began| now.since(began)),
            reason: self.reason,
            since: now.since(self.since),
        }
    }

    fn learn(&mut self, one: &CarriedBackend) {
        self.backend.speed.take_over(one.learned);
        if let Some(part) = one.trust {
            self.trust = Trust::carried_in(part, self.tally());
        }
        if let Some(mean) = one.latency.and_then(crate::carried::mean) {
            self.backend.start_latency(mean);
        }
    }
}
