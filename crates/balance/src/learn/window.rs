//! Owns counts over the last seconds, made from totals that only grow.
//!
//! A request only adds to its totals; the tick tells the window what they have become. A count is dated by the tick that
//! saw it, so it is at most one tick young. Bucket borders are multiples of the bucket's width since the owner's start: a
//! late, early or missed tick shifts nothing.

use std::time::Duration;

use crate::time::Instant;

/// Numbers of finished attempts: totals since the start, or the part of them in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts that succeeded, to their last byte.
    pub succeeded: u64,
    /// Attempts that failed, or broke.
    pub failed: u64,
    /// Those that succeeded, but took longer to their head than the settings allow.
    pub slow: u64,
}

impl Tally {
    /// Attempts with a verdict.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }

    /// Share of attempts that succeeded, 0..=1; `None` without attempts.
    #[must_use]
    pub fn success_ratio(&self) -> Option<f64> {
        ratio(self.succeeded, self.total())
    }

    /// Share of attempts that failed, 0..=1; `None` without attempts.
    #[must_use]
    pub fn failure_ratio(&self) -> Option<f64> {
        ratio(self.failed, self.total())
    }

    /// Share of attempts that were slow, 0..=1; `None` without attempts.
    #[must_use]
    pub fn slow_ratio(&self) -> Option<f64> {
        ratio(self.slow, self.total())
    }
}
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64).min(1.0))
}

/// The counts of the last `span`, in `B` buckets of equal width, and their sum. 12 bytes per bucket; owned by the tick.
///
/// Holds between `B - 1` and `B` bucket widths: the bucket being filled, and those before it.
#[derive(Clone, Debug)]
pub struct Window<const B: usize = 10> {
    width: u64,
    buckets: [Bucket; B],
    /// What all buckets hold: asked for at each tick, of each member.
    held: Tally,
    /// Which multiple of `width` is being filled; `current % B` is its place.
    current: u64,
    began: Instant,
    rolled: Instant,
    totals: Tally,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    succeeded: u32,
    failed: u32,
    slow: u32,
}

impl<const B: usize> Window<B> {
    /// An empty window over `span` (at least `B` nanoseconds) that starts counting at `totals`.
    #[must_use]
    pub fn new(span: Duration, now: Instant, totals: Tally) -> Self {
        const { assert!(B >= 2, "one bucket would forget everything at its border") };
        let width = (nanos(span) / B as u64).max(1);
        Self {
            width,
            buckets: [Bucket::default(); B],
            held: Tally::default(),
            current: now.as_nanos() / width,
            began: now,
            rolled: now,
            totals,
        }
    }

    /// Takes in what happened since the last call, dated `now`. O(buckets passed), at most O(B).
    ///
    /// Time that stands still or goes back dates to the bucket being filled. A total that went back is a new baseline.
    pub fn roll(&mut self, now: Instant, totals: Tally) {
        self.turn_to(now);
        let place = self.place(self.current);
        if let Some(bucket) = self.buckets.get_mut(place) {
            let (held, before) = (&mut self.held, &self.totals);
            add(
                &mut bucket.succeeded,
                &mut held.succeeded,
                totals.succeeded,
                before.succeeded,
            );
            add(
                &mut bucket.failed,
                &mut held.failed,
                totals.failed,
                before.failed,
            );
            add(&mut bucket.slow, &mut held.slow, totals.slow, before.slow);
        }
        self.totals = totals;
    }

    /// Forgets everything and starts counting at `totals`.
    pub fn restart(&mut self, now: Instant, totals: Tally) {
        self.turn_to(now);
        self.buckets = [Bucket::default(); B];
        self.held = Tally::default();
        self.began = self.rolled;
        self.totals = totals;
    }

