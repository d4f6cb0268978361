//! Owns connections to backends: each worker's idle ones, and how many sockets all workers have together.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{Protocol, UpstreamPlan};

use crate::buffers::Input;
use crate::carrier::Carrier;
use crate::http2::back::stream::BackendStream;
use crate::http2::back::{Links, Wanted};
use crate::live::LiveBackend;
use crate::observation::{HEAD_BOUNDS, HeadCounters};
use crate::sock::Sock;

/// A connection to a picked backend.
pub(crate) mod open;

/// Those of a service.
mod lanes;

/// The limit of sockets.
mod sockets;

pub(crate) use lanes::{CLOSES, FEW_SERVICES, Lanes, Sweep};
pub(crate) use sockets::Permit;
pub use sockets::Sockets;
use sockets::Ticket;

/// So many connections in a row are handed on within a worker while somebody of another worker has waited longer. More would
/// starve that one; fewer open connections for no need.
const ROW_MOST: usize = 64;

/// A connection to a backend, ready for an exchange.
pub(crate) struct Connection<S> {
    pub(crate) sock: Carrier<S>,
    pub(crate) input: Input,
    made: Instant,
    requests: usize,
    /// None: its connection holds one for all of its streams.
    _permit: Option<Permit>,
}

impl<S: Sock> Connection<S> {
    pub(crate) fn new(sock: S, permit: Permit, now: Instant) -> Self {
        Self {
            sock: Carrier::Whole(sock),
            input: Input::default(),
            made: now,
            requests: 0,
            _permit: Some(permit),
        }
    }

    /// A stream of one that has carried so many exchanges to their ends.
    pub(crate) fn of_stream(stream: Box<BackendStream>, requests: usize, now: Instant) -> Self {
        Self {
            sock: Carrier::Stream(stream),
            input: Input::default(),
            made: now,
            requests,
            _permit: None,
        }
    }

    /// Whether it has carried an exchange before.
    pub(crate) const fn is_reused(&self) -> bool {
        self.requests > 0
    }
}

struct Idle<S> {
    connection: Connection<S>,
    until: Instant,
}

/// What one who waited may use.
pub(crate) enum Place<S> {
    /// A socket may be opened.
    Free(Permit),
    /// An exchange of this worker has just ended with it.
    Kept(Connection<S>),
}

/// One who waits in the line of all workers, and takes a connection of his own worker as well.
struct Waiter<S> {
    ticket: Arc<Ticket>,
    handed: Cell<Option<Connection<S>>>,
}

/// A waiter's place in both lines, as long as it waits.
struct Waits<'a, S> {
    lane: &'a Lane<S>,
    waiter: Rc<Waiter<S>>,
    served: bool,
}

impl<S> Waits<'_, S> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Place<S>> {
        let called = self.waiter.ticket.poll_called(cx).is_ready();
        let place = match self.waiter.handed.take() {
            Some(connection) => Place::Kept(connection),
            None if called => Place::Free(self.lane.backend.sockets.called()),
            None => return Poll::Pending,
        };
        self.served = true;
        Poll::Ready(place)
    }
}

impl<S> Drop for Waits<'_, S> {
    fn drop(&mut self) {
        let sockets = &self.lane.backend.sockets;
        let mut waiting = self.lane.waiting.borrow_mut();
        if let Some(at) = waiting.iter().position(|one| Rc::ptr_eq(one, &self.waiter)) {
            waiting.remove(at);
        }
        drop(waiting);
        // What was handed to one that gave up closes, and its place passes on with it.
        let handed = self.waiter.handed.take().is_some();
        if !self.served && !handed && !sockets.leave(&self.waiter.ticket) {
            drop(sockets.called());
        }
    }
}

