//! What requests are refused, and as what; and what of the others is understood.
#![expect(clippy::panic, reason = "a test may fail where it likes")]

use evenkeel_wire::http1::request::{PathForm, parse};
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use evenkeel_wire::{Framing, Malformed, RequestHead};

/// Reads a head however it is cut; every cut must lead to the same.
fn read(input: &[u8], form: PathForm) -> Result<RequestHead, Malformed> {
    let mut last = None;
    for step in [1, 3, input.len()] {
        let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
        let mut result = None;
        let mut so_far = 0;
        while result.is_none() && so_far < input.len() {
            so_far = (so_far + step).min(input.len());
            let limits = HeadLimits::default();
            result = parse(&input[..so_far], &mut end, &limits, form, &mut head).transpose();
        }
        let result = result.map(|result| result.map(|_| head));
        let word = |result: &Option<Result<RequestHead, Malformed>>| {
            result.as_ref().map(|result| match result {
                Ok(head) => format!("{head:?}"),
                Err(error) => error.word().to_owned(),
            })
        };
        assert!(
            last.is_none() || word(&last) == word(&result),
            "cut by {step}: {:?}",
            word(&result)
        );
        last = Some(result).flatten();
    }
    last.unwrap_or_else(|| panic!("not whole: {:?}", String::from_utf8_lossy(input)))
}

#[track_caller]
fn refused(input: impl AsRef<[u8]>, expect: Malformed) {
    let input = input.as_ref();
    let text = String::from_utf8_lossy(input);
    match read(input, PathForm::Normalize) {
        Ok(_) => panic!("taken: {text:?}"),
        Err(error) => assert_eq!(error, expect, "{text:?}"),
    }
}

/// A request with these lines between the host and the end.
fn with(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

fn taken(input: &str) -> RequestHead {
    read(input.as_bytes(), PathForm::Normalize).unwrap_or_else(|error| panic!("{input:?}: {error}"))
}

#[test]
fn f1_to_f5_framing() {
    use Malformed::*;
    for (lines, expect) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            LengthAndCoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            LengthAndCoding,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6",
            ContentLengthRepeated,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5",
            ContentLengthRepeated,
        ),
        ("Content-Length: 5, 6", ContentLengthRepeated),
        ("Content-Length: 5,", ContentLengthRepeated),
        ("Content-Length: 5, 5", ContentLengthRepeated),
        ("Content-Length: +5", ContentLength),
        ("Content-Length: -5", ContentLength),
        ("Content-Length: 5 5", ContentLength),
        ("Content-Length: 0x5", ContentLength),
        ("Content-Length: 5_0", ContentLength),
        ("Content-Length:", ContentLength),
        ("Content-Length: 9223372036854775808", ContentLength),
        ("Content-Length: 18446744073709551617", ContentLength),
        ("Transfer-Encoding: chunked, chunked", TransferEncoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            TransferEncoding,
        ),
        ("Transfer-Encoding: identity", TransferEncoding),
        ("Transfer-Encoding: chunked, identity", TransferEncoding),
        ("Transfer-Encoding: gzip, chunked", TransferEncoding),
        ("Transfer-Encoding: xchunked", UnknownCoding),
        ("Transfer-Encoding: gzip", UnknownCoding),
        ("Transfer-Encoding: \"chunked\"", TransferEncoding),
        ("Transfer-Encoding: chunked;a=b", TransferEncoding),
        ("Transfer-Encoding: \x0bchunked", FieldValue),
        ("Transfer-Encoding:", TransferEncoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            TransferEncoding,
        ),
    ] {
        refused(with(lines), expect);
    }
    refused(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        CodingInOldVersion,
    );
    let wrapping = format!("Content-Length0{}: 60", "a".repeat(255));
    assert_eq!(taken(&with(&wrapping)).framing(), Framing::Empty);
    for (lines, framing) in [
        ("Content-Length: 0", Framing::Empty),
        (
            "Content-Length: 9223372036854775807",
            Framing::Exact(i64::MAX as u64),
        ),
        ("content-LENGTH:\t7 ", Framing::Exact(7)),
        ("Transfer-Encoding: CHUNKED", Framing::Chunked),
        ("Transfer-Encoding:\tchunked\t", Framing::Chunked),
    ] {
        assert_eq!(taken(&with(lines)).framing(), framing, "{lines}");
    }
}

