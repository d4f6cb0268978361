//! Owns a client's connection of HTTP/2: its requests become exchanges, each on a task of its own, until it ends or is told to.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_config::limits::{HTTP2_CLIENT_WINDOW, HTTP2_WINDOW, ListenerLimits};
use evenkeel_wire::http2::frame::code;

use self::stream::{ClientStream, Shared};
use super::FAREWELL;
use super::allowance::Allowance;
use super::mux::{Ended, Mux, Reading, Terms};
use super::room::{Read, read};
use super::runner;
use super::watch::{Budgets, Watch};
use crate::affinity::Shown;
use crate::buffers::Input;
use crate::carrier::Carrier;
use crate::connection::{Conn, Door, Next, limits_of, linger};
use crate::deadline::Deadline;
use crate::decide;
use crate::net::Net;
use crate::proxy_protocol::Ends;
use crate::sock::Sock;
use crate::worker::Worker;

/// Its streams.
pub(crate) mod stream;

/// Serves a client until its connection ends.
pub(crate) async fn serve<N: Net>(mut conn: Box<Conn<N>>) {
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
    let watch = Rc::new(Watch::default());
    let terms = Terms {
        streams: limits.streams,
        head: limits.head,
        stream_window: HTTP2_WINDOW,
        window: HTTP2_CLIENT_WINDOW,
    };
    let shared = Rc::new(Shared {
        secured: sock.secured().cloned(),
        // Asked once: no stream can ask.
        local: sock.local(),
    });
    let front = Front {
        worker,
        door,
        deadline,
        ends,
        shared,
        mux: Mux::of_client(terms, worker.stock.clone(), watch.clone()),
        opened: Vec::new(),
        tally: Rc::default(),
        budgets: Budgets::new(worker.now()),
        watch,
        allowance: Allowance::of(worker.allowed.clone()),
        requests: 0,
        limits,
        shown: Rc::default(),
        state: State::New,
        wrote: None,
    };
    front.run(sock, &first).await
}

/// Where a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has not said what every connection begins with.
    New,
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
pub(crate) struct Open<N: Net>(Rc<Tally>, Rc<Worker<N>>);

impl<N: Net> Open<N> {
    /// It was answered, or had its time before it was taken back.
    pub(super) fn answered(&self) {
        self.0.answered.set(self.0.answered.get() + 1);
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
    shared: Rc<Shared>,
    mux: Rc<Mux>,
    /// Places of streams that came and are not taken up.
    opened: Vec<usize>,
    tally: Rc<Tally>,
    watch: Rc<Watch>,
    budgets: Budgets,
    allowance: Allowance,
    /// Streams so far.
    requests: u64,
    limits: ListenerLimits,
    /// What its streams were shown last of where their client is kept.
    shown: Rc<Shown>,
    state: State,
    /// While answers wait to be taken and nothing else is under way: bytes that had been written when some were taken last.
    wrote: Option<u64>,
}

impl<N: Net> Front<'_, N> {
    /// True: the client was told why it ends, and may still be sending. `first`: what came already.
    async fn run<S: Sock>(mut self, sock: &mut S, first: &[u8]) -> bool {
        self.deadline
            .set(self.worker.now() + self.limits.head_within);
        let mut first = Some(first);
        let told = poll_fn(|cx| {
            self.mux.begin_turn(cx);
            if let Some(first) = first.take() {
                self.came(first);
            }
            self.poll(cx, sock)
        })
        .await;
        self.mux.gone();
        told
    }

    /// Takes in what came, and takes up what it asks.
    fn came(&mut self, bytes: &[u8]) {
        self.watch.took(bytes.len());
        let view = self.worker.view();
        let plan = self.door.plan(&view.live, view.version);
        let (bounds, form) = decide::reading(&self.limits, plan.map(|(_, plan)| plan));
        drop(view);
        let mut opened = std::mem::take(&mut self.opened);
        (self.mux).came(bytes, &Reading { bounds, form }, &mut opened);
        for at in opened.drain(..) {
            self.open(at);
        }
        self.opened = opened;
    }

