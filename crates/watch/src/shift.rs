//! Owns whether a latency is worse than it was: a one-sided CUSUM of its standardised logarithm (Page 1954).
//!
//! A sum grows by how far a sample is above its baseline, less a slack, and never falls below nought; at a bound something has changed.
//! With a slack of half a deviation a step of one deviation is found after some 34 samples, and chance alone needs some 10 million (Siegmund's
//! approximation, 2(e^b - b - 1) with b the bound and 1.17). No sample counts for more than a few deviations: a tail is no step.
//! The slack is at least half of 10 %, however little the samples scatter: less is nobody's trouble. Samples that hang together (load
//! comes in waves) make a sum run away by itself: where sixty in a row scatter more than sixty single ones would, that is what a step
//! is measured by, and a small one is not told from a wave.

use crate::bytes::{Reader, Unreadable, Writer};
use crate::condition::Reading;
use crate::number::{length, short};
use crate::time::Moment;

/// Samples before anything is said.
const WARM: f64 = 600.0;
/// The baseline is the mean of so many: it follows a day's swing, and a step of a minute hardly moves it.
const FOLLOWS: f64 = 1200.0;
/// Samples whose mean shows how far the figure wanders by itself: load comes in waves, and waves are no steps.
const BLOCK: f64 = 60.0;
/// Blocks that are remembered: an hour of seconds.
const BLOCKS: usize = 60;
/// Of so many, the one that scatters most is left out: a fault that was too small to be told is in some of them.
const LEFT_OUT: usize = 7;
/// The squares of a normal distribution without its outer seventh are such a part of their mean.
const INNER: f64 = 0.52;
/// Blocks that scatter so many times what they would if no sample hung on the one before it are waves; they are taken for somewhat
/// larger than they look, as a block does not hold all of one.
const WAVES: f64 = 1.4;
const LARGER: f64 = 1.5;
/// What is less than this (of a logarithm: 10 %) is no trouble.
const LEAST: f64 = 0.095;
const SLACK: f64 = 0.5;
/// A sample counts for at most so many deviations above the slack.
const MOST_ABOVE: f64 = 3.5;
/// The bound, to which the logarithm of the number of sums is added that one alarm would come of.
const BOUND: f64 = 15.0;
/// Samples scatter at least so much, where a clock of few digits makes them all alike.
const LEAST_DEVIATION: f64 = 0.005;
/// How far a sample moves what counts as now.
const NOW: f64 = 0.1;
/// What has lasted so long is how it is, in milliseconds.
const ACCEPTED_MS: u64 = 3_600_000;
/// No logarithm of a latency, or of two's ratio, is further from nought.
const FARTHEST: f64 = 100.0;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Since when, as well as can be told.
    pub since: Moment,
    /// The logarithm before it.
    pub before: f64,
    found: Moment,
}

/// One figure that is watched. 400 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shift {
    samples: f64,
    mean: f64,
    variance: f64,
    sum: f64,
    began: Moment,
    latest: f64,
    block: (f64, f64),
    squares: Squares,
    blocks: usize,
    wander: f64,
    step: Option<Step>,
}

/// Of each block, the square of its sum by its length; the newest last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Squares([f32; BLOCKS]);

impl Default for Squares {
    fn default() -> Self {
        Self([0.0; BLOCKS])
    }
}

impl Shift {
    /// Takes in a sample, the logarithm of a latency. `among` is how many sums are watched where one alarm is meant to be rare.
    pub fn learn(&mut self, sample: f64, now: Moment, among: f64) -> Reading {
        self.learn_steps(sample, 0.0, now, among)
    }

