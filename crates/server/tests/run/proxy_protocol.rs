//! The PROXY protocol as its users meet it: HAProxy, nginx and curl in front, HAProxy and nginx behind, and bytes written by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::process::{Evenkeel, Folder, Server, hold, rest, until};
use crate::tls::{Authority, metric};

/// Says what it was told of a client.
const TOLD: &str = "location / { return 200 \"$http_x_forwarded_for $http_x_forwarded_port $http_x_forwarded_proto\\n\"; }";

/// A configuration whose listener has this, over a service that has this beside its backend.
fn text(listener: &str, backend: &str, service: &str) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners:\n  web:\n    bind: \"127.0.0.1:0\"\n    {listener}\nservices: {{ api: {{ backends: [\"{backend}\"], {service} }} }}\n"
    )
}

fn run(folder: &Folder, text: &str) -> Evenkeel {
    let file = folder.write("keel.yaml", text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// A header of version 2 (section 2.2), written by hand: command and version, family and transport, what follows.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family, length[0], length[1]]);
    header.extend(rest);
    header
}

/// 192.0.2.7:1111 to 198.51.100.1:443.
const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x04, 0x57, 0x01, 0xBB];

/// 192.0.2.7 as IPv6, to 2001:db8::2.
const MAPPED: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 0, 2, 7, 0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 2, 0x04, 0x57, 0x01, 0xBB,
];

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// What is answered to these bytes, sent so many at a time.
fn asked(to: SocketAddr, bytes: &[u8], at_once: usize) -> String {
    let mut stream = hold(to, "");
    stream.set_nodelay(true).unwrap();
    for part in bytes.chunks(at_once) {
        stream.write_all(part).unwrap();
    }
    let answer = rest(stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    body.to_owned()
}

#[test]
fn a_header_says_whose_connection_it_is() {
    let folder = Folder::new("proxy-in");
    let server = Server::nginx(&folder, TOLD);
    let listener = "proxy_protocol: { from: [127.0.0.0/8] }";
    let keel = run(&folder, &text(listener, &server.address.to_string(), ""));
    let own = format!("127.0.0.1 {} http\n", keel.address.port());
    let unix = [0; 216];
    let tlvs = [V4, &[0x02, 0, 3, b'a', b'.', b'b', 0xE0, 0, 1, 9]].concat();
    let rows: [(&[u8], &str); 10] = [
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1111 443\r\n",
            "192.0.2.7 443 http\n",
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::2 1111 443\r\n",
            "2001:db8::7 443 http\n",
        ),
        (b"PROXY UNKNOWN\r\n", &own),
        (b"PROXY UNKNOWN ffff:f...f:ffff 65535\r\n", &own),
        (&binary(0x21, 0x11, V4), "192.0.2.7 443 http\n"),
        (&binary(0x21, 0x11, &tlvs), "192.0.2.7 443 http\n"),
        (&binary(0x21, 0x21, MAPPED), "192.0.2.7 443 http\n"),
        // The proxy's own: a check of it.
        (&binary(0x20, 0x00, b""), &own),
        (&binary(0x20, 0x11, V4), &own),
        (&binary(0x21, 0x31, &unix), &own),
    ];
    for (header, told) in rows {
        let bytes = [header, ASK].concat();
        for at_once in [1, 7, bytes.len()] {
            let shown = String::from_utf8_lossy(header);
            assert_eq!(
                asked(keel.address, &bytes, at_once),
                told,
                "{shown} {at_once}"
            );
        }
    }
    metric(
        &keel,
        "evenkeel_proxy_headers_total{listener=\"web\",version=\"1\"} 12",
    );
    metric(
        &keel,
        "evenkeel_proxy_headers_total{listener=\"web\",version=\"2\"} 18",
    );
}

