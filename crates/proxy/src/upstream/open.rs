//! Owns opening a connection to a picked backend: within its deadline, for a client that is still there.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::retry::UNREACHED_WITHIN;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Fault;
use evenkeel_config::plan::Protocol;
use rustix::io::Errno;

use crate::connection::Conn;
use crate::deadline::Deadline;
use crate::http2::back::Way;
use crate::live::LiveService;
use crate::net::Net;
use crate::observation::Observation;
use crate::reason::Reason;
use crate::sock::Sock;
use crate::tls::secured::Secured;
use crate::tls::upstream::{Refused, Towards};
use crate::worker::Worker;

use super::{Connection, Lane, Permit, Place};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// None: not the backend's fault.
    Failed(Option<Fault>, Reason),
    /// Nobody is there who could take one, and that was known soon: a fault that cost the backend nothing, and the client no time.
    Nobody,
    /// The client has gone meanwhile.
    Gone,
}

/// How a connection is opened.
pub(crate) struct Opening<'a> {
    pub(crate) service: &'a LiveService,
    /// What begins it.
    pub(crate) introduction: &'a [u8],
    /// What its backends are held to, where that is planned.
    pub(crate) towards: Option<&'a Towards>,
    /// How long connecting may take. A place under a limit of ours is waited for as long, and that is not the backend's time.
    pub(crate) within: Duration,
    /// It stands by then, or there is none.
    pub(crate) until: Instant,
    /// A client that ended its direction is still there.
    pub(crate) half_close: bool,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Else a connection that comes free while the limit of sockets is waited for does as well.
    pub(crate) fresh: bool,
}

impl Opening<'_> {
    /// Opens it, and says when it stood.
    pub(crate) async fn open<N: Net>(
        &self,
        conn: &mut Conn<N>,
        seen: &mut Observation,
        lane: &Rc<Lane<N::Sock>>,
        now: Instant,
    ) -> Result<(Connection<N::Sock>, Instant), Unopened> {
        conn.deadline.set((now + self.within).min(self.until));
        let placed = Cell::new(None);
        let worker = conn.worker.clone();
        let mut connecting = pin!(self.connect(&worker, lane, &placed, now));
        let failed = |fault, reason| Poll::Ready(Err(Unopened::Failed(fault, reason)));
        let deadline = conn.deadline.clone();
        let mut gone = pin!(conn.gone(self.half_close));
        let mut begun = false;
        let opened = poll_fn(|cx| {
            let polled = connecting.as_mut().poll(cx);
            if let Some(placed) = placed.get().filter(|placed| !begun && *placed > now) {
                begun = true;
                deadline.set((placed + self.within).min(self.until));
            }
            match polled {
                Poll::Ready(Ok(connection)) => return Poll::Ready(Ok(connection)),
                Poll::Ready(Err(error)) if is_local(&error) => {
                    return failed(None, Reason::LocalResources);
                }
                Poll::Ready(Err(error)) if is_nobody(&error) && soon(&worker, placed.get()) => {
                    return Poll::Ready(Err(Unopened::Nobody));
                }
                Poll::Ready(Err(error)) => {
                    return failed(Some(Fault::Connect), refused_by(&error));
                }
                Poll::Pending => {}
            }
            if gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Unopened::Gone));
            }
            if deadline.poll_passed(cx).is_pending() {
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

    /// The same for an attempt beside another, by a deadline of its own: of what comes of it no client is told. The error: what is held
    /// against the backend, and why there is none.
    pub(crate) async fn open_beside<N: Net>(
        &self,
        worker: &Worker<N>,
        deadline: &Deadline,
        lane: &Lane<N::Sock>,
        now: Instant,
    ) -> Result<Connection<N::Sock>, (Option<Fault>, Reason)> {
        deadline.set((now + self.within).min(self.until));
        let placed = Cell::new(None);
        let mut connecting = pin!(self.connect(worker, lane, &placed, now));
        poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(opened) => Poll::Ready(opened.map_err(|error| match is_local(&error) {
                true => (None, Reason::LocalResources),
                false => (Some(Fault::Connect), refused_by(&error)),
            })),
            Poll::Pending => deadline.poll_passed(cx).map(|()| {
                let waited = placed.get().filter(|_| !deadline.take_cut());
                // The time of the exchange may have been over before its own was.
                let whole = waited.filter(|placed| worker.now() >= *placed + self.within);
                let reason = match placed.get() {
                    Some(_) => Reason::ConnectFailed,
                    None => Reason::MaxConnections,
                };
                Err((whole.map(|_| Fault::Connect), reason))
            }),
        })
        .await
    }

    /// Connects once there may be another socket; says when that was in `placed`.
    async fn connect<N: Net>(
        &self,
        worker: &Worker<N>,
        lane: &Lane<N::Sock>,
        placed: &Cell<Option<Instant>>,
        now: Instant,
    ) -> io::Result<Connection<N::Sock>> {
        let shared = self.service.plan.upstream.is_shared();
        if shared && self.protocol != Protocol::Http1 && !lane.speaks_http1() {
            // On the heap: most connections are of HTTP/1.
            return Box::pin(self.connect_shared(worker, lane, placed, now)).await;
        }
        match lane.place(self.fresh, now).await {
            Place::Free(permit) => self.connect_at(worker, lane, placed, permit, now).await,
            Place::Kept(connection) => Ok(connection),
        }
    }

    /// The same where a connection may be shared: what comes first, a place on one, or the turn to open one.
    async fn connect_shared<N: Net>(
        &self,
        worker: &Worker<N>,
        lane: &Lane<N::Sock>,
        placed: &Cell<Option<Instant>>,
        now: Instant,
    ) -> io::Result<Connection<N::Sock>> {
        let (how, links) = (&self.service.plan.upstream, &lane.links);
        let way = poll_fn(|cx| match lane.speaks_http1() {
            // It was asked meanwhile: nobody has to wait for his turn.
            true => Poll::Ready(None),
            false => links.poll_way(cx, how, worker.now()).map(Some),
        });
        // Who waits here waits for this backend, whose fault it is if nothing comes of it.
        placed.set(Some(now));
        let _turn = match way.await {
            Some(Way::Stream(stream, before)) => {
                placed.set(Some(worker.now()));
                return Ok(Connection::of_stream(stream, before, now));
            }
            Some(Way::Open(turn)) => Some(turn),
            None => None,
        };
        placed.set(None);
        let mut place = pin!(lane.place(self.fresh, now));
        let mut starving = None;
        let place = poll_fn(|cx| {
            if links.is_empty() && starving.is_none() {
                starving = Some(lane.backend.sockets.starve());
            }
            if let Some((stream, before)) = links.take(how, now) {
                return Poll::Ready(Place::Kept(Connection::of_stream(stream, before, now)));
            }
            links.heed(cx);
            place.as_mut().poll(cx)
        });
        let place = place.await;
        drop(starving);
        match place {
            Place::Free(permit) => self.connect_at(worker, lane, placed, permit, now).await,
            Place::Kept(connection) => Ok(connection),
        }
    }

    /// Connects, and begins what was agreed on.
    async fn connect_at<N: Net>(
        &self,
        worker: &Worker<N>,
        lane: &Lane<N::Sock>,
        placed: &Cell<Option<Instant>>,
        permit: Permit,
        now: Instant,
    ) -> io::Result<Connection<N::Sock>> {
        placed.set(Some(worker.now()));
        let (to, how) = (&lane.backend.address, &self.service.plan.upstream);
        let first = self.introduction;
        let sock = worker.net.connect(to, how, self.towards, first).await?;
        if self.protocol == Protocol::Http1 {
            return Ok(Connection::new(sock, permit, now));
        }
        let agreed = sock.secured().is_some_and(Secured::is_http2);
        let http2 = agreed || self.protocol == Protocol::Http2;
        lane.note_http1(!http2);
        if !http2 {
            return Ok(Connection::new(sock, permit, now));
        }
        let limits = (how, &self.service.plan.limits);
        let stream = (lane.links).begin(
            &worker.net,
            sock,
            (permit, worker.stock.clone()),
            limits,
            now,
        );
        Ok(Connection::of_stream(stream, 0, now))
    }
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

