//! Owns distributions of times: fixed bounds, a row for each who counts, added up when somebody looks.
//!
//! Fixed, because rows of several workers, and of several instances, add up only so. Bounds are whole nanoseconds: to compare
//! two numbers costs an exchange less than to make a fraction of a second first.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use super::Count;

/// A microsecond.
pub(super) const MICRO: u64 = 1_000;
/// A millisecond.
pub(super) const MILLI: u64 = 1_000 * MICRO;
/// A second.
pub(super) const SECOND: u64 = 1_000 * MILLI;

/// Upper bounds of the buckets for what exchanges take, and parts of them, in nanoseconds; above the last is one more.
pub const LATENCY_BOUNDS: [u64; 17] = [
    100 * MICRO,
    250 * MICRO,
    500 * MICRO,
    MILLI,
    2_500 * MICRO,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    100 * MILLI,
    250 * MILLI,
    500 * MILLI,
    SECOND,
    2_500 * MILLI,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
];

/// Upper bounds of the buckets for how long tunnels and flows were open, in nanoseconds; above the last is one more.
pub const PASSED_BOUNDS: [u64; 8] = [
    SECOND,
    10 * SECOND,
    60 * SECOND,
    300 * SECOND,
    1_800 * SECOND,
    3_600 * SECOND,
    21_600 * SECOND,
    86_400 * SECOND,
];

/// How many times lay within each of `N` bounds, and above all of them. One thread counts, any may look.
#[derive(Debug)]
pub struct Durations<const N: usize> {
    /// In nanoseconds, as far as they fit. First, so that it mostly shares a line of memory with the count that is raised beside it.
    sum: Count,
    within: [Count; N],
    above: Count,
    /// Twice as often as the sum did not fit; odd while it is being written. 584 years fit, which are three weeks of 10,000 tunnels.
    wraps: AtomicU64,
}

/// Times of several rows together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Bound in seconds and count, not cumulative; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// Sum of all of them.
    pub sum: Duration,
}

