//! WebSockets and other tunnels as their users meet them: Python's `websockets` at both ends, over TCP and TLS, and scripts of bytes.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::process::{Evenkeel, Folder, PATIENCE, hold, rest, until};
use crate::tls::Authority;

/// The Python that has what tests need.
fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("../../target/python/bin/python"));
    command.arg(root.join("tests/run/websockets").join(script));
    command
}

/// A WebSocket server that echoes.
struct Echo {
    child: Child,
    says: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Echo {
    fn start() -> Self {
        let mut child = python("backend.py").stdout(Stdio::piped()).spawn().unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        says.read_line(&mut port).unwrap();
        let port: u16 = port.trim().parse().unwrap();
        Self {
            child,
            says,
            address: ([127, 0, 0, 1], port).into(),
        }
    }

    /// What it says next.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(listener: &str, backend: SocketAddr, more: &str) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
drain: 1s
access_log: {{ to: ./access.log }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\"{listener} }} }}
services: {{ api: {{ backends: [\"{backend}\"], breaker: off{more} }}, down: {{ backends: [\"127.0.0.1:1\"] }} }}
rules:
  - {{ name: none, when: {{ path: /none }}, respond: {{ status: 404 }} }}
  - {{ name: down, when: {{ path: /down }}, forward: down }}
  - {{ name: api, forward: api }}
"
    )
}

fn run(folder: &Folder, text: &str) -> Evenkeel {
    let file = folder.write("keel.yaml", text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// The value of a row of the metrics.
fn metric(keel: &Evenkeel, name: &str) -> u64 {
    let page = keel.page("/metrics");
    let row = page.lines().find_map(|line| line.strip_prefix(name));
    let row = row.unwrap_or_else(|| panic!("no {name} in {page}"));
    row.trim().parse().unwrap()
}

/// Waits until it reads so.
fn until_metric(keel: &Evenkeel, name: &str, value: u64) {
    while metric(keel, name) != value {}
}

fn libraries(
    listener: &str,
    url: impl Fn(SocketAddr) -> String,
    ca: Option<&Path>,
    folder: &Folder,
) {
    let mut echo = Echo::start();
    let keel = run(folder, &configuration(listener, echo.address, ""));
    let mut command = python("client.py");
    let output = command.arg(url(keel.address)).args(ca).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert_eq!((&*said, &*wrong), ("fine\n", ""));
    // Each way a close was told, with its code.
    for expect in ["1000 ", "1000 ", "4001 as asked", "3003 enough"] {
        assert_eq!(echo.line(), format!("closed {expect}\n"));
    }
    until_metric(&keel, "evenkeel_tunnels{service=\"api\"} ", 0);
    let page = keel.page("/metrics");
    let row = "evenkeel_tunnel_duration_seconds_count{service=\"api\"} 4\n";
    assert!(page.contains(row), "{page}");
    for way in ["received", "sent"] {
        let name = format!("evenkeel_tunnel_bytes_total{{service=\"api\",direction=\"{way}\"}} ");
        assert!(metric(&keel, &name) > 16 * 1024 * 1024, "{way}: {page}");
    }
    // The large frames pass within the kernel where both sides are plain, and nothing does where one is not.
    let passed = metric(&keel, "evenkeel_spliced_bytes_total ");
    assert_eq!(passed > 16 * 1024 * 1024, ca.is_none(), "{passed}");
}

#[test]
fn websockets_as_their_libraries_speak_them() {
    let folder = Folder::new("websockets");
    libraries("", |address| format!("ws://{address}"), None, &folder);
}

#[test]
fn websockets_over_tls() {
    let folder = Folder::new("websockets-tls");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["localhost"]);
    let tls = ", tls: { certificates: [{ cert: site.pem, key: site.key }] }";
    let url = |address: SocketAddr| format!("wss://localhost:{}", address.port());
    libraries(tls, url, Some(&folder.path().join("authority.ca")), &folder);
}

const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A backend of one script per connection; the heads that it read.
fn scripted(
    script: impl Fn(usize, &mut TcpStream) + Send + 'static,
) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, heard) = sync_channel(100);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut stream = stream;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = until(&mut stream, "\r\n\r\n");
            let _ = heads.send(head);
            script(number, &mut stream);
        }
    });
    (address, heard)
}

/// The end of what comes: how many bytes, and whether it was clean.
fn end(stream: &mut TcpStream) -> (usize, bool) {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(length) => (length, true),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (all.len(), false),
        Err(error) => panic!("{error}"),
    }
}

/// Bytes are there that nobody will read: closing over them is a reset.
fn unread(stream: &TcpStream) {
    assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
}

/// The rows of the log, once there are so many.
fn rows(folder: &Folder, keel: &Evenkeel, count: u64) -> Vec<Value> {
    until_metric(keel, "evenkeel_access_log_written_total ", count);
    let text = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    let row = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(row).collect()
}

#[test]
fn each_half_closes_by_itself_and_what_came_early_goes_on() {
    let folder = Folder::new("tunnel-halves");
    let (backend, _heard) = scripted(|number, stream| {
        stream
            .write_all(format!("{SWITCHED}behind").as_bytes())
            .unwrap();
        if number == 0 {
            // The client ends first.
            let (length, clean) = end(stream);
            assert!(clean);
            stream
                .write_all(format!("got {length}").as_bytes())
                .unwrap();
        } else {
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(end(stream), (5 + 1_000_000, true));
        }
    });
    let keel = run(&folder, &configuration(", half_close: true", backend, ""));
    let mut client = hold(keel.address, &format!("{UPGRADE}ahead"));
    until(&mut client, "\r\n\r\nbehind");
    client.write_all(&[0xff; 1_000_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), "got 1000005");
    let mut client = hold(keel.address, &format!("{UPGRADE}ahead"));
    until(&mut client, "\r\n\r\nbehind");
    assert_eq!(end(&mut client), (0, true));
    client.write_all(&[0xff; 1_000_000]).unwrap();
    drop(client);
    let all = rows(&folder, &keel, 2);
    let seen: Vec<_> = ["status", "reason", "received_bytes", "sent_bytes"]
        .iter()
        .map(|key| {
            all.iter()
                .map(|row| row[key].to_string())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        seen,
        [
            "101 101",
            "\"served\" \"served\"",
            "1000005 1000005",
            "17 6"
        ]
    );
}

#[test]
fn a_reset_passes_as_a_reset() {
    let folder = Folder::new("tunnel-resets");
    let (ends, ended) = sync_channel(1);
    let (backend, _heard) = scripted(move |number, stream| {
        stream
            .write_all(format!("{SWITCHED}unread").as_bytes())
            .unwrap();
        if number == 0 {
            ends.send(end(stream)).unwrap();
        } else {
            until(stream, "go");
            unread(stream);
        }
    });
    let keel = run(&folder, &configuration("", backend, ""));
    let mut client = hold(keel.address, UPGRADE);
    until(&mut client, "\r\n\r\n");
    unread(&client);
    drop(client);
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), (0, false));
    let mut client = hold(keel.address, UPGRADE);
    until(&mut client, "\r\n\r\n");
    client.write_all(b"go, unread").unwrap();
    until(&mut client, "unread");
    assert_eq!(end(&mut client), (0, false));
    let all = rows(&folder, &keel, 2);
    let reasons: Vec<_> = all.iter().map(|row| row["reason"].to_string()).collect();
    assert_eq!(reasons, ["\"client_left\"", "\"body_broken\""]);
}

