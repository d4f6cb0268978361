//! Requests that are none (H7 to H9): no part of them reaches a backend, and what does reach it is framed by us alone.

use super::frames::*;
use super::hpack::block;
use super::{Connection, Scene};

/// What may answer a request that is refused.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Status(u16),
    Reset(u32),
    Goaway(u32),
    /// It was answered as if nothing were wrong.
    Not(u16),
}

fn outcome(client: &mut Connection, stream: u32) -> Refused {
    let got = client.answer(stream);
    match (got.reset, got.status()) {
        (_, status @ (400..=499 | 501)) => Refused::Status(status),
        (Some(code), 0) => Refused::Reset(code),
        (_, 0) => Refused::Goaway(client.goaway.map_or(u32::MAX, |(_, code)| code)),
        (_, status) => Refused::Not(status),
    }
}

/// Each row on a connection of its own: its name, its fields, its body, its trailers.
fn check(name: &str, rows: &[Row<'_>]) {
    let scene = Scene::new(name, "", "");
    let mut wrong = Vec::new();
    for (row, fields, body, trailers) in rows {
        let before = scene.backend.requests();
        let mut client = scene.client();
        let stream = client.stream();
        let ends = if body.is_none() { END_STREAM } else { 0 };
        let mut bytes = frame(HEADERS, END_HEADERS | ends, stream, &block(fields));
        if let Some(body) = body {
            let last = u8::from(trailers.is_none());
            bytes.extend(frame(DATA, last, stream, body.as_bytes()));
        }
        if let Some(trailers) = trailers {
            bytes.extend(frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &block(trailers),
            ));
        }
        client.write(&bytes);
        let got = outcome(&mut client, stream);
        let right = matches!(
            got,
            Refused::Status(400 | 417 | 421 | 431 | 414 | 501)
                | Refused::Reset(PROTOCOL_ERROR | CANCEL)
                | Refused::Goaway(PROTOCOL_ERROR | COMPRESSION_ERROR)
        );
        scene.rests();
        let after = scene.backend.requests();
        if !right || after != before {
            let what = scene.backend.recorded().pop();
            wrong.push(format!(
                "{row}: {got:?}, {} forwarded, {what:?}",
                after - before
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(scene.get("/").status(), 200);
}

type Row<'a> = (
    &'a str,
    Vec<(&'a str, &'a str)>,
    Option<&'a str>,
    Option<Vec<(&'a str, &'a str)>>,
);

/// One without a body.
fn row<'a>(name: &'a str, fields: &[(&'a str, &'a str)]) -> Row<'a> {
    (name, fields.to_vec(), None, None)
}

/// A whole request and these.
fn with<'a>(name: &'a str, more: &[(&'a str, &'a str)]) -> Row<'a> {
    (name, asks("GET", "/", more), None, None)
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "www.example.com");
const PATH: (&str, &str) = (":path", "/");

#[test]
fn pseudo_fields() {
    check(
        "pseudo",
        &[
            row("nothing", &[]),
            row("no method", &[SCHEME, AUTHORITY, PATH]),
            row("no scheme", &[METHOD, AUTHORITY, PATH]),
            row("no path", &[METHOD, SCHEME, AUTHORITY]),
            row("an empty path", &[METHOD, SCHEME, AUTHORITY, (":path", "")]),
            row("no authority and no host", &[METHOD, SCHEME, PATH]),
            row(
                "an empty authority",
                &[METHOD, SCHEME, (":authority", ""), PATH],
            ),
            row("two methods", &[METHOD, METHOD, SCHEME, AUTHORITY, PATH]),
            row(
                "two paths",
                &[METHOD, SCHEME, AUTHORITY, PATH, (":path", "/b")],
            ),
            row("two schemes", &[METHOD, SCHEME, SCHEME, AUTHORITY, PATH]),
            row(
                "two authorities",
                &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH],
            ),
            row(
                "one behind a field",
                &[METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH],
            ),
            row(
                "an unknown one",
                &[METHOD, SCHEME, AUTHORITY, PATH, (":x", "y")],
            ),
            row(
                "one of an answer",
                &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")],
            ),
            row(
                "a protocol without CONNECT",
                &[METHOD, SCHEME, AUTHORITY, PATH, (":protocol", "websocket")],
            ),
            row(
                "a protocol that is HTTP",
                &[
                    (":method", "CONNECT"),
                    (":protocol", "h2c"),
                    SCHEME,
                    AUTHORITY,
                    PATH,
                ],
            ),
            row(
                "CONNECT with a path",
                &[(":method", "CONNECT"), AUTHORITY, PATH],
            ),
            row(
                "CONNECT with a scheme",
                &[(":method", "CONNECT"), AUTHORITY, SCHEME],
            ),
            row("CONNECT without authority", &[(":method", "CONNECT")]),
            row(
                "a path without slash",
                &[METHOD, SCHEME, AUTHORITY, (":path", "a")],
            ),
            row(
                "a path that is a URL",
                &[METHOD, SCHEME, AUTHORITY, (":path", "http://other/")],
            ),
            row(
                "an asterisk for GET",
                &[METHOD, SCHEME, AUTHORITY, (":path", "*")],
            ),
        ],
    );
}

