use std::time::Duration;

use evenkeel_balance::settings::QueueSettings;
use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_proxy::sock::Sock;

use crate::plan::plan;
use crate::world::{Backend, Deed, OK, World, addresses};
use Deed::{Black, Continue, NoDescriptors, Refuse, Reset, Say, SayClose, SayLate, Silence};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HALF: &str = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbo";

const CHUNKS: &str = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n";
const EXPECT: &str =
    "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

/// What becomes of a client before its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Waits,
    /// Its connection is cut.
    Cut,
    /// It sends this and waits.
    Goes(&'static str),
}

fn of(deed: Deed, tune: impl Fn(&mut Plan)) -> World {
    let mut plan = plan(&addresses(1));
    let settings = &mut plan.services[0].settings;
    settings.breaker = None;
    settings.retry.attempts = 1;
    tune(&mut plan);
    World::new(plan, vec![Backend::always(deed)])
}

/// Failures that are held against the backend, and attempts that say nothing of it.
#[track_caller]
fn check(deed: Deed, request: &str, client: Client, (failed, learned): (u64, u64)) {
    let world = of(deed, |_| ());
    let mut asking = world.client();
    asking.write(request);
    world.settle(&mut asking);
    match client {
        Client::Waits => {}
        Client::Cut => {
            asking.pipe.cut();
            drop(std::mem::replace(
                &mut asking.pipe,
                evenkeel_proxy::sock::pipe::Pipe::pair(1).0,
            ));
        }
        Client::Goes(on) => asking.write(on),
    }
    world.hear(&mut asking);
    drop(asking);
    let snapshot = world.state.service.snapshot(Instant::ZERO);
    let counts = snapshot.backends[0].counts;
    let told = format!("{deed:?}, {request:?}, {client:?}: {counts:?}");
    assert_eq!(counts.picked, 1, "{told}");
    assert_eq!(counts.failed, failed, "{told}");
    assert_eq!(counts.failed + counts.succeeded, learned, "{told}");
    world.state.service.laws().unwrap();
}

#[test]
fn what_is_held_against_a_backend() {
    use Client::{Cut, Goes, Waits};
    const FAULT: (u64, u64) = (1, 1);
    const FINE: (u64, u64) = (0, 1);
    const NOTHING: (u64, u64) = (0, 0);
    let says = |status: &'static str| {
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        Say(text.leak())
    };
    check(Say(OK), GET, Waits, FINE);
    // What it does.
    check(Refuse, GET, Waits, FAULT);
    check(Black, GET, Waits, FAULT);
    check(Reset, GET, Waits, FAULT);
    check(Silence, GET, Waits, FAULT);
    check(Say("what?\r\n\r\n"), GET, Waits, FAULT);
    check(says("500"), GET, Waits, FAULT);
    check(says("502"), GET, Waits, FAULT);
    check(says("503"), GET, Waits, FAULT);
    check(says("504"), GET, Waits, FAULT);
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this";
    check(SayClose(half), GET, Waits, FAULT);
    // What it says of the request, and of what it cannot do.
    check(says("404"), GET, Waits, NOTHING);
    check(says("429"), GET, Waits, NOTHING);
    check(says("501"), GET, Waits, NOTHING);
    // What its client does.
    check(Silence, GET, Cut, NOTHING);
    check(Black, GET, Cut, NOTHING);
    check(Silence, HALF, Cut, NOTHING);
    check(Silence, HALF, Waits, NOTHING);
    // Whether it is to send its body is for the backend to say; then it is for the client to send it.
    check(Silence, EXPECT, Waits, FAULT);
    check(Silence, EXPECT, Cut, NOTHING);
    check(Silence, EXPECT, Goes("bo"), NOTHING);
    check(Continue(OK), EXPECT, Waits, NOTHING);
    check(Silence, CHUNKS, Goes("what?"), NOTHING);
    check(Say(half), GET, Cut, FINE);
}

/// Nobody is blamed who was given less time than is his, since others had used it up.
#[test]
fn whoever_is_hurried_is_not_to_blame() {
    let world = of(Silence, |plan| {
        let service = &mut plan.services[0];
        service.settings.retry.attempts = 3;
        service.settings.retry.backoff_base = Duration::ZERO;
        let limits = &mut service.limits;
        (limits.per_try, limits.exchange) = (Duration::from_secs(2), Duration::from_secs(3));
    });
    assert!(world.ask(&[GET]).ends_with("backend_timeout\n"));
    let counts = world.state.service.snapshot(Instant::ZERO).backends[0].counts;
    assert_eq!((counts.picked, counts.failed), (2, 1));
    let world = of(Black, |plan| {
        let service = &mut plan.services[0];
        service.settings.retry.attempts = 3;
        service.settings.retry.backoff_base = Duration::ZERO;
        let limits = &mut service.limits;
        (limits.connect, limits.exchange) = (Duration::from_secs(2), Duration::from_secs(3));
    });
    assert!(world.ask(&[GET]).ends_with("connect_failed\n"));
    let counts = world.state.service.snapshot(Instant::ZERO).backends[0].counts;
    assert_eq!((counts.picked, counts.failed), (2, 1));
}

