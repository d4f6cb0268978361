//! Owns what answers tell of one backend's pace between two ticks, for its adaptive limit: how long they took beside what their class
//! took when it became known, how many attempts were lost, and how many were in flight.
//!
//! Written for services with such a limit only, and apart from a backend's two cache lines: others neither write nor read it.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Sums are kept in so many parts of one.
const PARTS: f32 = 1024.0;
/// No answer counts as more than so many times its class: sums stay far from their end, those of squares for 180 million answers.
const LONGEST: f32 = 1e6;
const LONGEST_SQUARED: f32 = 1e8;

#[derive(Debug, Default)]
pub(crate) struct Pace {
    answers: AtomicU64,
    /// The sum of their relative latencies, in parts.
    took: AtomicU64,
    /// The sum of their squares, in parts.
    squares: AtomicU64,
    lost: AtomicU32,
    most: AtomicU32,
}

/// What was heard since the last time that somebody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// Good answers.
    pub(crate) answers: u64,
    /// The sum of what they took, each relative to its class.
    pub(crate) took: f64,
    /// The sum of the squares of these.
    pub(crate) squares: f64,
    /// Attempts that timed out, or whose backend said that it has too many.
    pub(crate) lost: u64,
    /// The most in flight when an answer came.
    pub(crate) most: u32,
}

impl Pace {
    /// A good answer, which took so many times what its class did.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped; what is no number is 0"
    )]
    pub(crate) fn answered(&self, relative: f32, in_flight: u32) {
        let parts = (relative.clamp(0.0, LONGEST) * PARTS) as u64;
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.took.fetch_add(parts, Ordering::Relaxed);
        let square = (relative * relative).clamp(0.0, LONGEST_SQUARED);
        let parts = (square * PARTS) as u64;
        self.squares.fetch_add(parts, Ordering::Relaxed);
        self.seen(in_flight);
    }

    /// An attempt was lost to there being too many.
    pub(crate) fn lost(&self, in_flight: u32) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.seen(in_flight);
    }

    fn seen(&self, in_flight: u32) {
        // A look first: most answers come at no new height, and need not write.
        if self.most.load(Ordering::Relaxed) < in_flight {
            self.most.fetch_max(in_flight, Ordering::Relaxed);
        }
    }

    /// What was heard since the last call. The tick's alone. An answer that comes meanwhile may be counted now and summed the next time.
    #[expect(clippy::cast_precision_loss, reason = "sums of a tenth of a second")]
    pub(crate) fn take(&self) -> Heard {
        Heard {
            answers: self.answers.swap(0, Ordering::Relaxed),
            took: self.took.swap(0, Ordering::Relaxed) as f64 / f64::from(PARTS),
            squares: self.squares.swap(0, Ordering::Relaxed) as f64 / f64::from(PARTS),
            lost: u64::from(self.lost.swap(0, Ordering::Relaxed)),
            most: self.most.swap(0, Ordering::Relaxed),
        }
    }
}

impl Heard {
    /// This and what was heard later.
    pub(crate) fn and(self, later: Self) -> Self {
        Self {
            answers: self.answers + later.answers,
            took: self.took + later.took,
            squares: self.squares + later.squares,
            lost: self.lost + later.lost,
            most: self.most.max(later.most),
        }
    }

    /// Attempts that ended, one way or the other.
    pub(crate) const fn ended(self) -> u64 {
        self.answers + self.lost
    }

    /// What answers took in the mean; none without one.
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
    pub(crate) fn mean(self) -> Option<f64> {
        // Faster than a part counts as that: a mean of nothing would be no measure for anything.
        (self.answers > 0).then(|| (self.took / self.answers as f64).max(1.0 / f64::from(PARTS)))
    }

    /// The mean of the squares of what answers took; none without one.
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
    pub(crate) fn square(self) -> Option<f64> {
        (self.answers > 0).then(|| self.squares / self.answers as f64)
    }

    /// The share that was lost, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
    pub(crate) fn lost_share(self) -> f64 {
        self.lost as f64 / self.ended().max(1) as f64
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_heard_once() {
        let pace = Pace::default();
        assert_eq!(pace.take(), Heard::default());
        pace.answered(1.5, 3);
        pace.answered(0.5, 7);
        pace.lost(2);
        let heard = pace.take();
        let expect = Heard {
            answers: 2,
            took: 2.0,
            squares: 2.5,
            lost: 1,
            most: 7,
        };
        assert_eq!(heard, expect);
        assert_eq!((heard.mean(), heard.ended()), (Some(1.0), 3));
        assert!((heard.lost_share() - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(pace.take(), Heard::default());
        assert_eq!(
            (Heard::default().mean(), Heard::default().lost_share()),
            (None, 0.0)
        );
    }

    #[test]
    fn what_is_no_number_does_no_harm() {
        let pace = Pace::default();
        for odd in [f32::NAN, -1.0, f32::INFINITY] {
            pace.answered(odd, 1);
        }
        let mean = pace.take().mean().expect("three answers");
        assert!(mean.is_finite() && mean <= f64::from(LONGEST), "{mean}");
        pace.answered(0.0, 1);
        assert!(pace.take().mean() > Some(0.0));
    }
}
