//! Owns a mean that forgets: an exponentially weighted moving average in one atomic word.
//!
//! Never waits and never retries: an update is one load and one store, and a lost race loses one sample among many.

use std::time::Duration;

use crate::sync::{AtomicU32, Ordering};

/// The word for "no sample yet": not a number. A mean that somehow became one starts over with the next sample, which
/// is why it cannot stick.
const EMPTY: u32 = f32::NAN.to_bits();

/// An exponentially weighted mean of samples in whatever unit the caller uses.
#[derive(Debug)]
pub struct Ewma(AtomicU32);

impl Default for Ewma {
    fn default() -> Self {
        Self(AtomicU32::new(EMPTY))
    }
}

impl Ewma {
    /// A mean that starts at `value` instead of at its first sample; empty when `value` is not finite.
    #[must_use]
    pub fn starting_at(value: f32) -> Self {
        let mean = Self::default();
        mean.set(value);
        mean
    }

    /// The mean; `None` before the first sample.
    #[must_use]
    pub fn value(&self) -> Option<f32> {
        let value = f32::from_bits(self.0.load(Ordering::Relaxed));
        value.is_finite().then_some(value)
    }

    /// Takes in a sample: `mean += weight * (sample - mean)`, the first one as it is.
    ///
    /// `weight` is the share of the new sample, 0..=1 (clamped). A sample that is not finite is left out.
    pub fn observe(&self, sample: f32, weight: f32) {
        if !sample.is_finite() {
            return;
        }
        let weight = weight.clamp(0.0, 1.0);
        let next = self
            .value()
            .map_or(sample, |mean| mean * (1.0 - weight) + sample * weight);
        self.set(next);
    }

    /// Moves the mean toward `rest` as if nothing had been heard for `idle`; see [`decayed`]. An empty mean stays empty.
    pub fn decay(&self, rest: f32, idle: Duration, tau: Duration) {
        if let Some(mean) = self.value() {
            self.set(decayed(mean, rest, idle, tau));
        }
    }

    /// Replaces the mean; empties it when `value` is not finite.
    pub fn set(&self, value: f32) {
        self.0.store(
            if value.is_finite() {
                value.to_bits()
            } else {
                EMPTY
            },
            Ordering::Relaxed,
        );
    }
}

/// `value` after `idle` without samples: the distance to `rest` shrinks by a factor of e per `tau`.
///
/// Two idle times in a row equal their sum, so the caller's tick may be irregular. `tau` of zero rests at once.
#[must_use]
pub fn decayed(value: f32, rest: f32, idle: Duration, tau: Duration) -> f32 {
    if tau.is_zero() {
        return rest;
    }
    let kept = (-idle.as_secs_f32() / tau.as_secs_f32()).exp();
    rest * (1.0 - kept) + value * kept
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn check(samples: &[f32], weight: f32, expect: Option<f32>) {
        let mean = Ewma::default();
        for &sample in samples {
            mean.observe(sample, weight);
        }
        match (mean.value(), expect) {
            (Some(got), Some(want)) => assert!(
                (got - want).abs() <= want.abs() * 1e-5,
                "{samples:?}: {got}, not {want}"
            ),
            (got, want) => assert_eq!(got, want, "{samples:?}"),
        }
    }

    #[test]
    fn observes() {
        check(&[], 0.1, None);
        check(&[4.0], 0.1, Some(4.0)); // the first sample as it is
        check(&[4.0, 8.0], 0.25, Some(5.0));
        check(&[4.0, 8.0], 0.0, Some(4.0));
        check(&[4.0, 8.0], 1.0, Some(8.0));
        check(&[4.0, 8.0], 7.0, Some(8.0)); // clamped
        check(&[0.0, 1.0, 1.0], 0.5, Some(0.75));
    }

    #[test]
    fn poison_does_not_stick() {
        check(&[f32::NAN], 0.1, None);
        check(&[f32::INFINITY], 0.1, None);
        check(
            &[2.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
            0.5,
            Some(2.0),
        );
        check(&[f32::MAX, -f32::MAX], 0.5, Some(0.0)); // no overflow on the way
        check(&[2.0, 3.0], f32::NAN, None); // a broken weight empties
        check(&[2.0, 3.0, 4.0], f32::NAN, Some(4.0)); // and the next sample starts over
    }

    #[test]
    fn poison_already_in_the_word_is_replaced() {
        let mean = Ewma(AtomicU32::new(f32::INFINITY.to_bits()));
        assert_eq!(mean.value(), None);
        mean.decay(1.0, Duration::from_secs(1), Duration::from_secs(1));
        mean.observe(3.0, 0.1);
        assert_eq!(mean.value(), Some(3.0));
    }

    fn check_decay(value: f32, rest: f32, idle_ms: &[u64], tau_ms: u64, expect: f32) {
        let mean = Ewma::starting_at(value);
        for &idle in idle_ms {
            mean.decay(
                rest,
                Duration::from_millis(idle),
                Duration::from_millis(tau_ms),
            );
        }
        let got = mean.value().expect("a mean does not empty by resting");
        assert!(
            (got - expect).abs() < 1e-3,
            "{value} -> {rest} after {idle_ms:?} of {tau_ms}: {got}, not {expect}"
        );
    }

    #[test]
    fn rests() {
        check_decay(8.0, 1.0, &[0], 10_000, 8.0);
        check_decay(8.0, 1.0, &[10_000], 10_000, 1.0 + 7.0 / std::f32::consts::E);
        check_decay(
            8.0,
            1.0,
            &[100; 100],
            10_000,
            1.0 + 7.0 / std::f32::consts::E,
        ); // ticks add up
        check_decay(
            8.0,
            1.0,
            &[7_000, 3_000],
            10_000,
            1.0 + 7.0 / std::f32::consts::E,
        ); // irregular ones too
        check_decay(
            0.25,
            1.0,
            &[10_000],
            10_000,
            1.0 - 0.75 / std::f32::consts::E,
        ); // from below
        check_decay(8.0, 1.0, &[86_400_000], 10_000, 1.0);
        check_decay(8.0, 1.0, &[1], 0, 1.0);
        check_decay(8.0, 1.0, &[0], 0, 1.0);
    }

    #[test]
    fn an_empty_mean_stays_empty() {
        let mean = Ewma::default();
        mean.decay(1.0, Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(mean.value(), None);
    }
}
