//! What a change of 10,000 backends costs a worker between two exchanges: its part must not grow with them.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::Plan;
use evenkeel_config::plan::Protocol;
use evenkeel_proxy::live::{Live, Published};
use evenkeel_proxy::sock::Sock;

use crate::counting::asked_and_freed;
use crate::plan::plan;
use crate::world::{Client, NOW, World, published};
use crate::{ANSWER, REQUEST};

const MANY: u16 = 10_000;

/// Over these of all ports.
fn over(ports: std::ops::Range<u16>) -> Plan {
    let addresses: Vec<_> = ports.map(|port| ([127, 0, 0, 1], port).into()).collect();
    plan(&addresses)
}

/// One part of a sweep, where there are any; or all of one.
fn part(world: &World) {
    match world.worker.has_more_to_sweep() {
        true => world.worker.sweep_part(),
        false => world.worker.sweep(),
    }
}

#[test]
fn a_worker_frees_nothing_of_a_plan_that_was_replaced() {
    let published = published(over(1..MANY));
    let mut world = World::over(published.clone());
    let mut client = world.connect();
    for _ in 0..3 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    let before = Arc::downgrade(&published.load());
    let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
    let half = MANY / 2;
    let next = over(half..MANY + half);
    published.store(Live::join(next, Some(&published.load()), 1, &events, NOW));
    let (asked, freed) = asked_and_freed(|| world.exchange(&mut client, REQUEST, ANSWER));
    // A view, its seats, a connection to another backend and what is counted of it.
    assert_eq!((asked, freed), (15, 6), "allocations and frees");
    // The writer has it until nobody reads it, and frees it then.
    assert!(before.upgrade().is_some());
    published.forget();
    assert!(before.upgrade().is_none(), "it is read still");
}

#[test]
fn connections_to_backends_that_left_are_closed_a_few_at_a_time() {
    let published = published(over(1..MANY));
    let mut world = World::over(published.clone());
    let mut client = world.connect();
    for _ in 0..600 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    let before = open(&world);
    assert!(before > 500, "most are of backends of their own: {before}");
    let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
    // Who left is known until the next change: a pick of before may be on its way.
    for _ in 0..2 {
        let next = over(20_000..20_000 + MANY);
        published.store(Live::join(next, Some(&published.load()), 1, &events, NOW));
    }
    let (_, freed) = asked_and_freed(|| world.exchange(&mut client, REQUEST, ANSWER));
    assert_eq!(freed, 5, "frees");
    let mut left = vec![open(&world)];
    for _ in 0..101 {
        part(&world);
        left.push(open(&world));
        let closed = left[left.len() - 2] - left[left.len() - 1];
        assert!(closed <= 64, "{left:?}");
    }
    assert_eq!(left.last(), Some(&1), "{left:?}");
}

/// How many connections to backends are open on which nobody has asked what is not answered.
fn open(world: &World) -> usize {
    let mut ends = world.backend.borrow_mut();
    ends.iter_mut()
        .map(|end| usize::from(!end.has_input()))
        .sum()
}

/// A plan of one backend with this many sockets.
fn limited(sockets: usize) -> Plan {
    let mut plan = over(1..2);
    let backends = Arc::make_mut(&mut plan.services[0].backends);
    backends[0].max_connections = std::num::NonZeroUsize::new(sockets);
    plan.services[0].upstream.idle_most = sockets;
    plan
}

/// So many exchanges at once, and so many connections that rest behind them; one more exchange is under way.
fn one_under_way(published: &Arc<Published>, resting: usize) -> (World, Vec<Client>) {
    let mut world = World::over(published.clone());
    let mut clients: Vec<_> = (0..=resting).map(|_| world.connect()).collect();
    for client in &mut clients[1..] {
        world.ask(client, REQUEST);
    }
    assert_eq!(world.answer_all(ANSWER), resting);
    // Before the others give their connections back: it needs one of its own.
    world.ask(&mut clients[0], REQUEST);
    for client in &mut clients[1..] {
        world.hear(client);
    }
    assert_eq!(open(&world), resting);
    (world, clients)
}