    /// What the window holds as of the last `roll`. O(1).
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.held
    }

    /// Whether it holds nothing and covers all it can: later ticks without news find the same.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let began = self.began.as_nanos() / self.width;
        let old = self.current.saturating_sub(began) > B as u64;
        old && self.tally() == Tally::default()
    }

    /// The time that `tally` speaks about: less than the span while the window is young.
    #[must_use]
    pub fn covered(&self) -> Duration {
        let oldest = self
            .current
            .saturating_sub(B as u64 - 1)
            .saturating_mul(self.width);
        self.rolled
            .since(self.began.max(Instant::from_nanos(oldest)))
    }

    /// Attempts per second over the time covered; 0 when that is none.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        let covered = self.covered();
        if covered.is_zero() {
            0.0
        } else {
            self.tally().total() as f64 / covered.as_secs_f64()
        }
    }

    /// Empties the buckets between the one being filled and that of `now`.
    fn turn_to(&mut self, now: Instant) {
        self.rolled = self.rolled.max(now);
        // Nine of ten ticks stay in their bucket: a product is a fraction of a division.
        if now.as_nanos() < self.current.saturating_add(1).saturating_mul(self.width) {
            return;
        }
        let next = (now.as_nanos() / self.width).max(self.current);
        let passed = (next - self.current).min(B as u64);
        for step in 0..passed {
            let place = self.place(next - step);
            if let Some(bucket) = self.buckets.get_mut(place) {
                let left = std::mem::take(bucket);
                self.held.succeeded -= u64::from(left.succeeded);
                self.held.failed -= u64::from(left.failed);
                self.held.slow -= u64::from(left.slow);
            }
        }
        self.current = next;
    }

    #[expect(clippy::cast_possible_truncation, reason = "below B, which is a usize")]
    fn place(&self, number: u64) -> usize {
        (number % B as u64) as usize
    }
}

