//! Owns a client's connection of HTTP/2: its requests become exchanges, each on a task of its own, until it ends or is told to.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_config::limits::{HTTP2_CLIENT_WINDOW, HTTP2_WINDOW, ListenerLimits};
use evenkeel_wire::sniff::HTTP2_PREFACE;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};

use super::allowance::Allowance;
use super::body::Gathers;
use super::io::Io;
use super::stream::{BUFFERED, Stream};
use super::watch::{Budgets, Watch};
use super::{FAREWELL, TABLE};
use crate::buffers::Input;
use crate::carrier::Carrier;
use crate::connection::{Conn, Door, Next, limits_of, linger};
use crate::deadline::Deadline;
use crate::net::Net;
use crate::proxy_protocol::Ends;
use crate::sock::Sock;
use crate::tls::secured::Secured;
use crate::worker::Worker;

/// Resets of ours over a connection's life that answer what the client did wrong (H3).
const OUR_RESETS: usize = 200;

/// What DATA frames that wait may cost beside their payloads: 4096 of the smallest, until they are put together.
pub(super) const WAITING: usize = 1024 * 1024;

/// Streams that were taken back before anybody took them up.
const UNTAKEN: usize = 50;

/// Serves a client until its connection ends.
pub(crate) async fn serve<N: Net>(mut conn: Conn<N>) {
    if hold(&mut conn).await {
        linger(&mut conn).await;
    }
}

/// Serves a client until it is told that its connection ends: true; or there is nothing to tell.
async fn hold<N: Net>(conn: &mut Conn<N>) -> bool {
    let first = conn.input.data().to_vec();
    conn.input.consume(first.len());
    conn.input.release(&conn.worker.buffers);
    let Conn {
        worker,
        door,
        sock: Carrier::Whole(sock),
        deadline,
        ends,
        ..
    } = conn
    else {
        return false;
    };
    let view = worker.view();
    let limits = limits_of(door.plan(&view.live, view.version).map(|(_, plan)| plan));
    drop(view);
    let watch = Rc::new(Watch::behind(HTTP2_PREFACE.len()));
    let secured = sock.secured().cloned().map(Rc::new);
    // Asked once: no stream can ask.
    let local = sock.local();
    let io = Io::new(sock, first, watch.clone());
    deadline.set(worker.now() + limits.head_within);
    let mut handshake = pin!(builder(&limits).handshake::<_, Bytes>(io));
    let begun = poll_fn(|cx| {
        watch.begin_turn();
        match handshake.as_mut().poll(cx) {
            Poll::Ready(begun) => Poll::Ready(begun.ok()),
            Poll::Pending => deadline.poll_passed(cx).map(|()| None),
        }
    })
    .await;
    let Some(h2) = begun else { return false };
    let front = Front {
        worker,
        door,
        deadline,
        ends,
        local,
        secured,
        tally: Rc::default(),
        budgets: Budgets::new(worker.now()),
        watch,
        allowance: Allowance::of(worker.allowed.clone()),
        opened: 0,
        limits,
        state: State::Fresh,
        wrote: None,
        bodies: Vec::new(),
    };
    front.run(h2).await
}

fn builder(limits: &ListenerLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(u32::try_from(limits.streams).unwrap_or(u32::MAX))
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .initial_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_CLIENT_WINDOW)
        .header_table_size(TABLE)
        .max_send_buffer_size(BUFFERED)
        .max_concurrent_reset_streams(OUR_RESETS)
        .max_local_error_reset_streams(Some(OUR_RESETS))
        .max_pending_accept_reset_streams(UNTAKEN)
        .data_frame_budget(WAITING)
        .enable_connect_protocol();
    builder
}

/// Where a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was asked yet.
    Fresh,
    /// Exchanges are under way.
    Busy,
    /// None is.
    Idle,
    /// It was told to end, and exchanges are under way.
    Ending,
    /// It was told to end, and none is. What it asked for before it heard that is served all the same.
    Leaving,
    /// It was told to end at once.
    Over,
}

