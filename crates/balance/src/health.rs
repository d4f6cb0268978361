//! Owns the active fact of a backend: unproven, up or down, from checks and from verdicts by hand.
//!
//! ```text
//! unproven --1 pass--> up --fall failures in a row--> down --rise passes in a row--> up
//! unproven --fall failures--> down          by hand: at once, and held until withdrawn or expired
//! down by timeouts only, and a success picked after the failed check began --> up
//! ```
//! Never runs a check (the `evenkeel` crate does) and knows nothing of the breaker.

use std::time::Duration;

use crate::carried::LONGEST;
use crate::setters::setters;
use crate::settings::ActiveSettings;
use crate::standing::Reason;
use crate::time::Instant;

/// What checks say of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Active {
    /// No check has passed yet.
    Unproven,
    /// Checks pass, or none are made.
    #[default]
    Up,
    /// Checks fail, or a verdict by hand says so.
    Down,
}

/// Why a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckFault {
    /// No answer in time. The only fault that live success outvotes.
    Timeout,
    /// No connection was taken.
    Refused,
    /// The connection was taken, and reset or ended before an answer.
    Reset,
    /// Another status than expected.
    Status(u16),
    /// The body does not hold what was expected.
    Mismatch,
    /// The answer is none of the protocol's.
    Malformed,
    /// A protocol below or above HTTP says no: which one, and its own word for it, each of a closed list of whoever checks.
    Protocol(&'static str, &'static str),
    /// The check itself failed; says nothing certain of the backend, counts as a failure.
    Other,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed(CheckFault),
}

/// One check of one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub latency: Duration,
    /// How it ended.
    pub result: CheckResult,
    /// The status it saw, where it saw one.
    pub status: Option<u16>,
}

impl CheckReport {
    /// A check that began then and ended so, at once and without a status.
    #[must_use]
    pub const fn new(result: CheckResult, began: Instant) -> Self {
        Self {
            began,
            latency: Duration::ZERO,
            result,
            status: None,
        }
    }
}

setters!(CheckReport { latency: Duration, ; status: u16, });

/// The active fact of one backend and what it is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    checked: Active,
    hand: Option<ByHand>,
    pub(crate) passes: u32,
    pub(crate) failures: u32,
    /// When the newest failed check began, while every failure of the row was a timeout.
    timed_out: Option<Instant>,
    pub(crate) last: Option<CheckReport>,
}

#[derive(Clone, Copy, Debug)]
struct ByHand {
    healthy: bool,
    until: Option<Instant>,
}

impl Health {
    /// Of a backend that joins: unproven where checks decide, up where none are made.
    pub(crate) fn joining(checks: bool) -> Self {
        Self {
            checked: if checks { Active::Unproven } else { Active::Up },
            ..Self::default()
        }
    }

    pub(crate) fn active(&self) -> Active {
        match self.hand {
            Some(ByHand { healthy: true, .. }) => Active::Up,
            Some(ByHand { healthy: false, .. }) => Active::Down,
            None => self.checked,
        }
    }

    /// Takes a check in. The reason, when the fact may have changed by it.
    pub(crate) fn report(
        &mut self,
        report: CheckReport,
        settings: ActiveSettings,
        success: Option<Instant>,
    ) -> Option<Reason> {
        self.last = Some(report);
        match report.result {
            CheckResult::Passed => self.passed(settings),
            CheckResult::Failed(fault) => self.failed(fault, report.began, settings, success),
        }
    }

    fn passed(&mut self, settings: ActiveSettings) -> Option<Reason> {
        self.failures = 0;
        self.timed_out = None;
        self.passes = self.passes.saturating_add(1);
        let enough = match self.checked {
            Active::Up => false,
            Active::Unproven => true,
            Active::Down => self.passes >= settings.rise.max(1),
        };
        enough.then(|| {
            self.checked = Active::Up;
            Reason::ChecksPassed
        })
    }

