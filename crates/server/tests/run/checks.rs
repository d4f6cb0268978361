//! Checks of backends that speak TLS, HTTP/2 and gRPC: nginx and Python's gRPC behind, the status page says what is wrong.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use rcgen::PKCS_ECDSA_P256_SHA256;

use crate::process::{Evenkeel, Folder, Server};
use crate::tls::Authority;

/// The Python that set-up makes for tests.
const PYTHON: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/python/bin/python"
);

/// gRPC's own server with its health service: `down` has a service of this name that does not serve, a line of input says what the
/// whole does from then on, `bare` has no health service.
const GRPC: &str = r#"
import sys, grpc
from concurrent import futures
from grpc_health.v1 import health, health_pb2 as pb, health_pb2_grpc as rpc
server = grpc.server(futures.ThreadPoolExecutor(2))
if "bare" not in sys.argv:
    status = health.HealthServicer()
    status.set("down", pb.HealthCheckResponse.NOT_SERVING)
    rpc.add_HealthServicer_to_server(status, server)
if "tls" in sys.argv:
    read = lambda name: open(sys.argv[2] + "/" + name, "rb").read()
    terms = grpc.ssl_server_credentials([(read("back.key"), read("back.pem"))])
    port = server.add_secure_port("127.0.0.1:0", terms)
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
for line in sys.stdin:
    status.set("", pb.HealthCheckResponse.ServingStatus.Value(line.strip()))
"#;

/// A running gRPC server of Python's; it ends with its input.
struct Grpc {
    child: Child,
    say: Option<ChildStdin>,
    port: u16,
}

impl Grpc {
    fn start(how: &str, folder: &Path) -> Self {
        let mut child = Command::new(PYTHON)
            .args(["-c", GRPC, how])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        says.read_line(&mut line).unwrap();
        Self {
            say: child.stdin.take(),
            port: line.trim().parse().unwrap(),
            child,
        }
    }

    fn becomes(&mut self, status: &str) {
        writeln!(self.say.as_mut().unwrap(), "{status}").unwrap();
    }
}

impl Drop for Grpc {
    fn drop(&mut self) {
        drop(self.say.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server over TLS that takes no part in the choice of a protocol.
struct AgreesToNothing(Child);

impl AgreesToNothing {
    fn start(folder: &Folder) -> Self {
        let child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "back.pem"])
            .args(["-key", "back.key"])
            .current_dir(folder.path())
            // It ends its connections with its input.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn port(&mut self) -> String {
        let says = BufReader::new(self.0.stdout.take().unwrap());
        let mut lines = says.lines().map(Result::unwrap);
        let line = lines.find(|line| line.starts_with("ACCEPT ")).unwrap();
        let port = line.rsplit_once(':').unwrap().1.to_owned();
        // Its output goes nowhere from here on, and must not end it.
        std::thread::spawn(move || lines.for_each(drop));
        port
    }
}

impl Drop for AgreesToNothing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(folder: &Folder, services: &str) -> Evenkeel {
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}\nservices: {services}\nrules: [{{ respond: {{ status: 200 }} }}]\n"
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// One service per row, and what its only backend comes to: the reason of its standing.
fn check(folder: &Folder, rows: &[(String, &str)]) {
    let services: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(at, (service, _))| format!("s{at}: {{ slow_start: 0s, {service} }}"))
        .collect();
    let keel = run(folder, &format!("{{ {} }}", services.join(", ")));
    for (at, (service, expect)) in rows.iter().enumerate() {
        until(&keel, &format!("s{at}"), expect, service);
    }
}

/// Waits until the only backend of a service stands for this reason; one that is certain and other fails.
fn until(keel: &Evenkeel, service: &str, expect: &str, row: &str) {
    let mark = format!("{{\"name\":\"{service}\",");
    loop {
        let page = keel.page("/v1/status");
        let of = page.split(&mark).nth(1).unwrap();
        let reason = of.split("\"reason\":\"").nth(1).unwrap();
        let reason = reason.split('"').next().unwrap();
        if reason == expect {
            return;
        }
        assert_eq!(reason, "joined", "{row}");
    }
}

/// Checks often.
const OFTEN: &str = "interval: 40ms, interval_unsure: 40ms, fall: 1";

