//! Backends that speak HTTP/2, badly or within their rights (H10). Each story drives both ends by hand: a client in front, raw
//! frames behind.

use std::net::TcpListener;

use super::frames::*;
use super::hpack::{block, value};
use super::{Connection, configuration, used};
use crate::process::{Evenkeel, Folder};

pub(crate) struct Between {
    pub(crate) keel: Evenkeel,
    pub(crate) behind: TcpListener,
    _folder: Folder,
}

impl Between {
    pub(crate) fn new(name: &str, service: &str) -> Self {
        let behind = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = Folder::new(name);
        let service = format!("upstream: {{ protocol: http2 }}, {service}");
        let text = configuration("", &behind.local_addr().unwrap().to_string(), &service);
        let file = folder.write("keel.yaml", &text);
        Self {
            keel: Evenkeel::run(&["-c", file.to_str().unwrap()]),
            behind,
            _folder: folder,
        }
    }

    pub(crate) fn client(&self) -> Connection {
        Connection::to(self.keel.address, &[])
    }

    /// The next connection to the backend.
    pub(crate) fn accept(&self, values: &[(u16, u32)]) -> Connection {
        Connection::accepted(self.behind.accept().unwrap().0, values).unwrap()
    }
}

pub(crate) const OK: &[(&str, &str)] = &[(":status", "200")];

/// Waits for so many heads; their streams.
pub(crate) fn asked(behind: &mut Connection, number: usize) -> Vec<u32> {
    let open = |own: &Connection| {
        own.streams
            .values()
            .filter(|got| !got.heads.is_empty())
            .count()
    };
    assert!(
        behind.until(|own| open(own) >= number),
        "{:?}",
        behind.streams
    );
    behind.streams.keys().copied().collect()
}

#[test]
fn streams_share_a_connection_and_answers_find_theirs() {
    let between = Between::new("shared", "");
    let mut client = between.client();
    let first = client.ask(END_STREAM, &asks("GET", "/first", &[]));
    let mut behind = between.accept(&[]);
    let own = asked(&mut behind, 1)[0];
    behind.write(&headers(own, END_STREAM, OK));
    assert_eq!(client.answer(first).status(), 200);
    let streams: Vec<u32> = (0..20)
        .map(|number| {
            client.ask(
                END_STREAM,
                &asks("GET", &format!("/{number}"), &[("x-own", "y")]),
            )
        })
        .collect();
    let own = asked(&mut behind, 21);
    // Answered backwards.
    for stream in own[1..].iter().rev() {
        let head = behind.streams[stream].head().unwrap().clone();
        let path = value(&head, ":path").unwrap();
        assert_eq!(value(&head, ":method"), Some("GET"));
        assert_eq!(value(&head, ":scheme"), Some("http"));
        assert_eq!(value(&head, ":authority"), Some("www.example.com"));
        assert_eq!(
            (
                value(&head, "x-own"),
                value(&head, "host"),
                value(&head, "connection")
            ),
            (Some("y"), None, None)
        );
        behind.write(&headers(*stream, 0, OK));
        behind.write(&frame(DATA, END_STREAM, *stream, path.as_bytes()));
    }
    for (number, stream) in streams.iter().enumerate() {
        assert_eq!(
            client.answer(*stream).body,
            format!("/{number}").into_bytes()
        );
    }
}

/// Streams above the last that GOAWAY names were not looked at: even a POST is sent anew, elsewhere.
#[test]
fn what_goaway_leaves_out_is_sent_anew() {
    let between = Between::new("goaway", "");
    let mut client = between.client();
    let warm = client.ask(END_STREAM, &asks("GET", "/warm", &[]));
    let mut behind = between.accept(&[]);
    let own = asked(&mut behind, 1)[0];
    behind.write(&headers(own, END_STREAM, OK));
    assert_eq!(client.answer(warm).status(), 200);
    let streams: Vec<u32> = (0..3)
        .map(|_| client.ask(END_STREAM, &asks("POST", "/", &[])))
        .collect();
    let own = asked(&mut behind, 4);
    behind.write(&goaway(own[1], NO_ERROR));
    behind.write(&headers(own[1], END_STREAM, OK));
    let mut next = between.accept(&[]);
    for stream in asked(&mut next, 2) {
        next.write(&headers(stream, END_STREAM, OK));
    }
    for stream in streams {
        let got = client.answer(stream);
        assert_eq!((got.status(), got.reset), (200, None));
    }
    // The old connection gets no more, and is let go.
    behind.until(|own| own.closed);
    assert_eq!(behind.streams.len(), 4);
}

