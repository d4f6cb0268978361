//! Owns a connection that may be over TLS: which it is, nobody above has to know.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::secured::Secured;
use super::sock::TlsSock;
use crate::sock::Sock;
use crate::sock::os::OsSock;

/// One end of a connection.
#[derive(Debug)]
pub enum Channel<S: Sock> {
    /// Its bytes go as they are.
    Plain(S),
    /// Over TLS, its handshake made.
    Tls(Box<TlsSock<S>>),
}

macro_rules! either {
    ($self:expr, $sock:ident => $what:expr) => {
        match $self {
            Channel::Plain($sock) => $what,
            Channel::Tls($sock) => $what,
        }
    };
}

impl<S: Sock> Sock for Channel<S> {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        either!(self, sock => sock.poll_read(cx, into))
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, sock => sock.poll_write(cx, from))
    }

    #[inline]
    fn poll_write_last(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, sock => sock.poll_write_last(cx, from))
    }

    #[inline]
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, sock => sock.poll_write_vectored(cx, from))
    }

    #[inline]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, sock => sock.poll_flush(cx))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, sock => sock.poll_shutdown(cx))
    }

    #[inline]
    fn is_fresh(&self) -> bool {
        either!(self, sock => sock.is_fresh())
    }

    fn watch(&mut self) {
        either!(self, sock => sock.watch());
    }

    fn has_input(&mut self) -> bool {
        either!(self, sock => sock.has_input())
    }

    async fn broken(&self) {
        either!(self, sock => sock.broken().await);
    }

    async fn ended(&self) {
        either!(self, sock => sock.ended().await);
    }

    fn cut(&mut self) {
        either!(self, sock => sock.cut());
    }

    fn local(&self) -> Option<SocketAddr> {
        either!(self, sock => sock.local())
    }

    #[inline]
    fn bare(&mut self) -> Option<&mut OsSock> {
        match self {
            Self::Plain(sock) => sock.bare(),
            Self::Tls(_) => None,
        }
    }

    #[inline]
    fn secured(&self) -> Option<&Secured> {
        either!(self, sock => sock.secured())
    }
}
