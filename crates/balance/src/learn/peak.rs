//! Owns a mean of latency that jumps up and sinks slowly: the peak-sensitive mean of Finagle (`PeakEwma.scala`).
//!
//! Written for services of that policy only. Four bytes, because a backend's two cache lines have no more to give. A load and
//! a store: a lost race loses one sample, as in `speed`.

use crate::sync::{AtomicU32, Ordering};
use crate::time::Instant;

/// Faster answers, and silence, lower it with this time constant; Finagle's and linkerd's.
const SINK_SECONDS: f32 = 10.0;
/// It lies between these: no odd answer takes minutes to sink.
const PEAK: std::ops::RangeInclusive<f32> = LEAST..=256.0;
const LEAST: f32 = 1.0 / 16.0;
/// A mean is kept as so many of the upper bits of a float above [`LEAST`], exact to 1/4096.
const DROPPED: u32 = 11;
/// What its stamp counts, in nanoseconds, as a power of two: 17 ms, in which a mean sinks by several of its smallest steps. It
/// comes round in 18 minutes; the tick writes sooner.
const STAMP: u32 = 24;

/// Mean in the upper half, stamp in the lower.
#[derive(Debug)]
pub(crate) struct Peak(AtomicU32);

impl Default for Peak {
    /// As slow as the mean of its class.
    fn default() -> Self {
        Self(AtomicU32::new(pack(1.0, 0)))
    }
}

impl Peak {
    /// Latency relative to the mean of its class.
    #[inline]
    pub(crate) fn read(&self) -> f32 {
        unpack(self.0.load(Ordering::Relaxed))
    }

    /// A success with `relative` latency (1 = the mean of its class).
    pub(crate) fn observe(&self, relative: f32, now: Instant) {
        let sample = if relative.is_finite() { relative } else { 1.0 };
        self.learn(sample, now);
    }

    /// It took at least so long: a peak where it is one, and else nothing.
    pub(crate) fn outlasted(&self, relative: f32, now: Instant) {
        if relative.is_finite() && relative > self.read() {
            self.start(relative, now);
        }
    }

    /// Nothing was heard since it was last written: it comes nearer to what is usual, from above as from below. An idle backend is tried
    /// again as soon as another, and not sooner: below the rest, it would have all there is until its first answer.
    pub(crate) fn forget(&self, usual: f32, now: Instant) {
        self.towards(usual, now);
    }

    /// Nothing is known: what is usual among those that are heard, whose peaks lie well above the mean.
    pub(crate) fn start(&self, usual: f32, now: Instant) {
        self.0.store(pack(usual, stamp(now)), Ordering::Relaxed);
    }

    fn learn(&self, sample: f32, now: Instant) {
        if sample > self.read() {
            self.start(sample, now);
        } else {
            self.towards(sample, now);
        }
    }

    fn towards(&self, sample: f32, now: Instant) {
        let word = self.0.load(Ordering::Relaxed);
        let (was, then, stamp) = (unpack(word), low(word), stamp(now));
        let passed = stamp.wrapping_sub(then);
        let next = if passed == 0 || passed > u16::MAX / 2 {
            // Nothing to sink by, or time went back: the stamp stays, or moves along.
            word & !u32::from(u16::MAX) | u32::from(stamp)
        } else {
            let passed = f32::from(passed) * (1_u32 << STAMP) as f32 * 1e-9;
            let kept = (-passed / SINK_SECONDS).exp();
            pack(sample + (was - sample) * kept, stamp)
        };
        self.0.store(next, Ordering::Relaxed);
    }
}

fn pack(mean: f32, stamp: u16) -> u32 {
    let mean = mean.clamp(*PEAK.start(), *PEAK.end());
    ((mean.to_bits() - LEAST.to_bits()) >> DROPPED) << 16 | u32::from(stamp)
}

#[inline]
const fn unpack(word: u32) -> f32 {
    f32::from_bits(((word >> 16) << DROPPED) + LEAST.to_bits())
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half of a word")]
const fn low(word: u32) -> u16 {
    word as u16
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "it comes round; only differences count"
)]
const fn stamp(now: Instant) -> u16 {
    (now.as_nanos() >> STAMP) as u16
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What it is after these: seconds since the start, and a sample or silence.
    fn check(story: &[(f64, Option<f32>)], expect: f32) {
        const USUAL: f32 = 2.0;
        let peak = Peak::default();
        for &(seconds, sample) in story {
            let now = Instant::ZERO + Duration::from_secs_f64(seconds);
            match sample {
                Some(relative) => peak.observe(relative, now),
                None => peak.forget(USUAL, now),
            }
        }
        let got = peak.read();
        assert!(
            (got - expect).abs() <= expect * 5e-3,
            "{story:?}: {got}, not {expect}"
        );
    }

    #[test]
    fn it_jumps_up_and_sinks_slowly() {
        let e = std::f32::consts::E;
        check(&[], 1.0);
        check(&[(0.1, Some(8.0))], 8.0); // at once
        check(&[(0.0, Some(8.0)), (10.0, Some(1.0))], 1.0 + 7.0 / e);
        check(
            &[(0.0, Some(8.0)), (5.0, Some(1.0)), (10.0, Some(1.0))],
            1.0 + 7.0 / e,
        );
        check(&[(0.0, Some(8.0)), (10.0, None)], 2.0 + 6.0 / e);
        check(&[(0.0, Some(8.0)), (200.0, None)], 2.0); // to what is usual
        check(&[(10.0, None)], 2.0 - 1.0 / e); // from below as well
        check(&[(200.0, Some(0.0)), (400.0, None)], 2.0);
        check(&[(200.0, Some(0.0))], 1.0 / 16.0); // and no further
        check(&[(0.0, Some(1e9))], 256.0);
        check(&[(0.0, Some(f32::NAN))], 1.0);
        check(&[(0.0, Some(-1.0)), (200.0, Some(-1.0))], 1.0 / 16.0);
        // Its stamp comes round after 18 minutes.
        check(&[(1095.0, Some(8.0)), (1105.0, Some(1.0))], 1.0 + 7.0 / e);
        // Time that went back keeps all.
        check(&[(10.0, Some(8.0)), (9.0, Some(1.0))], 8.0);
    }

    /// However many answers a stamp has, but for what is rounded down at each step.
    #[test]
    fn it_sinks_with_time_alone() {
        for every in [1, 10, 100] {
            let peak = Peak::default();
            peak.observe(8.0, Instant::ZERO);
            for at in 1..=10_000 / every {
                peak.observe(1.0, Instant::from_nanos(at * every * 1_000_000));
            }
            let (got, expect) = (peak.read(), 1.0 + 7.0 / std::f32::consts::E);
            assert!(
                (got - expect).abs() < 0.06 * expect,
                "{every} ms: {got}, not {expect}"
            );
        }
    }
}
