//! Owns what an attempt teaches that was given up for another: how long it would have taken nobody knows, but that it was longer.
//!
//! Whoever learns takes that so that no backend looks faster by being given up. Reasons: `docs/decisions/0034-hedges.md`.

use std::ops::Deref;

use super::Pick;
use crate::backend::Backend;
use crate::facts::Flags;
use crate::time::Instant;

impl<H: Deref<Target = Backend>> Pick<H> {
    pub(super) fn outlasted(&self, now: Instant) {
        let (backend, facts) = (&*self.held, &self.held.facts);
        let latency = now.since(self.at);
        let seconds = latency.as_secs_f32();
        // Where waits have no memory, what was left of it is as long as a whole one.
        let whole = seconds + backend.latency().map_or(0.0, |mean| mean.as_secs_f32());
        let relative = facts.compared(self.class, seconds);
        backend.speed.outlasted(relative);
        backend.outlasted(seconds);
        if facts.flags.has(Flags::PEAKS) {
            backend.peak.outlasted(relative, now);
        }
        // The time alone would be the same of a few too many as of far too many, and a limit would find that fewer are no faster.
        if facts.flags.has(Flags::PACES)
            && let Some(paced) = facts.paced(self.class, whole)
        {
            backend.apart.pace.answered(paced, backend.in_flight());
        }
        facts.hedging.outlasted(self.class, latency);
    }
}
