//! Owns opening a connection to a picked backend.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Fault;

use super::{Course, Failed, unsent};
use crate::connection::Conn;
use crate::exchange::Exchange;
use crate::net::Net;
use crate::reason::Reason;
use crate::upstream::{Connection, Lane};

/// Opens a connection, within its deadline.
pub(super) async fn open<N: Net>(
    exchange: &Exchange<'_, N>,
    conn: &Conn<N>,
    lane: &Rc<Lane<N::Sock>>,
    course: &Course<'_>,
    now: Instant,
) -> Result<Connection<N::Sock>, Failed> {
    let plan = &exchange.seat.live.plan;
    conn.deadline
        .set((now + plan.limits.connect).min(course.until));
    let permitted = Cell::new(false);
    let mut connecting = pin!(async {
        let permit = lane.permit().await;
        permitted.set(true);
        let sock = conn
            .worker
            .net
            .connect(&lane.backend.address, &plan.upstream)
            .await?;
        Ok::<_, std::io::Error>(Connection::new(sock, permit, now))
    });
    poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(Ok(connection)) => Poll::Ready(Ok(connection)),
        Poll::Ready(Err(_)) => {
            Poll::Ready(Err(unsent(Some(Fault::Connect), Reason::ConnectFailed)))
        }
        Poll::Pending if conn.deadline.poll_passed(cx).is_pending() => Poll::Pending,
        Poll::Pending if permitted.get() => {
            Poll::Ready(Err(unsent(Some(Fault::Connect), Reason::ConnectFailed)))
        }
        Poll::Pending => Poll::Ready(Err(unsent(None, Reason::MaxConnections))),
    })
    .await
}