/// One worker's connections to one backend.
pub(crate) struct Lane<S> {
    pub(crate) backend: Arc<LiveBackend>,
    /// The backend's, at hand: of 10,000 backends each line of memory that an exchange touches is in no cache.
    pub(crate) number: u64,
    /// How long it takes to its response heads, by this worker.
    heads: Arc<HeadCounters>,
    /// The backend has a limit of sockets: somebody may wait for one.
    limited: bool,
    /// The one that came back last is used first: the others may grow old and go.
    idle: RefCell<Vec<Idle<S>>>,
    /// Who of this worker waits, longest first. Some may have been called since.
    waiting: RefCell<VecDeque<Rc<Waiter<S>>>>,
    /// Connections handed on past another worker's waiter, one after another.
    row: Cell<usize>,
    /// Those of HTTP/2.
    pub(crate) links: Links,
    /// The backend agreed to HTTP/1.1.
    http1: Cell<bool>,
    /// As of which version of its service the backend was reached here.
    known: Cell<u64>,
    /// No exchange that begins comes here any more.
    retired: Cell<bool>,
}

impl<S: Sock> Lane<S> {
    pub(crate) fn new(backend: Arc<LiveBackend>) -> Self {
        Self {
            number: backend.number,
            heads: backend.heads.row(),
            limited: backend.sockets.most().is_some(),
            backend,
            idle: RefCell::new(Vec::new()),
            waiting: RefCell::new(VecDeque::new()),
            row: Cell::new(0),
            links: Links::default(),
            http1: Cell::new(false),
            known: Cell::new(u64::MAX),
            retired: Cell::new(false),
        }
    }

    /// A response head took so long.
    pub(crate) fn heard(&self, took: Duration) -> Duration {
        self.heads.observe(&HEAD_BOUNDS, took);
        took
    }

    /// An idle connection that is still of use.
    pub(crate) fn take_idle(&self, how: &UpstreamPlan, now: Instant) -> Option<Connection<S>> {
        if how.protocol != Protocol::Http1
            && let Some((stream, requests)) = self.links.take(how, now)
        {
            return Some(Connection::of_stream(stream, requests, now));
        }
        self.take_resting(now)
    }

    fn take_resting(&self, now: Instant) -> Option<Connection<S>> {
        let mut idle = self.idle.borrow_mut();
        // What rests too long is left to the sweep: those below came back before it, and to close them all would hold this exchange up.
        while idle.last().is_some_and(|one| one.until > now) {
            let mut one = idle.pop()?;
            if !one.connection.sock.has_input() {
                return Some(one.connection);
            }
        }
        None
    }

    /// Ready once this worker may open a socket, or, unless it is to be a fresh one, has one to hand on.
    pub(crate) async fn place(&self, fresh: bool, now: Instant) -> Place<S> {
        let sockets = &self.backend.sockets;
        if let Some(permit) = sockets.try_take() {
            return Place::Free(permit);
        }
        // One may have come back since it was looked for.
        if !fresh && let Some(connection) = self.take_resting(now) {
            return Place::Kept(connection);
        }
        self.make_room(now);
        let ticket = match poll_fn(|cx| Poll::Ready(sockets.line_up(cx.waker()))).await {
            Ok(permit) => return Place::Free(permit),
            Err(ticket) => ticket,
        };
        let waiter = Rc::new(Waiter {
            ticket,
            handed: Cell::new(None),
        });
        if !fresh {
            self.waiting.borrow_mut().push_back(waiter.clone());
        }
        let mut waits = Waits {
            lane: self,
            waiter,
            served: false,
        };
        poll_fn(|cx| waits.poll(cx)).await
    }

    /// All sockets are open, and none of those that rest here is of use to who asks: one is closed at once, where a sweep would have it wait. Who
    /// has waited longest gets its place, as ever.
    #[cold]
    fn make_room(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let over = idle.iter().position(|one| one.until <= now);
        if !idle.is_empty() {
            idle.remove(over.unwrap_or(0));
        }
    }

    /// Whether the backend, asked for either, agreed to HTTP/1.1 the last time.
    pub(crate) fn speaks_http1(&self) -> bool {
        self.http1.get()
    }

