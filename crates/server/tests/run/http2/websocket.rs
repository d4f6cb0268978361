//! WebSocket over a stream of HTTP/2 (RFC 8441), to a backend that speaks HTTP/1.1. Every byte behind the handshake is as it was.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use super::frames::*;
use super::hpack::value;
use super::recorder::{Recorded, Recorder, Told, answers, pattern};
use super::{Connection, Scene};

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

/// Upgrades at `/chat`, says `hello`, and gives back what comes until its client ends.
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
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    told.left.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    false
}

const CHAT: &[(&str, &str)] = &[
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

#[test]
fn a_tunnel_that_is_reset() {
    let scene = Scene::before(Recorder::with(upgrades), "h2-websocket-reset", "", "");
    let mut client = client(&scene);
    let stream = client.ask(0, CHAT);
    assert!(client.until(|own| {
        own.streams
            .get(&stream)
            .is_some_and(|got| got.body == b"hello")
    }));
    client.write(&reset(stream, CANCEL));
    while scene
        .backend
        .told
        .left
        .load(std::sync::atomic::Ordering::SeqCst)
        == 0
    {
        std::thread::yield_now();
    }
    scene.rests();
    assert_eq!(client.get("/").status(), 200);
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
