//! Owns what a step did: to those who got more for it, as that is whom it can have harmed.
//!
//! A backend that is lowered becomes worse or better by itself; to blame the step for that would undo every step while a backend sinks.

use std::collections::{BTreeMap, BTreeSet};

use super::Seen;
use crate::latencies::Latencies;
use crate::number::float;

/// Twice as many beyond what 1 % took before.
const TAIL: f64 = 0.01;
const MOST_TAIL: f64 = 0.02;
/// And the tail itself so much longer,
const LONGER: f64 = 1.2;
/// by so many seconds at least: what a busy machine's scheduler makes of answers of two milliseconds is no step's doing.
const LONGER_BY: f64 = 0.005;
/// So much more that fails.
const MORE_FAIL: f64 = 0.005;
/// Beyond so many deviations; requests that were slow together count as one in this many.
const SURE: f64 = 4.0;
const TOGETHER: f64 = 2.0;
/// Of fewer answers nothing is said, and the step stays.
const FEWEST: u64 = 100;

/// What a step did to those who got more.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// Their 99th percentile before, in seconds.
    pub p99_before: Option<f64>,
    /// And after.
    pub p99_after: Option<f64>,
    /// The share that failed before.
    pub errors_before: f64,
    /// And after.
    pub errors_after: f64,
    /// The step stays.
    pub kept: bool,
    change: f64,
    old: BTreeMap<String, f64>,
}

impl Effect {
    /// The logarithm of how their mean latency changed.
    pub(super) const fn change(&self) -> f64 {
        self.change
    }

    pub(super) fn old_factors(&self) -> impl Iterator<Item = (&str, f64)> {
        self.old.iter().map(|(id, factor)| (id.as_str(), *factor))
    }
}

/// How it was before a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Before {
    old: BTreeMap<String, f64>,
    gained: BTreeSet<String>,
    sum: Sum,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Sum {
    requests: u64,
    errors: u64,
    latencies: Latencies,
}

impl Before {
    pub(super) fn new(
        old: BTreeMap<String, f64>,
        seen: &[Seen<'_>],
        factor: impl Fn(&str) -> f64,
    ) -> Self {
        let before = |id: &str| old.get(id).copied().unwrap_or(1.0);
        let serving = || seen.iter().filter(|one| one.serving);
        let total = |factor: &dyn Fn(&str) -> f64| {
            serving()
                .map(|one| one.weight * factor(one.id))
                .sum::<f64>()
        };
        let grown = total(&factor) / total(&before);
        // Whose share of all is larger now.
        let gains = |one: &&Seen<'_>| factor(one.id) / before(one.id) > grown;
        let gained: BTreeSet<String> = serving()
            .filter(gains)
            .map(|one| one.id.to_owned())
            .collect();
        let sum = Sum::of(seen, &gained);
        Self { old, gained, sum }
    }

    pub(super) fn judge(self, seen: &[Seen<'_>]) -> Effect {
        let Self {
            old,
            gained,
            sum: before,
        } = self;
        let after = Sum::of(seen, &gained);
        let (p99_before, p99_after) = (
            before.latencies.quantile(0.99),
            after.latencies.quantile(0.99),
        );
        let means = before
            .latencies
            .logarithms()
            .zip(after.latencies.logarithms());
        let change = means.map_or(0.0, |(before, after)| after.mean - before.mean);
        let kept = !(before.is_slower(&after) || before.fails_less(&after));
        Effect {
            p99_before,
            p99_after,
            errors_before: before.failed(),
            errors_after: after.failed(),
            kept,
            change,
            old,
        }
    }
}

impl Sum {
    fn of(seen: &[Seen<'_>], who: &BTreeSet<String>) -> Self {
        let mut sum = Self::default();
        for one in seen.iter().filter(|one| who.contains(one.id)) {
            sum.requests += one.requests;
            sum.errors += one.errors.min(one.requests);
            sum.latencies.merge(one.latencies);
        }
        sum
    }

    fn failed(&self) -> f64 {
        if self.requests == 0 {
            0.0
        } else {
            float(self.errors) / float(self.requests)
        }
    }

    fn is_slower(&self, after: &Self) -> bool {
        let (Some(before), Some(now)) = (
            self.latencies.quantile(1.0 - TAIL),
            after.latencies.quantile(1.0 - TAIL),
        ) else {
            return false;
        };
        let count = after.latencies.count();
        if count < FEWEST || self.latencies.count() < FEWEST {
            return false;
        }
        if now < (LONGER * before).max(before + LONGER_BY) {
            return false;
        }
        let beyond = after.latencies.above(before);
        let chance = (TAIL * float(count) * TOGETHER).sqrt();
        beyond > MOST_TAIL * float(count) && beyond - TAIL * float(count) > SURE * chance
    }

    fn fails_less(&self, after: &Self) -> bool {
        if self.requests < FEWEST || after.requests < FEWEST {
            return false;
        }
        let more = after.failed() - self.failed();
        let pooled = float(self.errors + after.errors) / float(self.requests + after.requests);
        let chance = (pooled
            * (1.0 - pooled)
            * TOGETHER
            * (1.0 / float(self.requests) + 1.0 / float(after.requests)))
        .sqrt();
        more > MORE_FAIL && more > SURE * chance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: u64) -> Sum {
        let mut sum = Sum {
            requests: 2_000,
            ..Sum::default()
        };
        sum.latencies.add(millis * 1_000_000, 2_000);
        sum
    }

    #[test]
    fn a_tail_is_longer_by_its_length_and_by_what_matters() {
        for (before, after, slower) in [
            (20, 40, true),
            (2, 4, false),
            (2, 12, true),
            (100, 108, false),
            (40, 20, false),
        ] {
            let is = of(before).is_slower(&of(after));
            assert_eq!(is, slower, "{before} ms, then {after} ms");
        }
    }
}
