//! How a client's connection ends, and what it may carry until then: GOAWAY is always readable, and nothing is lost that was asked
//! before it was heard.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use super::frames::*;
use super::hpack::value;
use super::recorder::{Recorder, answers};
use super::{Connection, Scene, configuration, metric, used};
use crate::process::{Evenkeel, Folder, until};

/// What holds `/gate` until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn backend(&self) -> Recorder {
        let gate = self.0.clone();
        Recorder::with(move |request, stream, told| {
            if request.path() == "/gate" {
                let mut open = gate.0.lock().unwrap();
                while !*open {
                    open = gate.1.wait(open).unwrap();
                }
            }
            answers(request, stream, told)
        })
    }
}

fn in_flight(scene: &Scene, number: usize) {
    let id = scene.backend.address;
    let row = format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{id}\"}} {number}");
    metric(&scene.keel, &row);
}

/// Reads until the other side has ended; what its last GOAWAY said.
fn ended(client: &mut Connection) -> Option<(u32, u32)> {
    client.until(|own| own.closed);
    client.goaway
}

#[test]
fn who_asks_nothing_is_told_to_go() {
    let scene = Scene::new("h2-idle", "timeouts: { keep_alive: 1s, head: 1s }", "");
    let mut silent = scene.client();
    assert_eq!(ended(&mut silent), Some((0, NO_ERROR)));
    let mut idle = scene.client();
    assert_eq!(idle.get("/").status(), 200);
    assert_eq!(ended(&mut idle), Some((1, NO_ERROR)));
    // Half a block of fields is no request.
    let mut half = scene.client();
    half.write(&frame(HEADERS, END_STREAM, 1, b""));
    assert!(ended(&mut half).is_some());
    // Not even a preface.
    let mut none = TcpStream::connect(scene.keel.address).unwrap();
    none.write_all(&PREFACE[..9]).unwrap();
    let mut told = Vec::new();
    none.read_to_end(&mut told).unwrap();
    assert!(!told.windows(5).any(|part| part == b" 200 "), "{told:?}");
    // Exchanges under way are no idleness.
    let gate = Gate::default();
    let scene = Scene::before(
        gate.backend(),
        "h2-busy",
        "timeouts: { keep_alive: 1s, head: 1s }",
        "",
    );
    let mut busy = scene.client();
    let stream = busy.ask(END_STREAM, &asks("GET", "/gate", &[]));
    ended(&mut scene.client());
    ended(&mut scene.client());
    gate.open();
    assert_eq!(busy.answer(stream).status(), 200);
    assert_eq!(ended(&mut busy), Some((1, NO_ERROR)));
}

/// The first GOAWAY of two leaves room for what is on its way.
#[test]
fn what_was_asked_before_the_end_was_heard_is_answered() {
    let gate = Gate::default();
    let scene = Scene::before(
        gate.backend(),
        "h2-late",
        "timeouts: { keep_alive: 1s, head: 1s }",
        "",
    );
    let mut client = scene.client();
    assert_eq!(client.get("/").status(), 200);
    assert!(client.until(|own| own.goaway.is_some()));
    assert_eq!(client.goaway, Some((0x7fff_ffff, NO_ERROR)));
    let stream = client.ask(END_STREAM, &asks("GET", "/gate", &[]));
    in_flight(&scene, 1);
    // It is not cut when those are that came after it.
    ended(&mut scene.client());
    ended(&mut scene.client());
    gate.open();
    assert_eq!(client.answer(stream).status(), 200);
    assert_eq!(ended(&mut client), Some((stream, NO_ERROR)));
}

#[test]
fn a_connection_that_is_worn_ends_behind_its_last_request() {
    let gate = Gate::default();
    let scene = Scene::before(gate.backend(), "h2-worn", "limits: { requests: 3 }", "");
    let mut client = scene.client();
    let long = client.ask(END_STREAM, &asks("GET", "/gate", &[]));
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(client.goaway, None);
    assert_eq!(client.get("/").status(), 200);
    assert!(client.until(|own| own.goaway.is_some()));
    gate.open();
    assert_eq!(client.answer(long).status(), 200);
    assert_eq!(ended(&mut client), Some((5, NO_ERROR)));
    assert_eq!(scene.get("/").status(), 200);
}

#[test]
fn streams_above_the_limit_are_refused_alone() {
    let scene = Scene::new("h2-streams", "limits: { streams: 5 }", "");
    let mut client = scene.client();
    let held: Vec<_> = (0..5)
        .map(|_| client.ask(END_STREAM, &asks("GET", "/hold", &[])))
        .collect();
    in_flight(&scene, 5);
    assert_eq!(client.get("/").reset, Some(REFUSED_STREAM));
    assert_eq!(client.settings.get(&MAX_STREAMS), Some(&5));
    client.write(&reset(held[0], CANCEL));
    in_flight(&scene, 4);
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(client.goaway, None);
    assert_eq!(scene.backend.requests(), 6);
}

