//! Owns what a listener keeps when the plan changes: what its clients are held to, and what was counted of it.

use std::sync::Arc;

use evenkeel_config::Plan;
use evenkeel_config::plan::ListenerPlan;

use super::{DoorState, Live, listener_of};
use crate::clock::since_1970;
use crate::tls::terms::Terms;

/// What each listener's clients are held to. Who made the plan has seen that it loads; where it does not all the same, nobody is
/// let in.
pub(super) fn terms(plan: &Plan, before: Option<&Live>) -> Vec<Option<Arc<Terms>>> {
    let listeners = plan.listeners.iter();
    let each = listeners.map(|listener| {
        let earlier = before.and_then(|before| {
            let same = |one: &ListenerPlan| one.name == listener.name;
            let at = before.plan.listeners.iter().position(same)?;
            before.terms.get(at)?.as_ref()
        });
        Terms::new(listener.tls.as_ref()?, earlier, since_1970()).ok()
    });
    each.collect()
}

/// What is counted of each listener.
pub(super) fn doors(plan: &Plan, before: Option<&Live>) -> Vec<Arc<DoorState>> {
    let earlier = |listener| before.and_then(|before| before.door_of(listener, plan));
    let listeners = plan.listeners.iter();
    listeners
        .map(|listener| earlier(listener).unwrap_or_default())
        .collect()
}

impl Live {
    /// What is counted of a listener of the next plan: what was counted under its name, or under the name that it had.
    fn door_of(&self, listener: &ListenerPlan, next: &Plan) -> Option<Arc<DoorState>> {
        let listeners = &self.plan.listeners;
        let renamed = |earlier: &ListenerPlan| {
            let gone = next.listeners.iter().all(|one| one.name != earlier.name);
            let heir = |bind| listener_of(next, &earlier.name, Some(bind));
            gone && earlier.binds.first().and_then(heir).is_some_and(|at| {
                next.listeners
                    .get(at)
                    .is_some_and(|heir| heir.name == listener.name)
            })
        };
        let at = listeners
            .iter()
            .position(|earlier| earlier.name == listener.name)
            .or_else(|| listeners.iter().position(renamed))?;
        self.doors.get(at).cloned()
    }
}
