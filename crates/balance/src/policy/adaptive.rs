//! The default: the least cost of slowness, failing and load.
//!
//! ```text
//! cost = slowness x penalty x (in flight + 1)^2 / (weight x ramp)       penalty = 1 + 256 x failing^2
//! ```
//! The square lets the exact in-flight count win before a wrong latency signal does harm. The penalty stands outside
//! the clamp of slowness, so a failing idle backend costs more than a good one with several in flight; it is square
//! so that single failures, which every backend has, move little. All up to 64 are looked at, above that two random
//! blocks of 16. Figures: `docs/policies.md`; reasons: `docs/decisions/0004-adaptive.md`.

use crate::ask::Ask;
use crate::policy::{Candidates, Policy, below};

/// Up to so many candidates are all looked at.
const SCAN: usize = 64;
/// Above that, two blocks of so many, at random.
const BLOCK: usize = 16;
/// How much worse a backend that always fails is than one that never does.
const PENALTY: f32 = 256.0;

#[derive(Debug)]
pub(crate) struct Adaptive;

#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "16 million in flight are compared well enough"
)]
fn cost(view: &Candidates<'_>, index: usize) -> f32 {
    let lane = view.lane(index);
    let learned = lane.backend.speed.read();
    let load = lane.backend.in_flight() as f32 + 1.0;
    let penalty = 1.0 + PENALTY * learned.failing * learned.failing;
    learned.slowness * penalty * load * load * lane.inverse
}

impl Policy for Adaptive {
    fn name(&self) -> &'static str {
        "adaptive"
    }

    #[inline]
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        let len = view.len();
        let start = below(ask.chance, len);
        if len <= SCAN {
            return cheapest(view, (start..len).chain(0..start)).map(|(index, _)| index);
        }
        // The low half of the chance places the second block so that the two never overlap.
        let apart = BLOCK + below(ask.chance << 32, len - 2 * BLOCK + 1);
        let block = |from: usize| cheapest(view, (0..BLOCK).map(move |step| (from + step) % len));
        match (block(start), block(start + apart)) {
            (Some(one), Some(two)) => Some(if two.1 < one.1 { two.0 } else { one.0 }),
            (Some(only), None) | (None, Some(only)) => Some(only.0),
            (None, None) => cheapest(view, (start..len).chain(0..start)).map(|(index, _)| index),
        }
    }

    fn score(&self, view: &Candidates<'_>, index: usize, _ask: &Ask<'_>) -> Option<f64> {
        Some(f64::from(cost(view, index)))
    }
}

/// The first of the least cost, in the given order.
#[inline]
fn cheapest(view: &Candidates<'_>, order: impl Iterator<Item = usize>) -> Option<(usize, f32)> {
    let mut best: Option<(usize, f32)> = None;
    for index in order {
        let cost = cost(view, index);
        if best.is_none_or(|(_, least)| cost < least) && view.may(index) {
            best = Some((index, cost));
        }
    }
    best
}
