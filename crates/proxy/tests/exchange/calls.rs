//! Calls of gRPC, as a client of HTTP/2 sees them; the backends write every byte by hand, and so speak HTTP/1.1 with trailers.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_config::plan::{Action, Beside, Conditions, PathPattern, RulePlan};
use evenkeel_proxy::observation::by_reason;
use http::{HeaderMap, Request};

use crate::world::{Backend, Client, Proxy, plan};

/// How a call ended: the status of its head, that head's fields, its messages, its trailers. An error: the stream was reset.
pub(crate) type Ended = Result<(u16, HeaderMap, Bytes, HeaderMap), h2::Reason>;

/// Makes a call with these fields beside those of every call.
pub(crate) fn call(proxy: &Proxy, path: &str, fields: &[(&str, &str)]) -> Ended {
    call_as(proxy, ("POST", "application/grpc+proto"), path, fields)
}

fn call_as(
    proxy: &Proxy,
    (method, content_type): (&str, &str),
    path: &str,
    fields: &[(&str, &str)],
) -> Ended {
    // The control plane's part.
    drop(proxy.client());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        let driven = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://a{path}"))
            .header("content-type", content_type)
            .header("te", "trailers");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let (answer, mut body) = send.send_request(request, false).unwrap();
        // One empty message.
        body.send_data(Bytes::from_static(b"\0\0\0\0\0"), true)
            .unwrap();
        let reason = |error: h2::Error| error.reason().unwrap();
        let (head, mut messages) = answer.await.map_err(reason)?.into_parts();
        let mut came = Vec::new();
        while let Some(data) = messages.data().await {
            came.extend_from_slice(&data.map_err(reason)?);
        }
        let trailers = messages.trailers().await.map_err(reason)?;
        driven.abort();
        let trailers = trailers.unwrap_or_default();
        Ok((head.status.as_u16(), head.headers, came.into(), trailers))
    })
}

fn field<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    fields.get(name).map(|value| value.to_str().unwrap())
}

/// All of it in the head: this status, and this word.
#[track_caller]
fn refused(ended: Ended, status: &str, word: &str) {
    let (http, head, messages, trailers) = ended.unwrap();
    assert_eq!(http, 200, "{head:?}");
    assert_eq!(field(&head, "content-type"), Some("application/grpc"));
    assert_eq!(
        field(&head, "grpc-status"),
        Some(status),
        "{word}: {head:?}"
    );
    assert_eq!(field(&head, "grpc-message"), Some(word), "{head:?}");
    assert_eq!(field(&head, "content-length"), None, "{head:?}");
    assert!(messages.is_empty() && trailers.is_empty());
}

/// Reads a head and its one message, says this, and goes on so.
fn says(text: &'static str) -> Backend {
    Backend::scripted(move |_, client, seen| {
        while asked(client, seen) {
            client.send(text);
        }
    })
}

