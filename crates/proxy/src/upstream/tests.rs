use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use evenkeel_balance::backend::BackendSpec;
use evenkeel_config::plan::{BackendAddress, Protocol};

use super::*;
use crate::observation::{CheckCounters, Heads};
use crate::sock::pipe::Pipe;

const NOW: Instant = Instant::from_nanos(1_000_000_000);

const KEEP: UpstreamPlan = UpstreamPlan {
    idle: Duration::from_secs(4),
    requests: None,
    age: None,
    idle_most: 64,
    source: None,
    tls: None,
    protocol: Protocol::Http1,
    streams: 1,
    proxy_protocol: None,
    keepalive: None,
};

/// Lanes of so many workers to one backend of so many sockets.
fn lanes(workers: usize, most: usize) -> Vec<Lane<Pipe>> {
    let backend = Arc::new(LiveBackend {
        number: 1,
        id: BackendSpec::new("a").id,
        address: BackendAddress::Tcp(([127, 0, 0, 1], 1).into()),
        sockets: Arc::new(Sockets::new(NonZeroUsize::new(most))),
        heads: Heads::default(),
        checks: CheckCounters::default(),
    });
    (0..workers).map(|_| Lane::new(backend.clone())).collect()
}

/// The backend's ends of the connections that were opened.
type Ends = Vec<Pipe>;

/// An exchange has a place; it opens a connection unless it has got one.
fn begin(place: Place<Pipe>, ends: &mut Ends) -> Connection<Pipe> {
    match place {
        Place::Kept(connection) => connection,
        Place::Free(permit) => {
            let (ours, theirs) = Pipe::pair(16);
            ends.push(theirs);
            Connection::new(ours, permit, NOW)
        }
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One who waits for a place.
struct Waiting<'a> {
    place: Pin<Box<dyn Future<Output = Place<Pipe>> + 'a>>,
    woken: Arc<Woken>,
}

impl<'a> Waiting<'a> {
    fn new(lane: &'a Lane<Pipe>) -> Self {
        let mut waiting = Self {
            place: Box::pin(lane.place(false, NOW)),
            woken: Arc::default(),
        };
        assert!(waiting.poll().is_pending());
        waiting
    }

    fn poll(&mut self) -> Poll<Place<Pipe>> {
        let waker = Waker::from(self.woken.clone());
        self.place.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Whether it was told to look, once.
    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed) == 1
    }

    fn place(&mut self) -> Place<Pipe> {
        match self.poll() {
            Poll::Ready(place) => place,
            Poll::Pending => panic!("it waits"),
        }
    }
}

fn first(lane: &Lane<Pipe>, ends: &mut Ends) -> Connection<Pipe> {
    let mut place = Box::pin(lane.place(false, NOW));
    match place.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(place) => begin(place, ends),
        Poll::Pending => panic!("there is no place"),
    }
}

#[test]
fn one_place_wakes_one_waiter_in_the_order_they_came() {
    let lanes = lanes(2, 1);
    let mut ends = Ends::new();
    let connection = first(&lanes[0], &mut ends);
    let mut waiting: Vec<_> = [1, 0, 1].map(|at: usize| Waiting::new(&lanes[at])).into();
    drop(connection);
    let woken: Vec<_> = waiting.iter().map(Waiting::is_woken).collect();
    assert_eq!(woken, [true, false, false]);
    // It is not to be had by who comes now.
    assert!(Waiting::new(&lanes[0]).poll().is_pending());
    assert!(matches!(waiting[0].place(), Place::Free(_)));
    assert!(waiting[1].is_woken(), "what nobody used passes on");
}

#[test]
fn a_place_is_not_lost_to_a_waiter_that_gave_up() {
    let lanes = lanes(1, 1);
    let sockets = lanes[0].backend.sockets.clone();
    let mut ends = Ends::new();
    let connection = first(&lanes[0], &mut ends);
    let gave_up = Waiting::new(&lanes[0]);
    let called = Waiting::new(&lanes[0]);
    let mut handed = Waiting::new(&lanes[0]);
    let mut last = Waiting::new(&lanes[0]);
    drop(gave_up);
    drop(connection);
    assert!(called.is_woken());
    drop(called);
    assert!(handed.is_woken());
    let connection = begin(handed.place(), &mut ends);
    let unlucky = Waiting::new(&lanes[0]);
    lanes[0].park(
        begin_again(&mut last, connection, &lanes[0]),
        &KEEP,
        None,
        NOW,
    );
    assert!(unlucky.is_woken());
    drop(unlucky);
    assert_eq!(sockets.open(), 0);
    assert!(lanes[0].waiting.borrow().is_empty() && !sockets.is_wanted());
}