    /// The same where samples are off by themselves: a step must be larger than `grain`, a natural logarithm, for what is found to be one.
    pub fn learn_steps(&mut self, sample: f64, grain: f64, now: Moment, among: f64) -> Reading {
        if sample.is_nan() || sample.abs() > FARTHEST {
            return Reading::Unknown;
        }
        self.latest += if self.samples < 1.0 {
            sample - self.latest
        } else {
            NOW * (sample - self.latest)
        };
        if let Some(step) = self.step {
            return self.shifted(step, now);
        }
        if self.samples < WARM {
            self.follow(sample);
            return Reading::Unknown;
        }
        let deviation = self.deviation();
        let above = (sample - self.mean) / deviation;
        // A baseline of few samples is off by as much itself.
        let slack = SLACK.max(LEAST.max(grain) / 2.0 / deviation) + self.samples.sqrt().recip();
        if self.sum <= 0.0 {
            self.began = now;
        }
        self.sum = (self.sum + (above - slack).min(MOST_ABOVE)).max(0.0);
        if self.sum > BOUND + among.max(1.0).ln() {
            let step = Step {
                since: self.began,
                before: self.mean,
                found: now,
            };
            (self.step, self.sum) = (Some(step), 0.0);
            return Reading::Bad;
        }
        // Only so far as a sample could be chance: else one that hangs would teach that hanging is usual.
        self.follow(self.mean + above.clamp(-3.0, 3.0) * deviation);
        Reading::Good
    }

    /// What was found, while it lasts.
    #[must_use]
    pub const fn step(&self) -> Option<Step> {
        self.step
    }

    /// The logarithm as it is now.
    #[must_use]
    pub const fn latest(&self) -> f64 {
        self.latest
    }

    fn shifted(&mut self, step: Step, now: Moment) -> Reading {
        let back = LEAST.max(self.deviation()) / 2.0;
        if self.latest - step.before < back {
            self.step = None;
            return Reading::Good;
        }
        if now.millis_since(step.found) < ACCEPTED_MS {
            return Reading::Bad;
        }
        // How it is now; its scatter is learned anew.
        *self = Self {
            samples: 1.0,
            mean: self.latest,
            latest: self.latest,
            ..Self::default()
        };
        Reading::Good
    }

    /// What one sample scatters; where figures wander, what sixty do together, as if they did so one by one.
    fn deviation(&self) -> f64 {
        let (single, long) = (self.variance.sqrt(), self.wander.sqrt());
        let deviation = if long > WAVES * single {
            LARGER * long
        } else {
            single
        };
        deviation.max(LEAST_DEVIATION)
    }

    /// The mean square of blocks without the largest.
    fn inner(&self) -> f64 {
        let mut known: Vec<f64> = self.squares.0[BLOCKS - self.blocks..]
            .iter()
            .map(|square| f64::from(*square))
            .collect();
        known.sort_unstable_by(f64::total_cmp);
        let kept = known.len() - known.len().div_ceil(LEFT_OUT);
        if kept == 0 {
            return 0.0;
        }
        known[..kept].iter().sum::<f64>() / length(kept) / INNER
    }

    fn follow(&mut self, sample: f64) {
        if self.samples < 1.0 {
            self.mean = sample;
        }
        self.samples = (self.samples + 1.0).min(FOLLOWS);
        let part = self.samples.recip();
        let off = sample - self.mean;
        self.mean += part * off;
        self.variance += part * (off * off * (1.0 - part) - self.variance);
        let (count, sum) = (self.block.0 + 1.0, self.block.1 + off);
        if count < BLOCK {
            self.block = (count, sum);
            return;
        }
        self.block = (0.0, 0.0);
        self.squares.0.rotate_left(1);
        self.squares.0[BLOCKS - 1] = short(sum * sum / BLOCK);
        self.blocks = (self.blocks + 1).min(BLOCKS);
        self.wander = self.inner();
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        let baseline = [self.samples, self.mean, self.variance];
        for number in baseline.into_iter().chain([self.sum, self.latest]) {
            to.number(number);
        }
        to.size(self.blocks);
        for square in &self.squares.0[BLOCKS - self.blocks..] {
            to.short(*square);
        }
        to.moment(self.began);
        to.maybe(self.step, |to, step| {
            to.moment(step.since);
            to.number(step.before);
            to.moment(step.found);
        });
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let samples = from.number(0.0, FOLLOWS, "a count of samples")?;
        let mean = from.number(-FARTHEST, FARTHEST, "a mean")?;
        let variance = from.number(0.0, 4.0 * FARTHEST * FARTHEST, "a variance")?;
        let sum = from.number(0.0, 1e3, "a sum")?;
        let latest = from.number(-FARTHEST, FARTHEST, "a mean")?;
        let blocks = from.size(BLOCKS, "blocks")?;
        let mut squares = Squares::default();
        for square in &mut squares.0[BLOCKS - blocks..] {
            *square = from.short(0.0, 1e7, "a square")?;
        }
        let began = from.moment()?;
        let step = from.maybe(|from| {
            let since = from.moment()?;
            let before = from.number(-FARTHEST, FARTHEST, "a mean")?;
            Ok(Step {
                since,
                before,
                found: from.moment()?,
            })
        })?;
        let mut all = Self {
            samples,
            mean,
            variance,
            sum,
            began,
            latest,
            squares,
            blocks,
            step,
            ..Self::default()
        };
        all.wander = all.inner();
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A normal deviate, of twelve even ones.
    fn normal(chance: &mut fastrand::Rng) -> f64 {
        (0..12).map(|_| chance.f64()).sum::<f64>() - 6.0
    }

    /// Samples from a step of so many deviations until it is found; what scatters by `deviation`.
    fn found_after(seed: u64, deviation: f64, step: f64) -> Option<u64> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut shift = Shift::default();
        for at in 0..2000 {
            let reading = shift.learn(
                -3.0 + deviation * normal(&mut chance),
                Moment::from_secs(at),
                1.0,
            );
            assert_ne!(reading, Reading::Bad, "seed {seed}: a false alarm at {at}");
        }
        (1..600).find(|at| {
            let sample = -3.0 + deviation * (normal(&mut chance) + step);
            shift.learn(sample, Moment::from_secs(2000 + at), 1.0) == Reading::Bad
        })
    }

