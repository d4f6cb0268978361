use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_proxy::deadline::SWEEP_EVERY;
use evenkeel_proxy::live::Published;
use evenkeel_proxy::observation::by_reason;
use evenkeel_proxy::sock::Sock;

use crate::plan::plan;
use crate::world::{Client, ROOM, World, published, ready, turn};
use crate::{ANSWER, REQUEST};

const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

/// A world, and where its counts are found.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) published: Arc<Published>,
}

fn scene(half_close: bool) -> Scene {
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    plan.listeners[0].half_close = half_close;
    Scene::of(plan)
}

impl Scene {
    pub(crate) fn of(plan: Plan) -> Self {
        let published = published(plan);
        Self {
            world: World::over(published.clone()),
            published,
        }
    }

    /// The client sends this; true: its connection is served on.
    pub(crate) fn send(&mut self, client: &mut Client, bytes: &[u8]) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(ready(client.pipe.poll_write(&mut cx, bytes)), bytes.len());
        turn(&mut client.served).is_pending()
    }

    /// The client sends until nothing more is taken; how many bytes were.
    pub(crate) fn flood(&mut self, client: &mut Client) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = 0;
        while let Poll::Ready(length) = client.pipe.poll_write(&mut cx, &[b'x'; 1000]) {
            taken += length.unwrap();
            assert!(turn(&mut client.served).is_pending());
        }
        taken
    }

    /// The client ends its direction; true: its connection is served on.
    pub(crate) fn half_close(&mut self, client: &mut Client) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(client.pipe.poll_shutdown(&mut cx).is_ready());
        turn(&mut client.served).is_pending()
    }

    /// The client goes, by a cut or by closing; true: its connection is served on.
    pub(crate) fn leave(&mut self, client: Client, cut: bool) -> bool {
        let Client {
            mut pipe,
            mut served,
        } = client;
        if cut {
            pipe.cut();
        }
        drop(pipe);
        turn(&mut served).is_pending()
    }

    /// What the newest connection to the backend brings: bytes, or its end. None: nothing yet.
    pub(crate) fn backend_reads(&mut self) -> Option<Vec<u8>> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut ends = self.world.backend.borrow_mut();
        match ends
            .last_mut()
            .unwrap()
            .poll_read(&mut cx, &mut self.world.room)
        {
            Poll::Ready(Ok(length)) => Some(self.world.room[..length].to_vec()),
            // It was closed with bytes unread: an end as well.
            Poll::Ready(Err(_)) => Some(Vec::new()),
            Poll::Pending => None,
        }
    }

    /// The backend answers on its newest connection; what the client gets of it.
    pub(crate) fn backend_says(&mut self, client: &mut Client, bytes: &[u8]) -> Vec<u8> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut ends = self.world.backend.borrow_mut();
        assert_eq!(
            ready(ends.last_mut().unwrap().poll_write(&mut cx, bytes)),
            bytes.len()
        );
        drop(ends);
        let _ = turn(&mut client.served);
        let read = ready(client.pipe.poll_read(&mut cx, &mut self.world.room));
        self.world.room[..read].to_vec()
    }
}

/// Nobody is served any more, the backend's connection is closed, and nothing is held against it.
#[track_caller]
fn gone(scene: &mut Scene, served_on: bool) {
    assert!(!served_on, "the exchange goes on");
    assert_eq!(scene.backend_reads().as_deref(), Some(&b""[..]));
    let live = scene.published.load();
    let state = &live.services[0].state;
    assert_eq!(by_reason(&state.counters), [("client_gone", 1)]);
    let snapshot = state.service.snapshot(Instant::from_nanos(2_000_000_000));
    let counts = &snapshot.backends[0].counts;
    assert_eq!(
        (counts.picked, counts.in_flight, counts.failed),
        (1, 0, 0),
        "{counts:?}"
    );
    assert_eq!(snapshot.backends[0].latency, None, "nothing was learned");
}

#[test]
fn a_client_that_goes_while_its_backend_thinks_ends_the_exchange() {
    for request in [REQUEST, POST] {
        for half_close in [false, true] {
            let mut scene = scene(half_close);
            let mut client = scene.world.connect();
            assert!(scene.send(&mut client, request));
            assert!(!scene.backend_reads().unwrap().is_empty());
            let served_on = scene.leave(client, true);
            gone(&mut scene, served_on);
        }
        let mut scene = scene(false);
        let mut client = scene.world.connect();
        assert!(scene.send(&mut client, request));
        assert!(!scene.backend_reads().unwrap().is_empty());
        let served_on = scene.leave(client, false);
        gone(&mut scene, served_on);
    }
}

#[test]
fn a_client_that_has_just_come_is_watched_from_the_next_sweep_on() {
    let mut scene = scene(false);
    let pipes = scene.world.pipes(1).remove(0);
    let mut client = scene.world.connected(pipes, true);
    let before = scene.world.calls();
    assert!(scene.send(&mut client, REQUEST));
    assert!(!scene.backend_reads().unwrap().is_empty());
    assert_eq!(scene.world.calls() - before, 2, "a read and a write");
    scene.world.pass(SWEEP_EVERY);
    assert!(turn(&mut client.served).is_pending());
    assert_eq!(scene.world.calls() - before, 3, "the system is to tell");
    let served_on = scene.leave(client, false);
    gone(&mut scene, served_on);
}

#[test]
fn a_client_that_ends_its_direction_is_gone_unless_it_may() {
    let mut strict = scene(false);
    let mut client = strict.world.connect();
    assert!(strict.send(&mut client, REQUEST));
    assert!(!strict.backend_reads().unwrap().is_empty());
    let served_on = strict.half_close(&mut client);
    gone(&mut strict, served_on);

    let mut lenient = scene(true);
    let mut client = lenient.world.connect();
    assert!(lenient.send(&mut client, REQUEST));
    assert!(!lenient.backend_reads().unwrap().is_empty());
    assert!(lenient.half_close(&mut client));
    assert_eq!(lenient.backend_reads(), None, "the backend goes on");
    let got = lenient.backend_says(&mut client, ANSWER);
    assert!(got.starts_with(b"HTTP/1.1 200 OK\r\n") && got.ends_with(b"hello"));

    let mut lenient = scene(true);
    let mut client = lenient.world.connect();
    assert!(lenient.send(&mut client, REQUEST));
    assert!(!lenient.backend_reads().unwrap().is_empty());
    assert!(lenient.half_close(&mut client));
    let served_on = lenient.leave(client, true);
    gone(&mut lenient, served_on);
}

#[test]
fn what_a_client_sends_meanwhile_is_read_ahead_up_to_one_buffer() {
    let mut scene = scene(false);
    let mut client = scene.world.connect();
    assert!(scene.send(&mut client, REQUEST));
    assert!(!scene.backend_reads().unwrap().is_empty());
    // One buffer of 72 KiB, and what the pipe itself holds.
    assert_eq!(scene.flood(&mut client), 72 * 1024 + ROOM);
    let served_on = scene.leave(client, true);
    gone(&mut scene, served_on);
}
