//! Owns the line while somebody holds it, and what is to be done when he lets go: what it came to is seen, and what is owed is told.
//!
//! A policy of the program's own may run under it, so nothing of the program's is called before its end.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::task::Waker;

use super::{Line, Queue, QueueSnapshot};
use crate::backend::Backend;
use crate::facts::Facts;
use crate::sync::{MutexGuard, Ordering};
use crate::time::Instant;

/// The line, held; and what is owed to listeners once it is held no more. Fields end from first to last.
pub(super) struct Held<'a> {
    line: HeldLine<'a>,
    _owed: Owed<'a>,
}

struct HeldLine<'a> {
    line: MutexGuard<'a, Line>,
    queue: &'a Queue,
}

struct Owed<'a>(&'a Facts);

impl Queue {
    /// Takes the line's lock.
    pub(super) fn line<'a>(&'a self, facts: &'a Facts) -> Held<'a> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        self.settling.store(true, Ordering::SeqCst);
        Held {
            line: HeldLine { line, queue: self },
            _owed: Owed(facts),
        }
    }

    /// To be called when there may be room, while somebody waits; `freed`: it was this backend's.
    #[cold]
    pub(crate) fn settle(&self, facts: &Facts, freed: Option<&Backend>, now: Instant) {
        self.settled(facts, freed, now, || ());
    }

    /// Gives what room there is to those who wait, and does something more before anybody else comes.
    pub(super) fn settled<R>(
        &self,
        facts: &Facts,
        freed: Option<&Backend>,
        now: Instant,
        more: impl FnOnce() -> R,
    ) -> R {
        let mut line = self.line(facts);
        // Held beyond the lock: who is served may have been the last to hold it.
        let first = line.waiting.values().next();
        let service = first.map(|first| first.service.clone());
        let wake = match &service {
            Some(service) => line.settle(service, freed, now),
            None => Vec::new(),
        };
        let result = more();
        drop(line);
        wake.into_iter().for_each(Waker::wake);
        result
    }
}

impl Deref for Held<'_> {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.line.line
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Line {
        &mut self.line.line
    }
}

impl Drop for HeldLine<'_> {
    fn drop(&mut self) {
        *self.queue.seen() = QueueSnapshot {
            waiting: self.line.waiting.len(),
            ..self.line.counts
        };
        // Before the lock is free: whoever holds it next raises this again.
        self.queue.settling.store(false, Ordering::SeqCst);
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        self.0.pay();
    }
}
