//! Owns a guest's connection over TLS: its handshake goes on as it is read, so that nobody who is slow at it holds up who comes next.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use evenkeel_control::secure::{Fault, Identity, OsSock, Sock, Terms, TlsSock};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

type Handshake = Pin<Box<dyn Future<Output = Result<TlsSock<OsSock>, Fault>> + Send>>;

/// A connection over TLS, or on its way there.
pub(crate) struct Secure {
    stage: Stage,
    /// Who the client has shown to be, once its handshake has ended.
    shown: Arc<OnceLock<Arc<Identity>>>,
}

enum Stage {
    Handshake(Handshake),
    Open(Box<TlsSock<OsSock>>),
    Failed,
}

impl Secure {
    pub(super) fn new(
        stream: TcpStream,
        terms: Arc<Terms>,
        shown: Arc<OnceLock<Arc<Identity>>>,
    ) -> Self {
        let handshake = async move { terms.handshake(OsSock::Tcp(stream), Vec::new()).await };
        Self {
            stage: Stage::Handshake(Box::pin(handshake)),
            shown,
        }
    }

    /// The connection, once it is one.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut TlsSock<OsSock>>> {
        if let Stage::Handshake(handshake) = &mut self.stage {
            self.stage = match ready!(handshake.as_mut().poll(cx)) {
                Ok(sock) => {
                    let client = sock.secured().and_then(|secured| secured.client.clone());
                    if let Some(client) = client {
                        let _first = self.shown.set(client);
                    }
                    Stage::Open(Box::new(sock))
                }
                Err(_) => Stage::Failed,
            };
        }
        Poll::Ready(match &mut self.stage {
            Stage::Open(sock) => Ok(sock),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        })
    }
}

impl AsyncRead for Secure {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let sock = ready!(self.get_mut().poll_open(cx))?;
        let room = into.initialize_unfilled();
        if room.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let read = ready!(sock.poll_read(cx, room))?;
        into.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Secure {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sock = ready!(self.get_mut().poll_open(cx))?;
        match from {
            [] => Poll::Ready(Ok(0)),
            from => sock.poll_write(cx, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stage {
            Stage::Open(sock) => sock.poll_flush(cx),
            // Nothing was written.
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stage {
            Stage::Open(sock) => sock.poll_shutdown(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}