/// Ends an exchange, and begins the next one with what it leaves.
fn begin_again(
    next: &mut Waiting<'_>,
    ended: Connection<Pipe>,
    lane: &Lane<Pipe>,
) -> Connection<Pipe> {
    lane.park(ended, &KEEP, None, NOW);
    assert!(next.is_woken());
    match next.place() {
        Place::Kept(connection) => connection,
        Place::Free(_) => panic!("it was closed"),
    }
}

#[test]
fn nothing_is_kept_while_others_wait() {
    let lanes = lanes(2, 1);
    let mut ends = Ends::new();
    let connection = first(&lanes[0], &mut ends);
    let mut other = Waiting::new(&lanes[1]);
    lanes[0].park(connection, &KEEP, None, NOW);
    assert!(other.is_woken());
    assert!(lanes[0].take_idle(&KEEP, NOW).is_none());
    let Place::Free(permit) = other.place() else {
        panic!("a socket is its worker's own");
    };
    assert!(ends[0].has_input(), "closed");
    drop(permit);
    // An idle one is closed for who waits elsewhere; the other idle one stays.
    let lanes = self::lanes(2, 2);
    let two = [(); 2].map(|()| first(&lanes[0], &mut ends));
    for connection in two {
        lanes[0].park(connection, &KEEP, None, NOW);
    }
    let mut other = Waiting::new(&lanes[1]);
    // Whoever waits is not made to wait for a measure.
    lanes[0].sweep(&KEEP, &mut 0, NOW);
    assert!(matches!(other.place(), Place::Free(_)));
    assert!(lanes[0].take_idle(&KEEP, NOW).is_some());
    assert!(lanes[0].take_idle(&KEEP, NOW).is_none());
}

#[test]
fn what_rests_too_long_is_closed_by_measure_and_not_used_meanwhile() {
    let lanes = lanes(1, 5);
    let mut ends = Ends::new();
    for connection in [(); 5].map(|()| first(&lanes[0], &mut ends)) {
        lanes[0].park(connection, &KEEP, None, NOW);
    }
    let closed = |ends: &mut Ends| {
        ends.iter_mut()
            .map(|end| usize::from(end.has_input()))
            .sum::<usize>()
    };
    let late = NOW + KEEP.idle;
    for (most, all, left) in [(3, 3, 0), (0, 3, 0), (4, 5, 2)] {
        let mut closes = most;
        lanes[0].sweep(&KEEP, &mut closes, late);
        assert_eq!((closed(&mut ends), closes), (all, left));
    }
    // What is left over is nobody's.
    let connection = first(&lanes[0], &mut ends);
    lanes[0].park(connection, &KEEP, None, NOW);
    lanes[0].sweep(&KEEP, &mut 0, late);
    assert!(lanes[0].take_idle(&KEEP, late).is_none());
    assert_eq!(closed(&mut ends), 5, "nor closed by who asks for one");
}

/// All sockets rest too long: who asks waits for no sweep.
#[test]
fn what_rests_too_long_makes_room_at_once() {
    let check = |fresh: bool, late: Duration, kept: bool| {
        let lanes = lanes(2, 2);
        let mut ends = Ends::new();
        for connection in [(); 2].map(|()| first(&lanes[0], &mut ends)) {
            lanes[0].park(connection, &KEEP, None, NOW);
        }
        let now = NOW + late;
        let mut place = Box::pin(lanes[0].place(fresh, now));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(place) = place.as_mut().poll(&mut cx) else {
            panic!("it waits: {fresh} {late:?}");
        };
        assert_eq!(matches!(place, Place::Kept(_)), kept, "{fresh} {late:?}");
        let closed: Vec<_> = ends.iter_mut().map(Pipe::has_input).collect();
        // The one that came back first.
        assert_eq!(closed, [!kept, false], "{fresh} {late:?}");
        assert_eq!(lanes[0].backend.sockets.open(), 2);
    };
    check(false, KEEP.idle, false);
    check(true, KEEP.idle, false);
    check(true, Duration::ZERO, false);
    check(false, Duration::ZERO, true);
    // Who waits already has the place before who makes it.
    let lanes = lanes(2, 1);
    let mut ends = Ends::new();
    let connection = first(&lanes[0], &mut ends);
    lanes[0].park(connection, &KEEP, None, NOW);
    let mut other = Waiting::new(&lanes[1]);
    let mut late = Box::pin(lanes[0].place(false, NOW + KEEP.idle));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(late.as_mut().poll(&mut cx).is_pending());
    assert!(other.is_woken() && matches!(other.place(), Place::Free(_)));
}

