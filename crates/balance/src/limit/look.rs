//! Owns the look of a limit: half as many for a moment, to see whether it is their number that makes answers slow.
//!
//! A look holds, lets go by what began among more, hears enough, and gives its verdict: their number (the half may be as good), or not (what
//! is heard is the new ease). Which way a limit goes otherwise is `limit.rs`; read that first.

use std::time::Duration;

use super::mean::Mean;
use super::{AdaptiveLimit, Around, LOST, Limit, whole};
use crate::learn::pace::Heard;
use crate::time::Instant;

/// A limit that holds attempts up looks after the first, later and later up to the last; and at once where a look was worth it, for what
/// grows meanwhile would have to be taken back again.
pub(super) const LOOKS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// So many answers are looked at, and two of each place; or fewer where they are few. Twice as many as would do for one look: a limit that
/// sinks for nothing gets three looks on its way, and two wrong ones in a row would take it to its least.
const LOOKED_AT: u64 = 120;
const LOOKED_AT_SPARSE: (Duration, u64) = (Duration::from_secs(10), 30);
/// A look that has seen less for so long, and for ten times what an answer takes, is given up.
const BLIND: Duration = Duration::from_secs(30);
/// And one to which still too many are under way after so long, and twice what an answer takes: tunnels and long bodies do not end because
/// nobody comes, and nobody is let in meanwhile.
pub(super) const EMPTYING: Duration = Duration::from_secs(1);
/// Who waits for others takes at most this part of the time when half of them are gone: half of it, and what chance makes of 120 answers.
const FELL: f64 = 0.7;
/// Where so many are lost, those that are left say nothing: the longest are missing.
const MOSTLY_LOST: f64 = 0.5;
/// More than this part of them are too many to tell a difference by.
const FEWER: f64 = 0.75;
/// Half as many that get so much of the work done are as good.
const AS_GOOD: f64 = 0.9;

/// How it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) most: f64,
    pub(super) recent: f64,
    pub(super) wanted: f64,
    /// The share of attempts that were lost.
    pub(super) lost: f64,
}

/// Half as many for a moment, to see whether answers are faster then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    before: Seen,
    pub(super) hold: u32,
    /// It was not on its way down anyway.
    aside: bool,
    began: Instant,
    /// Answers still to come of attempts that began among more.
    pass: u64,
}

impl Limit {
    /// One that holds attempts up for long may do so for nothing, or may be far too high: half as many would show it.
    pub(super) fn look_if_due(
        &mut self,
        window: Heard,
        may_look: bool,
        settings: &AdaptiveLimit,
        now: Instant,
    ) {
        if self.look.is_some() || !self.holds_up {
            self.next_look = None;
            return;
        }
        let due = now >= *self.next_look.get_or_insert(now + self.rest);
        let hold = (self.in_use / 2).max(settings.min.get());
        let before = self.seen_in(window);
        let fewer = f64::from(hold) <= before.most * FEWER;
        if due && may_look && fewer && self.recent.is_some() {
            self.begin_look(before, hold, true, now);
        }
    }

    pub(super) fn seen_in(&self, window: Heard) -> Seen {
        Seen {
            most: f64::from(window.most),
            recent: self.recent.map_or(0.0, |recent| recent.mean),
            wanted: self.wanted,
            lost: window.lost_share(),
        }
    }

    pub(super) fn begin_look(&mut self, before: Seen, hold: u32, aside: bool, now: Instant) {
        self.look = Some(Look {
            before,
            hold,
            aside,
            began: now,
            // Those that take longest are among the last of them: three times as many answers as there were attempts leave one in twenty of
            // exponential times.
            pass: 3 * u64::from(whole(before.most)),
        });
        self.begin_window(now);
    }

    pub(super) fn looks(&mut self, mut look: Look, around: Around, now: Instant) {
        let crowded = around.in_flight > look.hold;
        let enough = LOOKED_AT.max(2 * u64::from(look.hold));
        if crowded || look.pass > 0 {
            if !crowded {
                look.pass = look.pass.saturating_sub(self.window.ended());
            }
            self.look = Some(look);
            self.begin_window(now);
        } else if self.window.ended() >= enough || self.is_full(LOOKED_AT_SPARSE, now) {
            let window = self.begin_window(now);
            self.seen(look, window, now);
            return;
        }
        let patience = match crowded {
            true => EMPTYING + around.latency * 2,
            false => BLIND + around.latency * 10,
        };
        if now.since(look.began) > patience {
            self.end_look(look, now);
            self.begin_window(now);
        }
    }

    /// What a look has come to.
    fn seen(&mut self, look: Look, window: Heard, now: Instant) {
        let (lost, before) = (window.lost_share(), look.before);
        let few = f64::from(window.most) <= FEWER * before.most;
        let heard = Mean::heard(window).filter(|_| few && lost <= MOSTLY_LOST);
        self.end_look(look, now);
        let Some(heard) = heard else { return };
        self.recent = Some(heard);
        let mean = heard.mean;
        let faster = mean <= FELL * before.recent;
        let safer = before.lost > LOST && lost <= FELL * before.lost;
        if !faster && !safer {
            self.ease = Some(heard);
            self.wanted = before.wanted;
            // It was lowered for nothing: it may soon be what it would have come to.
            self.climbs = (!look.aside).then_some(now);
            return;
        }
        let ease = self.ease.map_or(mean, |ease| ease.mean);
        if self.ease.is_none() || mean < ease {
            self.ease = Some(heard);
        }
        if look.aside && mean < AS_GOOD * ease {
            self.rest = Duration::ZERO;
            // By Little's law: so many, each in so much time.
            let hold = f64::from(look.hold);
            if hold / mean >= AS_GOOD * before.most / before.recent {
                self.wanted = hold;
            }
        }
    }

    fn end_look(&mut self, look: Look, now: Instant) {
        // Each costs those who find no place meanwhile: who learns nothing by it waits longer for the next, and where answers take long, as
        // looks do then, at least four times as long as it took, up to the last.
        let took = now.since(look.began);
        self.rest = match look.aside {
            true => (self.rest * 2).max(took * 4).clamp(LOOKS.0, LOOKS.1),
            false => LOOKS.0,
        };
        if look.aside {
            self.wanted = look.before.wanted;
        }
        (self.look, self.doubt, self.next_look) = (None, None, None);
    }
}
