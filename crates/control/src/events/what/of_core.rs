//! Owns the core's events as they are told: the word, how bad it is, the facts.

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::event::{EventKind, LimitEnd, Withheld};
use evenkeel_balance::standing::Standing;

use super::{Facts, Level};
use crate::command::word;
use crate::snapshot::{fault_word, reason};

pub(super) const fn core_kind(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::ServiceStarted { .. } => "service_started",
        EventKind::ServiceStopped { .. } => "service_stopped",
        EventKind::BackendAdded { .. } => "backend_added",
        EventKind::BackendRemoved { .. } => "backend_removed",
        EventKind::BackendUpdated { .. } => "backend_updated",
        EventKind::SettingsChanged { .. } => "settings_changed",
        EventKind::StandingChanged { .. } => "standing_changed",
        EventKind::Checked { .. } => "check_failed",
        EventKind::BreakerOpened { .. } => "breaker_opened",
        EventKind::BreakerHalfOpened { .. } => "breaker_half_opened",
        EventKind::BreakerClosed { .. } => "breaker_closed",
        EventKind::BreakerWithheld { .. } => "breaker_withheld",
        EventKind::AllDown { .. } => "all_down",
        EventKind::Recovered { .. } => "recovered",
        EventKind::TierChanged { .. } => "tier_changed",
        EventKind::Drained { .. } => "drained",
        EventKind::LimitReached { .. } => "limit_reached",
        EventKind::PolicyFailed { .. } => "policy_failed",
        EventKind::RetryBudgetSpent { .. } => "retry_budget_spent",
        EventKind::Picked { .. }
        | EventKind::Refused { .. }
        | EventKind::Answered { .. }
        | EventKind::Finished { .. }
        | EventKind::Abandoned { .. } => "exchange",
    }
}

pub(super) const fn core_level(kind: &EventKind) -> Level {
    match kind {
        EventKind::AllDown { .. } | EventKind::PolicyFailed { .. } => Level::Error,
        EventKind::StandingChanged {
            to: Standing::Down | Standing::Ejected,
            ..
        }
        | EventKind::LimitReached {
            end: LimitEnd::Least,
            ..
        }
        | EventKind::Checked { .. }
        | EventKind::BreakerOpened { .. }
        | EventKind::BreakerWithheld { .. }
        | EventKind::RetryBudgetSpent { .. } => Level::Warning,
        _ => Level::Info,
    }
}

pub(super) fn core_facts(kind: &EventKind, facts: Facts) -> Facts {
    match kind {
        EventKind::ServiceStarted { members } => facts.counting([("members", *members as u64)]),
        EventKind::ServiceStopped { members, in_flight } => {
            facts.counting([("members", *members as u64), ("in_flight", *in_flight)])
        }
        EventKind::SettingsChanged { policy } => Facts {
            to: text(policy),
            ..facts
        },
        EventKind::PolicyFailed { policy } => Facts {
            from: text(policy),
            ..facts
        },
        EventKind::AllDown {
            fail_open,
            healthy,
            members,
        } => Facts {
            to: text(if *fail_open {
                "fail_open"
            } else {
                "fail_closed"
            }),
            ..facts.counting([("healthy", *healthy as u64), ("members", *members as u64)])
        },
        EventKind::Recovered { after } => Facts {
            seconds: Some(after.as_secs_f64()),
            ..facts
        },
        EventKind::TierChanged { from, to } => Facts {
            from: Some(from.to_string()),
            to: Some(to.to_string()),
            ..facts
        },
        EventKind::RetryBudgetSpent { refused } => facts.counting([("retries", *refused)]),
        kind => backend_facts(kind, facts),
    }
}

fn backend_facts(kind: &EventKind, facts: Facts) -> Facts {
    let of = |backend: &BackendId| of_backend(&facts, backend);
    match kind {
        EventKind::BackendAdded { backend, standing } => Facts {
            to: text(standing.word()),
            ..of(backend)
        },
        EventKind::BackendRemoved { backend, in_flight } => {
            of(backend).counting([("in_flight", u64::from(*in_flight))])
        }
        EventKind::BackendUpdated {
            backend,
            admin,
            weight,
        } => Facts {
            to: text(word(*admin)),
            ..of(backend).counting([("weight", u64::from(*weight))])
        },
        EventKind::StandingChanged {
            backend,
            from,
            to,
            reason: why,
        } => Facts {
            from: text(from.word()),
            to: text(to.word()),
            reason: Some(reason(*why)),
            ..of(backend)
        },
        EventKind::Checked {
            backend,
            latency,
            fault,
            ..
        } => Facts {
            reason: fault.map(fault_word),
            seconds: Some(latency.as_secs_f64()),
            ..of(backend)
        },
        EventKind::LimitReached {
            backend,
            end,
            limit,
        } => Facts {
            reason: text(match end {
                LimitEnd::Least => "min",
                LimitEnd::Most => "max",
            }),
            ..of(backend).counting([("limit", u64::from(*limit))])
        },
        EventKind::Drained { backend } => of(backend),
        kind => breaker_facts(kind, facts),
    }
}

fn breaker_facts(kind: &EventKind, facts: Facts) -> Facts {
    let of = |backend: &BackendId| of_backend(&facts, backend);
    match kind {
        EventKind::BreakerOpened {
            backend,
            reason: why,
            failures,
            ..
        } => Facts {
            reason: Some(reason(*why)),
            ..of(backend).counting([("failures", u64::from(*failures))])
        },
        EventKind::BreakerHalfOpened { backend, trials } => {
            of(backend).counting([("trials", u64::from(*trials))])
        }
        EventKind::BreakerWithheld { backend, why } => Facts {
            reason: text(match why {
                Withheld::Cap => "cap",
                Withheld::MedianFails => "median_fails",
            }),
            ..of(backend)
        },
        EventKind::BreakerClosed { backend } => of(backend),
        _ => facts,
    }
}

fn of_backend(facts: &Facts, backend: &BackendId) -> Facts {
    Facts {
        backend: text(backend.as_str()),
        ..facts.clone()
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}