/// What the exchanges of a connection tell it.
#[derive(Default)]
struct Tally {
    open: Cell<usize>,
    answered: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

/// One exchange under way.
pub(super) struct Open<N: Net>(Rc<Tally>, Rc<Worker<N>>);

impl<N: Net> Open<N> {
    /// It was answered, or had its time before it was taken back.
    pub(super) fn answered(&self) {
        self.0.answered.set(self.0.answered.get() + 1);
    }

    pub(super) const fn worker(&self) -> &Rc<Worker<N>> {
        &self.1
    }
}

impl<N: Net> Drop for Open<N> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if std::thread::panicking() {
            self.1.panics.set(self.1.panics.get() + 1);
        }
        if let Some(waker) = self.0.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A client's connection.
struct Front<'a, N: Net> {
    worker: &'a Rc<Worker<N>>,
    door: &'a Rc<Door>,
    deadline: &'a Deadline,
    ends: &'a Ends,
    /// The address of our end.
    local: Option<SocketAddr>,
    secured: Option<Rc<Secured>>,
    tally: Rc<Tally>,
    watch: Rc<Watch>,
    budgets: Budgets,
    allowance: Allowance,
    /// Streams so far.
    opened: u64,
    limits: ListenerLimits,
    state: State,
    /// While answers wait to be taken and nothing else is under way: bytes that had been written when some were taken last.
    wrote: Option<u64>,
    /// Those of requests under way, and some that have ended.
    bodies: Vec<Gathers>,
}