/// A drain in the RFC's two steps loses nothing.
#[test]
fn a_drain_in_two_steps() {
    let between = Between::new("two-steps", "");
    let mut client = between.client();
    let one = client.ask(END_STREAM, &asks("GET", "/", &[]));
    let mut behind = between.accept(&[]);
    let own = asked(&mut behind, 1)[0];
    behind.write(&goaway(0x7fff_ffff, NO_ERROR));
    assert!(behind.settled());
    behind.write(&goaway(own, NO_ERROR));
    let two = client.ask(END_STREAM, &asks("GET", "/", &[]));
    let mut next = between.accept(&[]);
    let other = asked(&mut next, 1)[0];
    next.write(&headers(other, END_STREAM, OK));
    assert_eq!(client.answer(two).status(), 200);
    // What was under way may take as long as it takes.
    behind.write(&headers(own, 0, OK));
    behind.write(&frame(DATA, END_STREAM, own, b"late"));
    assert_eq!(client.answer(one).body, b"late");
}

#[test]
fn streams_that_a_backend_takes_back_are_not_sent_there_again() {
    for (name, code) in [
        ("internal", 2),
        ("cancelled", CANCEL),
        ("calm", ENHANCE_YOUR_CALM),
    ] {
        let between = Between::new(&format!("reset-{name}"), "");
        let mut client = between.client();
        // Without a body: what was sent of one is not kept.
        let stream = client.ask(END_STREAM, &asks("POST", "/", &[]));
        let mut behind = between.accept(&[]);
        let own = asked(&mut behind, 1)[0];
        behind.write(&reset(own, code));
        assert_eq!(client.answer(stream).status(), 502, "{name}");
        assert!(behind.settled());
        assert_eq!(behind.streams.len(), 1, "{name}: a POST ran twice");
    }
}

/// The next stream that the backend is asked on behind so many, and what came on it by its end.
fn next(behind: &mut Connection, before: usize) -> u32 {
    let own = asked(behind, before + 1)[before];
    assert!(behind.until(|behind| behind.streams[&own].ended));
    own
}

/// What a backend says that it has not looked at is asked of it anew, a POST too, and with its body.
#[test]
fn refused_streams_are_asked_anew_with_their_bodies() {
    let between = Between::new("reset-refused", "");
    let mut client = between.client();
    let stream = client.ask(0, &asks("POST", "/", &[("x-mark", "1")]));
    client.send(stream, b"a bo", false);
    client.send(stream, b"dy", true);
    let mut behind = between.accept(&[]);
    let first = next(&mut behind, 0);
    behind.write(&reset(first, REFUSED_STREAM));
    let own = next(&mut behind, 1);
    assert_eq!(behind.streams[&own].body, b"a body");
    behind.write(&headers(own, END_STREAM, OK));
    assert_eq!(client.answer(stream).status(), 200);
}