/// Of requests that ask for a change of protocol in ways that are none, none makes a tunnel, and what stands behind them is a request
/// of its own (CVE-2026-2833, CVE-2026-58055, Opossum, h2c).
#[test]
fn what_is_no_upgrade_makes_no_tunnel() {
    let folder = Folder::new("no-tunnel");
    let (backend, heard) = scripted(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            .unwrap();
    });
    let keel = run(&folder, &configuration("", backend, ""));
    let asked = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    for (version, fields, body, forwarded) in [
        // Refused by the backend: its answer goes on, and so does the connection.
        ("1.1", asked, "", true),
        (
            "1.1",
            "Connection: upgrade\r\nUpgrade: made-up\r\n",
            "",
            true,
        ),
        (
            "1.1",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            "",
            false,
        ),
        (
            "1.1",
            "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
            "",
            false,
        ),
        ("1.1", "Upgrade: websocket\r\n", "", false),
        (
            "1.1",
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n",
            "body",
            false,
        ),
        (
            "1.1",
            "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            "4\r\nbody\r\n0\r\n\r\n",
            false,
        ),
        (
            "1.0",
            "Connection: upgrade, keep-alive\r\nUpgrade: websocket\r\n",
            "",
            false,
        ),
    ] {
        let behind = "GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let asks = format!("GET /first HTTP/{version}\r\nHost: a\r\n{fields}\r\n{body}{behind}");
        let got = rest(hold(keel.address, &asks));
        assert!(
            got.starts_with("HTTP/1.1 200 ") && got.contains("\r\n\r\nnoHTTP/1.1 404 "),
            "{fields}: {got}"
        );
        let head = heard.recv_timeout(PATIENCE).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /first "), "{head}");
        assert_eq!(head.contains("\r\nupgrade: "), forwarded, "{head}");
        assert_eq!(
            head.contains("\r\nconnection: upgrade\r\n"),
            forwarded,
            "{head}"
        );
        assert!(!head.contains("http2-settings"), "{head}");
    }
    assert!(heard.try_recv().is_err(), "what a rule denies went on");
}

