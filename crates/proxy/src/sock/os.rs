//! Owns the adapters to sockets of the operating system. The only place that names the runtime's sockets beside `listener` and
//! `net`.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::Sock;

/// A socket of the operating system.
#[derive(Debug)]
pub enum OsSock {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

macro_rules! either {
    ($self:expr, $sock:ident => $what:expr) => {
        match $self {
            OsSock::Tcp($sock) => $what,
            OsSock::Unix($sock) => $what,
        }
    };
}

impl OsSock {
    /// Does this with its descriptor once that can be read, or else written, and again each time that it would have had to wait.
    /// Only TCP: bytes that pass between other sockets are copied.
    ///
    /// # Errors
    /// Those of `act`.
    pub(super) fn poll_within(
        &mut self,
        cx: &mut Context<'_>,
        reading: bool,
        act: impl Fn(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let Self::Tcp(sock) = self else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        loop {
            let interest = if reading {
                ready!(sock.poll_read_ready(cx))?;
                Interest::READABLE
            } else {
                ready!(sock.poll_write_ready(cx))?;
                Interest::WRITABLE
            };
            match sock.try_io(interest, || act(sock.as_fd())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// What the end of the peer's direction is told by (`EPOLLRDHUP`), however much stands unread before it. Who asks for what can be read
/// is told of the end as well, and of each byte; who asks for urgent bytes, of the end alone: they are not asked for of the system.
#[cfg(target_os = "linux")]
const END: Interest = Interest::ERROR.add(Interest::PRIORITY);
#[cfg(not(target_os = "linux"))]
const END: Interest = Interest::ERROR;

impl Sock for OsSock {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        let polled = either!(self, sock => Pin::new(sock).poll_read(cx, &mut buffer));
        polled.map_ok(|()| buffer.filled().len())
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, sock => Pin::new(sock).poll_write(cx, from))
    }

    #[inline]
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, sock => Pin::new(sock).poll_write_vectored(cx, from))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, sock => Pin::new(sock).poll_shutdown(cx))
    }

    fn has_input(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let ready = either!(self, sock => sock.poll_read_ready(&mut cx));
        if ready.is_pending() {
            return false;
        }
        // Readiness may be left over from a read that filled its buffer: ask once more, which clears it.
        let mut byte = [0];
        let read = either!(self, sock => sock.try_read(&mut byte));
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn broken(&self) {
        // An error stays with the socket, so that one that came before is seen. Asked again only if woken for nothing.
        loop {
            match either!(self, sock => sock.ready(Interest::ERROR).await) {
                Ok(ready) if !ready.is_error() => {}
                _ => return,
            }
        }
    }

    async fn ended(&self) {
        loop {
            match either!(self, sock => sock.ready(END).await) {
                Ok(ready) if !ready.is_error() && !ready.is_read_closed() => {}
                _ => return,
            }
        }
    }

    fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(sock) => sock.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    #[inline]
    fn bare(&mut self) -> Option<&mut OsSock> {
        let can = cfg!(target_os = "linux") && matches!(self, Self::Tcp(_));
        can.then_some(self)
    }

    fn cut(&mut self) {
        // A socket that is gone already cannot be cut, and need not be.
        let _ = either!(self, sock => SockRef::from(&*sock).set_linger(Some(Duration::ZERO)));
    }
}
