//! What those notice who rest, or are under way, while listeners close: at the process's end, by an operator, by a reload.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::crowd::nginx;
use crate::evenkeel;
use crate::http2::frames::{Connection, END_STREAM, NO_ERROR, asks};
use crate::process::{Evenkeel, Folder, PATIENCE, Server, hold, rest, until};

const ASK: &str = "GET /who HTTP/1.1\r\nHost: a\r\n\r\n";

/// A backend that answers at once, one of the test's own, and an instance with one listener that closes and one that stays.
struct Scene {
    keel: Evenkeel,
    held: TcpListener,
    folder: Folder,
    server: Server,
}

fn text(folder: &Folder, listeners: &str, server: SocketAddr, held: SocketAddr) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
access_log: {{ to: ./access.log }}
drain: {{ within: 10m, idle: 5m }}
listeners:
  stays: {{ bind: \"unix:{}\", timeouts: {{ head: 1500ms }} }}
{listeners}
services: {{ api: {{ backends: [\"{server}\"] }}, held: {{ timeouts: {{ per_try: 10m, exchange: 10m }}, backends: [\"{held}\"] }} }}
rules:
  - {{ name: held, priority: 1, when: {{ path: /held* }}, forward: held }}
  - {{ name: rest, priority: 9, forward: api }}
",
        folder.path().join("stays.sock").display()
    )
}

/// How a listener closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Signal,
    Operator,
    Reload,
}

const WAYS: [Way; 3] = [Way::Signal, Way::Operator, Way::Reload];

impl Scene {
    fn new(name: &str, listener: &str) -> Self {
        let folder = Folder::new(name);
        let server = nginx(&folder);
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = format!("  web: {{ bind: \"127.0.0.1:0\"{listener} }}\n");
        let to = held.local_addr().unwrap();
        let file = folder.write("keel.yaml", &text(&folder, &listener, server.address, to));
        Self {
            keel: Evenkeel::run(&["-c", file.to_str().unwrap()]),
            held,
            folder,
            server,
        }
    }

    /// A connection of the held backend's.
    fn taken(&self) -> TcpStream {
        let (stream, _) = self.held.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Has the listener close, and waits until it has.
    fn close(&mut self, way: Way) {
        match way {
            Way::Signal => {
                self.keel.signal("-TERM");
                self.keel.until_any("draining, at most 600s");
            }
            Way::Operator => {
                let path = "/v1/listeners/web/drain";
                let said = self.keel.asked(
                    &["-X", "POST", "-H", "X-Evenkeel: 1", "-H", "If-Match: *"],
                    path,
                );
                assert!(said.contains("\"changed\":true"), "{said}");
            }
            Way::Reload => {
                let held = self.held.local_addr().unwrap();
                let text = text(&self.folder, "", self.server.address, held);
                self.folder.write("keel.yaml", &text);
                self.keel.signal("-HUP");
                self.keel.until_any("listener web is removed");
            }
        }
        while TcpStream::connect(self.keel.address).is_ok() {
            std::thread::yield_now();
        }
    }
}

/// A connection that was answered, and rests.
fn resting(to: SocketAddr) -> TcpStream {
    let mut stream = hold(to, ASK);
    until(&mut stream, "here\n");
    stream
}

/// Its next request is answered, its last.
fn ends_behind_an_answer(mut stream: TcpStream, way: Way) {
    stream.write_all(ASK.as_bytes()).unwrap();
    let answer = rest(stream).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200 "), "{way:?}: {answer}");
    assert!(
        answer.contains("\r\nconnection: close\r\n"),
        "{way:?}: {answer}"
    );
    assert!(answer.ends_with("\r\n\r\nhere\n"), "{way:?}: {answer}");
}

/// Whoever rests may ask once more; whoever is under way hears with its answer that its connection ends; tunnels go on.
#[test]
fn who_rests_is_answered_once_more_whatever_closes() {
    for way in WAYS {
        let mut scene = Scene::new(&format!("drain-rest-{way:?}"), "");
        let to = scene.keel.address;
        let crowd: Vec<_> = (0..5).map(|_| resting(to)).collect();
        let sock = scene.folder.path().join("stays.sock");
        let mut half = UnixStream::connect(&sock).unwrap();
        half.set_read_timeout(Some(PATIENCE)).unwrap();
        let silent = resting(to);
        let fresh = hold(to, "");
        let mut waiting = hold(to, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut answering = scene.taken();
        until(&mut answering, "\r\n\r\n");
        let upgrade = "GET /held HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        let mut tunnel = hold(to, upgrade);
        let mut behind = scene.taken();
        until(&mut behind, "\r\n\r\n");
        let switched =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        behind.write_all(switched).unwrap();
        until(&mut tunnel, "\r\n\r\n");
        let mut streams = Connection::to(to, &[]);
        assert_eq!(streams.get("/who").status(), 200);
        let stream = streams.ask(END_STREAM, &asks("GET", "/held", &[]));
        let mut slow = scene.taken();
        until(&mut slow, "\r\n\r\n");
        half.write_all(b"GET /who").unwrap();
        scene.close(way);
        // Whoever was to be ended at once, or soon, has been when this one's time is over.
        let mut late = String::new();
        half.read_to_string(&mut late).unwrap();
        assert!(late.starts_with("HTTP/1.1 408 "), "{way:?}: {late}");
        for one in crowd {
            ends_behind_an_answer(one, way);
        }
        ends_behind_an_answer(fresh, way);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhere\n";
        answering.write_all(answer).unwrap();
        let told = until(&mut waiting, "here\n").to_ascii_lowercase();
        assert!(
            told.contains("\r\nconnection: close\r\n"),
            "{way:?}: {told}"
        );
        assert_eq!(waiting.read(&mut [0]).unwrap(), 0, "{way:?}");
        assert!(streams.until(|own| own.goaway.is_some()));
        assert_eq!(streams.goaway.map(|(_, code)| code), Some(NO_ERROR));
        slow.write_all(answer).unwrap();
        assert_eq!(streams.answer(stream).status(), 200, "{way:?}");
        for (from, to, said) in [(0, 1, "ping"), (1, 0, "pong")] {
            let mut ends = [&tunnel, &behind];
            ends[from].write_all(said.as_bytes()).unwrap();
            let mut heard = [0; 4];
            ends[to].read_exact(&mut heard).unwrap();
            assert_eq!(heard, said.as_bytes(), "{way:?}");
        }
        drop((tunnel, behind, silent, streams));
        if way == Way::Signal {
            let (status, said) = scene.keel.wait();
            assert_eq!(status.code(), Some(0), "{said}");
        } else {
            assert!(UnixStream::connect(sock).is_ok());
        }
    }
}

/// A balancer in front sees that it is not ready before anything of it closes.
#[test]
fn it_says_that_it_is_not_ready_and_serves_until_its_delay_is_over() {
    let folder = Folder::new("drain-delay");
    let server = nginx(&folder);
    let run = |drain: &str| {
        let text = format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\ndrain: {drain}\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {{ api: {{ backends: [\"{}\"] }} }}\n",
            server.address
        );
        let file = folder.write("keel.yaml", &text);
        Evenkeel::run(&["-c", file.to_str().unwrap()])
    };
    let mut keel = run("{ delay: 10m }");
    let ready = |keel: &Evenkeel| keel.asked(&["-w", "%{http_code}"], "/readyz");
    assert_eq!(ready(&keel), "ready\n200");
    for signal in ["-TERM", "-INT"] {
        keel.signal(signal);
        if signal == "-TERM" {
            keel.until_any("not ready from now on, drains in 600s");
        }
        assert_eq!(ready(&keel), "draining\n503");
        if signal == "-TERM" {
            let mut kept = resting(keel.address);
            kept.write_all(ASK.as_bytes()).unwrap();
            let answer = until(&mut kept, "here\n");
            assert!(
                !answer.to_lowercase().contains("connection: close"),
                "{answer}"
            );
            // A new plan is nothing for one that ends, and neither is a process in its place.
            keel.signal("-HUP");
            keel.until_any("not reloaded: this process ends");
            keel.signal("-USR2");
            keel.until_any("not upgraded: this process ends");
            let (code, _, said) = evenkeel(&["upgrade", "--admin", &keel.admin.to_string()]);
            assert_eq!(
                (code, &*said),
                (Some(1), "evenkeel: not upgraded: this process ends\n")
            );
        }
    }
    keel.until_any("draining, at most 30s");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        !said.contains("INFO reloaded: ") && !said.contains("INFO upgrade: "),
        "{said}"
    );
    // By itself.
    let keel = run("{ delay: 300ms }");
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    let (_, then) = said.split_once("drains in 300ms").unwrap();
    assert!(then.contains("draining, at most 30s"), "{said}");
}

/// Whoever has no answer yet when the drain's deadline has passed is told so; what has begun is cut; each is written down as it was.
#[test]
fn who_waits_for_an_answer_at_the_deadline_is_told_that_none_comes() {
    let folder = Folder::new("drain-last");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = held.local_addr().unwrap();
    let text = format!(
        "admin: {{ bind: off }}
workers: 1
access_log: {{ to: ./access.log }}
drain: 1s
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }}, tcp: {{ bind: \"127.0.0.1:0\", protocol: tcp, forward: held }} }}
services:
  held: {{ timeouts: {{ per_try: 10m, exchange: 10m }}, backends: [\"{to}\"] }}
  full: {{ timeouts: {{ per_try: 10m, exchange: 10m }}, limits: {{ max_in_flight: 1, queue: {{ length: 9, timeout: 10m }} }}, backends: [\"{to}\"] }}
rules:
  - {{ name: full, priority: 1, when: {{ path: /full* }}, forward: full }}
  - {{ name: rest, priority: 9, forward: held }}
"
    );
    let file = folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let (web, tcp) = (keel.addresses_of("web"), keel.addresses_of("tcp"));
    let mut behind = Vec::new();
    let mut begin = |to: SocketAddr, request: &str, mark: &str, answer: &str| {
        let mut client = hold(to, request);
        let (mut server, _) = held.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        until(&mut server, mark);
        server.write_all(answer.as_bytes()).unwrap();
        until(&mut client, answer.rsplit('\n').next().unwrap());
        behind.push(server);
        client
    };
    let get = |path: &str| format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = begin(web, &get("head"), "\r\n\r\n", "");
    let put = "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    let upload = begin(web, put, "abc", "");
    let placed = begin(web, &get("full-placed"), "\r\n\r\n", "");
    let queued = hold(web, &get("full-queued"));
    let begun = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    let body = begin(web, &get("body"), "\r\n\r\n", begun);
    let upgrade = "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let switched =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc";
    let tunnel = begin(web, upgrade, "\r\n\r\n", switched);
    let flow = begin(tcp, "abc", "abc", "abc");
    let mut streams = Connection::to(web, &[]);
    let stream = streams.ask(END_STREAM, &asks("GET", "/stream", &[]));
    let (mut slow, _) = held.accept().unwrap();
    until(&mut slow, "\r\n\r\n");
    keel.signal("-TERM");
    for (name, client) in [
        ("head", head),
        ("upload", upload),
        ("placed", placed),
        ("queued", queued),
    ] {
        let answer = rest(client).to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 503 "), "{name}: {answer}");
        assert!(
            answer.contains("\r\nconnection: close\r\n"),
            "{name}: {answer}"
        );
        assert!(answer.ends_with(": instance_drained\n"), "{name}: {answer}");
    }
    let got = streams.answer(stream);
    assert_eq!(got.status(), 503, "{:?}", streams.goaway);
    for mut client in [body, tunnel, flow] {
        let mut left = Vec::new();
        let _ = client.read_to_end(&mut left);
        assert_eq!(left, b"", "it is cut");
    }
    drop(streams);
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(
        said.contains("8 connections are cut: the drain's deadline has passed"),
        "{said}"
    );
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    for (path, status, reason) in [
        ("\"/head\"", "503", "instance_drained"),
        ("\"/upload\"", "503", "instance_drained"),
        ("\"/full-placed\"", "503", "instance_drained"),
        ("\"/full-queued\"", "503", "instance_drained"),
        ("\"/stream\"", "503", "instance_drained"),
        ("\"/body\"", "200", "drained"),
        ("\"/tunnel\"", "101", "drained"),
        ("\"TCP\"", "null", "drained"),
    ] {
        let row = log.lines().find(|row| row.contains(path));
        let row = row.unwrap_or_else(|| panic!("no {path} in {log}"));
        assert!(row.contains(&format!("\"status\":{status}")), "{row}");
        assert!(row.contains(&format!("\"reason\":\"{reason}\"")), "{row}");
    }
    drop((behind, slow));
}

/// Flows go on where their listener is drained, and nobody new comes; who waits for the drain waits for them.
#[test]
fn flows_outlive_the_drain_of_their_listener() {
    let folder = Folder::new("drain-flows");
    let behind = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ db: {{ bind: \"127.0.0.1:0\", protocol: tcp, forward: db }} }}\nservices: {{ db: {{ backends: [\"{}\"] }} }}\n",
        behind.local_addr().unwrap()
    );
    let file = folder.write("keel.yaml", &text);
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut flow = hold(keel.address, "ping");
    let (mut server, _) = behind.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    until(&mut server, "ping");
    let waits = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["listeners", "drain", "db", "--wait", "--admin"])
        .arg(keel.admin.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    keel.until_any("operator: listener");
    // Who still comes in is a flow, too, and would be waited for.
    std::thread::spawn(move || behind.incoming().for_each(drop));
    while TcpStream::connect(keel.address).is_ok() {
        std::thread::yield_now();
    }
    server.write_all(b"pong").unwrap();
    until(&mut flow, "pong");
    flow.write_all(b"more").unwrap();
    until(&mut server, "more");
    drop((flow, server));
    let waited = waits.wait_with_output().unwrap();
    let said = String::from_utf8(waited.stdout).unwrap();
    assert_eq!(waited.status.code(), Some(0), "{said}");
    assert_eq!(
        said,
        "listener db is draining, 1 connections open\nnothing is in flight\n"
    );
}
