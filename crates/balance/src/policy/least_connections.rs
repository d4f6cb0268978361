//! Fewest attempts in flight per weight; ties are drawn by chance in proportion to weight.
//!
//! Exact: in-flight counts are shared by all workers and every candidate is looked at (cost grows with the members).
//! A tie is not the first one's, nor a rotation's: with some backends busy, every rotation tried gave the first and
//! last positions of the list up to 1.2 times their share at low load; a draw favours no position.

use crate::ask::Ask;
use crate::policy::{Candidates, Policy, unit};

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

    fn choose(&self, view: &Candidates<'_>, ask: &Ask<'_>) -> Option<usize> {
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
        // Counts may have moved since: whoever is still among the least by then takes it, else the first.
        let mut left = unit(ask.chance) * shares;
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
