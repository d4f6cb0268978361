//! Owns connections of HTTP/2 to one backend: few, each of which carries many exchanges at once.
//!
//! An exchange takes a place on the connection that has the fewest; when all have what they may, the next is opened, by one exchange
//! at a time: the others wait for what comes first. Until a backend has said how many streams it takes, its connection carries one.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::limits::{HTTP2_BACKEND_WINDOW, ServiceLimits};
use evenkeel_config::plan::UpstreamPlan;
use evenkeel_wire::http1::HeadLimits;
use evenkeel_wire::http1::request::PathForm;
use evenkeel_wire::http2::frame::{MOST_31, code};

use self::stream::BackendStream;
use super::mux::stock::Stock;
use super::mux::{Mux, Reading, Terms};
use super::room::{Read, read};
use super::watch::{Budgets, Watch};
use crate::net::Net;
use crate::sock::Sock;
use crate::tls::secured::Secured;
use crate::upstream::Permit;

/// Its streams.
pub(crate) mod stream;

/// Who waits for one.
mod waiting;

use waiting::Waiting;

/// One worker's connections of HTTP/2 to one backend.
#[derive(Default)]
pub(crate) struct Links {
    all: RefCell<Vec<Rc<Link>>>,
    /// Those that nobody else is asked on, and since when nothing is under way there.
    ending: RefCell<Vec<(Rc<State>, Option<Instant>)>>,
    /// Somebody opens one.
    opening: Cell<bool>,
    waiting: Rc<Waiting>,
}

/// One connection.
struct Link {
    mux: Rc<Mux>,
    state: Rc<State>,
    /// Exchanges so far.
    requests: Cell<usize>,
    /// Those that have ended.
    ended: Cell<usize>,
    made: Instant,
    /// Since when it has none, as the sweep has seen it.
    idle: Cell<Option<Instant>>,
    /// Bytes that were written when nothing more could be, and since when.
    stuck: Cell<Option<(u64, Instant)>>,
    secured: Option<Secured>,
    /// Since when nobody else is asked on it, so that a worker without one gets its place.
    yields: Cell<Option<Instant>>,
    /// Not asked to yield before.
    spared: Cell<Instant>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.mux.end(code::NO_ERROR);
    }
}

/// How much others want its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Somebody waits, of any worker.
    pub(crate) at_all: bool,
    /// A worker waits that has no connection.
    pub(crate) badly: bool,
}

/// What a connection's task tells of it.
struct State {
    watch: Rc<Watch>,
    /// Exchanges under way.
    open: Cell<usize>,
    /// Nobody else is asked on it.
    over: Cell<bool>,
    /// It has ended, or is to end whether or not its backend hears of it.
    gone: Cell<bool>,
    budgets: RefCell<Budgets>,
    /// The time, as the sweep has seen it.
    now: Cell<Instant>,
    waker: RefCell<Option<Waker>>,
    /// Streams at once that the backend takes; 0: it has not said yet.
    most: Cell<usize>,
}

impl State {
    /// Whether its backend's frames have cost too much.
    fn is_spent(&self) -> bool {
        let mut budgets = self.budgets.borrow_mut();
        budgets.is_due(&self.watch) && budgets.charge(&self.watch, self.now.get(), 0).is_err()
    }
}

/// A stream's place on its connection.
pub(super) struct Held {
    link: Rc<Link>,
    waiting: Rc<Waiting>,
    /// Bytes that had come on its connection when it was taken.
    came: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let open = &self.link.state.open;
        open.set(open.get() - 1);
        self.link.ended.set(self.link.ended.get() + 1);
        self.link.idle.set(None);
        self.waiting.wake_one();
    }
}

impl Held {
    fn mux(&self) -> &Mux {
        &self.link.mux
    }

    fn secured(&self) -> Option<&Secured> {
        self.link.secured.as_ref()
    }

    /// Ready once its backend has said how it is to be spoken to, or has gone.
    pub(super) fn poll_known(&self, cx: &Context<'_>) -> Poll<()> {
        if self.link.is_young() && !self.link.state.over.get() {
            self.waiting.add(cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// A connection on which nothing at all came since this stream was taken may be dead, and one that `broke` the rules says nothing
    /// that can be relied on: nobody else is asked on it.
    pub(super) fn doubt(&self, broke: bool) {
        if broke || self.is_unheard() {
            self.link.state.over.set(true);
        }
    }

    /// Whether nothing at all came on its connection since it was taken.
    fn is_unheard(&self) -> bool {
        self.link.state.watch.so_far() == self.came
    }
}

/// The turn to open a connection.
pub(crate) struct Turn<'a>(&'a Links);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.waiting.wake_all();
    }
}

/// What one who waited may do.
pub(crate) enum Way<'a> {
    /// Ask on this stream of a connection, on which so many exchanges have ended.
    Stream(Box<BackendStream>, usize),
    /// Open a connection.
    Open(Turn<'a>),
}

