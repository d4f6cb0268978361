//! Owns the count of attempts in flight on one backend, and of all that were finished; and that of a service with a limit of its own.
//!
//! A backend's stand in one word, so taking a charge is one atomic operation and finishing it is one. Knows nothing of who
//! is charged.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

const FINISHED: u64 = 1 << 32;

/// So many more are settled together: each time it is written, a worker finds the line of its next pick changed.
const SETTLED_AT: u64 = 1 << 24;

/// In-flight in the low half of `word`, finished (modulo 2^32) in the high half.
///
/// Relaxed where a charge is taken: each operation is atomic on one word, and nothing else is published through it. Sequentially
/// consistent where one is given back, which is then looked at beside the flag of those who wait (see `queue`).
#[derive(Debug, Default)]
pub(crate) struct Charge {
    word: AtomicU64,
    /// An earlier total of finished, exact; the high half of `word` counts on from its low half. Moved by the tick,
    /// which must come before 2^32 less those of [`SETTLED_AT`] more are finished.
    settled: AtomicU64,
    /// Counted on its own, so that the law of charges compares two counters that were never added to each other.
    #[cfg(debug_assertions)]
    picked: AtomicU64,
}

impl Charge {
    /// Takes one charge, unless `limit` are in flight already (`u32::MAX` is no limit). Exact under threads.
    #[inline]
    pub(crate) fn take(&self, limit: u32) -> bool {
        let taken = if limit == u32::MAX {
            self.word.fetch_add(1, Ordering::Relaxed);
            true
        } else {
            self.take_below(limit)
        };
        #[cfg(debug_assertions)]
        self.picked.fetch_add(u64::from(taken), Ordering::Relaxed);
        taken
    }

    fn take_below(&self, limit: u32) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            if low(seen) >= limit {
                return false;
            }
            match self.word.compare_exchange_weak(
                seen,
                seen + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Gives one charge back: the attempt was finished.
    #[inline]
    pub(crate) fn finish(&self) {
        let before = self.word.fetch_add(FINISHED - 1, Ordering::SeqCst);
        debug_assert!(low(before) > 0, "a charge was given back twice");
    }

    /// Gives one charge back: the attempt was abandoned, which is counted elsewhere.
    pub(crate) fn abandon(&self) {
        let before = self.word.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(low(before) > 0, "a charge was given back twice");
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        low(self.word.load(Ordering::Relaxed))
    }

    /// Finished since the beginning, and in flight, of one moment.
    pub(crate) fn read(&self) -> (u64, u32) {
        // The settled total is read first: it may be older than the word, never newer by the time both are used.
        let settled = self.settled.load(Ordering::Acquire);
        let word = self.word.load(Ordering::Relaxed);
        let since = low(word >> 32).wrapping_sub(low(settled));
        (settled + u64::from(since), low(word))
    }

    /// Moves the settled total up where it is far behind. Called by the tick only.
    pub(crate) fn settle(&self) {
        let (finished, _) = self.read();
        if finished - self.settled.load(Ordering::Relaxed) >= SETTLED_AT {
            self.settled.store(finished, Ordering::Release);
        }
    }

    /// The law of charges, `picked = finished + abandoned + in flight`, where picks are counted (builds with debug
    /// assertions). Exact only while no charge is taken or given back.
    pub(crate) fn law(&self, abandoned: u64) -> bool {
        #[cfg(debug_assertions)]
        {
            let (finished, in_flight) = self.read();
            self.picked.load(Ordering::Relaxed) == finished + abandoned + u64::from(in_flight)
        }
        #[cfg(not(debug_assertions))]
        {
            let _ = abandoned;
            true
        }
    }
}

/// Attempts in flight on a whole service, counted while it has a limit of its own.
#[derive(Debug, Default)]
pub(crate) struct Places(AtomicU32);

impl Places {
    /// Takes a place, unless so many are taken. Exact under threads.
    pub(crate) fn take(&self, limit: u32) -> bool {
        let below = |taken: u32| (taken < limit).then_some(taken.saturating_add(1));
        let taken = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, below);
        taken.is_ok()
    }

    pub(crate) fn give_back(&self) {
        let before = self.0.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a place was given back twice");
    }

    pub(crate) fn taken(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is asked for"
)]
const fn low(word: u64) -> u32 {
    word as u32
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_exact_and_a_full_backend_takes_no_charge() {
        let charge = Charge::default();
        assert!(charge.take(2) && charge.take(2));
        assert!(!charge.take(2));
        assert_eq!(charge.read(), (0, 2));
        charge.finish();
        assert_eq!(charge.read(), (1, 1));
        charge.abandon();
        assert!(charge.take(2));
        assert_eq!(charge.read(), (1, 1));
        assert!(charge.law(1) && !charge.law(0));
    }

    /// More than a half word after the beginning, what was settled last is what the half word counts on from.
    #[test]
    fn a_settled_total_outlives_the_half_word() {
        let all = (1_u64 << 32) - 1;
        let charge = Charge {
            word: AtomicU64::new(all << 32),
            ..Charge::default()
        };
        charge.settle();
        for more in 1..=3 {
            assert!(charge.take(u32::MAX));
            charge.finish();
            assert_eq!(charge.read(), (all + more, 0));
        }
    }

    /// Each write takes the line from the worker that picks it next.
    #[test]
    fn a_tick_writes_where_much_was_finished() {
        for (finished, expect) in [(SETTLED_AT - 1, 0), (SETTLED_AT, SETTLED_AT)] {
            let charge = Charge {
                word: AtomicU64::new(finished << 32),
                ..Charge::default()
            };
            charge.settle();
            assert_eq!(charge.settled.load(Ordering::Relaxed), expect);
            assert_eq!(charge.read(), (finished, 0));
        }
    }

    #[test]
    fn the_total_goes_on_when_the_half_word_wraps() {
        let all = (1_u64 << 32) - 1;
        let charge = Charge {
            word: AtomicU64::new(all << 32),
            settled: AtomicU64::new(all),
            ..Charge::default()
        };
        assert_eq!(charge.read(), (all, 0));
        for more in 1..=3 {
            assert!(charge.take(u32::MAX));
            charge.finish();
            assert_eq!(charge.read(), (all + more, 0), "unsettled");
        }
        charge.settle();
        assert_eq!(charge.read(), (all + 3, 0), "settled");
    }
}