/// Who says what an end of the connection is, says no more than that.
#[test]
fn what_forwarding_fields_say_is_judged_by_the_header() {
    let folder = Folder::new("proxy-trust");
    let server = Server::nginx(&folder, TOLD);
    let log = folder.path().join("access.log");
    let before = format!(
        "trusted_proxies: [192.0.2.0/24, 127.0.0.1]\naccess_log: {{ to: {}, format: json }}\nrules:\n  - {{ name: near, priority: 1, when: {{ source: {{ client: 203.0.113.0/24 }}, path: /near }}, respond: {{ body: near }} }}\n  - {{ name: rest, forward: api }}\n",
        log.display()
    );
    let listener = "proxy_protocol: { from: [127.0.0.1] }";
    let mut keel = run(
        &folder,
        &(before + &text(listener, &server.address.to_string(), "")),
    );
    let ask = |source: &str, path: &str, forged: &str| {
        let bytes = format!(
            "PROXY TCP4 {source} 198.51.100.1 1111 443\r\nGET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {forged}\r\nX-Forwarded-Port: 1\r\nConnection: close\r\n\r\n"
        );
        asked(keel.address, bytes.as_bytes(), bytes.len())
    };
    // Forged by a client; said by a proxy that is trusted, in front of the one that sends headers.
    assert_eq!(
        ask("198.51.100.9", "/", "203.0.113.5"),
        "198.51.100.9 443 http\n"
    );
    assert_eq!(
        ask("198.51.100.9", "/near", "203.0.113.5"),
        "198.51.100.9 443 http\n"
    );
    assert_eq!(
        ask("192.0.2.7", "/", "203.0.113.5"),
        "203.0.113.5, 192.0.2.7 1 http\n"
    );
    assert_eq!(ask("192.0.2.7", "/near", "203.0.113.5"), "near");
    assert_eq!(ask("203.0.113.8", "/near", "10.0.0.1"), "near");
    keel.signal("-TERM");
    keel.until("drained\n");
    let rows = std::fs::read_to_string(log).unwrap();
    let seen: Vec<_> = rows
        .lines()
        .map(|row| {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            let of = |key: &str| row[key].as_str().unwrap().to_owned();
            (of("peer"), of("client"))
        })
        .collect();
    let expect = [
        ("198.51.100.9", "198.51.100.9"),
        ("198.51.100.9", "198.51.100.9"),
        ("192.0.2.7", "203.0.113.5"),
        ("192.0.2.7", "203.0.113.5"),
        ("203.0.113.8", "203.0.113.8"),
    ];
    assert_eq!(
        seen,
        expect.map(|(peer, client)| (peer.into(), client.into()))
    );
}

/// Sends these bytes and reads what comes: nothing, then an end or a reset.
fn refused(mut stream: TcpStream, bytes: &[u8]) {
    // It may be closed over what is still to be sent.
    let _ = stream.write_all(bytes);
    let mut come = Vec::new();
    let _ = stream.read_to_end(&mut come);
    assert_eq!(String::from_utf8_lossy(&come), "");
}

#[test]
fn nobody_else_is_served() {
    let folder = Folder::new("proxy-refused");
    let server = Server::nginx(&folder, TOLD);
    let backend = server.address.to_string();
    let listener = "proxy_protocol: { from: [127.0.0.1] }";
    let keel = run(&folder, &text(listener, &backend, ""));
    let line = |source: &str, port: &str| {
        format!("PROXY TCP4 {source} 198.51.100.1 {port} 443\r\n").into_bytes()
    };
    let long = [b"PROXY UNKNOWN ", &b"x".repeat(94)[..], b"\r\n"].concat();
    let (mut checksum, mut large) = (V4.to_vec(), V4.to_vec());
    checksum.extend([0x03, 0, 4, 1, 2, 3, 4]);
    large.extend([0xE0, 0x10, 0]);
    large.extend([0; 4096]);
    let twice = [V4, &[0x05, 0, 1, 7, 0x05, 0, 1, 8]].concat();
    let rows: [(&[u8], &str); 16] = [
        (b"", "proxy_begin"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03", "proxy_begin"),
        (b"PROXYTCP4", "proxy_begin"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", "proxy_version"),
        (&binary(0x22, 0x11, V4), "proxy_command"),
        (&binary(0x21, 0x41, V4), "proxy_family"),
        (&line("192.0.2.007", "1"), "proxy_address"),
        (&line("192.0.2.7", "65536"), "proxy_port"),
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\rX",
            "proxy_line_end",
        ),
        (&long, "proxy_too_long"),
        (&binary(0x21, 0x11, &large), "proxy_too_long"),
        (&binary(0x21, 0x11, &V4[..11]), "proxy_too_short"),
        (
            &binary(0x21, 0x11, &[V4, &[0x02, 0, 9]].concat()),
            "proxy_tlv_length",
        ),
        (
            &binary(0x21, 0x11, &[V4, &[0x03, 0, 1, 9]].concat()),
            "proxy_tlv_value",
        ),
        (&binary(0x21, 0x11, &twice), "proxy_tlv_repeated"),
        (&binary(0x21, 0x11, &checksum), "proxy_checksum"),
    ];
    for (header, _) in rows {
        refused(hold(keel.address, ""), &[header, ASK].concat());
    }
    let mut reasons: Vec<_> = rows.iter().map(|(_, reason)| *reason).collect();
    // An end before a header is whole.
    let half = hold(keel.address, "PROXY TCP4 192.0.2.7");
    half.shutdown(std::net::Shutdown::Write).unwrap();
    refused(half, b"");
    reasons.push("proxy_peer_left");
    // Not listed, whatever they say.
    let other = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "30",
            "--noproxy",
            "*",
            "--interface",
            "127.0.0.2",
        ])
        .args(["--haproxy-protocol", &format!("http://{}/", keel.address)])
        .output()
        .unwrap();
    assert!(
        !other.status.success() && other.stdout.is_empty(),
        "{other:?}"
    );
    reasons.push("proxy_unlisted");
    for reason in &reasons {
        let count = reasons.iter().filter(|one| *one == reason).count();
        metric(
            &keel,
            &format!(
                "evenkeel_proxy_header_refusals_total{{listener=\"web\",reason=\"{reason}\"}} {count}"
            ),
        );
    }
    metric(&keel, "evenkeel_attempts_total{service=\"api\"} 0");
    metric(&keel, "evenkeel_listener_connections{listener=\"web\"} 0");
}