impl Links {
    /// A stream of the connection that has the fewest, if one has room; with how many have ended there.
    pub(crate) fn take(
        &self,
        how: &UpstreamPlan,
        now: Instant,
    ) -> Option<(Box<BackendStream>, usize)> {
        let mut all = self.all.borrow_mut();
        all.retain(|link| link.is_of_use(how, now) || self.let_go(link));
        let room = all.iter().filter(|link| link.has_room(how));
        let link = room.min_by_key(|link| link.state.open.get())?;
        Some(self.stream(link))
    }

    fn stream(&self, link: &Rc<Link>) -> (Box<BackendStream>, usize) {
        let state = &link.state;
        state.open.set(state.open.get() + 1);
        link.requests.set(link.requests.get() + 1);
        let held = Held {
            link: link.clone(),
            waiting: self.waiting.clone(),
            came: state.watch.so_far(),
        };
        // Who is asked much may take much back.
        state.budgets.borrow_mut().answered(1);
        (Box::new(BackendStream::new(held)), link.ended.get())
    }

    /// Ready once there is a stream, or it is for this exchange to open a connection.
    pub(crate) fn poll_way(
        &self,
        cx: &Context<'_>,
        how: &UpstreamPlan,
        now: Instant,
    ) -> Poll<Way<'_>> {
        if let Some((stream, before)) = self.take(how, now) {
            return Poll::Ready(Way::Stream(stream, before));
        }
        // One that has not said what it takes may take enough.
        let young = |link: &Rc<Link>| link.is_young() && link.made + PATIENCE > now;
        if self.all.borrow().iter().any(young) || self.opening.replace(true) {
            self.waiting.add(cx);
            return Poll::Pending;
        }
        Poll::Ready(Way::Open(Turn(self)))
    }

    /// Has whoever polls woken when a place comes free.
    pub(crate) fn heed(&self, cx: &Context<'_>) {
        self.waiting.add(cx);
    }

    /// Begins a connection on a socket, and takes its first stream. One that is not shared ends with it.
    pub(crate) fn begin<N: Net>(
        &self,
        net: &N,
        sock: N::Sock,
        (permit, stock): (Permit, Rc<Stock>),
        (how, limits): (&UpstreamPlan, &ServiceLimits),
        now: Instant,
    ) -> Box<BackendStream> {
        let secured = sock.secured().cloned();
        let watch = Rc::new(Watch::default());
        let mux = Mux::to_backend(terms(how, limits), stock, watch.clone());
        let state = Rc::new(State {
            watch,
            open: Cell::new(0),
            over: Cell::new(false),
            gone: Cell::new(false),
            budgets: RefCell::new(Budgets::new(now)),
            now: Cell::new(now),
            waker: RefCell::new(None),
            most: Cell::new(0),
        });
        let reading = reading(limits);
        let (driven, moved, waiting) = (state.clone(), mux.clone(), self.waiting.clone());
        net.spawn(async move {
            drive(sock, &moved, &reading, &driven, &waiting).await;
            driven.over.set(true);
            driven.gone.set(true);
            // Its place is another's from here on.
            drop(permit);
            waiting.wake_all();
        });
        let link = Rc::new(Link {
            mux,
            state,
            requests: Cell::new(0),
            ended: Cell::new(0),
            made: now,
            idle: Cell::new(None),
            stuck: Cell::new(None),
            secured,
            yields: Cell::new(None),
            spared: Cell::new(now + TERM),
        });
        let (stream, _) = self.stream(&link);
        match how.is_shared() {
            true => self.all.borrow_mut().push(link),
            // Its first exchange is its last.
            false => _ = self.let_go(&link),
        }
        stream
    }

    /// Forgets a connection: it ends when its exchanges have, and is watched until it has. Returns whether it is kept, as `retain`
    /// asks: never.
    fn let_go(&self, link: &Rc<Link>) -> bool {
        self.ending.borrow_mut().push((link.state.clone(), None));
        false
    }

    /// Whether there is no connection, or none to be asked on.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.borrow().is_empty()
    }

    /// Closes what is of no more use, what is idle for too long, and what is idle while others want its place; ends what does not end
    /// by itself. One that is never idle yields to a worker that has none.
    pub(crate) fn sweep(&self, how: &UpstreamPlan, wanted: Wanted, now: Instant) {
        let mut yields = wanted.badly;
        let before = self.all.borrow().len();
        self.all.borrow_mut().retain(|link| {
            link.state.now.set(now);
            if link.state.over.get() {
                return self.let_go(link);
            }
            if link.is_stuck(now) {
                return self.let_go(link);
            }
            if link.state.open.get() > 0 {
                // One at a time.
                yields &= !link.is_yielding(yields, now);
                return true;
            }
            if !wanted.badly {
                link.yields.set(None);
            }
            let since = link.idle.get().unwrap_or(now);
            link.idle.set(Some(since));
            (!wanted.at_all && since + how.idle > now) || self.let_go(link)
        });
        if before > 0 && self.is_empty() {
            // Who waits for another one waits for the first now.
            self.waiting.wake_all();
        }
        self.watch_ending(now);
        // Nobody tells who waits that his patience is over, nor that another left the place that he was woken for.
        let room = |link: &Rc<Link>| link.is_young() || link.has_room(how);
        if self.all.borrow().iter().any(room) {
            self.waiting.wake_all();
        }
    }

    /// Nobody else is asked on any: closes up to `closes`, which is less by as many then, once what is under way there has ended. Whether
    /// none is left.
    pub(crate) fn clear(&self, closes: &mut usize, now: Instant) -> bool {
        let mut all = self.all.borrow_mut();
        while *closes > 0
            && let Some(link) = all.pop()
        {
            *closes -= 1;
            self.let_go(&link);
            // Who waits for another one waits for a place on this.
            self.waiting.wake_all();
        }
        self.watch_ending(now);
        all.is_empty() && self.ending.borrow().is_empty()
    }

    /// Ends what does not end by itself.
    fn watch_ending(&self, now: Instant) {
        self.ending.borrow_mut().retain_mut(|(state, since)| {
            // What is under way may take long, and its frames earn with time as others' do.
            state.now.set(now);
            if state.gone.get() {
                return false;
            }
            if state.open.get() > 0 {
                return true;
            }
            if *since.get_or_insert(now) + PATIENCE > now {
                return true;
            }
            state.gone.set(true);
            if let Some(waker) = state.waker.borrow_mut().take() {
                waker.wake();
            }
            false
        });
    }
}

