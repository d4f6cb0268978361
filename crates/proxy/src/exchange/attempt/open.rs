//! Owns opening a connection to a picked backend.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Fault;
use rustix::io::Errno;

use super::{Course, Failed, unsent};
use crate::connection::{Conn, Noticed};
use crate::exchange::Exchange;
use crate::net::Net;
use crate::observation::Observation;
use crate::reason::Reason;
use crate::tls::upstream::Refused;
use crate::upstream::{Connection, Lane, Place};

/// Why there is no connection.
pub(super) enum Unopened {
    Failed(Failed),
    /// The client has gone meanwhile.
    Gone,
}

/// Opens a connection, within its deadline, for a client that is still there, and says when it stood. Unless it is to be a fresh
/// one, a connection that comes free while the limit of sockets is waited for does as well.
pub(super) async fn open<N: Net>(
    exchange: &Exchange<'_, N>,
    conn: &mut Conn<N>,
    seen: &mut Observation,
    lane: &Rc<Lane<N::Sock>>,
    course: &Course<'_>,
    now: Instant,
    fresh: bool,
) -> Result<(Connection<N::Sock>, Instant), Unopened> {
    let plan = &exchange.seat.live.plan;
    let within = exchange.rule.beside.connect;
    let within = within.unwrap_or(plan.limits.connect);
    conn.deadline.set((now + within).min(course.until));
    let placed = Cell::new(None);
    let towards = exchange.seat.live.towards.as_deref();
    let worker = conn.worker.clone();
    let mut connecting = pin!(async {
        let permit = match lane.place(fresh).await {
            Place::Free(permit) => permit,
            Place::Kept(connection) => return Ok(connection),
        };
        placed.set(Some(worker.now()));
        let sock = worker
            .net
            .connect(&lane.backend.address, &plan.upstream, towards)
            .await?;
        Ok::<_, io::Error>(Connection::new(sock, permit, now))
    });
    let failed = |fault, reason| Poll::Ready(Err(Unopened::Failed(unsent(fault, reason))));
    let mut deaf = false;
    let opened = poll_fn(|cx| {
        match connecting.as_mut().poll(cx) {
            Poll::Ready(Ok(connection)) => return Poll::Ready(Ok(connection)),
            Poll::Ready(Err(error)) if is_local(&error) => {
                return failed(None, Reason::LocalResources);
            }
            Poll::Ready(Err(error)) => {
                let reason = match error.get_ref().is_some_and(|error| error.is::<Refused>()) {
                    true => Reason::BackendTls,
                    false => Reason::ConnectFailed,
                };
                return failed(Some(Fault::Connect), reason);
            }
            Poll::Pending => {}
        }
        if !deaf && let Poll::Ready(noticed) = conn.poll_going(cx, course.half_close) {
            if noticed == Noticed::Gone {
                return Poll::Ready(Err(Unopened::Gone));
            }
            deaf = true;
        }
        if conn.deadline.poll_passed(cx).is_pending() {
            return Poll::Pending;
        }
        if placed.get().is_some() {
            failed(Some(Fault::Connect), Reason::ConnectFailed)
        } else {
            failed(None, Reason::MaxConnections)
        }
    })
    .await;
    let ended = worker.now();
    let placed = placed.get();
    seen.queue += placed.unwrap_or(ended).since(now);
    seen.connect = placed.map(|placed| ended.since(placed));
    opened.map(|connection| (connection, ended))
}

/// Whether this machine lacks something, so that the error says nothing of the backend: held against it, a shortage here would
/// take one healthy backend after the other out.
fn is_local(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| {
        matches!(
            error,
            Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_an_error_is() {
        for (error, local) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::NOBUFS, true),
            (Errno::NOMEM, true),
            (Errno::CONNREFUSED, false),
            (Errno::CONNRESET, false),
            (Errno::HOSTUNREACH, false),
            (Errno::NETUNREACH, false),
            (Errno::TIMEDOUT, false),
            (Errno::NOENT, false),
        ] {
            assert_eq!(is_local(&error.into()), local, "{error}");
        }
        assert!(!is_local(&io::ErrorKind::NotFound.into()));
    }
}
