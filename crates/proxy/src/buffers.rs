//! Owns buffers: a worker's free ones, and input that has come and is not used yet.
//!
//! A connection that waits holds none. The free list gives out the one that came back last, which is in the cache.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use evenkeel_config::limits::{REPLAY_BYTES, REPLAY_WORKER_BYTES};

use crate::conduits::Conduits;
use crate::room::Room;
use crate::sock::Sock;
use crate::spare::Spare;

/// For heads and short bodies: one read takes 64 KiB of a body, the most that often comes at once, with the head before it. At 48 KiB a
/// POST of 64 KiB took two calls more and a third more of a processor; 128 KiB add nothing, and pipes of the kernel lose here
/// (`docs/findings.md`, "A body of 64 KiB in one read").
const SHORT: usize = 72 * 1024;

/// For long bodies.
const LONG: usize = 256 * 1024;

/// The most free buffers: 18 MiB of short ones, 16 MiB of long ones, 4 MiB of those that bodies are kept in.
const SHORT_FREE: usize = 256;
const LONG_FREE: usize = 64;
const BODIES_FREE: usize = 64;

/// A worker's free buffers.
#[derive(Debug)]
pub(crate) struct Buffers {
    short: Spare<Box<[u8]>>,
    long: Spare<Box<[u8]>>,
    /// For bodies that may have to be sent again: empty, of what capacity the last ones needed.
    kept: Spare<Box<Kept>>,
    /// Bytes of bodies that are kept.
    bytes: Rc<Cell<usize>>,
    pub(crate) conduits: Conduits,
}

impl Buffers {
    /// None yet; pipes to come have their places in this room.
    pub(crate) fn new(room: Arc<Room>) -> Self {
        Self {
            short: Spare::new(SHORT_FREE),
            long: Spare::new(LONG_FREE),
            kept: Spare::new(BODIES_FREE),
            bytes: Rc::default(),
            conduits: Conduits::new(room),
        }
    }

    /// One to keep a body in.
    pub(crate) fn take_kept(&self) -> Box<Kept> {
        let new = || {
            Box::new(Kept {
                body: Vec::new(),
                all: self.bytes.clone(),
            })
        };
        self.kept.take().unwrap_or_else(new)
    }

    /// Takes it back.
    pub(crate) fn give_kept(&self, mut buffer: Box<Kept>) {
        buffer.clear();
        self.kept.give(buffer);
    }

    fn take(&self, long: bool) -> Box<[u8]> {
        let (free, size) = if long {
            (&self.long, LONG)
        } else {
            (&self.short, SHORT)
        };
        free.take()
            .unwrap_or_else(|| vec![0; size].into_boxed_slice())
    }

    fn give(&self, buffer: Box<[u8]>) {
        let free = if buffer.len() == LONG {
            &self.long
        } else {
            &self.short
        };
        free.give(buffer);
    }

    /// Lets go of some that nobody needed since the last time.
    pub(crate) fn sweep(&self) {
        self.short.sweep();
        self.long.sweep();
        self.kept.sweep();
        self.conduits.sweep();
    }
}

/// A body that may have to be sent again. What it holds counts against the most that its worker keeps, however it goes.
#[derive(Debug)]
pub(crate) struct Kept {
    body: Vec<u8>,
    /// Bytes of all of them.
    all: Rc<Cell<usize>>,
}

/// Why a body is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unkept {
    /// It is longer than is kept of one.
    TooLong,
    /// Others have all that there is for them.
    NoRoom,
}

impl Kept {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// Keeps more of it.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Unkept> {
        let length = self.body.len() + piece.len();
        let all = self.all.get() + piece.len();
        if length > REPLAY_BYTES {
            return Err(Unkept::TooLong);
        }
        if all > REPLAY_WORKER_BYTES {
            return Err(Unkept::NoRoom);
        }
        if length > self.body.capacity() {
            let wanted = (2 * self.body.capacity()).clamp(length, REPLAY_BYTES);
            self.body.reserve_exact(wanted - self.body.len());
        }
        self.body.extend_from_slice(piece);
        self.all.set(all);
        Ok(())
    }

    fn clear(&mut self) {
        self.all.set(self.all.get() - self.body.len());
        self.body.clear();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What came over a connection and is not used yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Input {
    pub(crate) fn data(&self) -> &[u8] {
        self.buffer
            .as_deref()
            .map_or(&[], |buffer| &buffer[self.start..self.end])
    }

    pub(crate) fn data_mut(&mut self) -> &mut [u8] {
        let range = self.start..self.end;
        self.buffer
            .as_deref_mut()
            .map_or(&mut [], |buffer| &mut buffer[range])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether more can be read before something is used.
    pub(crate) fn has_room(&self) -> bool {
        self.buffer
            .as_ref()
            .is_none_or(|buffer| self.end - self.start < buffer.len())
    }

    /// The first `length` bytes are used.
    pub(crate) fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads more. While nothing is there, no buffer is held; `long` asks for the larger one when the input is empty.
    /// 0: the peer has closed its direction, or there is no room left.
    pub(crate) fn poll_fill<S: Sock>(
        &mut self,
        cx: &mut Context<'_>,
        sock: &mut S,
        buffers: &Buffers,
        long: bool,
    ) -> Poll<io::Result<usize>> {
        if self.is_empty() && long && self.buffer.as_ref().is_some_and(|held| held.len() < LONG) {
            self.release(buffers);
        }
        let mut buffer = self.buffer.take().unwrap_or_else(|| buffers.take(long));
        if self.end == buffer.len() && self.start > 0 {
            buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == buffer.len() {
            self.buffer = Some(buffer);
            return Poll::Ready(Ok(0));
        }
        let polled = sock.poll_read(cx, &mut buffer[self.end..]);
        if let Poll::Ready(Ok(length)) = polled {
            self.end += length;
        }
        if self.is_empty() {
            buffers.give(buffer);
        } else {
            self.buffer = Some(buffer);
        }
        polled
    }

    /// Gives the buffer back if nothing is in it.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if self.is_empty()
            && let Some(buffer) = self.buffer.take()
        {
            buffers.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_kept_up_to_a_bound_for_each_and_one_for_all() {
        let buffers = Buffers::new(Room::new(1));
        let whole = vec![7; REPLAY_BYTES];
        let mut all = Vec::new();
        for _ in 0..REPLAY_WORKER_BYTES / REPLAY_BYTES {
            let mut one = buffers.take_kept();
            // In pieces, so that it grows.
            for piece in [&whole[..1], &whole[1..3000], &whole[3000..]] {
                assert_eq!(one.push(piece), Ok(()));
            }
            assert_eq!(one.push(b"x"), Err(Unkept::TooLong));
            assert!(one.bytes() == whole && one.body.capacity() == REPLAY_BYTES);
            all.push(one);
        }
        let mut more = buffers.take_kept();
        assert_eq!(more.push(b"x"), Err(Unkept::NoRoom));
        // One given back and one dropped are room for two.
        buffers.give_kept(all.pop().unwrap());
        drop(all.pop());
        assert_eq!(more.push(&whole), Ok(()));
        assert_eq!(buffers.take_kept().push(&whole), Ok(()));
        drop((all, more));
        assert_eq!(buffers.bytes.get(), 0);
    }
}
