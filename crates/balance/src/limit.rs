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
//! `docs/decisions/0035-adaptive-limit.md`. Knows nothing of picks; read next: `limit/look.rs`, `membership/limits.rs`,
//! `learn/pace.rs`.

use std::time::Duration;

use crate::event::LimitEnd;
use crate::learn::pace::Heard;
use crate::time::Instant;

/// Between which ends it moves.
mod ends;

/// Whether half as many are answered faster.
mod look;

/// What answers take, and how sure that is.
mod mean;

pub use ends::AdaptiveLimit;
use look::{EMPTYING, LOOKS, Look, Seen};
use mean::Mean;

/// Judged no more often, and of so many attempts at least.
const WINDOW: (Duration, u64) = (Duration::from_millis(100), 20);
/// Or of so many, where attempts are few.
const SPARSE: (Duration, u64) = (Duration::from_secs(1), 5);
/// `recent` remembers about so many answers.
const MEMORY: f64 = 50.0;
/// Means differ for a reason where they differ by so many standard errors.
const SURE: f64 = 3.0;
/// What another process found is taken for the mean of so many answers.
const CARRIED: f64 = 400.0;
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
/// Full for so many times what an answer takes, and nothing known: of attempts that end there would have been enough to know a class by.
const STUCK: u32 = 40;
/// What it doubles to, then: so many heads are enough to know a class by.
const UNKNOWN: f64 = 128.0;

/// The limit of one backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    wanted: f64,
    in_use: u32,
    /// What answers take where they do not wait for each other, relative to their class; none: not known yet.
    ease: Option<Mean>,
    recent: Option<Mean>,
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
            ease: ease.map(|ease| Mean::known(ease, CARRIED)),
            climbs: None,
            ..began
        }
    }

    pub(crate) fn carried(&self) -> CarriedLimit {
        CarriedLimit {
            wanted: self.wanted,
            ease: self.ease.map(|ease| ease.mean),
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
        let most = f64::from(window.most);
        let (ratio, chance) = match (self.recent, self.ease) {
            (Some(recent), Some(ease)) => (recent.mean / ease.mean, SURE * recent.error(ease)),
            _ => (1.0, 0.0),
        };
        self.settle(ratio, span, settings);
        let tolerance = 1.0 + settings.tolerance.max(chance);
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

    fn hear(&mut self, window: Heard) {
        let Some(mean) = Mean::heard(window) else {
            return;
        };
        let part = mean.of() / (mean.of() + MEMORY);
        let recent = self.recent.map_or(mean, |recent| recent.with(mean, part));
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
            *ease = ease.times(FASTER);
            // Another backend than the one that was looked at.
            (self.rest, self.next_look) = (LOOKS.0, None);
        } else if ratio <= 1.0 + settings.tolerance || least {
            let part = 1.0 - (-span.as_secs_f64() / follows.as_secs_f64()).exp();
            *ease = ease.with(recent, part);
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