impl Link {
    fn is_of_use(&self, how: &UpstreamPlan, now: Instant) -> bool {
        let worn = |most: std::num::NonZeroUsize| self.requests.get() >= most.get();
        let worn = how.requests.is_some_and(worn);
        let old = how.age.is_some_and(|age| self.made + age <= now);
        !self.state.over.get() && !worn && !old && self.mux.takes_more()
    }

    /// Whether its backend has taken nothing of what waits for it for [`STUCK`]: nobody else is asked on it.
    fn is_stuck(&self, now: Instant) -> bool {
        let before = self.stuck.get();
        let written = self.mux.stuck_at();
        let since = before.filter(|(then, _)| Some(*then) == written);
        let stuck = since.or(written.map(|written| (written, now)));
        self.stuck.set(stuck);
        stuck.is_some_and(|(_, since)| since + STUCK <= now)
    }

    fn is_young(&self) -> bool {
        self.state.most.get() == 0
    }

    /// Whether it gives its place up for a worker that has none, once what is under way has ended. That may take long: then it is asked on
    /// again, and spared for a while.
    fn is_yielding(&self, wanted: bool, now: Instant) -> bool {
        let since = match self.yields.get().filter(|_| wanted) {
            Some(since) if since + PATIENCE <= now => {
                self.spared.set(now + SPARED);
                None
            }
            None if wanted && self.spared.get() <= now => Some(now),
            since => since,
        };
        self.yields.set(since);
        since.is_some()
    }

    fn has_room(&self, how: &UpstreamPlan) -> bool {
        let most = self.state.most.get().clamp(1, how.streams);
        self.state.open.get() < most && self.yields.get().is_none() && !self.mux.is_full()
    }
}

fn terms(how: &UpstreamPlan, limits: &ServiceLimits) -> Terms {
    let streams = u32::try_from(how.streams).unwrap_or(u32::MAX);
    Terms {
        streams: how.streams,
        head: limits.head,
        stream_window: HTTP2_BACKEND_WINDOW,
        // As much for each stream, so that one that is not read holds up no other.
        window: HTTP2_BACKEND_WINDOW.saturating_mul(streams).min(MOST_31),
    }
}

fn reading(limits: &ServiceLimits) -> Reading {
    Reading {
        bounds: HeadLimits {
            bytes: limits.head,
            fields: limits.fields,
            target: 0,
        },
        form: PathForm::default(),
    }
}

/// How long a backend may take nothing of what waits for it.
const STUCK: Duration = Duration::from_secs(5);

/// How long a backend may take to say how many streams it takes, before another connection is tried; and to hear that a connection
/// ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection serves its worker for so long before it yields to one that has none.
const TERM: Duration = Duration::from_millis(200);

/// One that could not yield in time is not asked to for so long: who waits for it meanwhile waits with its worker's others.
const SPARED: Duration = Duration::from_secs(4);

/// Moves a connection's frames until it has ended; tells what its backend takes.
async fn drive<S: Sock>(
    mut sock: S,
    mux: &Mux,
    reading: &Reading,
    state: &State,
    waiting: &Waiting,
) {
    let mut opened = Vec::new();
    poll_fn(|cx| {
        mux.begin_turn(cx);
        let over = read(cx, &mut sock, mux, |bytes| {
            state.watch.took(bytes.len());
            mux.came(bytes, reading, &mut opened);
        });
        state.waker.replace(Some(cx.waker().clone()));
        if let Some(most) = mux.takes() {
            let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
            if state.most.replace(most) != most {
                waiting.wake_all();
            }
        }
        // A backend that is held to be one's own may be anybody's.
        if over == Read::Over || state.gone.get() || state.is_spent() {
            return Poll::Ready(());
        }
        let full = mux.is_full();
        let written = mux.poll_write(cx, &mut sock).map(drop);
        if full && !mux.is_full() {
            waiting.wake_all();
        }
        written
    })
    .await;
    mux.gone();
}
