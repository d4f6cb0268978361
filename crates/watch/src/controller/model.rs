//! Owns what is learned of one backend: how far its latency follows its load, and how it mostly stands beside its peers.
//!
//! A backend whose latency falls as it gets less (a queue) must be moved less far than one that is slow whatever it gets. The elasticity
//! says which it is: by how much of a logarithm the latency moves when the weight does. Learned from each step and what followed, older
//! ones count less; 80 bytes.

use super::{LEAST_FACTOR, MOST_FACTOR};
use crate::bytes::{Reader, Unreadable, Writer};

/// What is taken of a backend of which nothing is known, and how many steps of 10 % it counts for.
const USUAL_ELASTICITY: f64 = 0.3;
const USUAL_COUNTS: f64 = 2.0 * 0.1 * 0.1;
/// What is left of a step after another.
const FADES: f64 = 0.8;
/// A smaller step teaches nothing but noise.
const LEAST_STEP: f64 = 0.03;
const MOST_ELASTICITY: f64 = 4.0;
/// How boldly, at most, and without learning.
const BOLD: f64 = 0.5;
const CAREFUL: f64 = 0.3;

/// What is known of one backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// The part of its configured weight that it has.
    pub factor: f64,
    /// Requests that it was learned from.
    pub samples: u64,
    /// Intervals.
    pub intervals: u32,
    /// The logarithm of its latency beside its peers', as it mostly is.
    pub usual: f64,
    pub(super) moving: bool,
    pub(super) failing: bool,
    /// Factor and latency (logarithms, the latter beside its peers') an interval ago.
    last: Option<(f64, f64)>,
    together: f64,
    alone: f64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            factor: 1.0,
            samples: 0,
            intervals: 0,
            usual: 0.0,
            moving: false,
            failing: false,
            last: None,
            together: 0.0,
            alone: 0.0,
        }
    }
}

impl Model {
    /// How far its latency follows its weight, 0 to 4, both as logarithms.
    #[must_use]
    pub fn elasticity(&self) -> f64 {
        let usual = USUAL_COUNTS * USUAL_ELASTICITY;
        ((self.together + usual) / (self.alone + USUAL_COUNTS)).clamp(0.0, MOST_ELASTICITY)
    }

    /// How far it can be relied on, 0 to 1: after ten intervals, two thirds.
    #[must_use]
    pub fn confidence(&self) -> f64 {
        1.0 - (-f64::from(self.intervals) / 10.0).exp()
    }

    pub(super) fn learn(&mut self, requests: u64, off: f64) {
        let factor = self.factor.ln();
        if let Some((before, latency)) = self.last {
            let step = factor - before;
            if step.abs() >= LEAST_STEP {
                self.together = FADES * self.together + step * (off - latency).clamp(-1.0, 1.0);
                self.alone = FADES * self.alone + step * step;
            }
        }
        self.last = Some((factor, off));
        self.intervals = self.intervals.saturating_add(1);
        self.samples = self.samples.saturating_add(requests).min(u64::MAX / 4);
        self.usual += (off - self.usual) / f64::from(self.intervals.min(10));
    }

    /// Which part of the way it is moved: less than all, by what the latency will follow.
    pub(super) fn gain(&self, learning: bool) -> f64 {
        if learning {
            BOLD.min(1.0 / (1.0 + self.elasticity()))
        } else {
            CAREFUL
        }
    }

    pub(super) fn release(&mut self) {
        (self.factor, self.moving, self.failing, self.last) = (1.0, false, false, None);
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.number(self.factor);
        to.count(self.samples);
        to.count(u64::from(self.intervals));
        to.number(self.usual);
        to.flag(self.moving);
        to.flag(self.failing);
        to.maybe(self.last, |to, (factor, latency)| {
            to.number(factor);
            to.number(latency);
        });
        to.number(self.together);
        to.number(self.alone);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            factor: from.number(LEAST_FACTOR, MOST_FACTOR, "a factor")?,
            samples: from.up_to(u64::MAX / 4, "a count of samples")?,
            intervals: u32::try_from(from.up_to(u64::from(u32::MAX), "a count of intervals")?)
                .unwrap_or(u32::MAX),
            usual: from.number(-100.0, 100.0, "a mean")?,
            moving: from.flag()?,
            failing: from.flag()?,
            last: from.maybe(|from| {
                Ok((
                    from.number(-2.0, 2.0, "a factor")?,
                    from.number(-100.0, 100.0, "a mean")?,
                ))
            })?,
            together: from.number(-100.0, 100.0, "a sum")?,
            alone: from.number(0.0, 100.0, "a sum")?,
        })
    }
}
