//! Owns the order of decisions of one flow, a connection whose bytes are passed on as they come: where to, pick, connect, relay.
//!
//! The sibling of `exchange`: one flow is one exchange of its service. Decides and hands on; bytes are moved by `relay`. Nothing of
//! what the client says is lost between attempts: until a backend has taken the connection it is held. How a flow ends is said to
//! both ends as it came, an end as an end and a break as a break, and to the pick as far as it says something of the backend.
//! See `docs/decisions/0011-flows.md`.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::affinity::identity;
use evenkeel_balance::ask::{Ask, ClassId, Tried};
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::retry::{Attempt, Progress};
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_config::plan::{FlowPlan, HelloPlan, Protocol, SidePlan, Unknown};

use crate::account::Account;
use crate::affinity::{Served, Stay};
use crate::again::{Again, Asked, Never};
use crate::carrier::Carrier;
use crate::connection::{Admitted, Conn, Door, Next, Opened, linger};
use crate::decide;
use crate::exchange::split::side;
use crate::net::Net;
use crate::observation::{Observation, Stayed};
use crate::proxy_protocol::Arrival;
use crate::queue::{self, Unpicked};
use crate::reason::Reason;
use crate::relay::Pump;
use crate::relay::tunnel::{Parted, Rests, both_ways};
use crate::sock::Sock;
use crate::tls::hello::{self, Hello};
use crate::upstream::Connection;
use crate::upstream::open::{Opening, Unopened};
use crate::worker::{Desk, Seat, View, Worker};

/// Its latency is that of connecting, which no rule's is to be judged against.
const CLASS: ClassId = ClassId(u16::MAX);

/// How long a client has to take an alert.
const ALERT_WITHIN: Duration = Duration::from_secs(2);

/// A flow until it stands, or is refused. Dropped so, the worker ends, which is written down as any other end.
struct Flow<N: Net> {
    conn: Conn<N>,
    began: Instant,
    seen: Observation,
    /// By what it goes. Held until it stands and no longer: no plan is to live as long as a flow.
    view: Option<Rc<View<N>>>,
    /// The identity of the backend that was asked last; only while somebody writes it down.
    backend: Vec<u8>,
    /// The name that its client asked for.
    name: Option<Box<str>>,
    /// What is to be written down is so already, or for who goes on with it; or nothing came and nobody was asked, no flow at all.
    told: bool,
}

/// Serves a flow until both its ends have closed, or one broke off. Every flow ends with one observation.
pub(crate) async fn serve<N: Net>(
    worker: Rc<Worker<N>>,
    door: Rc<Door>,
    sock: N::Sock,
    arrival: Arrival,
    admitted: Admitted,
) {
    let _admitted = admitted;
    let _opened = Opened::new(&worker);
    let Arrival { ends, input, spent } = arrival;
    let peer = ends.peer();
    let began = worker.now();
    let mut flow = Flow {
        conn: Conn {
            deadline: worker.deadlines.slot(),
            worker,
            door,
            sock: Carrier::Whole(sock),
            input,
            peer,
            ends,
            requests: 0,
            // Whoever drops it, a panic or a drain whose time is over, cuts it.
            next: Next::Cut,
            tunnel: None,
            shown: std::cell::OnceCell::new(),
        },
        began,
        seen: Observation {
            flow: true,
            reason: Reason::Drained,
            ..Observation::begin(peer)
        },
        view: None,
        backend: Vec::new(),
        name: None,
        told: false,
    };
    let ended = match way(&mut flow, spent).await {
        Ok(way) => match connected(&mut flow, &way).await {
            Ok((pick, upstream)) => Ok(relay(&mut flow, way, pick, upstream).await),
            Err(reason) => Err(reason),
        },
        Err(reason) => Err(reason),
    };
    flow.conn.next = match ended {
        Ok(next) => next,
        Err(reason) => refuse(&mut flow, reason).await,
    };
    if flow.conn.next == Next::Linger {
        linger(&mut flow.conn).await;
    }
}

/// Where a flow goes.
struct Way<N: Net> {
    seat: Rc<Seat<N>>,
    rests: Rests,
    /// What is known of a client that the service keeps. None: it keeps none.
    stay: Option<Stay>,
    /// What is to be passed on first.
    first: Vec<u8>,
    /// What begins every connection that is opened.
    introduction: Vec<u8>,
}