/// Nor is who was given less by a rule than an attempt may take, unless that was long for what is usual there.
#[test]
fn a_rule_s_hurry_is_not_the_backend_s_failure() {
    let check = |first: Option<Deed>, then: Deed, ms: u64, failed: u64| {
        let mut plan = plan(&addresses(1));
        let settings = &mut plan.services[0].settings;
        settings.breaker = None;
        settings.retry.attempts = 1;
        let limits = &mut plan.services[0].limits;
        (limits.per_try, limits.connect) = (Duration::from_secs(2), Duration::from_secs(2));
        plan.services[0].upstream.idle_most = 0;
        plan.rules[0].exchange = Some(Duration::from_millis(ms));
        let deeds: Vec<Deed> = first.into_iter().chain([then]).collect();
        let world = World::new(plan, vec![Backend::doing(&deeds)]);
        if first.is_some() {
            assert!(world.ask(&[GET]).ends_with("hello"));
        }
        let heard = world.ask(&[GET]);
        let counts = world.state.service.snapshot(Instant::ZERO).backends[0].counts;
        assert_eq!(counts.failed, failed, "{deeds:?} {ms}: {heard}");
        world.state.service.laws().unwrap();
    };
    for silent in [Silence, Black] {
        check(None, silent, 50, 0);
        check(None, silent, 1_500, 0);
        check(None, silent, 2_500, 1);
        check(Some(Say(OK)), silent, 50, 0);
        check(Some(Say(OK)), silent, 150, 1);
        check(Some(SayLate(OK)), silent, 150, 0);
        check(Some(SayLate(OK)), silent, 1_500, 1);
    }
    // What it does at once is its own.
    check(None, Reset, 50, 1);
    check(None, Refuse, 50, 1);
}

/// A limit of ours says nothing of a backend, however often it is met: each is met twenty times, beside one who holds what there is.
#[test]
fn our_own_limits_are_held_against_nobody() {
    let check =
        |tune: &dyn Fn(&mut Plan), deed: Deed, request: &str, (end, failed): (&str, bool)| {
            let mut plan = plan(&addresses(2));
            plan.services[0].settings.retry.attempts = 1;
            plan.services[0].limits.connect = Duration::from_secs(1);
            tune(&mut plan);
            let world = World::new(plan, vec![Backend::always(deed), Backend::always(deed)]);
            // Both backends.
            let holders: Vec<_> = std::iter::repeat_with(|| {
                let mut holder = world.client();
                holder.write(GET);
                world.settle(&mut holder);
                holder
            })
            .take(2)
            .collect();
            for _ in 0..20 {
                let heard = world.ask(&[request]);
                assert!(heard.ends_with(end), "{deed:?} {request:?}: {heard}");
                world.pass(Duration::from_millis(100));
            }
            let backends = world.state.service.snapshot(Instant::ZERO).backends;
            for one in &backends {
                let told = format!("{deed:?} {request:?} {end:?}: {:?}", one.counts);
                assert_eq!(one.counts.failed > 0, failed, "{told}");
                assert_eq!(one.counts.succeeded, 0, "{told}");
            }
            drop(holders);
            world.state.service.laws().unwrap();
        };
    let none = |_: &mut Plan| ();
    let one = std::num::NonZeroUsize::new(1);
    check(
        &|plan| {
            for backend in std::sync::Arc::make_mut(&mut plan.services[0].backends) {
                backend.max_connections = one;
            }
        },
        Silence,
        GET,
        ("max_connections\n", false),
    );
    check(
        &|plan| plan.services[0].settings.max_in_flight = std::num::NonZeroU32::new(2),
        Silence,
        GET,
        ("all_full\n", false),
    );
    check(
        &|plan| {
            let settings = &mut plan.services[0].settings;
            settings.max_in_flight = std::num::NonZeroU32::new(2);
            settings.queue = Some(
                QueueSettings::default()
                    .length(9)
                    .timeout(Duration::from_millis(100)),
            );
            plan.services[0].limits.per_try = Duration::from_secs(1000);
            plan.services[0].limits.exchange = Duration::from_secs(1000);
        },
        Silence,
        GET,
        ("queue_timeout\n", false),
    );
    check(&none, NoDescriptors, GET, ("local_resources\n", false));
    check(
        &|plan| plan.rules[0].body = Some(1),
        Silence,
        CHUNKS,
        ("body_too_large\n", false),
    );
    check(
        &|plan| plan.rules[0].idle_body = Some(Duration::from_secs(1)),
        Silence,
        HALF,
        ("body_timeout\n", false),
    );
    // What is the backend's shows here, too.
    check(&none, Refuse, GET, ("connect_failed\n", true));
    check(&none, Reset, GET, ("backend_reset\n", true));
}

/// Waiting for a place of ours is none of the time that a backend has.
#[test]
fn waiting_for_a_socket_is_not_the_backends_time() {
    let world = of(Silence, |plan| {
        let service = &mut plan.services[0];
        service.settings.retry.attempts = 1;
        std::sync::Arc::make_mut(&mut service.backends)[0].max_connections =
            std::num::NonZeroUsize::new(1);
        service.limits.per_try = Duration::from_secs(1);
    });
    let mut holder = world.client();
    holder.write(GET);
    world.settle(&mut holder);
    let mut waits = world.client();
    waits.write(GET);
    world.settle(&mut waits);
    world.pass(Duration::from_millis(900));
    drop(holder);
    world.hear(&mut waits);
    assert!(
        waits.heard.ends_with("backend_timeout\n"),
        "{}",
        waits.heard
    );
    // 900 ms in the line, and all of its own second.
    assert!(
        world.elapsed() >= Duration::from_millis(1_900),
        "{:?}",
        world.elapsed()
    );
}
