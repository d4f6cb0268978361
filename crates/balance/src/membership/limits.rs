//! Owns the adaptive limits of a service's members: when they begin and end, and what the tick makes of what answers told.

use super::Ledger;
use crate::event::EventKind;
use crate::limit::{Around, Limit};
use crate::time::Instant;

/// Of so many members one may look at the same time, and one in any case: what it takes less meanwhile is the others'.
const LOOKING: usize = 4;

impl Ledger {
    /// Of a backend that joins.
    pub(super) fn first_limit(&self, now: Instant) -> Option<Limit> {
        let settings = self.settings.adaptive_limit?;
        Some(Limit::new(&settings, now))
    }

    /// After a change of settings: other ends hold from the next tick on.
    pub(super) fn limits_switched(&mut self, now: Instant) {
        let settings = self.settings.adaptive_limit;
        for entry in &mut self.members {
            let Some(settings) = &settings else {
                entry.limit = None;
                continue;
            };
            entry.limit.get_or_insert_with(|| {
                // What was left when there was a limit the last time.
                entry.backend.apart.pace.take();
                Limit::new(settings, now)
            });
        }
    }

    /// Limits follow what was heard since the last tick.
    pub(super) fn follow_latency(&mut self, now: Instant) {
        let Some(settings) = self.settings.adaptive_limit else {
            return;
        };
        let limits = self.members.iter().flat_map(|entry| &entry.limit);
        let looking = limits.filter(|limit| limit.is_looking()).count();
        let mut room = (self.members.len() / LOOKING)
            .max(1)
            .saturating_sub(looking);
        for at in 0..self.members.len() {
            let entry = &mut self.members[at];
            let Some(limit) = &mut entry.limit else {
                continue;
            };
            let backend = &entry.backend;
            let around = Around {
                in_flight: backend.in_flight(),
                latency: backend.latency().unwrap_or_default(),
                may_look: room > 0,
            };
            let looked = limit.is_looking();
            let heard = backend.apart.pace.take();
            self.dirty |= limit.tick(heard, around, &settings, now);
            if limit.is_looking() && !looked {
                room = room.saturating_sub(1);
            }
            if let Some(end) = limit.news() {
                let (backend, limit) = (entry.spec.id.clone(), limit.in_use());
                self.tell(EventKind::LimitReached {
                    backend,
                    end,
                    limit,
                });
            }
        }
    }
}
