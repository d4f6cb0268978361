//! Owns times of which only a few wide buckets and a sum are known, as counters for scrapers have them: where in its bucket the most lie, the sum says, so that
//! means are right and a step within a bucket is seen; percentiles are as fine as the buckets.

use crate::latencies::{Latencies, nanos};

/// The sum says where the most lie only while what the others may be off, shared among them, is at most this part of their bucket.
const DOUBT: f64 = 0.25;

/// Times of which only their buckets (upper bound in seconds, rising; count) and their sum in seconds are known. `place`: where in their
/// bucket the most of them lay last, 0 to 1, a half at first; so they are taken to lie now where the others leave the sum too uncertain.
/// Cost: buckets.
#[must_use]
pub fn spread(counts: &[(f64, u32)], sum: f64, place: &mut f64) -> Latencies {
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
}
