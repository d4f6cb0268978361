//! Owns one worker's socket of a listener: taking one connection from it, and giving one that was taken to another worker.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::task::{Poll, ready};

#[cfg(target_os = "linux")]
use rustix::net::{SocketFlags, accept_with, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use crate::proxy_protocol::Arrival;
use crate::sock::os::OsSock;

/// One worker's socket of one listener.
#[derive(Debug)]
pub enum Ear {
    /// TCP.
    Tcp(StdTcpListener),
    /// Unix.
    Unix(StdUnixListener),
}

impl Ear {
    /// The socket itself, for another process.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }

    /// The same socket once more: what waits in its queue outlives a worker that dies.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn again(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }

    /// A connection that waits, if there is one; it does not block.
    pub(super) fn accept(&self) -> io::Result<Taken> {
        match self {
            Self::Tcp(socket) => taken_tcp(socket),
            Self::Unix(socket) => taken_unix(socket),
        }
    }
}

#[cfg(target_os = "linux")]
const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

#[cfg(target_os = "linux")]
fn taken_tcp(socket: &StdTcpListener) -> io::Result<Taken> {
    let (stream, peer) = acceptfrom_with(socket, FLAGS)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    // It has gone, and its address with it.
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok(Taken::Tcp(stream.into(), peer))
}

#[cfg(target_os = "linux")]
fn taken_unix(socket: &StdUnixListener) -> io::Result<Taken> {
    Ok(Taken::Unix(accept_with(socket, FLAGS)?.into()))
}

#[cfg(not(target_os = "linux"))]
fn taken_tcp(socket: &StdTcpListener) -> io::Result<Taken> {
    let (stream, peer) = socket.accept()?;
    stream.set_nonblocking(true)?;
    Ok(Taken::Tcp(stream, peer))
}

#[cfg(not(target_os = "linux"))]
fn taken_unix(socket: &StdUnixListener) -> io::Result<Taken> {
    let (stream, _) = socket.accept()?;
    stream.set_nonblocking(true)?;
    Ok(Taken::Unix(stream))
}

/// A connection that was taken, by whichever worker; no runtime knows it yet.
#[derive(Debug)]
pub(super) enum Taken {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(StdUnixStream),
}

impl Taken {
    /// What this worker serves.
    pub(super) fn served(self) -> io::Result<(OsSock, Arrival)> {
        Ok(match self {
            Self::Tcp(stream, peer) => (OsSock::fresh(stream), Arrival::tcp(peer)),
            Self::Unix(stream) => {
                let stream = UnixStream::from_std(stream)?;
                (OsSock::Unix(stream), Arrival::unix())
            }
        })
    }
}

/// A socket that the worker's runtime watches.
pub(super) struct Registered(AsyncFd<Ear>);

impl AsRawFd for Ear {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Registered {
    #[expect(
        deprecated,
        reason = "what took its place is unsafe, and asks what holds: an ear owns its descriptor, and has no other"
    )]
    pub(super) fn new(ear: Ear) -> io::Result<Self> {
        AsyncFd::with_interest(ear, Interest::READABLE).map(Self)
    }

    pub(super) fn into_last(self) -> Ear {
        self.0.into_inner()
    }

    pub(super) async fn accept(&self) -> io::Result<Taken> {
        // Polled, not awaited: so it counts as a turn, and others have theirs when many come at once.
        poll_fn(|cx| {
            loop {
                let mut ready = ready!(self.0.poll_read_ready(cx))?;
                if let Ok(taken) = ready.try_io(|ear| ear.get_ref().accept()) {
                    return Poll::Ready(taken);
                }
            }
        })
        .await
    }
}
