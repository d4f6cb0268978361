//! Owns how a connection is read: into one room for all of a thread's, a turn's worth at a time.

use std::cell::RefCell;
use std::task::{Context, Poll};

use super::mux::Mux;
use crate::sock::Sock;

thread_local! {
    /// Where bytes are read to: they are taken from there before anything else is read.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into());
}

/// What may be read of one connection before others have their turn.
const TURN: usize = 64 * 1024;

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// The connection has ended.
    Over,
    /// The task is woken when there is more.
    Later,
}

/// Reads what there is, up to a turn's worth, unless the connection owes too much.
pub(super) fn read<S: Sock>(
    cx: &mut Context<'_>,
    sock: &mut S,
    mux: &Mux,
    mut take: impl FnMut(&[u8]),
) -> Read {
    ROOM.with_borrow_mut(|room| {
        let mut left = TURN;
        while mux.may_read() {
            if left == 0 {
                // Whoever sends without end has other connections beside it.
                cx.waker().wake_by_ref();
                break;
            }
            let most = left.min(room.len());
            match sock.poll_read(cx, &mut room[..most]) {
                Poll::Pending => break,
                Poll::Ready(Ok(length)) if length > 0 => {
                    take(&room[..length]);
                    left -= length;
                }
                Poll::Ready(_) => return Read::Over,
            }
        }
        Read::Later
    })
}
