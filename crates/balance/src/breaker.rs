//! Owns the breaker of one backend: passive ejection with several triggers, one open time, bounded trials.
//!
//! ```text
//! closed --trigger, and the cap allows--> open --its time is over--> half-open
//! half-open --all trials passed--> closed       half-open --one failed--> open (twice as long)
//! half-open --all hang for a peace--> half-open (new trials)                    any --by hand--> closed
//! ```
//! Judges what picks recorded; never counts requests itself and knows no other backend (see `service::tick` for the cap).

use std::time::Duration;

use crate::carried::{CarriedBackend, LONGEST};
use crate::learn::window::Tally;
use crate::settings::BreakerSettings;
use crate::standing::Reason;
use crate::time::Instant;
use crate::trials::Results;

/// The gate in its textbook sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Traffic flows.
    #[default]
    Closed,
    /// Nothing flows.
    Open,
    /// Trials only.
    HalfOpen,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Breaker {
    gate: Gate,
    /// Openings not yet forgiven: the open time doubles with each.
    times: u32,
    /// Open: when trials begin. Half-open: when hanging ones are given up. Closed: when the next opening is forgiven.
    next: Instant,
    /// A withheld opening was told already.
    pub(crate) withheld: bool,
}

/// What stands against a backend at a tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charges {
    pub(crate) consecutive: u32,
    pub(crate) window: Tally,
}

impl Charges {
    /// What would open the breaker.
    pub(crate) fn trigger(&self, settings: &BreakerSettings) -> Option<Reason> {
        let judged = self.window.total() >= u64::from(settings.least.max(1));
        let reaches =
            |ratio: Option<f64>, limit: f64| judged && ratio.is_some_and(|ratio| ratio >= limit);
        if settings.consecutive > 0 && self.consecutive >= settings.consecutive {
            Some(Reason::Consecutive)
        } else if reaches(self.failure_ratio(), settings.failure_rate) {
            Some(Reason::FailureRate)
        } else if settings.slow.is_some() && reaches(self.window.slow_ratio(), settings.slow_rate) {
            Some(Reason::SlowRate)
        } else {
            None
        }
    }

    /// Share of failures in the window; none without verdicts.
    pub(crate) fn failure_ratio(&self) -> Option<f64> {
        self.window.failure_ratio()
    }

    /// Whether it fails now: enough to doubt that a neighbour's failures are the neighbour's own.
    pub(crate) fn fails(&self, settings: &BreakerSettings) -> bool {
        self.consecutive >= 2 || self.trigger(settings).is_some()
    }
}

impl Breaker {
    pub(crate) fn gate(&self) -> Gate {
        self.gate
    }

    /// When trials begin, while open.
    pub(crate) fn until(&self) -> Option<Instant> {
        (self.gate == Gate::Open).then_some(self.next)
    }

    /// Until its next turn, and how many openings are not forgiven.
    pub(crate) fn left(&self, now: Instant) -> (Duration, u32) {
        (self.next.since(now), self.times)
    }

    /// As it stood in another process.
    pub(crate) fn carried(one: &CarriedBackend, now: Instant) -> Self {
        Self {
            gate: one.gate,
            times: one.openings.min(31),
            next: now + one.next.min(LONGEST),
            withheld: false,
        }
    }

    pub(crate) fn open(&mut self, settings: &BreakerSettings, now: Instant) {
        self.gate = Gate::Open;
        self.next = now + self.doubled(settings);
        self.withheld = false;
    }

    /// Twice as long each time.
    fn doubled(&mut self, settings: &BreakerSettings) -> Duration {
        let doubled = settings
            .open
            .saturating_mul(1_u32.checked_shl(self.times).unwrap_or(u32::MAX));
        self.times = (self.times + 1).min(31);
        doubled.min(settings.open_max).max(Duration::from_millis(1))
    }

    /// Open long enough, or half-open that long with every trial under way? Trials begin, or more of them: one that hangs
    /// must not hold the backend for ever. Hanging counts as another opening for how long that is.
    pub(crate) fn half_open(
        &mut self,
        trials_left: bool,
        settings: &BreakerSettings,
        now: Instant,
    ) -> bool {
        let due = match self.gate {
            Gate::Closed => false,
            Gate::Open => self.next <= now,
            Gate::HalfOpen => self.next <= now && !trials_left,
        };
        if due {
            let hangs = peace(settings);
            self.next = now
                + match self.gate {
                    Gate::HalfOpen => self.doubled(settings).max(hangs),
                    _ => hangs,
                };
            self.gate = Gate::HalfOpen;
        }
        due
    }

    /// What the trials say: `Some(true)` closes, `Some(false)` re-opens.
    pub(crate) fn verdict(&self, results: Results, settings: &BreakerSettings) -> Option<bool> {
        match (self.gate, results) {
            (Gate::HalfOpen, Results { failed: true, .. }) => Some(false),
            (Gate::HalfOpen, Results { passed, .. }) if passed >= settings.trials.max(1) => {
                Some(true)
            }
            _ => None,
        }
    }

    pub(crate) fn close(&mut self, peace: Duration, now: Instant) {
        self.gate = Gate::Closed;
        self.next = now + peace;
    }

    /// Nothing is held against it, by itself or by a cap.
    pub(crate) const fn is_forgiven(&self) -> bool {
        self.times == 0 && !self.withheld
    }

    /// While closed, each peace forgives one opening.
    pub(crate) fn forgive(&mut self, settings: &BreakerSettings, now: Instant) {
        if self.gate == Gate::Closed && self.times > 0 && self.next <= now {
            self.times -= 1;
            self.next = now + peace(settings);
        }
    }
}

/// How long it takes until an opening is forgiven, and a trial hangs: an open time, but no less than a window. What fails now and then would
/// be forgiven between two failures else, and each trial of what hangs is somebody's request.
pub(crate) fn peace(settings: &BreakerSettings) -> Duration {
    settings.open.max(settings.window)
}

/// The most backends that may be open or down together.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "members are below 2^53, and a share of them is not negative"
)]
pub(crate) fn cap(enabled: usize, settings: &BreakerSettings) -> usize {
    match enabled {
        0 | 1 => 0,
        // A share like .29 of 100 must not fall short of 29 by a rounding.
        n => ((n as f64 * settings.cap.clamp(0.0, 1.0) + 1e-9).floor() as usize).max(1),
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