impl<const N: usize> Default for Durations<N> {
    fn default() -> Self {
        Self {
            sum: Count::new(),
            within: [const { Count::new() }; N],
            above: Count::new(),
            wraps: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Durations<N> {
    /// Takes one in. `bounds`: in nanoseconds, rising, for one row always the same.
    #[inline]
    pub fn observe(&self, bounds: &[u64; N], took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = bounds.partition_point(|&bound| bound < nanos);
        self.within.get(at).unwrap_or(&self.above).add(1);
        let (sum, wraps) = self.sum.get().overflowing_add(nanos);
        if wraps {
            return self.wrap(sum);
        }
        self.sum.0.store(sum, Ordering::Relaxed);
    }

    /// The sum begins anew with the rest.
    #[cold]
    fn wrap(&self, rest: u64) {
        let before = self.wraps.load(Ordering::Relaxed);
        self.wraps.store(before + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.sum.0.store(rest, Ordering::Relaxed);
        self.wraps.store(before + 2, Ordering::Release);
    }

    /// All times together, in nanoseconds. Who looks while the sum wraps looks again: both parts are of before, or of behind.
    fn sum(&self) -> u128 {
        loop {
            let wraps = self.wraps.load(Ordering::Acquire);
            let rest = self.sum.get();
            fence(Ordering::Acquire);
            if wraps.is_multiple_of(2) && self.wraps.load(Ordering::Relaxed) == wraps {
                return u128::from(wraps / 2) << 64 | u128::from(rest);
            }
            std::hint::spin_loop();
        }
    }

    /// How many were taken in.
    #[must_use]
    pub fn count(&self) -> u64 {
        let within: u64 = self.within.iter().map(Count::get).sum();
        within + self.above.get()
    }

    /// The times of several rows that were counted by these bounds.
    pub fn together<'d>(bounds: &[u64; N], rows: impl Iterator<Item = &'d Self>) -> Distribution {
        let (mut counts, mut above, mut sum) = ([0; N], 0, 0_u128);
        for row in rows {
            for (all, one) in counts.iter_mut().zip(&row.within) {
                *all += one.get();
            }
            above += row.above.get();
            sum = sum.saturating_add(row.sum());
        }
        let seconds = bounds
            .iter()
            .map(|&nanos| Duration::from_nanos(nanos).as_secs_f64());
        let buckets = seconds.zip(counts).chain([(f64::INFINITY, above)]);
        Distribution {
            buckets: buckets.collect(),
            sum: whole(sum),
        }
    }
}

/// A time of so many nanoseconds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what is left of a second is less than 2^32"
)]
fn whole(nanos: u128) -> Duration {
    let second = u128::from(SECOND);
    let seconds = u64::try_from(nanos / second).unwrap_or(u64::MAX);
    Duration::new(seconds, (nanos % second) as u32)
}

impl Distribution {
    /// How many they are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_within_the_first_bound_that_is_not_below_it() {
        let bounds = [10, 20, 30];
        let (one, other) = (Durations::default(), Durations::default());
        for (nanos, row) in [
            (0, &one),
            (10, &other),
            (11, &one),
            (30, &one),
            (31, &other),
        ] {
            row.observe(&bounds, Duration::from_nanos(nanos));
        }
        let all = Durations::together(&bounds, [&one, &other].into_iter());
        let counts: Vec<_> = all.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 1, 1]);
        assert_eq!((one.count(), other.count()), (3, 2));
        assert_eq!((all.count(), all.sum), (5, Duration::from_nanos(82)));
        assert_eq!(all.buckets[0].0.to_string(), "0.00000001");
        assert!(all.buckets[3].0.is_infinite());
    }

    /// A row counts on where 64 bits of nanoseconds end, as many tunnels soon have together; so do several rows.
    #[test]
    fn sums_of_more_than_584_years_are_whole() {
        let (one, other) = (Durations::<1>::default(), Durations::<1>::default());
        let most = Duration::from_nanos(u64::MAX);
        let sum = |rows: &[&Durations<1>]| Durations::together(&[1], rows.iter().copied()).sum;
        for times in 1..=4 {
            one.observe(&[1], most);
            assert_eq!(sum(&[&one]), most * times);
        }
        one.observe(&[1], Duration::from_nanos(5));
        assert_eq!(sum(&[&one]), most * 4 + Duration::from_nanos(5));
        // One alone that takes longer counts as that.
        other.observe(&[1], Duration::MAX);
        assert_eq!(sum(&[&one, &other]), most * 5 + Duration::from_nanos(5));
        assert_eq!((one.count(), other.count()), (5, 1));
    }

    /// Who reads while another thread counts over the end never sees less than before, nor a jump.
    #[test]
    fn a_sum_never_falls_while_it_is_read() {
        let row = Durations::<1>::default();
        let each = Duration::from_nanos(u64::MAX / 2);
        let rounds = 100_000;
        std::thread::scope(|scope| {
            let counting = scope.spawn(|| {
                for _ in 0..rounds {
                    row.observe(&[1], each);
                }
            });
            let mut last = 0;
            while !counting.is_finished() {
                let sum = row.sum();
                assert!(sum >= last && sum % each.as_nanos() == 0, "{last} {sum}");
                last = sum;
            }
        });
        assert_eq!(row.sum(), each.as_nanos() * rounds);
    }

    /// What a query names is as people write it.
    #[test]
    fn bounds_rise_and_read_as_people_write_them() {
        let words = |bounds: &[u64]| -> Vec<String> {
            assert!(bounds.is_sorted_by(|one, next| one < next), "{bounds:?}");
            let seconds = bounds.iter().map(|&nanos| Duration::from_nanos(nanos));
            seconds.map(|one| one.as_secs_f64().to_string()).collect()
        };
        let latency = words(&LATENCY_BOUNDS);
        assert_eq!(latency[..4], ["0.0001", "0.00025", "0.0005", "0.001"]);
        assert_eq!(latency[12..], ["1", "2.5", "5", "10", "30"]);
        assert_eq!(words(&PASSED_BOUNDS)[6..], ["21600", "86400"]);
    }
}