#[test]
fn fields_of_connections_and_of_two_minds() {
    check(
        "connection-fields",
        &[
            with("upper case", &[("X-Up", "y")]),
            with("upper case inside", &[("x-uP", "y")]),
            with("connection", &[("connection", "close")]),
            with(
                "connection that names",
                &[("connection", "x-own"), ("x-own", "y")],
            ),
            with("keep-alive", &[("keep-alive", "timeout=5")]),
            with("proxy-connection", &[("proxy-connection", "keep-alive")]),
            with("upgrade", &[("upgrade", "h2c")]),
            with("transfer-encoding", &[("transfer-encoding", "chunked")]),
            with(
                "transfer-encoding that is none",
                &[("transfer-encoding", "identity")],
            ),
            with("te other than trailers", &[("te", "gzip")]),
            with("te with more than trailers", &[("te", "trailers, gzip")]),
            with("host of another", &[("host", "other.example.com")]),
            with(
                "two hosts",
                &[("host", "www.example.com"), ("host", "other.example.com")],
            ),
            row(
                "a host with userinfo",
                &[METHOD, SCHEME, (":authority", "a@www.example.com"), PATH],
            ),
            row(
                "an authority with a path",
                &[METHOD, SCHEME, (":authority", "www.example.com/a"), PATH],
            ),
            row(
                "an authority with no port",
                &[METHOD, SCHEME, (":authority", "www.example.com:x"), PATH],
            ),
            row(
                "an authority with a port too high",
                &[
                    METHOD,
                    SCHEME,
                    (":authority", "www.example.com:65536"),
                    PATH,
                ],
            ),
        ],
    );
}

#[test]
fn lengths_that_are_not_those_of_bodies() {
    let sized = |name, length, body| -> Row<'_> {
        (
            name,
            asks("POST", "/", &[("content-length", length)]),
            body,
            None,
        )
    };
    check(
        "lengths",
        &[
            sized("too long", "5", Some("abcdef")),
            sized("too short", "5", Some("abcd")),
            sized("none at all", "5", None),
            sized(
                "nothing said, something sent",
                "0",
                Some("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
            ),
            sized("signed", "+1", Some("a")),
            sized("negative", "-1", Some("a")),
            sized("in hex", "0x1", Some("a")),
            sized("empty", "", Some("a")),
            sized("a list", "1, 1", Some("a")),
            sized("spaced", "1 1", Some("a")),
            sized("over all numbers", "18446744073709551617", Some("a")),
            (
                "two that differ",
                asks(
                    "POST",
                    "/",
                    &[("content-length", "1"), ("content-length", "2")],
                ),
                Some("a"),
                None,
            ),
            (
                "two that agree",
                asks(
                    "POST",
                    "/",
                    &[("content-length", "1"), ("content-length", "1")],
                ),
                Some("a"),
                None,
            ),
            (
                "with a coding",
                asks(
                    "POST",
                    "/",
                    &[("content-length", "5"), ("transfer-encoding", "chunked")],
                ),
                Some("0\r\n\r\n"),
                None,
            ),
            (
                "behind the body",
                asks("POST", "/", &[]),
                Some("a"),
                Some(vec![("connection", "close")]),
            ),
        ],
    );
}

