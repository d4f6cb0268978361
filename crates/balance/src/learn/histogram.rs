//! Owns a latency distribution: 1024 log-linear counters, five bits of mantissa, 4 KiB.
//!
//! A record is one relaxed `fetch_add`; count and mean are worked out from the counters, so they cost a request nothing.
//! Rejected: `hdrhistogram` (three digits, 139 KiB a backend) and DDSketch (a logarithm per record).

use std::time::Duration;

use crate::sync::{AtomicU32, Ordering};

const MANTISSA_BITS: u32 = 5;
/// 2^10 ns, about 1 us: the least that is told apart.
const LEAST_EXPONENT: u32 = 10;
/// Up to 2^42 ns, 73 minutes.
const OCTAVES: u32 = 32;
const BUCKETS: usize = (OCTAVES << MANTISSA_BITS) as usize;

/// The shortest latency told apart; shorter ones count as this.
pub const SHORTEST: Duration = Duration::from_nanos(1 << LEAST_EXPONENT);
/// The longest latency told apart (73 minutes); longer ones count as this.
pub const LONGEST: Duration = Duration::from_nanos((1 << (LEAST_EXPONENT + OCTAVES)) - 1);

/// A distribution that many threads record into. 4 KiB.
///
/// A counter wraps after 4 294 967 296 records in one bucket (five days at 10 000 per second, all of one
/// latency). [`Snapshot::since`] is exact as long as no more fall between its two snapshots.
#[derive(Debug)]
pub struct Histogram(Box<[AtomicU32; BUCKETS]>);

impl Default for Histogram {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| AtomicU32::new(0))))
    }
}

impl Histogram {
    /// Counts one latency. One `fetch_add`.
    pub fn record(&self, latency: Duration) {
        if let Some(bucket) = self.0.get(bucket_of(latency)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters as they are. Not one instant: a record made meanwhile may be in it or not.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(
            self.0
                .iter()
                .map(|bucket| u64::from(bucket.load(Ordering::Relaxed)))
                .collect(),
        )
    }
}

/// A distribution at rest. 8 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(Box<[u64]>);

impl Default for Snapshot {
    fn default() -> Self {
        Self(vec![0; BUCKETS].into_boxed_slice())
    }
}

impl Snapshot {
    /// Adds another distribution; the same as if both had been recorded together.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// What was recorded after `earlier`, a snapshot (or merge of snapshots) of the same source.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let wrapped = u64::from(u32::MAX);
        Self(
            self.0
                .iter()
                .zip(&earlier.0)
                .map(|(now, then)| now.wrapping_sub(*then) & wrapped)
                .collect(),
        )
    }

    /// Latencies recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The latency that a share `q` of the records does not exceed; `None` when nothing was recorded or `q` is not a number.
    ///
    /// `q` is clamped to 0..=1. The middle of the bucket: at most 1/64 (1.6 %) off for latencies
    /// from [`SHORTEST`] to [`LONGEST`]. O(1024).
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 || q.is_nan() {
            return None;
        }
        let rank = rank(q.clamp(0.0, 1.0), count);
        let mut seen = 0_u64;
        let bucket = self.0.iter().position(|bucket| {
            seen = seen.saturating_add(*bucket);
            seen >= rank
        })?;
        Some(Duration::from_nanos(middle(bucket)))
    }

    /// Each latency that was recorded, as the middle of its bucket, with how often; the shortest first. Cost: the 1024 counters.
    pub fn each(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let recorded = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        recorded.map(|(at, count)| (Duration::from_nanos(middle(at)), *count))
    }

    /// The mean latency, at most 1/64 (1.6 %) off; `None` when nothing was recorded.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let sum: u128 = self
            .0
            .iter()
            .enumerate()
            .map(|(at, count)| u128::from(middle(at)) * u128::from(*count))
            .sum();
        let mean = sum.checked_div(u128::from(self.count()))?;
        u64::try_from(mean).ok().map(Duration::from_nanos)
    }
}

/// Octave and the five bits after the leading one, as one number.
fn bucket_of(latency: Duration) -> usize {
    let nanos = latency.clamp(SHORTEST, LONGEST).as_nanos();
    let exponent = nanos.ilog2();
    let mantissa = (nanos >> (exponent - MANTISSA_BITS)) - (1 << MANTISSA_BITS);
    ((exponent - LEAST_EXPONENT) << MANTISSA_BITS) as usize + usize::try_from(mantissa).unwrap_or(0)
}

/// The middle of a bucket, in nanoseconds.
const fn middle(bucket: usize) -> u64 {
    let exponent = (bucket >> MANTISSA_BITS) as u64 + LEAST_EXPONENT as u64;
    let mantissa = (bucket & ((1 << MANTISSA_BITS) - 1)) as u64;
    let width = 1 << (exponent - MANTISSA_BITS as u64);
    (1 << exponent) + mantissa * width + width / 2
}

