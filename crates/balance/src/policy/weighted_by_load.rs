//! Weighted, smooth rotation, where a backend's weight follows what it reports of its load; after gRPC's weighted round robin
//! (gRFC A58) and Envoy's `client_side_weighted_round_robin`.
//!
//! The share is the table's: the tick weighs (`load`), and publishes when a share has moved. A pick is one turn, as `round_robin`'s. Blind
//! to what is in flight: it evens out utilization over seconds, and cannot see what happens within one. For that, `adaptive`.

use crate::ask::Ask;
use crate::policy::{Candidates, Policy, round_robin};
use crate::table::Lane;

#[derive(Debug)]
pub(crate) struct WeightedByLoad(round_robin::RoundRobin);

impl WeightedByLoad {
    pub(crate) fn new(lanes: &[Lane]) -> Self {
        Self(round_robin::RoundRobin::new(lanes))
    }
}

impl Policy for WeightedByLoad {
    fn name(&self) -> &'static str {
        "weighted_by_load"
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
