//! Owns one worker's socket of a listener: taking one connection from it, and giving one that was taken to another worker.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::proxy_protocol::Arrival;
use crate::sock::os::OsSock;

/// One worker's socket of one listener.
#[derive(Debug)]
pub enum Ear {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(StdUnixListener),
}

impl Ear {
    /// The socket itself, for another process.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(socket) => socket.as_fd().try_clone_to_owned(),
            Self::Unix(socket) => socket.as_fd().try_clone_to_owned(),
        }
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

    /// What waits, without waiting for it and without what the runtime believes of it.
    pub(super) fn accept(&self) -> io::Result<Taken> {
        let taken = match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Loose::Tcp(stream, peer)
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Loose::Unix(stream)
            }
        };
        taken.registered()
    }
}

/// A connection that this worker has taken, known to its runtime.
pub(super) enum Taken {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Taken {
    /// What is served.
    pub(super) fn served(self) -> (OsSock, Arrival) {
        match self {
            Self::Tcp(stream, peer) => (OsSock::Tcp(stream), Arrival::tcp(peer)),
            Self::Unix(stream) => (OsSock::Unix(stream), Arrival::unix()),
        }
    }

    /// For another worker. Costs a call.
    pub(super) fn loose(self) -> io::Result<Loose> {
        match self {
            Self::Tcp(stream, peer) => Ok(Loose::Tcp(stream.into_std()?, peer)),
            Self::Unix(stream) => stream.into_std().map(Loose::Unix),
        }
    }
}

/// A connection on its way to the worker that is to have it.
#[derive(Debug)]
pub(super) enum Loose {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(StdUnixStream),
}

impl Loose {
    /// It is this worker's now.
    pub(super) fn registered(self) -> io::Result<Taken> {
        match self {
            Self::Tcp(stream, peer) => Ok(Taken::Tcp(TcpStream::from_std(stream)?, peer)),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Taken::Unix),
        }
    }
}

/// A socket that the worker's runtime watches.
pub(super) enum Registered {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Registered {
    pub(super) fn new(ear: Ear) -> io::Result<Self> {
        match ear {
            Ear::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            Ear::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    pub(super) fn into_last(self) -> io::Result<Ear> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Ear::Tcp),
            Self::Unix(socket) => socket.into_std().map(Ear::Unix),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Taken> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok(Taken::Tcp(stream, peer))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok(Taken::Unix(stream))
            }
        }
    }
}