/// H8: what would be two requests, or another one, once it is HTTP/1.1.
#[test]
fn bytes_that_split_requests() {
    let evil = "\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let marks = [
        ("CR LF", "\r\n"),
        ("CR", "\r"),
        ("LF", "\n"),
        ("NUL", "\0"),
        ("a request", evil),
        ("a coding", "\r\ntransfer-encoding: chunked"),
    ];
    // What is no name, no method, no path and no authority, but may stand within a value.
    let narrow = [("space", " "), ("tab", "\t"), ("DEL", "\x7f")];
    let mut texts: Vec<(String, [String; 2])> = Vec::new();
    for (what, mark) in marks.iter().chain(&narrow) {
        for (place, text) in [
            ("name", format!("x{mark}y")),
            ("method", format!("GET{mark}X")),
            ("path", format!("/a{mark}b")),
            ("query", format!("/a?b{mark}c")),
            ("authority", format!("www{mark}.example.com")),
            ("scheme", format!("http{mark}x")),
        ] {
            texts.push((format!("{what} in {place}"), [place.to_owned(), text]));
        }
    }
    for (what, mark) in &marks {
        for (place, text) in [
            ("value", format!("a{mark}b")),
            ("value", format!("{mark}a")),
            ("value", format!("a{mark}")),
            ("cookie", format!("a=1{mark}b=2")),
            ("trailer", format!("a{mark}b")),
        ] {
            texts.push((
                format!("{what} in {place} {text:?}"),
                [place.to_owned(), text],
            ));
        }
    }
    for (what, name) in [
        ("a colon in a name", "x:y"),
        ("a colon behind a name", "x:"),
        ("a whole field as a name", "content-length: 0"),
        ("a space behind a name", "content-length "),
        ("an empty name", ""),
        ("a quote in a name", "x\"y"),
        ("beyond ASCII in a name", "x\u{e9}"),
    ] {
        texts.push((what.to_owned(), ["name".to_owned(), name.to_owned()]));
    }
    texts.push((
        "a method of two words".into(),
        ["method".into(), "GET / HTTP/1.1\r\nx: y".into()],
    ));
    texts.push(("an empty method".into(), ["method".into(), String::new()]));
    texts.push(("a backslash".into(), ["path".into(), "/a\\b".into()]));
    texts.push(("beyond ASCII".into(), ["path".into(), "/\u{e9}".into()]));
    let rows: Vec<Row<'_>> = texts
        .iter()
        .map(|(name, [place, text])| {
            let replaced = |own: &'static str| {
                let mut fields = asks("GET", "/", &[]);
                let at = fields.iter().position(|(name, _)| *name == own).unwrap();
                fields[at].1 = text;
                row(name, &fields)
            };
            match &**place {
                "name" => with(name, &[(text, "y")]),
                "method" => replaced(":method"),
                "path" | "query" => replaced(":path"),
                "authority" => replaced(":authority"),
                "scheme" => replaced(":scheme"),
                "cookie" => with(name, &[("cookie", text)]),
                "trailer" => (
                    &**name,
                    asks("POST", "/", &[]),
                    Some("x"),
                    Some(vec![("x-late", &**text)]),
                ),
                _ => with(name, &[("x", text)]),
            }
        })
        .collect();
    check("splitting", &rows);
}

