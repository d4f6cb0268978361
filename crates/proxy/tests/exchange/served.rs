use crate::world::{Backend, Proxy, plan};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello";

#[test]
fn a_request_and_its_answer() {
    let backend = Backend::answering(OK);
    let proxy = Proxy::over(&[&backend]);
    let answer = proxy.ask("GET /a//b/../c?d=e HTTP/1.1\r\nHost: Example.com\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nX-Keep: 2\r\n\r\n");
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    );
    let seen = backend.saw();
    assert!(seen.starts_with("GET /a/c?d=e HTTP/1.1\r\nHost: Example.com\r\nX-Keep: 2\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: Example.com\r\n"), "{seen}");
    assert!(
        !seen.contains("X-Hop") && !seen.contains("Connection"),
        "{seen}"
    );
}

#[test]
fn both_connections_are_kept() {
    let backend = Backend::answering(OK);
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    for _ in 0..5 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.until("hello").starts_with("HTTP/1.1 200 OK\r\n"));
        backend.saw();
    }
    let mut other = proxy.client();
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    other.until("hello");
    assert_eq!(backend.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::scripted(|_, client, _| {
        while let Some(head) = client.head() {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            client.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
                path.len()
            ));
        }
    });
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n");
    let rest = client.rest();
    let bodies: Vec<_> = rest
        .split("\r\n\r\n")
        .map(|part| &part[..2.min(part.len())])
        .collect();
    assert_eq!(bodies[1..], ["/1", "/2", "/3"], "{rest}");
}

/// The last answer of a connection that we end reaches its client whole, though the next request is already on its way: to
/// close over what nobody reads any more would reset the connection, and take the answer with it.
#[track_caller]
fn ends_whole(
    change: impl FnOnce(&mut evenkeel_config::Plan),
    then: impl FnOnce(&Proxy),
    answers: usize,
) {
    const LONG: usize = 16 * 1024 * 1024;
    let backend = Backend::scripted(|_, client, seen| {
        while let Some(head) = client.head() {
            let _ = seen.send(head);
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n"));
            client.send(vec![b'x'; LONG]);
        }
    });
    let mut plan = plan(&[backend.address]);
    change(&mut plan);
    let proxy = Proxy::start(plan, 1);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.until("\r\n\r\n");
    // The answer is longer than the sockets' buffers, so that it is still on its way.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    then(&proxy);
    let (got, clean) = client.try_rest();
    // The head of the first answer was read above.
    assert_eq!((got.len() / LONG, clean), (answers, true), "{}", got.len());
    (0..answers).for_each(|_| drop(backend.saw()));
    assert!(backend.saw_nothing(), "no other request was served");
}

#[test]
fn the_last_answer_of_a_connection_is_whole() {
    ends_whole(
        |plan| plan.listeners[0].limits.requests = Some(1),
        |_| {},
        1,
    );
    // A request that came before the drain is served before the connection ends.
    ends_whole(|_| {}, Proxy::drain, 2);
}

/// A backend that reads one request with its body and tells what it read, then answers.
fn echoing(answer: &'static str) -> Backend {
    Backend::scripted(move |_, client, seen| {
        while let Some(head) = client.head() {
            let body = if head.contains("chunked") {
                client.until("0\r\n") + &client.until("\r\n")
            } else {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "))
                    .map_or(0, |length| length.parse().unwrap());
                client.exactly(length)
            };
            let _ = seen.send(head + &body);
            client.send(answer);
        }
    })
}

