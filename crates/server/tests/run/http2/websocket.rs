//! WebSocket over a stream of HTTP/2 (RFC 8441), to a backend that speaks HTTP/1.1. Every byte behind the handshake is as it was.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::frames::*;
use super::hpack::value;
use super::recorder::{Recorded, Recorder, Told, answers, pattern};
use super::{Connection, Scene, configuration};
use crate::process::{Evenkeel, Folder};

/// What a key is answered with (RFC 6455 section 4.2.2).
fn accepts(key: &str) -> String {
    let mut child = Command::new("sh")
        .args(["-c", "openssl dgst -sha1 -binary | openssl base64"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Upgrades at `/chat`, says `hello`, and gives back what comes until its client ends, or asks to be cut.
fn upgrades(request: &Recorded, stream: &mut TcpStream, told: &Told) -> bool {
    let key = request.all("sec-websocket-key").pop().map(str::to_owned);
    let (Some(key), "/chat") = (key, request.path()) else {
        return answers(request, stream, told);
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: own\r\n\r\nhello",
        accepts(&key)
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if &buffer[..length] == CUT => {
                set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
                return false;
            }
            Ok(length) if stream.write_all(&buffer[..length]).is_ok() => {}
            _ => {
                told.cut.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
    }
    told.left.fetch_add(1, Ordering::SeqCst);
    false
}

/// What a backend is asked to reset its connection by.
const CUT: &[u8] = b"cut";

pub(super) const CHAT: &[(&str, &str)] = &[
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "www.example.com"),
    (":path", "/chat"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "own"),
];

/// A client that knows from the settings that it may.
fn client(scene: &Scene) -> Connection {
    let mut client = scene.client();
    assert!(client.until(|own| !own.settings.is_empty()));
    assert_eq!(client.settings.get(&CONNECT_PROTOCOL), Some(&1));
    client
}

#[test]
fn a_tunnel_byte_by_byte() {
    let scene = Scene::before(Recorder::with(upgrades), "h2-websocket", "", "");
    let mut client = client(&scene);
    let stream = client.ask(0, CHAT);
    assert!(client.until(|own| {
        own.streams
            .get(&stream)
            .is_some_and(|got| got.body == b"hello")
    }));
    let head = client.streams[&stream].head().unwrap().clone();
    assert_eq!(client.streams[&stream].status(), 200);
    assert_eq!(value(&head, "sec-websocket-protocol"), Some("own"));
    for hop in [
        "connection",
        "upgrade",
        "transfer-encoding",
        "content-length",
        "sec-websocket-accept",
    ] {
        assert_eq!(value(&head, hop), None, "{hop}");
    }
    let asked = scene.backend.last();
    assert!(
        asked.head.starts_with("GET /chat HTTP/1.1\r\n"),
        "{}",
        asked.head
    );
    assert_eq!(
        (asked.all("upgrade"), asked.all("connection").len()),
        (vec!["websocket"], 1)
    );
    assert_eq!(
        (asked.all("host"), asked.all("sec-websocket-version")),
        (vec!["www.example.com"], vec!["13"])
    );
    assert_eq!(asked.all("sec-websocket-key").len(), 1);
    assert!(asked.all("transfer-encoding").is_empty() && asked.all("content-length").is_empty());
    // A frame of 16 MiB, a ping while idle, every byte there is, and other streams beside it.
    let long = pattern(16 << 20);
    let mut expect = b"hello".to_vec();
    for part in [
        &b"\x89\x80abcd"[..],
        &(0..=255).collect::<Vec<u8>>(),
        &long,
        b"\r\n0\r\n\r\n",
    ] {
        client.send(stream, part, false);
        expect.extend(part);
        let length = expect.len();
        assert!(
            client.until(
                |own| own.streams[&stream].body.len() >= length || own.streams[&stream].over()
            )
        );
        assert!(client.streams[&stream].body == expect);
        assert_eq!(client.get("/").status(), 200);
    }
    // The half that is closed ends the other when the backend closes, as whole as it was.
    client.send(stream, b"", true);
    let got = client.answer(stream);
    assert_eq!((got.ended, got.reset), (true, None));
    assert!(got.body == expect);
    scene.rests();
    assert_eq!(client.get("/").status(), 200);
}

/// An open tunnel of this client, at whose backend `hello` was said.
fn opened(client: &mut Connection) -> u32 {
    let stream = client.ask(0, CHAT);
    assert!(comes(client, stream, b"hello"));
    stream
}

/// Whether all that came there is this, in the end.
fn comes(client: &mut Connection, stream: u32, body: &[u8]) -> bool {
    client.until(|own| {
        let got = own.streams.get(&stream);
        got.is_some_and(|got| got.body == body || got.over())
    });
    client.streams[&stream].body == body
}

/// Waits for the end at the backend; whether that was a cut.
fn is_cut(backend: &Recorder) -> bool {
    while backend.told.left.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    backend.told.cut.load(Ordering::SeqCst) == 1
}

/// A reset is a reset on the other side, whoever begins, and so is a rest that is too long; the connection goes on with its other streams.
#[test]
fn a_tunnel_that_is_reset() {
    let ended = |name: &str, service: &str, end: fn(&mut Connection, u32)| {
        let scene = Scene::before(Recorder::with(upgrades), name, "", service);
        let mut client = client(&scene);
        let stream = opened(&mut client);
        end(&mut client, stream);
        (scene, client, stream)
    };
    let cancels = |client: &mut Connection, stream| client.write(&reset(stream, CANCEL));
    let (scene, mut client, _) = ended("h2-websocket-reset", "", cancels);
    assert!(is_cut(&scene.backend), "the reset looks like an end");
    scene.rests();
    assert_eq!(client.get("/").status(), 200);
    let asks = |client: &mut Connection, stream| client.send(stream, CUT, false);
    let rests = |_: &mut Connection, _| ();
    for (name, service, end, by_us) in [
        (
            "h2-websocket-cut",
            "",
            asks as fn(&mut Connection, u32),
            false,
        ),
        (
            "h2-websocket-rests",
            "timeouts: { tunnel: 300ms }",
            rests,
            true,
        ),
    ] {
        let (scene, mut client, stream) = ended(name, service, end);
        let got = client.answer(stream);
        assert!(!got.ended, "{name}");
        assert!(
            got.reset.is_some_and(|code| code != NO_ERROR),
            "{name}: {:?}",
            got.reset
        );
        assert!(!by_us || is_cut(&scene.backend), "{name}");
        scene.rests();
        assert_eq!(client.get("/").status(), 200, "{name}");
    }
}

/// Its backend leaves, the tunnel stays; a drain tells the client, gives it time, and cuts what is left.
#[test]
fn a_tunnel_outlives_reloads_and_ends_with_the_drain() {
    let backend = Recorder::with(upgrades);
    let folder = Folder::new("h2-websocket-drain");
    let text = |backend: &str| configuration("", backend, "") + "drain: 1s\n";
    let file = folder.write("keel.yaml", &text(&backend.address.to_string()));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut client = Connection::to(keel.address, &[]);
    let stream = opened(&mut client);
    folder.write("keel.yaml", &text("\"127.0.0.1:1\""));
    keel.signal("-HUP");
    keel.until_any("reloaded");
    client.send(stream, b", still", false);
    assert!(comes(&mut client, stream, b"hello, still"));
    keel.signal("-TERM");
    keel.until("draining, at most 1s\n");
    assert!(client.until(|own| own.goaway.is_some()));
    client.send(stream, b" there", false);
    assert!(comes(&mut client, stream, b"hello, still there"));
    let got = client.answer(stream);
    assert!(
        !got.ended && (client.closed || got.reset.is_some()),
        "{got:?}"
    );
    assert!(is_cut(&backend));
    assert_eq!(keel.wait().0.code(), Some(3));
}

/// A backend that does not change protocols answers as it does, and nothing is a tunnel: 200 would say that there is one.
#[test]
fn an_answer_is_no_tunnel() {
    let scene = Scene::before(Recorder::with(upgrades), "h2-websocket-answer", "", "");
    let mut client = client(&scene);
    let mut other = CHAT.to_vec();
    other[4] = (":path", "/bytes/10");
    let stream = client.ask(0, &other);
    assert!(client.until(|own| {
        own.streams
            .get(&stream)
            .is_some_and(|got| !got.heads.is_empty())
    }));
    let status = client.streams[&stream].status();
    assert!(status >= 400, "{status}");
    assert_eq!(client.get("/").status(), 200);
}
