//! Rows of answers; each is fed whole, byte by byte, and cut at random, and must come to the same finding.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn check(body: Option<&str>) -> HttpCheck {
    HttpCheck {
        body: body.map(String::from),
        ..HttpCheck::default()
    }
}

/// Feeds `pieces`, then closes. The finding in short.
fn run<'p>(check: &HttpCheck, pieces: impl IntoIterator<Item = &'p [u8]>) -> String {
    run_with(check, None, pieces)
}

fn run_with<'p>(
    check: &HttpCheck,
    test: Option<&BodyTest>,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> String {
    let mut answer = Answer::new(check, test);
    for piece in pieces {
        if let Step::Done(finding) = answer.feed(piece) {
            return short(&finding);
        }
    }
    format!("closed: {}", short(&answer.ended()))
}

fn short(finding: &Finding) -> String {
    let status = finding
        .status
        .map_or("-".into(), |status| status.to_string());
    match &finding.error {
        None => format!("passed {status}"),
        Some(ProbeError::Malformed(what)) => format!("{status} {what}"),
        Some(error) => format!("{status} {:?}", error.fault()),
    }
}

fn expect(bytes: &[u8], body: Option<&str>, expect: &str) {
    let check = check(body);
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
    assert_eq!(run(&check, [bytes]), expect, "whole: {shown}");
    assert_eq!(run(&check, bytes.chunks(1)), expect, "bytewise: {shown}");
    assert_eq!(
        run(&check, bytes.chunks(1500)),
        expect,
        "in packets: {shown}"
    );
}

#[test]
fn heads() {
    let rows: [(&str, &str); 14] = [
        ("HTTP/1.1 200 OK\r\n\r\n", "passed 200"),
        ("HTTP/1.0 204 No Content\r\nA: b\r\n\r\n", "passed 204"),
        ("HTTP/1.1 200\r\n\r\n", "passed 200"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "passed 200",
        ),
        ("HTTP/1.1 101 Switching\r\n\r\n", "101 Status(101)"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "404 Status(404)"),
        ("HTTP/1.1 405 Method Not Allowed\r\n\r\n", "405 Status(405)"),
        (
            "HTTP/1.1 099 What\r\n\r\n",
            "- no status between 100 and 999",
        ),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "- the status line is broken"),
        ("HTTP/2.0 200 OK\r\n\r\n", "- no HTTP/1 version"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "- no HTTP/1 version"),
        (
            "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
            "- a header field is broken",
        ),
        ("", "closed: - closed without an answer"),
        (
            "HTTP/1.1 200 OK\r\nA: b\r\n",
            "closed: - closed within the head",
        ),
    ];
    for (answer, finding) in rows {
        expect(answer.as_bytes(), None, finding);
    }
}

#[test]
fn a_head_is_bounded_in_bytes_and_fields() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n",
        "a".repeat(HEAD_MOST_BYTES)
    );
    expect(long.as_bytes(), None, "- the head is longer than 16 KiB");
    let just = HEAD_MOST_BYTES - "HTTP/1.1 200 OK\r\nA: \r\n\r\n".len();
    let fits = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(just));
    expect(fits.as_bytes(), None, "passed 200");
    let over = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(just + 1));
    expect(over.as_bytes(), None, "- the head is longer than 16 KiB");
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    expect(interim.as_bytes(), None, "- the head is longer than 16 KiB");
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(129));
    expect(fields.as_bytes(), None, "- more than 128 header fields");
}

#[test]
fn bodies() {
    let rows = [
        ("Content-Length: 5\r\n\r\nready", "passed 200"),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n\r\nready",
            "passed 200",
        ),
        ("Content-Length: 9\r\n\r\nall ready", "passed 200"),
        ("Content-Length: 4\r\n\r\nready", "200 Mismatch"),
        ("Content-Length: 6\r\n\r\nreads.", "200 Mismatch"),
        ("Content-Length: 0\r\n\r\n", "200 Mismatch"),
        (
            "Content-Length: 9\r\n\r\nread",
            "closed: 200 closed within the body",
        ),
        (
            "Content-Length: x\r\n\r\nready",
            "200 the Content-Length is no number",
        ),
        (
            "Content-Length: +5\r\n\r\nready",
            "200 the Content-Length is no number",
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n\r\nready",
            "200 two lengths",
        ),
        ("\r\nready", "passed 200"),
        ("\r\nread", "closed: 200 Mismatch"),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nready\r\n0\r\n\r\n",
            "passed 200",
        ),
        (
            "Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\nrea\r\n02 \r\ndy\r\n0\r\n\r\n",
            "passed 200",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\nread\r\n0\r\nA: ready\r\n\r\n",
            "200 Mismatch",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\nready\r\n",
            "200 no line break after a chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nready\r\n",
            "200 no size before a chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\nready\r\n",
            "200 no size before a chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nready",
            "200 no size before a chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nready",
            "passed 200",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\nre",
            "closed: 200 closed within the body",
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n\r\n",
            "200 a Transfer-Encoding other than chunked",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "200 a Content-Length beside a Transfer-Encoding",
        ),
    ];
    for (answer, finding) in rows {
        let answer = format!("HTTP/1.1 200 OK\r\n{answer}");
        expect(answer.as_bytes(), Some("ready"), finding);
    }
    expect(
        b"HTTP/1.1 204 No Content\r\n\r\nready",
        Some("ready"),
        "204 Mismatch",
    );
    expect(
        b"HTTP/1.1 503 Busy\r\n\r\nready",
        Some("ready"),
        "503 Status(503)",
    );
}

