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

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<LiveBackend>> {
        self.0.all.values()
    }
}

impl Known {
    /// What is known once these are the members. Cost: members, and a copy of none that stays.
    pub(super) fn then(&self, members: &[BackendPlan]) -> Self {
        let most = members.len() + self.all.len();
        let mut next = Known {
            all: HashMap::with_capacity(most),
            left: HashSet::new(),
        };
        for backend in members {
            let id = &backend.spec.id;
            let reached = match self.all.get(id) {
                // One that returns is another: what is still under way with the one that left is that one's.
                Some(earlier) if earlier.is_as(backend) && !self.left.contains(id) => {
                    earlier.clone()
                }
                _ => Arc::new(LiveBackend::new(backend)),
            };
            next.all.insert(id.clone(), reached);
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
