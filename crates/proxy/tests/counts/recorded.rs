use std::task::{Context, Waker};
use std::time::Duration;

use evenkeel_proxy::reason::Reason;
use evenkeel_proxy::record::{Record, Text};
use evenkeel_proxy::sock::Sock;

use crate::counting::allocations;
use crate::plan::plan;
use crate::world::{Client, World, recorded, turn};
use crate::{ANSWER, REQUEST};

fn text(record: &Record<'_>, text: Text) -> Option<String> {
    let bytes = record.text(text)?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

#[test]
fn writing_an_exchange_down_allocates_nothing_and_calls_nobody() {
    let (mut world, recorded) = World::recording();
    let mut client = world.connect();
    let mut rows = 0;
    // Batches grow once, and go round.
    for _ in 0..1_000 {
        world.exchange(&mut client, REQUEST, ANSWER);
        recorded.each(|_| rows += 1);
    }
    let calls = world.calls();
    let asked = allocations(|| {
        for _ in 0..1_000 {
            world.exchange(&mut client, REQUEST, ANSWER);
            recorded.each(|_| rows += 1);
        }
    });
    assert_eq!(asked, 0, "allocations in 1,000 exchanges");
    assert_eq!(world.calls() - calls, 4_000);
    world.pass(Duration::ZERO);
    recorded.each(|_| rows += 1);
    assert_eq!((rows, recorded.outlet.dropped()), (2_000, 0));
}

#[test]
fn a_record_tells_all_that_is_known() {
    let (mut world, recorded) = World::recording();
    let mut client = world.connect();
    world.exchange(&mut client, REQUEST, ANSWER);
    assert_eq!(recorded.each(|_| ()), 0, "handed on before its time");
    world.pass(Duration::ZERO);
    let mut seen = 0;
    recorded.each(|record| {
        seen += 1;
        for (of, expect) in [
            (Text::Listener, Some("web")),
            (Text::Rule, Some("all")),
            (Text::Service, Some("api")),
            (Text::Backend, Some("127.0.0.1:1")),
            (Text::Method, Some("GET")),
            (Text::Host, Some("www.example.com")),
            (Text::Path, Some("/some/path")),
            (Text::Query, Some("with=query")),
            (Text::Referer, None),
            (Text::Agent, Some("counts")),
        ] {
            assert_eq!(text(&record, of).as_deref(), expect, "{of:?}");
        }
        assert_eq!(record.text(Text::RequestId).unwrap().len(), 32);
        assert_eq!(record.text(Text::TraceId).unwrap().len(), 32);
        let one = record.seen();
        assert_eq!((one.status, one.reason), (200, Reason::Served));
        assert_eq!((one.attempts, one.received, one.sent), (1, 0, 5));
        assert_eq!(one.head_received, REQUEST.len());
        assert_eq!(one.connect, Some(Duration::ZERO));
        assert_eq!(one.head, Some(Duration::ZERO));
    });
    assert_eq!(seen, 1);
}

#[test]
fn what_finds_no_room_is_dropped_and_counted() {
    let (mut world, recorded) = World::recording();
    let mut client = world.connect();
    const EXCHANGES: u64 = 10_000;
    for _ in 0..EXCHANGES {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    let dropped = recorded.outlet.dropped();
    assert!((1..EXCHANGES).contains(&dropped), "{dropped} dropped");
    let mut rows = 0;
    recorded.each(|_| rows += 1);
    world.pass(Duration::ZERO);
    recorded.each(|_| rows += 1);
    assert_eq!(rows, EXCHANGES - dropped);
}

#[test]
fn what_a_worker_holds_outlives_it() {
    let (mut world, recorded) = World::recording();
    let mut client = world.connect();
    while recorded.outlet.dropped() == 0 {
        world.exchange(&mut client, REQUEST, ANSWER);
    }
    drop((client, world));
    let left = recorded.outlet.take_left();
    let rows: Vec<_> = left.iter().map(|batch| batch.len()).collect();
    assert_eq!(rows.len(), 1);
    assert!(rows[0] > 0);
}

#[test]
fn a_record_of_a_head_that_was_not_understood_shows_nothing_of_the_one_before() {
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    plan.listeners[0].half_close = false;
    let (published, recorded) = recorded(plan);
    let world = World::over(published);
    for (sent, status, path) in [
        ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 0, Some("/a")),
        ("GET  / HTTP/1.1\r\n\r\n", 400, None),
        ("GET /half HTTP/1.1\r\nHo", 0, None),
    ] {
        let Client {
            mut pipe,
            mut served,
        } = world.connect();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pipe.poll_write(&mut cx, sent.as_bytes()).is_ready());
        let _ = turn(&mut served);
        drop(pipe);
        let _ = turn(&mut served);
        world.pass(Duration::ZERO);
        let mut rows = 0;
        recorded.each(|record| {
            rows += 1;
            assert_eq!(record.seen().status, status, "{sent:?}");
            assert_eq!(text(&record, Text::Path).as_deref(), path, "{sent:?}");
            assert_eq!(record.seen().head_received, sent.len(), "{sent:?}");
        });
        assert_eq!(rows, 1, "{sent:?}");
    }
}