/// The deadline is that of all: neither silence nor a byte now and then is waited for longer, and a drain waits for neither.
#[test]
fn headers_have_a_deadline() {
    let folder = Folder::new("proxy-slow");
    let listener = "proxy_protocol: { from: [127.0.0.1] }\n    timeouts: { handshake: 200ms }";
    let keel = run(&folder, &text(listener, "127.0.0.1:1", ""));
    let silent = hold(keel.address, "");
    let mut slow = hold(keel.address, "");
    // As slow as a byte in so much, a whole header would take a minute.
    let pace = Duration::from_millis(20);
    slow.set_read_timeout(Some(pace)).unwrap();
    let mut header = binary(0x21, 0x11, &[V4, &[0xE0, 0x0F, 0xD0], &[0; 4048]].concat());
    header.reverse();
    loop {
        match slow.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => break,
        }
        let Some(byte) = header.pop().filter(|_| header.len() > 3000) else {
            panic!("it is still waited for");
        };
        let _ = slow.write_all(&[byte]);
    }
    refused(silent, b"");
    metric(
        &keel,
        "evenkeel_proxy_header_refusals_total{listener=\"web\",reason=\"proxy_timeout\"} 2",
    );
    drop(keel);
    let listener = "proxy_protocol: { from: [127.0.0.1] }\n    timeouts: { handshake: 1h }";
    let keel = run(&folder, &text(listener, "127.0.0.1:1", ""));
    let silent = hold(keel.address, "PROXY ");
    // Accepted before another one that was refused.
    refused(hold(keel.address, ""), b"none");
    keel.signal("-TERM");
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    refused(silent, b"");
}

/// Over a Unix socket there is no address to list.
#[test]
fn unix_sockets_are_listed_by_name() {
    let folder = Folder::new("proxy-unix");
    let server = Server::nginx(&folder, TOLD);
    let path = folder.path().join("web");
    let listener = "proxy_protocol: { from: [192.0.2.1, unix] }";
    let bound = format!("bind: [\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let text = text(listener, &server.address.to_string(), "");
    let keel = run(
        &folder,
        &text.replace("bind: \"127.0.0.1:0\"\n", &(bound + "\n")),
    );
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(&[&b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\n"[..], ASK].concat())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\n192.0.2.7 443 http\n"), "{answer}");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(ASK).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty());
    metric(
        &keel,
        "evenkeel_proxy_header_refusals_total{listener=\"web\",reason=\"proxy_begin\"} 1",
    );
}

