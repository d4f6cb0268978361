//! Owns what both ends do with a stream: a body in and out, trailers, and how it is let go of.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use evenkeel_wire::http2::fields;
use evenkeel_wire::http2::frame::{self, code, flag, kind};

use super::{FULL, Mux, PAYLOAD, Role};

impl Mux {
    /// Takes some of a body; 0: its end.
    pub(in super::super) fn poll_take(
        &self,
        at: usize,
        cx: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|inner| {
            let stream = inner.streams.at(at);
            if stream.waiting() == 0 {
                if stream.broken.is_some() {
                    return Poll::Ready(Err(stream.error()));
                }
                if stream.ended {
                    return Poll::Ready(Ok(0));
                }
                stream.heed(cx);
                return Poll::Pending;
            }
            let length = stream.take(into);
            inner.was_taken(at, length);
            Poll::Ready(Ok(length))
        })
    }

    /// Leaves some of a body to be sent.
    pub(in super::super) fn poll_leave(
        &self,
        at: usize,
        cx: &Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|inner| {
            if let Err(error) = inner.may_send(at) {
                return Poll::Ready(Err(error));
            }
            let wanted = from.iter().map(|part| part.len()).sum::<usize>();
            let room = FULL.saturating_sub(inner.output.len());
            let connection = inner.outward.open().min(room);
            let stream = inner.streams.at(at);
            let length = (stream.outward.open())
                .min(connection)
                .min(PAYLOAD)
                .min(wanted);
            if length == 0 && wanted > 0 {
                stream.heed(cx);
                if connection == 0 && !stream.waits {
                    stream.waits = true;
                    inner.waiting.push_back(at);
                }
                return Poll::Pending;
            }
            stream.outward.sent(length);
            stream.last = Some(inner.output.place());
            let id = stream.id;
            inner.outward.sent(length);
            let out = inner.output.frames();
            frame::put_header(out, length, kind::DATA, 0, id);
            let mut left = length;
            for part in from {
                let part = part.get(..left).unwrap_or(part);
                out.extend_from_slice(part);
                left -= part.len();
            }
            if length == wanted {
                inner.watch.sent_whole();
            }
            Poll::Ready(Ok(length))
        })
    }

    /// Says that our body is whole, with these trailers.
    pub(in super::super) fn end_body(&self, at: usize, trailers: &[u8]) -> io::Result<()> {
        self.with(|inner| {
            if inner.streams.get(at).over {
                return Ok(());
            }
            inner.may_send(at)?;
            if trailers.is_empty() {
                let stream = inner.streams.at(at);
                let said = stream.last.is_some_and(|last| inner.output.end_with(last));
                if !said {
                    let id = stream.id;
                    frame::put_header(inner.output.frames(), 0, kind::DATA, flag::END_STREAM, id);
                }
            } else {
                inner.block.clear();
                fields::put_trailers(&mut inner.encoder, trailers, &mut inner.block)
                    .map_err(io::Error::other)?;
                inner.put_block(at, true);
            }
            inner.streams.at(at).over = true;
            inner.closed(at);
            Ok(())
        })
    }

    /// Ready once the peer has taken the stream back, or its connection has ended.
    pub(in super::super) fn poll_broken(&self, at: usize, cx: &Context<'_>) -> Poll<()> {
        let inner = &mut *self.0.borrow_mut();
        let stream = inner.streams.at(at);
        if stream.broken.is_some() {
            return Poll::Ready(());
        }
        stream.heed(cx);
        Poll::Pending
    }

    /// Takes the trailers that came.
    pub(in super::super) fn take_trailers(&self, at: usize, into: &mut Vec<u8>) {
        let inner = &mut *self.0.borrow_mut();
        std::mem::swap(&mut inner.streams.at(at).trailers, into);
    }

    /// Takes a stream back, so that nothing of it can look whole.
    pub(in super::super) fn take_back(&self, at: usize, code: u32) {
        self.with(|inner| inner.take_back(at, code));
    }

    /// Nobody holds the stream any more.
    pub(in super::super) fn let_go(&self, at: usize) {
        self.with(|inner| {
            let stream = inner.streams.get(at);
            if !stream.is_closed() {
                // What it asked is answered; the rest of its body is not wanted (RFC 9113 section 8.1).
                let answered = stream.over && inner.role == Role::Answers;
                let code = match answered {
                    true => code::NO_ERROR,
                    false => code::CANCEL,
                };
                inner.take_back(at, code);
            }
            let stream = inner.streams.at(at);
            if let Some(Ok(head)) = stream.head.take() {
                inner.stock.requests.give(head);
            }
            let (waits, unread) = (stream.waits, stream.waiting());
            inner.streams.remove(at);
            inner.give_back(u32::try_from(unread).unwrap_or(u32::MAX));
            if waits {
                inner.waiting.retain(|&other| other != at);
            }
        });
    }
}
