//! Owns how many attempts at once one backend takes well, found from how long they take: the adaptive limit.
//!
//! ```text
//! gradient = (1 + tolerance) x ease / recent, at least a half and at most 1      lost > 5 %: 1 - lost, if that is less
//! target   = limit x gradient + sqrt(limit)                                      a fifth of the way at each judgement
//! ```
//! After Netflix's Gradient2 (<https://github.com/Netflix/concurrency-limits>). `recent` is what answers take now, `ease` what they take
//! where they do not wait for each other. A long mean alone would take an overload that lasts for ease, and one that does not rise would
//! take a backend that has become slow for an overloaded one. So a limit that has halved, or has held attempts up for long, looks: are
//! answers faster with half as many at once? If they are not, it is not their number that makes them slow, and this is the new ease.
//! The same backend that is asked for little keeps its limit: what was not tried is not known. Reasons and figures:
//! `docs/decisions/0035-adaptive-limit.md`. Knows nothing of picks; read next: `membership/limits.rs`, `learn/pace.rs`.

use std::time::Duration;

use crate::event::LimitEnd;
use crate::learn::pace::Heard;
use crate::time::Instant;

/// Between which ends it moves.
mod ends;

pub use ends::AdaptiveLimit;

/// Judged no more often, and of so many attempts at least.
const WINDOW: (Duration, u64) = (Duration::from_millis(100), 20);
/// Or of so many, where attempts are few.
const SPARSE: (Duration, u64) = (Duration::from_secs(1), 5);
/// `recent` remembers about so many answers.
const MEMORY: f64 = 50.0;
/// The part of the way to its target that a limit goes at once.
const STEP: f64 = 0.2;
/// The least gradient: whatever is heard in one window, no more than half is taken back for it.
const GRADIENT: f64 = 0.5;
/// So small a share of lost attempts is no sign of anything.
const LOST: f64 = 0.05;
/// Ease follows what is recent with this time constant, as long as that is within the tolerance.
const EASE: Duration = Duration::from_secs(60);
/// And with this one where the limit is at its least: fewer cannot be tried.
const EASE_AT_LEAST: Duration = Duration::from_secs(2);
/// Its part that is left at each judgement where answers take less than half of it.
const FASTER: f64 = 0.95;
/// A limit that holds attempts up looks after the first, later and later up to the last; and at once where a look was worth it, for what
/// grows meanwhile would have to be taken back again.
const LOOKS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// So many answers are looked at, and two of each place; or fewer where they are few. Twice as many as would do for one look: a limit that
/// sinks for nothing gets three looks on its way, and two wrong ones in a row would take it to its least.
const LOOKED_AT: u64 = 120;
const LOOKED_AT_SPARSE: (Duration, u64) = (Duration::from_secs(10), 30);
/// A look that has seen less for so long, and for ten times what an answer takes, is given up.
const BLIND: Duration = Duration::from_secs(30);
/// And one to which still too many are under way after so long, and twice what an answer takes: tunnels and long bodies do not end because
/// nobody comes, and nobody is let in meanwhile.
const EMPTYING: Duration = Duration::from_secs(1);
/// Who waits for others takes at most this part of the time when half of them are gone: half of it, and what chance makes of 120 answers.
const FELL: f64 = 0.7;
/// Full for so many times what an answer takes, and nothing known: of attempts that end there would have been enough to know a class by.
const STUCK: u32 = 40;
/// What it doubles to, then: so many heads are enough to know a class by.
const UNKNOWN: f64 = 128.0;
/// Where so many are lost, those that are left say nothing: the longest are missing.
const MOSTLY_LOST: f64 = 0.5;
/// More than this part of them are too many to tell a difference by.
const FEWER: f64 = 0.75;
/// Half as many that get so much of the work done are as good.
const AS_GOOD: f64 = 0.9;

/// The limit of one backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    wanted: f64,
    in_use: u32,
    /// What answers take where they do not wait for each other, relative to their class; none: not known yet.
    ease: Option<f64>,
    recent: Option<f64>,
    window: Heard,
    window_began: Instant,
    /// Nothing says that it has been too high: it may double. Since then it has not.
    climbs: Option<Instant>,
    /// What was seen when it began to sink.
    doubt: Option<Seen>,
    look: Option<Look>,
    /// As many as it allows were in flight when it was judged last.
    holds_up: bool,
    /// Since when, where nothing is known yet.
    full: Option<Instant>,
    /// When it looks, while that lasts.
    next_look: Option<Instant>,
    rest: Duration,
    /// Where it is, as was told.
    end: Option<LimitEnd>,
    news: Option<LimitEnd>,
}

/// How it was.
#[derive(Clone, Copy, Debug)]
struct Seen {
    most: f64,
    recent: f64,
    wanted: f64,
    /// The share of attempts that were lost.
    lost: f64,
}

/// Half as many for a moment, to see whether answers are faster then.
#[derive(Clone, Copy, Debug)]
struct Look {
    before: Seen,
    hold: u32,
    /// It was not on its way down anyway.
    aside: bool,
    began: Instant,
    /// Answers still to come of attempts that began among more.
    pass: u64,
}

