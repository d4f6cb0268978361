//! Owns the part of its share that whoever watches gives a backend, beside what is configured of it.
//!
//! A factor of its own: the weight, slow start, draining and reloads change beside it, and none undoes another. It goes into the share when
//! a table is made, so that no pick pays for it. Who leaves takes it along; keyed policies do not heed it, as keys stay where they are.

use super::Ledger;
use crate::backend::BackendId;

/// No share is made smaller by it than this part, nor larger than so many times.
const LEAST: f32 = 0.01;
const MOST: f32 = 100.0;

impl Ledger {
    /// Gives members these factors, those that are none are passed over. Says how many changed.
    pub(crate) fn adjust(&mut self, factors: &[(BackendId, f32)]) -> usize {
        let mut changed = 0;
        for (id, factor) in factors {
            let Some(&at) = self.index.get(id).filter(|_| !factor.is_nan()) else {
                continue;
            };
            let factor = factor.clamp(LEAST, MOST);
            let entry = &mut self.members[at];
            if entry.factor.to_bits() != factor.to_bits() {
                entry.factor = factor;
                changed += 1;
            }
        }
        if changed > 0 {
            // What each got before says nothing of what it is to get from here on.
            for entry in &mut self.members {
                entry.compared = entry.backend.counts().picked;
            }
            self.dirty = true;
        }
        changed
    }

    /// Whether any of these differs from what its member has.
    pub(crate) fn would_adjust(&self, factors: &[(BackendId, f32)]) -> bool {
        factors.iter().any(|(id, factor)| {
            let entry = self.index.get(id).map(|&at| &self.members[at]);
            entry.is_some_and(|entry| {
                entry.factor.to_bits() != factor.clamp(LEAST, MOST).to_bits() && !factor.is_nan()
            })
        })
    }
}