/// RFC 9113 section 8.1: the answer is whole, and the rest of the request is not wanted.
#[test]
fn an_answer_before_the_body_is_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        until(&mut stream, "\r\n\r\n");
        let answer =
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
        stream.write_all(answer.as_bytes()).unwrap();
        // Who sends sees the end first.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let folder = Folder::new("h2-early");
    let file = folder.write("keel.yaml", &configuration("", &backend, ""));
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut client = Connection::to(keel.address, &[]);
    let fields = asks("POST", "/", &[("content-length", "1000000")]);
    let stream = client.ask(0, &fields);
    client.send(stream, &[b'x'; 20_000], false);
    assert!(client.until(|own| {
        own.streams
            .get(&stream)
            .is_some_and(|got| got.reset.is_some())
    }));
    let got = &client.streams[&stream];
    assert_eq!((got.status(), &*got.body), (413, &b"big"[..]));
    assert_eq!((got.ended, got.reset), (true, Some(NO_ERROR)));
    assert!(client.settled(), "{:?}", client.goaway);
}

#[test]
fn heads_alone_and_heads_before() {
    let scene = Scene::new("h2-heads", "", "");
    let mut client = scene.client();
    for (method, path, status, length) in [
        ("HEAD", "/bytes/700", 200, Some("700")),
        ("GET", "/none", 204, None),
        ("GET", "/same", 304, Some("700")),
    ] {
        let stream = client.ask(END_STREAM, &asks(method, path, &[]));
        let got = client.answer(stream);
        assert_eq!((got.status(), got.ended, got.reset), (status, true, None));
        assert_eq!(got.data_frames, 0, "{path}");
        assert_eq!(value(got.head().unwrap(), "content-length"), length);
    }
    let got = client.get("/early");
    let statuses: Vec<_> = (got.heads.iter())
        .map(|head| value(head, ":status"))
        .collect();
    assert_eq!(statuses, [Some("103"), Some("200")]);
    // The body waits for its 100.
    let fields = [("expect", "100-continue"), ("content-length", "3")];
    let stream = client.ask(0, &asks("POST", "/echo", &fields));
    assert!(client.until(|own| {
        let got = own.streams.get(&stream);
        got.is_some_and(|got| !got.heads.is_empty())
    }));
    let first = &client.streams[&stream].heads[0];
    assert_eq!(value(first, ":status"), Some("100"));
    client.send(stream, b"abc", true);
    let got = client.answer(stream);
    assert_eq!((got.status(), &*got.body), (200, &b"abc"[..]));
}

/// Each exchange is a row, and says what it came by.
#[test]
fn the_access_log_says_what_spoke() {
    let folder = Folder::new("h2-log");
    let backend = Recorder::start();
    let text = configuration("", &backend.address.to_string(), "");
    let file = folder.write(
        "keel.yaml",
        &format!("access_log: {{ to: ./access.log }}\n{text}"),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut client = Connection::to(keel.address, &[]);
    assert_eq!(client.get("/a").status(), 200);
    let stream = client.ask(
        END_STREAM,
        &[(":method", "GET"), (":scheme", "http"), (":path", "/b")],
    );
    assert_eq!(client.answer(stream).status(), 400);
    let stream = client.ask(END_STREAM, &asks("GET", "/hold", &[]));
    client.write(&reset(stream, CANCEL));
    assert!(client.settled());
    keel.signal("-TERM");
    assert!(keel.wait().0.success());
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    let rows: Vec<serde_json::Value> = (log.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 3, "{log}");
    for row in [&rows[0], &rows[2]] {
        assert_eq!(row["protocol"], "HTTP/2.0", "{row}");
    }
    assert_eq!(
        (&rows[0]["path"], &rows[0]["status"]),
        (&"/a".into(), &200.into())
    );
    assert_eq!(rows[1]["status"], 400);
}

#[test]
fn a_listener_that_goes_and_a_drain_let_streams_end() {
    let gate = Gate::default();
    let backend = gate.backend();
    let folder = Folder::new("h2-removed");
    let text = |listener: &str| {
        configuration("", &backend.address.to_string(), "").replace("web:", listener)
    };
    let file = folder.write("keel.yaml", &text("web:"));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut busy = Connection::to(keel.address, &[]);
    let mut idle = Connection::to(keel.address, &[]);
    assert_eq!(idle.get("/").status(), 200);
    let stream = busy.ask(END_STREAM, &asks("GET", "/gate", &[]));
    let id = backend.address;
    let row = format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{id}\"}} 1");
    metric(&keel, &row);
    // Another listener, at an address of its own.
    let stays = format!(
        "stays: {{ bind: \"unix:{}\" }} ",
        folder.path().join("stays").display()
    );
    let other = text("web:");
    let (before, behind) = other.split_once("listeners: { ").unwrap();
    let behind = behind.split_once('\n').unwrap().1;
    folder.write(
        "keel.yaml",
        &format!("{before}listeners: {{ {stays}}}\n{behind}"),
    );
    keel.signal("-HUP");
    keel.until("listener web is removed\n");
    assert_eq!(ended(&mut idle), Some((1, NO_ERROR)));
    assert!(busy.until(|own| own.goaway.is_some()));
    gate.open();
    assert_eq!(busy.answer(stream).status(), 200);
    assert_eq!(ended(&mut busy), Some((1, NO_ERROR)));
    // The same by a drain, of another.
    let gate = Gate::default();
    let Scene {
        mut keel, backend, ..
    } = Scene::before(gate.backend(), "h2-drained", "", "");
    let mut busy = Connection::to(keel.address, &[]);
    let mut idle = Connection::to(keel.address, &[]);
    assert_eq!(idle.get("/").status(), 200);
    let stream = busy.ask(END_STREAM, &asks("GET", "/gate", &[]));
    let id = backend.address;
    let row = format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{id}\"}} 1");
    metric(&keel, &row);
    keel.signal("-TERM");
    keel.until("draining, at most 30s\n");
    assert_eq!(ended(&mut idle), Some((1, NO_ERROR)));
    assert!(busy.until(|own| own.goaway.is_some()));
    gate.open();
    assert_eq!(busy.answer(stream).status(), 200);
    assert_eq!(ended(&mut busy), Some((1, NO_ERROR)));
    assert!(keel.wait().0.success());
}

