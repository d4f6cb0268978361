//! Owns one stream to a backend, ours to ask.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use evenkeel_wire::forward::Forwardable;
use evenkeel_wire::http2::frame::code;
use evenkeel_wire::{Malformed, ResponseHead};

use super::Held;
use crate::http2::mux::asking::{How, Unheard};
use crate::tls::secured::Secured;

/// One stream. Dropped before its answer is whole, it is taken back.
pub(crate) struct BackendStream {
    /// Its place on its connection, once it has asked.
    at: Option<usize>,
    /// A tunnel was asked for, and is not open.
    asks_tunnel: bool,
    /// The trailers that came behind its body, as lines of text.
    trailers: Vec<u8>,
    held: Held,
}

impl BackendStream {
    /// One that has not asked.
    pub(super) const fn new(held: Held) -> Self {
        Self {
            at: None,
            asks_tunnel: false,
            trailers: Vec::new(),
            held,
        }
    }

    pub(crate) fn secured(&self) -> Option<&Secured> {
        self.held.secured()
    }

    /// Ready once the backend has said how it is to be spoken to, or its connection has ended.
    pub(crate) fn poll_known(&self, cx: &Context<'_>) -> Poll<()> {
        self.held.poll_known(cx)
    }

    /// Asks a backend; `ends`: no body follows. `tunnel`: the protocol that the client would change to; a backend that takes none by
    /// HTTP/2 is asked as if there were no such wish, as RFC 9110 section 7.8 lets a server read it. False: its connection takes no
    /// more, and nothing was sent.
    ///
    /// # Errors
    /// HTTP/2 cannot say it.
    pub(crate) fn ask(
        &mut self,
        head: &Forwardable,
        ends: bool,
        to_head: bool,
        tunnel: Option<&[u8]>,
    ) -> Result<bool, Malformed> {
        if self.at.is_some() {
            return Ok(false);
        }
        let mux = self.held.mux();
        let tunnel = tunnel.filter(|_| mux.takes_tunnels());
        let how = How {
            secure: self.secured().is_some(),
            ends: ends && tunnel.is_none(),
            tunnel,
            to_head,
        };
        self.at = mux.ask(head, &how)?;
        self.asks_tunnel = tunnel.is_some();
        Ok(self.at.is_some())
    }

    /// The backend has broken the rules (`broke`), or not answered in time: then, if its connection was silent all the while, nobody
    /// else is asked on it.
    pub(crate) fn doubt(&self, broke: bool) {
        self.held.doubt(broke);
    }

    /// Whether nothing at all came on its connection since it was taken.
    pub(crate) fn is_unheard(&self) -> bool {
        self.held.is_unheard()
    }

    /// Whether the backend's head opens the tunnel that was asked for.
    pub(crate) fn opens(&mut self, head: &ResponseHead) -> bool {
        let opens = self.asks_tunnel && (200..300).contains(&head.status());
        self.asks_tunnel &= !opens;
        opens
    }

    /// Waits for a head of the backend, interim ones too.
    pub(crate) fn poll_head(
        &self,
        cx: &Context<'_>,
        into: &mut ResponseHead,
    ) -> Poll<Result<(), Unheard>> {
        match self.at {
            Some(at) => self.held.mux().poll_head(at, cx, into),
            None => Poll::Ready(Err(Unheard::Ended)),
        }
    }

    /// Ready once the backend has taken the stream back, or its connection has ended.
    pub(crate) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll_taken_back(cx).map(drop)
    }

    /// Ready once the backend has taken the stream back, whatever is still to be taken of its answer, with the error's number. An
    /// answer that is whole stays what it is.
    pub(crate) fn poll_taken_back(&self, cx: &Context<'_>) -> Poll<Option<u32>> {
        match self.at {
            Some(at) => self.held.mux().poll_taken_back(at, cx),
            None => Poll::Pending,
        }
    }

    /// Its place, once it has asked.
    fn asked(&self) -> io::Result<usize> {
        self.at.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let at = self.asked()?;
        let length = ready!(self.held.mux().poll_take(at, cx, into))?;
        if length == 0 && !into.is_empty() {
            self.held.mux().take_trailers(at, &mut self.trailers);
        }
        Poll::Ready(Ok(length))
    }

    pub(crate) fn poll_write(
        &self,
        cx: &Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.held.mux().poll_leave(self.asked()?, cx, from)
    }

    /// Says that our body is whole, with these trailers.
    pub(crate) fn end(&self, trailers: &[u8]) -> io::Result<()> {
        match self.at {
            // A request for a tunnel has no body; what is to come behind it has not begun.
            Some(at) if !self.asks_tunnel => self.held.mux().end_body(at, trailers),
            _ => Ok(()),
        }
    }

    /// The trailers that came behind a body that has ended.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes the stream back.
    pub(crate) fn cut(&self) {
        if let Some(at) = self.at {
            self.held.mux().take_back(at, code::CANCEL);
        }
    }
}

impl Drop for BackendStream {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            self.held.mux().let_go(at);
        }
    }
}
