use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_balance::event::Listener;
use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_proxy::live::Live;
use evenkeel_proxy::observation::{
    Durations, LATENCY_BOUNDS, PASSED_BOUNDS, PassedCounters, by_reason,
};
use evenkeel_proxy::record::Text;
use evenkeel_proxy::sock::Sock;

use crate::counting::bytes_kept;
use crate::going::Scene;
use crate::late::reads;
use crate::plan::plan;
use crate::world::{Client, NOW, World, recorded, turn};
use crate::{ANSWER, REQUEST, reached};

const SECOND: Duration = Duration::from_secs(1);
const UPGRADE: &[u8] = b"GET /chat?room=1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A plan of which every deadline is another: a tunnel rests 40 s at its listener, 30 s at its service.
fn timed() -> Plan {
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    let limits = &mut plan.listeners[0].limits;
    (limits.idle_body, limits.tunnel) = (SECOND * 20, SECOND * 40);
    let limits = &mut plan.services[0].limits;
    (limits.idle_body, limits.tunnel) = (SECOND * 15, SECOND * 30);
    plan
}

/// A tunnel that stands.
fn open(plan: Plan) -> (Scene, Client) {
    let mut scene = Scene::of(plan);
    let mut client = scene.world.connect();
    switch(&mut scene, &mut client);
    (scene, client)
}

fn switch(scene: &mut Scene, client: &mut Client) {
    assert!(scene.send(client, UPGRADE));
    assert!(!scene.backend_reads().unwrap().is_empty());
    assert!(!scene.backend_says(client, SWITCHED).is_empty());
}

fn counters(scene: &Scene, look: impl Fn(&PassedCounters) -> u64) -> u64 {
    look(&scene.published.load().services[0].state.counters[0].tunnels)
}

fn in_flight(scene: &Scene) -> u32 {
    let state = &scene.published.load().services[0].state;
    let seen = state.service.snapshot(Instant::from_nanos(NOW.as_nanos()));
    seen.backends[0].counts.in_flight
}

/// What the backend reads now. None: nothing; an error: the connection was cut.
fn backend_reads(scene: &Scene) -> Option<Result<String, ()>> {
    reads(scene.world.backend.borrow_mut().last_mut().unwrap())
}

/// It goes on until so much time has gone by, and is cut then at both ends, for this reason.
#[track_caller]
fn ends_after(scene: &Scene, mut client: Client, seconds: u32, reason: &'static str) {
    scene.world.pass(SECOND * (seconds - 1));
    assert!(turn(&mut client.served).is_pending(), "ended too early");
    assert_eq!(in_flight(scene), 1);
    scene.world.pass(SECOND);
    assert!(turn(&mut client.served).is_ready(), "goes on");
    drop(client.served);
    while let Some(Ok(_)) = reads(&mut client.pipe) {}
    assert_eq!(reads(&mut client.pipe), Some(Err(())), "no cut");
    assert_eq!(backend_reads(scene), Some(Err(())), "no cut");
    let counted = by_reason(&scene.published.load().services[0].state.counters);
    assert_eq!(counted, [(reason, 1)]);
    assert_eq!(in_flight(scene), 0);
}

#[test]
fn a_tunnel_rests_as_long_as_its_rule_or_the_shorter_of_the_others_allows() {
    for (rule, listener, seconds) in [
        (None, 40, 30),
        (None, 10, 10),
        (Some(SECOND * 3600), 40, 3600),
        (Some(SECOND * 2), 40, 2),
    ] {
        let mut plan = timed();
        plan.rules[0].beside.tunnel = rule;
        plan.listeners[0].limits.tunnel = SECOND * listener;
        // A body's is another.
        plan.rules[0].idle_body = Some(SECOND * 5);
        let (scene, client) = open(plan);
        ends_after(&scene, client, seconds, "idle_timeout");
    }
}

#[test]
fn a_byte_either_way_keeps_it() {
    let (mut scene, mut client) = open(timed());
    for _ in 0..3 {
        scene.world.pass(SECOND * 29);
        assert!(scene.send(&mut client, b"ping"));
        assert_eq!(backend_reads(&scene), Some(Ok("ping".into())));
        scene.world.pass(SECOND * 29);
        assert_eq!(scene.backend_says(&mut client, b"pong"), b"pong");
    }
    ends_after(&scene, client, 30, "idle_timeout");
}

#[test]
fn one_half_alone_rests_no_longer_than_a_body() {
    let (mut scene, mut client) = open(timed());
    assert!(scene.half_close(&mut client));
    assert_eq!(backend_reads(&scene), Some(Ok(String::new())));
    scene.world.pass(SECOND * 19);
    assert_eq!(scene.backend_says(&mut client, b"late"), b"late");
    ends_after(&scene, client, 20, "idle_timeout");
}

