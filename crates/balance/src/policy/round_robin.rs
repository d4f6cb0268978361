//! Weighted, smooth rotation without a lock: a static stride over the backends that may be picked.
//!
//! The stride is built of the healthy ones alone, so no backend inherits the turns of a down neighbour.

use crate::ask::Ask;
use crate::policy::{Candidates, Policy, random};
use crate::stride::Stride;
use crate::table::Lane;

/// Turns that a pick takes before it looks at all.
const TURNS: usize = 8;

#[derive(Debug)]
pub(crate) struct RoundRobin {
    /// None: nobody may be picked.
    stride: Option<Stride>,
}

impl RoundRobin {
    pub(crate) fn new(lanes: &[Lane]) -> Self {
        Self {
            stride: Stride::new(lanes.iter().map(|lane| lane.share)),
        }
    }
}

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        "round_robin"
    }

    #[inline]
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        let stride = self.stride.as_ref()?;
        let index = stride.pick(|| view.turn());
        if view.may(index) {
            return Some(index);
        }
        passed_on(stride, view, ask)
    }
}

/// Tried and full ones pass their turn on.
#[cold]
fn passed_on(stride: &Stride, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
    for _ in 1..TURNS {
        let index = stride.pick(|| view.turn());
        if view.may(index) {
            return Some(index);
        }
    }
    // Where few may be picked, one look at all is cheaper than more turns. Drawn by weight: a rotation that skips most of its
    // turns favours who stands behind a gap.
    random::among_allowed(view, ask.chance)
}
