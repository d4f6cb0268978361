//! Owns what answers of each class take: means that follow, which slowness is held against, and first ones that stay, for adaptive limits.

use std::time::Duration;

use super::Facts;
use crate::ask::ClassId;
use crate::carried::mean;
use crate::hashing;
use crate::learn::ewma::Ewma;
use crate::sync::{AtomicU32, Ordering};
use crate::time::Instant;

/// Weight of one sample in the running mean of a class: 0.01 for each of eight exchanges.
const CLASS_SAMPLE: f32 = 0.08;
/// A class of so many answers is known: one of eight teaches, and the first of them alone may be far off.
const CLASS_KNOWN: u32 = 32;

/// Mean latency of successes of one class, in seconds.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Class {
    running: Ewma,
    /// 1 / mean, as the tick copied it: the scale stands still between two ticks, and no pick divides.
    inverse: Ewma,
    /// 1 / the mean when it became known, which stays: what an overload makes of all answers alike is to be seen beside it.
    first_inverse: Ewma,
    /// So many answers were heard before that.
    heard: AtomicU32,
}

impl Facts {
    /// Latency relative to the mean of its class, and teaches the mean. 1 before the first tick after the first sample.
    ///
    /// One sample in eight teaches, with eight times the weight: all workers write the one mean of a class, and a
    /// write for each exchange would be the dearest part of a pick under four threads.
    #[inline]
    pub(crate) fn relative(&self, class: ClassId, seconds: f32, now: Instant) -> f32 {
        // Beyond the limit, classes share the last slot.
        let last = self.classes.len() - 1;
        let class = &self.classes[usize::from(class.0).min(last)];
        let sample = seconds.max(1e-9);
        let inverse = class.inverse.value();
        if inverse.is_none() || now.as_nanos().wrapping_mul(hashing::GOLDEN) >> 61 == 0 {
            class.running.observe(sample, CLASS_SAMPLE);
        }
        inverse.map_or(1.0, |inverse| sample * inverse)
    }

    /// The same, and teaches nothing.
    pub(crate) fn compared(&self, class: ClassId, seconds: f32) -> f32 {
        let last = self.classes.len() - 1;
        let inverse = self.classes[usize::from(class.0).min(last)].inverse.value();
        inverse.map_or(1.0, |inverse| seconds.max(1e-9) * inverse)
    }

    /// Latency relative to what its class took when it became known; none: it is not known yet.
    pub(crate) fn paced(&self, class: ClassId, seconds: f32) -> Option<f32> {
        let last = self.classes.len() - 1;
        let class = &self.classes[usize::from(class.0).min(last)];
        let first = class.first_inverse.value();
        if first.is_none() {
            class.heard.fetch_add(1, Ordering::Relaxed);
        }
        first.map(|first| seconds * first)
    }

    /// Classes of which enough was heard are known from now on.
    pub(crate) fn know_classes(&self) {
        for class in &self.classes {
            let heard = class.heard.load(Ordering::Relaxed);
            if heard >= CLASS_KNOWN
                && class.first_inverse.value().is_none()
                && let Some(mean) = class.running.value()
            {
                class.first_inverse.set(mean.recip());
            }
        }
    }

    /// What each class took when it became known, in seconds.
    pub(crate) fn first_means(&self) -> Vec<Option<f32>> {
        let first = |class: &Class| class.first_inverse.value().map(f32::recip);
        self.classes.iter().map(first).collect()
    }

    /// Mean latency of each class, in seconds.
    pub(crate) fn class_means(&self) -> Vec<Option<f32>> {
        let classes = self.classes.iter();
        classes.map(|class| class.running.value()).collect()
    }

    /// Begins with means of another process, as far as they are means.
    pub(crate) fn learn_classes(&self, means: &[Option<f32>], first: &[Option<f32>]) {
        for (class, seconds) in self.classes.iter().zip(means) {
            if let Some(seconds) = seconds.and_then(mean) {
                class.running.set(seconds);
            }
        }
        for (class, seconds) in self.classes.iter().zip(first) {
            if let Some(seconds) = seconds.and_then(mean) {
                class.first_inverse.set(seconds.recip());
            }
        }
        self.refresh_classes();
    }

    /// The mean latency of successes of a class.
    pub(crate) fn usual(&self, class: ClassId) -> Option<Duration> {
        let last = self.classes.len() - 1;
        let mean = self.classes[usize::from(class.0).min(last)]
            .running
            .value()?;
        Duration::try_from_secs_f32(mean).ok()
    }

    pub(crate) fn refresh_classes(&self) {
        for class in &self.classes {
            if let Some(mean) = class.running.value() {
                class.inverse.set(1.0 / mean);
            }
        }
    }
}
