//! Weighted random, where a backend that fails more than its peers has its share lowered step by step, and slowly raised again.
//!
//! The share is the table's: the tick judges (`trust`), and publishes when a step was taken. A pick is one draw, as `random`'s.

use crate::ask::Ask;
use crate::policy::{Candidates, Policy, random};
use crate::table::Lane;

#[derive(Debug)]
pub(crate) struct HealthBased(random::Random);

impl HealthBased {
    pub(crate) fn new(lanes: &[Lane]) -> Self {
        Self(random::Random::new(lanes))
    }
}

impl Policy for HealthBased {
    fn name(&self) -> &'static str {
        "health_based"
    }

    #[inline]
    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
        self.0.choose(view, ask)
    }

    /// How many times its share the mean share is.
    fn score(&self, view: &Candidates<'_>, index: usize, _ask: &Ask<'_>) -> Option<f64> {
        Some(f64::from(view.lane(index).per_share))
    }
}
