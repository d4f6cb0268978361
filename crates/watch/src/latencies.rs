//! Owns a distribution of few buckets: four an octave from 65 us to 69 s, 80 in all.
//!
//! Not the core's histogram, whose 1024 counters are 4 KiB: here are dozens for each backend. A quantile is within its bucket, a
//! quarter wide, and is taken as far into it as its rank is: 3 % off in the mean, never more than 25 %. The mean is exact.

use crate::bytes::{Reader, Unreadable, Writer};
use crate::number::{float, whole};

/// 2^16 ns, 65 us: the least that is told apart.
const LEAST_EXPONENT: u32 = 16;
/// Up to 2^36 ns, 69 s.
const OCTAVES: u32 = 20;
const QUARTERS: u32 = 4;
/// How many buckets there are.
pub const BUCKETS: usize = (OCTAVES * QUARTERS) as usize;
/// No sum of seconds that is read from outside is larger: 2^64 answers of 69 s would be.
const MOST_SECONDS: f64 = 1e21;

/// Latencies, as counts. 336 bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    counts: [u32; BUCKETS],
    seconds: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            seconds: 0.0,
        }
    }
}

/// Mean and variance of the logarithm of latencies: what tails do not move much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logarithms {
    /// Latencies counted.
    pub count: f64,
    /// The mean of their natural logarithm, of seconds.
    pub mean: f64,
    /// Its variance among them.
    pub variance: f64,
}

impl Latencies {
    /// Counts `count` answers of about `nanos` nanoseconds.
    pub fn add(&mut self, nanos: u64, count: u32) {
        if let Some(bucket) = self.counts.get_mut(bucket_of(nanos)) {
            *bucket = bucket.saturating_add(count);
        }
        self.seconds += float(nanos) / 1e9 * f64::from(count);
    }

    /// Adds another; the same as if both had been counted together.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.seconds += other.seconds;
    }

    /// Latencies counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// Their mean, in seconds.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.seconds / float(count))
    }

    /// The latency, in seconds, that a share `q` (0 to 1) of them does not exceed. Cost: 80.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q.clamp(0.0, 1.0) * float(self.count());
        let mut below = 0.0;
        for (bucket, count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let within = f64::from(*count);
            if below + within >= rank {
                let part = ((rank - below) / within).clamp(0.0, 1.0);
                return Some(lower(bucket) + part * (lower(bucket + 1) - lower(bucket)));
            }
            below += within;
        }
        None
    }

    /// How many were longer than `seconds`; of the bucket that holds it, a part.
    #[must_use]
    pub fn above(&self, seconds: f64) -> f64 {
        let part = |bucket: usize| {
            let (from, to) = (lower(bucket), lower(bucket + 1));
            ((to - seconds) / (to - from)).clamp(0.0, 1.0)
        };
        self.counts
            .iter()
            .enumerate()
            .map(|(bucket, count)| part(bucket) * f64::from(*count))
            .sum()
    }

    /// Mean and variance of their logarithm; none of none. Cost: 80.
    #[must_use]
    pub fn logarithms(&self) -> Option<Logarithms> {
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for (bucket, &within) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let (middle, within) = (
                f64::midpoint(lower(bucket), lower(bucket + 1)).ln(),
                f64::from(within),
            );
            count += within;
            sum += within * middle;
            squares += within * middle * middle;
        }
        if count == 0.0 {
            return None;
        }
        let mean = sum / count;
        // What bucket they fell in is all that is known: at least the variance of a bucket.
        let variance = (squares / count - mean * mean).max(0.004);
        Some(Logarithms {
            count,
            mean,
            variance,
        })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.number(self.seconds);
        let held = self.counts.iter().filter(|count| **count > 0).count();
        to.size(held);
        for (bucket, count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            to.size(bucket);
            to.count(u64::from(*count));
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let mut all = Self {
            seconds: from.number(0.0, MOST_SECONDS, "a sum of latencies")?,
            ..Self::default()
        };
        for _ in 0..from.size(BUCKETS, "buckets")? {
            let bucket = from.size(BUCKETS - 1, "buckets")?;
            let count = from.up_to(u64::from(u32::MAX), "a count of latencies")?;
            all.counts[bucket] = u32::try_from(count).unwrap_or(u32::MAX);
        }
        Ok(all)
    }
}

/// The same at rest, in half the bytes: counts of 16 bits that share an exponent. Whoever has less than 1/131072 of the fullest
/// bucket is lost, which no figure shows. 176 bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Packed {
    seconds: f64,
    counts: Counts,
    shift: u8,
}

