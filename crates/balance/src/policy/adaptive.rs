//! The default: the least cost of slowness, failing and load, and a draw among those that cost about as little.
//!
//! The square lets the exact in-flight count win before a wrong latency signal does harm. How it looks, draws and treats failing:
//! `scan`. Figures: `docs/policies.md`; reasons: `docs/decisions/0004-adaptive.md`.

use crate::ask::Ask;
use crate::learn::speed::Learned;
use crate::policy::scan::{self, Cost, load, squared};
use crate::policy::{Candidates, Policy};
use crate::table::Lane;

#[derive(Debug)]
pub(crate) struct Adaptive;

impl Cost for Adaptive {
    #[inline]
    fn of(lane: &Lane, learned: Learned) -> f32 {
        learned.slowness * squared(load(lane))
    }
}

impl Policy for Adaptive {
    fn name(&self) -> &'static str {
        "adaptive"
    }

    #[inline]
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        scan::choose::<Self>(view, ask)
    }

    fn score(&self, view: &Candidates<'_>, index: usize, _ask: &Ask<'_>) -> Option<f64> {
        Some(scan::score::<Self>(view, index))
    }
}
