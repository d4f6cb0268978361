//! Clients that go while their backend thinks, over sockets of the operating system.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use evenkeel_proxy::observation::by_reason;

use crate::world::{Backend, Client, Proxy, plan};

/// A backend that reads a head, waits until it is told to go on or its connection ends, and says which.
fn thinking() -> (Backend, SyncSender<()>) {
    let (go, told) = sync_channel::<()>(1);
    let told = std::sync::Mutex::new(told);
    let backend = Backend::scripted(move |_, client, seen| {
        while let Some(head) = client.head() {
            let _ = seen.send(head.split(' ').nth(1).unwrap().to_owned());
            if head.contains("/wait") {
                let (_, clean) = client.try_rest();
                let _ = seen.send(format!("ended {clean}"));
                return;
            }
            if head.contains("/told") {
                told.lock().unwrap().recv().unwrap();
            }
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    (backend, go)
}

/// No deadline ends an exchange here: what ends is ended by the client's going.
fn proxy(backend: &Backend, half_close: bool) -> Proxy {
    let mut plan = plan(&[backend.address]);
    plan.listeners[0].half_close = half_close;
    let service = &mut plan.services[0];
    service.limits.per_try = Duration::from_secs(1000);
    service.limits.exchange = Duration::from_secs(1000);
    service.limits.connect = Duration::from_secs(1000);
    Proxy::start(plan, 1)
}

#[expect(clippy::needless_pass_by_value, reason = "it ends here")]
fn cut(client: Client) {
    socket2::SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// Waits until exchanges ended for these reasons; the worker counts behind the backend's back.
fn ended(proxy: &Proxy, expect: &[(&'static str, u64)]) {
    let live = proxy.published.load();
    let begun = proxy.now();
    loop {
        let got = by_reason(&live.services[0].state.counters);
        if got == expect {
            break;
        }
        let patience = Duration::from_secs(20);
        assert!(proxy.now().since(begun) < patience, "{got:?}");
        std::thread::yield_now();
    }
    let snapshot = live.services[0].state.service.snapshot(proxy.now());
    let counts = &snapshot.backends[0].counts;
    assert_eq!((counts.failed, counts.in_flight), (0, 0), "{counts:?}");
}

#[test]
fn a_client_that_goes_takes_its_attempt_with_it() {
    let (backend, _go) = thinking();
    for request in [
        "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        for (half_close, leave) in [
            (false, drop as fn(Client)),
            (false, cut),
            (true, cut),
            (true, |mut client| {
                client.end();
                cut(client);
            }),
        ] {
            let proxy = proxy(&backend, half_close);
            let mut client = proxy.client();
            client.send(request);
            assert_eq!(backend.saw(), "/wait");
            leave(client);
            assert!(backend.saw().starts_with("ended "));
            ended(&proxy, &[("client_gone", 1)]);
        }
    }
}

#[test]
fn a_client_that_may_end_its_direction_gets_its_answer() {
    let (backend, go) = thinking();
    let proxy = proxy(&backend, true);
    let mut client = proxy.client();
    client.send("GET /told HTTP/1.1\r\nHost: a\r\n\r\n");
    client.end();
    assert_eq!(backend.saw(), "/told");
    go.send(()).unwrap();
    assert!(client.rest().ends_with("\r\n\r\nhello"));
    ended(&proxy, &[("served", 1)]);
}

#[test]
fn a_client_that_goes_while_it_waits_for_a_socket_leaves_the_line() {
    let (backend, _go) = thinking();
    let mut plan = plan(&[backend.address]);
    plan.listeners[0].half_close = false;
    let backends = std::sync::Arc::make_mut(&mut plan.services[0].backends);
    backends[0].max_connections = std::num::NonZeroUsize::new(1);
    plan.services[0].limits.connect = Duration::from_secs(1000);
    plan.services[0].limits.per_try = Duration::from_secs(1000);
    plan.services[0].limits.exchange = Duration::from_secs(1000);
    let proxy = Proxy::start(plan, 1);
    let mut holder = proxy.client();
    holder.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(backend.saw(), "/wait");
    let mut second = proxy.client();
    second.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(second);
    let live = proxy.published.load();
    while by_reason(&live.services[0].state.counters) != [("client_gone", 1)] {
        std::thread::yield_now();
    }
    drop(holder);
    assert!(backend.saw().starts_with("ended "));
    ended(&proxy, &[("client_gone", 2)]);
    assert_eq!(backend.connections(), 1);
}

#[test]
fn what_is_sent_meanwhile_is_not_lost() {
    let (backend, go) = thinking();
    let proxy = proxy(&backend, false);
    let mut client = proxy.client();
    client.send("GET /told HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(backend.saw(), "/told");
    // More than is read ahead, less than the kernel takes.
    const MORE: usize = 900;
    let pad = "x".repeat(140);
    for number in 0..MORE {
        client.send(format!(
            "GET /{number} HTTP/1.1\r\nHost: a\r\nX: {pad}\r\n\r\n"
        ));
    }
    go.send(()).unwrap();
    for _ in 0..=MORE {
        client.until("hello");
    }
    for number in 0..MORE {
        assert_eq!(backend.saw(), format!("/{number}"));
    }
    ended(&proxy, &[("served", MORE as u64 + 1)]);
}

#[test]
fn a_stream_that_rests_ends_with_its_client() {
    let backend = Backend::scripted(|_, client, seen| {
        client.head();
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n");
        client.rest();
        let _ = seen.send("ended".into());
    });
    let proxy = proxy(&backend, false);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.until("event");
    drop(client);
    assert_eq!(backend.saw(), "ended");
    ended(&proxy, &[("client_left", 1)]);
}