/// What curl prints of this, coming from there.
fn curl(from: &str, arguments: &[&str], url: &str) -> String {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
        ])
        .args(["--interface", from])
        .args(arguments)
        .arg(url)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn haproxy_nginx_and_curl_in_front() {
    let folder = Folder::new("proxy-front");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let server = Server::nginx(&folder, TOLD);
    let listener = "proxy_protocol: { from: [127.0.0.1] }";
    let backend = server.address.to_string();
    let plain = run(&folder, &text(listener, &backend, ""));
    let tls = "\n    tls: { certificates: [{ cert: site.pem, key: site.key }] }";
    let secure = run(&folder, &text(&format!("{listener}{tls}"), &backend, ""));
    let ca = authority.ca.to_str().unwrap();
    for keel in [&plain, &secure] {
        let to = keel.address;
        let is_tls = to == secure.address;
        let scheme = if is_tls { "https" } else { "http" };
        let url = |port: u16| format!("{scheme}://a.example:{port}/");
        let resolved = |port: u16| format!("a.example:{port}:127.0.0.1");
        let ask = |from: &str, port: u16, more: &[&str]| {
            let resolved = resolved(port);
            let arguments = [&["--resolve", &resolved, "--cacert", ca], more].concat();
            curl(from, &arguments, &url(port))
        };
        let fronts = [
            Server::haproxy(
                &folder,
                "",
                &format!("mode tcp\n  server keel {to} send-proxy"),
            ),
            Server::haproxy(
                &folder,
                "",
                &format!("mode tcp\n  server keel {to} send-proxy-v2"),
            ),
            Server::haproxy(
                &folder,
                "",
                &format!(
                    "mode tcp\n  server keel {to} send-proxy-v2 proxy-v2-options ssl,cert-cn,authority,crc32c,unique-id\n  unique-id-format %{{+X}}o%ts%rt"
                ),
            ),
            Server::nginx_stream(&folder, &format!("proxy_protocol on; proxy_pass {to};")),
        ];
        for front in fronts {
            let port = front.address.port();
            assert_eq!(
                ask("127.0.0.5", port, &["-H", "X-Forwarded-For: 9.9.9.9"]),
                format!("127.0.0.5 {port} {scheme}\n")
            );
        }
        let port = to.port();
        assert_eq!(
            ask("127.0.0.1", port, &["--haproxy-protocol"]),
            format!("127.0.0.1 {port} {scheme}\n")
        );
    }
    // Its checks are its own, and come one after another.
    let _checking = Server::haproxy(
        &folder,
        "",
        &format!(
            "mode tcp\n  server keel {} send-proxy-v2 check check-send-proxy inter 50",
            plain.address
        ),
    );
    let taken = || {
        let page = plain.page("/metrics");
        let row = "evenkeel_proxy_headers_total{listener=\"web\",version=\"2\"} ";
        let count = page.lines().find_map(|line| line.strip_prefix(row));
        count.unwrap().parse::<u64>().unwrap()
    };
    let before = taken();
    while taken() < before + 3 {}
    metric(
        &plain,
        "evenkeel_requests_total{service=\"api\",code=\"2xx\"} 5",
    );
}

