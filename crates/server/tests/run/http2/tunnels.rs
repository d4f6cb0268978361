//! Tunnels to backends that speak HTTP/2, by extended CONNECT (RFC 8441): from clients of HTTP/1.1 and of HTTP/2, each end told of
//! the other's.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::backends::{Between, OK, asked};
use super::frames::*;
use super::hpack::value;
use super::websocket::CHAT;
use super::{Connection, metric};
use crate::process::{hold, rest, until};

/// With the key of RFC 6455 section 1.3.
const UPGRADE: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const CONNECTS: &[(u16, u32)] = &[(CONNECT_PROTOCOL, 1)];

/// The shipped binary before a backend whose one connection has tunnels.
struct Scene {
    between: Between,
    behind: Connection,
}

impl Scene {
    /// With the first tunnel.
    fn new(name: &str, service: &str) -> (Self, TcpStream, u32) {
        let between = Between::new(name, service);
        let client = hold(between.keel.address, UPGRADE);
        let behind = between.accept(CONNECTS);
        let mut own = Self { between, behind };
        let stream = own.opens();
        (own, switched(client), stream)
    }

    /// One more tunnel.
    fn next(&mut self) -> (TcpStream, u32) {
        let client = hold(self.between.keel.address, UPGRADE);
        let stream = self.opens();
        (switched(client), stream)
    }

    /// Waits for a stream that asks for a tunnel, and opens it.
    fn opens(&mut self) -> u32 {
        let before = self.behind.streams.len();
        let stream = asked(&mut self.behind, before + 1)[before];
        self.behind.write(&headers(stream, 0, OK));
        stream
    }

    /// Waits until this has come of a stream, and no more.
    #[track_caller]
    fn has(&mut self, stream: u32, body: &[u8]) {
        let behind = &mut self.behind;
        behind.until(|own| own.streams[&stream].body == body || own.streams[&stream].over());
        assert_eq!(behind.streams[&stream].body, body);
    }

    fn tunnels(&self, number: u32) {
        let row = format!("evenkeel_tunnels{{service=\"api\"}} {number}");
        metric(&self.between.keel, &row);
    }
}

/// Told that its tunnel stands, in the words that its key asks for: the backend was not asked.
fn switched(mut client: TcpStream) -> TcpStream {
    let head = until(&mut client, "\r\n\r\n").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    let accept = "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n";
    assert!(head.contains(accept), "{head}");
    client
}