fn asked(client: &mut Client, seen: &crate::world::Seen) -> bool {
    let Some(head) = client.head() else {
        return false;
    };
    let _ = seen.send(head);
    let _ = client.until("0\r\n\r\n");
    true
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\n\0\0\0\0\0\r\n0\r\ngrpc-status: 0\r\n\r\n";

/// The reasons why exchanges ended, once so many have.
fn reasons(proxy: &Proxy, ended: u64) -> Vec<(&'static str, u64)> {
    loop {
        let reasons = by_reason(&proxy.published.load().services[0].state.counters);
        if reasons.iter().map(|(_, count)| count).sum::<u64>() >= ended {
            return reasons;
        }
        std::thread::yield_now();
    }
}

/// The service's own word on its only backend, once so many exchanges have ended: attempts that succeeded, and that failed.
fn learned(proxy: &Proxy, ended: u64) -> (u64, u64) {
    let _ = reasons(proxy, ended);
    let snapshot = proxy.published.load().services[0]
        .state
        .service
        .snapshot(proxy.now());
    let backend = &snapshot.backends[0];
    (backend.counts.succeeded, backend.counts.failed)
}

#[test]
fn calls_go_through_whole() {
    let backend = says(GOOD);
    let proxy = Proxy::over(&[&backend]);
    let (http, head, messages, trailers) = call(&proxy, "/a.B/C", &[]).unwrap();
    assert_eq!((http, &messages[..]), (200, &b"\0\0\0\0\0"[..]));
    assert_eq!(field(&head, "content-type"), Some("application/grpc"));
    assert_eq!(field(&trailers, "grpc-status"), Some("0"));
    let saw = backend.saw();
    assert!(!saw.contains("grpc-timeout"), "{saw}");
    assert_eq!(learned(&proxy, 1), (1, 0));
}

/// A rule for a path, before all others.
fn ruled(path: &str, action: Action) -> RulePlan {
    RulePlan {
        name: path.into(),
        priority: 0,
        listeners: Vec::new(),
        when: Conditions {
            paths: vec![PathPattern::Exact(path.into())],
            ..Conditions::default()
        },
        action,
        beside: Beside::default(),
        exchange: None,
        idle_body: None,
        body: None,
        class: evenkeel_balance::ask::QUEUE_CLASS,
        rates: None,
    }
}

#[test]
fn refusals_are_statuses() {
    let backend = Backend::scripted(|_, client, seen| {
        let head = client.head().unwrap_or_default();
        if head.contains(" /malformed ") {
            client.send("what?\r\n\r\n");
        }
        let _ = seen.send(head);
        client.end();
    });
    let mut plan = plan(&[backend.address]);
    plan.rules[0].when.hosts = vec![evenkeel_config::plan::HostPattern::Exact("a".into())];
    plan.rules[0].body = Some(100);
    for (path, status) in [("/denied", 403), ("/unknown", 401), ("/busy", 429)] {
        plan.rules.insert(0, ruled(path, Action::Deny(status)));
    }
    let proxy = Proxy::start(plan, 1);
    refused(call(&proxy, "/denied", &[]), "7", "denied");
    refused(call(&proxy, "/unknown", &[]), "16", "denied");
    refused(call(&proxy, "/busy", &[]), "14", "denied");
    refused(call(&proxy, "/", &[]), "14", "backend_reset");
    refused(call(&proxy, "/malformed", &[]), "13", "backend_start_line");
    // What is no call is refused as ever.
    for (method, content_type) in [
        ("POST", "application/grpc-web"),
        ("POST", "application/json"),
        ("GET", "application/grpc"),
    ] {
        let (http, head, body, _) =
            call_as(&proxy, (method, content_type), "/denied", &[]).unwrap();
        assert_eq!((http, &body[..]), (403, &b"403 Forbidden: denied\n"[..]));
        assert_eq!(field(&head, "grpc-status"), None);
    }
    let got = proxy.ask(
        "POST /denied HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nConnection: close\r\n\r\n",
    );
    assert!(got.starts_with("HTTP/1.1 403 "), "{got}");
}

#[test]
fn no_rule_no_connection_and_no_place() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let proxy = Proxy::start(plan(&[gone]), 1);
    refused(call(&proxy, "/", &[]), "14", "connect_failed");
    let mut plan = plan(&[gone]);
    plan.rules.clear();
    plan.rules.push(ruled("/only", Action::Forward(0)));
    plan.services[0].backends = [].into();
    let proxy = Proxy::start(plan, 1);
    refused(call(&proxy, "/", &[]), "12", "no_rule");
    refused(call(&proxy, "/only", &[]), "14", "no_backends");
}

/// What a backend that answers a call so has succeeded and failed in, and the status that was counted.
#[track_caller]
fn judged(answer: &'static str, fields: &[(&str, &str)], expect: (u64, u64), status: usize) {
    let backend = says(answer);
    let proxy = Proxy::over(&[&backend]);
    call(&proxy, "/", fields).unwrap();
    assert_eq!(learned(&proxy, 1), expect, "{answer}");
    let calls = &proxy.published.load().services[0].state.counters[0].calls;
    let counted: Vec<_> = calls.iter().map(|count| count.get()).collect();
    let alone: Vec<_> = (0..17).map(|at| u64::from(at == status)).collect();
    assert_eq!(counted, alone, "{answer}");
    assert!(
        backend.try_saw().is_some() && backend.saw_nothing(),
        "not tried again"
    );
}

#[test]
fn statuses_are_verdicts() {
    for (status, failures) in [
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 0),
        (4, 1),
        (5, 0),
        (8, 1),
        (12, 0),
        (13, 1),
        (14, 1),
        (15, 1),
        (16, 0),
    ] {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n";
        let alone = format!("{head}grpc-status: {status}\r\nContent-Length: 0\r\n\r\n");
        let succeeded = u64::from(status == 0);
        judged(alone.leak(), &[], (succeeded, failures), status);
        let behind = format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n5\r\n\0\0\0\0\0\r\n0\r\ngrpc-message: x\r\ngrpc-status: {status}\r\n\r\n"
        );
        // The head was good, and the call is one thing.
        judged(behind.leak(), &[], (1 - failures, failures), status);
    }
    // The client's own time, which may be as short as it likes.
    let late = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 4\r\nContent-Length: 0\r\n\r\n";
    judged(late, &[("grpc-timeout", "1H")], (0, 0), 4);
    // No status at all.
    let none = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    judged(none, &[], (0, 1), 2);
    // HTTP's own: judged as such, and logged as the client's library will read it.
    for (text, expect, status) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            (0, 0),
            12,
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            (0, 1),
            14,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
            (0, 1),
            2,
        ),
    ] {
        judged(text, &[], expect, status);
    }
}