    #[test]
    fn steps_are_found_within_a_minute_and_small_ones_are_not_told() {
        let mut late = 0;
        for seed in 1..=100 {
            println!("seed {seed}");
            late += u32::from(found_after(seed, 0.1, 1.0).is_none_or(|after| after > 60));
            assert!(
                found_after(seed, 0.1, 1.5).is_some_and(|after| after <= 60),
                "one and a half deviations of 10 %"
            );
            assert!(
                found_after(seed, 0.1, 3.0).is_some_and(|after| after <= 12),
                "three"
            );
            assert!(
                found_after(seed, 0.01, 20.0).is_some_and(|after| after <= 8),
                "20 % where nothing scatters"
            );
            assert_eq!(
                found_after(seed, 0.01, 2.0),
                None,
                "2 % are nobody's trouble"
            );
        }
        assert!(
            late <= 8,
            "{late} of 100 steps of one deviation took more than a minute"
        );
    }

    #[test]
    fn a_tail_is_no_step() {
        let mut shift = Shift::default();
        for at in 0..3000 {
            let sample = if at % 50 == 49 {
                5.0
            } else {
                -3.0 + 0.05 * f64::from(u8::try_from(at % 7).unwrap())
            };
            assert_ne!(
                shift.learn(sample, Moment::from_secs(at), 1.0),
                Reading::Bad,
                "at {at}"
            );
        }
    }

    #[test]
    fn it_ends_when_it_is_as_before_and_is_usual_after_an_hour() {
        let feed = |shift: &mut Shift, from: u64, to: u64, level: f64| {
            (from..to)
                .map(|at| shift.learn(level, Moment::from_secs(at), 1.0))
                .fold(Vec::new(), |mut all, one| {
                    if all.last() != Some(&one) {
                        all.push(one);
                    }
                    all
                })
        };
        let mut shift = Shift::default();
        feed(&mut shift, 0, 700, -3.0);
        assert_eq!(
            feed(&mut shift, 700, 800, -2.0),
            [Reading::Good, Reading::Bad]
        );
        assert_eq!(
            shift.step().map(|step| step.since),
            Some(Moment::from_secs(700))
        );
        let mut healed = shift;
        assert_eq!(
            feed(&mut healed, 800, 900, -3.0),
            [Reading::Bad, Reading::Good]
        );
        assert_eq!(
            feed(&mut shift, 800, 5400, -2.0),
            [Reading::Bad, Reading::Good, Reading::Unknown, Reading::Good]
        );
    }

    #[test]
    fn what_is_no_number_teaches_nothing() {
        let mut shift = Shift::default();
        for wrong in [f64::NAN, f64::INFINITY, -1e300] {
            assert_eq!(
                shift.learn(wrong, Moment::from_secs(1), 1.0),
                Reading::Unknown
            );
        }
        assert_eq!(shift, Shift::default());
    }
}
