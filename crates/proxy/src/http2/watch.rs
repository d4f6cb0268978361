//! Owns what a peer's frames cost: their headers are counted on the way in, against budgets that useful work fills up again.
//!
//! A count per time alone would end connections that are merely busy: whoever downloads much grants windows often, whoever asks much
//! takes back much. So resets are weighed against exchanges that were answered, and frames that carry nothing against what was
//! written to the peer. What had its time before it was taken back is told so by its
//! exchange, and costs nothing. See `reliability.md` H1, H3 and H4, and CVE-2023-44487, CVE-2025-8671, CVE-2019-9511 to 9518.

use std::cell::Cell;
use std::time::Duration;

use evenkeel_balance::time::Instant;

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

/// Bytes of a frame's header (RFC 9113 section 4.1).
const HEADER: usize = 9;

/// What was seen of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Of what is still to be seen of a preface or of a frame's payload.
    skip: Cell<usize>,
    header: Cell<[u8; HEADER]>,
    held: Cell<usize>,
    /// The last stream that a peer who goes says that it has seen; nothing was said: `u32::MAX`.
    last: Cell<u32>,
    /// The peer has said how it is to be spoken to.
    settings: Cell<bool>,
    /// What came of the same.
    going: Cell<u32>,
    /// Bytes of a GOAWAY's first field that are still to be seen.
    last_left: Cell<u8>,
    resets: Cell<u32>,
    idle: Cell<u32>,
    /// Frames of few bytes, since they were last put together.
    small: Cell<u32>,
    written: Cell<u32>,
    all_written: Cell<u64>,
    /// Bytes so far.
    all: Cell<u64>,
    /// Pieces of bodies that the peer could take whole.
    pieces: Cell<u32>,
    /// What may be read before the owner's next turn.
    turn: Cell<usize>,
}

/// What may be read of one connection before others have their turn.
const TURN: usize = 64 * 1024;

/// Bytes of a DATA frame that costs the crate more than it carries: what it adds to each.
const SMALL: usize = 256;

/// What such a frame costs of a turn: a turn full of them is far less than [`WAITING`](super::front::WAITING) allows.
const SMALL_TURN: usize = 128;

/// So many of them, and who has sent them has those that wait put together.
const MANY_SMALL: u32 = 256;

impl Watch {
    /// Of a connection whose peer sends so many bytes before its first frame.
    pub(crate) const fn behind(preface: usize) -> Self {
        Self {
            skip: Cell::new(preface),
            header: Cell::new([0; HEADER]),
            held: Cell::new(0),
            last: Cell::new(u32::MAX),
            settings: Cell::new(false),
            going: Cell::new(0),
            all: Cell::new(0),
            last_left: Cell::new(0),
            resets: Cell::new(0),
            idle: Cell::new(0),
            small: Cell::new(0),
            written: Cell::new(0),
            all_written: Cell::new(0),
            pieces: Cell::new(0),
            turn: Cell::new(TURN),
        }
    }

    /// A new turn begins.
    pub(crate) fn begin_turn(&self) {
        self.turn.set(TURN);
    }

    /// How much may still be read in this turn.
    pub(crate) fn turn_left(&self) -> usize {
        self.turn.get()
    }

    /// Whether many small frames came since the last time that this was so.
    pub(crate) fn take_small(&self) -> bool {
        let many = self.small.get() >= MANY_SMALL;
        if many {
            self.small.set(0);
        }
        many
    }

    /// Whether a peer that goes says that it never saw this stream.
    pub(crate) fn is_beyond(&self, stream: u32) -> bool {
        stream > self.last.get()
    }

    /// Whether the peer has said how it is to be spoken to.
    pub(crate) fn has_settings(&self) -> bool {
        self.settings.get()
    }

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

    /// Takes in what came.
    pub(crate) fn came(&self, mut bytes: &[u8]) {
        self.all.set(self.all.get() + bytes.len() as u64);
        self.turn.set(self.turn.get().saturating_sub(bytes.len()));
        while !bytes.is_empty() {
            let skipped = self.skip.get().min(bytes.len());
            if skipped > 0 {
                let (payload, rest) = bytes.split_at(skipped);
                self.payload(payload);
                self.skip.set(self.skip.get() - skipped);
                bytes = rest;
                continue;
            }
            let held = self.held.get();
            let taken = (HEADER - held).min(bytes.len());
            let mut header = self.header.get();
            header[held..held + taken].copy_from_slice(&bytes[..taken]);
            self.header.set(header);
            bytes = &bytes[taken..];
            if held + taken == HEADER {
                self.held.set(0);
                self.frame(header);
            } else {
                self.held.set(held + taken);
            }
        }
    }

