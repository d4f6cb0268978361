//! Owns looks at a part of a service that cost less than all of it.

use super::Service;
use crate::snapshot::BackendSnapshot;
use crate::time::Instant;

impl Service {
    /// One member at one moment; none for a stranger. Cost: a look-up under the writer's lock, and copying what is told of one member, however
    /// many there are.
    #[must_use]
    pub fn backend(&self, id: &str, now: Instant) -> Option<BackendSnapshot> {
        self.locked(|ledger| ledger.backend(id, now))
    }

    /// How many members there are, and how many of them may be picked without failing open. Cost: a look at each under the writer's lock;
    /// nothing is copied.
    #[must_use]
    pub fn census(&self) -> (usize, usize) {
        self.locked(|ledger| ledger.census())
    }
}
