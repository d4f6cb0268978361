//! Owns buffers: a worker's free ones, and input that has come and is not used yet.
//!
//! A connection that waits holds none. The free list gives out the one that came back last, which is in the cache.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::conduits::Conduits;
use crate::room::Room;
use crate::sock::Sock;
use crate::spare::Spare;

/// For heads and short bodies: the largest head that a listener may allow, and 16 KiB of a body behind it.
const SHORT: usize = 48 * 1024;

/// For long bodies.
const LONG: usize = 256 * 1024;

/// The most free buffers kept: 12 MiB of short ones, 16 MiB of long ones, 4 MiB of those that keep a body.
const SHORT_KEPT: usize = 256;
const LONG_KEPT: usize = 64;

/// A worker's free buffers.
#[derive(Debug)]
pub(crate) struct Buffers {
    short: Spare<Box<[u8]>>,
    long: Spare<Box<[u8]>>,
    /// For bodies that may have to be sent again: empty, of what capacity the last ones needed.
    kept: Spare<Box<Kept>>,
    pub(crate) conduits: Conduits,
}

impl Buffers {
    /// None yet; pipes to come have their places in this room.
    pub(crate) const fn new(room: Arc<Room>) -> Self {
        Self {
            short: Spare::new(SHORT_KEPT),
            long: Spare::new(LONG_KEPT),
            kept: Spare::new(LONG_KEPT),
            conduits: Conduits::new(room),
        }
    }

    /// One to keep a body in.
    pub(crate) fn take_kept(&self) -> Box<Kept> {
        self.kept.take().unwrap_or_default()
    }

    /// Takes it back.
    pub(crate) fn give_kept(&self, mut buffer: Box<Kept>) {
        buffer.0.clear();
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

/// A body that may have to be sent again.
#[derive(Debug, Default)]
pub(crate) struct Kept(pub(crate) Vec<u8>);

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
