//! Owns one thread's own things: what it sees of the running plan, idle connections, buffers, deadlines, chance.
//!
//! Nothing here is shared with another thread, so that an exchange locks nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::backend::Backend;
use evenkeel_balance::service::Handle;
use evenkeel_balance::time::Instant;
use evenkeel_wire::altered::Altered;
use evenkeel_wire::forward::Forwardable;
use evenkeel_wire::load::Unread;
use evenkeel_wire::{RequestHead, ResponseHead};

use crate::affinity::{Ignored, Stay};
use crate::buffers::Buffers;
use crate::deadline::Deadlines;
use crate::failed::{Shelf, Trail};
use crate::http2::allowance::Allowed;
use crate::http2::mux::stock::Stock;
use crate::http2::runner::Streams;
use crate::live::{Live, LiveService, Published, ServiceState};
use crate::net::Net;
use crate::observation::{Observation, PassedCounters};
use crate::outlet::Scribe;
use crate::record::{Batch, Text};
use crate::recorded::Recorder;
use crate::relay::Pump;
use crate::room::Room;
use crate::spare::Spare;
use crate::tls::secured::Secured;
use crate::upstream::{Lane, Lanes};

/// The most free desks kept, at some 8 KiB each.
const DESKS_KEPT: usize = 1024;

/// What it looks at ten times a second, and between.
mod sweeps;

use sweeps::Sweeps;
pub(crate) use sweeps::Swept;

/// One data-plane thread.
pub struct Worker<N: Net> {
    pub(crate) net: N,
    pub(crate) index: usize,
    pub(crate) room: Arc<Room>,
    pub(crate) buffers: Buffers,
    pub(crate) deadlines: Deadlines,
    /// Tasks that serve streams.
    pub(crate) streams: Streams<N>,
    /// What its connections of HTTP/2 pass on to each other.
    pub(crate) stock: Rc<Stock>,
    /// What clients' connections of HTTP/2 may hold beyond the usual.
    pub(crate) allowed: Rc<Allowed>,
    published: Arc<Published>,
    view: RefCell<Rc<View<N>>>,
    /// Lent out by the pointer: a desk is not moved.
    desks: Spare<Box<Desk>>,
    generator: RefCell<fastrand::Rng>,
    scribe: RefCell<Scribe>,
    shelf: Arc<Shelf>,
    pub(crate) recorder: Recorder,
    closing: Cell<bool>,
    /// While it closes, who is idle may still begin an exchange until then.
    spared: Cell<Instant>,
    /// Whether what waits at its sockets is another process's to take.
    handed_over: Cell<bool>,
    sweeps: Sweeps,
    /// Connections to services that have left the plan, or are reached otherwise since.
    retired: RefCell<Vec<Rc<Lanes<N::Sock>>>>,
    /// Whether nothing has any time left.
    over: Cell<bool>,
    /// Connections of clients that are open.
    pub(crate) open: Cell<usize>,
    /// Panics that ended one connection and nothing else.
    pub(crate) panics: Cell<u64>,
}

/// The running plan as this worker last saw it.
pub(crate) struct View<N: Net> {
    pub(crate) live: Arc<Live>,
    pub(crate) version: u64,
    pub(crate) seats: Vec<Rc<Seat<N>>>,
}

/// One service as this worker sees it.
pub(crate) struct Seat<N: Net> {
    pub(crate) live: Arc<LiveService>,
    pub(crate) handle: Handle,
    lanes: Rc<Lanes<N::Sock>>,
}

/// What one exchange works with; recycled.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) seen: Observation,
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) forwardable: Forwardable,
    pub(crate) altered: Altered,
    /// What is known of a client that the service keeps. None: it keeps none.
    pub(crate) stay: Option<Stay>,
    pub(crate) upward: Vec<u8>,
    /// A body that an attempt had begun to send, for the next one.
    pub(crate) replay: Option<Box<Pump>>,
    pub(crate) downward: Vec<u8>,
    /// The identity of the backend that was asked last.
    pub(crate) backend: Vec<u8>,
    /// What became of attempts that failed.
    pub(crate) trail: Trail,
    /// The name that the client of a flow asked for.
    pub(crate) name: Vec<u8>,
    /// The name of the rate limit that refused the request, of one that was.
    pub(crate) limit: Vec<u8>,
}

