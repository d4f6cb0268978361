//! Owns what a connection has to write and has not yet.

use evenkeel_wire::http2::frame::flag::END_STREAM;

/// Bytes that were written and are kept for a while: to move what is behind them costs.
const WRITTEN: usize = 32 * 1024;

/// Where a frame's flags stand in its header.
const FLAGS: u64 = 4;

/// Bytes to be written, whole frames.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Those that were written.
    at: usize,
    /// Bytes that were written before these.
    base: u64,
}

impl Output {
    /// What is to be written.
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Where whole frames are put.
    pub(super) const fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where the next frame will stand, of all that was ever written.
    pub(super) const fn place(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Bytes that were written so far.
    pub(super) const fn written(&self) -> u64 {
        self.base + self.at as u64
    }

    /// So many bytes were written.
    pub(super) fn wrote(&mut self, length: usize) {
        self.at += length;
        if self.is_empty() {
            self.base += self.at as u64;
            self.at = 0;
            self.bytes.clear();
        } else if self.at >= WRITTEN && self.at >= self.bytes.len() / 2 {
            // One that is never empty would keep all that was ever written.
            self.bytes.drain(..self.at);
            self.base += self.at as u64;
            self.at = 0;
        }
    }

    /// Has the frame at this place end its stream. False: it is on its way.
    pub(super) fn end_with(&mut self, place: u64) -> bool {
        if place < self.written() {
            return false;
        }
        let flags = usize::try_from(place + FLAGS - self.base);
        match flags.ok().and_then(|at| self.bytes.get_mut(at)) {
            Some(flags) => {
                *flags |= END_STREAM;
                true
            }
            None => false,
        }
    }

    /// Whether nothing could be put without asking for memory.
    pub(super) const fn is_bare(&self) -> bool {
        self.bytes.capacity() == 0
    }

    /// Room that is empty, for one that has none.
    pub(super) fn lend(&mut self, room: Vec<u8>) {
        self.bytes = room;
    }

    /// Its room, if nothing waits there.
    pub(super) fn rest(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && !self.is_bare()).then(|| std::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_wire::http2::frame;

    #[test]
    fn what_was_written_is_let_go_of_while_more_comes() {
        let mut output = Output::default();
        let mut written = 0;
        for _ in 0..1000 {
            output.frames().extend_from_slice(&[7; 10_000]);
            if output.len() > 20_000 {
                output.wrote(10_000);
                written += 10_000;
            }
            assert_eq!(output.written(), written);
            assert_eq!(output.place(), written + output.len() as u64);
        }
        assert!(output.frames().capacity() < 200_000);
        let last = output.place();
        frame::put_header(output.frames(), 0, frame::kind::DATA, 0, 1);
        assert!(output.end_with(last), "places hold");
        assert_eq!(output.waiting()[20_000 + 4], END_STREAM);
    }

    #[test]
    fn a_frame_that_is_not_on_its_way_can_end_its_stream() {
        let mut output = Output::default();
        let put = |output: &mut Output| {
            let place = output.place();
            frame::put_header(output.frames(), 3, frame::kind::DATA, 0, 1);
            output.frames().extend_from_slice(b"abc");
            place
        };
        let (first, second) = (put(&mut output), put(&mut output));
        assert!(output.end_with(second));
        assert_eq!(
            (output.waiting()[4], output.waiting()[12 + 4]),
            (0, END_STREAM)
        );
        output.wrote(1);
        assert!(!output.end_with(first), "its header has begun to go");
        assert_eq!((output.len(), output.written()), (23, 1));
        output.wrote(23);
        assert!(output.is_empty() && !output.end_with(second));
        let third = put(&mut output);
        assert_eq!(third, 24);
        assert!(output.end_with(third));
        assert_eq!(output.waiting()[4], END_STREAM);
    }
}
