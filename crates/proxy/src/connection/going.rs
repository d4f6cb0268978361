//! Owns how a client's going is noticed while its request is served and nothing is owed to be read from it.
//!
//! What it sends meanwhile is read ahead, up to the room of one buffer: an end stands behind it. Of what stands behind more than that
//! the system tells. A client that is silent costs no system call; one that has just come is not watched before the next sweep. See `docs/decisions/0008-clients-that-leave.md`.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Conn;
use crate::carrier::Carrier;
use crate::net::Net;
use crate::sock::Sock;

/// What reading ahead told of a client that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// It has gone: cut the connection, or closed it where a close means that nobody waits.
    Gone,
    /// Reading tells nothing more of it: it ended its direction and may do so, or there is no more room.
    Deaf,
}

impl<N: Net> Conn<N> {
    /// Waits before another attempt. False: the client has gone meanwhile.
    pub(crate) async fn stays(&mut self, after: Duration, half_close: bool) -> bool {
        if after.is_zero() {
            return true;
        }
        let deadline = self.deadline.clone();
        deadline.set(self.worker.now() + after);
        let mut gone = pin!(self.gone(half_close));
        poll_fn(|cx| match gone.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => deadline.poll_passed(cx).map(|()| true),
        })
        .await
    }

    /// Ready once the client has gone.
    pub(crate) async fn gone(&mut self, half_close: bool) {
        let noticed = poll_fn(|cx| self.poll_going(cx, half_close)).await;
        if noticed == Noticed::Deaf {
            self.left(half_close).await;
        }
    }

    /// Ready once a client of which [reading tells nothing more](Noticed::Deaf) has gone.
    pub(crate) async fn left(&self, half_close: bool) {
        match half_close {
            true => self.sock.broken().await,
            false => self.sock.ended().await,
        }
    }

    /// Reads ahead until that tells something. Not to be asked again after [`Noticed::Deaf`] for the same wait: it would say so
    /// at once.
    pub(crate) fn poll_going(&mut self, cx: &mut Context<'_>, half_close: bool) -> Poll<Noticed> {
        if let Carrier::Client(stream) = &self.sock {
            return stream.poll_gone(cx).map(|()| Noticed::Gone);
        }
        // Being told of a client costs a tenth of an exchange that is served at once: one that takes longer pays for it.
        if self.sock.is_fresh() {
            self.input.release(&self.worker.buffers);
            ready!(self.deadline.poll_lasts(cx));
            self.sock.watch();
        }
        while self.input.has_room() {
            let filled = self
                .input
                .poll_fill(cx, &mut self.sock, &self.worker.buffers, false);
            match ready!(filled) {
                Ok(0) if half_close => return Poll::Ready(Noticed::Deaf),
                // An end of TLS that is not said is one all the same: who reads it next finds it there.
                Err(error) if half_close && error.kind() == ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Noticed::Deaf);
                }
                Ok(0) | Err(_) => return Poll::Ready(Noticed::Gone),
                Ok(_) => {}
            }
        }
        Poll::Ready(Noticed::Deaf)
    }
}
