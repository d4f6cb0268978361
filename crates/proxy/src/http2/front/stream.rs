//! Owns one stream of a client, ours to answer.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use evenkeel_balance::time::Instant;
use evenkeel_wire::http2::frame::code;
use evenkeel_wire::{Malformed, RequestHead};

use crate::http2::mux::Mux;
use crate::tls::secured::Secured;

/// One stream; dropped before it was answered, it is taken back.
pub(crate) struct ClientStream {
    mux: Rc<Mux>,
    at: usize,
    /// The trailers that came behind its body, as lines of text.
    trailers: Vec<u8>,
    shared: Rc<Shared>,
    /// From then on, a client that takes it back has given it its time.
    given: Option<Instant>,
}

/// What is the same for all streams of a connection.
pub(super) struct Shared {
    pub(super) secured: Option<Secured>,
    /// The address of our end.
    pub(super) local: Option<SocketAddr>,
}

impl ClientStream {
    pub(super) const fn new(mux: Rc<Mux>, at: usize, shared: Rc<Shared>) -> Self {
        Self {
            mux,
            at,
            trailers: Vec::new(),
            shared,
            given: None,
        }
    }

    pub(crate) fn secured(&self) -> Option<&Secured> {
        self.shared.secured.as_ref()
    }

    /// The address of our end of its connection.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.shared.local
    }

    /// A client that takes it back has given it its time from then on: that is no flood.
    pub(crate) const fn give_until(&mut self, until: Instant) {
        self.given = Some(until);
    }

    /// Whether it had its time by now.
    pub(in crate::http2) fn had_its_time(&self, now: Instant) -> bool {
        self.given.is_some_and(|until| until <= now)
    }

    /// Takes the request's head, once.
    pub(crate) fn take_head(&self, head: &mut RequestHead) -> Result<(), Malformed> {
        self.mux.take_head(self.at, head)
    }

    /// Sends the head of an interim response.
    pub(crate) fn interim(&self, head: &[u8]) -> io::Result<()> {
        self.mux.send_head(self.at, head, false, true)
    }

    /// Sends the head of the response; `ends`: nothing follows.
    pub(crate) fn respond(&self, head: &[u8], ends: bool) -> io::Result<()> {
        self.mux.send_head(self.at, head, ends, false)
    }

    /// Ready once the client has taken the stream back, or its connection has ended.
    pub(crate) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        self.mux.poll_broken(self.at, cx)
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(self.mux.poll_take(self.at, cx, into))?;
        if length == 0 && !into.is_empty() {
            self.mux.take_trailers(self.at, &mut self.trailers);
        }
        Poll::Ready(Ok(length))
    }

    pub(crate) fn poll_write(
        &self,
        cx: &Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.mux.poll_leave(self.at, cx, from)
    }

    /// Says that our body is whole, with these trailers.
    pub(crate) fn end(&self, trailers: &[u8]) -> io::Result<()> {
        self.mux.end_body(self.at, trailers)
    }

    /// The trailers that came behind a body that has ended.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes the stream back, so that nothing of it can look whole.
    pub(crate) fn cut(&self) {
        self.mux.take_back(self.at, code::INTERNAL_ERROR);
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.mux.let_go(self.at);
    }
}