/// A backend that writes down what each connection brings, answers one request after another, and never closes first.
struct Recording {
    address: SocketAddr,
    /// What came over connections, in the order in which they were accepted: each a header and the requests behind it.
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recording {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let all = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, all) = (stream.unwrap(), all.clone());
                let at = {
                    let mut all = all.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                std::thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    while let Ok(length) = stream.read(&mut bytes)
                        && length > 0
                    {
                        let mut all = all.lock().unwrap();
                        all[at].extend(&bytes[..length]);
                        let whole = all[at].ends_with(b"\r\n\r\n") && contains(&all[at], b"GET ");
                        drop(all);
                        if whole {
                            let _ =
                                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// What came before the first request of each connection that had one, and how many requests came.
    fn headers(&self) -> Vec<(Vec<u8>, usize)> {
        let all = self.seen.lock().unwrap();
        let each = all.iter().filter_map(|bytes| {
            let requests = bytes.windows(4).filter(|four| *four == b"GET ").count();
            let first = bytes.windows(4).position(|four| four == b"GET ")?;
            Some((bytes[..first].to_vec(), requests))
        });
        each.collect()
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|one| one == part)
}

/// Two clients by turns, each on a connection of its own that is kept: whose exchange came over which connection is in its header.
#[test]
fn no_connection_to_a_backend_serves_two_clients() {
    let folder = Folder::new("proxy-unshared");
    let recording = Recording::new();
    let backend = recording.address.to_string();
    let keel = run(
        &folder,
        &text("", &backend, "upstream: { proxy_protocol: v1 }"),
    );
    let mut clients = [hold(keel.address, ""), hold(keel.address, "")];
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut expect = Vec::new();
    for _ in 0..3 {
        for client in &mut clients {
            client.write_all(ask).unwrap();
            assert!(until(client, "\r\n\r\nok").starts_with("HTTP/1.1 200 OK\r\n"));
            let (from, to) = (client.local_addr().unwrap(), keel.address);
            let header = format!(
                "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
                from.port(),
                to.port()
            );
            expect.push((header.into_bytes(), 1));
        }
    }
    assert_eq!(recording.headers(), expect);
    // Of another plan, nothing that was kept is used: before, connections are shared.
    let shared = text("", &backend, "");
    folder.write("keel.yaml", &shared);
    let mut keel = keel;
    keel.signal("-HUP");
    keel.until_any("service api changes");
    for client in &mut clients {
        client.write_all(ask).unwrap();
        until(client, "\r\n\r\nok");
    }
    expect.push((Vec::new(), 2));
    assert_eq!(recording.headers(), expect);
    folder.write(
        "keel.yaml",
        &text("", &backend, "upstream: { proxy_protocol: v2 }"),
    );
    keel.signal("-HUP");
    keel.said.clear();
    keel.until_any("service api changes");
    clients[0].write_all(ask).unwrap();
    until(&mut clients[0], "\r\n\r\nok");
    let last = recording.headers().pop().unwrap();
    assert!(
        last.0.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11") && last.1 == 1,
        "{last:?}"
    );
}

/// What a proxy in front said goes on as it came, both ends of it; what a client says of itself does not.
#[test]
fn who_it_is_goes_on_from_proxy_to_proxy() {
    let folder = Folder::new("proxy-chain");
    let recording = Recording::new();
    let backend = recording.address.to_string();
    let text = text(
        "proxy_protocol: { from: [127.0.0.1] }",
        &backend,
        "upstream: { proxy_protocol: v1 }",
    );
    let keel = run(&folder, &format!("trusted_proxies: [192.0.2.0/24]\n{text}"));
    let own = keel.address.port();
    let mut expect = Vec::new();
    for header in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 1111 443\r\n",
        "PROXY TCP6 2001:db8::7 2001:db8::2 1111 443\r\n",
        "PROXY UNKNOWN\r\n",
    ] {
        let mut client = hold(keel.address, header);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.5\r\nConnection: close\r\n\r\n")
            .unwrap();
        let port = client.local_addr().unwrap().port();
        assert!(rest(client).ends_with("ok"));
        expect.push(match header {
            "PROXY UNKNOWN\r\n" => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {own}\r\n"),
            header => header.into(),
        });
    }
    let told: Vec<_> = recording
        .headers()
        .into_iter()
        .map(|(header, _)| String::from_utf8(header).unwrap())
        .collect();
    assert_eq!(told, expect);
}

/// A client over a Unix socket has no address to tell.
#[test]
fn of_a_unix_socket_nothing_is_told() {
    let folder = Folder::new("proxy-untold");
    let path = folder.path().join("web");
    for (header, told) in [
        ("v1", &b"PROXY UNKNOWN\r\n"[..]),
        ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\0"),
    ] {
        let recording = Recording::new();
        let upstream = format!("upstream: {{ proxy_protocol: {header} }}");
        let text = text("", &recording.address.to_string(), &upstream);
        let bound = format!("bind: [\"127.0.0.1:0\", \"unix:{}\"]\n", path.display());
        let _keel = run(
            &folder,
            &text.replace("bind: \"127.0.0.1:0\"\n    \n", &bound),
        );
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(ASK).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
        assert_eq!(recording.headers(), [(told.to_vec(), 1)]);
    }
}

#[test]
fn haproxy_and_nginx_behind() {
    let folder = Folder::new("proxy-behind");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    folder.write("both.pem", &(read("site.pem") + &read("site.key")));
    let said = "mode http\n  http-request return status 200 content-type text/plain lf-string \"%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_authority] %[fc_pp_unique_id] %[req.hdr(x-request-id)]\\n\"";
    let pem = folder.path().join("both.pem");
    let secure = format!("accept-proxy ssl crt {}", pem.display());
    let nginx = "location / { return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\\n\"; }";
    let all = "proxy_protocol: { tlvs: [alpn, authority, ssl, unique_id, crc32c] }";
    let tls = "tls: { ca: authority.ca, sni: a.example }";
    let ca = authority.ca.to_str().unwrap();
    for (server, header) in [
        (
            Server::haproxy(&folder, "accept-proxy", said),
            "proxy_protocol: v1".to_owned(),
        ),
        (
            Server::haproxy(&folder, "accept-proxy", said),
            "proxy_protocol: v2".to_owned(),
        ),
        (
            Server::haproxy(&folder, "accept-proxy", said),
            all.to_owned(),
        ),
        (
            Server::haproxy(&folder, &secure, said),
            format!("{all}, {tls}"),
        ),
        (
            Server::haproxy(&folder, "accept-proxy proto h2", said),
            format!("{all}, protocol: http2"),
        ),
        (
            Server::haproxy(&folder, &format!("{secure} alpn h2"), said),
            format!("{all}, {tls}, protocol: auto"),
        ),
        (
            Server::nginx_listening(&folder, "proxy_protocol", nginx),
            "proxy_protocol: v1".to_owned(),
        ),
        (
            Server::nginx_listening(&folder, "proxy_protocol", nginx),
            all.to_owned(),
        ),
    ] {
        let listener = "tls: { certificates: [{ cert: site.pem, key: site.key }] }";
        let service = format!("upstream: {{ {header} }}, health: {{ tcp: {{}}, interval: 50ms }}");
        let keel = run(
            &folder,
            &text(listener, &server.address.to_string(), &service),
        );
        let port = keel.address.port();
        let resolved = format!("a.example:{port}:127.0.0.1");
        let url = format!("https://a.example:{port}/");
        for from in ["127.0.0.5", "127.0.0.6"] {
            let arguments = [
                "--resolve",
                &*resolved,
                "--cacert",
                ca,
                "-H",
                "X-Forwarded-For: 9.9.9.9",
                "--write-out",
                "%{local_port}",
            ];
            let told = curl(from, &arguments, &url);
            let (told, source) = told.rsplit_once('\n').unwrap();
            let told: Vec<_> = told.split(' ').collect();
            assert_eq!(
                told[..4],
                [from, source, "127.0.0.1", &*port.to_string()],
                "{header}"
            );
            if let [authority, id, request] = told[4..] {
                let (named, identified) = match header.contains("tlvs") {
                    true => ("a.example", request),
                    false => ("", ""),
                };
                assert_eq!((authority, id), (named, identified), "{header}");
            }
        }
    }
}

/// The types and values behind the addresses of a binary header over IPv4, or within a value of that form.
fn tlvs(mut rest: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while let [kind, high, low, value @ ..] = rest {
        let (value, behind) = value.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        all.push((*kind, value.to_vec()));
        rest = behind;
    }
    all
}

/// What HAProxy and nginx of this age do not show of a header: the protocol that was agreed on, and what is known of the client's TLS.
#[test]
fn what_tls_says_of_a_client_goes_on() {
    let folder = Folder::new("proxy-tlvs");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    authority.make("client", &["client"]);
    let listener = "tls: { certificates: [{ cert: site.pem, key: site.key }], client_auth: { ca: authority.ca, mode: request } }";
    let service = "upstream: { proxy_protocol: { tlvs: [alpn, authority, ssl] } }";
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ca, cert, key) = (path("authority.ca"), path("client.pem"), path("client.key"));
    let shown = ["--cert", &cert, "--key", &key];
    for (more, protocol, version, client) in [
        (&["--http1.1"][..], "http/1.1", "TLSv1.3", false),
        (&["--http2"], "h2", "TLSv1.3", false),
        (&shown, "h2", "TLSv1.3", true),
        (&["--tls-max", "1.2", "--no-alpn"], "", "TLSv1.2", false),
    ] {
        let recording = Recording::new();
        let keel = run(
            &folder,
            &text(listener, &recording.address.to_string(), service),
        );
        let port = keel.address.port();
        let resolved = format!("a.example:{port}:127.0.0.1");
        let arguments = [&["--resolve", &resolved, "--cacert", &ca], more].concat();
        let url = format!("https://a.example:{port}/");
        assert!(curl("127.0.0.1", &arguments, &url).starts_with("ok"));
        let (header, _) = recording.headers().pop().unwrap();
        assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11"));
        let all = tlvs(&header[16 + 12..]);
        let of = |kind: u8| {
            let found = all.iter().find(|(one, _)| *one == kind);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let agreed = Some(protocol.to_owned()).filter(|name| !name.is_empty());
        assert_eq!(
            (of(0x01), of(0x02)),
            (agreed, Some("a.example".into())),
            "{more:?}"
        );
        // Section 2.2.5: who came over TLS (1), with a certificate on this connection (2) and at all (4); 0: it is verified.
        let (_, ssl) = all.iter().find(|(one, _)| *one == 0x20).unwrap();
        let (flags, verify) = match client {
            true => (0x07, [0; 4]),
            false => (0x01, [0, 0, 0, 1]),
        };
        assert_eq!((ssl[0], &ssl[1..5]), (flags, &verify[..]), "{more:?}");
        let inner = tlvs(&ssl[5..]);
        let spoken = (0x21, version.as_bytes().to_vec());
        assert!(inner.contains(&spoken), "{more:?}: {inner:?}");
        assert!(inner.iter().any(|(kind, _)| *kind == 0x26), "its group");
    }
}

/// Checks of a service are nobody's; where they go to another port, there is no header to expect.
#[test]
fn checks_say_that_they_are_nobodys() {
    let folder = Folder::new("proxy-checks");
    let (recording, other) = (Recording::new(), Recording::new());
    let nginx = Server::nginx_listening(&folder, "proxy_protocol", TOLD);
    let service = |name: &str, backend: SocketAddr, header: &str, health: &str| {
        format!(
            "  {name}: {{ backends: [\"{backend}\"], upstream: {{ proxy_protocol: {header} }}, health: {{ http: {{}}, interval: 50ms{health} }} }}\n"
        )
    };
    let elsewhere = format!(", port: {}", other.address.port());
    let text = [
        "admin: { bind: \"127.0.0.1:0\" }\nworkers: 1\nlisteners: { web: { bind: \"127.0.0.1:0\" } }\nrules: [{ name: a, respond: { body: a } }]\nservices:\n".into(),
        service("one", recording.address, "v1", ""),
        service("two", recording.address, "v2", ""),
        service("nginx-one", nginx.address, "v1", ""),
        service("nginx-two", nginx.address, "v2", ""),
        service("elsewhere", recording.address, "v2", &elsewhere),
    ];
    let keel = run(&folder, &text.concat());
    let (here, behind) = (recording.address, nginx.address);
    for (name, backend) in [
        ("one", here),
        ("two", here),
        ("nginx-one", behind),
        ("nginx-two", behind),
        ("elsewhere", here),
    ] {
        let row = format!(
            "evenkeel_backend_checks_total{{service=\"{name}\",backend=\"{backend}\",result=\"passed\"}} "
        );
        while !keel.page("/metrics").contains(&row) {}
    }
    let [text, binary] = [b"PROXY UNKNOWN\r\n".to_vec(), binary(0x20, 0, b"")];
    let told = recording.headers();
    assert!(told.contains(&(text.clone(), 1)) && told.contains(&(binary.clone(), 1)));
    let known = |header: &Vec<u8>| *header == text || *header == binary;
    assert!(told.iter().all(|(header, _)| known(header)), "{told:?}");
    assert!(other.headers().iter().all(|(header, _)| header.is_empty()));
}

/// Hands one connection on behind a header, what the client says first in pieces of so many bytes, the header's end among them.
fn behind(header: &'static [u8], to: SocketAddr, at_once: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(to).unwrap();
        server.set_nodelay(true).unwrap();
        let mut bytes = vec![0; 16_384];
        let length = client.read(&mut bytes).unwrap();
        for part in [header, &bytes[..length]].concat().chunks(at_once) {
            server.write_all(part).unwrap();
        }
        let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let upward = std::thread::spawn(move || std::io::copy(&mut up, &mut server));
        let _ = std::io::copy(&mut down, &mut client);
        let _ = client.shutdown(std::net::Shutdown::Both);
        let _ = upward.join();
    });
    address
}

