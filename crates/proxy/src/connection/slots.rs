//! Owns the futures of exchanges: each is made once and serves one exchange after another, so that a request neither allocates
//! one nor moves one, and a connection that waits holds none.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use super::Conn;
use crate::exchange;
use crate::net::Net;
use crate::spare::Spare;
use crate::worker::{Swept, Worker};

/// The most free slots of one listener and worker, at some 4 KiB each.
const KEPT: usize = 1024;

/// A connection on its way into its exchange, and out of it.
struct Hand<N: Net> {
    begins: Cell<Option<Box<Conn<N>>>>,
    ended: Cell<Option<Box<Conn<N>>>>,
}

/// A future that serves whatever is handed to it.
struct Slot<F, N: Net> {
    hand: Rc<Hand<N>>,
    exchanges: Pin<Box<F>>,
}

/// Slots of one listener and worker, lent and given back.
pub struct Slots<F, N: Net> {
    free: Spare<Slot<F, N>>,
    begin: fn(Rc<Hand<N>>) -> F,
}

/// Slots for exchanges; the future's type has no name of its own.
pub fn slots<N: Net>(
    worker: &Worker<N>,
) -> Rc<Slots<impl Future<Output = Infallible> + use<N>, N>> {
    let slots = Rc::new(Slots {
        free: Spare::new(KEPT),
        begin: one_after_another::<N>,
    });
    let swept = Rc::downgrade(&slots);
    worker.sweeps(swept);
    slots
}

async fn one_after_another<N: Net>(hand: Rc<Hand<N>>) -> Infallible {
    loop {
        let mut conn = poll_fn(|_| hand.begins.take().map_or(Poll::Pending, Poll::Ready)).await;
        exchange::serve(&mut conn).await;
        hand.ended.set(Some(conn));
    }
}

impl<F: Future<Output = Infallible>, N: Net> Slots<F, N> {
    /// Serves the request that has begun to arrive. Dropped before that has ended, its exchange is cut.
    pub(crate) async fn run(&self, conn: Box<Conn<N>>) -> Box<Conn<N>> {
        let mut slot = self.free.take().unwrap_or_else(|| self.slot());
        slot.hand.begins.set(Some(conn));
        let conn = poll_fn(|cx| {
            let Poll::Pending = slot.exchanges.as_mut().poll(cx);
            slot.hand.ended.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.free.give(slot);
        conn
    }

    fn slot(&self) -> Slot<F, N> {
        let hand = Rc::new(Hand {
            begins: Cell::new(None),
            ended: Cell::new(None),
        });
        Slot {
            exchanges: Box::pin((self.begin)(hand.clone())),
            hand,
        }
    }
}

impl<F, N: Net> Swept for Slots<F, N> {
    fn sweep(&self) {
        self.free.sweep();
    }
}
