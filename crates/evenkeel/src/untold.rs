//! Owns the order in which changes of which services there are get told: that in which they were made, and outside the lock that they were
//! made under, so that a listener may make the next one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use evenkeel_balance::service::Untold;

/// Changes that were made and are still to be told. There are as many as threads that change something, and no more.
#[derive(Debug, Default)]
pub(crate) struct InOrder {
    waiting: Mutex<VecDeque<Untold>>,
    telling: AtomicBool,
}

impl InOrder {
    /// Called under the lock of the change, so that they have its order.
    pub(crate) fn push(&self, untold: Untold) {
        self.waiting().push_back(untold);
    }

    /// Called outside that lock. One thread at a time tells; who comes meanwhile, from another thread or from within a listener, leaves its
    /// changes to that one.
    pub(crate) fn tell(&self) {
        while !self.waiting().is_empty() && !self.telling.swap(true, Ordering::Acquire) {
            loop {
                let Some(next) = self.waiting().pop_front() else {
                    break;
                };
                drop(next);
            }
            self.telling.store(false, Ordering::Release);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Untold>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