#[test]
fn tls_begins_where_a_header_ends() {
    let folder = Folder::new("proxy-tls");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let server = Server::nginx(&folder, TOLD);
    let listener = "proxy_protocol: { from: [127.0.0.1] }\n    tls: { certificates: [{ cert: site.pem, key: site.key }] }";
    let keel = run(&folder, &text(listener, &server.address.to_string(), ""));
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 1111 443\r\n";
    let ca = authority.ca.to_str().unwrap();
    for at_once in [1, header.len() - 1, header.len(), header.len() + 1, 20_000] {
        let port = behind(header, keel.address, at_once).port();
        let resolved = format!("a.example:{port}:127.0.0.1");
        let url = format!("https://a.example:{port}/");
        let told = curl("127.0.0.1", &["--resolve", &resolved, "--cacert", ca], &url);
        assert_eq!(told, "192.0.2.7 443 https\n", "{at_once}");
    }
    // Who speaks plain HTTP behind the header is told so.
    let url = format!("http://{}/", keel.address);
    let told = curl("127.0.0.1", &["--haproxy-protocol"], &url);
    assert!(told.contains("this port speaks HTTPS"), "{told}");
}

/// Flows: HAProxy says to a listener who the client is, the listener says it to HAProxy.
#[test]
fn flows_go_from_haproxy_to_haproxy() {
    let folder = Folder::new("proxy-flows");
    let said = "mode http\n  http-request return status 200 content-type text/plain lf-string \"%[src] %[src_port] %[dst] %[dst_port]\\n\"";
    let server = Server::haproxy(&folder, "accept-proxy", said);
    let backend = server.address.to_string();
    let log = folder.path().join("access.log");
    let logged = format!("access_log: {{ to: {}, format: json }}\n", log.display());
    for (sent, received) in [("v1", "send-proxy-v2"), ("v2", "send-proxy")] {
        let listener = "protocol: tcp\n    forward: api\n    proxy_protocol: { from: [127.0.0.1] }";
        let service = format!("upstream: {{ proxy_protocol: {sent} }}");
        let mut keel = run(
            &folder,
            &(logged.clone() + &text(listener, &backend, &service)),
        );
        let to = keel.address;
        let front = Server::haproxy(
            &folder,
            "",
            &format!("mode tcp\n  server keel {to} {received}"),
        );
        let port = front.address.port();
        let url = format!("http://{}/", front.address);
        let told = curl("127.0.0.5", &["--write-out", "%{local_port}"], &url);
        let (told, source) = told.rsplit_once('\n').unwrap();
        assert_eq!(told, format!("127.0.0.5 {source} 127.0.0.1 {port}"));
        // Nobody else.
        refused(hold(to, ""), ASK);
        metric(
            &keel,
            "evenkeel_proxy_header_refusals_total{listener=\"web\",reason=\"proxy_begin\"} 1",
        );
        keel.signal("-TERM");
        keel.until("drained\n");
        let rows = std::fs::read_to_string(&log).unwrap();
        // Who looked whether HAProxy is there has one, too.
        let of_curl = |row: &&str| {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            (&row["protocol"], &row["peer"]) == (&"TCP".into(), &"127.0.0.5".into())
        };
        assert_eq!(rows.lines().filter(of_curl).count(), 1, "{rows}");
        std::fs::remove_file(&log).unwrap();
    }
}