/// What failed that is not this machine's: TLS, or connecting.
fn refused_by(error: &io::Error) -> Reason {
    match error.get_ref().is_some_and(|error| error.is::<Refused>()) {
        true => Reason::BackendTls,
        false => Reason::ConnectFailed,
    }
}

/// Whether the error says that nobody listens there, or that there is no way: no backend has noticed.
fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, NotFound};
    // What TLS refuses comes from somebody, and says who it was within.
    error.get_ref().is_none()
        && matches!(
            error.kind(),
            ConnectionRefused | HostUnreachable | NetworkUnreachable | NotFound
        )
}

/// Whether connecting, begun then, failed soon enough to look further for nothing. Of a host that is switched off the kernel says so after
/// three seconds of asking who has its address.
fn soon<N: Net>(worker: &Worker<N>, began: Option<Instant>) -> bool {
    began.is_none_or(|began| worker.now().since(began) <= UNREACHED_WITHIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_an_error_is() {
        const OURS: (bool, bool) = (true, false);
        const ITS: (bool, bool) = (false, false);
        const NOBODY: (bool, bool) = (false, true);
        for (error, expected) in [
            (Errno::MFILE, OURS),
            (Errno::NFILE, OURS),
            (Errno::ADDRNOTAVAIL, OURS),
            (Errno::NOBUFS, OURS),
            (Errno::NOMEM, OURS),
            (Errno::CONNREFUSED, NOBODY),
            (Errno::CONNRESET, ITS),
            (Errno::HOSTUNREACH, NOBODY),
            (Errno::NETUNREACH, NOBODY),
            (Errno::TIMEDOUT, ITS),
            (Errno::NOENT, NOBODY),
        ] {
            let error = error.into();
            assert_eq!((is_local(&error), is_nobody(&error)), expected, "{error}");
        }
        assert!(!is_local(&io::ErrorKind::NotFound.into()));
        let tls = io::Error::new(
            io::ErrorKind::ConnectionRefused,
            Refused(crate::tls::fault::Fault::ALL[0]),
        );
        assert!(!is_nobody(&tls));
    }
}
