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

#[inline]
fn better(view: &Candidates<'_>, first: usize, second: usize) -> usize {
    match load(view, second) < load(view, first) {
        true => second,
        false => first,
    }
}

/// The better of two of those that may be picked. Looks at all, four times. With chances of its own: who drew two that may not has said
/// much of the chance that came.
#[cold]
fn among_some(view: &Candidates<'_>, chance: u64) -> Option<usize> {
    let first = random::among_allowed(view, hashing::mix(chance, 2))?;
    let second = random::among(view, hashing::mix(chance, 3), |index| index != first);
    Some(second.map_or(first, |second| better(view, first, second)))
}

impl Policy for PowerOfTwo {
    fn name(&self) -> &'static str {
        "power_of_two"
    }

    #[inline]
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        let (first, second) = self.draw(view, ask.chance)?;
        if view.may(first) && view.may(second) {
            return Some(better(view, first, second));
        }
        among_some(view, ask.chance)
    }

    fn score(&self, view: &Candidates<'_>, index: usize, _ask: &Ask<'_>) -> Option<f64> {
        Some(load(view, index))
    }
}