/// What stands behind a header in the same packet, or in the next, is the flow's: TLS that is passed on by its hello, TLS that is
/// ended here, and what is neither.
#[test]
fn flows_begin_where_a_header_ends() {
    let folder = Folder::new("proxy-hello");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let told = "location / { return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port $ssl_server_name\\n\"; }";
    let root = folder.path().display();
    let secure =
        format!("ssl_certificate {root}/site.pem; ssl_certificate_key {root}/site.key; {told}");
    let secure = Server::nginx_listening(&folder, "ssl proxy_protocol", &secure);
    let plain = Server::nginx_listening(&folder, "proxy_protocol", told);
    let ca = authority.ca.to_str().unwrap();
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 1111 443\r\n";
    for (listener, server, scheme, name) in [
        ("sni: { a.example: api }", &secure, "https", "a.example"),
        (
            "forward: api\n    tls: { certificates: [{ cert: site.pem, key: site.key }] }",
            &plain,
            "https",
            "",
        ),
        ("forward: api", &plain, "http", ""),
    ] {
        let listener =
            format!("protocol: tcp\n    proxy_protocol: {{ from: [127.0.0.1] }}\n    {listener}");
        let text = text(
            &listener,
            &server.address.to_string(),
            "upstream: { proxy_protocol: v2 }",
        );
        let keel = run(&folder, &text);
        for at_once in [1, header.len() - 1, header.len(), header.len() + 1, 20_000] {
            let port = behind(header, keel.address, at_once).port();
            let resolved = format!("a.example:{port}:127.0.0.1");
            let url = format!("{scheme}://a.example:{port}/");
            let told = curl("127.0.0.1", &["--resolve", &resolved, "--cacert", ca], &url);
            assert_eq!(
                told,
                format!("192.0.2.7 1111 443 {name}\n"),
                "{listener} {at_once}"
            );
        }
    }
}