/// A call that its backend says it has not seen is made anew, with its message: on the same connection, or on the next.
#[test]
fn calls_that_were_not_seen_are_made_anew() {
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let message = b"\0\0\0\0\x01a";
    for (name, refuses, leaves) in [
        ("refused", true, false),
        ("goes", false, false),
        ("goes-at-once", false, true),
    ] {
        let between = Between::new(&format!("unseen-{name}"), "breaker: off");
        let mut client = between.client();
        let stream = client.ask(0, &asks("POST", "/a.B/C", &grpc));
        client.send(stream, message, true);
        let mut first = between.accept(&[]);
        let own = next(&mut first, 0);
        first.write(&match refuses {
            true => reset(own, REFUSED_STREAM),
            false => goaway(0, NO_ERROR),
        });
        let (mut behind, before) = match (refuses, leaves) {
            (true, _) => (first, 1),
            (false, true) => {
                drop(first);
                (between.accept(&[]), 0)
            }
            (false, false) => (between.accept(&[]), 0),
        };
        let own = next(&mut behind, before);
        assert_eq!(behind.streams[&own].body, message, "{name}");
        let served = [
            OK,
            &[("content-type", "application/grpc"), ("grpc-status", "0")],
        ]
        .concat();
        behind.write(&headers(own, END_STREAM, &served));
        let got = client.answer(stream);
        assert_eq!(
            value(got.head().unwrap(), "grpc-status"),
            Some("0"),
            "{name}"
        );
        assert_eq!(behind.streams.len(), before + 1, "{name}: it ran twice");
    }
}

/// A call whose answer is a status alone is made again where that is named, unless its server asks for none.
#[test]
fn calls_that_are_unavailable_are_made_again() {
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let says = |status: &'static str, more: &[(&'static str, &'static str)]| {
        let mut fields = vec![
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", status),
        ];
        fields.extend_from_slice(more);
        fields
    };
    let pushback = |ms: &'static str| says("14", &[("grpc-retry-pushback-ms", ms)]);
    for (name, first, again) in [
        ("unavailable", says("14", &[]), true),
        // `overloaded` names it for what may be repeated; its server may have begun it.
        ("exhausted", says("8", &[]), false),
        ("named-exhausted", says("8", &[]), true),
        ("unnamed", says("13", &[]), false),
        ("pushed-back", pushback("5"), true),
        ("pushed-away", pushback("-1"), false),
        ("pushed-far", pushback("5000"), false),
        ("pushed-oddly", pushback("soon"), false),
    ] {
        let on = match name {
            "named-exhausted" => "retry: { on: [resource_exhausted] }",
            _ => "",
        };
        let between = Between::new(&format!("call-{name}"), on);
        let mut client = between.client();
        let stream = client.ask(0, &asks("POST", "/a.B/C", &grpc));
        client.send(stream, b"\0\0\0\0\x02hi", true);
        let mut behind = between.accept(&[]);
        let own = next(&mut behind, 0);
        behind.write(&headers(own, END_STREAM, &first));
        if again {
            let own = next(&mut behind, 1);
            assert_eq!(behind.streams[&own].body, b"\0\0\0\0\x02hi", "{name}");
            behind.write(&headers(own, END_STREAM, &says("0", &[])));
        }
        let got = client.answer(stream);
        let status = value(got.head().unwrap(), "grpc-status")
            .unwrap()
            .to_owned();
        let told = first
            .iter()
            .find(|(name, _)| *name == "grpc-status")
            .unwrap()
            .1;
        assert_eq!(status, if again { "0" } else { told }, "{name}");
        assert!(behind.settled());
        assert_eq!(behind.streams.len(), 1 + usize::from(again), "{name}");
    }
}

#[test]
fn limits_of_streams_are_kept() {
    let between = Between::new("limits", "");
    let mut client = between.client();
    let warm = client.ask(END_STREAM, &asks("GET", "/", &[]));
    let mut behind = between.accept(&[(MAX_STREAMS, 1)]);
    let own = asked(&mut behind, 1)[0];
    // Its settings are known when they are acknowledged.
    assert!(behind.until(|own| own.acknowledged == 1));
    behind.write(&headers(own, END_STREAM, OK));
    assert_eq!(client.answer(warm).status(), 200);
    let address = between.behind.try_clone().unwrap();
    // Each connection serves one stream at a time, and fails when there are two.
    std::thread::spawn(move || {
        let serve = |mut behind: Connection| {
            let mut done = 1;
            while let Some(frame) = behind.pump() {
                if frame.kind != HEADERS {
                    continue;
                }
                let open = behind
                    .streams
                    .keys()
                    .filter(|stream| **stream >= frame.stream)
                    .count();
                // Whatever else came in the meantime would have to be read to be seen.
                let more =
                    behind.settled() && behind.streams.keys().any(|stream| *stream > frame.stream);
                let status = if open > 1 || more { "500" } else { "200" };
                behind.write(&headers(frame.stream, END_STREAM, &[(":status", status)]));
                done += 1;
            }
            done
        };
        let first = std::thread::spawn(move || serve(behind));
        for stream in address.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                Connection::accepted(stream, &[(MAX_STREAMS, 1)]).map(serve)
            });
        }
        first.join()
    });
    let streams: Vec<u32> = (0..10)
        .map(|_| client.ask(END_STREAM, &asks("GET", "/", &[])))
        .collect();
    for stream in streams {
        assert_eq!(client.answer(stream).status(), 200);
    }
}

