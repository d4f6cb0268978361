//! Owns one client's connection: requests one after another, and how it ends.
//!
//! Between requests only this small future lives; an exchange's future, which is larger, lives in a slot that is lent and given
//! back (see [`Slots`]).

use std::cell::{Cell, OnceCell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::limits::ListenerLimits;
use evenkeel_config::plan::{Bind, ListenerPlan};
use evenkeel_wire::sniff::{HTTP2_PREFACE, Opening, sniff};

use crate::affinity::Shown;
use crate::buffers::Input;
use crate::carrier::Carrier;
use crate::deadline::Deadline;
use crate::http2::front;
use crate::live::{DoorState, Live, listener_of};
use crate::net::Net;
use crate::proxy_protocol::{Arrival, Ends, Expected};
use crate::reason::Reason;
use crate::sock::Sock;
use crate::tls::places::Places;
use crate::tls::secured::Secured;
use crate::tls::terms::Terms;
use crate::tunnel::Tunnel;
use crate::worker::Worker;

/// A place under a listener's limit.
mod admitted;

/// How a client's going is noticed.
mod going;

/// How a connection ends, and what is passed over so that it does not.
mod ending;

/// The futures of exchanges.
mod slots;

pub use admitted::Admitted;
pub(crate) use ending::{SKIP_BYTES, linger};
use ending::{end, skip};
pub(crate) use going::Noticed;
pub use slots::{Slots, slots};

/// A listener as one worker sees it.
pub struct Door {
    /// Its name when it was opened; it may be renamed.
    pub name: Arc<str>,
    /// Its port; 0 for a Unix socket.
    pub port: u16,
    /// What it is known by when it is renamed.
    bind: Option<Bind>,
    state: RefCell<Arc<DoorState>>,
    /// Its place in the plan of this version.
    place: Cell<(u64, usize)>,
    closing: Cell<bool>,
    /// While it closes, who is idle is still heard until then.
    spared: Cell<Instant>,
    /// Whether it spoke TCP when it was last in a plan.
    tcp: Cell<bool>,
    /// What its clients were held to when it was last in a plan: who comes after that is held to the same.
    tls: RefCell<Option<Held>>,
    /// Of whom it expected PROXY headers then.
    proxies: RefCell<Option<Expected>>,
    /// Those of its clients that are at their handshakes.
    places: Places,
}

/// What a listener's clients are held to before they can ask anything.
#[derive(Clone)]
pub(crate) struct Held {
    /// None: it could not be loaded, and nobody is let in.
    pub(crate) terms: Option<Arc<Terms>>,
    /// Handshakes at once.
    pub(crate) most: usize,
    /// How long one may take.
    pub(crate) within: Duration,
}

impl Door {
    /// The listener of this name.
    #[must_use]
    pub fn new(name: Arc<str>, port: u16, state: Arc<DoorState>) -> Self {
        Self {
            name,
            port,
            bind: None,
            state: RefCell::new(state),
            place: Cell::new((u64::MAX, 0)),
            closing: Cell::new(false),
            spared: Cell::new(Instant::ZERO),
            tcp: Cell::new(false),
            tls: RefCell::new(None),
            proxies: RefCell::new(None),
            places: Places::default(),
        }
    }

    /// The same, bound here: another listener that takes this address over takes its connections over.
    #[must_use]
    pub fn bound(self, bind: Bind) -> Self {
        Self {
            bind: Some(bind),
            ..self
        }
    }

    /// Its plan. None: the running plan has no such listener any more.
    pub(crate) fn plan<'a>(
        &self,
        live: &'a Live,
        version: u64,
    ) -> Option<(usize, &'a ListenerPlan)> {
        let (seen, at) = self.place.get();
        if seen == version {
            return live.plan.listeners.get(at).map(|plan| (at, plan));
        }
        let at = listener_of(&live.plan, &self.name, self.bind.as_ref())?;
        self.place.set((version, at));
        if let Some(state) = live.doors.get(at) {
            self.state.borrow_mut().clone_from(state);
        }
        live.plan.listeners.get(at).map(|plan| (at, plan))
    }

    /// Whether its connections are flows.
    pub(crate) fn is_tcp(&self, live: &Live, version: u64) -> bool {
        if let Some((_, plan)) = self.plan(live, version) {
            self.tcp.set(plan.flows.is_some());
        }
        self.tcp.get()
    }

    /// What its clients are held to. None: its bytes go as they are.
    pub(crate) fn held(&self, live: &Live, version: u64) -> Option<Held> {
        let mut held = self.tls.borrow_mut();
        if let Some((at, plan)) = self.plan(live, version) {
            *held = plan.tls.as_ref().map(|_| Held {
                terms: live.terms.get(at).cloned().flatten(),
                most: plan.limits.handshakes,
                within: plan.limits.handshake_within,
            });
        }
        held.clone()
    }

    /// Of whom it expects PROXY headers. None: of nobody.
    pub(crate) fn expected(&self, live: &Live, version: u64) -> Option<Expected> {
        let mut expected = self.proxies.borrow_mut();
        if let Some((_, plan)) = self.plan(live, version) {
            *expected = plan.proxy_protocol.as_ref().map(|from| Expected {
                from: from.clone(),
                within: plan.limits.handshake_within,
            });
        }
        expected.clone()
    }

    /// Those of its clients that are at their handshakes.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// What all workers count of it. Cost: a shared count, so that it is for what is rare.
    #[must_use]
    pub fn state(&self) -> Arc<DoorState> {
        self.state.borrow().clone()
    }

    /// From `now` on its connections end with the exchange that they carry; who is idle may begin one within `patience`: a client that
    /// has just sent its next request must not find the connection closed.
    pub fn close(&self, now: Instant, patience: Duration) {
        self.spared.set(now + patience);
        self.closing.set(true);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }
}