/// All streams of a connection are between its ends, over TLS or not.
#[test]
fn http2_is_between_the_ends_of_its_connection() {
    let folder = Folder::new("proxy-http2");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let ca = authority.ca.to_str().unwrap();
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 1111 443\r\n";
    let tls = "tls: { certificates: [{ cert: site.pem, key: site.key }] }";
    for (listener, first, scheme) in [
        ("", &b""[..], "http"),
        ("proxy_protocol: { from: [127.0.0.1] }", header, "http"),
        (tls, b"", "https"),
        (
            &format!("proxy_protocol: {{ from: [127.0.0.1] }}\n    {tls}"),
            header,
            "https",
        ),
    ] {
        let recording = Recording::new();
        let backend = recording.address.to_string();
        let keel = run(
            &folder,
            &text(listener, &backend, "upstream: { proxy_protocol: v1 }"),
        );
        let to = keel.address.port();
        for at_once in [1, 20_000] {
            let (port, expect) = match first {
                b"" => (to, None),
                first => {
                    let before = behind(first, keel.address, at_once);
                    (before.port(), Some(first.to_vec()))
                }
            };
            let url = format!("{scheme}://a.example:{port}/");
            let resolved = format!("a.example:{port}:127.0.0.1");
            let mut arguments = vec!["--resolve", &resolved, "--cacert", ca];
            arguments.extend(["--write-out", "%{http_version} %{local_port} "]);
            // curl 7.88 asks no second time over a connection of prior knowledge.
            let asked = match scheme {
                "http" => {
                    arguments.push("--http2-prior-knowledge");
                    1
                }
                _ => {
                    arguments.push(&url);
                    2
                }
            };
            let told = curl("127.0.0.1", &arguments, &url);
            let told: Vec<_> = told.split_whitespace().collect();
            assert_eq!(told.len(), 2 * asked, "{told:?}");
            // All of them over one connection.
            let from = told[1];
            assert!(told.chunks(2).all(|one| one == ["ok2", from]), "{told:?}");
            let own = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n").into_bytes();
            let expect = vec![(expect.unwrap_or(own), 1); asked];
            let headers = recording.headers();
            assert_eq!(headers[headers.len() - asked..], expect, "{listener}");
        }
    }
}