/// Finds the service of a flow, by what its client says first where that decides. `spent` of the time for that is over.
async fn way<N: Net>(flow: &mut Flow<N>, spent: Duration) -> Result<Way<N>, Reason> {
    let view = flow.conn.worker.view();
    flow.view = Some(view.clone());
    let door = flow.conn.door.clone();
    let (at, plan) = door
        .plan(&view.live, view.version)
        .ok_or(Reason::ListenerGone)?;
    flow.seen.listener = Some(at);
    let (worker, peer) = (&flow.conn.worker, flow.conn.peer);
    if let Some(rates) = &view.live.rates
        && !rates.let_flow(at, peer, worker.index, worker.now())
    {
        return Err(Reason::RateLimited);
    }
    let mut first = Vec::new();
    let limits = &plan.limits;
    let sides = match plan.flows.as_ref().ok_or(Reason::ListenerGone)? {
        FlowPlan::All(sides) => sides,
        FlowPlan::Hello(names) => {
            let within = limits.handshake_within.saturating_sub(spent);
            let most = limits.handshakes;
            // Until something has come it is no flow.
            flow.told = true;
            // On the heap: most flows read none.
            let read = Box::pin(hello::read(&mut flow.conn, most, within, &mut first)).await;
            flow.seen.received = first.len() as u64;
            flow.told = read.is_err() && first.is_empty();
            let hello = read?;
            let sides = named(names, &hello);
            flow.seen.received = hello.bytes.len() as u64;
            (first, flow.name) = (hello.bytes, hello.name);
            sides?
        }
    };
    let service = side(sides, flow.conn.worker.chance());
    let seat = view.seats.get(service).ok_or(Reason::ListenerGone)?;
    flow.seen.service = Some(service);
    Ok(Way {
        stay: seat.live.affinity.as_ref().map(|affinity| {
            let (peer, now) = (flow.conn.peer, flow.conn.worker.now());
            affinity.of_flow(&seat.live.state, peer, now)
        }),
        seat: seat.clone(),
        introduction: flow
            .conn
            .introduction_of_flow(&seat.live.plan.upstream, flow.name.as_deref()),
        rests: Rests {
            both: limits.idle,
            // What follows an end is the protocol's business, and holds no memory of ours.
            half: limits.idle,
            stall: limits.idle_body.min(seat.live.plan.limits.idle_body),
        },
        first,
    })
}

fn named<'p>(names: &'p HelloPlan, hello: &Hello) -> Result<&'p [SidePlan], Reason> {
    let offered = hello.protocols.iter().map(|protocol| &**protocol);
    names
        .find(hello.name.as_deref(), offered)
        .map_err(|unknown| match unknown {
            Unknown::Name => Reason::UnknownName,
            Unknown::Protocol => Reason::UnknownProtocol,
        })
}

/// A connection to a backend, and the charge for it. It is cut where nobody says that it ended well.
struct Upstream<S: Sock>(Connection<S>, Next);

impl<S: Sock> Drop for Upstream<S> {
    fn drop(&mut self) {
        if self.1 == Next::Cut {
            self.0.sock.cut();
        }
    }
}

/// Connects to one backend after the other, until one takes the connection or no more may be tried.
async fn connected<N: Net>(
    flow: &mut Flow<N>,
    way: &Way<N>,
) -> Result<(Pick<Held>, Upstream<N::Sock>), Reason> {
    let service = &way.seat.live;
    let limits = &service.plan.limits;
    let until = flow.began + limits.exchange;
    // A connection that stands is a flow's answer.
    let within = limits.connect.min(limits.per_try);
    let mut asked = Asked::default();
    let Flow { conn, seen, .. } = flow;
    let (handle, now) = (&way.seat.handle, conn.worker.now());
    let entry = handle.pick_or_wait(&ask(conn, way, &asked.tried), until, now);
    let picked = queue::picked(conn, handle, entry, (until, true), &mut seen.queue).await;
    let mut pick = picked.map_err(|unpicked| match unpicked {
        Unpicked::Refused(refusal) => Reason::Refused(refusal),
        Unpicked::Gone => Reason::ClientGone,
        Unpicked::Over => Reason::InstanceDrained,
    })?;
    loop {
        flow.seen.attempts += 1;
        asked.tried.insert(pick.backend());
        let failed = match attempt(flow, way, pick, (within, until)).await {
            Ok(connected) => {
                keep(flow, way, &connected.0, &asked.tried);
                return Ok(connected);
            }
            Err(Unopened::Gone) => return Err(Reason::ClientGone),
            Err(Unopened::Failed(fault, reason)) => (fault, reason, Progress::Unsent),
            Err(Unopened::Nobody) => (
                Some(Fault::Connect),
                Reason::ConnectFailed,
                Progress::Unreached,
            ),
        };
        let (Some(fault), reason, progress) = failed else {
            return Err(failed.1);
        };
        let failed = Attempt::new(fault)
            .idempotent(false)
            .progress(progress)
            .made(flow.seen.attempts)
            .excused(asked.excused)
            .class(CLASS)
            .untried((flow.seen.attempts as usize) < service.state.members());
        let mut again = Again {
            seat: &way.seat,
            failed,
            until,
            half_close: true,
        };
        let granted = again.granted(&flow.conn.worker).ok_or(reason)?;
        let another = |conn: &Conn<N>, tried: &Tried| self::pick(conn, way, tried);
        let next = again.next(&mut flow.conn, granted, &mut asked, another);
        // On the heap: most flows need no other attempt.
        pick = Box::pin(next).await.map_err(|never| match never {
            Never::Refused => reason,
            Never::Gone => Reason::ClientGone,
        })?;
    }
}

