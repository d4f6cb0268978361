//! Least peak of latency, times those in flight and one more; after Finagle's and linkerd's.
//!
//! A slower answer than the mean replaces it at once, faster ones lower it with a time constant of 10 s (`learn::peak`): it leaves a
//! backend after one bad answer, and also one that is merely unlucky; `adaptive` is calmer. Latency is relative to what the
//! class of a request usually takes, all up to 64 are compared where linkerd compares two, and failing has its penalty (`scan`). One
//! that nobody hears of comes nearer to the others, where theirs sinks to nothing: who returned would have all there is.

use crate::ask::Ask;
use crate::learn::speed::Learned;
use crate::policy::scan::{self, Cost, load};
use crate::policy::{Candidates, Policy};
use crate::table::Lane;

#[derive(Debug)]
pub(crate) struct PeakEwma;

impl Cost for PeakEwma {
    #[inline]
    fn of(lane: &Lane, _learned: Learned) -> f32 {
        lane.backend.peak.read() * (load(lane) + 1.0)
    }
}

impl Policy for PeakEwma {
    fn name(&self) -> &'static str {
        "peak_ewma"
    }

    #[inline]
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        scan::choose::<Self>(view, ask)
    }

    fn score(&self, view: &Candidates<'_>, index: usize, _ask: &Ask<'_>) -> Option<f64> {
        Some(scan::score::<Self>(view, index))
    }
}