#[track_caller]
fn is_cut(client: &mut TcpStream) {
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn an_upgrade_becomes_a_stream_and_each_half_ends_by_itself() {
    let (mut scene, mut client, stream) = Scene::new("h2-tunnel", "");
    let head = scene.behind.streams[&stream].head().unwrap().clone();
    for (name, expect) in [
        (":method", Some("CONNECT")),
        (":protocol", Some("websocket")),
        (":scheme", Some("http")),
        (":authority", Some("www.example.com")),
        (":path", Some("/chat?room=1")),
        ("sec-websocket-version", Some("13")),
        ("sec-websocket-key", None),
        ("connection", None),
        ("upgrade", None),
        ("host", None),
    ] {
        assert_eq!(value(&head, name), expect, "{name}");
    }
    assert!(!scene.behind.streams[&stream].ended, "it has not begun");
    scene.tunnels(1);
    client.write_all(b"hello").unwrap();
    scene.has(stream, b"hello");
    scene.behind.write(&frame(DATA, 0, stream, b"world"));
    assert_eq!(until(&mut client, "world"), "world");
    // The client ends first, then the backend does in another.
    client.shutdown(Shutdown::Write).unwrap();
    assert!(scene.behind.until(|own| own.streams[&stream].ended));
    scene
        .behind
        .write(&frame(DATA, END_STREAM, stream, b"last"));
    assert_eq!(rest(client), "last");
    let (mut client, stream) = scene.next();
    scene
        .behind
        .write(&frame(DATA, END_STREAM, stream, b"last"));
    let mut told = String::new();
    client.read_to_string(&mut told).unwrap();
    assert_eq!(told, "last");
    client.write_all(b"late").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(scene.behind.until(|own| own.streams[&stream].over()));
    let got = &scene.behind.streams[&stream];
    assert_eq!((&*got.body, got.reset), (&b"late"[..], None));
    scene.tunnels(0);
}

#[test]
fn a_cut_is_a_cut_on_the_other_side() {
    let (mut scene, mut client, stream) = Scene::new("h2-tunnel-cut", "");
    scene.behind.write(&reset(stream, 2));
    is_cut(&mut client);
    let (client, stream) = scene.next();
    set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    assert!(scene.behind.until(|own| own.streams[&stream].over()));
    assert_eq!(scene.behind.streams[&stream].reset, Some(CANCEL));
    // A backend that goes takes no new ones; those that it has stay, until its connection ends.
    let (mut client, stream) = scene.next();
    scene.behind.write(&goaway(stream, NO_ERROR));
    assert!(scene.behind.settled());
    client.write_all(b"still").unwrap();
    scene.has(stream, b"still");
    scene.tunnels(1);
    drop(scene.behind);
    is_cut(&mut client);
    metric(&scene.between.keel, "evenkeel_tunnels{service=\"api\"} 0");
    metric(&scene.between.keel, "evenkeel_contained_panics_total 0");
}

#[test]
fn a_tunnel_that_rests_too_long_is_cut() {
    let (mut scene, mut client, stream) =
        Scene::new("h2-tunnel-rest", "timeouts: { tunnel: 300ms }");
    is_cut(&mut client);
    assert!(scene.behind.until(|own| own.streams[&stream].over()));
    assert_eq!(scene.behind.streams[&stream].reset, Some(CANCEL));
    scene.tunnels(0);
}

/// By HTTP/2 on both sides.
#[test]
fn a_stream_becomes_a_stream() {
    let between = Between::new("h2-tunnel-both", "");
    let mut client = between.client();
    let streams = [client.ask(0, CHAT), client.ask(0, CHAT)];
    let mut behind = between.accept(CONNECTS);
    let own = asked(&mut behind, 2);
    let head = behind.streams[&own[0]].head().unwrap().clone();
    let told = [":protocol", "sec-websocket-protocol"].map(|name| value(&head, name));
    assert_eq!(told, [Some("websocket"), Some("own")]);
    for (stream, own) in streams.into_iter().zip(&own) {
        behind.write(&headers(*own, 0, OK));
        behind.write(&frame(DATA, 0, *own, b"hello"));
        client.until(|own| {
            own.streams
                .get(&stream)
                .is_some_and(|got| got.body == b"hello")
        });
        assert_eq!(client.streams[&stream].status(), 200);
        client.send(stream, b"abc", false);
        behind.until(|behind| behind.streams[own].body == b"abc");
    }
    client.write(&reset(streams[0], CANCEL));
    assert!(behind.until(|behind| behind.streams[&own[0]].over()));
    assert_eq!(behind.streams[&own[0]].reset, Some(CANCEL));
    behind.write(&reset(own[1], 2));
    let got = client.answer(streams[1]);
    assert!(
        !got.ended && got.reset.is_some_and(|code| code != NO_ERROR),
        "{got:?}"
    );
    assert_eq!((client.goaway, behind.goaway), (None, None));
}

/// A backend that has not said that it takes them is asked as if there were no such wish, and no answer of its is a tunnel.
#[test]
fn a_backend_that_takes_none_is_asked_for_a_page() {
    let between = Between::new("h2-tunnel-none", "");
    let client = hold(between.keel.address, UPGRADE);
    let mut behind = between.accept(&[]);
    let own = asked(&mut behind, 1)[0];
    let head = behind.streams[&own].head().unwrap().clone();
    let told = [":method", ":protocol", "upgrade"].map(|name| value(&head, name));
    assert_eq!(told, [Some("GET"), None, None]);
    behind.write(&headers(
        own,
        0,
        &[(":status", "200"), ("content-length", "4")],
    ));
    behind.write(&frame(DATA, END_STREAM, own, b"page"));
    let mut client = client;
    let head = until(&mut client, "\r\n\r\npage");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}