#[test]
fn a_change_that_nobody_asked_for_is_no_answer() {
    let folder = Folder::new("unasked");
    let (backend, _heard) = scripted(|_, stream| {
        stream.write_all(SWITCHED.as_bytes()).unwrap();
    });
    let keel = run(&folder, &configuration("", backend, ""));
    for asks in [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: chat\r\n\r\n",
    ] {
        let got = rest(hold(keel.address, asks));
        assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
        assert!(got.ends_with("backend_status\n"), "{got}");
    }
}

/// Ends its side of a tunnel without a word of TLS, and reads on.
const ENDS_UNSAID: &str = r#"
import socket, ssl, sys
plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
below = plain.dup()
over = ssl._create_unverified_context().wrap_socket(plain, server_hostname="site.example", suppress_ragged_eofs=False)
over.sendall(sys.argv[2].encode())
head = b""
while not head.endswith(b"\r\n\r\n"):
    head += over.recv(1)
over.sendall(b"question")
below.shutdown(socket.SHUT_WR)
said = b""
while piece := over.recv(100):
    said += piece
print(said.decode())
"#;

/// Frames say where they end, and a close that nothing follows: an end of TLS that is not said is one for all that.
#[test]
fn an_end_of_tls_that_is_not_said_is_passed_on_as_an_end() {
    let folder = Folder::new("tunnel-unsaid");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["site.example"]);
    let tls = ", tls: { certificates: [{ cert: site.pem, key: site.key }] }";
    let (ends, ended) = sync_channel(1);
    let (backend, _heard) = scripted(move |_, stream| {
        stream.write_all(SWITCHED.as_bytes()).unwrap();
        ends.send(end(stream)).unwrap();
        stream.write_all(b"answer").unwrap();
    });
    let keel = run(&folder, &configuration(tls, backend, ""));
    let output = Command::new("python3")
        .args(["-c", ENDS_UNSAID, &keel.address.port().to_string(), UPGRADE])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), (8, true));
    assert_eq!(said, "answer\n");
    assert_eq!(rows(&folder, &keel, 1)[0]["reason"], "served");
}

/// Listener, rule and backend leave; the tunnel stays, in flight, and counts. The drain's deadline cuts it, with its row.
#[test]
fn a_tunnel_outlives_reloads_and_ends_with_the_drain() {
    let folder = Folder::new("tunnel-reload");
    let (ends, ended) = sync_channel(1);
    let (backend, _heard) = scripted(move |_, stream| {
        stream.write_all(SWITCHED.as_bytes()).unwrap();
        let mut word = [0; 4];
        while stream.read_exact(&mut word).is_ok() {
            stream.write_all(&word).unwrap();
        }
        ends.send(()).unwrap();
    });
    let mut keel = run(&folder, &configuration("", backend, ""));
    let mut client = hold(keel.address, UPGRADE);
    until(&mut client, "\r\n\r\n");
    let flight = format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{backend}\"}} ");
    let open = "evenkeel_tunnels{service=\"api\"} ";
    assert_eq!((metric(&keel, &flight), metric(&keel, open)), (1, 1));
    for (round, text) in [
        // The backend leaves.
        "listeners: { web: { bind: \"127.0.0.1:0\" } }\nservices: { api: { backends: [\"127.0.0.1:1\"] } }\n",
        // The service, and the listener.
        "listeners: { other: { bind: \"127.0.0.1:0\" } }\nservices: { other: { backends: [\"127.0.0.1:1\"] } }\n",
        // They are back.
        &configuration("", backend, ""),
    ].into_iter().enumerate() {
        let text = match round {
            2 => text.to_owned(),
            _ => format!("admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\ndrain: 1s\naccess_log: {{ to: ./access.log }}\n{text}"),
        };
        folder.write("keel.yaml", &text);
        keel.signal("-HUP");
        keel.until_any("reloaded: ");
        client.write_all(b"ping").unwrap();
        assert_eq!(until(&mut client, "ping"), "ping");
        if round != 1 {
            assert_eq!((round, metric(&keel, open)), (round, 1));
        }
    }
    assert_eq!(
        metric(&keel, &flight),
        1,
        "what is under way is known again"
    );
    keel.signal("-TERM");
    keel.until_any("draining");
    client.write_all(b"ping").unwrap();
    assert_eq!(until(&mut client, "ping"), "ping");
    assert_eq!(end(&mut client), (0, false), "cut");
    ended.recv_timeout(PATIENCE).unwrap();
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(3), "{said}");
    let text = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    let row: Value = serde_json::from_str(&text).unwrap();
    let of = |key: &str| row[key].to_string();
    assert_eq!(
        [
            "status",
            "reason",
            "service",
            "received_bytes",
            "sent_bytes"
        ]
        .map(of),
        ["101", "\"drained\"", "\"api\"", "16", "16"]
    );
}

