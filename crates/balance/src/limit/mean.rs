//! Owns a mean of what answers took that says how much of it may be chance.
//!
//! One of fifty that takes 25 times as long makes a mean of a hundred answers half as long again, or a third shorter, without anything having
//! changed. Who compares two of them asks for the error of their quotient first: `spread` is the variance in squares of the mean, `of` so
//! many answers as would have the same error if all counted alike (Kish 1965: one over the sum of the squares of their weights).

use crate::learn::pace::Heard;

/// The spread of exponential times: for what chance makes of those, the tolerance is wide enough.
const EXPONENTIAL: f64 = 1.0;

/// A mean, of answers or of a window of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    pub(crate) mean: f64,
    square: f64,
    of: f64,
}

impl Mean {
    /// Of what was heard; none without an answer.
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
    pub(crate) fn heard(window: Heard) -> Option<Self> {
        Some(Self {
            mean: window.mean()?,
            square: window.square()?,
            of: window.answers as f64,
        })
    }

    /// One of which nothing but its value is known, as if of so many answers.
    pub(crate) fn known(mean: f64, of: f64) -> Self {
        let square = mean * mean * (1.0 + EXPONENTIAL);
        Self { mean, square, of }
    }

    /// With this part of a newer one.
    pub(crate) fn with(self, newer: Self, part: f64) -> Self {
        let (new, old) = (part.clamp(0.0, 1.0), 1.0 - part.clamp(0.0, 1.0));
        Self {
            mean: old * self.mean + new * newer.mean,
            square: old * self.square + new * newer.square,
            of: 1.0 / (old * old / self.of + new * new / newer.of),
        }
    }

    /// The same, so many times as long.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            mean: self.mean * factor,
            square: self.square * factor * factor,
            ..self
        }
    }

    /// Of how many answers it is.
    pub(crate) fn of(self) -> f64 {
        self.of
    }

    /// The variance of one answer, in squares of the mean.
    pub(crate) fn spread(self) -> f64 {
        (self.square / (self.mean * self.mean) - 1.0).max(EXPONENTIAL)
    }

    /// What the standard error of the quotient of the two has beyond that of exponential times, as a part of the quotient, if it is only chance
    /// that they differ.
    pub(crate) fn error(self, other: Self) -> f64 {
        let beyond = self.spread().max(other.spread()) - EXPONENTIAL;
        (beyond / self.of + beyond / other.of).sqrt()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn close(got: f64, expect: f64) {
        assert!(
            (got - expect).abs() < 1e-9 * expect.abs(),
            "{got}, not {expect}"
        );
    }

    fn heard(times: &[f64]) -> Mean {
        let window = Heard {
            answers: times.len() as u64,
            took: times.iter().sum(),
            squares: times.iter().map(|time| time * time).sum(),
            ..Heard::default()
        };
        Mean::heard(window).expect("somebody answered")
    }

    #[test]
    fn the_error_is_that_of_both_means_beyond_exponential_times() {
        let even = heard(&[1.0; 100]);
        assert_eq!(even.error(even), 0.0);
        // One of four that takes nine times as long: a variance of 12 by a mean of 3.
        let long = [1.0, 1.0, 1.0, 9.0].repeat(25);
        let long = heard(&long);
        close(long.spread(), 12.0 / 9.0);
        close(long.error(long), (3.0 / 9.0 * 2.0 / 100.0_f64).sqrt());
        close(long.times(7.0).spread(), long.spread());
    }

    #[test]
    fn a_mean_that_forgets_is_of_as_many_as_it_remembers() {
        let window = heard(&[1.0; 10]);
        let mean = (0..1_000).fold(window, |mean, _| mean.with(window, 0.1));
        // (2 - w) / w windows.
        close(mean.of(), 190.0);
    }
}