#[test]
fn f6_to_f8_fields_and_lines() {
    use Malformed::{FieldName, FieldValue, Fold, LineEnd};
    for (lines, expect) in [
        ("Transfer-Encoding : chunked", FieldName),
        ("Content Length: 5", FieldName),
        ("X\x01: a", FieldName),
        ("X\u{e4}: a", FieldName),
        (": a", FieldName),
        ("no colon", FieldName),
        ("(a): b", FieldName),
        ("X: a\r\n folded", Fold),
        ("X: a\r\n\tfolded", Fold),
        ("X: a\0b", FieldValue),
        ("X: a\x7f", FieldValue),
        ("X: a\x08b", FieldValue),
    ] {
        refused(with(lines), expect);
    }
    refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Fold);
    refused("GET / HTTP/1.1\nHost: a\r\n\r\n", LineEnd);
    refused("GET / HTTP/1.1\r\nHost: a\n\r\n", LineEnd);
    refused("GET / HTTP/1.1\r\nHost: a\r\n\n", LineEnd);
    for bare in ["X: a\rb", "X: a\r\r"] {
        let got = read(with(bare).as_bytes(), PathForm::Normalize);
        assert!(
            matches!(got, Err(FieldValue | LineEnd)),
            "{bare:?}: {got:?}"
        );
    }
    assert_eq!(
        taken(&with("X: a\tb \u{e4}")).field(b"x").unwrap(),
        "a\tb \u{e4}".as_bytes()
    );
}

#[test]
fn f12_request_line() {
    use Malformed::*;
    for (line, expect) in [
        ("GET /", StartLine),
        ("GET", StartLine),
        ("GET / HTTP/2.0", Version),
        ("GET / HTTP/0.9", Version),
        ("GET / HTTP/3.1", Version),
        ("GET / HTTP/1.2", StartLine),
        ("GET / HTTP/1.10", StartLine),
        ("GET / http/1.1", StartLine),
        ("GET / HTTPS/1.1", StartLine),
        ("GET  / HTTP/1.1", StartLine),
        ("GET /  HTTP/1.1", StartLine),
        ("GET / HTTP/1.1 ", StartLine),
        (" GET / HTTP/1.1", StartLine),
        ("GET\t/ HTTP/1.1", StartLine),
        ("GET /a b HTTP/1.1", StartLine),
        ("G(T / HTTP/1.1", Method),
        ("G\u{e4}T / HTTP/1.1", Method),
    ] {
        refused(format!("{line}\r\nHost: a\r\n\r\n"), expect);
    }
    refused(
        format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(33)),
        Method,
    );
    refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", StartLine);
    refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", LineEnd);
    assert_eq!(
        taken("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").method(),
        b"GET"
    );
    assert_eq!(
        taken(&format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(32)))
            .method()
            .len(),
        32
    );
}