#[test]
fn http_over_tls() {
    let folder = Folder::new("checks-tls");
    let (authority, other) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "other"),
    );
    authority.make("back", &["back.example"]);
    authority.make("client", &["client.example"]);
    authority.make_with(
        "old",
        &["back.example"],
        &PKCS_ECDSA_P256_SHA256,
        |params| {
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        },
    );
    let root = folder.path().display();
    let door = |name: &str, cert: &str, more: &str| {
        format!(
            "server {{ listen unix:{root}/{name}.sock {more}; ssl_certificate {root}/{cert}.pem; ssl_certificate_key {root}/{cert}.key; ssl_client_certificate {root}/authority.ca; location / {{ return 200 \"$server_protocol\\n\"; }}"
        )
    };
    let _server = Server::nginx(
        &folder,
        &format!(
            "}} {} }} {} }} {} ssl_verify_client on; }} {} }} {} }} server {{ listen unix:{root}/clear.sock; location / {{ return 200 \"$server_protocol\\n\"; }} }} server {{ listen unix:{root}/plain.sock http2; location / {{ return 200 \"$server_protocol\\n\"; }}",
            door("one", "back", "ssl"),
            door("old", "old", "ssl"),
            door("mutual", "back", "ssl"),
            door("two", "back", "ssl http2"),
            door("proxied", "back", "ssl http2 proxy_protocol"),
        ),
    );
    let mut agrees = AgreesToNothing::start(&folder);
    let (ca, wrong) = (authority.ca.display(), other.ca.display());
    let row = |door: &str, tls: &str, check: &str| {
        format!(
            "backends: [\"unix:{root}/{door}.sock\"], upstream: {{ tls: {tls} }}, health: {{ {check}, {OFTEN} }}"
        )
    };
    let held = &*format!("{{ ca: {ca}, sni: back.example }}");
    let one = "http: { body: HTTP/1.1 }";
    let two = "http: { protocol: http2, body: HTTP/2.0 }";
    let in_two = "http: { body: HTTP/2.0 }";
    let one_only = "http: { protocol: http1, body: HTTP/1.1 }";
    let as_is = |protocol: &str| format!("{held}, protocol: {protocol}");
    let proxied = format!("{}, proxy_protocol: v2", as_is("auto"));
    check(
        &folder,
        &[
            (row("one", held, one), "checks_passed"),
            (row("one", "{ verify: off }", one), "checks_passed"),
            (
                row("one", &format!("{{ ca: {wrong}, sni: back.example }}"), one),
                "checks_failed: tls certificate_unknown",
            ),
            (
                row("one", &format!("{{ ca: {ca}, sni: front.example }}"), one),
                "checks_failed: tls certificate_name",
            ),
            (
                row("old", held, one),
                "checks_failed: tls certificate_expired",
            ),
            (row("plain", held, one), "checks_failed: tls malformed"),
            (row("one", held, "tcp: {}"), "checks_passed"),
            // nginx takes plain HTTP here, and says that it should not be.
            (
                row("one", held, "http: { tls: off }"),
                "checks_failed: status 400",
            ),
            (row("mutual", held, one), "checks_failed: status 400"),
            (
                row(
                    "mutual",
                    &format!(
                        "{{ ca: {ca}, sni: back.example, cert: client.pem, key: client.key }}"
                    ),
                    one,
                ),
                "checks_passed",
            ),
            (row("two", held, one), "checks_passed"),
            (row("two", held, two), "checks_passed"),
            (row("one", held, two), "checks_failed: tls protocol"),
            (
                format!(
                    "backends: [\"127.0.0.1:{}\"], upstream: {{ tls: {held} }}, health: {{ {two}, {OFTEN} }}",
                    agrees.port()
                ),
                "checks_failed: tls protocol",
            ),
            (row("plain", "off", two), "checks_passed"),
            (row("two", held, "grpc: {}"), "checks_failed: malformed"),
            // As traffic, whatever that speaks.
            (row("two", &as_is("http2"), in_two), "checks_passed"),
            (row("two", &as_is("http2"), one_only), "checks_passed"),
            (row("two", &as_is("auto"), in_two), "checks_passed"),
            (row("one", &as_is("auto"), one), "checks_passed"),
            (
                row("one", &as_is("http2"), in_two),
                "checks_failed: tls protocol",
            ),
            (
                row("plain", "off, protocol: http2", in_two),
                "checks_passed",
            ),
            (row("clear", "off, protocol: auto", one), "checks_passed"),
            // Behind a PROXY header that says that they are nobody's.
            (row("proxied", &proxied, in_two), "checks_passed"),
            (row("proxied", held, in_two), "checks_failed: tls peer_left"),
        ],
    );
}

