//! Owns what operators want otherwise than the configuration says. It lies over each plan that comes, as far as that still has what
//! they spoke of: see `docs/decisions/0016-overlay.md`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use evenkeel_balance::backend::BackendId;
use evenkeel_config::plan::{BackendPlan, ListenerPlan, NamePlan, ServicePlan};
use evenkeel_config::{Plan, limits};

use crate::command::{Admin, Refused};

#[derive(Debug, Default)]
pub(crate) struct Overlay {
    services: HashMap<Arc<str>, Wishes>,
    listeners: HashSet<Arc<str>>,
}

/// What is wanted of a service.
#[derive(Debug, Default)]
struct Wishes {
    drains: bool,
    backends: HashMap<BackendId, (Entry, Admin)>,
}

/// Where a backend stands in the configuration.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Listed(BackendPlan),
    /// Behind one of these names. It may leave DNS and return: only the operator's own text counts.
    Named(Vec<NamePlan>),
}

impl Entry {
    fn of(service: &ServicePlan, id: &BackendId) -> Self {
        let listed = service.backends.iter().find(|one| one.spec.id == *id);
        match listed {
            Some(listed) => Self::Listed(listed.clone()),
            None => Self::Named(service.names.clone()),
        }
    }
}

impl Overlay {
    /// Goes on over another plan: what that has not, or has otherwise, is as it says.
    pub(crate) fn follow(&mut self, plan: &Plan) {
        self.services.retain(|name, wishes| {
            let service = plan.services.iter().find(|one| one.name == *name);
            let Some(service) = service else { return false };
            let same = |id: &BackendId, entry: &Entry| Entry::of(service, id) == *entry;
            wishes.backends.retain(|id, (entry, _)| same(id, entry));
            wishes.drains || !wishes.backends.is_empty()
        });
        let has = |name: &Arc<str>| plan.listeners.iter().any(|one| one.name == *name);
        self.listeners.retain(has);
    }

    /// Lays itself over the members of a service.
    pub(crate) fn lay(
        &self,
        service: &ServicePlan,
        mut members: Vec<BackendPlan>,
    ) -> Vec<BackendPlan> {
        let Some(wishes) = self.services.get(&service.name) else {
            return members;
        };
        for one in &mut members {
            if let Some((_, admin)) = wishes.backends.get(&one.spec.id) {
                one.spec.admin = *admin;
            }
            if wishes.drains && one.spec.admin == Admin::Enabled {
                one.spec.admin = Admin::Draining;
            }
        }
        members
    }

    /// Notes what is wanted of a backend of which the configuration wants something else, or nothing else.
    pub(crate) fn wish(
        &mut self,
        service: &ServicePlan,
        member: &BackendPlan,
        admin: Admin,
    ) -> Result<(), Refused> {
        let all = self.services.values();
        let count: usize = all.map(|wishes| wishes.backends.len()).sum();
        let wishes = self.services.entry(service.name.clone()).or_default();
        let id = &member.spec.id;
        if member.spec.admin == admin {
            wishes.backends.remove(id);
            return Ok(());
        }
        if count >= limits::BACKENDS && !wishes.backends.contains_key(id) {
            return Err(Refused::TooMany);
        }
        let entry = Entry::of(service, id);
        wishes.backends.insert(id.clone(), (entry, admin));
        Ok(())
    }

    /// Notes whether a whole service drains. True: it was otherwise before.
    pub(crate) fn drain(&mut self, service: &ServicePlan, drains: bool) -> bool {
        let wishes = self.services.entry(service.name.clone()).or_default();
        std::mem::replace(&mut wishes.drains, drains) != drains
    }

    /// Notes whether clients are steered away from a listener. True: it was otherwise before.
    pub(crate) fn steer_away(&mut self, listener: &Arc<str>, away: bool) -> bool {
        match away {
            true => self.listeners.insert(listener.clone()),
            false => self.listeners.remove(listener),
        }
    }

    /// Whether clients are steered away from it.
    pub(crate) fn is_away(&self, listener: &str) -> bool {
        self.listeners.contains(listener)
    }

    /// What is wanted of the backends of a service.
    pub(crate) fn wanted(&self, service: &str) -> Vec<(String, Admin)> {
        let wishes = self.services.get(service);
        let all = wishes.into_iter().flat_map(|wishes| &wishes.backends);
        all.map(|(id, (_, admin))| (id.as_str().to_owned(), *admin))
            .collect()
    }

    /// Whether a whole service drains.
    pub(crate) fn drains(&self, service: &str) -> bool {
        (self.services.get(service)).is_some_and(|wishes| wishes.drains)
    }

    /// Listeners that clients are steered away from.
    pub(crate) fn away(&self) -> Vec<String> {
        self.listeners
            .iter()
            .map(|one| String::from(&**one))
            .collect()
    }

    /// The plan as far as it is to be bound.
    pub(crate) fn bindable<'p>(&self, plan: &'p Plan) -> std::borrow::Cow<'p, Plan> {
        let mut plan = std::borrow::Cow::Borrowed(plan);
        if !self.listeners.is_empty() {
            let away = |one: &&mut ListenerPlan| self.listeners.contains(&one.name);
            for listener in plan.to_mut().listeners.iter_mut().filter(away) {
                listener.binds.clear();
            }
        }
        plan
    }
}