    /// Notes what it agreed to.
    pub(crate) fn note_http1(&self, http1: bool) {
        self.http1.set(http1);
    }

    /// Keeps a connection for the next exchange, if it may be kept; hands it on if that one waits already.
    pub(crate) fn park(
        &self,
        mut connection: Connection<S>,
        how: &UpstreamPlan,
        told: Option<u32>,
        now: Instant,
    ) {
        if connection.sock.is_stream() {
            // It has ended; its connection is kept by itself.
            return;
        }
        connection.requests += 1;
        let worn = how
            .requests
            .is_some_and(|most| connection.requests >= most.get());
        let old = how.age.is_some_and(|age| connection.made + age <= now);
        // A second early: the backend counts from when it sent, and closes by its own clock.
        let told = told.map(|seconds| Duration::from_secs(seconds.saturating_sub(1).into()));
        let kept = told.map_or(how.idle, |told| told.min(how.idle));
        if !how.is_shared() || worn || old || kept.is_zero() || how.idle_most == 0 {
            return;
        }
        if self.is_wanted() {
            return self.hand_on(connection);
        }
        if self.retired.get() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < how.idle_most {
            idle.push(Idle {
                connection,
                until: now + kept,
            });
        }
    }

    /// Whether somebody waits for a socket, of any worker.
    fn is_wanted(&self) -> bool {
        self.limited && self.backend.sockets.is_wanted()
    }

    /// Gives a connection to who has waited longest here. It closes, and its place passes to who has waited longest of all, if
    /// nobody waits here, or if others have stood back often enough.
    fn hand_on(&self, mut connection: Connection<S>) {
        if connection.sock.has_input() {
            return;
        }
        let sockets = &self.backend.sockets;
        let mut waiting = self.waiting.borrow_mut();
        while let Some(one) = waiting.front() {
            match sockets.before(&one.ticket) {
                Some(0) => self.row.set(0),
                Some(_) if self.row.get() < ROW_MOST => self.row.set(self.row.get() + 1),
                Some(_) => {
                    self.row.set(0);
                    return;
                }
                None => {}
            }
            let one = waiting.pop_front();
            if let Some(one) = one.filter(|one| sockets.leave(&one.ticket)) {
                one.handed.set(Some(connection));
                one.ticket.wake();
                return;
            }
        }
    }

    /// Whether connections rest here that a sweep may have to close.
    fn has_resting(&self) -> bool {
        !self.idle.borrow().is_empty() || !self.links.is_empty()
    }

    /// No exchange that begins comes here any more: those that are under way leave nothing behind, and what rests is for [`Self::clear`].
    fn retire(&self) {
        self.retired.set(true);
    }

    /// Closes what rests where nobody comes any more, up to `closes`, which is less by as many then, and as many as others wait for. Whether
    /// nothing is left.
    fn clear(&self, closes: &mut usize, now: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        while (*closes > 0 || self.is_wanted()) && idle.pop().is_some() {
            *closes = closes.saturating_sub(1);
        }
        self.links.clear(closes, now) && idle.is_empty()
    }

    /// Closes as many as others wait for, which pass their places on, and of what is idle for too long, or was closed by the backend, up to
    /// `closes`, which is less by as many then: what is left is for the next sweeps, and not used meanwhile.
    pub(crate) fn sweep(&self, how: &UpstreamPlan, closes: &mut usize, now: Instant) {
        if how.protocol != Protocol::Http1 {
            let wanted = Wanted {
                at_all: self.is_wanted(),
                badly: self.backend.sockets.is_starved_of(),
            };
            self.links.sweep(how, wanted, now);
        }
        self.idle.borrow_mut().retain_mut(|one| {
            if self.is_wanted() {
                return false;
            }
            let over = *closes > 0 && (one.until <= now || one.connection.sock.has_input());
            *closes -= usize::from(over);
            !over
        });
    }
}

/// The line and the handing on, on their own.
#[cfg(test)]
mod tests;