#[test]
fn f13_target() {
    use Malformed::*;
    for (line, expect) in [
        ("GET a", Target),
        ("GET a:80", Target),
        ("GET *", Target),
        ("GET /a#b", Target),
        ("GET /\u{e4}", Target),
        ("GET /a\\b", Target),
        ("GET /a\x01b", Target),
        ("GET /a\0b", Target),
        ("GET ftp://a/", Target),
        ("GET http:/a/", Target),
        ("GET http://b/", AuthorityDiffers),
        ("GET http://a:81/", AuthorityDiffers),
        ("GET http://user@a/", Host),
        ("GET http:///", Host),
        ("CONNECT a:80", Connect),
        ("CONNECT /", Connect),
    ] {
        refused(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"), expect);
    }
    let path = |line: &str| {
        let head = taken(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let query = head
            .query()
            .map(|query| String::from_utf8(query.to_vec()).unwrap());
        (String::from_utf8(head.path().to_vec()).unwrap(), query)
    };
    assert_eq!(path("GET http://A/x?y"), ("/x".into(), Some("y".into())));
    assert_eq!(path("GET HTTPS://a."), ("/".into(), None));
    assert_eq!(path("GET http://a?q"), ("/".into(), Some("q".into())));
    assert_eq!(path("OPTIONS http://a"), ("*".into(), None));
    assert_eq!(path("OPTIONS *"), ("*".into(), None));
    assert_eq!(path("GET /?"), ("/".into(), Some(String::new())));
    assert_eq!(
        path("GET /a?b?c=%zz|{}"),
        ("/a".into(), Some("b?c=%zz|{}".into()))
    );
}

#[test]
fn f14_host() {
    use Malformed::*;
    refused("GET / HTTP/1.1\r\n\r\n", HostMissing);
    refused("GET http://a/ HTTP/1.1\r\nX: y\r\n\r\n", HostMissing);
    refused(with("Host: a"), HostRepeated);
    refused(with("HOST: b"), HostRepeated);
    for host in [
        "", "a,b", "a b", "u@a", "a/b", "a:", "a:x", "a:0", "a:99999", "[::1", "a?b",
    ] {
        let expect = if host == "a:" { None } else { Some(Host) };
        let input = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        match expect {
            Some(expect) => refused(input, expect),
            None => assert_eq!(taken(&input).host(), "a"),
        }
    }
    let head = taken("GET / HTTP/1.1\r\nHost: WWW.Example.COM.:8080\r\n\r\n");
    assert_eq!((head.host(), head.port()), ("www.example.com", Some(8080)));
    assert_eq!(head.authority(), b"WWW.Example.COM.:8080");
    // An address is one host however it is spelled (RFC 5952), and goes on as it came.
    for (written, host) in [
        ("[2001:DB8::0:1]", "[2001:db8::1]"),
        ("[2001:db8:0:0:0:0:0:1]:80", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[0::0]", "[::]"),
        ("[::FFFF:7f00:1]", "[::ffff:127.0.0.1]"),
    ] {
        let head = taken(&format!("GET / HTTP/1.1\r\nHost: {written}\r\n\r\n"));
        assert_eq!((head.host(), head.authority()), (host, written.as_bytes()));
    }
    let both = "GET http://[::1]/ HTTP/1.1\r\nHost: [0:0::1]\r\n\r\n";
    assert_eq!(taken(both).host(), "[::1]");
    refused(
        "GET http://[::1]/ HTTP/1.1\r\nHost: [::2]\r\n\r\n",
        AuthorityDiffers,
    );
    // Names without empty labels; the last dot is none.
    for host in ["a..b", ".a", "a..", "..", "."] {
        refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), Host);
        refused(
            format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            Host,
        );
    }
    assert_eq!(taken("GET / HTTP/1.0\r\n\r\n").host(), "");
    assert_eq!(
        taken("GET http://b:1/ HTTP/1.0\r\n\r\n").authority(),
        b"b:1"
    );
}

#[test]
fn f16_expectations() {
    refused(with("Expect: 200-ok"), Malformed::Expectation);
    refused(with("Expect: y 100-continue"), Malformed::Expectation);
    refused(with("Expect: 100-continue, x"), Malformed::Expectation);
    refused(with("Expect:"), Malformed::Expectation);
    assert!(taken(&with("Content-Length: 1\r\nExpect: 100-Continue")).expects_continue());
    let twice = "Content-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue";
    assert!(taken(&with(twice)).expects_continue());
    assert!(
        !taken(&with("Expect: 100-continue")).expects_continue(),
        "no body"
    );
    let old = "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    assert!(!taken(old).expects_continue());
}

#[test]
fn f18_upgrades() {
    let upgrade = |lines: &str| {
        let head = taken(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"));
        head.upgrade()
            .map(|protocol| String::from_utf8(protocol.to_vec()).unwrap())
    };
    assert_eq!(
        upgrade("Connection: Upgrade\r\nUpgrade: websocket").as_deref(),
        Some("websocket")
    );
    assert_eq!(
        upgrade("Connection: keep-alive, upgrade\r\nUpgrade: echo/1.0").as_deref(),
        Some("echo/1.0")
    );
    // What carries requests itself, in any version and spelling.
    for hidden in [
        "h2c", "h2c/1", "H2", "h3", "HTTP/2.0", "http/1.1", "HTTP", "TLS/1.0", "tls/1.2",
    ] {
        let lines = format!("Connection: upgrade\r\nUpgrade: {hidden}");
        assert_eq!(upgrade(&lines), None, "{hidden}");
    }
    assert_eq!(
        upgrade("Upgrade: websocket"),
        None,
        "not asked for by Connection"
    );
    assert_eq!(
        upgrade("Connection: upgrade, http2-settings\r\nUpgrade: H2C\r\nHTTP2-Settings: x"),
        None
    );
    assert_eq!(
        upgrade("Connection: upgrade\r\nUpgrade: websocket, h2c"),
        None
    );
    assert_eq!(
        upgrade("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c"),
        None
    );
    assert_eq!(upgrade("Connection: upgrade\r\nUpgrade: web socket"), None);
    assert_eq!(
        upgrade("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3"),
        None
    );
}

#[test]
fn f21_paths() {
    let path = |target: &str, form| {
        let input = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        read(input.as_bytes(), form).map(|head| String::from_utf8(head.path().to_vec()).unwrap())
    };
    let normal = |target| path(target, PathForm::Normalize);
    assert_eq!(
        normal("//a/./b/%2e%2E/c%2f?x=%2e").as_deref(),
        Ok("/a/c%2F")
    );
    assert_eq!(normal("/a%00"), Err(Malformed::Path));
    assert_eq!(normal("/../a"), Err(Malformed::Path));
    assert_eq!(normal("http://a//b").as_deref(), Ok("/b"));
    assert_eq!(path("/a/b", PathForm::Refuse).as_deref(), Ok("/a/b"));
    assert_eq!(
        path("/.well-known/x", PathForm::Refuse).as_deref(),
        Ok("/.well-known/x")
    );
    for target in ["//a", "/a/../b", "/%61", "/a%2f"] {
        assert_eq!(
            path(target, PathForm::Refuse),
            Err(Malformed::PathForm),
            "{target}"
        );
    }
    assert_eq!(
        path("//a/../%61", PathForm::AsIs).as_deref(),
        Ok("//a/../%61")
    );
    assert_eq!(path("/a%00", PathForm::AsIs), Err(Malformed::Path));
}

#[test]
fn f23_limits() {
    use Malformed::*;
    refused(
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8192)),
        TargetTooLong,
    );
    refused(format!("GET /{}", "a".repeat(9000)), TargetTooLong);
    assert_eq!(
        taken(&format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "a".repeat(8191)
        ))
        .path()
        .len(),
        8192
    );
    refused(
        with(&"A: b\r\n".repeat(100)).replace("\r\n\r\n\r\n", "\r\n\r\n"),
        TooManyFields,
    );
    assert_eq!(
        taken(&with("A: b\r\n".repeat(99).trim_end()))
            .fields()
            .count(),
        100
    );
    refused(
        with(&"A: b\r\n".repeat(300)).replace("\r\n\r\n\r\n", "\r\n\r\n"),
        TooManyFields,
    );
    refused(with(&format!("A: {}", "b".repeat(33_000))), HeadTooLarge);
    refused(
        format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(33_000)),
        HeadTooLarge,
    );
    // An empty line before the head is no part of it, however it comes in.
    let room = HeadLimits::default().bytes - with("A: ").len();
    taken(&format!(
        "\r\n{}",
        with(&format!("A: {}", "b".repeat(room)))
    ));
    refused(
        format!("\r\n{}", with(&format!("A: {}", "b".repeat(room + 1)))),
        HeadTooLarge,
    );
}

#[test]
fn who_keeps_the_connection() {
    let keeps = |version: &str, connection: &str| {
        taken(&format!(
            "GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n"
        ))
        .keeps_connection()
    };
    assert!(keeps("1.1", "x") && keeps("1.1", "keep-alive") && keeps("1.0", "Keep-Alive"));
    assert!(!keeps("1.1", "a, CLOSE") && !keeps("1.1", "keep-alive, close"));
    assert!(!keeps("1.0", "x") && !keeps("1.0", "keep-alive, close"));
}
