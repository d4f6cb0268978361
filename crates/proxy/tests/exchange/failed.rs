use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use evenkeel_config::plan::{Action, Beside, Conditions, PathPattern, RespondPlan, RulePlan};
use evenkeel_proxy::observation::by_reason;

use crate::world::{Backend, Proxy, plan};

/// Where nobody listens: a port that is given to nobody who asks for any.
pub(crate) const NOBODYS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn get(proxy: &Proxy) -> String {
    proxy.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

fn post(proxy: &Proxy) -> String {
    proxy.ask("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
}

/// A backend that reads a head, says this, and ends.
fn says(text: &'static str) -> Backend {
    Backend::scripted(move |_, client, seen| {
        let head = client.head().unwrap_or_default();
        let _ = seen.send(head);
        client.send(text);
        client.end();
    })
}

/// What a client gets of a response that is none.
#[track_caller]
fn broken(text: &'static str, word: &str) {
    let backend = says(text);
    let proxy = Proxy::over(&[&backend]);
    let got = post(&proxy);
    assert!(got.starts_with("HTTP/1.1 502 "), "{text:?}: {got}");
    assert!(got.ends_with(&format!(": {word}\n")), "{text:?}: {got}");
}

#[test]
fn responses_that_are_none() {
    broken("", "backend_reset");
    broken("HTTP/1.1 200 OK\r\nContent-Le", "backend_reset");
    for (text, word) in [
        ("what?\r\n\r\n", "backend_start_line"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "backend_length_and_coding",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "backend_content_length_repeated",
        ),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi",
            "backend_body_forbidden",
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi",
            "backend_line_end",
        ),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "backend_fold"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "backend_status",
        ),
    ] {
        broken(text, word);
    }
    let fat = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(33_000));
    broken(fat.leak(), "backend_head_too_large");
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
    broken(many.leak(), "backend_too_many_fields");
    let endless: &'static str = "HTTP/1.1 103 Hints\r\n\r\n".repeat(40).leak();
    let backend = says(endless);
    let got = post(&Proxy::over(&[&backend]));
    assert_eq!(got.matches("103 Hints").count(), 17, "{got}");
}

/// What a client gets of a response that breaks off within its body: never something that looks whole.
#[track_caller]
fn cut(text: &'static str) {
    let backend = says(text);
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let (got, clean) = client.try_rest();
    // What broke before anything of it was sent on is an error like any other.
    let refused = got.starts_with("HTTP/1.1 502 ") && got.ends_with("body_broken\n");
    assert!(refused || !clean, "{text:?}: a clean end after {got}");
}

#[test]
fn bodies_that_break_off_do_not_look_whole() {
    cut("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this");
    cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n");
    cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n");
}

#[test]
fn bytes_behind_an_answer_end_its_connection() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    for turn in 1..=3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.until("hello");
        backend.saw();
        assert_eq!(backend.connections(), turn);
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_given_to_the_next() {
    let backend = Backend::scripted(|number, client, seen| {
        let head = client.head().unwrap();
        let _ = seen.send(head);
        client.send(OK);
        if number == 0 {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            let _ = seen.send("poured".into());
        }
        client.rest();
    });
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.until("hello");
    backend.saw();
    assert_eq!(backend.saw(), "poured");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.until("hello");
    assert_eq!(backend.connections(), 2);
}

#[test]
fn nobody_there() {
    let proxy = Proxy::start(plan(&[NOBODYS]), 1);
    let got = post(&proxy);
    assert!(
        got.starts_with("HTTP/1.1 502 Bad Gateway\r\n") && got.ends_with("connect_failed\n"),
        "{got}"
    );
    let backend = Backend::answering(OK);
    let proxy = Proxy::start(plan(&[NOBODYS, backend.address]), 1);
    for turn in 0..3 {
        let got = get(&proxy);
        assert!(
            got.ends_with("hello"),
            "{turn}: another backend serves it, not {got}"
        );
    }
}

#[test]
fn a_get_survives_a_reset_and_a_post_is_never_sent_twice() {
    let backend = says("");
    let other = Backend::answering(OK);
    let proxy = Proxy::over(&[&backend, &other]);
    for _ in 0..3 {
        assert!(get(&proxy).ends_with("hello"));
    }
    let mut plan = plan(&[backend.address]);
    plan.services[0].settings.breaker = None;
    let proxy = Proxy::start(plan, 1);
    while !backend.saw_nothing() {}
    assert!(post(&proxy).starts_with("HTTP/1.1 502 "));
    assert!(backend.saw().starts_with("POST "));
    assert!(backend.saw_nothing());
}

