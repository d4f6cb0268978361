//! Owns what an interval says of one backend: its latency, and what it fails more than the others beyond chance.

use super::{ControllerSettings, LEAST_FACTOR, Seen};
use crate::latencies::Logarithms;
use crate::number::{float, median};

/// Of fewer requests in an interval nothing is known of a backend.
const FEWEST_REQUESTS: u64 = 50;
/// A share of failures above that of the others by less is chance.
const LEAST_EXCESS: f64 = 0.005;
/// So many deviations above it, too.
const SURE: f64 = 4.0;
/// And so many requests: of few failures the deviation is no measure.
const FEWEST_FAILURES: f64 = 5.0;
/// A backend that fails this share more than the others is at the least.
const EXCESS_TO_LEAST: f64 = 0.05;

/// A backend of which enough is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured<'a> {
    pub(super) seen: Seen<'a>,
    pub(super) logs: Option<Logarithms>,
    pub(super) failed: f64,
}

impl<'a> Measured<'a> {
    pub(super) fn of(seen: &Seen<'a>) -> Option<Self> {
        if !seen.serving
            || seen.requests < FEWEST_REQUESTS
            || seen.weight.is_nan()
            || seen.weight <= 0.0
        {
            return None;
        }
        // Of few successes the mean is chance; then its failures speak.
        let logs = seen
            .latencies
            .logarithms()
            .filter(|logs| logs.count >= 20.0);
        let failed = float(seen.errors.min(seen.requests)) / float(seen.requests);
        Some(Self {
            seen: *seen,
            logs,
            failed,
        })
    }

    /// How much more of its requests fails than of the others', beyond chance.
    pub(super) fn excess(&self, (all, failed): (u64, u64)) -> f64 {
        let others = float(all.saturating_sub(self.seen.requests)).max(1.0);
        let usual = float(failed.saturating_sub(self.seen.errors)) / others;
        let excess = self.failed - usual;
        let pooled = (float(failed) / float(all.max(1))).clamp(1e-6, 1.0);
        let chance = (pooled * (1.0 - pooled) * (1.0 / float(self.seen.requests) + 1.0 / others))
            .max(0.0)
            .sqrt();
        let is_sure =
            excess > SURE * chance && excess * float(self.seen.requests) > FEWEST_FAILURES;
        if excess > LEAST_EXCESS && is_sure {
            excess
        } else {
            0.0
        }
    }
}

/// The part of its weight that its failures leave a backend.
pub(super) fn trusted(one: &Measured<'_>, excess: f64, settings: &ControllerSettings) -> f64 {
    if excess <= 0.0 {
        return 1.0;
    }
    if 1.0 - one.failed < settings.health_threshold {
        return LEAST_FACTOR;
    }
    (1.0 - (1.0 - LEAST_FACTOR) * excess / EXCESS_TO_LEAST).max(LEAST_FACTOR)
}

/// The median of what is known of latencies.
pub(super) fn middle(measured: &[Measured<'_>]) -> Option<f64> {
    median(
        &mut measured
            .iter()
            .filter_map(|one| Some(one.logs?.mean))
            .collect::<Vec<_>>(),
    )
}
