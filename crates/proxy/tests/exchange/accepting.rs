//! Who is let in, and how often it is tried.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_proxy::clock::Clock;
use evenkeel_proxy::connection::Door;
use evenkeel_proxy::listener::{Ear, Spread, accept};
use evenkeel_proxy::live::{Live, Published};
use evenkeel_proxy::net::OsNet;
use evenkeel_proxy::worker::Worker;
use socket2::{Domain, Socket, Type};

use crate::world::{Backend, Proxy, plan};

#[test]
fn a_listener_takes_so_many_connections_and_the_next_when_one_ends() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let mut plan = plan(&[backend.address]);
    plan.listeners[0].limits.connections = 2;
    let proxy = Proxy::start(plan, 1);
    let door = proxy.published.load().doors[0].clone();
    let mut inside = [proxy.client(), proxy.client()];
    for client in &mut inside {
        client.send("GET /inside HTTP/1.1\r\nHost: a\r\n\r\n");
        client.until("hello");
        assert!(backend.saw().starts_with("GET /inside "));
    }
    let mut outside = [proxy.client(), proxy.client()];
    for client in &mut outside {
        client.send("GET /outside HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // One waits at the door, one in the kernel's queue.
    while door.counters.accepted_total() < 3 {
        std::thread::yield_now();
    }
    // The one worker goes round many times: were somebody let in, it would be seen.
    for _ in 0..50 {
        inside[0].send("GET /inside HTTP/1.1\r\nHost: a\r\n\r\n");
        inside[0].until("hello");
        assert!(backend.saw().starts_with("GET /inside "));
    }
    assert_eq!(door.counters.accepted_total(), 3);
    drop(inside);
    for mut client in outside {
        client.until("hello");
        assert!(backend.saw().starts_with("GET /outside "));
    }
}

/// A socket that does not listen cannot accept, as one without descriptors.
#[test]
fn accepting_that_fails_rests_before_it_is_tried_again() {
    let clock = Clock::start();
    let events: Arc<dyn evenkeel_balance::event::Listener> = Arc::new(());
    let live = Live::join(
        plan(&[([127, 0, 0, 1], 1).into()]),
        None,
        1,
        &events,
        clock.now(),
    );
    let state = live.doors[0].clone();
    let published = Arc::new(Published::new(live));
    let worker = Rc::new(Worker::new(OsNet::new(clock), 0, published, 1));
    let door = Rc::new(Door::new("web".into(), 0, state.clone()));
    let deaf = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::task::spawn_local(accept(
            worker,
            door,
            (Ear::Tcp(deaf.into()), Spread::over(1)),
            Rc::new(tokio::sync::Notify::new()),
        ));
        for tries in 1..=5 {
            while state.counters.accept_failed_total() < tries {
                tokio::task::yield_now().await;
            }
            // Time stands still, and there is much of everything else.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            assert_eq!(state.counters.accept_failed_total(), tries);
            tokio::time::advance(Duration::from_millis(20)).await;
        }
    });
}

/// Whichever sockets the kernel chooses, no worker has more than one connection beyond what another has.
#[test]
fn few_connections_are_spread_evenly_over_workers() {
    for workers in [2, 4] {
        let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        let proxy = Proxy::start(plan(&[backend.address]), workers);
        // A worker hears a moment after it was told.
        while proxy.spread.hearing() < workers {
            std::thread::yield_now();
        }
        let mut clients = Vec::new();
        for count in 1..=16 {
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client.until("hello");
            clients.push(client);
            let open = proxy.spread.connections();
            assert_eq!(open.iter().sum::<usize>(), count);
            let (most, least) = (open.iter().max().unwrap(), open.iter().min().unwrap());
            assert!(most - least <= 1, "{count} over {workers}: {open:?}");
        }
        // They are served where they are counted, one after another.
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client.until("hello");
        }
    }
}
