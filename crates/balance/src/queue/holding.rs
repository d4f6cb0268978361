//! Owns the line while somebody holds it, and what is to be done when he lets go: what it came to is seen, and what is owed is told.
//!
//! A policy of the program's own may run under it, so nothing of the program's is called before its end.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use super::{Line, Queue, QueueSnapshot};
use crate::facts::Facts;
use crate::sync::{MutexGuard, Ordering};

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