    fn payload(&self, bytes: &[u8]) {
        for byte in bytes.iter().take(self.last_left.get().into()) {
            self.going.set(self.going.get() << 8 | u32::from(*byte));
            self.last_left.set(self.last_left.get() - 1);
            if self.last_left.get() == 0 {
                // The first bit means nothing (RFC 9113 section 6.8).
                self.last.set(self.going.get() & !(1 << 31));
            }
        }
    }

    fn frame(&self, header: [u8; HEADER]) {
        let [a, b, c, kind, flags, stream @ ..] = header;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.skip.set(length);
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        const SETTINGS: u8 = 4;
        const GOAWAY: u8 = 7;
        const CONTINUATION: u8 = 9;
        const END_STREAM: u8 = 1;
        const END_HEADERS: u8 = 4;
        if kind == DATA && (1..SMALL).contains(&length) {
            self.small.set(self.small.get().saturating_add(1));
            self.turn.set(self.turn.get().saturating_sub(SMALL_TURN));
        }
        let idle = match kind {
            DATA => length == 0 && flags & END_STREAM == 0,
            HEADERS | CONTINUATION => length == 0 && flags & END_HEADERS == 0,
            RST_STREAM => {
                self.resets.set(self.resets.get().saturating_add(1));
                false
            }
            SETTINGS => {
                self.settings.set(true);
                true
            }
            GOAWAY => {
                // On a stream, or without room for what it says, it is none.
                let sound = length >= 8 && stream == [0; 4];
                self.last_left.set(if sound { 4 } else { 0 });
                true
            }
            // PRIORITY, PUSH_PROMISE, PING, WINDOW_UPDATE and what nobody knows.
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

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags];
        [&head[..], &stream.to_be_bytes(), payload].concat()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn frames_are_counted_however_they_come() {
        let all = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[0; 12]),
            frame(1, 5, 1, b"\x03headers"),
            frame(3, 0, 1, &[0; 4]),
            frame(0, 0, 1, b"\x03\x03\x03\x03"),
            frame(0, 0, 1, b""),
            frame(0, 1, 1, b""),
            frame(9, 0, 1, b""),
            frame(0x77, 0, 1, b"unknown"),
            frame(7, 0, 0, b"\x00\x00\x01\x05\x00\x00\x00\x00text"),
            frame(3, 0, 3, &[0; 4]),
        ]
        .concat();
        for size in 1..all.len() {
            let watch = Watch::behind(24);
            assert!(!watch.is_beyond(u32::MAX));
            for piece in all.chunks(size) {
                watch.came(piece);
            }
            assert_eq!((watch.resets.get(), watch.idle.get()), (2, 5), "{size}");
            assert!(watch.is_beyond(0x107) && !watch.is_beyond(0x105));
            assert_eq!(watch.turn_left(), TURN - all.len() - SMALL_TURN);
        }
    }

    #[test]
    fn small_frames_end_a_turn_and_are_told_when_they_are_many() {
        let watch = Watch::behind(0);
        let mut told = 0;
        while watch.turn_left() > 0 {
            watch.came(&frame(0, 0, 1, b"x"));
            watch.came(&frame(0, 0, 1, &[0; SMALL]));
            told += u32::from(watch.take_small());
        }
        assert_eq!(told, 0);
        for _ in 0..MANY_SMALL {
            watch.came(&frame(0, 0, 1, &[0; SMALL - 1]));
        }
        assert!(watch.take_small() && !watch.take_small());
        watch.begin_turn();
        assert_eq!(watch.turn_left(), TURN);
    }

    #[test]
    fn what_may_have_had_its_time_is_waited_for() {
        let mut budgets = Budgets::new(at(0));
        let watch = Watch::behind(0);
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
        let watch = Watch::behind(0);
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