/// A backend's windows: shut, then open, then made smaller than what is under way.
#[test]
fn windows_of_backends_are_kept() {
    let between = Between::new("windows", "");
    let (_, before) = used(&between.keel);
    let mut client = between.client();
    let stream = client.ask(0, &asks("POST", "/", &[]));
    let body = super::recorder::pattern(200_000);
    let mut behind = between.accept(&[(INITIAL_WINDOW, 0)]);
    behind.feeds = false;
    assert!(behind.until(|own| own.acknowledged == 1));
    let own = asked(&mut behind, 1)[0];
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| {
            client.send(stream, &body, true);
            client.answer(stream)
        });
        // Some may have come before the settings did.
        assert!(behind.settled());
        let early = behind.streams[&own].body.len();
        assert!(behind.settled());
        assert_eq!(
            behind.streams[&own].body.len(),
            early,
            "beyond a shut window"
        );
        behind.write(&window_update(own, 10_000));
        behind.until(|at| at.streams[&own].body.len() >= 10_000.max(early));
        // Below what is out: the window is negative, and has to be filled before anything comes.
        behind.write(&settings(&[(INITIAL_WINDOW, 20_000)]));
        assert!(behind.until(|at| at.acknowledged == 2));
        behind.write(&settings(&[(INITIAL_WINDOW, 0)]));
        assert!(behind.until(|at| at.acknowledged == 3));
        behind.feeds = true;
        behind.write(&window_update(0, 1_000_000));
        behind.write(&window_update(own, 1_000_000));
        behind.until(|at| at.streams[&own].ended);
        assert!(behind.streams[&own].body == body);
        behind.write(&headers(own, END_STREAM, OK));
        assert_eq!(sent.join().unwrap().status(), 200);
    });
    let (_, after) = used(&between.keel);
    assert!(
        after < before + 32 * 1024,
        "{before} KiB before, {after} after"
    );
}

#[test]
fn interim_answers_bodies_and_trailers_come_through() {
    let between = Between::new("trailers", "");
    let mut client = between.client();
    let stream = client.ask(
        0,
        &asks(
            "POST",
            "/",
            &[("te", "trailers"), ("expect", "100-continue")],
        ),
    );
    let mut behind = between.accept(&[]);
    let own = asked(&mut behind, 1)[0];
    assert_eq!(
        value(behind.streams[&own].head().unwrap(), "te"),
        Some("trailers")
    );
    behind.write(&headers(own, 0, &[(":status", "100")]));
    assert!(client.until(|own| {
        own.streams
            .get(&stream)
            .is_some_and(|got| got.heads.len() == 1)
    }));
    client.send(stream, b"body", false);
    client.write(&headers(stream, END_STREAM, &[("x-sum", "7")]));
    behind.until(|at| at.streams[&own].ended);
    let got = &behind.streams[&own];
    assert_eq!(
        (&*got.body, value(got.trailers().unwrap(), "x-sum")),
        (&b"body"[..], Some("7"))
    );
    behind.write(&headers(own, 0, &[(":status", "103"), ("link", "</a>")]));
    behind.write(&headers(own, 0, &[(":status", "200"), ("x-own", "y")]));
    behind.write(&frame(DATA, PADDED, own, b"\x03abc\0\0\0"));
    behind.write(&headers(own, END_STREAM, &[("grpc-status", "0")]));
    let got = client.answer(stream);
    let statuses: Vec<_> = got
        .heads
        .iter()
        .filter_map(|head| value(head, ":status"))
        .collect();
    assert_eq!(statuses, ["100", "103", "200"]);
    assert_eq!(got.body, b"abc");
    assert_eq!(
        got.trailers()
            .and_then(|fields| value(fields, "grpc-status")),
        Some("0")
    );
}

