//! Owns a pipe of the kernel, through which bytes pass from one TCP socket to another without coming to us.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use evenkeel_config::limits;

use super::os::OsSock;

/// Below this it is not worth its calls: the system gives pipes of a page or two to users who have many.
const LEAST: usize = 64 * 1024;

/// A pipe of the kernel: bytes go in at one socket, and out at another.
#[derive(Debug)]
pub(crate) struct Conduit {
    reads: OwnedFd,
    writes: OwnedFd,
    size: usize,
    held: usize,
}

impl Conduit {
    /// A pipe of up to [`limits::PIPE_BYTES`]. Costs two system calls.
    ///
    /// # Errors
    /// No descriptor, no memory, only a small one left for this user, or not Linux.
    pub(crate) fn open() -> io::Result<Self> {
        let (reads, writes, size) = kernel::open(limits::PIPE_BYTES)?;
        if size < LEAST {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Self {
            reads,
            writes,
            size,
            held: 0,
        })
    }

    /// Whether all that went in has gone out.
    pub(crate) const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes in what waits at a socket, at most so much. It must be empty: of one that is full the kernel says what it says of a
    /// socket that has nothing, and nobody would be woken. 0: the peer has closed its direction.
    ///
    /// # Errors
    /// Whatever ended the connection.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut OsSock,
        most: u64,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty(), "it waits for the wrong end");
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.size);
        let into = &self.writes;
        let length = ready!(from.poll_within(cx, true, |from| kernel::pass(from, into, most)))?;
        self.held = length;
        Poll::Ready(Ok(length))
    }

    /// Gives some of what it holds, which is something, to a socket.
    ///
    /// # Errors
    /// Whatever ended the connection.
    pub(crate) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut OsSock,
    ) -> Poll<io::Result<usize>> {
        let (from, held) = (&self.reads, self.held);
        let length = ready!(to.poll_within(cx, false, |to| kernel::pass(from, to, held)))?;
        self.held -= length;
        Poll::Ready(Ok(length))
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::os::fd::AsFd;

    use rustix::pipe::{
        PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
    };

    use super::{OwnedFd, io};

    pub(super) fn open(size: usize) -> io::Result<(OwnedFd, OwnedFd, usize)> {
        let (reads, writes) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let size = fcntl_setpipe_size(&writes, size).or_else(|_| fcntl_getpipe_size(&writes))?;
        Ok((reads, writes, size))
    }

    /// Says that nothing more follows by not saying that something does: what has passed is sent at once.
    pub(super) fn pass(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(splice(from, None, to, None, most, flags)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{OwnedFd, io};

    pub(super) fn open(_: usize) -> io::Result<(OwnedFd, OwnedFd, usize)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn pass<F, T>(_: F, _: T, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