/// What follows an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another request.
    Keep,
    /// The same, behind so many bytes of a body that nobody wants.
    Skip(u32),
    /// The connection ends; everything was written.
    Close,
    /// The connection ends, but the client may still be sending: it must be able to read the answer first.
    Linger,
    /// The connection is cut, so that what was sent cannot look whole.
    Cut,
}

/// One client's connection, lent to the exchange that it carries.
pub struct Conn<N: Net> {
    pub(crate) worker: Rc<Worker<N>>,
    pub(crate) door: Rc<Door>,
    pub(crate) sock: Carrier<N::Sock>,
    pub(crate) input: Input,
    pub(crate) deadline: Deadline,
    pub(crate) peer: IpAddr,
    pub(crate) ends: Ends,
    pub(crate) requests: u64,
    pub(crate) next: Next,
    /// What its last exchange left to go on with.
    pub(crate) tunnel: Option<Box<Tunnel<N::Sock>>>,
    /// What it was shown last of where its client is kept, once it was.
    pub(crate) shown: OnceCell<Rc<Shown>>,
}

impl<N: Net> Conn<N> {
    /// How the client calls what it speaks.
    pub(crate) fn scheme(&self) -> &'static str {
        self.sock.secured().map_or("http", |_| "https")
    }

    /// The port that the client connected to; 0: none.
    pub(crate) fn port(&self) -> u16 {
        self.ends.port().unwrap_or(self.door.port)
    }

    /// Whether it ends with the exchange that it carries.
    pub(crate) fn is_closing(&self) -> bool {
        self.worker.is_closing() || self.door.is_closing()
    }

    /// How long a request is still waited for while it closes. Never no time: a client that was answered without a word of that, as
    /// one that has just connected, may have sent its request already.
    fn patience(&self) -> Duration {
        let until = match self.worker.is_closing() {
            true => self.worker.spared(),
            false => self.door.spared.get(),
        };
        until.since(self.worker.now()).max(CLOSING)
    }

    /// Why what it waited for was cut, once something was: the whole instance ends, or the backend's drain is over.
    pub(crate) fn cut_for(&self) -> Reason {
        match self.worker.is_over() {
            true => Reason::Drained,
            false => Reason::BackendDrained,
        }
    }

    /// Who the client has shown to be, as fields for backends.
    pub(crate) fn identity(&self) -> &[u8] {
        let client = self.sock.secured().and_then(|one| one.client.as_deref());
        client.map_or(b"", |client| &client.fields)
    }
}

