//! The better of two random candidates: fewer attempts in flight per weight, the first drawn on a tie.
//!
//! Candidates are drawn in proportion to weight, so shares follow weights when idle and load decides when busy.

use crate::alias::Alias;
use crate::ask::Ask;
use crate::hashing;
use crate::policy::{Candidates, Policy, below, random};
use crate::table::Lane;

#[derive(Debug)]
pub(crate) struct PowerOfTwo {
    /// None: all shares are equal, and two different ones are drawn.
    weighted: Option<Alias>,
}

impl PowerOfTwo {
    pub(crate) fn new(lanes: &[Lane]) -> Self {
        let even = lanes
            .windows(2)
            .all(|pair| pair[0].share.to_bits() == pair[1].share.to_bits());
        Self {
            weighted: (!even).then(|| random::alias(lanes)),
        }
    }

    #[inline]
    fn draw(&self, view: &Candidates<'_>, chance: u64) -> Option<(usize, usize)> {
        let len = view.len();
        match &self.weighted {
            None if len == 0 => None,
            None if len == 1 => Some((0, 0)),
            None => {
                let first = below(chance, len);
                let second = below(chance << 32, len - 1);
                Some((first, second + usize::from(second >= first)))
            }
            Some(alias) => Some((alias.pick(chance)?, alias.pick(hashing::mix(chance, 1))?)),
        }
    }
}

#[inline]
fn load(view: &Candidates<'_>, index: usize) -> f64 {
    f64::from(view.in_flight(index)) / f64::from(view.share(index))
}

impl Policy for PowerOfTwo {
    fn name(&self) -> &'static str {
        "power_of_two"
    }

    #[inline]
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        let (first, second) = self.draw(view, ask.chance)?;
        match (view.may(first), view.may(second)) {
            (true, true) => Some(if load(view, second) < load(view, first) {
                second
            } else {
                first
            }),
            (true, false) => Some(first),
            (false, true) => Some(second),
            (false, false) => random::among_allowed(view, ask.chance),
        }
    }

    fn score(&self, view: &Candidates<'_>, index: usize, _ask: &Ask<'_>) -> Option<f64> {
        Some(load(view, index))
    }
}
