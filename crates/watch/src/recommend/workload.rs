//! Owns what is said of how much there is to do: pools, retries, workers.

use super::facts::Facts;
use super::{Code, Recommendation, Value, figure, path, set, sure};
use crate::metric::Unit;
use crate::number::{float, length, whole};
use crate::threshold::Severity;

/// A pool is to bear the peak with one backend less.
const SPARE: f64 = 1.0;
/// So many retries were not made, and such a part of those that were wanted.
const DENIED: u64 = 20;
const DENIED_PART: f64 = 0.1;
/// Where more fails than this, more retries make it worse.
const FAILING: f64 = 0.1;
/// No budget that is proposed is larger.
const LARGEST_BUDGET: f64 = 0.5;
/// Of fewer requests workers say nothing, each.
const FEWEST_A_WORKER: u64 = 1000;
/// A worker that has so many times the mean.
const SKEWED: f64 = 1.5;

/// Where what was in flight at the peak is more than fits without one of the backends.
pub(super) fn pool(facts: &Facts, all: &mut Vec<Recommendation>) {
    for service in &facts.services {
        let serving: Vec<_> = service
            .backends
            .iter()
            .filter(|one| one.serving && one.weight > 0)
            .collect();
        // Without a limit nobody knows what a backend bears.
        let rooms: Option<Vec<u64>> = serving.iter().map(|one| one.max_in_flight).collect();
        let Some(rooms) = rooms.filter(|rooms| rooms.len() > 1) else {
            continue;
        };
        let (total, largest) = (
            rooms.iter().sum::<u64>(),
            rooms.iter().max().copied().unwrap_or(0),
        );
        let without_one = total.saturating_sub(largest);
        if float(service.peak_in_flight) <= SPARE * float(without_one) {
            continue;
        }
        let each = float(total) / length(rooms.len());
        let wanted = (float(service.peak_in_flight) / each).ceil() + 1.0;
        all.push(Recommendation {
            code: Code::PoolTooSmall,
            severity: if service.queued > 0 { Severity::Critical } else { Severity::Warning },
            subject: path(&["services", &service.name]),
            reason: format!("its peak would not fit on the rest if one backend left; {wanted:.0} backends like these would bear it"),
            figures: vec![
                figure("peak_in_flight", float(service.peak_in_flight), None),
                figure("room", float(total), None),
                figure("room_without_one", float(without_one), None),
                figure("backends_wanted", wanted, None),
            ],
            confidence: if service.queued > 0 { 0.95 } else { 0.8 },
            patch: Vec::new(),
        });
    }
}

/// Where retries were wanted that the budget did not allow.
pub(super) fn retries(facts: &Facts, all: &mut Vec<Recommendation>) {
    for service in &facts.services {
        let wanted = service.retries.saturating_add(service.retries_denied);
        let part = float(service.retries_denied) / float(wanted.max(1));
        if service.retries_denied < DENIED || part < DENIED_PART {
            continue;
        }
        let failing = float(service.errors) / float(service.requests.max(1));
        let ratio = service.retry_ratio.unwrap_or(0.2);
        let larger = (ratio * 1.5).min(LARGEST_BUDGET);
        let helps = failing < FAILING && larger > ratio;
        let per_cent = Value::Text(format!("{}%", whole(larger * 100.0)));
        all.push(Recommendation {
            code: Code::RetryBudgetSpent,
            severity: Severity::Warning,
            subject: path(&["services", &service.name]),
            reason: if helps {
                format!("{} retries were not made that might have helped", service.retries_denied)
            } else {
                let denied = service.retries_denied;
                format!("{denied} retries were not made; too much fails for more to help, so look at the backends")
            },
            figures: vec![
                figure("denied", float(service.retries_denied), None),
                figure("made", float(service.retries), None),
                figure("ratio", ratio, Some(Unit::Share)),
                figure("error_rate", failing, Some(Unit::Share)),
            ],
            confidence: sure(service.retries_denied, DENIED),
            patch: if helps {
                vec![set(&["services", &service.name, "retry", "budget", "ratio"], per_cent)]
            } else {
                Vec::new()
            },
        });
    }
}

/// Where one worker has much more to do.
pub(super) fn workers(facts: &Facts, all: &mut Vec<Recommendation>) {
    let count = facts.workers.len();
    let total: u64 = facts.workers.iter().sum();
    let mean = float(total) / length(count.max(1));
    let most = float(facts.workers.iter().max().copied().unwrap_or(0));
    if count < 2 || mean < float(FEWEST_A_WORKER) || most < SKEWED * mean {
        return;
    }
    all.push(Recommendation {
        code: Code::WorkerSkew,
        severity: Severity::Info,
        subject: Vec::new(),
        reason: format!("one worker of {count} serves {:.1} times the mean: few connections carry most requests; more of them, or shorter-lived ones, spread", most / mean),
        figures: vec![figure("most", most, None), figure("mean", mean, None), figure("workers", length(count), None)],
        confidence: sure(total, 10 * FEWEST_A_WORKER),
        patch: Vec::new(),
    });
}