/// The last word comes to its reader, and the end behind it: no reset takes it away.
#[test]
fn the_last_word_of_a_flood_is_read_to_its_end() {
    let scene = Scene::new("h2-last-word", "", "");
    for (bytes, code) in [
        (
            frame(PING, 0, 0, b"abcdefgh").repeat(20_000),
            ENHANCE_YOUR_CALM,
        ),
        (
            [
                window_update(0, 0),
                frame(PING, 0, 0, b"abcdefgh").repeat(20_000),
            ]
            .concat(),
            PROTOCOL_ERROR,
        ),
    ] {
        let mut wire = TcpStream::connect(scene.keel.address).unwrap();
        wire.write_all(&[PREFACE, &settings(&[])].concat()).unwrap();
        let mut reader = wire.try_clone().unwrap();
        let read = std::thread::spawn(move || {
            let mut told = Vec::new();
            reader.read_to_end(&mut told).map(|_| told)
        });
        wire.write_all(&bytes).unwrap();
        let told = read.join().unwrap().unwrap();
        let last = &told[told.len() - 8..];
        assert_eq!(last[4..], code.to_be_bytes(), "{last:?}");
        // Who has not heard it yet may go on for a while.
        for _ in 0..100 {
            wire.write_all(&frame(PING, 0, 0, b"abcdefgh")).unwrap();
        }
    }
}

/// A backend that reads nothing, and a client whose messages are short: they wait, and cost what they hold.
#[test]
fn short_messages_wait_for_a_slow_backend() {
    let scene = Scene::new("h2-short", "", "");
    let (_, before) = used(&scene.keel);
    let mut clients: Vec<_> = (0..4).map(|_| scene.client()).collect();
    for client in &mut clients {
        let streams = [0; 2].map(|_| client.ask(0, &asks("POST", "/unread", &[])));
        for _ in 0..60 {
            let mut bytes = Vec::new();
            for _ in 0..1_000 {
                for stream in streams {
                    bytes.extend(frame(DATA, 0, stream, b"x"));
                }
            }
            client.write(&bytes);
            assert!(client.settled(), "{:?}", client.goaway);
        }
        assert_eq!(client.get("/").status(), 200);
    }
    let (_, after) = used(&scene.keel);
    assert!(
        after < before + 24 * 1024,
        "{before} KiB before, {after} after"
    );
}

/// What a connection that waits takes, one that has asked before included.
#[test]
fn idle_connections_take_little() {
    let scene = Scene::new("h2-memory", "", "");
    let warm: Vec<_> = (0..50).map(|_| scene.client()).collect();
    assert_eq!(scene.get("/").status(), 200);
    let (_, before) = used(&scene.keel);
    let count = 400;
    let mut clients: Vec<_> = (0..count).map(|_| scene.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status(), 200);
    }
    let (_, after) = used(&scene.keel);
    let each = after.saturating_sub(before) / count;
    // The crate's buffers take 24 of these.
    assert!(each < 36, "{each} KiB each");
    drop(warm);
}