/// How it is about a backend when it is looked after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    pub(crate) in_flight: u32,
    /// What an answer takes.
    pub(crate) latency: Duration,
    /// Whether so few others look that it may, aside of its way.
    pub(crate) may_look: bool,
}

/// What goes over to another process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CarriedLimit {
    /// The limit.
    pub wanted: f64,
    /// What answers take where they do not wait for each other, relative to their class; none where it is not known.
    pub ease: Option<f64>,
}

impl Limit {
    pub(crate) fn new(settings: &AdaptiveLimit, now: Instant) -> Self {
        let start = settings.within(f64::from(settings.start.get()));
        Self {
            wanted: start,
            in_use: whole(start),
            ease: None,
            recent: None,
            window: Heard::default(),
            window_began: now,
            climbs: Some(now),
            doubt: None,
            look: None,
            holds_up: false,
            full: None,
            next_look: None,
            rest: LOOKS.0,
            end: None,
            news: None,
        }
    }

    /// As another process found it; what is no number, or cannot be, is not taken.
    pub(crate) fn carried_in(
        carried: CarriedLimit,
        settings: &AdaptiveLimit,
        now: Instant,
    ) -> Self {
        let began = Self::new(settings, now);
        if !carried.wanted.is_finite() {
            return began;
        }
        let wanted = settings.within(carried.wanted);
        let ease = carried.ease.filter(|ease| ease.is_finite() && *ease > 0.0);
        Self {
            wanted,
            in_use: whole(wanted),
            ease,
            climbs: None,
            ..began
        }
    }

    pub(crate) fn carried(&self) -> CarriedLimit {
        CarriedLimit {
            wanted: self.wanted,
            ease: self.ease,
        }
    }

    /// What holds: no more than so many attempts at once.
    pub(crate) fn in_use(&self) -> u32 {
        self.in_use
    }

    /// What it comes to, of which `in_use` follows the larger steps.
    pub(crate) fn wanted(&self) -> f64 {
        self.wanted
    }

    /// Where it has come to, if that is news.
    pub(crate) fn news(&mut self) -> Option<LimitEnd> {
        self.news.take()
    }

    /// Half of it is in use, to see what comes of that.
    pub(crate) fn is_looking(&self) -> bool {
        self.look.is_some()
    }

    /// Takes in what was heard since the last call. True: another limit is in use from now on.
    pub(crate) fn tick(
        &mut self,
        heard: Heard,
        around: Around,
        settings: &AdaptiveLimit,
        now: Instant,
    ) -> bool {
        self.window = self.window.and(heard);
        self.window.most = self.window.most.max(around.in_flight);
        if let Some(look) = self.look {
            self.looks(look, around, now);
        } else if self.is_full(WINDOW, now) || self.is_full(SPARSE, now) {
            let span = now.since(self.window_began);
            let window = self.begin_window(now);
            self.judge(window, span, around, settings, now);
        } else if self.window.ended() == 0 {
            // Time in which nothing ended says nothing.
            self.window_began = now;
        }
        self.wanted = settings.within(self.wanted * self.unstuck(around, now));
        self.tell(settings);
        self.put_in_use(settings)
    }

    /// By what it grows where tunnels, or long bodies, have all that there is before anything is known.
    fn unstuck(&mut self, around: Around, now: Instant) -> f64 {
        let is_full = around.in_flight >= self.in_use && self.wanted < UNKNOWN;
        let may = is_full && around.latency > Duration::ZERO && self.ease.is_none();
        let since = self.full.filter(|_| may).unwrap_or(now);
        let is_stuck = now.since(since) > EMPTYING + around.latency * STUCK;
        self.full = (may && !is_stuck).then_some(since);
        if is_stuck { 2.0 } else { 1.0 }
    }

    fn is_full(&self, (span, least): (Duration, u64), now: Instant) -> bool {
        self.window.ended() >= least && now.since(self.window_began) >= span
    }

    fn begin_window(&mut self, now: Instant) -> Heard {
        self.window_began = now;
        std::mem::take(&mut self.window)
    }

