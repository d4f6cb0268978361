//! Weighted, smooth rotation without a lock: a static stride over the backends that may be picked.
//!
//! The stride is built of the healthy ones alone, so no backend inherits the turns of a down neighbour. The turn of a tried or full one is
//! drawn by weight among all others: its neighbour inherits nothing either. So is a subset.

use crate::ask::Ask;
use crate::hashing;
use crate::policy::{Candidates, Policy, random};
use crate::stride::Stride;
use crate::table::Lane;

/// Turns that are drawn at random before a pick looks at all.
const DRAWS: usize = 8;

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
        if view.is_plain() {
            return Some(stride.pick(|| view.turn()));
        }
        among_some(stride, view, ask)
    }
}

/// Where not everybody may be picked. Each keeps its own turns; those of tried and full ones are drawn.
#[inline(never)]
fn among_some(stride: &Stride, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
    // Drawn by weight in a subset: there is one rotation, and lists that take turns in it would each get the same of theirs always.
    if ask.subset.is_none() {
        let index = stride.pick(|| view.turn());
        if view.may(index) {
            return Some(index);
        }
        let mut drawn = ask.chance;
        for _ in 0..DRAWS {
            let index = stride.pick(|| {
                drawn = hashing::mix(drawn, 1);
                // The upper half, whose every remainder is as likely; it cannot be near the end of numbers.
                drawn >> 32
            });
            if view.may(index) {
                return Some(index);
            }
        }
    }
    // Where few may be picked, one look at all is cheaper than more draws.
    random::among_allowed(view, ask.chance)
}