/// A backend that was not tried, charged.
fn pick<N: Net>(conn: &Conn<N>, way: &Way<N>, tried: &Tried) -> Result<Pick<Held>, Refusal> {
    let ask = ask(conn, way, tried);
    way.seat.handle.pick(&ask, conn.worker.now())
}

/// This backend has taken the connection: the client is kept there from now on.
fn keep<N: Net>(flow: &mut Flow<N>, way: &Way<N>, pick: &Pick<Held>, tried: &Tried) {
    let Some((stay, affinity)) = way.stay.as_ref().zip(way.seat.live.affinity.as_ref()) else {
        return;
    };
    let now = flow.conn.worker.now();
    let served = Served {
        backend: identity(pick.backend().id()),
        spilled: pick.is_spilled(),
    };
    let lost = |home| {
        let ask = ask(&flow.conn, way, tried);
        way.seat.handle.lost(home, &ask, now)
    };
    let state = &way.seat.live.state;
    let stay = affinity.since(state, *stay, served, now);
    flow.seen.stayed = Some(Stayed::of(stay.home, served, lost));
    affinity.follows(state, &stay, served, None, (now, Duration::ZERO));
}

/// What other policies hash, a flow has not: its client's address stands for it.
fn ask<'t, N: Net>(conn: &Conn<N>, way: &Way<N>, tried: &'t Tried) -> Ask<'t> {
    let mut ask = Ask::new(conn.worker.chance()).class(CLASS).tried(tried);
    if let Some(kept) = way.stay.as_ref().and_then(Stay::kept) {
        ask = kept.ask(ask);
    }
    ask.zone = decide::zone(&way.seat.live, conn.peer);
    if way.seat.live.plan.key.is_some() {
        ask = ask.key(decide::source(conn.peer));
    }
    ask
}

/// Connects to the backend of a pick, and tells the pick how that went: a connection that stands is its answer.
async fn attempt<N: Net>(
    flow: &mut Flow<N>,
    way: &Way<N>,
    mut pick: Pick<Held>,
    (within, until): (Duration, Instant),
) -> Result<(Pick<Held>, Upstream<N::Sock>), Unopened> {
    let Some(lane) = way.seat.lane(pick.backend()) else {
        return Err(Unopened::Failed(None, Reason::ConnectFailed));
    };
    flow.conn.deadline.serves(lane.number);
    flow.asks(&pick);
    let opening = Opening {
        service: &way.seat.live,
        introduction: &way.introduction,
        towards: way.seat.live.towards_flows.as_deref(),
        within,
        until,
        half_close: true,
        protocol: Protocol::Http1,
        // One that carried something else before is not the beginning of anything.
        fresh: true,
    };
    let opened = opening
        .open(&mut flow.conn, &mut flow.seen, &lane, pick.at())
        .await;
    let now = flow.conn.worker.now();
    match opened {
        Ok((upstream, ready)) => {
            pick.answered(Verdict::Success, ready);
            Ok((pick, Upstream(upstream, Next::Cut)))
        }
        Err(unopened) => {
            match unopened {
                Unopened::Gone => pick.finish(Outcome::ClientLeft, now),
                Unopened::Nobody => pick.finish(Outcome::Broken(Fault::Connect), now),
                Unopened::Failed(Some(fault), _) => pick.finish(Outcome::Broken(fault), now),
                // Our own limit: nothing is held against the backend.
                Unopened::Failed(None, _) => drop(pick),
            }
            Err(unopened)
        }
    }
}

