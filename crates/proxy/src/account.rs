//! Owns what is counted and written down of bytes that go both ways as they come, tunnels and flows: as they go, and once at their
//! end, whatever ends them.

use std::rc::Rc;

use evenkeel_balance::time::Instant;

use crate::net::Net;
use crate::observation::PassedCounters;
use crate::reason::Reason;
use crate::worker::{Note, Worker};

/// An open account. Dropped before its reason is said, the worker ends.
pub(crate) struct Account<N: Net> {
    worker: Rc<Worker<N>>,
    note: Option<Note>,
    began: Instant,
    received: u64,
    sent: u64,
    /// Why it ends.
    pub(crate) reason: Reason,
}

impl<N: Net> Account<N> {
    /// Of what began then. None: nothing of it is counted.
    pub(crate) fn open(worker: Rc<Worker<N>>, note: Option<Note>, began: Instant) -> Self {
        let account = Self {
            worker,
            note,
            began,
            received: 0,
            sent: 0,
            reason: Reason::Drained,
        };
        account.count(|counters| counters.opened.add(1));
        account
    }

    fn count(&self, count: impl FnOnce(&PassedCounters)) {
        let note = self.note.as_ref();
        if let Some(counters) = note.and_then(|note| note.passed(self.worker.index)) {
            count(counters);
        }
    }

    /// So many bytes came so far.
    pub(crate) fn moved(&mut self, received: u64, sent: u64) {
        if (received, sent) == (self.received, self.sent) {
            return;
        }
        self.count(|counters| {
            counters.received.add(received - self.received);
            counters.sent.add(sent - self.sent);
        });
        (self.received, self.sent) = (received, sent);
    }
}

impl<N: Net> Drop for Account<N> {
    fn drop(&mut self) {
        self.count(|counters| counters.closed.add(1));
        // What a panic ends is counted as such.
        if let Some(note) = self.note.take().filter(|_| !std::thread::panicking()) {
            let total = self.worker.now().since(self.began);
            self.worker.observe_note(note, |seen| {
                (seen.reason, seen.total) = (self.reason, total);
                (seen.received, seen.sent) = (self.received, self.sent);
            });
        }
    }
}