#[derive(Clone, Debug, PartialEq)]
struct Counts([u16; BUCKETS]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Packed {
    pub(crate) fn new(all: &Latencies) -> Self {
        let fullest = all.counts.iter().max().copied().unwrap_or(0);
        // The half that rounding adds must not carry into a 17th bit.
        let shift = (0..16)
            .find(|shift| (u64::from(fullest) + (1 << shift >> 1)) >> shift <= u64::from(u16::MAX))
            .unwrap_or(16);
        let pack = |count: u32| {
            let rounded = (u64::from(count) + (1 << shift >> 1)) >> shift;
            u16::try_from(rounded).unwrap_or(u16::MAX)
        };
        Self {
            seconds: all.seconds,
            counts: Counts(all.counts.map(pack)),
            shift,
        }
    }

    pub(crate) fn unpack(&self) -> Latencies {
        let unpack = |count: u16| u32::try_from(u64::from(count) << self.shift).unwrap_or(u32::MAX);
        Latencies {
            counts: self.counts.0.map(unpack),
            seconds: self.seconds,
        }
    }

    /// Adds what is packed to what is not, without a copy between.
    pub(crate) fn add_to(&self, all: &mut Latencies) {
        for (mine, theirs) in all.counts.iter_mut().zip(&self.counts.0) {
            let theirs = u64::from(*theirs) << self.shift;
            *mine = mine.saturating_add(u32::try_from(theirs).unwrap_or(u32::MAX));
        }
        all.seconds += self.seconds;
    }
}

fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.clamp(1 << LEAST_EXPONENT, (1 << (LEAST_EXPONENT + OCTAVES)) - 1);
    let exponent = nanos.ilog2();
    let quarter = (nanos >> (exponent - 2)) & 3;
    ((exponent - LEAST_EXPONENT) * QUARTERS) as usize + usize::try_from(quarter).unwrap_or(0)
}

/// The least latency of a bucket, in seconds; of the one behind the last, the end.
fn lower(bucket: usize) -> f64 {
    let (octave, quarter) = (bucket / QUARTERS as usize, bucket % QUARTERS as usize);
    let least = 1_u64 << (LEAST_EXPONENT as usize + octave);
    float(least + (least >> 2) * quarter as u64) / 1e9
}

/// Nanoseconds of seconds that are a latency.
#[must_use]
pub fn nanos(seconds: f64) -> u64 {
    whole(seconds * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        for micros in all {
            latencies.add(micros * 1000, 1);
        }
        latencies
    }

    #[test]
    fn quantiles_are_near_and_the_mean_is_exact() {
        let (mut off, mut looks) = (0.0, 0.0);
        for scale in [1, 7, 13, 30, 130, 900] {
            let all = of((1..=2000).map(|at| at * scale * 10));
            for q in [0.1, 0.25, 0.5, 0.75, 0.9, 0.95] {
                let exact = q * 2000.0 * float(scale) * 1e-5;
                let part = (all.quantile(q).unwrap() / exact - 1.0).abs();
                assert!(part < 0.25, "scale {scale} q {q}: {part} off");
                (off, looks) = (off + part, looks + 1.0);
            }
            assert!((all.mean().unwrap() / (1000.5 * float(scale) * 1e-5) - 1.0).abs() < 1e-9);
        }
        assert!(off / looks < 0.03, "{} off in the mean", off / looks);
    }

    #[test]
    fn of_nothing_nothing_is_said() {
        let none = Latencies::default();
        assert_eq!(
            (none.mean(), none.quantile(0.5), none.logarithms()),
            (None, None, None)
        );
        assert_eq!(none.above(0.0), 0.0);
    }

    #[test]
    fn what_is_out_of_range_counts_at_its_end() {
        let mut all = Latencies::default();
        all.add(0, 1);
        all.add(u64::MAX, 1);
        assert_eq!(
            (all.counts[0], all.counts[BUCKETS - 1], all.count()),
            (1, 1, 2)
        );
    }

    #[test]
    fn merged_is_as_if_counted_together() {
        let (mut left, right) = (of(1..500), of(400..9000));
        left.merge(&right);
        let together = of((1..500).chain(400..9000));
        assert_eq!(left.counts, together.counts);
        assert!((left.seconds - together.seconds).abs() < 1e-9);
    }

    #[test]
    fn above_splits_the_bucket_that_holds_the_bound() {
        let all = of((0..1000).map(|at| 1000 + at));
        for micros in [1100, 1250, 1600, 1999] {
            let exact = float(2000 - micros);
            let found = all.above(float(micros) / 1e6);
            assert!(
                (found - exact).abs() < 65.0,
                "{micros}: {found} for {exact}"
            );
        }
    }

    #[test]
    fn packed_counts_are_within_a_rounding_of_the_fullest() {
        for fullest in [1, 65_535, 65_536, 131_071, 4_000_000_000, u32::MAX] {
            let mut all = Latencies::default();
            all.add(1_000_000, fullest);
            all.add(50_000_000, fullest / 100);
            let back = Packed::new(&all).unpack();
            for (was, is) in all.counts.iter().zip(&back.counts) {
                assert!(
                    was.abs_diff(*is) <= fullest / 65_536 + 1,
                    "{was} became {is}"
                );
            }
            assert_eq!(back.seconds.to_bits(), all.seconds.to_bits());
        }
    }

    #[test]
    fn logarithms_are_those_of_the_latencies() {
        let found = of([1000; 50].into_iter().chain([4000; 50]))
            .logarithms()
            .unwrap();
        assert!((found.mean - 2e-3_f64.ln()).abs() < 0.15, "{found:?}");
        assert!((found.variance - 0.48).abs() < 0.05, "{found:?}");
    }
}