/// What is to be counted and written down of a tunnel or a flow, as it goes and when it ends.
pub(crate) struct Note {
    service: Option<Arc<ServiceState>>,
    /// The one that refused before.
    refused: Option<Arc<ServiceState>>,
    record: Batch,
}

impl Note {
    /// What this worker counts of the like of it, as they go.
    pub(crate) fn passed(&self, worker: usize) -> Option<&PassedCounters> {
        let row = self.service.as_ref()?.counters.get(worker)?;
        let flow = self.record.records().next()?.seen().flow;
        Some(row.passed(flow))
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            seen: Observation::begin(Ipv4Addr::UNSPECIFIED.into()),
            request: RequestHead::default(),
            response: ResponseHead::default(),
            forwardable: Forwardable::default(),
            altered: Altered::default(),
            stay: None,
            upward: Vec::new(),
            replay: None,
            downward: Vec::new(),
            backend: Vec::new(),
            trail: Trail::default(),
            name: Vec::new(),
            limit: Vec::new(),
        }
    }
}

impl Desk {
    /// No other attempt follows.
    pub(crate) fn forget(&mut self, buffers: &Buffers) {
        if let Some(body) = self.replay.take() {
            self.upward = body.into_buffer(buffers);
        }
    }
}

impl<N: Net> Worker<N> {
    /// A worker of this number; `seed` begins its row of chance.
    #[must_use]
    pub fn new(net: N, index: usize, published: Arc<Published>, seed: u64) -> Self {
        let room = Room::of_process();
        let view = View::first(&published, seed);
        let mut scribe = Scribe::default();
        scribe.follow(view.live.outlet.as_ref());
        Self {
            net,
            index,
            shelf: published.shelves.of(index),
            recorder: Recorder::new(published.records.of(index)),
            buffers: Buffers::new(room.clone()),
            room,
            deadlines: Deadlines::default(),
            streams: Streams::default(),
            stock: Rc::default(),
            allowed: Rc::default(),
            published,
            view: RefCell::new(Rc::new(view)),
            desks: Spare::new(DESKS_KEPT),
            generator: RefCell::new(fastrand::Rng::with_seed(seed)),
            scribe: RefCell::new(scribe),
            closing: Cell::new(false),
            spared: Cell::new(Instant::ZERO),
            handed_over: Cell::new(false),
            sweeps: Sweeps::default(),
            retired: RefCell::default(),
            over: Cell::new(false),
            open: Cell::new(0),
            panics: Cell::new(0),
        }
    }

    /// The newest plan. Cost when nothing changed: one load.
    pub(crate) fn view(&self) -> Rc<View<N>> {
        let version = self.published.version();
        if self.view.borrow().version != version {
            let live = self.published.load();
            let mut retired = self.retired.borrow_mut();
            let next = (self.view.borrow()).next(live, version, self.chance(), &mut retired);
            let outlet = next.live.outlet.as_ref();
            self.scribe.borrow_mut().follow(outlet);
            *self.view.borrow_mut() = Rc::new(next);
        }
        self.view.borrow().clone()
    }

    /// 64 random bits.
    pub(crate) fn chance(&self) -> u64 {
        self.generator.borrow_mut().u64(..)
    }

    pub(crate) fn now(&self) -> Instant {
        self.net.now()
    }

    pub(crate) fn desk(&self) -> Box<Desk> {
        self.desks.take().unwrap_or_default()
    }

    pub(crate) fn give_desk(&self, desk: Box<Desk>) {
        self.desks.give(desk);
    }

