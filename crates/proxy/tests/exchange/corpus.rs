//! Hostile requests through the proxy to a backend that takes anything and records every byte: nothing of what is refused arrives,
//! and what is taken arrives as one request that says one thing. Rows are those of the reliability reference, F1 to F24.

use evenkeel_config::plan::{Action, RedirectPlan};

use crate::plan::plan;
use crate::world::{Backend, Proxy};

/// A backend that records all that it reads and answers each read.
fn recording() -> Backend {
    Backend::scripted(|_, client, seen| {
        loop {
            let bytes = client.some();
            if bytes.is_empty() {
                return;
            }
            let _ = seen.send(bytes);
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    })
}

/// `{}` stands for what is tried, between the host and the end of the head.
const WITH: &str = "POST /tried HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n";

/// A request that would be smuggled, if anybody read on.
const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn refused_heads() {
    let lines: &[(u16, &str)] = &[
        (400, "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        (400, "Content-Length: 5\r\nContent-Length: 6"),
        (400, "Content-Length: 5\r\nContent-Length: 5"),
        (400, "Content-Length: 5, 5"),
        (400, "Content-Length: 5,"),
        (400, "Content-Length: +5"),
        (400, "Content-Length: 0x5"),
        (400, "Content-Length: 5_0"),
        (400, "Content-Length:"),
        (400, "Content-Length: 9223372036854775808"),
        (400, "Transfer-Encoding: chunked, chunked"),
        (400, "Transfer-Encoding: identity"),
        (501, "Transfer-Encoding: xchunked"),
        (400, "Transfer-Encoding: \x0bchunked"),
        (400, "Transfer-Encoding: \"chunked\""),
        (400, "Transfer-Encoding : chunked"),
        (400, "Transfer-Encoding:\r\n chunked"),
        (400, "X: a\r\n folded"),
        (400, "X: a\x00b"),
        (400, "X: a\rb"),
        (400, "X : a"),
        (400, ": a"),
        (400, "no colon"),
        (400, "X: a\nY: b"),
        (400, "Host: b"),
        (417, "Expect: cake"),
        (417, "Expect: y 100-continue"),
    ];
    let heads: &[(u16, &str)] = &[
        (400, "GET /tried\r\nHost: a\r\n\r\n"),
        (505, "GET /tried HTTP/0.9\r\nHost: a\r\n\r\n"),
        (505, "GET /tried HTTP/2.0\r\nHost: a\r\n\r\n"),
        (400, "GET /tried http/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET  /tried HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET\t/tried HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "G(T /tried HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\r\n\r\nGET /tried HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /tried HTTP/1.1\nHost: a\n\n"),
        (400, "GET /tried#x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /tri\\ed HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /tri ed HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /tried%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /../tried HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET tried HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http://b/tried HTTP/1.1\r\nHost: a\r\n\r\n"),
        (501, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
        (400, "GET /tried HTTP/1.1\r\n\r\n"),
        (400, "GET /tried HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        (400, "GET /tried HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        (400, "GET /tried HTTP/1.1\r\nHost: a:0\r\n\r\n"),
        (
            400,
            "POST /tried HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
    ];
    let backend = recording();
    let proxy = Proxy::over(&[&backend]);
    let with = lines
        .iter()
        .map(|(status, lines)| (*status, WITH.replace("{}", lines)));
    let all = with.chain(
        heads
            .iter()
            .map(|(status, head)| (*status, (*head).to_owned())),
    );
    for (status, head) in all {
        let got = proxy.ask(&format!("{head}0\r\n\r\n{EVIL}"));
        assert!(
            got.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head:?}: {got}"
        );
        assert_eq!(
            got.matches("HTTP/1.1 ").count(),
            1,
            "what stands behind is not read: {got}"
        );
    }
    assert!(backend.saw_nothing());
    assert_eq!(backend.connections(), 0);
}

#[test]
fn refused_bodies() {
    let backend = recording();
    let proxy = Proxy::over(&[&backend]);
    let head = WITH.replace("{}", "Transfer-Encoding: chunked");
    for chunks in [
        "11111111111111111\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1_0\r\nx\r\n0\r\n\r\n",
        "1 \r\nx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "1;\"a\rb\"\r\nx\r\n0\r\n\r\n",
        "\r\nx\r\n0\r\n\r\n",
    ] {
        let got = proxy.ask(&format!("{head}{chunks}{EVIL}"));
        assert!(got.starts_with("HTTP/1.1 400 "), "{chunks:?}: {got}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{got}");
    }
    // Heads may have arrived before their bodies were seen to be none; no body and nothing behind it did.
    while let Some(seen) = backend.try_saw() {
        assert!(
            !seen.contains("evil") && !seen.contains("0\r\n\r\n"),
            "{seen:?}"
        );
    }
}

#[test]
fn taken_requests_say_one_thing() {
    let backend = recording();
    let proxy = Proxy::over(&[&backend]);
    let trust_nobody = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: evil\r\ntraceparent: evil";
    for (lines, holds, lacks) in [
        (trust_nobody, "X-Forwarded-For: 127.0.0.1\r\n", "6.6.6.6"),
        // A token of the admin address, wherever it is shown.
        (
            "X-Evenkeel-Explain: secret\r\nx_evenkeel_explain: secret",
            "Host: a\r\n",
            "secret",
        ),
        (
            "Connection: close, Host, Content-Length, X-Forwarded-For, Authorization\r\nAuthorization: b\r\nContent-Length: 0",
            "Authorization: b\r\n",
            "close",
        ),
        (
            "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA",
            "Host: a\r\n",
            "pgrade",
        ),
        (
            "Connection: close, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Connection: x",
            "Host: a\r\n",
            "op: 1",
        ),
    ] {
        let got = proxy.ask(&WITH.replace("{}", lines));
        assert!(got.starts_with("HTTP/1.1 200 "), "{lines:?}: {got}");
        let seen = backend.saw();
        assert!(
            seen.contains(holds) && !seen.contains(lacks),
            "{lines:?}: {seen}"
        );
        for once in [
            "\r\nHost: ",
            "\r\nX-Forwarded-For: ",
            "\r\nX-Request-Id: ",
            "\r\ntraceparent: 00-",
        ] {
            assert_eq!(seen.matches(once).count(), 1, "{once:?} in {seen}");
        }
    }
    for (target, arrives) in [
        ("/a//b/./c/../d", "/a/b/d"),
        ("/%61%2e%2e/b", "/a../b"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%252e", "/a%252e"),
        ("http://a/x?y=%zz", "/x?y=%zz"),
    ] {
        proxy.ask(&format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        let seen = backend.saw();
        assert!(
            seen.starts_with(&format!("GET {arrives} HTTP/1.1\r\nHost: a\r\n")),
            "{target}: {seen}"
        );
    }
}

/// F24: what a client wrote stands in a redirect as it was written or not at all; no spelling of a line end becomes one.
#[test]
fn f24_a_redirect_splits_no_answer() {
    let mut plan = plan(&[([127, 0, 0, 1], 1).into()]);
    plan.rules[0].action = Action::Redirect(RedirectPlan {
        status: 302,
        scheme: Some("https".into()),
        host: None,
        port: None,
        path: None,
        query: None,
    });
    let proxy = Proxy::start(plan, 1);
    for (target, location) in [
        (
            "/a%0d%0aSet-Cookie:%20x=1?q=%0d%0aX:%201",
            "https://a/a%0D%0ASet-Cookie:%20x=1?q=%0d%0aX:%201",
        ),
        ("/a%0D%0A%0D%0A<b>", "https://a/a%0D%0A%0D%0A<b>"),
        ("/%E5%98%8A%E5%98%8D?\u{e5}", ""),
        ("/a?b\rX: 1", ""),
        ("/a?b\nX: 1", ""),
    ] {
        let got = proxy.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        if location.is_empty() {
            assert!(got.starts_with("HTTP/1.1 400 "), "{target:?}: {got}");
            continue;
        }
        let lines: Vec<&str> = got.split("\r\n").collect();
        assert_eq!(lines[0], "HTTP/1.1 302 Found", "{target:?}");
        assert!(
            lines.contains(&&*format!("Location: {location}")),
            "{target:?}: {got}"
        );
        assert!(
            !got.contains("\r\nSet-Cookie") && !got.contains("\r\nX: 1"),
            "{got}"
        );
        assert_eq!(got.matches("\r\n\r\n").count(), 1, "{got}");
    }
}
