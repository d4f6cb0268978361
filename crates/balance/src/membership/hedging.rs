//! Owns what a tick does for hedges: delays are read off what was measured, and whether the service can bear more is said.

use std::num::NonZeroU32;

use super::{Entry, Ledger};
use crate::backend::Admin;
use crate::breaker::Gate;
use crate::hedge::pace::{Paces, Readings};
use crate::hedge::{HedgeAt, Mood, is_crowded};
use crate::limit::Limit;
use crate::standing::Standing;
use crate::time::Instant;

impl Ledger {
    /// Other settings.
    pub(super) fn hedges_follow(&mut self) {
        let hedge = self.settings.hedge;
        self.facts.hedging.follow(hedge.as_ref());
        if hedge.is_none() {
            // What is measured next is measured from nothing.
            self.readings = Readings::default();
        }
    }

    /// Whether answers are to be measured for them.
    pub(super) fn measures(&self) -> bool {
        let at = self.settings.hedge.map(|hedge| hedge.at);
        matches!(at, Some(HedgeAt::Quantile(_)))
    }

    /// Cost where there are hedges: members, and once a second the distribution of each class.
    pub(super) fn hedges(&mut self, now: Instant) {
        if self.settings.hedge.is_none() {
            return;
        }
        self.facts.hedging.set_mood(self.mood());
        let paces = self.facts.hedging.paces();
        let known = self.facts.class_means().into_iter();
        let known = known.map(|mean| mean.is_some());
        if let Some(paces) = paces.as_ref()
            && let Some(next) = self.readings.read(paces, known, now)
        {
            self.facts.hedging.publish(next);
        }
    }

    pub(super) fn hedges_carried(&self) -> Vec<Option<f32>> {
        let paces = self.facts.hedging.paces();
        paces
            .as_ref()
            .as_ref()
            .map(Paces::carried)
            .unwrap_or_default()
    }

    /// Begins with delays of another process, as far as they are such, and until there is enough of one's own to measure by.
    pub(super) fn hedges_take_over(&self, seconds: &[Option<f32>]) {
        let classes = self.facts.class_means().len();
        if let Some(paces) = self.facts.hedging.paces().as_ref() {
            self.facts.hedging.publish(paces.with(seconds, classes));
        }
    }

    /// Where most fail, another attempt is no more likely to go well; where those with limits, set or found, have most of what they may
    /// have, it is not theirs to bear.
    fn mood(&self) -> Mood {
        let breaker = self.settings.breaker.unwrap_or_default();
        let fails = |entry: &Entry| {
            entry.standing < Standing::Unproven
                || entry.breaker.gate() != Gate::Closed
                || entry.charges().fails(&breaker)
        };
        let (mut count, mut failing, mut taken, mut most) = (0_usize, 0_usize, 0_u64, 0_u64);
        for entry in &self.members {
            if entry.spec.admin != Admin::Enabled {
                continue;
            }
            count += 1;
            failing += usize::from(fails(entry));
            let own = entry.spec.max_in_flight.map(NonZeroU32::get);
            let found = entry.limit.as_ref().map(Limit::in_use);
            if let Some(limit) = own.into_iter().chain(found).min() {
                taken += u64::from(entry.backend.in_flight());
                most += u64::from(limit);
            }
        }
        match () {
            () if failing * 2 > count => Mood::Failing,
            () if most > 0 && is_crowded(taken, most) => Mood::Crowded,
            () => Mood::Calm,
        }
    }
}
