//! Owns the derivation of standings from facts, and of the service's rung from standings.

use super::Ledger;
use super::entry::Census;
use crate::eligibility::Rung;
use crate::event::EventKind;
use crate::settings::OnAllDown;
use crate::standing::{Reason, Standing};
use crate::time::Instant;

impl Ledger {
    /// After a change of membership: standings and census anew.
    pub(super) fn recount(&mut self, now: Instant) {
        self.census = Census::default();
        for entry in &self.members {
            if !entry.zero_weight() {
                *self.census.of(entry.standing) += 1;
            }
        }
        for at in 0..self.members.len() {
            self.restand(at, Reason::Operator, now);
        }
        self.dirty = true;
    }

    /// Derives the standing of one member anew; a change is an event, published, and may begin slow start.
    pub(super) fn restand(&mut self, at: usize, reason: Reason, now: Instant) {
        let entry = &mut self.members[at];
        let standing = Standing::of(
            entry.spec.admin,
            entry.health.active(),
            entry.breaker.gate(),
        );
        let from = entry.standing;
        if standing == from {
            return;
        }
        if !entry.zero_weight() {
            *self.census.of(from) -= 1;
            *self.census.of(standing) += 1;
        }
        // Who returns while others serve warms up; who returns to an empty house is needed at once. Members that begin together are
        // proven one after another, and none of them may get the share of those that wait for their check.
        let others = self.census.count(Standing::Serving) > usize::from(!entry.zero_weight());
        if standing == Standing::Serving {
            let begins = entry.first && from == Standing::Unproven;
            entry.warming = (others && !begins).then_some(now);
        }
        (entry.standing, entry.reason, entry.since) = (standing, reason, now);
        let backend = entry.spec.id.clone();
        self.dirty = true;
        self.tell(EventKind::StandingChanged {
            backend,
            from,
            to: standing,
            reason,
        });
    }

    /// The rung follows the census; both its ends are events.
    pub(crate) fn settle(&mut self, now: Instant) {
        let reached = self.reached();
        if reached == self.rung {
            return;
        }
        self.rung = reached;
        self.dirty = true;
        let down = reached >= Rung::FailOpen && !self.members.is_empty();
        match (down, self.down_since) {
            (true, None) => {
                self.down_since = Some(now);
                self.tell(EventKind::AllDown {
                    fail_open: reached == Rung::FailOpen,
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

    pub(super) fn reached(&self) -> Rung {
        let could = [Standing::Down, Standing::Ejected, Standing::Probing]
            .iter()
            .any(|&standing| self.census.count(standing) > 0);
        if self.census.count(Standing::Serving) > 0 {
            Rung::Proven
        } else if self.census.count(Standing::Unproven) > 0 {
            Rung::Unproven
        } else if could && self.settings.on_all_down == OnAllDown::FailOpen {
            Rung::FailOpen
        } else {
            Rung::AllDown
        }
    }
}
