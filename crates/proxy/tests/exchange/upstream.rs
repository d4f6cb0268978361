//! Connections to backends: how they are made, kept and ended; and what a trusted peer may say.

use std::time::Duration;

use evenkeel_config::Plan;

use crate::world::{Backend, Proxy, plan};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// How many connections four exchanges take.
#[track_caller]
fn connections(answer: &'static str, change: impl Fn(&mut Plan), expect: usize) {
    let backend = Backend::answering(answer);
    let mut plan = plan(&[backend.address]);
    change(&mut plan);
    let proxy = Proxy::start(plan, 1);
    let mut client = proxy.client();
    for _ in 0..4 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.until("hello");
    }
    assert_eq!(backend.connections(), expect, "{answer}");
}

#[test]
fn connections_are_used_as_long_as_they_may_be() {
    connections(OK, |_| {}, 1);
    let most = std::num::NonZeroUsize::new(2);
    connections(OK, |plan| plan.services[0].upstream.requests = most, 2);
    let age = Some(Duration::ZERO);
    connections(OK, |plan| plan.services[0].upstream.age = age, 4);
    let idle = Duration::ZERO;
    connections(OK, |plan| plan.services[0].upstream.idle = idle, 4);
    connections(OK, |plan| plan.services[0].upstream.idle_most = 0, 4);
    let told = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=1\r\n\r\nhello";
    connections(told, |_| {}, 4);
    let told = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=100\r\n\r\nhello";
    connections(told, |_| {}, 1);
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    connections(old, |_| {}, 4);
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello";
    connections(old, |_| {}, 1);
}

/// So many clients ask a backend of two sockets again and again; how many connections that took.
fn saturated(workers: usize, times: usize) -> usize {
    let backend = Backend::answering(OK);
    let mut plan = plan(&[backend.address]);
    std::sync::Arc::make_mut(&mut plan.services[0].backends)[0].max_connections =
        std::num::NonZeroUsize::new(2);
    plan.services[0].limits.connect = Duration::from_secs(60);
    let proxy = Proxy::start(plan, workers);
    let mut clients: Vec<_> = (0..6).map(|_| proxy.client()).collect();
    let live = proxy.published.load();
    let sockets = live.services[0].state.all()[0].sockets.clone();
    for _ in 0..times {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        assert!(sockets.open() <= 2);
        for client in &mut clients {
            client.until("hello");
        }
    }
    backend.connections()
}

#[test]
fn a_limit_of_sockets_does_not_cost_the_connections_that_there_are() {
    let opened = saturated(1, 50);
    assert!(opened <= 2, "{opened} connections for 300 exchanges");
    // Sockets are a worker's own, so some change hands: how many lies with who of them serves which client.
    saturated(2, 10);
}

#[test]
fn a_connection_that_ended_is_not_used_again() {
    let backend = Backend::scripted(|_, client, seen| {
        let head = client.head().unwrap();
        client.send(OK);
        client.end();
        let _ = seen.send(head.lines().next().unwrap().to_owned());
        let _ = seen.send(client.rest());
    });
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    for number in 1..=3 {
        // Never to be sent twice: were it sent on a connection that has ended, it would fail.
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        client.until("hello");
        assert_eq!(backend.saw(), "POST / HTTP/1.1");
        // Its end was seen and answered: the connection is closed, not kept.
        assert_eq!(backend.saw(), "hi");
        assert_eq!(backend.connections(), number);
    }
}

const TRACE: &str = "traceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\n";

#[test]
fn forwarding_fields_are_believed_of_trusted_peers_alone() {
    let backend = Backend::answering(OK);
    for trusted in [false, true] {
        let mut plan = plan(&[backend.address]);
        plan.listeners[0].via = Some("keel".into());
        plan.listeners[0].real_ip = true;
        if trusted {
            plan.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        }
        let proxy = Proxy::start(plan, 1);
        let got = proxy.ask(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nX-Real-IP: 8.8.8.8\r\nX-Request-Id: abc\r\n{TRACE}\r\n"
        ));
        assert!(got.contains("\r\nVia: 1.1 keel\r\n"), "{got}");
        let seen = backend.saw();
        assert_eq!(seen.contains("X-Request-Id: abc\r\n"), trusted, "{seen}");
        let trace = seen.contains("\r\ntraceparent: 00-11111111111111111111111111111111-");
        assert_eq!(trace, trusted, "{seen}");
        let (chain, client) = match trusted {
            true => ("9.9.9.9, 127.0.0.1", "9.9.9.9"),
            false => ("127.0.0.1", "127.0.0.1"),
        };
        for line in [
            format!("\r\nX-Forwarded-For: {chain}\r\n"),
            format!("\r\nX-Real-IP: {client}\r\n"),
            "\r\nVia: 1.1 keel\r\n".to_owned(),
        ] {
            assert_eq!(seen.matches(&line).count(), 1, "{line:?} in {seen}");
        }
        assert!(!seen.contains("8.8.8.8"), "{seen}");
    }
}

/// Reliability reference, F15 and F16: bodies where few expect them, and expectations where none makes sense.
#[test]
fn bodies_and_expectations_of_any_method_are_framed_exactly() {
    let backend = Backend::scripted(|_, client, seen| {
        while let Some(head) = client.head() {
            let body = client.exactly(if head.contains("Content-Length: 4") {
                4
            } else {
                0
            });
            let _ = seen.send(head + &body);
            client.send(OK);
        }
    });
    let proxy = Proxy::over(&[&backend]);
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        for expect in ["", "Expect: 100-continue\r\n"] {
            let got = proxy.ask(&format!(
                "{method} / HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: 4\r\n\r\nbody"
            ));
            assert!(got.ends_with("hello"), "{got}");
            let seen = backend.saw();
            assert!(
                seen.starts_with(method) && seen.ends_with("\r\n\r\nbody"),
                "{seen}"
            );
            let got = proxy.ask(&format!("{method} / HTTP/1.1\r\nHost: a\r\n{expect}\r\n"));
            assert!(got.ends_with("hello"), "{got}");
            assert!(backend.saw().ends_with("\r\n\r\n"));
        }
    }
    assert!(backend.saw_nothing());
}
