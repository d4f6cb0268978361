//! What failing over leaves in the counters: how often, with which end, how long; and what backends took to their heads.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_proxy::observation::{StageCounters, Stages};
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::sock::pipe::Pipe;

use crate::plan::plan;
use crate::world::{Backend, Deed, OK, World, addresses};
use Deed::{Refuse, Reset, Say, Silence};

const GET: &[&str] = &["GET / HTTP/1.1\r\nHost: a\r\n\r\n"];

fn world(deeds: &[&[Deed]]) -> World {
    let mut plan = plan(&addresses(deeds.len()));
    plan.services[0].settings.breaker = None;
    let backends = deeds.iter().map(|deeds| Backend::doing(deeds));
    World::new(plan, backends.collect())
}

fn stages(world: &World) -> Stages {
    StageCounters::together(world.state.counters.iter().map(|row| &row.stages))
}

#[test]
fn an_exchange_that_goes_on_after_a_failure_says_how_long_and_with_which_end() {
    let check = |deeds: &[&[Deed]], ends: [u64; 3], waits: bool| {
        let world = world(deeds);
        world.ask(GET);
        let stages = stages(&world);
        let words: Vec<_> = ["served", "failed", "left"].into_iter().zip(ends).collect();
        assert_eq!(stages.failovers, words, "{deeds:?}");
        // Of those that were served: nothing else takes time in this world than the wait for the same backend.
        let took = if ends[0] > 0 {
            world.elapsed()
        } else {
            Duration::ZERO
        };
        assert_eq!(
            (stages.failover.count(), stages.failover.sum),
            (ends[0], took),
            "{deeds:?}"
        );
        assert_eq!(took > Duration::ZERO, waits, "{deeds:?}");
    };
    check(&[&[]], [0, 0, 0], false);
    check(&[&[Reset], &[]], [1, 0, 0], false);
    check(&[&[Refuse], &[]], [1, 0, 0], false);
    check(&[&[Reset]], [1, 0, 0], true);
    check(&[&[Reset, Reset]], [1, 0, 0], true);
    check(&[&[Reset, Reset, Reset]], [0, 1, 0], false);
}

/// What comes between the failure and the answer belongs to it: here the wait for a socket of the backend that is left.
#[test]
fn failing_over_takes_as_long_as_its_client_waits() {
    let mut plan = plan(&addresses(2));
    plan.services[0].settings.breaker = None;
    for backend in Arc::make_mut(&mut plan.services[0].backends) {
        backend.max_connections = NonZeroUsize::new(1);
    }
    let backends = [&[Silence, Say(OK)][..], &[Reset]].map(Backend::doing);
    let world = World::new(plan, backends.into());
    // The one that says nothing is the holder's, which has the only socket there.
    let mut holder = world.client();
    let mut client = world.client();
    for one in [&mut holder, &mut client] {
        one.write(GET[0]);
        world.settle(one);
    }
    let asked: Vec<_> = world.got().iter().map(Vec::len).collect();
    assert_eq!(asked, [0, 1], "the first has not read all");
    let before = world.elapsed();
    world.pass(Duration::from_millis(70));
    holder.pipe.cut();
    holder.pipe = Pipe::pair(1).0;
    world.settle(&mut holder);
    world.hear(&mut client);
    assert!(client.heard.ends_with("hello"), "{}", client.heard);
    let stages = stages(&world);
    let waited = Duration::from_millis(70);
    assert!(world.elapsed() - before >= waited);
    assert_eq!(stages.failover.sum, world.elapsed() - before);
    assert_eq!(stages.queue.sum, stages.failover.sum);
}

#[test]
fn heads_are_those_of_the_backend_that_answered() {
    let world = world(&[&[Refuse], &[]]);
    for _ in 0..3 {
        assert!(world.ask(GET).ends_with("hello"));
    }
    let asked: Vec<u64> = world.got().iter().map(|got| got.len() as u64).collect();
    let of = |port: u16| {
        let id = BackendId::from(format!("127.0.0.1:{port}"));
        world.state.reached(&id).unwrap().heads.together().count()
    };
    // The last address is the first backend of this world, and its one refusal has no head.
    assert_eq!([of(2), of(1)], [asked[0] - 1, asked[1]]);
    let stages = stages(&world);
    assert_eq!((stages.head.count(), stages.queue.count()), (3, 0));
}

/// So many that chance, which is the same at each run, has timed some of them and few.
#[test]
fn some_decisions_are_timed() {
    let world = world(&[&[], &[]]);
    for _ in 0..640 {
        world.ask(GET);
    }
    let timed = stages(&world).decision.count();
    assert!((2..=30).contains(&timed), "{timed} of 640");
}
