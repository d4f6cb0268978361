//! Owns a worker's connections to all backends of a service, and who of these is still one.
//!
//! A change of many backends must not hold a worker up: each is looked at again when it is picked, and of the others a few at a time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use evenkeel_balance::backend::Backend;
use evenkeel_balance::time::Instant;
use evenkeel_config::plan::UpstreamPlan;

use super::Lane;
use crate::live::ServiceState;
use crate::sock::Sock;

/// So many are looked at again in one sweep: closing what they kept costs some microseconds for each connection.
const LOOKS: usize = 64;

/// By the backend's serial. The seats of plans that follow each other share them.
pub(crate) struct Lanes<S>(RefCell<HashMap<u32, Rc<Lane<S>>>>);

impl<S> Default for Lanes<S> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<S: Sock> Lanes<S> {
    /// Connections to a picked backend. None: it left long ago.
    pub(crate) fn of(&self, backend: &Backend, state: &ServiceState) -> Option<Rc<Lane<S>>> {
        let version = state.version();
        let mut lanes = self.0.borrow_mut();
        if let Some(lane) = lanes.get(&backend.serial()) {
            if lane.known.get() == version || is_reached(lane, state, version) {
                return Some(lane.clone());
            }
            lanes.remove(&backend.serial());
        }
        let lane = Rc::new(Lane::new(state.reached(backend.id())?));
        lane.known.set(version);
        lanes.insert(backend.serial(), lane.clone());
        Some(lane)
    }

    /// Lets go of what nobody needs: connections that rest too long, and some of those to backends that have left.
    pub(crate) fn sweep(&self, how: &UpstreamPlan, state: &ServiceState, now: Instant) {
        let version = state.version();
        let mut looks = LOOKS;
        self.0.borrow_mut().retain(|_, lane| {
            lane.sweep(how, now);
            if lane.known.get() == version || looks == 0 {
                return true;
            }
            looks -= 1;
            is_reached(lane, state, version)
        });
    }
}

/// Whether the backend of a lane is still reached there, as of this version.
fn is_reached<S>(lane: &Lane<S>, state: &ServiceState, version: u64) -> bool {
    let now = state.reached(&lane.backend.id);
    let same = now.is_some_and(|now| Arc::ptr_eq(&now, &lane.backend));
    if same {
        lane.known.set(version);
    }
    same
}
