//! Who waits for a full service, and who is cut because its address has as many connections as it may.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use evenkeel_balance::settings::QueueSettings;
use evenkeel_config::Plan;
use evenkeel_config::plan::{Beside, Conditions, FallbackPlan, PathPattern, RespondPlan, RulePlan};
use evenkeel_proxy::observation::by_reason;

use crate::world::{Backend, Client, Proxy, plan};

/// A backend that says what it was asked, and answers when it is told to, one for each word.
fn told() -> (Backend, SyncSender<()>) {
    let (go, told) = sync_channel::<()>(64);
    let told = Mutex::new(told);
    let backend = Backend::scripted(move |_, client, seen| {
        while let Some(head) = client.head() {
            let _ = seen.send(head.split(' ').nth(1).unwrap().to_owned());
            told.lock().unwrap().recv().unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    (backend, go)
}

/// One at once, and so many who wait.
fn one_at_once(backend: &Backend, length: u32, timeout: Duration) -> Plan {
    let mut plan = plan(&[backend.address]);
    let service = &mut plan.services[0];
    service.settings.max_in_flight = NonZeroU32::new(1);
    service.settings.queue = Some(QueueSettings::default().length(length).timeout(timeout));
    service.limits.exchange = Duration::from_secs(1000);
    service.limits.per_try = Duration::from_secs(1000);
    plan
}

const LONG: Duration = Duration::from_secs(1000);

fn ask(proxy: &Proxy, path: &str) -> Client {
    let mut client = proxy.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

/// Until so many wait.
fn wait(proxy: &Proxy, waiting: usize) {
    let begun = proxy.now();
    loop {
        let service = &proxy.published.load().services[0].state.service;
        let got = service.snapshot(proxy.now()).queue.waiting;
        if got == waiting {
            return;
        }
        let patience = Duration::from_secs(20);
        assert!(proxy.now().since(begun) < patience, "{got} wait");
        std::thread::yield_now();
    }
}

/// How often exchanges ended for which reason; the last one may still be on its way to the counters.
fn ended(proxy: &Proxy, expect: &[(&'static str, u64)]) {
    let begun = proxy.now();
    loop {
        let live = proxy.published.load();
        let state = &live.services[0].state;
        let got = by_reason(&state.counters);
        if got == expect {
            let snapshot = state.service.snapshot(proxy.now());
            assert_eq!(snapshot.places, Some((0, 1)));
            return state.service.laws().unwrap();
        }
        let patience = Duration::from_secs(20);
        assert!(proxy.now().since(begun) < patience, "{got:?}");
        std::thread::yield_now();
    }
}

#[test]
fn who_waits_is_served_by_class_and_then_by_who_came_first() {
    for workers in [1, 2] {
        let (backend, go) = told();
        let mut plan = one_at_once(&backend, 9, LONG);
        let urgent = RulePlan {
            name: "urgent".into(),
            when: Conditions {
                paths: vec![PathPattern::Prefix("/urgent".into())],
                ..Conditions::default()
            },
            class: 5,
            ..plan.rules[0].clone()
        };
        plan.rules.insert(0, urgent);
        plan.rules[1].priority = 2;
        let proxy = Proxy::start(plan, workers);
        let mut clients = vec![ask(&proxy, "/first")];
        // Of two workers the other might be sooner with the next.
        let mut order = vec![backend.saw()];
        for (at, path) in ["/a", "/b", "/urgent/c", "/d", "/urgent/e"]
            .into_iter()
            .enumerate()
        {
            clients.push(ask(&proxy, path));
            wait(&proxy, at + 1);
        }
        for at in 0..clients.len() {
            if at > 0 {
                order.push(backend.saw());
            }
            assert!(backend.saw_nothing(), "one at once");
            go.send(()).unwrap();
        }
        let expect = ["/first", "/urgent/c", "/urgent/e", "/a", "/b", "/d"];
        assert_eq!(order, expect);
        for client in &mut clients {
            assert!(client.until("hello").starts_with("HTTP/1.1 200 "));
        }
        ended(&proxy, &[("served", 6)]);
    }
}

#[test]
fn one_too_many_is_told_at_once_to_come_again() {
    let (backend, go) = told();
    let proxy = Proxy::start(one_at_once(&backend, 1, LONG), 1);
    let mut clients = [ask(&proxy, "/first"), proxy.client()];
    assert_eq!(backend.saw(), "/first");
    clients[1].send("GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    wait(&proxy, 1);
    let mut third = ask(&proxy, "/third");
    let answer = third.until("queue_full\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    // Its connection lives on, and who waited is served.
    go.send(()).unwrap();
    go.send(()).unwrap();
    for client in &mut clients {
        client.until("hello");
    }
    assert_eq!(backend.saw(), "/second");
    third.send("GET /fourth HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(backend.saw(), "/fourth");
    go.send(()).unwrap();
    third.until("hello");
    ended(&proxy, &[("served", 3), ("queue_full", 1)]);
}

#[test]
fn a_client_that_leaves_leaves_the_queue() {
    let (backend, go) = told();
    let mut plan = one_at_once(&backend, 9, LONG);
    plan.listeners[0].half_close = false;
    let proxy = Proxy::start(plan, 1);
    let mut first = ask(&proxy, "/first");
    assert_eq!(backend.saw(), "/first");
    let second = ask(&proxy, "/second");
    wait(&proxy, 1);
    let mut third = ask(&proxy, "/third");
    wait(&proxy, 2);
    drop(second);
    wait(&proxy, 1);
    go.send(()).unwrap();
    first.until("hello");
    assert_eq!(backend.saw(), "/third");
    go.send(()).unwrap();
    third.until("hello");
    ended(&proxy, &[("served", 2), ("client_gone", 1)]);
}

/// Nor is what a client that has left wanted done: although more of it came than is read ahead, and its end stands behind that.
#[test]
fn a_client_that_leaves_a_long_request_behind_leaves_the_queue() {
    let cut = |client: &Client| {
        let sock = socket2::SockRef::from(&client.stream);
        sock.set_linger(Some(Duration::ZERO)).unwrap();
    };
    let post = "POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
    let chunked = "POST /second HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nea60\r\n";
    for (half_close, head, cuts) in [
        (false, post, false),
        (false, post, true),
        (false, chunked, false),
        (true, post, true),
    ] {
        let (backend, go) = told();
        let mut plan = one_at_once(&backend, 9, LONG);
        plan.listeners[0].half_close = half_close;
        let proxy = Proxy::start(plan, 1);
        let mut first = ask(&proxy, "/first");
        assert_eq!(backend.saw(), "/first");
        let mut second = proxy.client();
        second.send(format!("{head}{}", "x".repeat(60_000)));
        wait(&proxy, 1);
        if cuts {
            cut(&second);
        }
        drop(second);
        wait(&proxy, 0);
        go.send(()).unwrap();
        first.until("hello");
        ended(&proxy, &[("served", 1), ("client_gone", 1)]);
        assert!(backend.saw_nothing(), "{head}");
    }
}

#[test]
fn waiting_ends_with_the_queue_s_time_and_with_the_exchange_s() {
    for (timeout, exchange) in [(1, 1000), (1000, 1)] {
        let (backend, go) = told();
        let mut plan = one_at_once(&backend, 9, Duration::from_millis(timeout));
        let slow = RulePlan {
            name: "slow".into(),
            when: Conditions {
                paths: vec![PathPattern::Prefix("/first".into())],
                ..Conditions::default()
            },
            exchange: Some(LONG),
            ..plan.rules[0].clone()
        };
        plan.services[0].limits.exchange = Duration::from_millis(exchange);
        plan.rules.insert(0, slow);
        plan.rules[1].priority = 2;
        let proxy = Proxy::start(plan, 1);
        let mut first = ask(&proxy, "/first");
        assert_eq!(backend.saw(), "/first");
        let mut second = ask(&proxy, "/second");
        let answer = second.until("queue_timeout\n");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        go.send(()).unwrap();
        first.until("hello");
        ended(&proxy, &[("served", 1), ("queue_timeout", 1)]);
    }
}

#[test]
fn a_fallback_follows_a_queue_s_refusal() {
    let (backend, go) = told();
    let mut plan = one_at_once(&backend, 9, Duration::from_millis(1));
    plan.rules[0].beside = Beside {
        fallback: Some(std::sync::Arc::new(FallbackPlan::Respond(RespondPlan {
            status: 200,
            content_type: "text/plain".into(),
            body: (*b"back soon").into(),
        }))),
        ..Beside::default()
    };
    let proxy = Proxy::start(plan, 1);
    let mut first = ask(&proxy, "/first");
    assert_eq!(backend.saw(), "/first");
    let answer = ask(&proxy, "/second").until("back soon");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    go.send(()).unwrap();
    first.until("hello");
    ended(&proxy, &[("served", 1), ("queue_timeout", 1)]);
}

#[test]
fn an_address_has_so_many_connections() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let mut plan = plan(&[backend.address]);
    plan.listeners[0].limits.connections_per_address = NonZeroUsize::new(2);
    let proxy = Proxy::start(plan, 1);
    let door = proxy.published.load().doors[0].clone();
    let mut inside = [proxy.client(), proxy.client()];
    for client in &mut inside {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.until("hello");
    }
    let mut outside = proxy.client();
    assert_eq!(outside.rest(), "", "cut before it is heard");
    assert_eq!(door.counters.crowded_total(), 1);
    drop(inside);
    let begun = proxy.now();
    while !door.addresses.is_empty() {
        assert!(proxy.now().since(begun) < Duration::from_secs(20));
        std::thread::yield_now();
    }
    let counted: BTreeMap<_, _> = door.counters.answered_by_reason().into_iter().collect();
    assert!(counted.is_empty(), "nothing was answered: {counted:?}");
    let mut after = ask(&proxy, "/");
    after.until("hello");
}