    fn poll<S: Sock>(&mut self, cx: &mut Context<'_>, sock: &mut S) -> Poll<bool> {
        let mux = self.mux.clone();
        if read(cx, sock, &mux, |bytes| self.came(bytes)) == Read::Over {
            // What is whole goes out to who has ended its direction only.
            let _ = mux.poll_write(cx, sock);
            return Poll::Ready(true);
        }
        if self.state == State::New && self.mux.has_begun() {
            self.state = State::Fresh;
            self.wait(self.limits.head_within);
        }
        self.allow();
        self.budgets.answered(self.tally.answered.take());
        if self.budgets.is_due(&self.watch) && self.state != State::Over {
            let open = self.tally.open.get();
            let charged = (self.budgets).charge(&self.watch, self.worker.now(), open);
            if charged.is_err() {
                self.mux.end(code::ENHANCE_YOUR_CALM);
                self.end();
            }
        }
        let closing = self.worker.is_closing() || self.door.is_closing();
        let worn = (self.limits.requests).is_some_and(|most| self.requests >= most);
        let told = matches!(self.state, State::Ending | State::Leaving | State::Over);
        if (closing || worn) && !told {
            self.mux.go();
            self.state = State::Ending;
        }
        self.tally.waker.replace(Some(cx.waker().clone()));
        if let Poll::Ready(ended) = self.write(cx, sock) {
            return Poll::Ready(ended);
        }
        self.look(self.mux.owes());
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
            // Nothing of HTTP/2 came of it.
            State::New => Poll::Ready(false),
            // What is answered is not taken.
            State::Busy | State::Ending if self.tally.open.get() == 0 => Poll::Ready(false),
            State::Busy | State::Ending => {
                self.mind();
                self.deadline.poll_passed(cx).map(|()| false)
            }
            State::Fresh | State::Idle => {
                self.mux.go();
                self.leave();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            // It does not say that it has heard: what it asks from here on is not served, and it is told so.
            State::Leaving => {
                self.mux.end(code::NO_ERROR);
                self.end();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Writes what waits. Ready: the connection has ended; true: the client was told.
    fn write<S: Sock>(&mut self, cx: &mut Context<'_>, sock: &mut S) -> Poll<bool> {
        match self.mux.poll_write(cx, sock) {
            Poll::Ready(Ended::ByUs(code)) => {
                if code == code::ENHANCE_YOUR_CALM {
                    self.door.state().counters.calmed();
                }
                Poll::Ready(true)
            }
            Poll::Ready(Ended::ByPeer) => Poll::Ready(true),
            Poll::Pending if self.mux.is_done() && !self.mux.owes() => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Has the connection's window follow what waits on its streams.
    fn allow(&mut self) {
        if (self.allowance).is_due(self.watch.so_far(), self.tally.open.get())
            && let (unread, held) = self.mux.unread()
            && let Some(window) = self.allowance.window(unread, held)
        {
            self.mux.resize(window);
        }
    }

    /// Takes up a request.
    fn open(&mut self, at: usize) {
        self.requests += 1;
        let worker = self.worker.clone();
        self.tally.open.set(self.tally.open.get() + 1);
        let open = Open(self.tally.clone(), worker.clone());
        let stream = ClientStream::new(self.mux.clone(), at, self.shared.clone());
        let conn = Conn {
            deadline: worker.deadlines.slot(),
            door: self.door.clone(),
            sock: Carrier::Client(stream),
            input: Input::default(),
            peer: self.ends.peer(),
            ends: self.ends.clone(),
            requests: 0,
            // Whoever drops it within its exchange cuts it.
            next: Next::Cut,
            tunnel: None,
            shown: OnceCell::from(self.shown.clone()),
            worker,
        };
        runner::serve(self.worker, conn, open);
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
