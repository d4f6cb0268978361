//! Owns what a peer's frames cost: they are counted as they come, against budgets that useful work fills up again.
//!
//! A count per time alone would end connections that are merely busy: whoever downloads much grants windows often, whoever asks much
//! takes back much. So resets are weighed against exchanges that were answered, and frames that carry nothing against what was
//! written to the peer. What had its time before it was taken back is told so by its
//! exchange, and costs nothing. See `reliability.md` H1, H3 and H4, and CVE-2023-44487, CVE-2025-8671, CVE-2019-9511 to 9518.

use std::cell::Cell;
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_wire::http2::frame::{FrameHeader, flag, kind};

/// Streams that a client may take back at once; as many come back in [`RESETS_WITHIN`], and one with each exchange that was answered or
/// had its time.
const RESETS: u32 = 200;

/// See [`RESETS`].
const RESETS_WITHIN: Duration = Duration::from_secs(10);

/// Frames that carry nothing, at once; as many come back in [`IDLE_WITHIN`], and one with each [`EARNS`] bytes that were written.
const IDLE_FRAMES: u32 = 4000;

/// See [`IDLE_FRAMES`].
const IDLE_WITHIN: Duration = Duration::from_secs(4);

/// How often time is counted.
const SOME: Duration = Duration::from_millis(100);

/// See [`IDLE_FRAMES`].
const EARNS: u32 = 256;

/// Frames that a peer may send for each piece of a body that it could take whole, beside its budget: gRPC grants a window anew for
/// each message that it reads, however short. What it takes byte by byte earns nothing.
const PER_PIECE: u32 = 2;

/// The most that is kept of those: pieces that are under way in a window of 256 KiB, at 6 bytes each.
const PER_PIECES: u32 = 90_000;

/// As many come back with each exchange that was answered: whoever reads a short answer may grant a window for it twice.
const IDLE_PER_ANSWER: u32 = 4;

/// What was seen of a connection.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    resets: Cell<u32>,
    idle: Cell<u32>,
    written: Cell<u32>,
    all_written: Cell<u64>,
    /// Bytes that came so far.
    all: Cell<u64>,
    /// Pieces of bodies that the peer could take whole.
    pieces: Cell<u32>,
}

impl Watch {
    /// So many bytes were written to the peer.
    pub(crate) fn wrote(&self, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.written.set(self.written.get().saturating_add(length));
        self.all_written
            .set(self.all_written.get() + u64::from(length));
    }

    /// Bytes that were written to the peer so far.
    pub(crate) fn wrote_so_far(&self) -> u64 {
        self.all_written.get()
    }

    /// Bytes that came so far.
    pub(crate) fn so_far(&self) -> u64 {
        self.all.get()
    }

    /// A piece of a body goes to the peer, which had a window for all of it.
    pub(crate) fn sent_whole(&self) {
        self.pieces.set(self.pieces.get().saturating_add(1));
    }

    /// So many bytes came.
    pub(super) fn took(&self, length: usize) {
        self.all.set(self.all.get() + length as u64);
    }

    /// A frame was all padding, or for nobody.
    pub(super) fn saw_nothing(&self) {
        self.idle.set(self.idle.get().saturating_add(1));
    }

    /// Counts a frame by what it costs.
    pub(crate) fn saw(&self, header: &FrameHeader) {
        let empty = |end| header.length == 0 && !header.has(end);
        let idle = match header.kind {
            kind::DATA => empty(flag::END_STREAM),
            kind::HEADERS | kind::CONTINUATION => empty(flag::END_HEADERS),
            kind::RST_STREAM => {
                self.resets.set(self.resets.get().saturating_add(1));
                false
            }
            // SETTINGS, PRIORITY, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE and what nobody knows.
            _ => true,
        };
        if idle {
            self.idle.set(self.idle.get().saturating_add(1));
        }
    }
}

/// What a peer may still cost.
#[derive(Debug)]
pub(crate) struct Budgets {
    /// Below 0, so many were taken back of which it is not known yet whether they had their time.
    resets: i64,
    idle: u32,
    /// Frames for pieces, see [`PER_PIECE`].
    owed: u32,
    filled: Instant,
}

/// A peer's budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent;