/// Whoever takes nothing holds what is on its way to it for as long as a body's write may rest, pings or not.
#[test]
fn who_takes_nothing_is_not_waited_for_as_long_as_who_is_silent() {
    let (mut scene, mut client) = open(timed());
    let mut cx = Context::from_waker(Waker::noop());
    let mut said = 0;
    loop {
        let mut ends = scene.world.backend.borrow_mut();
        let Poll::Ready(written) = ends.last_mut().unwrap().poll_write(&mut cx, &[b'x'; 4096])
        else {
            break;
        };
        said += written.unwrap();
        drop(ends);
        assert!(turn(&mut client.served).is_pending());
    }
    // A pipe's room on both sides, and one of our buffers.
    let most = (16 + 16 + 256) * 1024;
    assert!((32 * 1024..=most).contains(&said), "{said}");
    for _ in 0..19 {
        scene.world.pass(SECOND);
        assert!(scene.send(&mut client, b"ping"));
        assert!(backend_reads(&scene).is_some());
    }
    ends_after(&scene, client, 1, "client_stalled");
}

#[test]
fn a_tunnel_that_breaks_at_one_end_is_cut_at_the_other() {
    let (scene, mut client) = open(timed());
    scene.world.backend.borrow_mut().pop().unwrap().cut();
    assert!(turn(&mut client.served).is_ready());
    drop(client.served);
    assert_eq!(reads(&mut client.pipe), Some(Err(())));
    let counted = || by_reason(&scene.published.load().services[0].state.counters);
    assert_eq!(counted(), [("body_broken", 1)]);

    let (mut scene, client) = open(timed());
    assert!(!scene.leave(client, true));
    assert_eq!(backend_reads(&scene), Some(Err(())));
    let counted = by_reason(&scene.published.load().services[0].state.counters);
    assert_eq!(counted, [("client_left", 1)]);
}

#[test]
fn a_protocol_that_was_not_asked_for_is_no_answer() {
    for (asked, told, taken) in [
        ("websocket", "Upgrade: WebSocket\r\n", true),
        ("echo/1.0", "Upgrade: echo\r\n", true),
        ("websocket", "", true),
        ("websocket", "Upgrade: h2c\r\n", false),
        ("websocket", "Upgrade: websocket\r\nUpgrade: h2c\r\n", false),
        ("websocket", "Upgrade: websocket, h2c\r\n", false),
        ("h2c", "Upgrade: h2c\r\n", false),
    ] {
        let mut scene = Scene::of(timed());
        let mut client = scene.world.connect();
        let asks =
            format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {asked}\r\n\r\n");
        assert!(scene.send(&mut client, asks.as_bytes()));
        assert!(!scene.backend_reads().unwrap().is_empty());
        let says = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n{told}\r\n");
        let got = String::from_utf8(scene.backend_says(&mut client, says.as_bytes())).unwrap();
        let begin = if taken {
            "HTTP/1.1 101 "
        } else {
            "HTTP/1.1 502 "
        };
        assert!(got.starts_with(begin), "{asked} {told:?}: {got}");
    }
}

#[test]
fn what_goes_through_is_counted_as_it_goes() {
    let (mut scene, mut client) = open(timed());
    assert_eq!(counters(&scene, |one| one.opened.get()), 1);
    scene.world.pass(SECOND * 10);
    assert!(scene.send(&mut client, b"12345"));
    assert_eq!(backend_reads(&scene), Some(Ok("12345".into())));
    assert_eq!(scene.backend_says(&mut client, b"abc"), b"abc");
    let bytes = |scene: &Scene| {
        (
            counters(scene, |one| one.received.get()),
            counters(scene, |one| one.sent.get()),
        )
    };
    assert_eq!(bytes(&scene), (5, 3));
    assert_eq!(in_flight(&scene), 1);
    // Both end as they should.
    assert!(scene.half_close(&mut client));
    let mut cx = Context::from_waker(Waker::noop());
    let mut ends = scene.world.backend.borrow_mut();
    assert!(ends.last_mut().unwrap().poll_shutdown(&mut cx).is_ready());
    drop(ends);
    assert!(turn(&mut client.served).is_ready());
    assert_eq!(reads(&mut client.pipe), Some(Ok(String::new())));
    assert_eq!(bytes(&scene), (5, 3));
    assert_eq!(counters(&scene, |one| one.closed.get()), 1);
    let live = scene.published.load();
    let row = &live.services[0].state.counters[0];
    assert_eq!((row.received.get(), row.sent.get()), (5, 3));
    assert_eq!(row.classes[1].get(), 1);
    assert_eq!(by_reason(std::slice::from_ref(row)), [("served", 1)]);
    // 10 s: up to 10 s, as a tunnel; nothing as a latency.
    let lasted = Durations::together(&PASSED_BOUNDS, [&row.tunnels.lasted].into_iter());
    assert_eq!(
        (lasted.buckets[1], lasted.sum),
        ((10.0, 1), Duration::from_secs(10))
    );
    let latency = Durations::together(&LATENCY_BOUNDS, [&row.latency].into_iter());
    assert_eq!((latency.buckets[0].1, latency.sum), (1, Duration::ZERO));
    assert_eq!(in_flight(&scene), 0);
}