#[test]
fn grpc_health() {
    let folder = Folder::new("checks-grpc");
    let authority = Authority::new(&folder, "authority");
    authority.make("back", &["back.example"]);
    let mut plain = Grpc::start("plain", folder.path());
    let (bare, secure) = (
        Grpc::start("bare", folder.path()),
        Grpc::start("tls", folder.path()),
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let row = |port: u16, check: &str| {
        format!("backends: [\"127.0.0.1:{port}\"], health: {{ {check}, {OFTEN} }}")
    };
    let tls = format!(
        "upstream: {{ tls: {{ ca: {}, sni: back.example }} }}, ",
        authority.ca.display()
    );
    let whole = row(plain.port, "grpc:");
    check(
        &folder,
        &[
            (whole.clone(), "checks_passed"),
            (
                row(plain.port, "grpc: { service: down }"),
                "checks_failed: grpc NOT_SERVING",
            ),
            (
                row(plain.port, "grpc: { service: other }"),
                "checks_failed: grpc NOT_FOUND",
            ),
            (row(bare.port, "grpc:"), "checks_failed: grpc UNIMPLEMENTED"),
            (tls.clone() + &row(secure.port, "grpc:"), "checks_passed"),
            (
                tls.clone() + &row(plain.port, "grpc: { tls: off }"),
                "checks_passed",
            ),
            (
                tls + &row(plain.port, "grpc:"),
                "checks_failed: tls malformed",
            ),
            (
                row(silent.local_addr().unwrap().port(), "grpc:, timeout: 30ms"),
                "checks_failed: timeout",
            ),
        ],
    );
    let keel = run(&folder, &format!("{{ api: {{ {whole} }} }}"));
    until(&keel, "api", "checks_passed", &whole);
    plain.becomes("NOT_SERVING");
    while !keel
        .page("/v1/status")
        .contains("checks_failed: grpc NOT_SERVING")
    {}
    let counted = keel.page("/metrics");
    assert!(counted.contains("result=\"protocol\"} "), "{counted}");
    plain.becomes("SERVING");
    while keel.page("/v1/status").contains("checks_failed") {}
}

/// What traffic holds backends to changes, and so do the checks; nothing is resumed.
#[test]
fn a_certificate_that_is_no_longer_believed_is_noticed() {
    let folder = Folder::new("checks-change");
    let (authority, other) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "other"),
    );
    authority.make("back", &["back.example"]);
    let root = folder.path().display();
    let _server = Server::nginx(
        &folder,
        &format!(
            "}} server {{ listen unix:{root}/back.sock ssl; ssl_certificate {root}/back.pem; ssl_certificate_key {root}/back.key; location / {{ if ($ssl_session_reused = r) {{ return 500; }} return 200 ok; }}"
        ),
    );
    let trusted = folder.path().join("trusted.ca");
    std::fs::copy(&authority.ca, &trusted).unwrap();
    let service = format!(
        "{{ api: {{ backends: [\"unix:{root}/back.sock\"], upstream: {{ tls: {{ ca: trusted.ca, sni: back.example }} }}, health: {{ http: {{}}, {OFTEN} }} }} }}"
    );
    let mut keel = run(&folder, &service);
    until(&keel, "api", "checks_passed", "before");
    // The second could resume what the first began, and would be told so.
    let made = |result: &str| -> u64 {
        let page = keel.page("/metrics");
        let result = format!("result=\"{result}\"");
        let of = |line: &&str| {
            line.starts_with("evenkeel_backend_checks_total{") && line.contains(&result)
        };
        let line = page.lines().find(of);
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    while made("passed") < 5 {
        assert_eq!(made("failed"), 0, "a check was resumed");
    }
    std::fs::copy(&other.ca, &trusted).unwrap();
    keel.signal("-HUP");
    keel.until_any("reloaded");
    while !keel
        .page("/v1/status")
        .contains("checks_failed: tls certificate_unknown")
    {}
}
