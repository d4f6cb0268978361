//! Owns waiting for a full service: no longer than its queue and the exchange allow, for a client that is still there.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::queue::{Entry, Waiting};
use evenkeel_balance::service::{Handle, Seat};

use crate::connection::{Conn, Noticed};
use crate::net::Net;

/// Why nothing came of it.
#[derive(Debug)]
pub(crate) enum Unpicked {
    /// The service refused, at once or in the end.
    Refused(Refusal),
    /// The client has gone meanwhile.
    Gone,
}

/// What was asked for, at once where there is room. What was waited is added to `queued`.
pub(crate) async fn picked<N: Net>(
    conn: &mut Conn<N>,
    handle: &Handle,
    asked: Result<Entry<Pick<Seat>>, Refusal>,
    half_close: bool,
    queued: &mut Duration,
) -> Result<Pick<Seat>, Unpicked> {
    match asked {
        Ok(Entry::Picked(pick)) => Ok(pick),
        // On the heap: most need no room for it.
        Ok(Entry::Waiting(waiting)) => {
            Box::pin(wait(conn, handle, waiting, half_close, queued)).await
        }
        Err(refusal) => Err(Unpicked::Refused(refusal)),
    }
}

/// A client that leaves leaves the queue: its place goes with the future.
async fn wait<N: Net>(
    conn: &mut Conn<N>,
    handle: &Handle,
    mut waiting: Waiting,
    half_close: bool,
    queued: &mut Duration,
) -> Result<Pick<Seat>, Unpicked> {
    let began = conn.worker.now();
    conn.deadline.set(waiting.until());
    let mut deaf = false;
    let picked = poll_fn(|cx| {
        if let Poll::Ready(called) = waiting.poll(cx.waker(), conn.worker.now()) {
            return Poll::Ready(called.map_err(Unpicked::Refused));
        }
        if !deaf && let Poll::Ready(noticed) = conn.poll_going(cx, half_close) {
            if noticed == Noticed::Gone {
                return Poll::Ready(Err(Unpicked::Gone));
            }
            deaf = true;
        }
        // The sweep wakes at the time, and what is waited for says that it is over.
        let _ = conn.deadline.poll_passed(cx);
        Poll::Pending
    })
    .await;
    conn.deadline.clear();
    *queued += conn.worker.now().since(began);
    picked.map(|pick| handle.seat(pick))
}
