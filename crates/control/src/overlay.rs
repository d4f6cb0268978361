//! Owns what operators want otherwise than the configuration says. It lies over each plan that comes, as far as that still has what
//! they spoke of: see `docs/decisions/0016-overlay.md`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use evenkeel_config::edits::Edits;
use evenkeel_config::plan::{BackendPlan, ListenerPlan, ServicePlan};
use evenkeel_config::{Plan, limits};

use crate::command::{Admin, Refused, word};
use crate::texts::Value;

/// The entry of the configuration that a wish is held to.
mod entry;

/// What operators want otherwise than the configuration says, as plain data: for another process, or for another start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// By service.
    pub services: BTreeMap<String, WantedService>,
    /// Listeners that clients are steered away from.
    pub away: BTreeSet<String>,
    /// What is changed of the configuration beside its texts.
    pub edits: Edits,
}

/// What is wanted of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedService {
    /// All of it drains.
    pub drains: bool,
    /// By identity.
    pub backends: BTreeMap<String, WantedBackend>,
}

/// What is wanted of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedBackend {
    /// Its state.
    pub admin: Admin,
    /// What its entry in the configuration came to when this was asked for: one that changes was written by somebody with
    /// something in mind, and wins.
    pub entry: u64,
}

impl Wanted {
    /// Backends of which something is wanted.
    #[must_use]
    pub fn backends(&self) -> usize {
        let each = self.services.values();
        each.map(|service| service.backends.len()).sum()
    }

    /// What of it holds over this plan, which may have changed since: see `docs/decisions/0016-overlay.md`. Cost: the backends of the
    /// services that it speaks of.
    #[must_use]
    pub fn over(self, plan: &Plan) -> Self {
        let mut overlay = Overlay::from(self);
        overlay.follow(plan);
        overlay.wanted
    }
}

/// Lays states that are wanted over values that hold.
pub(crate) fn shown_over(mut values: Vec<Value>, wanted: &Wanted, plan: &Plan) -> Vec<Value> {
    let draining = word(Admin::Draining);
    let mut states = HashMap::new();
    for (name, wishes) in &wanted.services {
        let services = plan.services.iter().filter(|one| *one.name == **name);
        for one in services.flat_map(|service| service.backends.iter()) {
            let (id, wish) = (
                one.spec.id.as_str(),
                wishes.backends.get(one.spec.id.as_str()),
            );
            let admin = wish.map_or(one.spec.admin, |one| one.admin);
            let drains = wishes.drains && admin == Admin::Enabled;
            if wish.is_some() || drains {
                let state = if drains { draining } else { word(admin) };
                states.insert(format!("services.{name}.backends[{id}].state"), state);
            }
        }
        if wishes.drains {
            states.insert(format!("services.{name}.state"), draining);
        }
    }
    states.extend(
        wanted
            .away
            .iter()
            .map(|name| (format!("listeners.{name}.state"), draining)),
    );
    for one in &mut values {
        if let Some(state) = states.remove(&one.path) {
            (one.shown, one.from, one.place) = (Some(state.to_owned()), "operator", None);
        }
    }
    // No key of a configuration says these.
    let mut more: Vec<_> = states.into_iter().collect();
    more.sort_unstable();
    values.extend(more.into_iter().map(|(path, state)| Value {
        path,
        shown: Some(state.to_owned()),
        from: "operator",
        place: None,
    }));
    values
}

#[derive(Debug, Default)]
pub(crate) struct Overlay {
    wanted: Wanted,
    /// Rises with each change.
    version: u64,
}

impl From<Wanted> for Overlay {
    fn from(wanted: Wanted) -> Self {
        Self { wanted, version: 0 }
    }
}

impl Overlay {
    /// All of it, and a number that is another one after each change.
    pub(crate) fn wanted(&self) -> (&Wanted, u64) {
        (&self.wanted, self.version)
    }

    /// Goes on with other edits.
    pub(crate) fn edit(&mut self, edits: Edits) {
        if self.wanted.edits != edits {
            self.wanted.edits = edits;
            self.version += 1;
        }
    }

    /// Goes on as it was once, or will be.
    pub(crate) fn replace(&mut self, wanted: Wanted) -> Wanted {
        self.version += 1;
        std::mem::replace(&mut self.wanted, wanted)
    }