impl<N: Net> Drop for Conn<N> {
    fn drop(&mut self) {
        if self.next == Next::Cut {
            self.sock.cut();
        }
    }
}

/// Counts a worker's connection in, and out on every path; a panic of its task is contained by the runtime and counted here.
pub(crate) struct Opened<N: Net>(Rc<Worker<N>>);

impl<N: Net> Opened<N> {
    pub(crate) fn new(worker: &Rc<Worker<N>>) -> Self {
        worker.open.set(worker.open.get() + 1);
        Self(worker.clone())
    }
}

impl<N: Net> Drop for Opened<N> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if std::thread::panicking() {
            self.0.panics.set(self.0.panics.get() + 1);
        }
    }
}

/// A client's connection that is counted, and waits to be served.
pub(crate) struct Client<N: Net> {
    conn: Box<Conn<N>>,
    admitted: Admitted,
    opened: Opened<N>,
}

impl<N: Net> Client<N> {
    pub(crate) fn new(
        worker: Rc<Worker<N>>,
        door: Rc<Door>,
        sock: N::Sock,
        arrival: Arrival,
        admitted: Admitted,
    ) -> Self {
        let opened = Opened::new(&worker);
        let Arrival { ends, input, .. } = arrival;
        // On the heap: it goes into each exchange and comes back, and is longer than all else that a turn of it moves.
        let conn = Box::new(Conn {
            deadline: worker.deadlines.slot(),
            worker,
            door,
            sock: Carrier::Whole(sock),
            input,
            peer: ends.peer(),
            ends,
            requests: 0,
            next: Next::Keep,
            tunnel: None,
            shown: OnceCell::new(),
        });
        Self {
            conn,
            admitted,
            opened,
        }
    }

    /// Serves it until its connection ends.
    pub(crate) async fn serve<F: Future<Output = Infallible> + 'static>(
        self,
        slots: &Rc<Slots<F, N>>,
    ) {
        let _counted = (self.admitted, self.opened);
        requests(self.conn, slots).await;
    }
}

/// Serves a client until its connection ends.
pub async fn serve<N: Net, F: Future<Output = Infallible> + 'static>(
    worker: Rc<Worker<N>>,
    door: Rc<Door>,
    sock: N::Sock,
    arrival: impl Into<Arrival>,
    admitted: Admitted,
    slots: Rc<Slots<F, N>>,
) {
    let client = Client::new(worker, door, sock, arrival.into(), admitted);
    client.serve(&slots).await;
}

/// Serves one request after another.
async fn requests<N: Net, F: Future<Output = Infallible> + 'static>(
    mut conn: Box<Conn<N>>,
    slots: &Rc<Slots<F, N>>,
) {
    // On the heap, as all of HTTP/2: a connection of HTTP/1 that waits needs no room for it.
    if conn.sock.secured().is_some_and(Secured::is_http2) {
        return Box::pin(front::serve(conn)).await;
    }
    while conn.next == Next::Keep {
        if !first_byte(&mut conn).await {
            if conn.requests > 0 && conn.is_closing() {
                // The answer before may still be on its way, and said nothing of this: so may the next request.
                conn.next = Next::Linger;
            }
            break;
        }
        if conn.requests == 0
            && conn.input.data().first() == Some(&HTTP2_PREFACE[0])
            && is_http2(&mut conn).await
        {
            return Box::pin(front::serve(conn)).await;
        }
        // Whoever drops it within its exchange, a panic or a drain whose time is over, cuts it.
        conn.next = Next::Cut;
        conn = slots.run(conn).await;
        conn.requests += 1;
        conn.go_on().await;
        if let Next::Skip(left) = conn.next {
            conn.next = skip(&mut conn, left).await;
        }
    }
    conn.input.release(&conn.worker.buffers);
    match conn.next {
        // Requests behind the last one are not read: closing over them would take the answer away.
        Next::Close if !conn.input.is_empty() || conn.sock.has_input() => linger(&mut conn).await,
        // What ends with the connection is whole only where the end is said.
        Next::Close if conn.sock.secured().is_some() => end(&mut conn).await,
        Next::Keep | Next::Skip(_) | Next::Close | Next::Cut => {}
        Next::Linger => linger(&mut conn).await,
    }
}