#[test]
fn a_body_is_searched_to_its_limit_only() {
    for (before, finding) in [
        (BODY_MOST_BYTES - 5, "passed 200"),
        (BODY_MOST_BYTES - 4, "200 Mismatch"),
        (BODY_MOST_BYTES * 2, "200 Mismatch"),
    ] {
        let head = "HTTP/1.1 200 OK\r\n\r\n";
        let answer = format!("{head}{}ready", "a".repeat(before));
        expect(answer.as_bytes(), Some("ready"), finding);
    }
    let line = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;{}",
        "a".repeat(300)
    );
    expect(
        line.as_bytes(),
        Some("ready"),
        "200 the line before a chunk is longer than 256 bytes",
    );
}

#[test]
fn random_answers_never_panic_and_cuts_change_nothing() {
    let parts: [&[u8]; 16] = [
        b"HTTP/1.1 ",
        b"200 OK",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: ",
        b"5",
        b"Transfer-Encoding: chunked",
        b"ready",
        b"a",
        b"0\r\n\r\n",
        b"\0",
        b"\xff\xfe",
        b"100 C\r\n\r\n",
        b": ",
        b"rea",
        b"fffffffffffffff\r\n",
    ];
    let check = check(Some("ready"));
    for seed in 0..4_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = Vec::new();
        if random.bool() {
            bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        }
        for _ in 0..random.usize(0..24) {
            if random.u8(0..4) == 0 {
                bytes.extend((0..random.usize(0..9)).map(|_| random.u8(..)));
            } else {
                bytes.extend_from_slice(parts[random.usize(0..parts.len())]);
            }
        }
        let cut = random.usize(1..9);
        let (whole, cuts) = (
            run(&check, [bytes.as_slice()]),
            run(&check, bytes.chunks(cut)),
        );
        let finding = |short: &str| short.trim_start_matches("closed: ").to_owned();
        assert_eq!(finding(&whole), finding(&cuts), "seed {seed}");
    }
}

/// A test is asked once, when the body is there: it sees neither a begin nor a body that broke off.
#[test]
fn bodies_under_a_test() {
    let long = "a".repeat(BODY_MOST_BYTES + 100);
    let cut = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}",
        long.len()
    );
    let rows: [(&str, &str); 8] = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\naaaa",
            "passed 200",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\naaaab",
            "200 Mismatch",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\naa\r\n2\r\naa\r\n0\r\n\r\n",
            "passed 200",
        ),
        ("HTTP/1.1 200 OK\r\n\r\naaaa", "closed: passed 200"),
        ("HTTP/1.1 200 OK\r\n\r\naab", "closed: 200 Mismatch"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "passed 204"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\naaaa",
            "closed: 200 closed within the body",
        ),
        (&cut, "passed 200"),
    ];
    for (bytes, expect) in rows {
        for size in [1, 7, 1500, usize::MAX] {
            let asked = Arc::new(AtomicUsize::new(0));
            let counted = asked.clone();
            let test = BodyTest::new(move |body| {
                counted.fetch_add(1, Ordering::Relaxed);
                assert!(body.len() <= BODY_MOST_BYTES);
                body.iter().all(|&byte| byte == b'a')
            });
            let pieces = bytes.as_bytes().chunks(size.min(bytes.len()));
            let got = run_with(&check(None), Some(&test), pieces);
            let shown = &bytes[..bytes.len().min(80)];
            assert_eq!(got, expect, "{shown} by {size}");
            let broke = expect.contains("closed within");
            assert_eq!(
                asked.load(Ordering::Relaxed),
                usize::from(!broke),
                "{shown}"
            );
        }
    }
}
