//! Owns which exchanges are spans of a trace (W3C Trace Context), their ids, and those that wait to be told to whoever collects them.
//!
//! Whoever is trusted and hands an exchange on says whether it is recorded; of the others a share is drawn. An exchange that waits to be told
//! holds up nobody: of more than so many, and while somebody takes them, the new ones are dropped and counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use evenkeel_config::limits::TRACES_WAIT;
use evenkeel_wire::forward::Span;

use super::Recorded;
use crate::observation::Count;

/// An exchange's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    span: Span,
    parent: Option<u64>,
}

impl Trace {
    /// Below this span, or a trace of its own.
    pub(super) fn begin(parent: Option<Span>, chance: impl Fn() -> u64) -> Self {
        // No id may be 0.
        let fresh = || u128::from(chance() | 1) << 64 | u128::from(chance());
        Self {
            span: Span {
                trace: parent.map_or_else(fresh, |parent| parent.trace),
                id: chance() | 1,
            },
            parent: parent.map(|parent| parent.id),
        }
    }

    /// The exchange's own span, which the spans of its attempts hang below.
    #[must_use]
    pub const fn span(&self) -> Span {
        self.span
    }

    /// The id of the span that it hangs below. None: it is the first of its trace.
    #[must_use]
    pub const fn parent(&self) -> Option<u64> {
        self.parent
    }

    /// The id of the span of the attempt that follows this decision: another for each, and none the exchange's own (the finalizer of
    /// `SplitMix64`, which meets no number twice: Steele, Lea, Flood, OOPSLA 2014).
    #[must_use]
    pub fn of_attempt(&self, decision: usize) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        let mut id = (self.span.id).wrapping_add(step.wrapping_mul(decision as u64 + 1));
        id = (id ^ id >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        id = (id ^ id >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        id ^= id >> 31;
        // One of 2^64 is 0, and no id may be.
        if id == 0 { step } else { id }
    }
}

/// How many exchanges were to be told, and were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// Those that waited.
    pub kept: u64,
    /// Those that were dropped: too many waited, or somebody took them at that moment.
    pub dropped: u64,
    /// Those that were not begun to be written down: too many have not ended.
    pub crowded: u64,
}

/// One worker's exchanges that wait to be told.
#[derive(Debug, Default)]
pub struct Waiting {
    line: Mutex<VecDeque<Arc<Recorded>>>,
    kept: Count,
    /// Of both ends.
    dropped: AtomicU64,
    crowded: Count,
}

impl Waiting {
    pub(super) fn put(&self, record: Arc<Recorded>) {
        let line = match self.line.try_lock() {
            Ok(line) => Some(line),
            Err(TryLockError::Poisoned(line)) => Some(line.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        match line.filter(|line| line.len() < TRACES_WAIT) {
            Some(mut line) => {
                line.push_back(record);
                self.kept.add(1);
            }
            None => self.lose(1),
        }
    }

    fn lose(&self, number: u64) {
        self.dropped.fetch_add(number, Ordering::Relaxed);
    }

    pub(super) fn crowded(&self) {
        self.crowded.add(1);
    }

    /// Takes the oldest of them, so many at most. Their worker drops what ends at that moment.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<Arc<Recorded>> {
        let line = self.line.lock();
        let mut line = line.unwrap_or_else(PoisonError::into_inner);
        let most = most.min(line.len());
        line.drain(..most).collect()
    }

    /// Those that wait are told nobody.
    pub fn drop_all(&self) {
        let gone = self.take(usize::MAX).len();
        self.lose(gone as u64);
    }

    /// How many there were.
    #[must_use]
    pub fn counts(&self) -> TraceCounts {
        TraceCounts {
            kept: self.kept.get(),
            dropped: self.dropped.load(Ordering::Relaxed),
            crowded: self.crowded.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_span_hangs_below_its_parent_and_no_id_comes_twice() {
        let next = Cell::new(7);
        let chance = || next.replace(next.get() + 1);
        let first = Trace::begin(None, chance);
        assert_eq!(first.parent(), None);
        assert_eq!(first.span().trace, 7 << 64 | 8);
        let below = Trace::begin(Some(first.span()), chance);
        assert_eq!(below.span().trace, first.span().trace);
        assert_eq!(below.parent(), Some(first.span().id));
        let mut ids: HashSet<_> = (0..16).map(|at| below.of_attempt(at)).collect();
        ids.insert(below.span().id);
        assert_eq!(ids.len(), 17);
        assert!(!ids.contains(&0));
        let zero = Trace::begin(None, || 0);
        assert!(zero.span().trace != 0 && zero.span().id != 0);
    }
}