/// A backend that cannot be reached costs an upgrade nothing; one that is full refuses the next one.
#[test]
fn an_upgrade_is_tried_elsewhere_and_counts_against_limits() {
    let folder = Folder::new("tunnel-full");
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeping = kept.clone();
    let (backend, _heard) = scripted(move |_, stream| {
        stream.write_all(SWITCHED.as_bytes()).unwrap();
        // Kept open beside the next one.
        keeping.lock().unwrap().push(stream.try_clone().unwrap());
    });
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
access_log: {{ to: ./access.log }}
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
services:
  api:
    policy: round_robin
    backends: [{{ address: \"127.0.0.1:1\", max_in_flight: 3 }}, {{ address: \"{backend}\", max_in_flight: 3 }}]
    breaker: off
"
    );
    let keel = run(&folder, &text);
    let open = || {
        let mut client = hold(keel.address, UPGRADE);
        let head = until(&mut client, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    };
    let held = [open(), open(), open()];
    assert_eq!(metric(&keel, "evenkeel_tunnels{service=\"api\"} "), 3);
    let mut client = hold(keel.address, UPGRADE);
    let head = until(&mut client, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 50"), "{head}");
    drop(held);
    kept.lock().unwrap().clear();
    until_metric(&keel, "evenkeel_tunnels{service=\"api\"} ", 0);
    drop(open());
}

/// A rest of both is ended by a word of either, however often; one that is too long is cut on both sides, not before its time, and the
/// log says so.
#[test]
fn a_tunnel_that_rests_too_long_is_cut() {
    let folder = Folder::new("tunnel-rest");
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = configuration(
        "",
        backend.local_addr().unwrap(),
        ", timeouts: { tunnel: 600ms }",
    );
    let keel = run(&folder, &text);
    for (at, by_client) in [None, Some(true), Some(false)].into_iter().enumerate() {
        let mut client = hold(keel.address, UPGRADE);
        let mut server = backend.accept().unwrap().0;
        until(&mut server, "\r\n\r\n");
        server.write_all(SWITCHED.as_bytes()).unwrap();
        until(&mut client, "\r\n\r\n");
        let mut least = 600.0;
        if let Some(by_client) = by_client {
            let (pings, hears) = match by_client {
                true => (&mut client, &mut server),
                false => (&mut server, &mut client),
            };
            pings.set_read_timeout(Some(REST)).unwrap();
            for _ in 0..PINGS {
                // It rests, and nothing comes meanwhile.
                let nothing = pings.read(&mut [0]).unwrap_err();
                assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
                pings.write_all(b"\x89\0").unwrap();
                hears.read_exact(&mut [0; 2]).unwrap();
            }
            pings.set_read_timeout(Some(PATIENCE)).unwrap();
            least += REST.as_secs_f64() * 1_000.0 * f64::from(PINGS);
        }
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(
            (end(&mut client), end(&mut server)),
            ((0, false), (0, false))
        );
        let row = &rows(&folder, &keel, at as u64 + 1)[at];
        assert_eq!(row["reason"], "idle_timeout");
        let lasted = row["total_ms"].as_f64().unwrap();
        assert!(lasted >= least, "{by_client:?}: {lasted} of {least}");
    }
}

/// Between two pings; a twelfth of the rest that is allowed.
const REST: Duration = Duration::from_millis(50);

/// Together three times as long as that.
const PINGS: u32 = 36;

/// One empty line before a request is forgiven, on a connection that was used as well.
#[test]
fn an_empty_line_between_requests_is_forgiven() {
    let folder = Folder::new("empty-line");
    let (backend, _heard) = scripted(|_, stream| {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer).unwrap();
        until(stream, "\r\n\r\n");
        stream.write_all(answer).unwrap();
    });
    let keel = run(&folder, &configuration("", backend, ""));
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut client = hold(keel.address, "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    until(&mut client, "\r\n\r\nok");
    client.write_all(format!("\r\n{last}").as_bytes()).unwrap();
    let got = rest(client);
    assert!(
        got.starts_with("HTTP/1.1 200 ") && got.ends_with("\r\n\r\nok"),
        "{got}"
    );
    let got = rest(hold(keel.address, &format!("\r\n\r\n{last}")));
    assert!(got.starts_with("HTTP/1.1 400 "), "{got}");
}
