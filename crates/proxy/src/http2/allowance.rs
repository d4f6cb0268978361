//! Owns how much a client may have waiting on all streams of its connection: more than the usual while some of them are not read, so
//! that those hold up no other.
//!
//! As much for each stream from the start would let every connection hold 25 MiB. So a connection gets what it misses when it
//! misses it, out of what its worker's connections have together; when that is used up, streams that are not read hold up those
//! beside them, on their own connection.

use std::cell::Cell;
use std::rc::Rc;

use evenkeel_config::limits::{HTTP2_CLIENT_WINDOW, HTTP2_UNREAD, HTTP2_WINDOW};

/// How much may come before it is looked again: less than what is free after each look.
const LOOK: u64 = HTTP2_CLIENT_WINDOW as u64 / 8;

/// What one worker's connections have been allowed beyond the usual.
#[derive(Debug, Default)]
pub(crate) struct Allowed(Cell<u32>);

/// One connection's part of it.
pub(super) struct Allowance {
    all: Rc<Allowed>,
    own: u32,
    /// What its window is wider by.
    told: u32,
    /// Bytes that had come when it was looked last, and exchanges that were under way.
    looked: (u64, usize),
}

impl Allowance {
    pub(super) const fn of(all: Rc<Allowed>) -> Self {
        Self {
            all,
            own: 0,
            told: 0,
            looked: (0, 0),
        }
    }

    /// Whether to look what waits: so many bytes have come, so many exchanges are under way.
    pub(super) fn is_due(&mut self, came: u64, open: usize) -> bool {
        let (before, had) = self.looked;
        let due = came - before >= LOOK || self.own > 0 && open < had;
        self.looked.1 = open;
        if due {
            self.looked.0 = came;
        }
        due
    }

    /// The connection's window while so many bytes wait on its streams; none if it stays. `held`: what its client can have us hold by what it
    /// was granted, read or not: that is its part until it is sent and taken.
    pub(super) fn window(&mut self, waiting: u32, held: u32) -> Option<u32> {
        // What a stream that is read has under way is none of it.
        let missed = waiting - waiting % HTTP2_WINDOW;
        let others = self.all.0.get() - self.own;
        let told = missed.min(HTTP2_UNREAD - others);
        let granted = held.saturating_sub(HTTP2_CLIENT_WINDOW).min(self.own);
        self.own = told.max(granted);
        self.all.0.set(others + self.own);
        if told == self.told {
            return None;
        }
        self.told = told;
        Some(HTTP2_CLIENT_WINDOW + told)
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.all.0.set(self.all.0.get() - self.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_allowed_anew_until_all_is_used_up() {
        let all = Rc::new(Allowed::default());
        let mut one = Allowance::of(all.clone());
        for (waiting, expect) in [
            (0, None),
            (HTTP2_WINDOW - 1, None),
            (HTTP2_WINDOW, Some(HTTP2_WINDOW)),
            (HTTP2_WINDOW + 5, None),
            (5 * HTTP2_WINDOW + 5, Some(5 * HTTP2_WINDOW)),
            (u32::MAX, Some(HTTP2_UNREAD)),
            (5, Some(0)),
            (2 * HTTP2_WINDOW, Some(2 * HTTP2_WINDOW)),
        ] {
            let expect = expect.map(|more| HTTP2_CLIENT_WINDOW + more);
            assert_eq!(one.window(waiting, 0), expect, "{waiting}");
        }
        let mut other = Allowance::of(all.clone());
        let left = HTTP2_UNREAD - 2 * HTTP2_WINDOW;
        assert_eq!(
            other.window(u32::MAX, 0),
            Some(HTTP2_CLIENT_WINDOW + left),
            "what the first has is not the second's"
        );
        assert_eq!(one.window(3 * HTTP2_WINDOW, 0), None, "none is left");
        drop(other);
        assert!(one.window(3 * HTTP2_WINDOW, 0).is_some());
        drop(one);
        assert_eq!(all.0.get(), 0);
    }

    #[test]
    fn what_was_granted_is_its_part_until_it_is_used_up() {
        let all = Rc::new(Allowed::default());
        let mut one = Allowance::of(all.clone());
        let wide = 3 * HTTP2_WINDOW;
        assert_eq!(one.window(wide, wide), Some(HTTP2_CLIENT_WINDOW + wide));
        // Its streams were taken back: what waited is gone, and the client may send it all the same.
        let held = HTTP2_CLIENT_WINDOW + wide;
        assert_eq!(one.window(0, held), Some(HTTP2_CLIENT_WINDOW));
        assert_eq!(all.0.get(), wide);
        assert_eq!(one.window(0, held - HTTP2_WINDOW), None);
        assert_eq!(all.0.get(), 2 * HTTP2_WINDOW);
        assert_eq!(one.window(0, 0), None);
        assert_eq!(all.0.get(), 0);
    }

    #[test]
    fn it_is_looked_when_much_came_and_when_less_is_under_way() {
        let mut own = Allowance::of(Rc::default());
        assert!(!own.is_due(LOOK - 1, 3) && own.is_due(LOOK, 3));
        assert!(!own.is_due(LOOK, 2), "nothing is allowed");
        own.window(HTTP2_WINDOW, 0);
        assert!(!own.is_due(LOOK, 2) && own.is_due(LOOK, 1));
        assert!(own.is_due(2 * LOOK, 5));
    }
}
