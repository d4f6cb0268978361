//! Owns a request's body that may have to be sent again: what came of it is kept, up to a bound, while it is passed on.
//!
//! Kept is the data alone, so that it can go on in chunks, by a stated length, or on a stream, whatever the next connection speaks. What
//! is longer than the bound, or finds no room beside others, is not kept at all: its memory goes back at once, and it cannot be sent again.

use evenkeel_wire::chunked::ChunkLine;

use super::{Pump, put_last};
use crate::buffers::{Buffers, Input, Unkept};

impl Pump {
    /// The same, keeping what comes.
    pub(crate) fn keeping(self, buffers: &Buffers) -> Self {
        Self {
            kept: Some(buffers.take_kept()),
            ..self
        }
    }

    /// Whether what comes is kept.
    pub(crate) const fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether all of the body that came can be sent again from its begin: it is kept; or no byte was written, and the next connection
    /// speaks `alike`.
    pub(crate) const fn is_replayable(&self, alike: bool) -> bool {
        self.kept.is_some() || alike && !self.wrote && self.conduit.is_none()
    }

    /// It will not be sent again.
    #[inline]
    pub(crate) fn forget(&mut self, buffers: &Buffers) {
        if let Some(kept) = self.kept.take() {
            buffers.give_kept(kept);
        }
    }

    pub(super) fn keep(&mut self, piece: &[u8], buffers: &Buffers) {
        let kept = self.kept.as_mut().map(|kept| kept.push(piece));
        if let Some(Err(why)) = kept {
            self.crowded |= why == Unkept::NoRoom;
            self.forget(buffers);
        }
    }

    /// Whether it is no longer kept because others are; asked once.
    pub(crate) const fn take_crowded(&mut self) -> bool {
        std::mem::replace(&mut self.crowded, false)
    }

    /// The same without the head that stands before it, so many bytes long. Only what [can be sent again](Self::is_replayable).
    pub(crate) fn without_head(mut self, length: usize) -> Self {
        if self.kept.is_none() {
            self.before.drain(..length);
        }
        self
    }

    /// All of a body that came and is kept, and its trailers, for whoever asks with it beside this one.
    pub(crate) fn copied(&self) -> (Vec<u8>, Vec<u8>) {
        let kept = self.kept.as_ref().map(|kept| kept.bytes().to_vec());
        (kept.unwrap_or_default(), self.trailers.told().to_vec())
    }

    /// The same body from its begin, behind another head; `wrap`: in chunks that are made here. What is not kept goes on as it did.
    pub(crate) fn again(mut self, head: &[u8], wrap: bool, input: &mut Input) -> Self {
        let Some(kept) = &self.kept else {
            self.before.splice(..0, head.iter().copied());
            return self;
        };
        let kept = kept.bytes();
        // What waited to be written is kept, too.
        input.consume(self.piece + self.dropped);
        self.before.clear();
        self.before.extend_from_slice(head);
        let chunked = wrap && !kept.is_empty();
        if chunked {
            let line = ChunkLine::before(kept.len());
            self.before.extend_from_slice(line.as_bytes());
        }
        self.before.extend_from_slice(kept);
        if chunked {
            self.before.extend_from_slice(b"\r\n");
        }
        if wrap && self.source.is_none() {
            put_last(self.trailers.told(), &mut self.before);
        }
        self.after.clear();
        Self {
            piece: 0,
            dropped: 0,
            written: 0,
            ended: false,
            wrap,
            wrote: false,
            held: false,
            ..self
        }
    }
}
