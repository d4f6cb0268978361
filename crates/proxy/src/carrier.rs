//! Owns what carries an exchange on one side: a connection of its own (HTTP/1), or a stream of one that it shares (HTTP/2).
//!
//! Bodies go through either as bytes, by [`Sock`]. What HTTP/1 writes into those bytes, heads, ends and trailers, a stream says apart
//! from them: that is what is asked here beside them.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use crate::http2::back::stream::BackendStream;
use crate::http2::front::stream::ClientStream;
use crate::sock::Sock;
use crate::sock::os::OsSock;
use crate::tls::secured::Secured;

/// What carries an exchange on one side.
pub(crate) enum Carrier<S> {
    /// A connection.
    Whole(S),
    /// A stream of a client.
    Client(ClientStream),
    /// A stream to a backend.
    Stream(Box<BackendStream>),
}

impl<S: Sock> Carrier<S> {
    /// Whether heads and ends are said apart from the bytes.
    #[inline]
    pub(crate) const fn is_stream(&self) -> bool {
        !matches!(self, Self::Whole(_))
    }

    /// Ready once a stream was taken back, or its connection has ended. Connections tell by [`Sock::broken`].
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Whole(_) => Poll::Pending,
            Self::Client(stream) => stream.poll_gone(cx),
            Self::Stream(stream) => stream.poll_gone(cx),
        }
    }

    /// Sends the head of a response; `ends`: nothing follows. On a connection it is left in `head`, to be written before the body.
    ///
    /// # Errors
    /// The stream has ended.
    #[inline]
    pub(crate) fn respond(&mut self, head: &mut Vec<u8>, ends: bool) -> io::Result<()> {
        match self {
            Self::Client(stream) => {
                stream.respond(head, ends)?;
                head.clear();
                Ok(())
            }
            Self::Whole(_) | Self::Stream(_) => Ok(()),
        }
    }
}

impl<S: Sock> Sock for Carrier<S> {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Whole(sock) => sock.poll_read(cx, into),
            Self::Client(stream) => stream.poll_read(cx, into),
            Self::Stream(stream) => stream.poll_read(cx, into),
        }
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Whole(sock) => sock.poll_write(cx, from),
            Self::Client(stream) => stream.poll_write(cx, &[IoSlice::new(from)]),
            Self::Stream(stream) => stream.poll_write(cx, &[IoSlice::new(from)]),
        }
    }

    #[inline]
    fn poll_write_last(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Whole(sock) => sock.poll_write_last(cx, from),
            Self::Client(_) | Self::Stream(_) => self.poll_write(cx, from),
        }
    }

    #[inline]
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Whole(sock) => sock.poll_write_vectored(cx, from),
            Self::Client(stream) => stream.poll_write(cx, from),
            Self::Stream(stream) => stream.poll_write(cx, from),
        }
    }

    #[inline]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Whole(sock) => sock.poll_flush(cx),
            // Its connection's task writes.
            Self::Client(_) | Self::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    #[inline]
    fn end(&mut self, trailers: &[u8]) -> io::Result<()> {
        match self {
            Self::Whole(sock) => sock.end(trailers),
            Self::Client(stream) => stream.end(trailers),
            Self::Stream(stream) => stream.end(trailers),
        }
    }

    #[inline]
    fn trailers(&self) -> &[u8] {
        match self {
            Self::Whole(sock) => sock.trailers(),
            Self::Client(stream) => stream.trailers(),
            Self::Stream(stream) => stream.trailers(),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Whole(sock) => sock.poll_shutdown(cx),
            Self::Client(stream) => Poll::Ready(stream.end(b"")),
            Self::Stream(stream) => Poll::Ready(stream.end(b"")),
        }
    }

    fn poll_shutdown_unsaid(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Whole(sock) => sock.poll_shutdown_unsaid(cx),
            Self::Client(stream) => Poll::Ready(stream.end(b"")),
            Self::Stream(stream) => Poll::Ready(stream.end(b"")),
        }
    }

    #[inline]
    fn is_fresh(&self) -> bool {
        match self {
            Self::Whole(sock) => sock.is_fresh(),
            Self::Client(_) | Self::Stream(_) => false,
        }
    }

    fn watch(&mut self) {
        match self {
            Self::Whole(sock) => sock.watch(),
            Self::Client(_) | Self::Stream(_) => {}
        }
    }

    fn has_input(&mut self) -> bool {
        match self {
            Self::Whole(sock) => sock.has_input(),
            Self::Client(_) | Self::Stream(_) => false,
        }
    }

    async fn broken(&self) {
        match self {
            Self::Whole(sock) => sock.broken().await,
            // Its going is noticed without reading: nobody is deaf to it.
            Self::Client(_) | Self::Stream(_) => std::future::pending().await,
        }
    }

    async fn ended(&self) {
        match self {
            Self::Whole(sock) => sock.ended().await,
            Self::Client(_) | Self::Stream(_) => std::future::pending().await,
        }
    }

    fn cut(&mut self) {
        match self {
            Self::Whole(sock) => sock.cut(),
            Self::Client(stream) => stream.cut(),
            Self::Stream(stream) => stream.cut(),
        }
    }

    fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Whole(sock) => sock.local(),
            Self::Client(stream) => stream.local(),
            Self::Stream(_) => None,
        }
    }

    #[inline]
    fn bare(&mut self) -> Option<&mut OsSock> {
        match self {
            Self::Whole(sock) => sock.bare(),
            Self::Client(_) | Self::Stream(_) => None,
        }
    }

    #[inline]
    fn secured(&self) -> Option<&Secured> {
        match self {
            Self::Whole(sock) => sock.secured(),
            Self::Client(stream) => stream.secured(),
            Self::Stream(stream) => stream.secured(),
        }
    }
}