#[test]
fn a_kept_connection_that_ended_costs_nobody_anything() {
    let backend = Backend::scripted(|_, client, _| {
        client.head();
        client.send(OK);
        client.end();
    });
    let proxy = Proxy::over(&[&backend]);
    for _ in 0..10 {
        assert!(get(&proxy).ends_with("hello"));
        let got = proxy
            .ask("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert!(got.ends_with("hello"), "{got}");
    }
}

#[test]
fn bodies_over_their_limit_are_413() {
    let backend = Backend::answering(OK);
    let mut plan = plan(&[backend.address]);
    plan.rules[0].body = Some(10);
    let proxy = Proxy::start(plan, 1);
    let got = proxy.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 413 "), "{got}");
    assert!(backend.saw_nothing());
    let got = proxy.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n01234567890123456789\r\n0\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 413 "), "{got}");
}

#[test]
fn limits_of_connections() {
    let backend = Backend::scripted(|_, client, seen| {
        while let Some(head) = client.head() {
            let _ = seen.send(head.split(' ').nth(1).unwrap().to_owned());
            if head.starts_with("POST /hold") {
                client.until("go");
            }
            client.send(OK);
        }
    });
    let mut plan = plan(&[backend.address]);
    let backends = std::sync::Arc::make_mut(&mut plan.services[0].backends);
    backends[0].max_connections = std::num::NonZeroUsize::new(1);
    plan.services[0].limits.connect = Duration::from_secs(1);
    let proxy = Proxy::start(plan, 2);
    let mut holder = proxy.client();
    holder.send("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    assert_eq!(backend.saw(), "/hold");
    let got = post(&proxy);
    assert!(
        got.starts_with("HTTP/1.1 503 ") && got.ends_with("max_connections\n"),
        "{got}"
    );
    drop(holder);
    // Its socket is free again, whichever worker asks.
    for _ in 0..8 {
        assert!(get(&proxy).ends_with("hello"));
    }
}

#[test]
fn refused_requests_reach_no_backend() {
    let backend = Backend::answering(OK);
    let proxy = Proxy::over(&[&backend]);
    for (request, status, word) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, "host_missing"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version"),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            501,
            "connect_refused",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: cake\r\n\r\n",
            417,
            "expectation",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "unknown_coding",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
            "length_and_coding",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n extra\r\n\r\n", 200, ""),
    ] {
        let got = proxy.ask(request);
        assert!(
            got.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {got}"
        );
        if status == 200 {
            assert!(backend.saw().starts_with("GET / "));
            assert!(
                got.contains("HTTP/1.1 400 "),
                "what stands behind is refused: {got}"
            );
        } else {
            assert!(got.ends_with(&format!(": {word}\n")), "{request:?}: {got}");
            assert!(got.contains("Connection: close\r\n"), "{got}");
        }
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000));
    assert!(proxy.ask(&long).starts_with("HTTP/1.1 414 "));
    let fat = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n",
        "a".repeat(33_000)
    );
    assert!(proxy.ask(&fat).starts_with("HTTP/1.1 431 "));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "A: b\r\n".repeat(100)
    );
    assert!(proxy.ask(&many).starts_with("HTTP/1.1 431 "));
    assert!(backend.saw_nothing());
}

#[test]
fn a_bad_chunk_reaches_no_backend_and_ends_both_connections() {
    let backend = Backend::scripted(|_, client, seen| {
        let all = client.try_rest().0;
        let _ = seen.send(all);
    });
    let proxy = Proxy::over(&[&backend]);
    let got = proxy.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        got.starts_with("HTTP/1.1 400 ") && got.ends_with("chunk\n"),
        "{got}"
    );
    let seen = backend.saw();
    assert!(!seen.contains("hello") && !seen.contains("evil"), "{seen}");
}

/// A rule that answers this path here.
fn responds(path: &str, status: u16) -> RulePlan {
    RulePlan {
        name: path.into(),
        priority: 1,
        listeners: Vec::new(),
        when: Conditions {
            paths: vec![PathPattern::Exact(path.into())],
            ..Conditions::default()
        },
        action: Action::Respond(RespondPlan {
            status,
            content_type: "text/plain".into(),
            body: (*b"pong").into(),
        }),
        beside: Beside::default(),
        exchange: None,
        idle_body: None,
        body: None,
        class: evenkeel_balance::ask::QUEUE_CLASS,
        rates: None,
    }
}

