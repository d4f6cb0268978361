//! Weighted, smooth rotation without a lock: a static stride over the backends that may be picked.
//!
//! The stride is built of the healthy ones alone, so no backend inherits the turns of a down neighbour. A subset is drawn from by weight.

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
        if view.is_plain() {
            return Some(stride.pick(|| view.turn()));
        }
        among_some(stride, view, ask)
    }
}

/// Where not everybody may be picked. Tried and full ones pass their turn on.
#[inline(never)]
fn among_some(stride: &Stride, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
    // Drawn by weight in a subset: there is one rotation, and lists that take turns in it would each get the same of theirs always.
    let turns = match ask.subset {
        Some(_) => 0,
        None => TURNS,
    };
    for _ in 0..turns {
        let index = stride.pick(|| view.turn());
        if view.may(index) {
            return Some(index);
        }
    }
    // Where few may be picked, one look at all is cheaper than more turns. Drawn by weight: a rotation that skips most of its
    // turns favours who stands behind a gap.
    random::among_allowed(view, ask.chance)
}
