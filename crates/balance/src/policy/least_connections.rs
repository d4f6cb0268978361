//! Fewest attempts in flight per weight; ties go round in proportion to weight.
//!
//! Exact: in-flight counts are shared by all workers, every candidate is looked at (cost grows with the members), and
//! ties are not the first one's: a rotation by the golden ratio visits them evenly.

use crate::ask::Ask;
use crate::policy::{Candidates, Policy};

/// 2^64 divided by the golden ratio: its multiples spread most evenly.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Debug)]
pub(crate) struct LeastConnections;

#[inline]
fn load(view: &Candidates<'_>, index: usize) -> f64 {
    f64::from(view.in_flight(index)) / f64::from(view.share(index))
}

impl Policy for LeastConnections {
    fn name(&self) -> &'static str {
        "least_connections"
    }

    fn choose(&self, view: &Candidates<'_>, _ask: &Ask<'_>) -> Option<usize> {
        let mut least = f64::INFINITY;
        let (mut first, mut ties, mut shares) = (None, 0_u32, 0.0_f64);
        for index in 0..view.len() {
            let load = load(view, index);
            if load > least || !view.may(index) {
                continue;
            }
            if load < least {
                (least, first, ties, shares) = (load, Some(index), 0, 0.0);
            }
            ties += 1;
            shares += f64::from(view.share(index));
        }
        if ties < 2 {
            return first;
        }
        // Counts may have moved since: whoever is still among the least by then takes the turn, else the first.
        let mut left = fraction(view.turn()) * shares;
        let mut last = first;
        for index in first?..view.len() {
            if load(view, index) <= least && view.may(index) {
                last = Some(index);
                left -= f64::from(view.share(index));
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }

    fn score(&self, view: &Candidates<'_>, index: usize, _ask: &Ask<'_>) -> Option<f64> {
        Some(load(view, index))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a fraction of 53 bits is fine enough"
)]
fn fraction(turn: u64) -> f64 {
    (turn.wrapping_mul(GOLDEN) >> 11) as f64 / (1_u64 << 53) as f64
}
