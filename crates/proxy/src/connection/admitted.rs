//! Owns a connection's place under its listener's limit, which goes with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::live::DoorState;

/// A place under a listener's limit of connections; what [`serve`](super::serve) takes so that it cannot be forgotten.
pub struct Admitted(Arc<DoorState>);

impl Admitted {
    /// A place, if there is one.
    #[must_use]
    pub fn take(state: &Arc<DoorState>, most: usize) -> Option<Self> {
        state
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < most).then_some(open + 1)
            })
            .ok()?;
        state.counters.admitted();
        Some(Self(state.clone()))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.counters.closed();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
