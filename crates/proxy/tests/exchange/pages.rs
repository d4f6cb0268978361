//! Configured error pages, as clients see them.

use evenkeel_config::plan::{ErrorPage, HostPattern};

use crate::world::{Backend, Proxy, plan};

/// Pages for these statuses: the status, then the reason's word.
fn proxy(backend: &Backend, statuses: &[u16]) -> Proxy {
    let mut plan = plan(&[backend.address]);
    plan.rules[0].when.hosts = vec![HostPattern::Exact("a".into())];
    for &status in statuses {
        let page = ErrorPage {
            content_type: "text/html".into(),
            body: vec![
                format!("<p>{status} ").into_bytes().into(),
                (*b"</p>").into(),
            ],
        };
        plan.listeners[0].error_pages.insert(status, page);
    }
    Proxy::start(plan, 1)
}

#[test]
fn pages_take_the_place_of_words() {
    let backend = Backend::scripted(|_, client, _| {
        client.head();
    });
    let proxy = proxy(&backend, &[400, 404, 414, 417, 431, 501, 502, 505]);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000));
    let fat = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n",
        "a".repeat(33_000)
    );
    for (request, page) in [
        ("GET / HTTP/1.1\r\n\r\n", "400 host_missing"),
        ("GET / HTTP/1.1\r\nHost: b\r\n\r\n", "404 no_rule"),
        (&*long, "414 target_too_long"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: cake\r\n\r\n",
            "417 expectation",
        ),
        (&*fat, "431 head_too_large"),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            "501 connect_refused",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "502 backend_reset",
        ),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505 version"),
    ] {
        let got = proxy.ask(request);
        let body = format!("<p>{page}</p>");
        let status = &page[..3];
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
        assert!(got.ends_with(&format!("\r\n\r\n{body}")), "{got}");
        for field in [
            "Content-Type: text/html\r\n".to_owned(),
            format!("Content-Length: {}\r\n", body.len()),
        ] {
            assert_eq!(got.matches(&field).count(), 1, "{field:?} in {got}");
        }
    }
}

#[test]
fn a_status_without_a_page_says_its_word() {
    let backend = Backend::answering("");
    let proxy = proxy(&backend, &[503]);
    let got = proxy.ask("GET / HTTP/1.1\r\nHost: b\r\n\r\n");
    assert!(got.ends_with("\r\n\r\n404 Not Found: no_rule\n"), "{got}");
}

#[test]
fn pages_leave_the_connection_as_it_was() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let proxy = proxy(&backend, &[404]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        let got = client.until("</p>");
        assert!(got.ends_with("\r\n\r\n<p>404 no_rule</p>"), "{got}");
        client.send("HEAD / HTTP/1.1\r\nHost: b\r\n\r\n");
        let got = client.until("\r\n\r\n");
        assert!(got.contains("Content-Length: 18\r\n"), "{got}");
        // Nothing of a body stands before the next answer.
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.until("hello").starts_with("HTTP/1.1 200 OK\r\n"));
    }
}
