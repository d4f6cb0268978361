//! Owns the derivation of standings from facts, and of the service's rung from standings.

use super::Ledger;
use super::entry::Tiers;
use crate::eligibility::{Footing, Rung};
use crate::event::EventKind;
use crate::settings::OnAllDown;
use crate::standing::{Reason, Standing};
use crate::time::Instant;

impl Ledger {
    /// After a change of membership: standings and census anew.
    pub(super) fn recount(&mut self, now: Instant) {
        self.tiers = Tiers::default();
        for entry in &self.members {
            if !entry.zero_weight() {
                *self.tiers.of(entry.spec.tier, entry.standing) += 1;
            }
        }
        for at in 0..self.members.len() {
            self.restand(at, Reason::Operator, now);
        }
        if std::mem::take(&mut self.totals.anew) {
            for entry in &mut self.members {
                entry.compared = entry.backend.counts().picked;
            }
        }
        self.totals.picked = self.members.iter().map(|entry| entry.picked).sum();
        self.news_of_membership();
        self.dirty = true;
    }

    /// Derives the standing of one member anew; a change is an event, published, and may begin slow start.
    pub(super) fn restand(&mut self, at: usize, reason: Reason, now: Instant) {
        let entry = &self.members[at];
        let standing = Standing::of(
            entry.spec.admin,
            entry.health.active(),
            entry.breaker.gate(),
        );
        let from = entry.standing;
        if standing == from {
            return;
        }
        if standing < from && self.may_be_had(entry) {
            self.press();
        }
        let window = self.window();
        let entry = &mut self.members[at];
        let tier = entry.spec.tier;
        if !entry.zero_weight() {
            *self.tiers.of(tier, from) -= 1;
            *self.tiers.of(tier, standing) += 1;
        }
        // Who returns while others serve warms up; who returns to an empty house is needed at once. Members that begin together are
        // proven one after another, and none of them may get the share of those that wait for their check. Other tiers take no part of
        // what this one has.
        let others = self.tiers.count(tier, Standing::Serving) > usize::from(!entry.zero_weight());
        if standing == Standing::Serving {
            let begins = entry.first && from == Standing::Unproven;
            let from = entry.warms_from(self.settings.slow_start, window, now);
            entry.warming = (others && !begins).then_some(from);
        }
        entry.new &= from != Standing::Serving;
        // What failed while nobody was healthy says nothing of who is healthy again.
        if (from, standing) == (Standing::Down, Standing::Serving) {
            entry.absolve(now);
        }
        entry.out = match standing {
            // What is said by hand may be maintenance.
            Standing::Down | Standing::Ejected | Standing::Probing if reason != Reason::ByHand => {
                entry.out.or((from == Standing::Serving).then_some(now))
            }
            _ => None,
        };
        (entry.standing, entry.reason, entry.since) = (standing, reason, now);
        let backend = entry.spec.id.clone();
        self.wake_for(at);
        self.dirty = true;
        self.tell(EventKind::StandingChanged {
            backend,
            from,
            to: standing,
            reason,
        });
    }

    /// Rung and tier follow the census; what they come to is told. Cost: tiers.
    pub(crate) fn settle(&mut self, now: Instant) {
        let reached = self.reached();
        // A service may begin, or get its first members, where it would come to.
        let down = reached.rung >= Rung::FailOpen && !self.members.is_empty();
        let stands = (reached.rung, reached.tier) == (self.footing.rung, self.footing.tier);
        if stands && down == self.down_since.is_some() {
            return;
        }
        self.press_where_recovered(self.footing.rung, reached.rung);
        self.footing = reached;
        self.dirty = true;
        if let Some(to) = reached.tier
            && let Some(from) = self.served.replace(to).filter(|from| *from != to)
        {
            self.tell(EventKind::TierChanged { from, to });
        }
        match (down, self.down_since) {
            (true, None) => {
                self.down_since = Some(now);
                self.tell(EventKind::AllDown {
                    fail_open: reached.rung == Rung::FailOpen,
                    healthy: self.tiers.sound().map(|(healthy, _)| healthy).sum(),
                    members: self.members.len(),
                });
            }
            (false, Some(since)) => {
                self.down_since = None;
                self.tell(EventKind::Recovered {
                    after: now.since(since),
                });
            }
            _ => {}
        }
    }

    /// The first tier with somebody proven; else the first with somebody who may be; where that is nobody, or too few, all of them, or none.
    pub(super) fn reached(&self) -> Footing {
        // Which is the last one that has a share, publication knows.
        let by = |rung, tier| Footing {
            rung,
            tier,
            last: tier,
        };
        let first = |standing| self.tiers.first(standing);
        let could = [Standing::Down, Standing::Ejected, Standing::Probing]
            .into_iter()
            .any(|standing| first(standing).is_some());
        let proven = first(Standing::Serving).map(|tier| (Rung::Proven, tier));
        let healthy = proven.or(first(Standing::Unproven).map(|tier| (Rung::Unproven, tier)));
        let enough = self.settings.min_healthy.is_met(self.tiers.sound());
        match (healthy, self.settings.on_all_down) {
            (Some((rung, tier)), _) if enough => by(rung, Some(tier)),
            (_, OnAllDown::FailOpen) if could => by(Rung::FailOpen, None),
            // Too few, and nobody whom failing open would bring in.
            (Some((rung, tier)), OnAllDown::FailOpen) => by(rung, Some(tier)),
            _ => by(Rung::AllDown, None),
        }
    }
}
