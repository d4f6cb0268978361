//! Owns what a pump does where bytes need not come to us: between two bare sockets they pass within the kernel.
//!
//! Large pieces only: the calls cost what they cost, and small messages are cheaper copied. What a pump decides of bytes it decides
//! before they are given to the writing side, as where they are copied.

use std::io;
use std::task::{Context, Poll, ready};

use super::{Break, Pump, Source};
use crate::buffers::{Buffers, Input};
use crate::sock::Sock;

/// A direction whose last piece was so large passes within the kernel, until one is not.
const LARGE: usize = 32 * 1024;

impl Pump {
    /// Remembers how much came at once.
    pub(super) const fn came_at_once(&mut self, length: usize) {
        self.large = length >= LARGE;
    }

    /// Takes what waits into a pipe, for `poll_give`. `false`: nothing was done, it is to be copied.
    pub(super) fn poll_take<R: Sock, W: Sock>(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Input,
        from: &mut R,
        to: &mut W,
        buffers: &Buffers,
    ) -> Poll<Result<bool, Break>> {
        let most = match self.source {
            Some(Source::Exact(left)) => left,
            Some(Source::UntilEnd(None)) if !self.wrap => u64::MAX,
            _ => return Poll::Ready(Ok(false)),
        };
        // What is kept has to come to us.
        if !self.large || self.kept.is_some() || !input.is_empty() {
            return Poll::Ready(Ok(false));
        }
        let (Some(from), Some(_)) = (from.bare(), to.bare()) else {
            return Poll::Ready(Ok(false));
        };
        let Some(mut lent) = buffers.conduits.take() else {
            return Poll::Ready(Ok(false));
        };
        input.release(buffers);
        let polled = lent.conduit.poll_fill(cx, from, most);
        match polled {
            Poll::Ready(Ok(1..)) => self.conduit = Some(lent),
            _ => buffers.conduits.give(lent),
        }
        match ready!(polled).map_err(Break::Read)? {
            0 => self.end_of_input(b"")?,
            length => self.took(length)?,
        }
        Poll::Ready(Ok(true))
    }

    /// So many bytes of the body are in the pipe.
    fn took(&mut self, length: usize) -> Result<(), Break> {
        (self.moved, self.begun) = (true, true);
        self.came_at_once(length);
        if let Some(Source::Exact(left)) = &mut self.source {
            *left -= length as u64;
            if *left == 0 {
                self.source = None;
            }
        }
        self.came += length as u64;
        match self.came > self.most {
            true => Err(Break::TooLarge),
            false => Ok(()),
        }
    }

    /// Gives what the pipe holds to the writing side.
    pub(super) fn poll_give<W: Sock>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
        buffers: &Buffers,
    ) -> Poll<Result<(), Break>> {
        while let Some(lent) = &mut self.conduit {
            let given = match to.bare() {
                Some(to) => ready!(lent.conduit.poll_drain(cx, to)),
                None => Err(io::ErrorKind::Unsupported.into()),
            };
            match given {
                Ok(0) => return Poll::Ready(Err(Break::Write(io::ErrorKind::WriteZero.into()))),
                Ok(length) => buffers.conduits.room.spliced(length),
                Err(error) => return Poll::Ready(Err(Break::Write(error))),
            }
            (self.moved, self.wrote) = (true, true);
            if lent.conduit.is_empty()
                && let Some(lent) = self.conduit.take()
            {
                buffers.conduits.give(lent);
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
