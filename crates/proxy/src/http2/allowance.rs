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
    /// Bytes that had come when it was looked last, and exchanges that were under way.
    looked: (u64, usize),
}

impl Allowance {
    pub(super) const fn of(all: Rc<Allowed>) -> Self {
        Self {
            all,
            own: 0,
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

    /// The connection's window while so many bytes wait on its streams; none if it stays.
    pub(super) fn window(&mut self, waiting: usize) -> Option<u32> {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        // What a stream that is read has under way is none of it.
        let missed = waiting - waiting % HTTP2_WINDOW;
        let others = self.all.0.get() - self.own;
        let own = missed.min(HTTP2_UNREAD - others);
        if own == self.own {
            return None;
        }
        self.own = own;
        self.all.0.set(others + own);
        Some(HTTP2_CLIENT_WINDOW + own)
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
            assert_eq!(one.window(waiting as usize), expect, "{waiting}");
        }
        let mut other = Allowance::of(all.clone());
        let left = HTTP2_UNREAD - 2 * HTTP2_WINDOW;
        assert_eq!(
            other.window(usize::MAX),
            Some(HTTP2_CLIENT_WINDOW + left),
            "what the first has is not the second's"
        );
        assert_eq!(one.window(3 * HTTP2_WINDOW as usize), None, "none is left");
        drop(other);
        assert!(one.window(3 * HTTP2_WINDOW as usize).is_some());
        drop(one);
        assert_eq!(all.0.get(), 0);
    }

    #[test]
    fn it_is_looked_when_much_came_and_when_less_is_under_way() {
        let mut own = Allowance::of(Rc::default());
        assert!(!own.is_due(LOOK - 1, 3) && own.is_due(LOOK, 3));
        assert!(!own.is_due(LOOK, 2), "nothing is allowed");
        own.window(HTTP2_WINDOW as usize);
        assert!(!own.is_due(LOOK, 2) && own.is_due(LOOK, 1));
        assert!(own.is_due(2 * LOOK, 5));
    }
}