/// Passes bytes on until the flow has ended, and says how it did.
async fn relay<N: Net>(
    flow: &mut Flow<N>,
    way: Way<N>,
    pick: Pick<Held>,
    mut upstream: Upstream<N::Sock>,
) -> Next {
    let Way {
        seat, rests, first, ..
    } = way;
    // The plan that it was found by may go while the flow goes on.
    drop(seat);
    let mut account = flow.stands(&pick);
    let said = first.len() as u64;
    account.moved(said, 0);
    let mut upload = Pump::both_ways().before(first);
    let mut download = Pump::both_ways();
    let conn = &mut flow.conn;
    let parted = both_ways(
        conn,
        &mut upstream.0,
        &mut upload,
        &mut download,
        rests,
        |received, sent| account.moved(said + received, sent),
    )
    .await;
    let silent = !upload.has_written() && download.came() == 0;
    let (reason, outcome) = match parted {
        Parted::Closed | Parted::BackendAway => (Reason::Served, Outcome::Completed),
        Parted::Client | Parted::ClientAway => (Reason::ClientLeft, Outcome::ClientLeft),
        // Whom nobody has said anything to has no other reason to break off than its own.
        Parted::Backend if silent => (Reason::BackendReset, Outcome::Broken(Fault::Reset)),
        Parted::Backend => (Reason::BodyBroken, Outcome::Completed),
        Parted::Idle | Parted::Stalled if conn.deadline.take_cut() => {
            (conn.cut_for(), Outcome::Completed)
        }
        Parted::Idle => (Reason::IdleTimeout, Outcome::Completed),
        Parted::Stalled => (Reason::ClientStalled, Outcome::Completed),
    };
    account.reason = reason;
    pick.finish(outcome, conn.worker.now());
    if !parted.is_end() {
        return Next::Cut;
    }
    upstream.1 = Next::Close;
    match parted {
        // What it still sends nobody reads: closing over it would take the last words away from it.
        Parted::BackendAway => Next::Linger,
        _ => Next::Close,
    }
}

/// A flow that no backend has taken: it is cut, but for a TLS client, which is told why.
async fn refuse<N: Net>(flow: &mut Flow<N>, reason: Reason) -> Next {
    flow.seen.reason = reason;
    let conn = &mut flow.conn;
    if !matches!(reason, Reason::ClientGone | Reason::ClientLeft) {
        conn.door.state().counters.answered(reason);
    }
    let alert = match reason {
        Reason::UnknownName => hello::UNRECOGNIZED_NAME,
        Reason::UnknownProtocol => hello::NO_PROTOCOL,
        _ => {
            flow.observe();
            return Next::Cut;
        }
    };
    conn.deadline.set(conn.worker.now() + ALERT_WITHIN);
    poll_fn(|cx| match conn.sock.poll_write(cx, &alert) {
        // Nothing was written before: it fits, or the client is gone.
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => conn.deadline.poll_passed(cx),
    })
    .await;
    flow.observe();
    Next::Linger
}

impl<N: Net> Flow<N> {
    /// Remembers who is asked.
    fn asks(&mut self, pick: &Pick<Held>) {
        self.backend.clear();
        let id = pick.backend().id().as_str();
        self.backend.extend_from_slice(id.as_bytes());
    }

    /// It stands: an account is opened of it, and nothing of the plan is held any more.
    fn stands(&mut self, pick: &Pick<Held>) -> Account<N> {
        // The log may be opened while the flow goes on.
        self.asks(pick);
        let worker = self.conn.worker.clone();
        self.seen.switched = Some(worker.now().since(self.began));
        let note = self.view.take().map(|view| {
            let desk = self.desk();
            let note = worker.note(&view, &desk, self.conn.sock.secured());
            worker.give_desk(desk);
            note
        });
        self.told = true;
        Account::open(worker, note, self.began)
    }

    fn desk(&mut self) -> Box<Desk> {
        let mut desk = self.conn.worker.desk();
        desk.seen = self.seen;
        desk.backend = std::mem::take(&mut self.backend);
        desk.trail.clear();
        desk.name.clear();
        let name = self.name.take().unwrap_or_default();
        desk.name.extend_from_slice(name.as_bytes());
        desk
    }

    /// Counts it and writes it down, once.
    fn observe(&mut self) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        if let Some(view) = self.view.take() {
            let worker = self.conn.worker.clone();
            self.seen.total = worker.now().since(self.began);
            let desk = self.desk();
            worker.observe(&view, &desk, self.conn.sock.secured());
            worker.give_desk(desk);
        }
    }
}

impl<N: Net> Drop for Flow<N> {
    fn drop(&mut self) {
        // What a panic ends is counted as such.
        if !std::thread::panicking() {
            self.observe();
        }
    }
}
