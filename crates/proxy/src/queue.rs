//! Owns waiting for a full service: no longer than its queue and the exchange allow, for a client that is still there.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::queue::{Entry, Waiting};
use evenkeel_balance::service::{Handle, Seat};
use evenkeel_balance::time::Instant;

use crate::connection::Conn;
use crate::net::Net;

/// Why nothing came of it.
#[derive(Debug)]
pub(crate) enum Unpicked {
    /// The service refused, at once or in the end.
    Refused(Refusal),
    /// The client has gone meanwhile.
    Gone,
    /// The instance ends.
    Over,
}

/// What was asked for, at once where there is room. What was waited is added to `queued`; what comes of it behind `by` is refused.
pub(crate) async fn picked<N: Net>(
    conn: &mut Conn<N>,
    handle: &Handle,
    asked: Result<Entry<Pick<Seat>>, Refusal>,
    (by, half_close): (Instant, bool),
    queued: &mut Duration,
) -> Result<Pick<Seat>, Unpicked> {
    match asked {
        Ok(Entry::Picked(pick)) => Ok(pick),
        // On the heap: most need no room for it.
        Ok(Entry::Waiting(waiting)) => {
            Box::pin(wait(conn, handle, waiting, (by, half_close), queued)).await
        }
        Err(refusal) => Err(Unpicked::Refused(refusal)),
    }
}

/// A client that leaves leaves the queue: its place goes with the future.
async fn wait<N: Net>(
    conn: &mut Conn<N>,
    handle: &Handle,
    mut waiting: Waiting,
    (by, half_close): (Instant, bool),
    queued: &mut Duration,
) -> Result<Pick<Seat>, Unpicked> {
    let (worker, deadline) = (conn.worker.clone(), conn.deadline.clone());
    let began = worker.now();
    let mut until = waiting.until();
    deadline.set(until);
    let mut gone = pin!(conn.gone(half_close));
    let picked = poll_fn(|cx| {
        if worker.is_over() {
            return Poll::Ready(Err(Unpicked::Over));
        }
        if let Poll::Ready(called) = waiting.poll(cx.waker(), worker.now()) {
            return Poll::Ready(called.map_err(Unpicked::Refused));
        }
        if gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Unpicked::Gone));
        }
        if waiting.until() != until {
            until = waiting.until();
            deadline.set(until);
        }
        // The sweep wakes at the time, and what is waited for says that it is over.
        let _ = deadline.poll_passed(cx);
        Poll::Pending
    })
    .await;
    deadline.clear();
    let now = worker.now();
    *queued += now.since(began);
    match picked {
        // It was called in time, and woke too late for anything to come of it: the place is another's.
        Ok(pick) if now >= by => {
            drop(pick);
            Err(Unpicked::Refused(Refusal::QueueTimeout))
        }
        picked => picked.map(|pick| handle.seat(pick)),
    }
}