/// Waits for a request to begin, holding no buffer. False: none comes.
async fn first_byte<N: Net>(conn: &mut Conn<N>) -> bool {
    if !conn.input.is_empty() {
        return true;
    }
    let closing = conn.is_closing();
    conn.input.release(&conn.worker.buffers);
    // It stays: and who is told of what there is to read gives way to others.
    if conn.requests > 0 {
        conn.sock.watch();
    }
    let view = conn.worker.view();
    let plan = conn.door.plan(&view.live, view.version);
    let within = match plan {
        Some((_, plan)) if !closing && conn.requests == 0 => plan.limits.head_within,
        Some((_, plan)) if !closing => plan.limits.keep_alive,
        // The last one, if it comes.
        _ => conn.patience(),
    };
    drop(view);
    let mut waiting = false;
    poll_fn(|cx| {
        let filled = conn
            .input
            .poll_fill(cx, &mut conn.sock, &conn.worker.buffers, false);
        match filled {
            Poll::Ready(Ok(length)) => return Poll::Ready(length > 0),
            Poll::Ready(Err(_)) => return Poll::Ready(false),
            Poll::Pending => {}
        }
        // The clock is asked only when there is something to wait for.
        if !std::mem::replace(&mut waiting, true) {
            conn.deadline.set_idle(conn.worker.now(), within);
        }
        match conn.deadline.poll_passed(cx) {
            Poll::Ready(()) if conn.deadline.is_due(conn.worker.now()) => Poll::Ready(false),
            // Its next request may be on the way, or its first, or here and not told of yet.
            Poll::Ready(()) if conn.is_closing() => {
                let until = conn.worker.now() + conn.patience();
                conn.deadline.bring_forward(until);
                conn.deadline.poll_passed(cx).map(|()| false)
            }
            // Woken to look whether its listener closes, and it does not.
            Poll::Ready(()) => {
                conn.deadline.resume();
                conn.deadline.poll_passed(cx).map(|()| false)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Whether a client that has begun to send speaks HTTP/2 by prior knowledge, where its listener takes that. Over TLS it is agreed on
/// in the handshake.
async fn is_http2<N: Net>(conn: &mut Conn<N>) -> bool {
    let view = conn.worker.view();
    let plan = conn.door.plan(&view.live, view.version);
    let taken = plan.is_none_or(|(_, plan)| plan.http2) && conn.sock.secured().is_none();
    let limits = limits_of(plan.map(|(_, plan)| plan));
    drop(view);
    conn.deadline.set(conn.worker.now() + limits.head_within);
    poll_fn(|cx| {
        loop {
            match sniff(conn.input.data()) {
                Some(opening) => return Poll::Ready(taken && opening == Opening::Http2),
                None if !taken => return Poll::Ready(false),
                None => {}
            }
            let filled = conn
                .input
                .poll_fill(cx, &mut conn.sock, &conn.worker.buffers, false);
            match filled {
                Poll::Ready(Ok(length)) if length > 0 => {}
                // Half a request, for whoever reads those.
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return conn.deadline.poll_passed(cx).map(|()| false),
            }
        }
    })
    .await
}

/// How long a request is waited for at least when a listener closes, by whom nothing was said of that: who has just connected, or
/// been answered.
pub(crate) const CLOSING: Duration = Duration::from_secs(1);

/// The limits of a listener that has left the plan: what its last exchanges go by.
pub(crate) fn limits_of(plan: Option<&ListenerPlan>) -> ListenerLimits {
    plan.map_or_else(ListenerLimits::default, |plan| plan.limits.clone())
}