/// A reload takes listener, rule, service and backend away: the tunnel goes on, and holds nothing of the plan before.
#[test]
fn a_plan_that_has_changed_is_not_held() {
    let (mut scene, mut client) = open(timed());
    let before = Arc::downgrade(&scene.published.load());
    let events: Arc<dyn Listener> = Arc::new(());
    let mut next = plan(&[([127, 0, 0, 1], 2).into()]);
    next.services[0].name = "other".into();
    next.listeners[0].name = "elsewhere".into();
    let live = Live::join(next, Some(&scene.published.load()), 1, &events, NOW);
    scene.published.store(live);
    // The worker's own view is of the newest plan from its next look on.
    scene.world.pass(Duration::ZERO);
    scene.published.forget();
    assert!(before.upgrade().is_none(), "the plan before is held");
    assert!(scene.send(&mut client, b"still here"));
    assert_eq!(backend_reads(&scene), Some(Ok("still here".into())));
    assert_eq!(scene.backend_says(&mut client, b"yes"), b"yes");
}

#[test]
fn a_tunnel_has_one_record_when_it_ends() {
    let (published, recorded) = recorded(timed());
    let mut scene = Scene {
        world: World::over(published.clone()),
        published,
    };
    let mut client = scene.world.connect();
    switch(&mut scene, &mut client);
    assert!(scene.send(&mut client, b"12345"));
    assert_eq!(scene.backend_says(&mut client, b"abc"), b"abc");
    scene.world.pass(SECOND * 10);
    recorded.each(|record| panic!("too early: {record:?}"));
    assert!(!scene.leave(client, true));
    scene.world.pass(Duration::ZERO);
    let mut rows = 0;
    recorded.each(|record| {
        rows += 1;
        let seen = record.seen();
        assert_eq!((seen.status, seen.reason.word()), (101, "client_left"));
        assert_eq!((seen.received, seen.sent), (5, 3));
        assert_eq!(
            (seen.total, seen.switched),
            (SECOND * 10, Some(Duration::ZERO))
        );
        for (text, expect) in [
            (Text::Listener, "web"),
            (Text::Rule, "all"),
            (Text::Service, "api"),
            (Text::Backend, "127.0.0.1:1"),
            (Text::Path, "/chat"),
            (Text::Query, "room=1"),
        ] {
            assert_eq!(record.text(text), Some(expect.as_bytes()), "{text:?}");
        }
    });
    assert_eq!(rows, 1);
}

/// What a drain's deadline cuts has its record: a tunnel, an answer of which half is there, a request that waits.
#[test]
fn what_is_cut_is_written_down() {
    let half = &ANSWER[..ANSWER.len() - 2];
    for (asks, says, status, sent, head) in [
        (UPGRADE, SWITCHED, 101, 3, true),
        (REQUEST, half, 200, 3, true),
        (REQUEST, &b""[..], 0, 0, false),
        (&REQUEST[..10], &b""[..], 0, 0, false),
    ] {
        let (published, recorded) = recorded(timed());
        let mut scene = Scene {
            world: World::over(published.clone()),
            published,
        };
        let mut client = scene.world.connect();
        assert!(scene.send(&mut client, asks));
        if head {
            assert!(!scene.backend_reads().unwrap().is_empty());
            assert!(!scene.backend_says(&mut client, says).is_empty());
        }
        if status == 101 {
            scene.backend_says(&mut client, b"abc");
        }
        // As when its worker ends.
        drop(client.served);
        while let Some(Ok(_)) = reads(&mut client.pipe) {}
        assert_eq!(reads(&mut client.pipe), Some(Err(())), "no cut");
        if head {
            assert_eq!(in_flight(&scene), 0);
        }
        scene.world.pass(Duration::ZERO);
        let mut rows = 0;
        recorded.each(|record| {
            rows += 1;
            let seen = record.seen();
            assert_eq!((seen.status, seen.reason.word()), (status, "drained"));
            assert_eq!(seen.sent, sent);
        });
        assert_eq!(rows, 1, "{status}");
    }
}

#[test]
fn a_tunnel_that_waits_holds_little() {
    let mut scene = Scene::of(timed());
    let mut open = |count: usize| -> Vec<Client> {
        let each = |_| {
            let mut client = scene.world.connect();
            switch(&mut scene, &mut client);
            assert!(scene.send(&mut client, &[b'x'; 1000]));
            assert!(backend_reads(&scene).is_some());
            assert_eq!(scene.backend_says(&mut client, &[b'y'; 1000]).len(), 1000);
            client
        };
        (0..count).map(each).collect()
    };
    let warm = open(3);
    let mut clients = Vec::with_capacity(100);
    let kept = bytes_kept(|| clients = open(100));
    // Two pipes: their words, and what their queues grew to.
    let pipes = 100 * (2 * 2 * 128 + 4 * 1024);
    let each = kept.saturating_sub(pipes) / 100;
    reached(each, 2_026, "bytes for a tunnel that waits");
    drop((warm, clients));
}