#[test]
fn answers_that_can_have_no_body_claim_none() {
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    let statuses = [200, 204, 205, 304];
    plan.rules = statuses
        .iter()
        .map(|status| responds(&format!("/{status}"), *status))
        .collect();
    let proxy = Proxy::start(plan, 1);
    let mut client = proxy.client();
    for status in statuses {
        client.send(format!("GET /{status} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.until("\r\n\r\n");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let framed = ["Content-Length", "Content-Type"].map(|name| head.contains(name));
        assert_eq!(framed, [!matches!(status, 204 | 304); 2], "{head}");
        if status == 200 {
            client.until("pong");
        }
    }
    client.end();
    assert_eq!(client.rest(), "", "nothing stands behind them");
}

#[test]
fn rules_answer_and_send_elsewhere() {
    let backend = Backend::answering(OK);
    let mut plan = plan(&[backend.address]);
    plan.rules.insert(0, responds("/ping", 200));
    plan.rules[1].when.hosts = vec![evenkeel_config::plan::HostPattern::Exact("a".into())];
    let proxy = Proxy::start(plan, 1);
    assert!(
        proxy
            .ask("GET /ping HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
            .ends_with("\r\n\r\npong")
    );
    assert!(
        proxy
            .ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .ends_with("hello")
    );
    let got = proxy.ask("GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
    assert!(
        got.starts_with("HTTP/1.1 404 Not Found\r\nDate: ") && got.ends_with("no_rule\n"),
        "{got}"
    );
}

/// What is answered at its head has a short body read and forgotten behind that, whenever it comes, and the next request is found behind it.
/// A long one ends the connection, as does one whose end nobody knows yet, or that may never come.
#[test]
fn a_short_body_that_nobody_wants_is_passed_over() {
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    plan.rules = vec![responds("/ping", 200)];
    let proxy = Proxy::start(plan, 1);
    let mut client = proxy.client();
    let post = |length: usize, more: &str| {
        format!("POST /else HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    let evil = "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n";
    // With the head, behind the answer, and in two parts, with the next request.
    client.send(post(evil.len(), "") + evil);
    assert!(!client.until("no_rule\n").contains("Connection: close"));
    client.send(post(65_536, ""));
    assert!(client.until("no_rule\n").starts_with("HTTP/1.1 404 "));
    client.send("a".repeat(60_000));
    client.send("a".repeat(5_536) + evil);
    assert!(client.until("pong").starts_with("HTTP/1.1 200 "));
    for request in [
        post(65_537, ""),
        post(4, "Expect: 100-continue\r\n"),
        post(4, "Connection: close\r\n") + "body",
        "POST /else HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
    ] {
        let mut client = proxy.client();
        client.send(&request);
        let answer = client.until("no_rule\n");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        client.end();
        assert_eq!(client.rest(), "", "{request}");
    }
    // Who wants no other request is answered to its end, also where the body comes behind that.
    for ending in [
        "POST /else HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\n",
        "POST /else HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send(ending);
        assert!(client.rest().ends_with("no_rule\n"), "{ending}");
        // Each by itself: where a reset answers the first, the second fails.
        let sent = [b"bo", b"dy"].map(|part| client.stream.write_all(part).is_ok());
        assert_eq!(sent, [true; 2], "{ending}");
    }
    // A client that goes within it.
    let mut client = proxy.client();
    client.send(post(9, "") + "half");
    client.until("no_rule\n");
    client.end();
    assert_eq!(client.rest(), "");
}

#[test]
fn what_this_machine_lacks_is_not_held_against_a_backend() {
    let backend = Backend::answering(OK);
    let mut plan = plan(&[backend.address]);
    // An address that this machine does not have (RFC 5737): what no free port gives, too.
    plan.services[0].upstream.source = Some([192, 0, 2, 1].into());
    let proxy = Proxy::start(plan, 1);
    for _ in 0..20 {
        let got = get(&proxy);
        assert!(
            got.starts_with("HTTP/1.1 503 ") && got.ends_with(": local_resources\n"),
            "{got}"
        );
    }
    let live = proxy.published.load();
    let state = &live.services[0].state;
    assert_eq!(by_reason(&state.counters), [("local_resources", 20)]);
    let seen = state.service.snapshot(proxy.now());
    assert_eq!(seen.backends[0].counts.failed, 0);
    assert!(backend.saw_nothing());
}
