//! Owns what the end that makes requests does with a stream: opens it, and takes heads of answers in.

use std::io;
use std::task::{Context, Poll};

use evenkeel_wire::forward::Forwardable;
use evenkeel_wire::http2::fields;
use evenkeel_wire::http2::frame::{self, code};
use evenkeel_wire::{Framing, Malformed, ResponseHead};

use super::streams::{Broken, TakenBack};
use super::{Fatal, Inner, Mux, Reading};

/// Heads of one answer that wait to be taken: of more interim ones, the first are let go of.
const HEADS: usize = 8;

/// What came of a backend instead of a head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unheard {
    /// It says that it goes, and has not seen the request.
    Unseen,
    /// It says that it has too many, and has not looked at the request.
    Refused,
    /// Its connection ended.
    Ended,
    /// It broke off; the error's number.
    Broken(u32),
    /// It broke the rules.
    Malformed(Malformed),
}

/// How a request is asked.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct How<'a> {
    pub(in super::super) secure: bool,
    /// No body follows.
    pub(in super::super) ends: bool,
    /// The protocol that the client would change to.
    pub(in super::super) tunnel: Option<&'a [u8]>,
    pub(in super::super) to_head: bool,
}

impl Mux {
    /// Streams at once that the peer takes. None: it has not said.
    pub(in super::super) fn takes(&self) -> Option<u32> {
        self.0.borrow().takes
    }

    /// Whether the peer takes a request for a tunnel.
    pub(in super::super) fn takes_tunnels(&self) -> bool {
        self.0.borrow().tunnels
    }

    /// Whether another stream may be opened, now or later.
    pub(in super::super) fn takes_more(&self) -> bool {
        let inner = self.0.borrow();
        inner.over.is_none() && !inner.incoming.peer_goes() && inner.highest < frame::MOST_31 - 2
    }

    /// Opens a stream. None: the connection takes no more, and nothing was sent.
    ///
    /// # Errors
    /// HTTP/2 cannot say it.
    pub(in super::super) fn ask(
        &self,
        head: &Forwardable,
        how: &How<'_>,
    ) -> Result<Option<usize>, Malformed> {
        if !self.takes_more() || self.is_full() {
            return Ok(None);
        }
        self.with(|inner| {
            inner.busy();
            inner.block.clear();
            let block = &mut inner.block;
            fields::put_request(&mut inner.encoder, head, how.secure, how.tunnel, block)?;
            // Streams of ours are odd (RFC 9113 section 5.1.1).
            let id = (inner.highest + 1) | 1;
            inner.highest = id;
            let (window, initial) = (inner.terms.stream_window, inner.initial);
            let at = inner.streams.add(id, window, initial);
            inner.open += 1;
            inner.put_block(at, how.ends);
            let stream = inner.streams.at(at);
            (stream.over, stream.to_head) = (how.ends, how.to_head);
            Ok(Some(at))
        })
    }

    /// Takes the next head of the answer.
    pub(in super::super) fn poll_head(
        &self,
        at: usize,
        cx: &Context<'_>,
        into: &mut ResponseHead,
    ) -> Poll<Result<(), Unheard>> {
        let inner = &mut *self.0.borrow_mut();
        let stream = inner.streams.at(at);
        if let Some(head) = stream.heads.pop_front() {
            return Poll::Ready(match head {
                Ok(mut head) => {
                    std::mem::swap(&mut *head, into);
                    inner.stock.responses.give(head);
                    Ok(())
                }
                Err(malformed) => Err(Unheard::Malformed(malformed)),
            });
        }
        let unheard = match stream.broken {
            None => {
                stream.heed(cx);
                return Poll::Pending;
            }
            Some(Broken::TakenBack(code::REFUSED_STREAM)) => Unheard::Refused,
            Some(Broken::TakenBack(code)) => Unheard::Broken(code),
            Some(Broken::Unseen) => Unheard::Unseen,
            Some(Broken::Wrong) => Unheard::Malformed(Malformed::Http2),
            Some(Broken::Gone) => Unheard::Ended,
        };
        Poll::Ready(Err(unheard))
    }

    /// Ready once the backend has taken the stream back, with the error's number, or its connection has ended. An answer that is whole
    /// stays what it is.
    pub(in super::super) fn poll_taken_back(
        &self,
        at: usize,
        cx: &Context<'_>,
    ) -> Poll<Option<u32>> {
        let inner = &mut *self.0.borrow_mut();
        let stream = inner.streams.at(at);
        match stream.broken {
            None => {
                stream.heed(cx);
                Poll::Pending
            }
            Some(Broken::TakenBack(code)) => Poll::Ready(Some(code)),
            Some(_) => Poll::Ready(None),
        }
    }
}

impl Inner {
    /// A head of an answer.
    pub(super) fn response(
        &mut self,
        at: usize,
        ends: bool,
        block: &[u8],
        reading: &Reading,
    ) -> Result<(), Fatal> {
        let mut head = self.stock.responses.take().unwrap_or_default();
        let stream = self.streams.get(at);
        let (id, to_head, broken) = (stream.id, stream.to_head, stream.broken.is_some());
        let bounds = &reading.bounds;
        let taken = fields::response(&mut self.decoder, block, ends, bounds, to_head, &mut head)
            .map_err(|_| Fatal(code::COMPRESSION_ERROR))?;
        if broken {
            return Ok(());
        }
        let interim = taken.is_ok() && head.status() < 200;
        let wrong = taken
            .err()
            .or((interim && ends).then_some(Malformed::Http2));
        if let Some(wrong) = wrong {
            self.fault(id, code::PROTOCOL_ERROR)?;
            self.streams.at(at).heads.push_back(Err(wrong));
            return Ok(());
        }
        let stream = self.streams.at(at);
        stream.begun = !interim;
        stream.missing = match head.framing() {
            Framing::Exact(length) => Some(length),
            // It has no body, whatever its length says.
            Framing::Empty if !interim && (to_head || matches!(head.status(), 204 | 304)) => {
                Some(0)
            }
            _ => None,
        };
        if stream.heads.len() == HEADS {
            stream.heads.pop_front();
        }
        stream.heads.push_back(Ok(head));
        stream.wake();
        if ends { self.ends(at) } else { Ok(()) }
    }
}

/// The number of the error with which the peer took a stream back, if that is what broke it.
pub(crate) fn reset_by_peer(error: &io::Error) -> Option<u32> {
    let taken_back = error.get_ref()?.downcast_ref::<TakenBack>()?;
    Some(taken_back.0)
}
