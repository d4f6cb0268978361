//! Owns what live traffic teaches about one backend for the `adaptive` policy: slowness and failing.
//!
//! Slowness is a mean of latency relative to the mean of its class, 1 for a backend like its peers; failing is the
//! share of recent failures, 0 to 1. Both stand in one word, written by a load and a store: a lost race loses one
//! sample, which is harmless, and no reader sees halves of two writes.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// Weight of one sample: the mean remembers about the last 20.
const SAMPLE: f32 = 0.05;
/// A sample of slowness lies between these, so one odd response cannot brand a backend.
const SLOWNESS: std::ops::RangeInclusive<f32> = 1.0 / 16.0..=16.0;
/// An idle backend is forgiven with this time constant, and so tried again.
const FORGIVE: Duration = Duration::from_secs(10);
/// Less failing than this is none: a single failure is forgotten after about a hundred successes.
const NOTICED: f32 = 0.000_25;
/// Nearer to its peers than this an idle backend is one of them: below about half of it a tick's part of what is left is lost in
/// rounding, and it would never get there. Not larger: who is heard now and then would be told apart less exactly.
const USUAL: f32 = 0.000_01;

/// What was learned of one backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// Latency relative to the mean of its class, 1/16 to 16; 1 when nothing is known.
    pub slowness: f32,
    /// Share of recent failures, 0 to 1; 0 when nothing is known.
    pub failing: f32,
}

impl Learned {
    const NOTHING: Self = Self {
        slowness: 1.0,
        failing: 0.0,
    };

    fn pack(self) -> u64 {
        u64::from(self.slowness.to_bits()) << 32 | u64::from(self.failing.to_bits())
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "two halves of one word")]
    const fn unpack(word: u64) -> Self {
        Self {
            slowness: f32::from_bits((word >> 32) as u32),
            failing: f32::from_bits(word as u32),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Speed(AtomicU64);

impl Speed {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(Learned::NOTHING.pack()))
    }

    #[inline]
    pub(crate) fn read(&self) -> Learned {
        Learned::unpack(self.0.load(Ordering::Relaxed))
    }

    /// A success with `relative` latency (1 = the mean of its class).
    #[inline]
    pub(crate) fn succeeded(&self, relative: f32) {
        let was = self.read();
        let sample = if relative.is_finite() {
            relative.clamp(*SLOWNESS.start(), *SLOWNESS.end())
        } else {
            1.0
        };
        self.write(Learned {
            slowness: was.slowness + SAMPLE * (sample - was.slowness),
            failing: fade(was.failing, 1.0 - SAMPLE),
        });
    }

    /// What succeeded breaks: its success made nothing better.
    pub(crate) fn recanted(&self) {
        let was = self.read();
        self.write(Learned {
            failing: (was.failing / (1.0 - SAMPLE)).min(1.0),
            ..was
        });
    }

    /// A failure. Its latency says nothing about speed: a backend that fails in half a millisecond is not fast.
    pub(crate) fn failed(&self) {
        let was = self.read();
        self.write(Learned {
            failing: was.failing + SAMPLE * (1.0 - was.failing),
            ..was
        });
    }

    /// It was given up after `relative` time without an answer. Where waits have no memory, what was left of it is as long as a whole
    /// one: so it is as slow as it was, and that beside. A sample that is never below the mean: no such backend gets to look fast.
    pub(crate) fn outlasted(&self, relative: f32) {
        let was = self.read();
        let sample = match relative.is_finite() {
            true => (was.slowness + relative).clamp(*SLOWNESS.start(), *SLOWNESS.end()),
            false => was.slowness,
        };
        self.write(Learned {
            slowness: was.slowness + SAMPLE * (sample - was.slowness),
            ..was
        });
    }

    /// Forgives over `idle` time without an answer.
    pub(crate) fn forgive(&self, idle: Duration) {
        let was = self.read();
        if was == Learned::NOTHING {
            return;
        }
        let keep = (-idle.as_secs_f32() / FORGIVE.as_secs_f32()).exp();
        let off = (was.slowness - 1.0) * keep;
        self.write(Learned {
            slowness: if off.abs() < USUAL { 1.0 } else { 1.0 + off },
            failing: fade(was.failing, keep),
        });
    }

    /// Whether nothing is held against it, nor for it.
    pub(crate) fn is_forgiven(&self) -> bool {
        self.read() == Learned::NOTHING
    }

    /// Begins with what another process learned; what is no number, or out of range, is not taken.
    pub(crate) fn take_over(&self, learned: Learned) {
        let Learned { slowness, failing } = learned;
        if SLOWNESS.contains(&slowness) && (0.0..=1.0).contains(&failing) {
            self.write(learned);
        }
    }

    fn write(&self, learned: Learned) {
        self.0.store(learned.pack(), Ordering::Relaxed);
    }
}

/// What is left of failing; so little is nothing, and costs a choice no second look.
fn fade(failing: f32, keep: f32) -> f32 {
    let left = failing * keep;
    if left < NOTICED { 0.0 } else { left }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn fast_failures_never_make_a_backend_look_fast() {
        let speed = Speed::new();
        for _ in 0..100 {
            speed.failed();
        }
        let learned = speed.read();
        assert!((learned.slowness - 1.0).abs() < 1e-6);
        assert!(learned.failing > 0.99);
    }

    #[test]
    fn a_sample_that_is_no_number_cannot_stick() {
        let speed = Speed::new();
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            speed.succeeded(poison);
        }
        assert!((speed.read().slowness - 1.0).abs() < 1e-6);
        speed.succeeded(1e30);
        assert!(
            speed.read().slowness <= 2.0,
            "one odd response brands nobody"
        );
    }

    #[test]
    fn idle_time_forgives() {
        let speed = Speed::new();
        for _ in 0..200 {
            speed.succeeded(8.0);
            speed.failed();
        }
        speed.forgive(Duration::from_secs(100));
        let learned = speed.read();
        assert!(
            (learned.slowness - 1.0).abs() < 0.01 && learned.failing < 0.001,
            "{learned:?}"
        );
    }
}
