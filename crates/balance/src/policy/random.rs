//! Weighted random: one draw from an alias table, whatever the number of members.

use crate::alias::Alias;
use crate::ask::Ask;
use crate::hashing;
use crate::policy::{Candidates, Policy, unit};
use crate::table::Lane;

/// Draws before the exact way: enough that few asks with a tried or full backend need it.
const DRAWS: u64 = 4;

#[derive(Debug)]
pub(crate) struct Random {
    alias: Alias,
}

pub(crate) fn alias(lanes: &[Lane]) -> Alias {
    Alias::new(lanes.iter().map(|lane| f64::from(lane.share)))
}

impl Random {
    pub(crate) fn new(lanes: &[Lane]) -> Self {
        Self {
            alias: alias(lanes),
        }
    }
}

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    #[inline]
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        let mut chance = ask.chance;
        for draw in 1..=DRAWS {
            let index = self.alias.pick(chance)?;
            if view.may(index) {
                return Some(index);
            }
            chance = hashing::mix(ask.chance, draw);
        }
        among_allowed(view, chance)
    }
}

/// The exact way: one of those that may be picked, in proportion to their shares. Looks at all, twice.
pub(crate) fn among_allowed(view: &Candidates<'_>, chance: u64) -> Option<usize> {
    among(view, chance, |_| true)
}

/// The same among those that `may` besides.
pub(crate) fn among(
    view: &Candidates<'_>,
    chance: u64,
    may: impl Fn(usize) -> bool,
) -> Option<usize> {
    let all = || view.iter().filter(|&index| may(index));
    let total: f64 = all().map(|index| f64::from(view.share(index))).sum();
    let mut left = unit(chance) * total;
    let mut last = None;
    for index in all() {
        last = Some(index);
        left -= f64::from(view.share(index));
        if left < 0.0 {
            break;
        }
    }
    last
}