/// What is open once each part of sweeps is over, until all is swept.
fn swept(world: &World) -> Vec<usize> {
    let mut left = vec![open(world)];
    world.worker.sweep();
    left.push(open(world));
    while world.worker.has_more_to_sweep() {
        world.worker.sweep_part();
        left.push(open(world));
    }
    left
}

/// What happens to a service while an exchange of before holds its plan.
type Change = fn(&mut Plan);

/// Connections that nobody is to ask on any more close by measure though an exchange of before goes on, and each gives its place back.
#[test]
fn connections_that_a_reload_leaves_to_nobody_are_closed_though_an_exchange_goes_on() {
    let check = |name: &str, change: Change, changes: usize| {
        let published = published(limited(200));
        let (mut world, mut clients) = one_under_way(&published, 150);
        let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
        let before = published.load();
        let sockets = before.services[0].state.all()[0].sockets.clone();
        for _ in 0..changes {
            let mut plan = limited(200);
            change(&mut plan);
            published.store(Live::join(plan, Some(&published.load()), 1, &events, NOW));
        }
        assert_eq!(sockets.open(), 151, "{name}");
        assert_eq!(swept(&world), [150, 86, 22, 0], "{name}");
        assert_eq!(sockets.open(), 1, "{name}");
        // The exchange of before ends well, and keeps nothing.
        world.backend.borrow_mut().drain(..150);
        let client = &mut clients[0];
        assert_eq!(world.answer_all(ANSWER), 1);
        world.hear(client);
        assert_eq!((open(&world), sockets.open()), (0, 0), "{name}");
        world.worker.sweep();
        assert!(!world.worker.has_more_to_sweep(), "{name}");
    };
    let other_terms: Change = |plan| {
        plan.services[0].upstream.protocol = Protocol::Auto;
    };
    check("other terms", other_terms, 1);
    let gone: Change = |plan| {
        plan.services[0].name = "another".into();
    };
    check("a service is gone", gone, 1);
    // Who left is known until the next change: a pick of before may be on its way.
    let left: Change = |plan| {
        plan.services[0].backends = over(2..3).services[0].backends.clone();
    };
    check("a backend has left", left, 2);
}

/// What is idle is not used after its time, and closed within a round of a hundred parts of sweeps, a second; to look at all of 10,000 in each would be
/// the dearest part of a worker's work, and to close all that is over in ten looks held requests up.
#[test]
fn idle_connections_to_many_backends_are_swept_in_turns() {
    let published = published(over(1..MANY));
    let mut world = World::over(published);
    let mut client = world.connect();
    for _ in 0..600 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    // That there are many is seen by a whole sweep.
    part(&world);
    let all = open(&world);
    assert!(all > 500, "most are of backends of their own: {all}");
    world.now.set(world.now.get() + Duration::from_secs(60));
    let mut left = vec![all];
    for _ in 0..100 {
        part(&world);
        left.push(open(&world));
    }
    let closed = left.windows(2).map(|pair| pair[0] - pair[1]);
    assert!(
        closed
            .into_iter()
            .all(|closed| (0..=all / 90).contains(&closed)),
        "{left:?}"
    );
    assert_eq!(left.last(), Some(&0));
}

/// What rests too long at a few backends is closed a few at a time as well, and goes on between the sweeps until it is gone: each holds a descriptor.
#[test]
fn what_a_burst_left_at_few_backends_is_gone_soon() {
    let mut world = World::over(published(over(1..3)));
    let mut clients: Vec<_> = (0..300).map(|_| world.connect()).collect();
    for client in &mut clients {
        world.ask(client, REQUEST);
    }
    assert_eq!(world.answer_all(ANSWER), 300);
    for client in &mut clients {
        world.hear(client);
    }
    let all = open(&world);
    world.now.set(world.now.get() + Duration::from_secs(60));
    world.worker.sweep();
    let mut left = vec![open(&world)];
    while world.worker.has_more_to_sweep() {
        world.worker.sweep_part();
        left.push(open(&world));
    }
    let steps = (0..=all).rev().step_by(64).skip(1);
    assert_eq!(left, steps.chain([0]).collect::<Vec<_>>());
}
