//! Owns distributions of times: fixed bounds, a row for each who counts, added up when somebody looks.
//!
//! Fixed, because rows of several workers, and of several instances, add up only so. Bounds are whole nanoseconds: to compare
//! two numbers costs an exchange less than to make a fraction of a second first.

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
    /// In nanoseconds. First, so that it mostly shares a line of memory with the count that is raised beside it.
    sum: Count,
    within: [Count; N],
    above: Count,
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
        self.sum.add(nanos);
    }

    /// How many were taken in.
    #[must_use]
    pub fn count(&self) -> u64 {
        let within: u64 = self.within.iter().map(Count::get).sum();
        within + self.above.get()
    }

    /// The times of several rows that were counted by these bounds.
    pub fn together<'d>(bounds: &[u64; N], rows: impl Iterator<Item = &'d Self>) -> Distribution {
        let (mut counts, mut above, mut sum) = ([0; N], 0, 0_u64);
        for row in rows {
            for (all, one) in counts.iter_mut().zip(&row.within) {
                *all += one.get();
            }
            above += row.above.get();
            sum = sum.saturating_add(row.sum.get());
        }
        let seconds = bounds
            .iter()
            .map(|&nanos| Duration::from_nanos(nanos).as_secs_f64());
        let buckets = seconds.zip(counts).chain([(f64::INFINITY, above)]);
        Distribution {
            buckets: buckets.collect(),
            sum: Duration::from_nanos(sum),
        }
    }
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

    #[test]
    fn what_takes_for_ever_is_counted_and_its_sum_stays() {
        let row = Durations::<1>::default();
        row.observe(&[1], Duration::MAX);
        let all = Durations::together(&[1], [&row, &row].into_iter());
        assert_eq!((all.count(), all.sum), (2, Duration::from_nanos(u64::MAX)));
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