/// A bucket holds 4 294 967 295 of each and stays there. What it takes in, the sum does.
fn add(count: &mut u32, held: &mut u64, now: u64, before: u64) {
    let more = u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
    let next = count.saturating_add(more);
    *held += u64::from(next - *count);
    *count = next;
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    const fn tally(succeeded: u64, failed: u64, slow: u64) -> Tally {
        Tally {
            succeeded,
            failed,
            slow,
        }
    }

    /// A window of ten seconds in ten buckets, begun at `start` with nothing; `rolls` are (ms, totals).
    fn check(start: u64, rolls: &[(u64, Tally)], expect: Tally, per_second: f64) {
        let mut window = Window::<10>::new(Duration::from_secs(10), ms(start), Tally::default());
        for &(at, totals) in rolls {
            window.roll(ms(at), totals);
        }
        assert_eq!(window.tally(), expect, "after {rolls:?}");
        let got = window.per_second();
        assert!(
            (got - per_second).abs() < 1e-9,
            "{got}/s, not {per_second}/s, after {rolls:?}"
        );
    }

    #[test]
    fn counts_over_the_window() {
        check(0, &[], tally(0, 0, 0), 0.0);
        check(0, &[(0, tally(3, 1, 2))], tally(3, 1, 2), 0.0); // no time has passed: no rate
        check(0, &[(500, tally(3, 1, 2))], tally(3, 1, 2), 8.0); // young: rate over the age
        check(
            0,
            &[(500, tally(3, 0, 0)), (500, tally(4, 1, 1))],
            tally(4, 1, 1),
            10.0,
        );
        check(
            0,
            &[(500, tally(5, 0, 0)), (9_999, tally(5, 0, 0))],
            tally(5, 0, 0),
            5.0 / 9.999,
        ); // did not move
        check(
            0,
            &[(500, tally(5, 0, 0)), (10_000, tally(5, 0, 0))],
            tally(0, 0, 0),
            0.0,
        ); // out of the window
        check(
            0,
            &[
                (999, tally(5, 0, 0)),
                (1_000, tally(7, 0, 0)),
                (10_000, tally(7, 0, 0)),
            ],
            tally(2, 0, 0),
            2.0 / 9.0,
        );
    }

    #[test]
    fn irregular_ticks() {
        // A gap shorter than the window keeps what is young enough.
        check(
            0,
            &[
                (100, tally(5, 0, 0)),
                (7_300, tally(9, 0, 0)),
                (12_100, tally(10, 0, 0)),
            ],
            tally(5, 0, 0),
            5.0 / 9.1,
        );
        // A gap as long as the window, and one much longer, keep only what the tick after them brings.
        check(
            0,
            &[(100, tally(5, 0, 0)), (10_100, tally(6, 1, 0))],
            tally(1, 1, 0),
            2.0 / 9.1,
        );
        check(
            0,
            &[(100, tally(5, 0, 0)), (86_400_000, tally(6, 0, 0))],
            tally(1, 0, 0),
            1.0 / 9.0,
        );
        // Time that goes back and totals that go back teach nothing and break nothing.
        check(
            0,
            &[(5_000, tally(5, 0, 0)), (1_000, tally(6, 0, 0))],
            tally(6, 0, 0),
            6.0 / 5.0,
        );
        check(
            0,
            &[
                (5_000, tally(5, 0, 0)),
                (6_000, tally(1, 0, 0)),
                (7_000, tally(2, 0, 0)),
            ],
            tally(6, 0, 0),
            6.0 / 7.0,
        );
        // Borders are the clock's, not the ticks': begun at 900 ms, the first bucket ends at 1 s and leaves at 10 s.
        check(
            900,
            &[(950, tally(5, 0, 0)), (9_999, tally(6, 0, 0))],
            tally(6, 0, 0),
            6.0 / 9.099,
        );
        check(
            900,
            &[(950, tally(5, 0, 0)), (10_000, tally(6, 0, 0))],
            tally(1, 0, 0),
            1.0 / 9.0,
        );
    }

    #[test]
    fn a_bucket_saturates() {
        let full = u64::from(u32::MAX);
        check(
            0,
            &[(1_000, tally(1 << 40, 0, 0))],
            tally(full, 0, 0),
            f64::from(u32::MAX),
        );
        check(
            0,
            &[(500, tally(full, 0, 0)), (500, tally(full + 9, 0, 0))],
            tally(full, 0, 0),
            f64::from(u32::MAX) * 2.0,
        );
    }

    /// A hundred thousand ticks of 137 ms at a steady rate: the rate in the window never strays, so nothing drifts.
    #[test]
    fn no_drift() {
        let mut window = Window::<10>::new(Duration::from_secs(10), ms(0), Tally::default());
        for tick in 1..100_000_u64 {
            window.roll(ms(tick * 137), tally(tick * 137, 0, 0));
            let rate = window.per_second();
            assert!((rate - 1_000.0).abs() <= 16.0, "{rate}/s at tick {tick}");
        }
    }

    #[test]
    fn restarts() {
        let mut window = Window::<10>::new(Duration::from_secs(10), ms(0), Tally::default());
        window.roll(ms(2_000), tally(5, 5, 0));
        window.restart(ms(3_000), tally(6, 9, 0));
        assert_eq!(
            (window.tally(), window.covered()),
            (Tally::default(), Duration::ZERO)
        );
        window.roll(ms(5_000), tally(8, 10, 1));
        assert_eq!(
            (window.tally(), window.covered()),
            (tally(2, 1, 1), Duration::from_secs(2))
        );
    }

    #[test]
    fn ratios() {
        let check =
            |tally: Tally, expect| assert_eq!((tally.success_ratio(), tally.slow_ratio()), expect);
        check(tally(0, 0, 0), (None, None));
        check(tally(3, 1, 2), (Some(0.75), Some(0.5)));
        check(tally(0, 4, 0), (Some(0.0), Some(0.0)));
        check(tally(4, 0, 9), (Some(1.0), Some(1.0))); // read between two counters: never above 1
    }

    #[test]
    fn stays_small() {
        assert!(size_of::<Window>() <= 208, "{} bytes", size_of::<Window>());
    }
}
