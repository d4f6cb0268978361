//! Owns hedges of a world: the second attempt of an exchange is a place of its own, until one of both has an answer.
//!
//! A server does the work of both to its end: whether somebody still waits it does not notice.

use evenkeel_balance::ask::{Ask, ClassId};
use evenkeel_balance::hedge::Slow;
use evenkeel_balance::verdict::Outcome;

use super::{Exchange, World};
use crate::happening::Happening;
use crate::server::AttemptId;

impl World<'_> {
    /// The present attempt of an exchange may turn out slow.
    pub(super) fn may_hedge(&mut self, id: AttemptId) {
        let Some(exchange) = self.of(id) else { return };
        if exchange.hedged {
            return;
        }
        let (instance, class) = (exchange.instance, ClassId(exchange.class));
        if let Some(after) = self.balancers[instance].service.hedge_after(class) {
            self.after(after, Happening::Hedge(id));
        }
    }

    /// It is slow: another may be begun beside it.
    pub(super) fn hedge(&mut self, id: AttemptId) {
        let (chance, key, now) = (
            self.streams.picks.word(),
            self.streams.picks.word(),
            self.instant(),
        );
        let Some(first) = self.of(id).filter(|first| first.pick.is_some()) else {
            return;
        };
        let (instance, tried) = (first.instance, first.tried);
        let ask = Ask::new(chance).key(key).tried(&tried);
        let ask = ask.class(ClassId(first.class));
        let slow = Slow {
            idempotent: true,
            replayable: true,
            made: first.made,
            excused: first.excused,
            deadline_left: None,
            keeps: false,
        };
        let balancer = &mut self.balancers[instance];
        let Ok(pick) = balancer.service.hedge(&slow, &ask, now) else {
            return;
        };
        let server = usize::try_from(pick.backend().serial()).unwrap_or(0) - 1;
        balancer.asked += 1;
        balancer.in_flight[server] += 1;
        balancer.sent[server] += 1;
        let Some(first) = self.of(id) else { return };
        first.tried.insert(pick.backend());
        first.made += 1;
        first.hedged = true;
        let second = Exchange {
            pick: Some(pick),
            server,
            twin: Some(id.at),
            ..*first
        };
        let counted = first.counted;
        self.recorder.hedged(counted);
        let other = self.keep(second);
        if let Some(first) = self.of(id) {
            first.twin = Some(other.at);
        }
        self.after(self.scenario.way(instance, server), Happening::Reach(other));
        if let Some(deadline) = self.scenario.deadline {
            self.after(deadline, Happening::Deadline(other));
        }
    }

    /// From here on neither knows of the other.
    pub(super) fn parted(&mut self, id: AttemptId) -> Option<usize> {
        let twin = self.of(id)?.twin.take()?;
        if let Some(twin) = &mut self.exchanges[twin].1 {
            twin.twin = None;
        }
        Some(twin)
    }

    /// The other was answered first.
    pub(super) fn outrun(&mut self, at: usize) {
        let now = self.instant();
        if let Some(exchange) = &mut self.exchanges[at].1
            && let Some(pick) = exchange.pick.take()
        {
            pick.finish(Outcome::Outrun, now);
            self.balancers[exchange.instance].in_flight[exchange.server] -= 1;
        }
        self.release(at);
    }

    /// The attempt has ended, and its exchange goes on elsewhere.
    pub(super) fn release(&mut self, at: usize) {
        let slot = &mut self.exchanges[at];
        slot.0 = slot.0.wrapping_add(1);
        slot.1 = None;
        self.free.push(at);
    }
}