#[test]
fn bodies_go_up_exactly() {
    let backend = echoing(OK);
    let proxy = Proxy::over(&[&backend]);
    for body in ["x".to_owned(), "y".repeat(5_000), "z".repeat(3_000_000)] {
        let answer = proxy.ask(&format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let seen = backend.saw();
        assert!(
            seen.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{}",
            &seen[..400]
        );
        assert!(seen.ends_with(&format!("\r\n\r\n{body}")));
    }
}

#[test]
fn chunks_go_up_cleaned() {
    let backend = echoing(OK);
    let proxy = Proxy::over(&[&backend]);
    let answer = proxy.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let seen = backend.saw();
    assert!(
        seen.contains("Transfer-Encoding: chunked\r\n") && seen.ends_with("3\r\nabc\r\n0\r\n\r\n"),
        "{seen}"
    );
}

#[test]
fn a_body_in_pieces_with_another_request_behind_it() {
    let backend = echoing(OK);
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in [
        "3\r",
        "\nab",
        "c\r\n",
        "0\r\n\r\nGET /n",
        "ext HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        client.send(piece);
    }
    client.until("hello");
    client.until("hello");
    assert!(backend.saw().ends_with("3\r\nabc\r\n0\r\n\r\n"));
    assert!(backend.saw().starts_with("GET /next HTTP/1.1\r\n"));
}

/// One answer of a backend, and what a client of HTTP/1.1 and one of HTTP/1.0 get of it.
#[track_caller]
fn answer(backend_says: &'static str, current: &str, old: &str) {
    for (version, expect) in [("1.1", current), ("1.0", old)] {
        let backend = Backend::scripted(move |_, client, _| {
            client.head();
            client.send(backend_says);
            client.end();
        });
        let proxy = Proxy::over(&[&backend]);
        let got = proxy.ask(&format!(
            "GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(got, expect, "HTTP/{version}");
    }
}

#[test]
fn answers_by_framing() {
    answer(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde",
    );
    answer(
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nd\r\nuntil the end\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    );
    answer(
        "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nX: y\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nX: y\r\nConnection: close\r\n\r\n",
    );
    answer(
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"a\"\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"a\"\r\nConnection: close\r\n\r\n",
    );
    answer(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
}

#[test]
fn head_has_no_body_whatever_it_says() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            client.until("\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        );
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn long_answers_arrive_whole() {
    let backend = Backend::scripted(|_, client, _| {
        client.head();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n");
        client.send(vec![b'x'; 5_000_000]);
        client.end();
    });
    let proxy = Proxy::over(&[&backend]);
    let answer = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 5_000_000);
}

#[test]
fn expect_100_is_the_backends_to_answer() {
    let backend = Backend::scripted(|_, client, seen| {
        let head = client.head().unwrap();
        client.send("HTTP/1.1 100 Continue\r\n\r\n");
        let _ = seen.send(head + &client.exactly(4));
        client.send(OK);
    });
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert!(client.until("hello").starts_with("HTTP/1.1 200 OK\r\n"));
    let seen = backend.saw();
    assert!(
        seen.contains("Expect: 100-continue\r\n") && seen.ends_with("body"),
        "{seen}"
    );
}

#[test]
fn a_final_answer_instead_of_100_ends_the_connection() {
    let backend = Backend::answering("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let (answer, clean) = client.try_rest();
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("Connection: close\r\n"),
        "{answer}"
    );
    assert!(clean);
}

#[test]
fn an_early_answer_is_relayed_while_the_client_sends() {
    let backend = Backend::scripted(|_, client, seen| {
        while let Some(head) = client.head() {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly");
            let body = client.exactly(if head.starts_with("POST") { 8 } else { 0 });
            let _ = seen.send(body);
            client.send("later");
        }
    });
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n1234");
    assert!(client.until("early").contains("Connection: close\r\n"));
    client.send("5678");
    assert_eq!(client.try_rest(), ("later".to_owned(), true));
    assert_eq!(backend.saw(), "12345678");
    // Both bodies went whole over the backend's connection: it lives on.
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.until("earlylater");
    assert_eq!(backend.connections(), 1);
}

#[test]
fn an_answer_to_half_a_request_says_that_it_is_the_last() {
    let backend = Backend::scripted(|_, client, _| {
        client.head();
        client.send("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nnever");
        client.rest();
    });
    let proxy = Proxy::over(&[&backend]);
    for (version, keep) in [("1.1", ""), ("1.0", "Connection: keep-alive\r\n")] {
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/{version}\r\nHost: a\r\n{keep}Content-Length: 100\r\n\r\nhi"
        ));
        let got = client.rest();
        assert!(
            got.starts_with("HTTP/1.1 403 ") && got.ends_with("never"),
            "{got}"
        );
        assert_eq!(got.matches("Connection: close\r\n").count(), 1, "{got}");
        assert!(!got.contains("keep-alive"), "{got}");
    }
}

#[test]
fn tunnels_are_byte_exact_and_close_by_halves() {
    let backend = Backend::scripted(|_, client, seen| {
        let head = client.head().unwrap();
        client.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
        let all = client.rest();
        let _ = seen.send(head);
        client.send(format!("got {}", all.chars().count()));
    });
    let proxy = Proxy::over(&[&backend]);
    let mut client = proxy.client();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nahead",
    );
    assert_eq!(
        client.until("first"),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nfirst"
    );
    client.send(vec![0xFF; 1_000_000]);
    client.end();
    assert_eq!(client.rest(), "got 1000005");
    let head = backend.saw();
    assert!(
        head.contains("Connection: upgrade\r\nUpgrade: websocket\r\n"),
        "{head}"
    );
}
