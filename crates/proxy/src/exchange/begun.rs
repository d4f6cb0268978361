//! Owns an exchange that is under way: whatever ends it, it is observed, and what was recorded of it is kept.

use std::cell::OnceCell;
use std::rc::Rc;

use evenkeel_balance::time::Instant;

use crate::net::Net;
use crate::reason::Reason;
use crate::recorded::Recording;
use crate::tls::secured::Secured;
use crate::worker::{Desk, View, Worker};

/// An exchange that is under way. Dropped so, the worker ends: it was cut, and is observed all the same.
pub(super) struct Begun<N: Net> {
    pub(super) worker: Rc<Worker<N>>,
    pub(super) view: Rc<View<N>>,
    pub(super) desk: Option<Box<Desk>>,
    pub(super) began: Instant,
    /// What is written down of it. Empty: nothing is.
    pub(super) recording: OnceCell<Rc<Recording>>,
}

impl<N: Net> Begun<N> {
    pub(super) fn new(worker: Rc<Worker<N>>) -> Self {
        Self {
            view: worker.view(),
            desk: None,
            began: worker.now(),
            recording: OnceCell::new(),
            worker,
        }
    }

    pub(super) fn observe(&self, desk: &mut Desk, secured: Option<&Secured>) {
        if desk.seen.head_received > 0 {
            desk.seen.total = self.worker.now().since(self.began);
            self.worker.observe(&self.view, desk, secured);
            self.keep(desk, secured);
        }
    }

    /// Keeps what was written down of it.
    #[inline]
    pub(super) fn keep(&self, desk: &mut Desk, secured: Option<&Secured>) {
        if let Some(recording) = self.recording.get() {
            self.worker.keep(recording, &self.view, desk, secured);
        }
    }
}

impl<N: Net> Drop for Begun<N> {
    fn drop(&mut self) {
        // What a panic ends is counted as such.
        if let Some(mut desk) = self.desk.take().filter(|_| !std::thread::panicking()) {
            desk.seen.reason = Reason::Drained;
            self.observe(&mut desk, None);
        }
    }
}