    /// Takes in what was seen of an exchange that has ended.
    pub(crate) fn observe(&self, view: &View<N>, desk: &Desk, secured: Option<&Secured>) {
        self.count(&desk.seen, |at| Some(&view.seats.get(at)?.live.state));
        if desk.seen.has_failed() {
            let with = (&desk.trail, &desk.seen, &*desk.backend);
            let ended = self.net.since_1970();
            self.shelf.put(with, |batch| {
                batch.push(&view.live.plan, desk, secured, ended);
            });
        }
        if self.is_recording() {
            let ended = self.net.since_1970();
            let mut scribe = self.scribe.borrow_mut();
            scribe.write(&view.live.plan, desk, secured, ended);
        }
    }

    /// What was seen of an exchange that goes on as a tunnel, or of a flow that stands, so that nothing of the plan is held until it ends.
    pub(crate) fn note(&self, view: &View<N>, desk: &Desk, secured: Option<&Secured>) -> Note {
        let state = |at: usize| Some(view.seats.get(at)?.live.state.clone());
        Note {
            service: desk.seen.service.and_then(state),
            refused: desk.seen.refused.and_then(|refused| state(refused.service)),
            record: Batch::of_one(&view.live.plan, desk, secured),
        }
    }

    /// Takes in what was seen of a tunnel or a flow that has ended.
    pub(crate) fn observe_note(&self, mut note: Note, end: impl FnOnce(&mut Observation)) {
        let Some(seen) = note.record.seen_mut() else {
            return;
        };
        end(seen);
        let seen = *seen;
        self.count(&seen, |at| match seen.service == Some(at) {
            true => note.service.as_ref(),
            false => note.refused.as_ref(),
        });
        let ended = self.net.since_1970();
        if seen.has_failed() {
            let record = note.record.records().next();
            let backend = record.and_then(|one| one.text(Text::Backend));
            let with = (&Trail::default(), &seen, backend.unwrap_or_default());
            self.shelf
                .put(with, |batch| batch.append(&note.record, ended));
        }
        self.scribe.borrow_mut().write_note(&note.record, ended);
    }

    fn count<'s>(
        &self,
        seen: &Observation,
        state: impl Fn(usize) -> Option<&'s Arc<ServiceState>>,
    ) {
        let counters = |at| state(at)?.counters.get(self.index);
        if let Some(counters) = seen.service.and_then(counters) {
            counters.observe(seen);
        }
        if let Some((service, seen)) = seen.of_refused()
            && let Some(counters) = counters(service)
        {
            counters.observe(&seen);
        }
    }

    /// Whether somebody writes exchanges down.
    pub(crate) fn is_recording(&self) -> bool {
        self.scribe.borrow().is_wanted()
    }

    /// Whether connections end with the exchange that they carry.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// From here on, connections end with the exchange that they carry; who is idle may begin one within `patience`: a client that has
    /// just sent its next request must not find the connection closed.
    pub fn close(&self, patience: Duration) {
        self.spared.set(self.now() + patience);
        self.closing.set(true);
        self.deadlines.end_idle();
    }

    /// As [`close`](Self::close), but another process takes what waits at the sockets.
    pub fn hand_over(&self, patience: Duration) {
        self.handed_over.set(true);
        self.close(patience);
    }

    /// Ends what is under way: a client whose answer has not begun is told that it will not, others are cut. To be followed by the
    /// worker's end.
    pub fn cut(&self) {
        self.over.set(true);
        self.deadlines.cut_all();
    }

    /// Whether nothing has any time left.
    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Whether what waits at its sockets is another process's to take.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.get()
    }

    /// Until when an idle connection is still heard although this closes.
    pub(crate) fn spared(&self) -> Instant {
        self.spared.get()
    }

    /// Connections of clients that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.get()
    }

    /// Wakes who wants a finer time than sweeps have, where that has come.
    pub fn ring(&self) {
        self.deadlines.ring(self.now());
    }

    /// Does so at all such times, for ever. `sleep` ends after so long, or a little later.
    pub async fn keep_ringing<F: Future<Output = ()>>(
        &self,
        sleep: impl Fn(Duration) -> F,
    ) -> Infallible {
        loop {
            let first = poll_fn(|cx| self.deadlines.poll_alarm(cx, None)).await;
            let mut rest = pin!(sleep(first.since(self.now())));
            poll_fn(|cx| match rest.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => self.deadlines.poll_alarm(cx, Some(first)).map(drop),
            })
            .await;
            self.ring();
        }
    }
}