/// What the backend is told of the time that is left, with these fields.
fn told(fields: &[(&str, &str)]) -> Vec<String> {
    let backend = says(GOOD);
    let proxy = Proxy::over(&[&backend]);
    call(&proxy, "/", fields).unwrap();
    let saw = backend.saw();
    assert!(saw.ends_with("\r\n\r\n") && saw.matches("\r\n\r\n").count() == 1);
    let lines = saw
        .lines()
        .filter_map(|line| line.strip_prefix("grpc-timeout: "));
    lines.map(Into::into).collect()
}

#[test]
fn what_is_left_of_the_time_is_told() {
    let left = told(&[("grpc-timeout", "1000S")]);
    let [left] = &left[..] else {
        panic!("said {left:?}");
    };
    let left = evenkeel_wire::grpc::timeout::read(left.as_bytes()).unwrap();
    let whole = Duration::from_secs(1000);
    assert!(left < whole && left > whole / 2, "{left:?}");
    // What cannot be read sets no time, and goes on for the backend to judge.
    assert_eq!(told(&[("grpc-timeout", "soon")]), ["soon"]);
    assert_eq!(
        told(&[("grpc-timeout", "0n"), ("grpc-timeout", "1S")]),
        ["0n", "1S"]
    );
    // Nobody's: our own limit is to the head, not to the end.
    assert!(told(&[]).is_empty());
}

/// A backend that was silent for long is to blame, whoever's time ended that; one that was not asked, or not for long, is not.
#[test]
fn a_time_that_is_over_is_held_against_who_was_silent() {
    let silent = Backend::scripted(|_, client, seen| {
        asked(client, seen);
        // Until the connection ends.
        let _ = seen.send(client.try_rest().0);
    });
    let proxy = Proxy::over(&[&silent]);
    refused(
        call(&proxy, "/", &[("grpc-timeout", "0n")]),
        "4",
        "call_timeout",
    );
    assert!(silent.saw_nothing(), "there was no time to ask it");
    refused(
        call(&proxy, "/", &[("grpc-timeout", "300m")]),
        "4",
        "call_timeout",
    );
    assert!(silent.saw().contains("grpc-timeout: "));
    assert_eq!(silent.saw(), "", "the attempt is given up");
    assert_eq!(learned(&proxy, 2), (0, 1));
    assert_eq!(reasons(&proxy, 2), [("call_timeout", 2)]);
    assert_eq!(in_a_row(&proxy), 1);
}

/// Failures in a row of the service's only backend.
fn in_a_row(proxy: &Proxy) -> u32 {
    let live = proxy.published.load();
    let snapshot = live.services[0].state.service.snapshot(proxy.now());
    snapshot.backends[0].consecutive_failures
}

#[test]
fn failures_in_trailers_are_failures_in_a_row() {
    let answers = |status: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: {status}\r\n\r\n"
        )
    };
    let backend = Backend::scripted(move |_, client, _| {
        while let Some(head) = client.head() {
            let _ = client.until("0\r\n\r\n");
            let path = head.split(' ').nth(1).unwrap();
            client.send(answers(path.trim_start_matches('/')));
        }
    });
    let mut plan = plan(&[backend.address]);
    plan.services[0].settings.breaker = None;
    let proxy = Proxy::start(plan, 1);
    for (ended, (status, expect)) in [(13, 1), (14, 2), (14, 3), (5, 0), (13, 1), (0, 0)]
        .into_iter()
        .enumerate()
    {
        call(&proxy, &format!("/{status}"), &[]).unwrap();
        let _ = reasons(&proxy, ended as u64 + 1);
        assert_eq!(in_a_row(&proxy), expect, "{status}");
    }
}

#[test]
fn a_time_that_is_over_within_the_answer_ends_it_with_a_status() {
    let stuck = Backend::scripted(|_, client, seen| {
        asked(client, seen);
        client.send(GOOD.split_once("0\r\ngrpc").unwrap().0);
        let _ = seen.send(client.try_rest().0);
    });
    let proxy = Proxy::over(&[&stuck]);
    let (http, head, messages, trailers) = call(&proxy, "/", &[("grpc-timeout", "2S")]).unwrap();
    assert_eq!((http, &messages[..]), (200, &b"\0\0\0\0\0"[..]));
    assert_eq!(field(&head, "grpc-status"), None);
    assert_eq!(field(&trailers, "grpc-status"), Some("4"));
    assert_eq!(field(&trailers, "grpc-message"), Some("call_timeout"));
    let _ = (stuck.saw(), stuck.saw());
    assert_eq!(learned(&proxy, 1), (1, 0));
    assert_eq!(reasons(&proxy, 1), [("call_timeout", 1)]);
}

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    let broken = Backend::scripted(|_, client, seen| {
        asked(client, seen);
        client.send(GOOD.split_once("0\r\ngrpc").unwrap().0);
    });
    let proxy = Proxy::over(&[&broken]);
    let (_, _, _, trailers) = call(&proxy, "/", &[]).unwrap();
    assert_eq!(field(&trailers, "grpc-status"), Some("14"));
    assert_eq!(learned(&proxy, 1), (0, 1));
}
