//! Weighted, smooth rotation without a lock: a static stride over the backends that may be picked.
//!
//! The stride is built of the healthy ones alone, so no backend inherits the turns of a down neighbour.

use crate::ask::Ask;
use crate::policy::{Candidates, Policy};
use crate::stride::Stride;
use crate::table::Lane;

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
    fn choose(&self, view: &Candidates<'_>, _ask: &Ask<'_>) -> Option<usize> {
        let stride = self.stride.as_ref()?;
        let len = view.len();
        let mut index = stride.pick(|| view.turn());
        // Tried and full ones pass their turn on; after two rounds, whoever may.
        for _ in 0..2 * len {
            if view.may(index) {
                return Some(index);
            }
            index = stride.pick(|| view.turn());
        }
        (0..len)
            .map(|step| (index + step) % len)
            .find(|&index| view.may(index))
    }
}
