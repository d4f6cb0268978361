//! Owns the one place where the `h2` crate's way of reading and writing meets ours.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Watch;
use crate::sock::Sock;

thread_local! {
    /// Where bytes are read to: the crate's own room is cleared before each read, however little comes.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into());
}

/// A connection, and what was read of it before it was known to be HTTP/2.
pub(super) struct Io<S> {
    sock: S,
    first: Vec<u8>,
    watch: Rc<Watch>,
}

impl<S: Sock> Io<S> {
    pub(super) fn new(sock: S, first: Vec<u8>, watch: Rc<Watch>) -> Self {
        Self { sock, first, watch }
    }
}

/// Nothing in it is pinned in place.
impl<S> Unpin for Io<S> {}

impl<S: Sock> AsyncRead for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let most = this.watch.turn_left().min(into.remaining());
        if most == 0 {
            // Whoever sends without end has other connections beside it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !this.first.is_empty() {
            let left = this.first.split_off(this.first.len().min(most));
            let now = std::mem::replace(&mut this.first, left);
            this.watch.came(&now);
            into.put_slice(&now);
            return Poll::Ready(Ok(()));
        }
        ROOM.with_borrow_mut(|room| {
            let most = most.min(room.len());
            let room = &mut room[..most];
            let length = ready!(this.sock.poll_read(cx, room))?;
            this.watch.came(&room[..length]);
            into.put_slice(&room[..length]);
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: Sock> AsyncWrite for Io<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = ready!(this.sock.poll_write(cx, from))?;
        this.watch.wrote(length);
        Poll::Ready(Ok(length))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = ready!(this.sock.poll_write_vectored(cx, from))?;
        this.watch.wrote(length);
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().sock.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().sock.poll_shutdown(cx)
    }
}
