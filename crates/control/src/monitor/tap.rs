//! Owns how counters that only rise become what ended within a second, of a service and of a backend.
//!
//! Nothing is counted for this on the way of a request: exchanges fill distributions of a few fixed bounds and a sum, which all that is here
//! is made of. The sum tells where within its bucket the most of them lie, so that means are right and a step within a bucket is seen;
//! percentiles are as fine as the bounds.

use evenkeel_balance::snapshot::BackendSnapshot;
use evenkeel_proxy::live::ServiceState;
use evenkeel_proxy::observation::{Distribution, ServiceCounters, StageCounters};
use evenkeel_proxy::reason::{Blame, Reason};
use evenkeel_watch::interval::Interval;
use evenkeel_watch::latencies::Latencies;

/// The sum says where the most lie only while what the others may be off, shared among them, is at most this part of their bucket.
const DOUBT: f64 = 0.25;

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

/// Times of which only their buckets (upper bound in seconds, count) and their sum are known. `place`: where in their bucket the most of
/// them lay last, 0 to 1; so they are taken to lie now where the others leave the sum too uncertain.
fn spread(counts: &[(f64, u32)], sum: f64, place: &mut f64) -> Latencies {
    let mut all = Latencies::default();
    let edges = |at: usize| {
        let upper = counts[at].0;
        let lower = match at {
            0 => upper / 4.0,
            at => counts[at - 1].0,
        };
        // Above the last bound is anything.
        (
            lower,
            if upper.is_finite() {
                upper
            } else {
                lower * 4.0
            },
        )
    };
    let most = (0..counts.len()).max_by_key(|at| counts[*at].1);
    let Some(most) = most.filter(|at| counts[*at].1 > 0) else {
        return all;
    };
    let (mut rest, mut doubt) = (sum, 0.0);
    for (at, (_, count)) in counts.iter().enumerate() {
        if at != most && *count > 0 {
            let (lower, upper) = edges(at);
            let middle = (lower * upper).sqrt();
            rest -= middle * f64::from(*count);
            doubt += (upper - lower) * f64::from(*count);
            put(&mut all, *count, middle, (upper - lower) / 4.0);
        }
    }
    let (count, (lower, upper)) = (counts[most].1, edges(most));
    let width = upper - lower;
    if doubt <= DOUBT * width * f64::from(count) {
        *place = ((rest / f64::from(count) - lower) / width).clamp(0.0, 1.0);
    }
    let mean = lower + *place * width;
    put(&mut all, count, mean, (mean - lower).min(upper - mean));
    all
}

/// So many around a mean, none further off than `reach`.
fn put(all: &mut Latencies, count: u32, mean: f64, reach: f64) {
    let quarter = count / 4;
    for (part, count) in [
        (-0.75, quarter),
        (-0.25, quarter),
        (0.0, count % 4),
        (0.25, quarter),
        (0.75, quarter),
    ] {
        if count > 0 {
            all.add(nanos(mean + part * reach), count);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and no time is below nought"
)]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Buckets of 10, 20 and 100 ms, and above.
    fn check(counts: [u32; 4], sum: f64, place: f64, expect: (f64, f64)) -> f64 {
        let bounds = [0.01, 0.02, 0.1, f64::INFINITY];
        let rows: Vec<_> = bounds.into_iter().zip(counts).collect();
        let mut place = place;
        let got = spread(&rows, sum, &mut place);
        let all: u32 = counts.iter().sum();
        assert_eq!(got.count(), u64::from(all), "{counts:?}");
        let mean = got.mean().unwrap_or(0.0);
        assert!((expect.0..=expect.1).contains(&mean), "{counts:?}: {mean}");
        place
    }

    #[test]
    fn the_sum_says_where_in_their_bucket_the_most_lie() {
        check([0, 0, 0, 0], 0.0, 0.5, (0.0, 0.0));
        check([0, 10, 0, 0], 0.13, 0.5, (0.0129, 0.0131));
        check([0, 10, 0, 0], 0.19, 0.5, (0.0189, 0.0191));
        check([10, 0, 0, 0], 0.05, 0.5, (0.0049, 0.0051));
        // Sums that no such times have, as counters are read one after another.
        check([0, 10, 0, 0], 9.0, 0.5, (0.02, 0.02));
        check([0, 10, 0, 0], 0.0, 0.5, (0.01, 0.01));
    }

    /// One of above the last bound may be of any length: the others do not move by it.
    #[test]
    fn few_that_may_be_anything_do_not_move_the_rest() {
        let place = check([0, 0, 0, 0], 0.0, 0.3, (0.0, 0.0));
        assert!((place - 0.3).abs() < 1e-9);
        let place = check([0, 20, 0, 1], 9.0, 0.3, (0.0, 0.05));
        assert!((place - 0.3).abs() < 1e-9, "{place}");
        let place = check([0, 1000, 1, 0], 14.0, 0.3, (0.013, 0.015));
        assert!((place - 0.4).abs() < 0.01, "{place}");
    }

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