impl<N: Net> Front<'_, N> {
    /// True: the client was told why it ends, and may still be sending.
    async fn run<S: Sock>(mut self, mut h2: Connection<Io<&mut S>, Bytes>) -> bool {
        self.wait(self.limits.head_within);
        poll_fn(|cx| self.poll(cx, &mut h2)).await
    }

    fn poll<S: Sock>(
        &mut self,
        cx: &mut Context<'_>,
        h2: &mut Connection<Io<&mut S>, Bytes>,
    ) -> Poll<bool> {
        self.watch.begin_turn();
        loop {
            match h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.open(request, respond),
                Poll::Ready(ended) => return Poll::Ready(self.ended(ended)),
                Poll::Pending => break,
            }
        }
        if self.watch.take_small() {
            self.bodies.retain(Gathers::gather);
        }
        self.allow(h2);
        self.budgets.answered(self.tally.answered.take());
        if self.budgets.is_due(&self.watch) && self.state != State::Over {
            let open = self.tally.open.get();
            let charged = (self.budgets).charge(&self.watch, self.worker.now(), open);
            if charged.is_err() {
                self.door.state().counters.calmed();
                h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                self.end();
                cx.waker().wake_by_ref();
            }
        }
        let closing = self.worker.is_closing() || self.door.is_closing();
        let worn = self.limits.requests.is_some_and(|most| self.opened >= most);
        let told = matches!(self.state, State::Ending | State::Leaving | State::Over);
        if (closing || worn) && !told {
            h2.graceful_shutdown();
            self.state = State::Ending;
            cx.waker().wake_by_ref();
        }
        self.tally.waker.replace(Some(cx.waker().clone()));
        self.look(h2.has_streams());
        if self.deadline.poll_passed(cx).is_pending() {
            return Poll::Pending;
        }
        match self.state {
            // It does not take the last word: nothing else would reach it.
            State::Over => Poll::Ready(false),
            // Woken to look whether its listener closes: it does not, or that is known.
            _ if !self.deadline.is_due(self.worker.now()) => {
                self.deadline.resume();
                self.deadline.poll_passed(cx).map(|()| false)
            }
            // What is answered is not taken.
            State::Busy | State::Ending if self.tally.open.get() == 0 => Poll::Ready(false),
            State::Busy | State::Ending => {
                self.mind();
                self.deadline.poll_passed(cx).map(|()| false)
            }
            State::Fresh | State::Idle => {
                h2.graceful_shutdown();
                self.leave();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            // It does not say that it has heard: what it asks from here on is not served, and it is told so.
            State::Leaving => {
                h2.abrupt_shutdown(Reason::NO_ERROR);
                self.end();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Has the connection's window follow what waits on its streams.
    fn allow<S: Sock>(&mut self, h2: &mut Connection<Io<&mut S>, Bytes>) {
        if (self.allowance).is_due(self.watch.so_far(), self.tally.open.get()) {
            let waiting = self.bodies.iter().map(Gathers::waiting).sum();
            if let Some(window) = self.allowance.window(waiting) {
                h2.set_target_window_size(window);
            }
        }
    }

    /// Counts an end that the crate brought about: it has budgets of its own. True: the client was told.
    fn ended<T>(&self, ended: Option<Result<T, h2::Error>>) -> bool {
        let calmed = |error: h2::Error| {
            error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
        };
        let calmed = ended.and_then(Result::err).is_some_and(calmed);
        if calmed && self.state != State::Over {
            self.door.state().counters.calmed();
        }
        true
    }

    /// Takes up a request.
    fn open(&mut self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.opened += 1;
        let worker = self.worker.clone();
        self.tally.open.set(self.tally.open.get() + 1);
        let open = Open(self.tally.clone(), worker.clone());
        let (secured, watch) = (self.secured.clone(), self.watch.clone());
        let stream = Stream::of_client(request, respond, secured, self.local, watch);
        if let Some(body) = stream.gathers() {
            // Now and then, so that each costs one look.
            if self.bodies.len() > 2 * self.tally.open.get() {
                self.bodies.retain(Gathers::is_there);
            }
            self.bodies.push(body);
        }
        let conn = |deadline| Conn {
            deadline,
            door: self.door.clone(),
            sock: Carrier::Stream(Box::new(stream)),
            input: Input::default(),
            peer: self.ends.peer(),
            ends: self.ends.clone(),
            requests: 0,
            // Whoever drops it within its exchange cuts it.
            next: Next::Cut,
            tunnel: None,
            worker,
        };
        self.worker.runners.serve(open, conn);
    }

    /// Follows how many exchanges are under way, and whether answers are (`owes`) that wait here to be taken: a connection that is
    /// told to end does so behind them.
    fn look(&mut self, owes: bool) {
        let under_way = self.tally.open.get() > 0;
        let busy = under_way || owes;
        match (self.state, busy) {
            (State::Fresh | State::Idle, true) => {
                self.state = State::Busy;
                self.mind();
            }
            (State::Busy, false) => {
                self.state = State::Idle;
                self.wait(self.limits.keep_alive);
            }
            (State::Ending, false) => self.leave(),
            (State::Leaving, true) => {
                self.state = State::Ending;
                self.mind();
            }
            _ => {}
        }
        let wrote = (owes && !under_way).then(|| self.watch.wrote_so_far());
        if wrote.is_some() && self.wrote != wrote {
            let until = self.worker.now() + self.limits.idle_body;
            self.deadline.set_heedful(until);
        }
        self.wrote = wrote;
    }

    /// Exchanges have deadlines of their own; only the listener's end concerns the connection.
    fn mind(&self) {
        self.deadline.set_heedful(self.worker.now() + HOUR);
    }

    fn wait(&self, within: Duration) {
        self.deadline.set_idle(self.worker.now(), within);
    }

    /// What was said goes out, for a while, and what was asked before it was heard comes in.
    fn leave(&mut self) {
        self.state = State::Leaving;
        self.deadline.set(self.worker.now() + FAREWELL);
    }

    /// The last word goes out, for a while.
    fn end(&mut self) {
        self.state = State::Over;
        self.deadline.set(self.worker.now() + FAREWELL);
    }
}

const HOUR: Duration = Duration::from_secs(3600);