/// The nearest rank, 1..=count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0..=count; beyond 2^53 records the rank is 53 bits exact, and `as` saturates"
)]
fn rank(q: f64, count: u64) -> u64 {
    ((q * count as f64).ceil() as u64).clamp(1, count)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::hashing::mix;

    fn recorded(latencies: &[u64]) -> Snapshot {
        let histogram = Histogram::default();
        for &nanos in latencies {
            histogram.record(Duration::from_nanos(nanos));
        }
        histogram.snapshot()
    }

    /// `count` latencies spread log-uniformly over 1.024 us .. 73 min: exponent and mantissa both vary.
    fn spread(seed: u64, count: u64) -> Vec<u64> {
        (0..count)
            .map(|at| {
                let word = mix(seed, at);
                let exponent = 10 + word % 32;
                (1 << exponent) | ((word >> 8) & ((1 << exponent) - 1))
            })
            .collect()
    }

    fn off(got: Duration, exact: u64) -> f64 {
        (got.as_secs_f64() * 1e9 - exact as f64).abs() / exact as f64
    }

    /// The documented bound, 1/64, against exact order statistics.
    #[test]
    fn quantiles_are_within_the_bound() {
        for seed in 0..20 {
            let mut exact = spread(seed, 2_001);
            let snapshot = recorded(&exact);
            exact.sort_unstable();
            for (q, at) in [
                (0.0, 0),
                (0.25, 500),
                (0.5, 1_000),
                (0.9, 1_800),
                (0.99, 1_980),
                (1.0, 2_000),
            ] {
                let got = snapshot.quantile(q).expect("not empty");
                assert!(
                    off(got, exact[at]) <= 1.0 / 64.0 + 1e-9,
                    "seed {seed} q {q}: {got:?}, exact {} ns",
                    exact[at]
                );
            }
            let mean = u64::try_from(exact.iter().map(|n| u128::from(*n)).sum::<u128>() / 2_001)
                .expect("a mean");
            assert!(
                off(snapshot.mean().expect("not empty"), mean) <= 1.0 / 64.0 + 1e-9,
                "seed {seed}: mean"
            );
        }
    }

    /// Every bucket's two ends come back within the bound, and 1/64 is not a bound made too wide to fail.
    #[test]
    fn every_bucket_is_within_the_bound() {
        let mut worst = 0_f64;
        for bucket in 0..BUCKETS {
            let half = middle(bucket) / (1 << MANTISSA_BITS) / 8;
            assert_eq!(bucket_of(Duration::from_nanos(middle(bucket))), bucket);
            assert!(
                bucket_of(Duration::from_nanos(middle(bucket) + half)) == bucket,
                "bucket {bucket} is too narrow"
            );
            let octave = 1_u64 << (bucket / 32 + 10);
            let low = octave + octave / 32 * (bucket as u64 % 32);
            let high = low + octave / 32 - 1;
            for end in [low, high] {
                assert_eq!(bucket_of(Duration::from_nanos(end)), bucket, "{end} ns");
                worst = worst.max(off(Duration::from_nanos(middle(bucket)), end));
            }
        }
        assert!(
            (1.0 / 65.0..=1.0 / 64.0).contains(&worst),
            "worst error {worst}"
        );
    }

    #[test]
    fn the_ends() {
        let check = |latency: Duration, bucket: usize| {
            assert_eq!(bucket_of(latency), bucket, "{latency:?}");
        };
        check(Duration::ZERO, 0);
        check(SHORTEST, 0);
        check(Duration::from_secs(3_600), 1_012); // an hour is told apart
        check(LONGEST, BUCKETS - 1);
        check(Duration::MAX, BUCKETS - 1);
        assert_eq!(size_of::<AtomicU32>() * BUCKETS, 4_096);
    }

    fn check(latencies: &[u64], q: f64, expect: Option<u64>) {
        assert_eq!(
            recorded(latencies).quantile(q),
            expect.map(Duration::from_nanos),
            "q {q} of {latencies:?}"
        );
    }

    #[test]
    fn ranks() {
        let (short, long) = (1_040, 1_065_353_216); // the middles of the buckets of 1.03 us and 1.07 s
        check(&[], 0.5, None);
        check(&[1_030], f64::NAN, None);
        check(&[1_030], -1.0, Some(short));
        check(&[1_030], 2.0, Some(short));
        check(&[1_030, 1_070_000_000], 0.5, Some(short));
        check(&[1_030, 1_070_000_000], 0.51, Some(long));
        check(&[1_030, 1_030, 1_030, 1_070_000_000], 0.75, Some(short));
        check(&[1_030, 1_030, 1_030, 1_070_000_000], 0.76, Some(long));
        assert_eq!(recorded(&[]).mean(), None);
        assert_eq!(
            (recorded(&[]).count(), recorded(&[1, 2, 3]).count()),
            (0, 3)
        );
    }

    #[test]
    fn merged_is_recorded_together() {
        let (one, two) = (spread(1, 500), spread(2, 700));
        let mut merged = recorded(&one);
        merged.merge(&recorded(&two));
        assert_eq!(merged, recorded(&[one, two].concat()));
    }

    #[test]
    fn since_is_what_came_between() {
        let histogram = Histogram::default();
        if let Some(bucket) = histogram.0.get(bucket_of(Duration::from_millis(5))) {
            bucket.store(u32::MAX - 1, Ordering::Relaxed); // about to wrap
        }
        histogram.record(Duration::from_secs(1));
        let before = histogram.snapshot();
        for _ in 0..5 {
            histogram.record(Duration::from_millis(5));
        }
        assert_eq!(
            histogram.snapshot().since(&before),
            recorded(&[5_000_000; 5])
        );
    }

    #[test]
    fn threads_lose_no_record() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..10_000).for_each(|n| histogram.record(Duration::from_nanos(n * 1_000)));
                });
            }
        });
        assert_eq!(histogram.snapshot().count(), 40_000);
    }
}