impl Budgets {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            resets: RESETS.into(),
            idle: IDLE_FRAMES,
            owed: 0,
            filled: now,
        }
    }

    /// Whether anything is to be charged; if not, nobody has to ask for the time.
    pub(crate) fn is_due(&self, watch: &Watch) -> bool {
        self.resets < 0 || watch.resets.get() > 0 || watch.idle.get() > 0
    }

    /// So many exchanges were answered, or had their time.
    pub(crate) fn answered(&mut self, count: u32) {
        self.resets = (self.resets + i64::from(count)).min(RESETS.into());
        let idle = count.saturating_mul(IDLE_PER_ANSWER);
        self.idle = self.idle.saturating_add(idle).min(IDLE_FRAMES);
    }

    /// Takes off what was seen since the last time. `open`: exchanges under way, of which each may have been taken back after it had
    /// its time, and then says so when it ends.
    pub(crate) fn charge(&mut self, watch: &Watch, now: Instant, open: usize) -> Result<(), Spent> {
        let since = now.since(self.filled);
        // Of less than this, nothing whole comes back.
        if since >= SOME {
            self.filled = now;
            let back = |most: u32, within: u128| {
                let part = u128::from(most) * since.as_millis() / within;
                u32::try_from(part).unwrap_or(most).min(most)
            };
            self.resets += i64::from(back(RESETS, RESETS_WITHIN.as_millis()));
            self.idle = self
                .idle
                .saturating_add(back(IDLE_FRAMES, IDLE_WITHIN.as_millis()));
        }
        let earned = watch.written.take() / EARNS;
        let idle = self.idle.saturating_add(earned);
        let left = |has: u32, most: u32, cost: u32| has.min(most).checked_sub(cost).ok_or(Spent);
        self.resets = self.resets.min(RESETS.into()) - i64::from(watch.resets.take());
        if self.resets < 0 && self.resets.unsigned_abs() > open as u64 {
            return Err(Spent);
        }
        let pieces = watch.pieces.take().saturating_mul(PER_PIECE);
        self.owed = self.owed.saturating_add(pieces).min(PER_PIECES);
        let cost = watch.idle.take();
        let owed = cost.min(self.owed);
        self.owed -= owed;
        self.idle = left(idle, IDLE_FRAMES, cost - owed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn what_carries_nothing_is_counted() {
        for (kind, flags, length, expect) in [
            (kind::DATA, 0, 1, (0, 0)),
            (kind::DATA, 0, 0, (0, 1)),
            (kind::DATA, flag::END_STREAM, 0, (0, 0)),
            (kind::HEADERS, flag::END_HEADERS, 0, (0, 0)),
            (kind::HEADERS, flag::END_STREAM, 0, (0, 1)),
            (kind::CONTINUATION, 0, 0, (0, 1)),
            (kind::CONTINUATION, 0, 1, (0, 0)),
            (kind::RST_STREAM, 0, 4, (1, 0)),
            (kind::SETTINGS, 0, 12, (0, 1)),
            (kind::PING, flag::ACK, 8, (0, 1)),
            (kind::PRIORITY, 0, 5, (0, 1)),
            (kind::WINDOW_UPDATE, 0, 4, (0, 1)),
            (0x77, 0, 99, (0, 1)),
        ] {
            let watch = Watch::default();
            watch.saw(&FrameHeader {
                length,
                kind,
                flags,
                stream: 1,
            });
            let counted = (watch.resets.get(), watch.idle.get());
            assert_eq!(counted, expect, "{kind} {flags} {length}");
        }
    }

    #[test]
    fn what_may_have_had_its_time_is_waited_for() {
        let mut budgets = Budgets::new(at(0));
        let watch = Watch::default();
        watch.resets.set(RESETS + 3);
        assert_eq!(budgets.charge(&watch, at(0), 3), Ok(()));
        assert!(budgets.is_due(&watch), "it is to be looked at again");
        budgets.answered(2);
        assert_eq!(budgets.charge(&watch, at(0), 1), Ok(()));
        assert_eq!(budgets.charge(&watch, at(0), 0), Err(Spent), "one had not");
        let mut budgets = Budgets::new(at(0));
        watch.resets.set(RESETS + 4);
        assert_eq!(budgets.charge(&watch, at(0), 3), Err(Spent));
    }

    #[test]
    fn what_comes_back_and_what_does_not() {
        let mut budgets = Budgets::new(at(0));
        let watch = Watch::default();
        let mut reset = |count: u32, now: u64, answered: u32| {
            watch.resets.set(count);
            budgets.answered(answered);
            budgets.charge(&watch, at(now), 0)
        };
        assert_eq!(reset(RESETS, 0, 0), Ok(()));
        assert_eq!(reset(50, 0, 50), Ok(()), "answers earn");
        assert_eq!(reset(RESETS / 10, 1, 0), Ok(()), "and so does time");
        assert_eq!(reset(1, 1, 0), Err(Spent));
        assert_eq!(reset(RESETS + 1, 1000, 999), Err(Spent), "no more is kept");
        let mut budgets = Budgets::new(at(0));
        watch.idle.set(IDLE_FRAMES);
        assert_eq!(budgets.charge(&watch, at(0), 0), Ok(()));
        budgets.answered(10);
        watch.idle.set(10 * IDLE_PER_ANSWER);
        assert_eq!(budgets.charge(&watch, at(0), 0), Ok(()), "answers earn");
        watch.idle.set(1);
        assert_eq!(budgets.charge(&watch, at(0), 0), Err(Spent));
        let mut budgets = Budgets::new(at(0));
        for _ in 0..2 * IDLE_FRAMES {
            watch.sent_whole();
        }
        watch.idle.set(3 * IDLE_FRAMES);
        assert_eq!(budgets.charge(&watch, at(0), 0), Ok(()), "so do pieces");
        watch.idle.set(2 * IDLE_FRAMES);
        assert_eq!(budgets.charge(&watch, at(0), 0), Ok(()), "beside the rest");
        watch.idle.set(1);
        assert_eq!(budgets.charge(&watch, at(0), 0), Err(Spent));
        let mut budgets = Budgets::new(at(0));
        let mut idle = |count: u32, now: u64, written: usize| {
            watch.idle.set(count);
            watch.wrote(written);
            budgets.charge(&watch, at(now), 0)
        };
        assert_eq!(idle(IDLE_FRAMES, 0, 0), Ok(()));
        assert_eq!(idle(100, 0, 100 * EARNS as usize), Ok(()));
        assert_eq!(idle(IDLE_FRAMES / 4, 1, 0), Ok(()));
        assert_eq!(idle(1, 1, 0), Err(Spent));
    }
}
