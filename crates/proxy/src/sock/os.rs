//! Owns the adapters to sockets of the operating system. The only place that names the runtime's sockets beside `listener` and
//! `net`.

use std::cell::{OnceCell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

use super::Sock;

/// A socket of the operating system.
#[derive(Debug)]
pub enum OsSock {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
    /// TCP that has just been accepted.
    Fresh(Fresh),
}

/// A connection over TCP that the runtime hears of when it is first waited for: a client whose request came with it, and that is
/// answered and gone at once, costs neither the registration nor its undoing.
#[derive(Debug)]
pub struct Fresh {
    known: OnceCell<TcpStream>,
    /// None: the runtime knows it, or would not take it.
    sock: RefCell<Option<std::net::TcpStream>>,
}

impl Fresh {
    fn known(&self) -> io::Result<&TcpStream> {
        if let Some(sock) = self.sock.take() {
            let _first = self.known.set(TcpStream::from_std(sock)?);
        }
        self.known.get().ok_or_else(lost)
    }
}

/// The runtime would not take it.
fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

macro_rules! either {
    ($self:expr, $sock:ident => $what:expr) => {
        match $self {
            OsSock::Tcp($sock) => $what,
            OsSock::Unix($sock) => $what,
            // It was asked at once, and is still not known.
            OsSock::Fresh(_) => Poll::Ready(Err(lost())),
        }
    };
}

impl OsSock {
    /// A connection that does not block and that no runtime knows.
    #[must_use]
    pub fn fresh(sock: std::net::TcpStream) -> Self {
        Self::Fresh(Fresh {
            known: OnceCell::new(),
            sock: RefCell::new(Some(sock)),
        })
    }

    /// Has the runtime know it.
    fn settle(&mut self) -> io::Result<()> {
        if let Self::Fresh(fresh) = self {
            fresh.known()?;
            *self = Self::Tcp(fresh.known.take().ok_or_else(lost)?);
        }
        Ok(())
    }

    /// Does this at once where the runtime does not know the socket. None: it knows it, and says when there is something to do.
    #[inline]
    fn at_once<T>(
        &mut self,
        act: impl FnOnce(&mut std::net::TcpStream) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        match self {
            Self::Fresh(fresh) => {
                let done = fresh.sock.get_mut().as_mut().map(act);
                match done {
                    Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                    None => {}
                    done => return done,
                }
                self.settle().err().map(Err)
            }
            _ => None,
        }
    }

    /// What the runtime says of it; waits for that.
    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(sock) => sock.ready(interest).await,
            Self::Unix(sock) => sock.ready(interest).await,
            Self::Fresh(fresh) => fresh.known()?.ready(interest).await,
        }
    }

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
        self.settle()?;
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

/// Sends what is to go with what follows it, were it only the end.
#[cfg(target_os = "linux")]
fn send_held(sock: BorrowedFd<'_>, from: &[u8]) -> io::Result<usize> {
    use rustix::net::{SendFlags, send};
    Ok(send(sock, from, SendFlags::MORE | SendFlags::NOSIGNAL)?)
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
        if let Some(done) = self.at_once(|sock| sock.read(into)) {
            return Poll::Ready(done);
        }
        let mut buffer = ReadBuf::new(into);
        let polled = either!(self, sock => Pin::new(sock).poll_read(cx, &mut buffer));
        polled.map_ok(|()| buffer.filled().len())
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(done) = self.at_once(|sock| sock.write(from)) {
            return Poll::Ready(done);
        }
        either!(self, sock => Pin::new(sock).poll_write(cx, from))
    }

    #[cfg(target_os = "linux")]
    #[inline]
    fn poll_write_last(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(done) = self.at_once(|sock| send_held(sock.as_fd(), from)) {
            return Poll::Ready(done);
        }
        match self {
            Self::Tcp(_) => self.poll_within(cx, false, |sock| send_held(sock, from)),
            Self::Unix(_) | Self::Fresh(_) => self.poll_write(cx, from),
        }
    }

    #[inline]
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(done) = self.at_once(|sock| sock.write_vectored(from)) {
            return Poll::Ready(done);
        }
        either!(self, sock => Pin::new(sock).poll_write_vectored(cx, from))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(done) = self.at_once(|sock| sock.shutdown(Shutdown::Write)) {
            return Poll::Ready(done);
        }
        either!(self, sock => Pin::new(sock).poll_shutdown(cx))
    }

    fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }

    fn watch(&mut self) {
        // One that the runtime does not take fails as soon as it is used.
        let _lost = self.settle();
    }

    fn has_input(&mut self) -> bool {
        let mut byte = [0];
        if let Self::Fresh(fresh) = self
            && let Some(sock) = fresh.sock.get_mut()
        {
            let read = sock.peek(&mut byte);
            return !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        }
        self.watch();
        let mut cx = Context::from_waker(Waker::noop());
        let ready = either!(self, sock => sock.poll_read_ready(&mut cx));
        if ready.is_pending() {
            return false;
        }
        // Readiness may be left over from a read that filled its buffer: ask once more, which clears it.
        let read = match self {
            Self::Tcp(sock) => sock.try_read(&mut byte),
            Self::Unix(sock) => sock.try_read(&mut byte),
            Self::Fresh(_) => Err(lost()),
        };
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn broken(&self) {
        // An error stays with the socket, so that one that came before is seen. Asked again only if woken for nothing.
        loop {
            match self.ready(Interest::ERROR).await {
                Ok(ready) if !ready.is_error() => {}
                _ => return,
            }
        }
    }

    async fn ended(&self) {
        loop {
            match self.ready(END).await {
                Ok(ready) if !ready.is_error() && !ready.is_read_closed() => {}
                _ => return,
            }
        }
    }

    fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(sock) => sock.local_addr().ok(),
            Self::Unix(_) => None,
            Self::Fresh(fresh) => match &*fresh.sock.borrow() {
                Some(sock) => sock.local_addr().ok(),
                None => fresh.known.get()?.local_addr().ok(),
            },
        }
    }

    #[inline]
    fn bare(&mut self) -> Option<&mut OsSock> {
        let can = cfg!(target_os = "linux") && !matches!(self, Self::Unix(_));
        can.then_some(self)
    }

    fn cut(&mut self) {
        let reset = |sock: SockRef<'_>| sock.set_linger(Some(Duration::ZERO));
        if let Self::Fresh(fresh) = self
            && let Some(sock) = fresh.sock.get_mut()
        {
            let _ = reset(SockRef::from(&*sock));
            return;
        }
        self.watch();
        // A socket that is gone already cannot be cut, and need not be.
        let _ = match self {
            Self::Tcp(sock) => reset(SockRef::from(&*sock)),
            Self::Unix(sock) => reset(SockRef::from(&*sock)),
            Self::Fresh(_) => Ok(()),
        };
    }
}
