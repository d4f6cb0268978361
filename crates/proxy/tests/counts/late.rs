use std::collections::HashSet;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_config::Plan;
use evenkeel_proxy::sock::Sock;

use crate::going::Scene;
use crate::plan::plan;
use crate::world::{Client, World, published, turn};
use crate::{ANSWER, REQUEST};

const SECOND: Duration = Duration::from_secs(1);

/// A plan of which every deadline is another.
fn timed() -> Plan {
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    let limits = &mut plan.listeners[0].limits;
    (limits.head_within, limits.idle_body) = (SECOND * 10, SECOND * 20);
    let limits = &mut plan.services[0].limits;
    (limits.per_try, limits.idle_body) = (SECOND * 30, SECOND * 15);
    plan.services[0].settings.retry.attempts = 1;
    plan
}

/// What a client reads now. None: nothing; an error: the connection was cut.
pub(crate) fn reads(pipe: &mut impl Sock) -> Option<Result<String, ()>> {
    let mut room = [0; 4096];
    match pipe.poll_read(&mut Context::from_waker(Waker::noop()), &mut room) {
        Poll::Ready(Ok(length)) => Some(Ok(String::from_utf8_lossy(&room[..length]).into())),
        Poll::Ready(Err(_)) => Some(Err(())),
        Poll::Pending => None,
    }
}

/// Nothing is said until so much time has gone by.
#[track_caller]
fn silent_until(
    scene: &Scene,
    client: &mut Client,
    deadline: Duration,
) -> Option<Result<String, ()>> {
    scene.world.pass(deadline - SECOND);
    assert!(turn(&mut client.served).is_pending());
    assert_eq!(reads(&mut client.pipe), None, "before {deadline:?}");
    scene.world.pass(SECOND);
    let _ = turn(&mut client.served);
    reads(&mut client.pipe)
}

/// What a client is told that sends this and nothing more.
#[track_caller]
fn told(sent: &[u8], deadline: Duration, status: &str, word: &str) {
    let mut scene = Scene::of(timed());
    let mut client = scene.world.connect();
    assert!(scene.send(&mut client, sent));
    let got = silent_until(&scene, &mut client, deadline)
        .unwrap()
        .unwrap();
    assert!(got.starts_with(status), "{got}");
    assert!(got.ends_with(word), "{got}");
}

#[test]
fn whoever_is_late_is_named() {
    const HALF: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhi";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    told(
        &REQUEST[..10],
        SECOND * 10,
        "HTTP/1.1 408 ",
        "head_timeout\n",
    );
    told(HALF, SECOND * 20, "HTTP/1.1 408 ", "body_timeout\n");
    told(POST, SECOND * 30, "HTTP/1.1 504 ", "backend_timeout\n");
    told(REQUEST, SECOND * 30, "HTTP/1.1 504 ", "backend_timeout\n");
    let scene = Scene::of(timed());
    let mut client = scene.world.connect();
    assert!(turn(&mut client.served).is_pending());
    scene.world.pass(SECOND * 10);
    assert!(turn(&mut client.served).is_ready());
    assert_eq!(
        reads(&mut client.pipe),
        Some(Ok(String::new())),
        "who says nothing is told nothing"
    );
}

#[test]
fn bodies_rest_as_long_as_a_rule_allows() {
    for (idle, within) in [
        (None, 15),
        (Some(SECOND * 3600), 3600),
        (Some(SECOND * 2), 2),
    ] {
        let mut plan = timed();
        plan.rules[0].idle_body = idle;
        let mut scene = Scene::of(plan);
        let mut client = scene.world.connect();
        assert!(scene.send(&mut client, REQUEST));
        assert!(!scene.backend_reads().unwrap().is_empty());
        let half = &ANSWER[..ANSWER.len() - 2];
        assert!(!scene.backend_says(&mut client, half).is_empty());
        scene.world.pass(SECOND * (within - 1));
        assert!(turn(&mut client.served).is_pending(), "{idle:?}");
        scene.world.pass(SECOND);
        assert!(turn(&mut client.served).is_ready(), "{idle:?}");
        drop(client.served);
        // A clean end would look whole.
        assert_eq!(reads(&mut client.pipe), Some(Err(())), "{idle:?}");
    }
}

#[test]
fn a_refused_client_is_not_listened_to_for_ever() {
    const MIB: usize = 1024 * 1024;
    let mut plan = timed();
    plan.rules[0].body = Some(1);
    let mut scene = Scene::of(plan);
    let mut client = scene.world.connect();
    assert!(scene.send(
        &mut client,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"
    ));
    assert!(
        reads(&mut client.pipe)
            .unwrap()
            .unwrap()
            .starts_with("HTTP/1.1 413 ")
    );
    let mut sent = 0;
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok(length)) = client.pipe.poll_write(&mut cx, &[b'x'; 1024]) {
        sent += length;
        assert!(sent <= 2 * MIB, "it still reads");
        if turn(&mut client.served).is_ready() {
            break;
        }
    }
    assert!(sent >= MIB, "{sent}");
}

/// What is cut at a backend that drains is what is under way there, not what the same client asks next.
#[test]
fn who_was_answered_there_is_not_cut_with_a_backend() {
    let published = published(timed());
    let backend = published.load().services[0].state.all()[0].number;
    let mut world = World::over(published.clone());
    let mut client = world.connect();
    let begun = [REQUEST, b"GET / HTTP/1.1\r\nHo"].concat();
    world.ask(&mut client, &begun);
    assert_eq!(world.answer_all(ANSWER), 1);
    world.hear(&mut client);
    published.cut(HashSet::from([backend]));
    world.pass(SECOND);
    assert!(turn(&mut client.served).is_pending());
    assert_eq!(
        reads(&mut client.pipe),
        None,
        "it has ten seconds to end its head"
    );
}
