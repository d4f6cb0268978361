//! Owns what is said of times: deadlines and checks against what was measured.

use super::facts::Facts;
use super::{Code, Recommendation, duration, figure, path, rounder, set, sure};
use crate::metric::Unit;
use crate::number::float;
use crate::threshold::Severity;

/// Of fewer requests a percentile says nothing.
const FEWEST: u64 = 1000;
/// A deadline is near the answers where the 99th percentile is such a part of it,
const NEAR: f64 = 0.8;
/// and something has missed it: one in a thousand.
const MISSED: f64 = 0.001;
/// It is far from them where it is so many times that percentile,
const FAR: f64 = 50.0;
/// and longer than anybody wants to wait for nothing, in seconds.
const LONG: f64 = 2.0;
/// What is proposed: so many times the percentile, rounded up.
const PROPOSED: f64 = 5.0;
/// So many requests failed that a check could have spared.
const FAILED: u64 = 20;
/// A check that finds out within so many seconds is no slower than it must be.
const PROMPT: f64 = 5.0;

/// Where a try has too little time, or much more than anything needs.
pub(super) fn deadlines(facts: &Facts, all: &mut Vec<Recommendation>) {
    for service in facts
        .services
        .iter()
        .filter(|service| service.requests >= FEWEST)
    {
        let (Some(p99), Some(per_try)) = (service.p99, service.per_try) else {
            continue;
        };
        let missed = float(service.timeouts) / float(service.requests);
        let (code, severity, reason) = if p99 > NEAR * per_try && missed > MISSED {
            let reason = format!(
                "{} attempts missed it, and the slowest hundredth of the answers is as long",
                service.timeouts
            );
            (Code::DeadlineTooShort, Severity::Warning, reason)
        } else if per_try > LONG && per_try > FAR * p99 {
            let reason = format!(
                "99 of 100 answers come {:.0} times as soon: who meets a dead backend waits for nothing",
                per_try / p99
            );
            (Code::DeadlineTooLong, Severity::Info, reason)
        } else {
            continue;
        };
        // What is cut off at the deadline is not seen beyond it: doubling says more than any percentile.
        let proposed = if code == Code::DeadlineTooShort {
            2.0 * per_try
        } else {
            rounder((PROPOSED * p99).max(0.1))
        };
        all.push(Recommendation {
            code,
            severity,
            subject: path(&["services", &service.name]),
            reason,
            figures: vec![
                figure("per_try", per_try, Some(Unit::Seconds)),
                figure("p99", p99, Some(Unit::Seconds)),
                figure("missed", missed, Some(Unit::Share)),
            ],
            confidence: sure(service.requests, FEWEST),
            patch: vec![set(
                &["services", &service.name, "timeouts", "per_try"],
                duration(proposed),
            )],
        });
    }
}

/// Where requests had failed long before the checks found out.
pub(super) fn checks(facts: &Facts, all: &mut Vec<Recommendation>) {
    for service in &facts.services {
        let Some(checks) = service.checks else {
            continue;
        };
        // After the first that failed the others come sooner.
        let others = checks.interval_unsure * float(checks.fall.saturating_sub(1));
        let finds = checks.interval + others + checks.timeout;
        if checks.failed_before < FAILED || finds <= PROMPT {
            continue;
        }
        let interval = (PROMPT - others - checks.timeout)
            .max(0.5)
            .min(checks.interval);
        if interval >= checks.interval {
            continue;
        }
        all.push(Recommendation {
            code: Code::ChecksTooSlow,
            severity: Severity::Warning,
            subject: path(&["services", &service.name]),
            reason: format!("{} requests failed on backends of which checks took {finds:.0} s to find that they are down", checks.failed_before),
            figures: vec![
                figure("finds", finds, Some(Unit::Seconds)),
                figure("interval", checks.interval, Some(Unit::Seconds)),
                figure("failed_before", float(checks.failed_before), None),
            ],
            confidence: sure(checks.failed_before, FAILED),
            patch: vec![set(&["services", &service.name, "health", "interval"], duration(interval))],
        });
    }
}

/// Where a check gives up on answers that come.
pub(super) fn check_timeouts(facts: &Facts, all: &mut Vec<Recommendation>) {
    for service in &facts.services {
        let Some(checks) = service.checks else {
            continue;
        };
        let Some(p99) = checks.p99.filter(|p99| *p99 > NEAR * checks.timeout) else {
            continue;
        };
        let timeout = rounder(2.0 * p99);
        let mut patch = vec![set(
            &["services", &service.name, "health", "timeout"],
            duration(timeout),
        )];
        // Else the next check begins before the last has ended.
        if timeout > checks.interval {
            patch.push(set(
                &["services", &service.name, "health", "interval"],
                duration(timeout),
            ));
        }
        all.push(Recommendation {
            code: Code::CheckTimeoutTooShort,
            severity: Severity::Warning,
            subject: path(&["services", &service.name]),
            reason: "the slowest of the checks that pass need nearly all the time they have; a little more load brings backends down that serve".to_owned(),
            figures: vec![figure("timeout", checks.timeout, Some(Unit::Seconds)), figure("p99", p99, Some(Unit::Seconds))],
            confidence: 0.8,
            patch,
        });
    }
}