    fn failed(
        &mut self,
        fault: CheckFault,
        began: Instant,
        settings: ActiveSettings,
        success: Option<Instant>,
    ) -> Option<Reason> {
        if fault == CheckFault::Timeout && success.is_some_and(|picked| picked >= began) {
            // Traffic that set out after this check did came back well: the check is wrong, not the backend.
            return None;
        }
        self.timed_out = (fault == CheckFault::Timeout
            && (self.failures == 0 || self.timed_out.is_some()))
        .then_some(began);
        self.passes = 0;
        self.failures = self.failures.saturating_add(1);
        (self.checked != Active::Down && self.failures >= settings.fall.max(1)).then(|| {
            self.checked = Active::Down;
            Reason::ChecksFailed(fault)
        })
    }

    /// Whether live success outvotes the checks that brought it down; asked by the tick.
    pub(crate) fn outvoted(&mut self, success: Option<Instant>) -> Option<Reason> {
        let began = self.timed_out?;
        (self.checked == Active::Down && success? >= began).then(|| {
            *self = Self {
                checked: Active::Up,
                hand: self.hand,
                last: self.last,
                ..Self::default()
            };
            Reason::TrafficSucceeds
        })
    }

    /// A verdict by hand: at once, and held against checks and traffic. `None` withdraws it. A verdict of health
    /// also clears what the checks had counted.
    pub(crate) fn mark(&mut self, healthy: Option<bool>, until: Option<Instant>) {
        match healthy {
            Some(true) => {
                *self = Self {
                    checked: Active::Up,
                    last: self.last,
                    ..Self::default()
                };
                self.hand = until.map(|_| ByHand {
                    healthy: true,
                    until,
                });
            }
            Some(false) => {
                self.passes = 0;
                self.failures = self.failures.saturating_add(1);
                self.timed_out = None;
                self.hand = Some(ByHand {
                    healthy: false,
                    until,
                });
            }
            None => self.hand = None,
        }
    }

    /// A verdict by hand ends at its time; asked by the tick.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let over = self
            .hand
            .is_some_and(|hand| hand.until.is_some_and(|until| until <= now));
        if over {
            self.hand = None;
        }
        over
    }

    /// Whether a verdict by hand will end by itself.
    pub(crate) fn expires(&self) -> bool {
        self.hand.is_some_and(|hand| hand.until.is_some())
    }

    /// What it depends on how soon it is worth a check: whether it is up, and whether the last checks say otherwise.
    pub(crate) fn need(&self) -> (Active, bool, bool) {
        (self.active(), self.passes > 0, self.failures > 0)
    }

    /// Whether neither time nor traffic changes anything: no verdict by hand may end, and no check timed out.
    pub(crate) fn is_settled(&self) -> bool {
        self.hand.is_none() && self.timed_out.is_none()
    }

    /// What checks said, and a verdict by hand with the time that it has left.
    pub(crate) fn carried(&self, now: Instant) -> (Active, Option<(bool, Option<Duration>)>) {
        let left = |hand: ByHand| (hand.healthy, hand.until.map(|until| until.since(now)));
        (self.checked, self.hand.map(left))
    }

    /// Begins with what another process knew. Where no checks are made, what checks said there is nothing.
    pub(crate) fn take_over(
        &mut self,
        checked: Active,
        hand: Option<(bool, Option<Duration>)>,
        checks: bool,
        now: Instant,
    ) {
        if checks {
            self.checked = checked;
        }
        self.hand = hand.map(|(healthy, left)| ByHand {
            healthy,
            until: left.map(|left| now + left.min(LONGEST)),
        });
    }

    /// Checks were switched on or off. Who served keeps serving; who was down by checks alone is believed again.
    pub(crate) fn checks_switched(&mut self, on: bool) {
        if !on {
            *self = Self {
                checked: Active::Up,
                hand: self.hand,
                ..Self::default()
            };
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
