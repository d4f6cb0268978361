//! Owns how counters that only rise become what ended within a second, of a service and of a backend.
//!
//! Nothing is counted for this on the way of a request: exchanges fill distributions of a few fixed bounds and a sum, which all that is here
//! is made of. The sum tells where within its bucket the most of them lie, so that means are right and a step within a bucket is seen;
//! percentiles are as fine as the bounds.

use evenkeel_balance::snapshot::BackendSnapshot;
use evenkeel_proxy::live::ServiceState;
use evenkeel_proxy::observation::{Distribution, ServiceCounters, StageCounters};
use evenkeel_proxy::reason::{Blame, Reason};
use evenkeel_watch::buckets::spread;
use evenkeel_watch::interval::Interval;
use evenkeel_watch::latencies::Latencies;

/// One's counters of before, and where in their bucket the most lay: some 250 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Tap {
    requests: u64,
    errors: u64,
    heads: Vec<u64>,
    seconds: f64,
    place: f64,
}

impl Default for Tap {
    fn default() -> Self {
        Self {
            requests: 0,
            errors: 0,
            heads: Vec::new(),
            seconds: 0.0,
            place: 0.5,
        }
    }
}

/// Exchanges of a service that have ended. Cost: six numbers of each worker.
pub(crate) fn ended(rows: &[ServiceCounters]) -> u64 {
    let classes = rows.iter().flat_map(|row| &row.classes);
    classes.map(|count| count.get()).sum()
}

/// Those of them that failed, as far as whoever asked could not help it. An answer that is a failure may have a reason that says so too:
/// the larger of both counts is never more than failed.
fn failed(rows: &[ServiceCounters]) -> u64 {
    let of = |reason: Reason| {
        let number = reason.number();
        rows.iter()
            .map(|row| row.reasons[number].get())
            .sum::<u64>()
    };
    let ours = |reason: &Reason| {
        reason.status() >= 500
            && matches!(
                reason.blame(),
                Blame::Backend | Blame::Operator | Blame::Machine
            )
    };
    let by_reason: u64 = Reason::all().filter(ours).map(of).sum();
    let by_class: u64 = rows.iter().map(|row| row.classes[5].get()).sum();
    by_reason.max(by_class + of(Reason::BodyBroken))
}

impl Tap {
    /// What ended of a service's exchanges since the last time.
    pub(crate) fn service(&mut self, state: &ServiceState, millis: u32, up: bool) -> Interval {
        let rows = &state.counters;
        let heads = StageCounters::together(rows.iter().map(|row| &row.stages)).head;
        self.turn((ended(rows), failed(rows)), Some(&heads), millis, up)
    }

    /// What ended of the attempts on a backend since the last time.
    pub(crate) fn backend(
        &mut self,
        state: &ServiceState,
        core: &BackendSnapshot,
        millis: u32,
    ) -> Interval {
        let reached = state.reached(&core.id);
        let heads = reached.map(|reached| reached.heads.together());
        let counts = (core.counts.finished, core.counts.failed);
        self.turn(counts, heads.as_ref(), millis, core.standing.is_well())
    }

    fn turn(
        &mut self,
        (requests, errors): (u64, u64),
        heads: Option<&Distribution>,
        millis: u32,
        up: bool,
    ) -> Interval {
        // Fewer than before are those of another one of that name.
        let more = |before: &mut u64, now: u64| {
            let more = now.checked_sub(*before).unwrap_or(now);
            *before = now;
            u32::try_from(more).unwrap_or(u32::MAX)
        };
        Interval {
            millis,
            requests: more(&mut self.requests, requests),
            errors: more(&mut self.errors, errors),
            latencies: heads.map(|heads| self.latencies(heads)).unwrap_or_default(),
            up,
        }
    }

    fn latencies(&mut self, heads: &Distribution) -> Latencies {
        self.heads.resize(heads.buckets.len(), 0);
        let began_anew = (self.heads.iter().zip(&heads.buckets)).any(|(old, new)| *old > new.1);
        if began_anew {
            self.heads.fill(0);
            self.seconds = 0.0;
        }
        let mut counts = Vec::with_capacity(heads.buckets.len());
        for (before, (bound, now)) in self.heads.iter_mut().zip(&heads.buckets) {
            counts.push((*bound, u32::try_from(now - *before).unwrap_or(u32::MAX)));
            *before = *now;
        }
        let all = heads.sum.as_secs_f64();
        let sum = all - self.seconds;
        self.seconds = all;
        spread(&counts, sum, &mut self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_begin_anew_are_those_of_another_one() {
        let mut tap = Tap::default();
        let heads = |count| Distribution {
            buckets: vec![(0.01, count), (f64::INFINITY, 0)],
            sum: std::time::Duration::from_millis(5 * count),
        };
        for (now, expect) in [(7, 7), (9, 2), (9, 0), (3, 3)] {
            let got = tap.turn((now, now / 3), Some(&heads(now)), 1000, true);
            assert_eq!(
                (got.requests, got.latencies.count()),
                (expect, expect.into())
            );
        }
    }
}
