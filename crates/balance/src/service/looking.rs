//! Owns looks at a part of a service that cost less than all of it.

use super::Service;
use crate::affinity::{self, Lost};
use crate::ask::{Ask, Tried};
use crate::backend::{BackendId, BackendSpec};
use crate::snapshot::{BackendSnapshot, Changes};
use crate::sync::Arc;
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

    /// The member of this [identity](affinity::identity), where the settings have an affinity. Cost: a search.
    #[must_use]
    pub fn member(&self, identity: u64) -> Option<BackendId> {
        let table = self.shared.table.load();
        affinity::member(&table, identity).map(|member| member.backend.id().clone())
    }

    /// Those members of these ids, as backends that were tried; strangers are passed over. Cost: a glance at each member for each of them.
    #[must_use]
    pub fn tried<'i>(&self, ids: impl IntoIterator<Item = &'i str>) -> Tried {
        let table = self.shared.table.load();
        let mut tried = Tried::default();
        for id in ids {
            let mut members = table.members.iter();
            if let Some(member) = members.find(|one| one.backend.id().as_str() == id) {
                tried.insert(&member.backend);
            }
        }
        tried
    }

    /// What is configured of one member; none for a stranger. Cost: a search under the writer's lock.
    #[must_use]
    pub fn spec(&self, backend: &BackendId) -> Option<BackendSpec> {
        self.locked(|ledger| ledger.spec(backend).ok().cloned())
    }

    /// How much of what checks go by has changed since it began: as long as this is the same, another look at the members finds the same. To
    /// be compared only while the service is held that the former one is of.
    /// Cost: the writer's lock.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let of = Arc::as_ptr(&self.shared).addr();
        self.locked(|ledger| Changes {
            of,
            ..ledger.changes()
        })
    }

    /// Those members of which something has changed since this was what [`changes`](Self::changes) said. None: who belongs to it has
    /// changed, or something that names nobody, and only a look at all says what. Cost: a glance at each member, under the writer's lock, and
    /// copying what is told of those.
    #[must_use]
    pub fn changed(&self, since: Changes, now: Instant) -> Option<Vec<BackendSnapshot>> {
        if since.of != Arc::as_ptr(&self.shared).addr() {
            return None;
        }
        self.locked(|ledger| ledger.changed(since, now))
    }

    /// What is configured of each member, in the order of configuration. Cost: members, under the writer's lock.
    #[must_use]
    pub fn specs(&self) -> Vec<BackendSpec> {
        self.locked(|ledger| ledger.specs())
    }

    /// Why a client that is kept was given another backend than its own: as it is now.
    #[must_use]
    pub fn lost(&self, identity: u64, ask: &Ask<'_>, now: Instant) -> Lost {
        affinity::lost(&self.shared.table.load(), identity, ask, now)
    }
}