    fn judge(
        &mut self,
        window: Heard,
        span: Duration,
        around: Around,
        settings: &AdaptiveLimit,
        now: Instant,
    ) {
        self.hear(window);
        let (most, tolerance) = (f64::from(window.most), 1.0 + settings.tolerance);
        let ratio = match (self.recent, self.ease) {
            (Some(recent), Some(ease)) => recent / ease,
            _ => 1.0,
        };
        self.settle(ratio, span, settings);
        let mut gradient = (tolerance / ratio).clamp(GRADIENT, 1.0);
        let lost = window.lost_share();
        if lost > LOST {
            gradient = gradient.min((1.0 - lost).max(GRADIENT));
        }
        // Of one that is far from its limit, chance is no reason to lower it: a burst would find it too low.
        let loaded = most * 2.0 >= self.wanted;
        if gradient < 1.0 && (loaded || ratio > 2.0 * tolerance) {
            self.sink(gradient, window, settings, now);
        } else {
            self.doubt = None;
            if loaded {
                self.grow(most, around.latency, now);
            }
        }
        self.holds_up = window.most >= self.in_use;
        self.look_if_due(window, around.may_look, settings, now);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
    fn hear(&mut self, window: Heard) {
        let Some(mean) = window.mean() else { return };
        let count = window.answers as f64;
        let weight = count / (count + MEMORY);
        let recent = self
            .recent
            .map_or(mean, |recent| recent + weight * (mean - recent));
        self.recent = Some(recent);
        self.ease.get_or_insert(recent);
    }

    fn settle(&mut self, ratio: f64, span: Duration, settings: &AdaptiveLimit) {
        let (Some(recent), Some(ease)) = (self.recent, &mut self.ease) else {
            return;
        };
        let least = self.wanted <= f64::from(settings.min.get());
        let follows = if least { EASE_AT_LEAST } else { EASE };
        if ratio < 0.5 {
            *ease *= FASTER;
            // Another backend than the one that was looked at.
            (self.rest, self.next_look) = (LOOKS.0, None);
        } else if ratio <= 1.0 + settings.tolerance || least {
            *ease += (recent - *ease) * (1.0 - (-span.as_secs_f64() / follows.as_secs_f64()).exp());
        }
    }

    fn sink(&mut self, gradient: f64, window: Heard, settings: &AdaptiveLimit, now: Instant) {
        self.climbs = None;
        let seen = self.seen_in(window);
        let most = seen.most;
        let before = self.doubt.get_or_insert(seen);
        // Answers are of attempts that began earlier: the worst belongs to the most.
        before.recent = before.recent.max(seen.recent);
        before.most = before.most.max(most);
        before.lost = before.lost.max(seen.lost);
        let before = *before;
        let from = self.wanted.min(most.max(1.0));
        let target = from * gradient + from.sqrt();
        self.wanted = settings.within(self.wanted + STEP * (target - self.wanted));
        if self.wanted * 2.0 <= before.most {
            self.begin_look(before, whole(self.wanted), false, now);
        }
    }

    fn grow(&mut self, most: f64, latency: Duration, now: Instant) {
        match &mut self.climbs {
            // Twice at once, as long as it never was too much; then what was asked for since is waited for.
            Some(since) if most * 5.0 >= self.wanted * 4.0 => {
                if now.since(*since) >= latency * 2 {
                    *since = now;
                    self.wanted *= 2.0;
                }
            }
            _ => self.wanted += STEP * self.wanted.sqrt(),
        }
    }

    /// One that holds attempts up for long may do so for nothing, or may be far too high: half as many would show it.
    fn look_if_due(
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

    fn seen_in(&self, window: Heard) -> Seen {
        Seen {
            most: f64::from(window.most),
            recent: self.recent.unwrap_or_default(),
            wanted: self.wanted,
            lost: window.lost_share(),
        }
    }

    fn begin_look(&mut self, before: Seen, hold: u32, aside: bool, now: Instant) {
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

    fn looks(&mut self, mut look: Look, around: Around, now: Instant) {
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
        let mean = window.mean().filter(|_| few && lost <= MOSTLY_LOST);
        self.end_look(look, now);
        let Some(mean) = mean else { return };
        self.recent = Some(mean);
        let faster = mean <= FELL * before.recent;
        let safer = before.lost > LOST && lost <= FELL * before.lost;
        if !faster && !safer {
            self.ease = Some(mean);
            self.wanted = before.wanted;
            // It was lowered for nothing: it may soon be what it would have come to.
            self.climbs = (!look.aside).then_some(now);
            return;
        }
        let ease = self.ease.unwrap_or(mean);
        self.ease = Some(ease.min(mean));
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
        // looks do then, at least four times as long as it took.
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

    /// Where it has come to its least by what it heard, or needs more than its most: once, until it has left there.
    fn tell(&mut self, settings: &AdaptiveLimit) {
        let (least, most) = settings.ends();
        let end = if self.wanted <= least && self.doubt.is_some() {
            Some(LimitEnd::Least)
        } else if self.wanted >= most && self.holds_up {
            Some(LimitEnd::Most)
        } else if self.wanted <= least * 1.5 || self.wanted >= most * 0.75 {
            self.end
        } else {
            None
        };
        if end != self.end {
            self.end = end;
            self.news = end;
        }
    }

    /// Small steps are not worth a table: each costs all members.
    fn put_in_use(&mut self, settings: &AdaptiveLimit) -> bool {
        let next = match self.look {
            Some(look) => look.hold.max(settings.min.get()),
            None => whole(self.wanted),
        };
        let far = next.abs_diff(self.in_use) >= (self.in_use / 16).max(1);
        let at_end = next == settings.min.get() || next == settings.max.get();
        let moves = next != self.in_use && (far || at_end || self.look.is_some());
        if moves {
            self.in_use = next;
        }
        moves
    }
}

/// No part of an attempt is sent; and one always may be.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates"
)]
fn whole(limit: f64) -> u32 {
    (limit as u32).max(1)
}

#[cfg(all(test, not(shuttle)))]
mod tests;