impl<N: Net> View<N> {
    fn first(published: &Published, seed: u64) -> Self {
        let version = published.version();
        let live = published.load();
        let seats = live
            .services
            .iter()
            .map(|service| Rc::new(Seat::new(service.clone(), seed, Rc::default())))
            .collect();
        Self {
            live,
            version,
            seats,
        }
    }

    /// The next plan's view; connections to backends that stay are kept. Those that nobody asks for any more are `retired`.
    fn next(
        &self,
        live: Arc<Live>,
        version: u64,
        seed: u64,
        retired: &mut Vec<Rc<Lanes<N::Sock>>>,
    ) -> Self {
        let mut before: HashMap<_, _> = self
            .seats
            .iter()
            .map(|seat| (Arc::as_ptr(&seat.live.state), seat))
            .collect();
        let seats = live
            .services
            .iter()
            .map(|service| {
                let seat = before.remove(&Arc::as_ptr(&service.state));
                let lanes = match seat {
                    Some(seat) if seat.is_reached_as(service) => seat.lanes.clone(),
                    Some(seat) => {
                        retired.push(seat.lanes.clone());
                        Rc::default()
                    }
                    None => Rc::default(),
                };
                Rc::new(Seat::new(service.clone(), seed, lanes))
            })
            .collect();
        retired.extend(before.values().map(|seat| seat.lanes.clone()));
        Self {
            live,
            version,
            seats,
        }
    }
}

impl<N: Net> Seat<N> {
    fn new(live: Arc<LiveService>, seed: u64, lanes: Rc<Lanes<N::Sock>>) -> Self {
        Self {
            handle: live.state.service.handle(seed),
            lanes,
            live,
        }
    }

    /// Whether connections of this plan's terms hold by those of that one: one that was held to others is not used again.
    fn is_reached_as(&self, service: &LiveService) -> bool {
        let (was, is) = (&self.live.plan.upstream, &service.plan.upstream);
        was.tls == is.tls && was.protocol == is.protocol && was.proxy_protocol == is.proxy_protocol
    }

    /// This worker's connections to a picked backend. None: it left long ago.
    pub(crate) fn lane(&self, backend: &Backend) -> Option<Rc<Lane<N::Sock>>> {
        self.lanes.of(backend, &self.live.state)
    }

    /// A body is not kept, since others are.
    #[cold]
    pub(crate) fn sent_once(&self, worker: usize) {
        if let Some(counters) = self.live.state.counters.get(worker) {
            counters.retries.sent_once();
        }
    }

    /// What a client shows counts as nothing.
    #[cold]
    pub(crate) fn ignored(&self, worker: usize, ignored: Ignored) {
        if let Some(counters) = self.live.state.counters.get(worker) {
            counters.stays.ignored(ignored);
        }
    }

    /// A report of load was read, or was none.
    pub(crate) fn reported(&self, worker: usize, unread: Option<Unread>) {
        if let Some(counters) = self.live.state.counters.get(worker) {
            counters.reports.count(unread);
        }
    }

    /// An attempt goes on with the same pick, on a fresh connection: that of before had ended.
    #[cold]
    pub(crate) fn asked_anew(&self, worker: usize) {
        if let Some(counters) = self.live.state.counters.get(worker) {
            counters.retries.anew();
        }
    }
}
