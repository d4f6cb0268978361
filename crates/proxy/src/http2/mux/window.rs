//! Owns the arithmetic of flow control (RFC 9113 section 5.2), as a connection and each of its streams has it.

/// The most that a window may hold.
pub(super) const MOST: i64 = 0x7FFF_FFFF;

/// What a window that many share is opened by, at least.
const LEAST: u32 = 32 * 1024;

/// More came than was allowed, or more was granted than can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overrun;

/// What the peer may send.
#[derive(Debug)]
pub(super) struct Inward {
    /// What it may have sent that nobody has taken.
    most: u32,
    /// What it may still send.
    open: i64,
    /// What came and was not taken.
    unread: u32,
}

impl Inward {
    /// One that the peer knows to be so large.
    pub(super) const fn new(most: u32) -> Self {
        Self {
            most,
            open: most as i64,
            unread: 0,
        }
    }

    /// So much came.
    pub(super) fn came(&mut self, length: u32) -> Result<(), Overrun> {
        let open = self.open - i64::from(length);
        if open < 0 {
            return Err(Overrun);
        }
        self.open = open;
        self.unread += length;
        Ok(())
    }

    /// So much of it was taken. What the peer is to be granted, once that is worth a frame.
    pub(super) fn taken(&mut self, length: u32) -> Option<u32> {
        self.unread -= length.min(self.unread);
        self.grant(self.most / 2)
    }

    /// The same of a window that many share: what nobody takes is no part of it, and does not keep the rest shut.
    pub(super) fn taken_of_many(&mut self, length: u32) -> Option<u32> {
        self.unread -= length.min(self.unread);
        let read = self.most.saturating_sub(self.unread);
        self.grant((read / 2).max(LEAST))
    }

    /// It is to be so large from here on. What the peer is to be granted at once.
    pub(super) fn resize(&mut self, most: u32) -> Option<u32> {
        self.most = most;
        self.grant(1)
    }

    /// What the peer may still send.
    pub(super) fn open(&self) -> u32 {
        u32::try_from(self.open).unwrap_or(0)
    }

    /// What was not taken, and what the peer may still send: what it can have us hold.
    pub(super) fn held(&self) -> u32 {
        self.unread.saturating_add(self.open())
    }

    /// Bytes that came and were not taken.
    pub(super) const fn unread(&self) -> u32 {
        self.unread
    }

    fn grant(&mut self, least: u32) -> Option<u32> {
        let owed = i64::from(self.most) - i64::from(self.unread) - self.open;
        if owed < i64::from(least.max(1)) {
            return None;
        }
        self.open += owed;
        u32::try_from(owed).ok()
    }
}

/// What the peer takes.
#[derive(Debug)]
pub(super) struct Outward(i64);

impl Outward {
    pub(super) const fn new(open: u32) -> Self {
        Self(open as i64)
    }

    /// How much may be sent.
    pub(super) fn open(&self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// So much was sent; at most what is open.
    pub(super) fn sent(&mut self, length: usize) {
        self.0 -= i64::try_from(length).unwrap_or(MOST);
    }

    /// The peer takes so much more; or less: it has changed what streams begin with.
    pub(super) fn granted(&mut self, by: i64) -> Result<(), Overrun> {
        let open = self.0 + by;
        if open > MOST {
            return Err(Overrun);
        }
        self.0 = open;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_opens_by_halves_and_never_by_more_than_was_taken() {
        let mut window = Inward::new(100);
        for (came, taken, expect) in [
            (60, 49, None),
            (0, 1, Some(50)),
            (90, 0, None),
            (0, 49, None),
            (0, 1, Some(50)),
            (0, 50, Some(50)),
        ] {
            window.came(came).unwrap();
            assert_eq!(window.taken(taken), expect, "{came} came, {taken} taken");
        }
        assert_eq!(window.came(101), Err(Overrun));
        assert_eq!(window.unread(), 0);
        assert_eq!(window.came(100), Ok(()));
        assert_eq!(window.came(1), Err(Overrun));
    }

    #[test]
    fn what_nobody_takes_does_not_keep_the_rest_shut() {
        for (unread, taken, expect) in [
            (0, LEAST - 1, None),
            (0, LEAST, None),
            (0, LEAST * 50, Some(LEAST * 50)),
            // Half of all is never taken.
            (LEAST * 96, LEAST * 2 - 1, None),
            (LEAST * 96, LEAST * 2, Some(LEAST * 2)),
            (LEAST * 99, LEAST - 1, None),
            (LEAST * 99, LEAST, Some(LEAST)),
        ] {
            let mut window = Inward::new(LEAST * 100);
            window.came(unread + taken).unwrap();
            assert_eq!(window.taken_of_many(taken), expect, "{unread} {taken}");
        }
    }

    #[test]
    fn a_larger_window_is_told_at_once_and_a_smaller_one_as_bytes_are_taken() {
        let mut window = Inward::new(100);
        window.came(100).unwrap();
        assert_eq!(window.resize(150), Some(50));
        assert_eq!(window.resize(100), None);
        assert_eq!(
            window.taken(50),
            None,
            "what was granted before is used up first"
        );
        assert_eq!(window.taken(50), Some(50));
        assert_eq!(window.resize(100), None, "nothing is granted twice");
    }

    #[test]
    fn what_may_be_sent_may_be_less_than_nothing() {
        let mut window = Outward::new(65_535);
        window.sent(65_535);
        window.granted(-65_535).unwrap();
        assert_eq!(window.open(), 0);
        window.granted(65_536).unwrap();
        assert_eq!(window.open(), 1);
        assert_eq!(window.granted(MOST), Err(Overrun));
        assert_eq!(window.open(), 1);
    }
}