/// Where nobody comes any more nothing is kept, and what rests closes by measure; who waits elsewhere for a socket is no part of that.
#[test]
fn a_lane_that_is_retired_keeps_nothing() {
    let lanes = lanes(2, 5);
    let mut ends = Ends::new();
    let mut all: Vec<_> = (0..5).map(|_| first(&lanes[0], &mut ends)).collect();
    let last = all.pop().unwrap();
    for connection in all {
        lanes[0].park(connection, &KEEP, None, NOW);
    }
    lanes[0].retire();
    lanes[0].park(last, &KEEP, None, NOW);
    let open = || lanes[0].backend.sockets.open();
    assert_eq!(open(), 4, "it closes as it ends");
    for (most, clear, left) in [(1, false, 3), (0, false, 3)] {
        let mut closes = most;
        assert_eq!(lanes[0].clear(&mut closes, NOW), clear);
        assert_eq!((open(), closes), (left, 0));
    }
    let _two = [(); 2].map(|()| first(&lanes[1], &mut ends));
    let mut waiting = Waiting::new(&lanes[1]);
    assert!(!lanes[0].clear(&mut 0, NOW));
    assert!(matches!(waiting.place(), Place::Free(_)));
    let mut closes = 9;
    assert!(lanes[0].clear(&mut closes, NOW));
    assert_eq!((open(), closes), (2, 7));
}

#[test]
fn what_has_ended_or_may_not_be_kept_is_not_handed_on() {
    for (told, end, how) in [
        (Some(1), false, KEEP),
        (None, true, KEEP),
        (
            None,
            false,
            UpstreamPlan {
                idle_most: 0,
                ..KEEP
            },
        ),
        (
            None,
            false,
            UpstreamPlan {
                requests: NonZeroUsize::new(1),
                ..KEEP
            },
        ),
    ] {
        let lanes = lanes(1, 1);
        let mut ends = Ends::new();
        let connection = first(&lanes[0], &mut ends);
        let mut next = Waiting::new(&lanes[0]);
        if end {
            ends.clear();
        }
        lanes[0].park(connection, &how, told, NOW);
        assert!(
            matches!(next.place(), Place::Free(_)),
            "{told:?} {end} {how:?}"
        );
    }
    // Who wants a fresh one is called for it.
    let lanes = lanes(1, 1);
    let mut ends = Ends::new();
    let connection = first(&lanes[0], &mut ends);
    let mut fresh = Box::pin(lanes[0].place(true, NOW));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(fresh.as_mut().poll(&mut cx).is_pending());
    lanes[0].park(connection, &KEEP, None, NOW);
    assert!(matches!(
        fresh.as_mut().poll(&mut cx),
        Poll::Ready(Place::Free(_))
    ));
}

/// So many exchanges under a limit of 2, by workers with these numbers of clients, each of which asks again at once: how many
/// connections that takes, and how many exchanges each worker had.
fn saturated(clients: &[usize], exchanges: usize) -> (usize, Vec<usize>) {
    let lanes = lanes(clients.len(), 2);
    let (mut ends, mut had) = (Ends::new(), vec![0; clients.len()]);
    let mut under_way: VecDeque<_> = (0..2).map(|_| (0, first(&lanes[0], &mut ends))).collect();
    let mut waiting: Vec<_> = (0..clients.iter().copied().max().unwrap_or(0))
        .flat_map(|row| (0..clients.len()).filter(move |&at| row < clients[at]))
        .map(|at| (at, Waiting::new(&lanes[at])))
        .collect();
    for _ in 0..exchanges {
        let (at, connection) = under_way.pop_front().unwrap();
        lanes[at].park(connection, &KEEP, None, NOW);
        let next = waiting.iter().position(|(_, one)| one.is_woken()).unwrap();
        let (next, mut one) = waiting.remove(next);
        had[next] += 1;
        under_way.push_back((next, begin(one.place(), &mut ends)));
        drop(one);
        waiting.push((next, Waiting::new(&lanes[next])));
        let open = ends
            .iter_mut()
            .filter_map(|end| (!end.has_input()).then_some(()))
            .count();
        assert!(open <= 2, "{open} are open at once");
    }
    (ends.len(), had)
}

#[test]
fn a_saturated_backend_keeps_its_connections() {
    assert_eq!(saturated(&[6], 10_000).0, 2);
    let (opened, had) = saturated(&[6, 6], 10_000);
    // The first two, and one for each turn of the other worker.
    assert!(opened <= 2 + 10_000 / ROW_MOST, "{opened}");
    assert!(had.iter().all(|&had| had > 1_000), "{had:?}");
}
