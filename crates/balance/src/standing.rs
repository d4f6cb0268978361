//! Owns the one answer to "may this backend be picked", derived from three independent facts.
//!
//! disabled > draining > down > ejected > probing > unproven > serving. Stores nothing and never looks at a service.

use std::fmt;

use crate::backend::Admin;
use crate::breaker::Gate;
use crate::health::{Active, CheckFault};

/// May a backend be picked?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// No: the operator took it out.
    Disabled,
    /// No new exchanges: the operator drains it.
    Draining,
    /// No: checks or a verdict by hand say so.
    Down,
    /// No: its breaker is open.
    Ejected,
    /// Trials only: its breaker is half-open.
    Probing,
    /// Only while no proven one exists: no check has passed yet.
    Unproven,
    /// Yes.
    Serving,
}

impl Standing {
    /// The standing that the three facts give.
    #[must_use]
    pub fn of(admin: Admin, active: Active, gate: Gate) -> Self {
        match (admin, active, gate) {
            (Admin::Disabled, _, _) => Self::Disabled,
            (Admin::Draining, _, _) => Self::Draining,
            (Admin::Enabled, Active::Down, _) => Self::Down,
            (Admin::Enabled, _, Gate::Open) => Self::Ejected,
            (Admin::Enabled, _, Gate::HalfOpen) => Self::Probing,
            (Admin::Enabled, Active::Unproven, Gate::Closed) => Self::Unproven,
            (Admin::Enabled, Active::Up, Gate::Closed) => Self::Serving,
        }
    }

    /// Whether nothing is wrong with it: who is disabled, or drains, is as somebody wants it.
    #[must_use]
    pub const fn is_well(self) -> bool {
        !matches!(self, Self::Down | Self::Ejected | Self::Probing)
    }

    /// The word for it in configuration, logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Probing => "probing",
            Self::Unproven => "unproven",
            Self::Serving => "serving",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a standing is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It has just joined.
    Joined,
    /// The operator wants it so.
    Operator,
    /// A verdict by hand.
    ByHand,
    /// Enough checks passed.
    ChecksPassed,
    /// Enough checks failed, the last one thus.
    ChecksFailed(CheckFault),
    /// Checks timed out, but traffic that was picked after they began succeeded.
    TrafficSucceeds,
    /// Too many failures in a row.
    Consecutive,
    /// Too large a share of failures.
    FailureRate,
    /// Too large a share of slow successes.
    SlowRate,
    /// The open time is over: trials run.
    OpenTimeOver,
    /// A trial failed.
    TrialFailed,
    /// The trials passed.
    TrialsPassed,
    /// Checks or breaker were switched off.
    SettingsChanged,
}

impl Reason {
    /// All of them, one fault for all of failed checks.
    pub const ALL: [Self; 13] = [
        Self::Joined,
        Self::Operator,
        Self::ByHand,
        Self::ChecksPassed,
        Self::ChecksFailed(CheckFault::Other),
        Self::TrafficSucceeds,
        Self::Consecutive,
        Self::FailureRate,
        Self::SlowRate,
        Self::OpenTimeOver,
        Self::TrialFailed,
        Self::TrialsPassed,
        Self::SettingsChanged,
    ];

    /// The word for it in logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Operator => "operator",
            Self::ByHand => "by_hand",
            Self::ChecksPassed => "checks_passed",
            Self::ChecksFailed(_) => "checks_failed",
            Self::TrafficSucceeds => "traffic_succeeds",
            Self::Consecutive => "consecutive_failures",
            Self::FailureRate => "failure_rate",
            Self::SlowRate => "slow_rate",
            Self::OpenTimeOver => "open_time_over",
            Self::TrialFailed => "trial_failed",
            Self::TrialsPassed => "trials_passed",
            Self::SettingsChanged => "settings_changed",
        }
    }

    /// What it means, in a sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Joined => "It has just joined.",
            Self::Operator => "The operator wants it so.",
            Self::ByHand => "A verdict by hand.",
            Self::ChecksPassed => "Enough checks passed.",
            Self::ChecksFailed(_) => "Enough checks failed, the last one thus.",
            Self::TrafficSucceeds => {
                "Checks timed out, but traffic that was picked after they began succeeded."
            }
            Self::Consecutive => "Too many failures in a row.",
            Self::FailureRate => "Too large a share of failures.",
            Self::SlowRate => "Too large a share of slow successes.",
            Self::OpenTimeOver => "The open time is over: trials run.",
            Self::TrialFailed => "A trial failed.",
            Self::TrialsPassed => "The trials passed.",
            Self::SettingsChanged => "Checks or breaker were switched off.",
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn the_worst_fact_decides() {
        use {Active::*, Admin::*, Gate::*};
        let rows = [
            (Disabled, Down, Open, Standing::Disabled),
            (Disabled, Up, Closed, Standing::Disabled),
            (Draining, Down, Open, Standing::Draining),
            (Draining, Up, Closed, Standing::Draining),
            (Enabled, Down, Open, Standing::Down),
            (Enabled, Down, Closed, Standing::Down),
            (Enabled, Unproven, Open, Standing::Ejected),
            (Enabled, Up, Open, Standing::Ejected),
            (Enabled, Unproven, HalfOpen, Standing::Probing),
            (Enabled, Up, HalfOpen, Standing::Probing),
            (Enabled, Unproven, Closed, Standing::Unproven),
            (Enabled, Up, Closed, Standing::Serving),
        ];
        for (admin, active, gate, expected) in rows {
            assert_eq!(
                Standing::of(admin, active, gate),
                expected,
                "{admin:?} {active:?} {gate:?}"
            );
        }
    }
}
