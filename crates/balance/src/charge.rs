//! Owns the count of attempts in flight on one backend, and of all that ever were.
//!
//! Both stand in one word, so a pick pays one atomic operation and a law can compare two counters that were
//! never added to each other. Knows nothing of who is charged.

use crate::sync::{AtomicU64, Ordering};

const PICKED: u64 = 1 << 32;

/// In-flight in the low half, picks (modulo 2^32) in the high half.
///
/// Relaxed throughout: each operation is atomic on one word, and nothing else is published through it.
#[derive(Debug, Default)]
pub(crate) struct Charge(AtomicU64);

impl Charge {
    /// Takes one charge, unless `limit` are in flight already (`u32::MAX` is no limit). Exact under threads.
    #[inline]
    pub(crate) fn take(&self, limit: u32) -> bool {
        if limit == u32::MAX {
            self.0.fetch_add(PICKED + 1, Ordering::Relaxed);
            return true;
        }
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if low(seen) >= limit {
                return false;
            }
            match self.0.compare_exchange_weak(
                seen,
                seen.wrapping_add(PICKED + 1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Gives one charge back.
    #[inline]
    pub(crate) fn give_back(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(low(before) > 0, "a charge was given back twice");
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        low(self.0.load(Ordering::Relaxed))
    }

    /// Picks so far modulo 2^32, and those in flight, of one moment.
    pub(crate) fn read(&self) -> (u32, u32) {
        let word = self.0.load(Ordering::Relaxed);
        (low(word >> 32), low(word))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_exact_and_a_full_backend_takes_no_charge() {
        let charge = Charge::default();
        assert!(charge.take(2) && charge.take(2));
        assert!(!charge.take(2));
        assert_eq!(charge.read(), (2, 2));
        charge.give_back();
        assert!(charge.take(2));
        assert_eq!(charge.read(), (3, 2));
    }

    #[test]
    fn picks_wrap_without_touching_the_in_flight_half() {
        let charge = Charge(AtomicU64::new(u64::MAX << 32));
        assert!(charge.take(u32::MAX));
        assert_eq!(charge.read(), (0, 1));
    }
}