/// H9: what reaches a backend says the length, or chunks, as we frame it.
#[test]
fn framing_to_backends_is_ours() {
    let scene = Scene::new("framing", "", "");
    let mut client = scene.client();
    let mut sent = |fields: &[(&str, &str)], body: Option<&str>, trailers: &[(&str, &str)]| {
        let stream = client.ask(u8::from(body.is_none()), fields);
        if let Some(body) = body {
            client.send(stream, body.as_bytes(), trailers.is_empty());
        }
        if !trailers.is_empty() {
            client.write(&headers(stream, END_STREAM, trailers));
        }
        let got = client.answer(stream);
        assert_eq!((got.status(), got.reset), (200, None), "{fields:?}");
        scene.backend.last()
    };
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let got = sent(&asks("POST", "/", &[]), Some(smuggled), &[]);
    assert_eq!(got.body, smuggled.as_bytes());
    assert_eq!(
        (
            got.all("transfer-encoding"),
            got.all("content-length").len()
        ),
        (vec!["chunked"], 0)
    );
    let got = sent(
        &asks("POST", "/", &[("content-length", "3")]),
        Some("abc"),
        &[],
    );
    assert_eq!(got.body, b"abc");
    assert_eq!(
        (
            got.all("content-length"),
            got.all("transfer-encoding").len()
        ),
        (vec!["3"], 0)
    );
    // No body is no body, for GET and for POST.
    for method in ["GET", "DELETE", "OPTIONS"] {
        let got = sent(&asks(method, "/", &[]), None, &[]);
        assert!(
            got.all("transfer-encoding").is_empty() && got.body.is_empty(),
            "{got:?}"
        );
    }
    let got = sent(&asks("POST", "/", &[]), None, &[]);
    assert!(got.all("transfer-encoding").is_empty(), "{got:?}");
    let got = sent(&asks("GET", "/", &[]), Some("body"), &[]);
    assert_eq!(got.body, b"body");
    // Trailers go along; what frames or routes does not.
    let late = [
        ("x-sum", "7"),
        ("content-length", "9"),
        ("host", "other"),
        ("te", "gzip"),
    ];
    let stream_trailers = sent(
        &asks("POST", "/", &[("te", "trailers")]),
        Some("abc"),
        &late[..1],
    );
    assert!(
        stream_trailers
            .trailers
            .to_ascii_lowercase()
            .contains("x-sum: 7"),
        "{stream_trailers:?}"
    );
    // What may not stand in trailers does not go on, or nothing does (RFC 9113 section 8.1).
    for forbidden in late[1..3].iter().chain(&[(":path", "/b")]) {
        let stream = client_with_trailer(&scene, forbidden);
        let name = forbidden.0;
        assert!(!stream.to_ascii_lowercase().contains(name), "{stream}");
    }
    // One request each: nothing of any body was read as one.
    assert!(scene.backend.recorded().iter().all(|one| one.path() == "/"));
    // Its head: one Host, that of the authority; no field of HTTP/2; crumbs of cookies in one line.
    let fields = [
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-own", "y"),
        ("cookie", "c=3"),
    ];
    let mut client = scene.client();
    let stream = client.ask(END_STREAM, &asks("GET", "/a?b=c", &fields));
    assert_eq!(client.answer(stream).status(), 200);
    let got = scene.backend.last();
    assert!(
        got.head.starts_with("GET /a?b=c HTTP/1.1\r\n"),
        "{}",
        got.head
    );
    assert_eq!(got.all("host"), ["www.example.com"]);
    assert_eq!(got.all("cookie"), ["a=1; b=2; c=3"]);
    assert_eq!(got.all("x-own"), ["y"]);
    assert!(!got.head.contains("\r\n:"), "{}", got.head);
    // A fragment is no part of a path (RFC 9112 section 3.2).
    let stream = client.ask(END_STREAM, &asks("GET", "/a#b", &[]));
    assert_eq!(client.answer(stream).status(), 400);
    // The same host twice is the same host.
    let stream = client.ask(
        END_STREAM,
        &asks("GET", "/", &[("host", "www.example.com")]),
    );
    assert_eq!(client.answer(stream).status(), 200);
    assert_eq!(scene.backend.last().all("host"), ["www.example.com"]);
    // A host stands in for an authority.
    let stream = client.ask(
        END_STREAM,
        &[METHOD, SCHEME, PATH, ("host", "b.example.com")],
    );
    assert_eq!(client.answer(stream).status(), 200);
    assert_eq!(scene.backend.last().all("host"), ["b.example.com"]);
}

/// The trailers that reach the backend when this is sent as one; none when it is refused.
fn client_with_trailer(scene: &Scene, trailer: &(&str, &str)) -> String {
    let before = scene.backend.requests();
    let mut client = scene.client();
    let stream = client.ask(0, &asks("POST", "/", &[]));
    client.send(stream, b"abc", false);
    client.write(&headers(stream, END_STREAM, &[*trailer]));
    client.answer(stream);
    let told = scene.backend.recorded();
    told[before..]
        .iter()
        .map(|one| one.trailers.clone())
        .collect()
}

