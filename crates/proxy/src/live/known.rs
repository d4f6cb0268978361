//! Owns the backends that a service knows, by their identity: its members, and those that left with the last change, whom a pick may be on its
//! way to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use evenkeel_balance::backend::BackendId;
use evenkeel_config::plan::BackendPlan;

use super::LiveBackend;

/// Backends by their identity; replaced whole, so that nobody waits while it is made.
pub(super) struct Known {
    pub(super) all: HashMap<BackendId, Arc<LiveBackend>>,
    /// Those of them that left with the change that made this.
    pub(super) left: HashSet<BackendId>,
}

/// The backends that a service knew at one time: its members, and those that left last.
pub struct Reach(pub(super) Arc<Known>);

impl Reach {
    /// The one of this identity.
    #[must_use]
    pub fn of(&self, id: &BackendId) -> Option<&Arc<LiveBackend>> {
        self.0.all.get(id)
    }

    /// The one that goes on as this member. None: it is new, another by its address, or left with the last change and returns as another.
    #[must_use]
    pub fn goes_on(&self, member: &BackendPlan) -> Option<&Arc<LiveBackend>> {
        self.0.goes_on(member)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<LiveBackend>> {
        self.0.all.values()
    }
}

impl Known {
    /// One that returns is another: what is still under way with the one that left is that one's.
    fn goes_on(&self, member: &BackendPlan) -> Option<&Arc<LiveBackend>> {
        let id = &member.spec.id;
        let earlier = self.all.get(id).filter(|_| !self.left.contains(id));
        earlier.filter(|earlier| earlier.is_as(member))
    }

    /// What is known once these are the members. Cost: members, and a copy of none that stays.
    pub(super) fn then(&self, members: &[BackendPlan]) -> Self {
        let most = members.len() + self.all.len();
        let mut next = Known {
            all: HashMap::with_capacity(most),
            left: HashSet::new(),
        };
        for backend in members {
            let reached = self.goes_on(backend).cloned();
            let reached = reached.unwrap_or_else(|| Arc::new(LiveBackend::new(backend)));
            next.all.insert(backend.spec.id.clone(), reached);
        }
        for (id, earlier) in &self.all {
            if !self.left.contains(id) && !next.all.contains_key(id) {
                next.left.insert(id.clone());
                next.all.insert(id.clone(), earlier.clone());
            }
        }
        next
    }
}
