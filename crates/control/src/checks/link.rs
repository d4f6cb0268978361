//! Owns the connection that a check of HTTP or gRPC speaks over: made by the library, its TLS by the engine, with the rules of traffic.
//!
//! One per check: what a kept connection says of a backend is old, and the certificate is looked at each time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use evenkeel::address::Address;
use evenkeel::probe::{Link, ProbeError, connect};
use evenkeel_config::plan::BackendAddress;
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::os::OsSock;
use evenkeel_proxy::tls::channel::Channel;
use evenkeel_proxy::tls::upstream::{Refused, Towards};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// HTTP/1.1 in a handshake.
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// HTTP/2 in a handshake.
pub(crate) const HTTP2: &[u8] = b"h2";

/// What a check does about TLS.
#[derive(Debug)]
pub(crate) enum Secured {
    /// Nothing: its bytes go as they are.
    Off,
    /// Holds backends to what traffic holds them to.
    Towards(Box<Towards>),
    /// It should, and what it needs could not be loaded: it fails rather than trust anybody.
    Broken,
}

/// A connection, for those who speak the runtime's traits.
#[derive(Debug)]
pub(crate) struct Stream(Channel<OsSock>);

impl Secured {
    /// Connects to where a check goes, and begins with `first`; who answers must be `backend`. `spoken` is what was offered, best
    /// first. Says whether it is HTTP/2 that is to be spoken: what was agreed on, else the one that may be.
    ///
    /// # Errors
    /// No connection, or a handshake that failed, with its reason.
    pub(crate) async fn connect(
        &self,
        to: &Address,
        backend: &BackendAddress,
        first: &[u8],
        spoken: &[&[u8]],
    ) -> Result<(Stream, bool), ProbeError> {
        if matches!(self, Self::Broken) {
            return Err(ProbeError::Protocol("tls", "not_loaded"));
        }
        let mut link = connect(to).await?;
        link.begin(first).await?;
        let sock = sock(link);
        let Self::Towards(towards) = self else {
            return Ok((Stream(Channel::Plain(sock)), !spoken.contains(&HTTP1)));
        };
        let made = Box::pin(towards.handshake(sock, backend));
        let made = made.await.map_err(refused)?;
        // HTTP/2 is never spoken without having been agreed on (RFC 9113 section 3.2); older servers of HTTP/1.1 agree on nothing.
        let http2 = match made.secured().and_then(|secured| secured.alpn.as_deref()) {
            Some(agreed) if spoken.contains(&agreed) => agreed == HTTP2,
            None if spoken.contains(&HTTP1) => false,
            _ => return Err(ProbeError::Protocol("tls", "protocol")),
        };
        Ok((Stream(Channel::Tls(Box::new(made))), http2))
    }
}

fn sock(link: Link) -> OsSock {
    match link {
        Link::Tcp(stream) => OsSock::Tcp(stream),
        Link::Unix(stream) => OsSock::Unix(stream),
    }
}

fn refused(error: io::Error) -> ProbeError {
    let why = error.get_ref().and_then(|why| why.downcast_ref());
    match why {
        Some(Refused(fault)) => ProbeError::Protocol("tls", fault.word()),
        None => error.into(),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let length = ready!(self.0.poll_read(cx, into.initialize_unfilled()))?;
        into.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        if from.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.0.poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}