/// What is no answer is 502; what breaks off never looks whole.
#[test]
fn answers_that_are_none() {
    let head = |fields: &[(&str, &str)]| headers(0, END_STREAM, fields)[9..].to_vec();
    let more = |name: &'static str, value: &'static str| head(&[(":status", "200"), (name, value)]);
    for (name, block, body) in [
        ("no status", head(&[("x", "y")]), None),
        ("an empty status", head(&[(":status", "")]), None),
        ("no number", head(&[(":status", "abc")]), None),
        ("a number too small", head(&[(":status", "99")]), None),
        ("a number too long", head(&[(":status", "2000")]), None),
        ("two of them", more(":status", "201"), None),
        ("101", head(&[(":status", "101")]), None),
        ("upper case", more("X-Up", "y"), None),
        ("connection", more("connection", "close"), None),
        (
            "transfer-encoding",
            more("transfer-encoding", "chunked"),
            None,
        ),
        ("CR LF in a value", more("x", "a\r\nset-cookie: b"), None),
        ("NUL in a value", more("x", "a\0b"), None),
        ("a colon in a name", more("x:y", "z"), None),
        (
            "two lengths",
            head(&[
                (":status", "200"),
                ("content-length", "1"),
                ("content-length", "2"),
            ]),
            None,
        ),
        (
            "less than its length",
            head(&[(":status", "200"), ("content-length", "5")]),
            Some("abc"),
        ),
        (
            "more than its length",
            head(&[(":status", "200"), ("content-length", "2")]),
            Some("abc"),
        ),
    ] {
        let between = Between::new("answers", "");
        let mut client = between.client();
        let stream = client.ask(END_STREAM, &asks("POST", "/", &[]));
        let mut behind = between.accept(&[]);
        let own = asked(&mut behind, 1)[0];
        let flags = END_HEADERS | u8::from(body.is_none());
        behind.write(&frame(HEADERS, flags, own, &block));
        if let Some(body) = body {
            behind.write(&frame(DATA, END_STREAM, own, body.as_bytes()));
        }
        let got = client.answer(stream);
        let right = got.status() == 502 || got.reset.is_some_and(|code| code != NO_ERROR);
        assert!(right, "{name}: {got:?}");
        // Who waits for its next request finds the client's connection as it was.
        assert_eq!(client.goaway, None, "{name}");
    }
}