/// Frames that are wrong in themselves end the connection, with the code that the RFC has for it.
#[test]
fn frames_that_are_wrong_end_the_connection() {
    let scene = Scene::new("frames", "", "");
    let get = || headers(1, END_STREAM, &asks("GET", "/", &[]));
    for (name, bytes, codes) in [
        (
            "DATA on no stream",
            frame(DATA, 0, 0, b"x"),
            &[PROTOCOL_ERROR][..],
        ),
        (
            "HEADERS on no stream",
            headers(0, END_STREAM, &asks("GET", "/", &[])),
            &[PROTOCOL_ERROR],
        ),
        (
            "an even stream",
            headers(2, END_STREAM, &asks("GET", "/", &[])),
            &[PROTOCOL_ERROR],
        ),
        (
            "DATA on an idle stream",
            frame(DATA, END_STREAM, 5, b"x"),
            &[PROTOCOL_ERROR],
        ),
        (
            "RST_STREAM on an idle stream",
            reset(5, CANCEL),
            &[PROTOCOL_ERROR],
        ),
        (
            "a window for an idle stream",
            window_update(5, 1),
            &[PROTOCOL_ERROR],
        ),
        (
            "a short RST_STREAM",
            [get(), frame(RST_STREAM, 0, 1, b"abc")].concat(),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "a short PING",
            frame(PING, 0, 0, b"abc"),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "PING on a stream",
            frame(PING, 0, 1, b"abcdefgh"),
            &[PROTOCOL_ERROR],
        ),
        (
            "SETTINGS on a stream",
            frame(SETTINGS, 0, 1, b""),
            &[PROTOCOL_ERROR],
        ),
        (
            "SETTINGS of five bytes",
            frame(SETTINGS, 0, 0, b"abcde"),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "an acknowledgement with a payload",
            frame(SETTINGS, ACK, 0, b"abcdef"),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "a window over 2^31",
            settings(&[(INITIAL_WINDOW, 0x8000_0000)]),
            &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR],
        ),
        (
            "a frame size below all",
            settings(&[(5, 100)]),
            &[PROTOCOL_ERROR],
        ),
        ("no more window", window_update(0, 0), &[PROTOCOL_ERROR]),
        (
            "too much window",
            window_update(0, 0x7fff_ffff),
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "a frame of 16 MiB",
            b"\xff\xff\xff\x00\x00\x00\x00\x00\x01".to_vec(),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "a push of a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02"),
            &[PROTOCOL_ERROR],
        ),
        (
            "CONTINUATION of nothing",
            frame(CONTINUATION, END_HEADERS, 1, b""),
            &[PROTOCOL_ERROR],
        ),
        (
            "another frame within a block",
            [
                frame(HEADERS, END_STREAM, 1, b""),
                frame(PING, 0, 0, b"abcdefgh"),
            ]
            .concat(),
            &[PROTOCOL_ERROR],
        ),
        (
            "a block that goes on elsewhere",
            [
                frame(HEADERS, END_STREAM, 1, b""),
                frame(CONTINUATION, END_HEADERS, 3, b""),
            ]
            .concat(),
            &[PROTOCOL_ERROR],
        ),
        (
            "padding longer than its frame",
            [
                headers(1, 0, &asks("POST", "/", &[])),
                frame(DATA, PADDED, 1, b"\x09abc"),
            ]
            .concat(),
            &[PROTOCOL_ERROR],
        ),
        (
            "a stream below the last",
            [
                headers(5, END_STREAM, &asks("GET", "/", &[])),
                headers(3, END_STREAM, &asks("GET", "/", &[])),
            ]
            .concat(),
            &[PROTOCOL_ERROR, STREAM_CLOSED],
        ),
        (
            "another preface within",
            PREFACE.to_vec(),
            &[PROTOCOL_ERROR, FRAME_SIZE_ERROR],
        ),
    ] {
        let mut client = scene.client();
        client.write(&bytes);
        let taken = client.settled();
        assert!(!taken, "{name}: it was taken");
        let code = client.goaway.map(|(_, code)| code);
        // For what is wrong in its size the crate has the general code.
        assert!(
            code.is_some_and(|code| codes.contains(&code) || code == PROTOCOL_ERROR),
            "{name}: {code:?}"
        );
    }
    assert_eq!(scene.get("/").status(), 200);
}

/// What begins as HTTP/2 and is none is no request of HTTP/1.1 either.
#[test]
fn prefaces_that_are_none() {
    let scene = Scene::new("prefaces", "", "");
    for text in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/2.0\r\nHost: a\r\n\r\n",
        "PRI / HTTP/2.0\r\n\r\n",
        "PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    ] {
        let stream = crate::process::hold(scene.keel.address, text);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut told = Vec::new();
        let _ = std::io::Read::read_to_end(&mut &stream, &mut told);
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(!told.contains(" 200 "), "{text:?}: {told}");
    }
    // Both protocols on one port, byte by byte too.
    assert!(
        scene
            .keel
            .curl(&["--include"], "/")
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
    let mut client = scene.client();
    let bytes = headers(1, END_STREAM, &asks("GET", "/", &[]));
    for byte in bytes {
        client.write(&[byte]);
    }
    client.stream();
    assert_eq!(client.answer(1).status(), 200);
    assert_eq!(scene.backend.requests(), 2);
}
