//! Owns how streams end: by themselves, by either side's word, or with their connection.

use evenkeel_wire::http2::frame::{self, code};

use super::streams::Broken;
use super::{Fatal, Inner};

/// Streams that we took back and remember, at least, and as many as a peer may have open: what it had sent before it heard of that is no
/// fault of its.
const TAKEN_BACK: usize = 200;

/// Faults of a peer over a connection's life that are answered (H3).
const FAULTS: usize = 200;

/// A stream that we took back.
pub(super) struct Abandoned {
    pub(super) id: u32,
    /// Bytes that its peer may have sent before it heard of that.
    left: u32,
}

impl Abandoned {
    /// Whether so much more of its body may have been on the way.
    pub(super) fn may_have_sent(&mut self, length: u32) -> bool {
        let left = self.left.checked_sub(length);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

impl Inner {
    /// A stream may have closed: then another may be opened.
    pub(super) fn closed(&mut self, at: usize) {
        let stream = self.streams.at(at);
        if stream.open && stream.is_closed() {
            stream.open = false;
            self.open -= 1;
        }
    }

    /// Breaks a stream: what waits of it is forgotten.
    pub(super) fn break_off(&mut self, at: usize, how: Broken) {
        let stream = self.streams.at(at);
        if stream.broken.is_some() {
            return;
        }
        stream.broken = Some(how);
        let unread = u32::try_from(stream.waiting()).unwrap_or(u32::MAX);
        stream.body.clear();
        stream.taken = 0;
        stream.wake();
        self.give_back(unread);
        self.closed(at);
    }

    pub(super) fn take_back(&mut self, at: usize, code: u32) {
        let stream = self.streams.get(at);
        if stream.is_closed() {
            return;
        }
        let id = stream.id;
        self.say_taken_back(id, code);
        self.break_off(at, Broken::Gone);
    }

    pub(super) fn say_taken_back(&mut self, id: u32, code: u32) {
        frame::put_reset(self.output.frames(), id, code);
        if self.taken_back.len() >= TAKEN_BACK.max(self.terms.streams) {
            self.taken_back.pop_front();
        }
        let stream = self.streams.find(id).map(|at| self.streams.get(at));
        let left = stream.map_or(self.terms.stream_window, |stream| stream.inward.open());
        self.taken_back.push_back(Abandoned { id, left });
    }

    /// Answers what a peer did wrong on a stream.
    pub(super) fn fault(&mut self, id: u32, code: u32) -> Result<(), Fatal> {
        self.faults += 1;
        if self.faults > FAULTS {
            return Err(Fatal(code::ENHANCE_YOUR_CALM));
        }
        self.say_taken_back(id, code);
        if let Some(at) = self.streams.find(id) {
            self.break_off(at, Broken::Wrong);
        }
        Ok(())
    }

    pub(super) fn break_all(&mut self, how: Broken) {
        let mut freed = 0;
        self.streams.each(|stream| {
            // An answer that is whole stays what it is.
            if !(stream.begun && stream.ended) {
                stream.broken.get_or_insert(how);
            }
            freed += usize::from(std::mem::take(&mut stream.open));
            stream.wake();
        });
        self.open -= freed;
    }

    /// Says the last word.
    pub(super) fn end(&mut self, code: u32) {
        if self.over.is_none() {
            self.over = Some(code);
            frame::put_goaway(self.output.frames(), self.highest, code, b"");
            self.break_all(Broken::Gone);
            self.stir();
        }
    }
}