    /// Holds what is wanted of backends to their entries in another plan, where what changes them is an operator's too: who drains one
    /// and then gives it another weight wants both.
    pub(crate) fn rebase(&mut self, before: &Plan, after: &Plan) {
        let find = |plan: &'_ Plan, name: &str| {
            let at = plan.services.iter().position(|one| *one.name == *name)?;
            Some(at)
        };
        for (name, wishes) in &mut self.wanted.services {
            let Some((was, is)) = find(before, name).zip(find(after, name)) else {
                continue;
            };
            let was = entry::Entries::of(&before.services[was]);
            let is = entry::Entries::of(&after.services[is]);
            for (id, one) in &mut wishes.backends {
                if was.of_id(id) == one.entry {
                    one.entry = is.of_id(id);
                }
            }
        }
    }

    /// Goes on over another plan: what that has not, or has otherwise, is as it says.
    pub(crate) fn follow(&mut self, plan: &Plan) {
        let services: HashMap<&str, &ServicePlan> =
            plan.services.iter().map(|one| (&*one.name, one)).collect();
        let before = self.wanted.backends();
        let (named, away) = (self.wanted.services.len(), self.wanted.away.len());
        self.wanted.services.retain(|name, wishes| {
            let Some(service) = services.get(&**name) else {
                return false;
            };
            if !wishes.backends.is_empty() {
                let entries = entry::Entries::of(service);
                let same = |id: &String, one: &WantedBackend| entries.of_id(id) == one.entry;
                wishes.backends.retain(|id, one| same(id, one));
            }
            wishes.drains || !wishes.backends.is_empty()
        });
        let has = |name: &String| plan.listeners.iter().any(|one| *one.name == **name);
        self.wanted.away.retain(has);
        let same = before == self.wanted.backends()
            && (named, away) == (self.wanted.services.len(), self.wanted.away.len());
        self.version += u64::from(!same);
    }

    /// Lays itself over the members of a service.
    pub(crate) fn lay(
        &self,
        service: &ServicePlan,
        mut members: Arc<[BackendPlan]>,
    ) -> Arc<[BackendPlan]> {
        let Some(wishes) = self.wanted.services.get(&*service.name) else {
            return members;
        };
        for one in Arc::make_mut(&mut members) {
            if let Some(wanted) = wishes.backends.get(one.spec.id.as_str()) {
                one.spec.admin = wanted.admin;
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
        let count = self.wanted.backends();
        let id = member.spec.id.as_str();
        let wishes = self.of(&service.name);
        if member.spec.admin == admin {
            let was = wishes.backends.remove(id).is_some();
            self.version += u64::from(was);
            return Ok(());
        }
        if count >= limits::BACKENDS && !wishes.backends.contains_key(id) {
            return Err(Refused::TooMany);
        }
        let entry = entry::Entries::of(service).of_id(id);
        let wanted = WantedBackend { admin, entry };
        let before = wishes.backends.insert(id.to_owned(), wanted);
        self.version += u64::from(before != Some(wanted));
        Ok(())
    }

    /// Notes whether a whole service drains. True: it was otherwise before.
    pub(crate) fn drain(&mut self, service: &ServicePlan, drains: bool) -> bool {
        let wishes = self.of(&service.name);
        let changed = std::mem::replace(&mut wishes.drains, drains) != drains;
        self.version += u64::from(changed);
        changed
    }

    fn of(&mut self, service: &str) -> &mut WantedService {
        let services = &mut self.wanted.services;
        services.entry(service.to_owned()).or_default()
    }

    /// Notes whether clients are steered away from a listener. True: it was otherwise before.
    pub(crate) fn steer_away(&mut self, listener: &Arc<str>, away: bool) -> bool {
        let all = &mut self.wanted.away;
        let changed = match away {
            true => all.insert(String::from(&**listener)),
            false => all.remove(&**listener),
        };
        self.version += u64::from(changed);
        changed
    }

    /// Whether clients are steered away from it.
    pub(crate) fn is_away(&self, listener: &str) -> bool {
        self.wanted.away.contains(listener)
    }

    /// The plan as far as it is to be bound.
    pub(crate) fn bindable<'p>(&self, plan: &'p Plan) -> std::borrow::Cow<'p, Plan> {
        let mut plan = std::borrow::Cow::Borrowed(plan);
        if !self.wanted.away.is_empty() {
            let away = |one: &&mut ListenerPlan| self.is_away(&one.name);
            for listener in plan.to_mut().listeners.iter_mut().filter(away) {
                listener.binds.clear();
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests;