#[test]
fn backends_that_flood() {
    let begun = |own| frame(HEADERS, 0, own, &block(OK));
    for (name, first, round) in [
        (
            "CONTINUATION",
            true,
            (|own, _| frame(CONTINUATION, 0, own, b"")) as fn(u32, u32) -> Vec<u8>,
        ),
        ("CONTINUATION with fields", true, |own, round| {
            frame(CONTINUATION, 0, own, &block(&[(format!("x-{round}"), "y")]))
        }),
        ("PING", false, |_, round| {
            frame(PING, 0, 0, &u64::from(round).to_be_bytes())
        }),
        ("SETTINGS", false, |_, _| settings(&[])),
        ("1xx", false, |own, _| {
            headers(own, 0, &[(":status", "103")])
        }),
        ("pushes", false, |own, round| {
            frame(
                PUSH_PROMISE,
                END_HEADERS,
                own,
                &(2 * round + 2).to_be_bytes(),
            )
        }),
        ("resets", false, |own, _| reset(own, CANCEL)),
    ] {
        let between = Between::new("behind-floods", "");
        let (_, before) = used(&between.keel);
        let mut client = between.client();
        let stream = client.ask(END_STREAM, &asks("POST", "/", &[]));
        let mut behind = between.accept(&[]);
        behind.feeds = false;
        let own = asked(&mut behind, 1)[0];
        let mut writer = behind.writer();
        let flood = std::thread::spawn(move || {
            let mut bytes = if first { begun(own) } else { Vec::new() };
            for number in 0..300_000 {
                bytes.extend(round(own, number));
                if bytes.len() > 16_384 {
                    if std::io::Write::write_all(&mut writer, &bytes).is_err() {
                        return false;
                    }
                    bytes.clear();
                }
            }
            true
        });
        // Its answers are read, so that it can go on.
        behind.until(|own| own.closed || own.goaway.is_some());
        drop(behind);
        let taken = flood.join().unwrap();
        // Behind the sixteenth nobody waits for the answer, and what comes is dropped as it comes: a fifth of a second for all of it.
        assert!(!taken || name == "1xx", "{name}: all of it was taken");
        let got = client.answer(stream);
        assert!(
            got.status() == 502 || got.reset.is_some(),
            "{name}: {}",
            got.status()
        );
        let (_, after) = used(&between.keel);
        assert!(
            after < before + 48 * 1024,
            "{name}: {before} KiB before, {after} after"
        );
        // The client's own connection is well.
        let next = client.ask(END_STREAM, &asks("GET", "/", &[]));
        let mut behind = between.accept(&[]);
        let own = asked(&mut behind, 1)[0];
        behind.write(&headers(own, END_STREAM, OK));
        assert_eq!(client.answer(next).status(), 200, "{name}");
    }
}

/// A client that leaves, and a backend that is silent: the stream ends, the connection goes on.
#[test]
fn one_stream_ends_and_the_others_go_on() {
    let between = Between::new("one-ends", "timeouts: { per_try: 500ms, exchange: 500ms }");
    let mut client = between.client();
    let silent = client.ask(END_STREAM, &asks("POST", "/silent", &[]));
    let mut behind = between.accept(&[]);
    let own = asked(&mut behind, 1)[0];
    assert_eq!(client.answer(silent).status(), 504);
    assert!(behind.until(|at| at.streams[&own].reset == Some(CANCEL)));
    let left = client.ask(END_STREAM, &asks("GET", "/left", &[]));
    let second = asked(&mut behind, 2)[1];
    client.write(&reset(left, CANCEL));
    assert!(behind.until(|at| at.streams[&second].reset == Some(CANCEL)));
    let third = client.ask(END_STREAM, &asks("GET", "/", &[]));
    let own = asked(&mut behind, 3)[2];
    behind.write(&headers(own, END_STREAM, OK));
    assert_eq!(client.answer(third).status(), 200);
    // What comes for a stream that we ended is nobody's.
    behind.write(&headers(second, END_STREAM, OK));
    let fourth = client.ask(END_STREAM, &asks("GET", "/", &[]));
    let own = asked(&mut behind, 4)[3];
    behind.write(&headers(own, END_STREAM, OK));
    assert_eq!(client.answer(fourth).status(), 200);
}

/// The connection dies under three streams: none looks whole, none is taken for another.
#[test]
fn a_connection_that_dies_under_its_streams() {
    let between = Between::new("dies", "");
    let mut client = between.client();
    let streams: Vec<u32> = (0..3)
        .map(|_| client.ask(END_STREAM, &asks("POST", "/", &[])))
        .collect();
    let mut behind = between.accept(&[]);
    let own = asked(&mut behind, 3);
    behind.write(&headers(own[0], 0, OK));
    behind.write(&frame(DATA, 0, own[0], b"half"));
    let first = streams[0];
    assert!(client.until(|at| {
        at.streams
            .get(&first)
            .is_some_and(|got| got.body == b"half")
    }));
    drop(behind);
    let got = client.answer(first);
    assert!(!got.ended && got.reset.is_some(), "{got:?}");
    for stream in &streams[1..] {
        assert_eq!(client.answer(*stream).status(), 502);
    }
    assert_eq!(client.goaway, None);
}
