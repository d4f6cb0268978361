//! gRPC as its users meet it: Python's own client in front, its own server behind, over one connection and many.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::http2::backends::{Between, asked};
use crate::http2::frames::{CANCEL, DATA, frame, headers};
use crate::http2::hpack::value;
use crate::http2::{configuration, metric};
use crate::process::{Evenkeel, Folder, nobodys};
use crate::tls::Authority;

/// The Python that set-up made, with the packages of `xtask/python.txt`.
fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let program = root.join("target/python/bin/python");
    assert!(program.exists(), "run `cargo xtask setup` first");
    let mut command = Command::new(program);
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/run/grpc");
    command
        .arg(scripts.join(script))
        .env_remove("http_proxy")
        .env("GRPC_VERBOSITY", "NONE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A server of Python's; what it says of its calls.
struct Server {
    child: Child,
    says: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// Over TLS, where its key, its certificate and the authority of its clients are given.
    fn start_with(name: &str, tls: &[PathBuf]) -> Self {
        let mut command = python("server.py");
        let mut child = command.arg(name).args(tls).spawn().unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        let mut own = Self {
            child,
            says,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let said = own.says();
        own.address
            .set_port(said.strip_prefix("port ").unwrap().parse().unwrap());
        own
    }

    /// Its next line.
    fn says(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Lets a call go on that waits to be told.
    fn goes_on(&mut self) {
        let told = self.child.stdin.as_mut().unwrap();
        told.write_all(b"go on\n").unwrap();
    }

    /// How many more calls it had of these, once there are no more.
    fn had(mut self, calls: [&str; 2]) -> [usize; 2] {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.says.read_to_string(&mut said).unwrap();
        calls.map(|call| said.lines().filter(|line| *line == call).count())
    }

    /// Reads on to a line that begins so.
    fn until(&mut self, begin: &str) -> String {
        loop {
            let line = self.says();
            assert!(!line.is_empty(), "it ended before {begin}");
            if line.starts_with(begin) {
                return line;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client printed of a story that went well; fails with what it said when it did not.
fn client(address: SocketAddr, story: &str, more: &[&str]) -> String {
    let mut command = python("client.py");
    command.arg(address.to_string()).arg(story).args(more);
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.ends_with("fine\n"),
        "{story}: {said}{wrong}"
    );
    said
}

/// A client whose story is told line by line.
struct Story {
    child: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Story {
    fn begin(address: SocketAddr, story: &str) -> Self {
        let mut child = python("client.py")
            .arg(address.to_string())
            .arg(story)
            .spawn()
            .unwrap();
        Self {
            asks: child.stdin.take().unwrap(),
            says: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn says(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The shipped binary before these servers.
fn keel(folder: &Folder, servers: &[&Server], listener: &str, service: &str) -> Evenkeel {
    let backends: Vec<_> = servers.iter().map(|one| one.address.to_string()).collect();
    let service = format!("upstream: {{ protocol: http2 }}, {service}");
    let text = configuration(listener, &backends.join(", "), &service);
    run(folder, &text)
}

fn run(folder: &Folder, text: &str) -> Evenkeel {
    let file = folder.write("keel.yaml", text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// Nothing is under way, and nothing panicked.
fn rests(keel: &Evenkeel, server: &Server) {
    let id = server.address;
    metric(
        keel,
        &format!("evenkeel_backend_in_flight{{service=\"api\",backend=\"{id}\"}} 0"),
    );
    metric(keel, "evenkeel_contained_panics_total 0");
}

const STORIES: &[&str] = &["calls", "large", "tiny", "errors", "deadline", "cancel"];

/// Client and server alone: what they cannot do without us, they cannot show of us.
#[test]
fn the_stories_hold_without_anybody_between() {
    let mut server = Server::start("one");
    for story in STORIES {
        client(server.address, story, &[]);
    }
    server.until("cancelled");
    assert_eq!(client(server.address, "balance", &[]), "one=200\nfine\n");
}

#[test]
fn the_stories_hold_through_us_plain_and_over_tls() {
    let folder = Folder::new("grpc-stories");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["a.example"]);
    let server = Server::start("one");
    let tls = "tls: { certificates: [{ cert: site.pem, key: site.key }] }";
    let ca = folder.path().join("authority.ca");
    for (listener, more) in [("", vec![]), (tls, vec![ca.to_str().unwrap()])] {
        let keel = keel(&folder, &[&server], listener, "");
        for story in STORIES {
            client(keel.address, story, &more);
        }
        rests(&keel, &server);
    }
}

/// TLS on both sides, of the test's own authority: the server is believed by its name, and lets in who shows a certificate.
#[test]
fn the_stories_hold_over_tls_on_both_sides() {
    let folder = Folder::new("grpc-upstream-tls");
    let authority = Authority::new(&folder, "authority");
    for name in ["site", "back", "keel"] {
        authority.make(name, &[&*format!("{name}.example"), "a.example"]);
    }
    let path = |name: &str| folder.path().join(name);
    let own = ["back.key", "back.pem", "authority.ca"].map(path);
    let server = Server::start_with("one", &own);
    let listener = "tls: { certificates: [{ cert: site.pem, key: site.key }] }";
    let ca = own[2].to_str().unwrap();
    let shown = "cert: keel.pem, key: keel.key";
    for (name, shown, protocol, stories) in [
        ("back", shown, "http2", STORIES),
        ("back", shown, "auto", &STORIES[..1]),
        ("other", shown, "http2", &[]),
        ("back", "", "http2", &[]),
    ] {
        let tls = format!("tls: {{ ca: authority.ca, sni: {name}.example, {shown} }}");
        let service = format!("upstream: {{ protocol: {protocol}, {tls} }}");
        let text = configuration(listener, &server.address.to_string(), &service);
        let keel = run(&folder, &text);
        for story in stories {
            client(keel.address, story, &[ca]);
        }
        if stories.is_empty() {
            let said = client(keel.address, "status", &[ca]);
            assert!(said.starts_with("UNAVAILABLE "), "{tls}: {said}");
        }
        rests(&keel, &server);
    }
}

/// What a real client says and does reaches the backend as frames: a real server would keep the call's time by itself, and hide it.
#[test]
fn deadlines_and_cancellations_reach_the_backend() {
    for (story, answers) in [("deadline", false), ("cancel", true)] {
        let between = Between::new(&format!("grpc-{story}"), "");
        let mut told = Story::begin(between.keel.address, story);
        let mut behind = between.accept(&[]);
        let own = asked(&mut behind, 1)[0];
        let head = behind.streams[&own].head().unwrap().clone();
        assert!(value(&head, "grpc-timeout").is_some(), "{head:?}");
        if answers {
            let fields = [(":status", "200"), ("content-type", "application/grpc")];
            behind.write(&headers(own, 0, &fields));
            behind.write(&frame(DATA, 0, own, b"\0\0\0\0\x05first"));
        }
        assert!(behind.until(|all| all.streams[&own].reset == Some(CANCEL)));
        assert_eq!(told.says(), "fine", "{story}");
    }
}

#[test]
fn calls_of_one_connection_go_to_all_backends() {
    let folder = Folder::new("grpc-balance");
    let (one, two) = (Server::start("one"), Server::start("two"));
    let keel = keel(&folder, &[&one, &two], "", "policy: round_robin");
    assert_eq!(
        client(keel.address, "balance", &[]),
        "one=100 two=100\nfine\n"
    );
    metric(
        &keel,
        "evenkeel_listener_connections_accepted_total{listener=\"web\"} 1",
    );
}

/// Calls that meet a backend that has gone are made on the other.
#[test]
fn a_backend_that_has_gone_fails_no_call() {
    let folder = Folder::new("grpc-gone");
    let (one, two) = (Server::start("one"), Server::start("two"));
    let keel = keel(&folder, &[&one, &two], "", "policy: round_robin");
    client(keel.address, "balance", &[]);
    drop(one);
    assert_eq!(client(keel.address, "balance", &[]), "two=200\nfine\n");
}

#[test]
fn a_backend_that_dies_within_a_stream_is_unavailable() {
    let folder = Folder::new("grpc-killed");
    let server = Server::start("one");
    let keel = keel(&folder, &[&server], "", "");
    let mut story = Story::begin(keel.address, "killed");
    assert_eq!(story.says(), "first");
    drop(server);
    assert_eq!(
        (story.says(), story.says()),
        ("UNAVAILABLE".into(), "fine".into())
    );
}

/// Our own refusals are statuses of gRPC, not of HTTP.
#[test]
fn refusals_are_statuses() {
    let folder = Folder::new("grpc-refusals");
    let server = Server::start("one");
    let http2 = "upstream: { protocol: http2 }";
    let here = server.address.to_string();
    let fails = nobodys().to_string();
    let rules = "rules: [{ when: { path: /none }, forward: api }]\n";
    for (story, status, text) in [
        ("status", "UNAVAILABLE", configuration("", &fails, http2)),
        (
            "status",
            "UNIMPLEMENTED",
            configuration("", &here, http2) + rules,
        ),
        (
            "status",
            "PERMISSION_DENIED",
            configuration("", &here, http2) + "rules: [{ deny: true }]\n",
        ),
        (
            "silent",
            "DEADLINE_EXCEEDED",
            configuration(
                "",
                &here,
                &format!("{http2}, timeouts: {{ per_try: 300ms, exchange: 300ms }}"),
            ),
        ),
        (
            "big",
            "RESOURCE_EXHAUSTED",
            configuration("limits: { body: 1KiB }", &here, http2),
        ),
    ] {
        let keel = run(&folder, &text);
        let said = client(keel.address, story, &[]);
        assert!(said.starts_with(&format!("{status} ")), "{said}\n{text}");
    }
}

/// A hedge is for what may be done twice, and of a call nobody knows that: however long it is silent, it is with one backend alone, where
/// its client has said all as where it has not. What comes of it is whole, in order, and there once.
#[test]
fn calls_are_not_hedged_however_slow() {
    let folder = Folder::new("grpc-hedge");
    let mut servers = [Server::start("one"), Server::start("two")];
    let service = "policy: round_robin, hedge: { after: 20ms, most: 100% }";
    let keel = keel(&folder, &[&servers[0], &servers[1]], "", service);
    // That pays for hedges, were there any.
    client(keel.address, "balance", &[]);
    let refused = "evenkeel_hedges_refused_total{service=\"api\",reason=\"not_safe\"} ";
    let page = keel.page("/metrics");
    let row = page.lines().find_map(|row| row.strip_prefix(refused));
    let before: u32 = row.map_or(0, |count| count.parse().unwrap());
    let mut calls = ["talks", "waits"].map(|story| Story::begin(keel.address, story));
    // Of a client that has said all it is known that it waits; the other one's time has not begun.
    metric(&keel, &format!("{refused}{}", before + 1));
    for server in &mut servers {
        server.goes_on();
        server.goes_on();
    }
    for call in &mut calls {
        assert_eq!(call.says(), "fine");
    }
    for row in ["hedges_total", "hedges_won_total"] {
        metric(&keel, &format!("evenkeel_{row}{{service=\"api\"}} 0"));
    }
    metric(&keel, "evenkeel_attempts_total{service=\"api\"} 202");
    for server in &servers {
        rests(&keel, server);
    }
    drop(keel);
    let had = servers.map(|server| server.had(["talks", "waits"]));
    let both = [had[0][0] + had[1][0], had[0][1] + had[1][1]];
    assert_eq!(both, [1, 1], "{had:?}");
}

/// A limit that is found, and hedges beside it: a stream has its place for as long as it lives, whoever ends it, and no longer.
#[test]
fn a_stream_has_its_place_for_as_long_as_it_lives() {
    let folder = Folder::new("grpc-limit");
    let server = Server::start("one");
    let service =
        "hedge: { after: 20ms, most: 100% }, limits: { adaptive: { min: 2, start: 2, max: 2 } }";
    let keel = keel(&folder, &[&server], "", service);
    let has = |word: &str, count: &str| {
        let of = format!("{{service=\"api\",backend=\"{}\"}}", server.address);
        metric(&keel, &format!("evenkeel_backend_{word}{of} {count}"));
    };
    let mut calls = ["held", "drain"].map(|story| Story::begin(keel.address, story));
    for call in &mut calls {
        assert_eq!(call.says(), "first");
    }
    has("limit", "2.0");
    has("in_flight", "2");
    let said = client(keel.address, "status", &[]);
    assert!(said.starts_with("RESOURCE_EXHAUSTED "), "{said}");
    // Its client takes the one back; the other is ended by its backend.
    for (left, call) in ["1", "0"].into_iter().zip(&mut calls) {
        call.asks.write_all(b"go on\n").unwrap();
        assert_eq!(call.says(), "fine");
        has("in_flight", left);
        client(keel.address, "single", &[]);
    }
    has("limit", "2.0");
    rests(&keel, &server);
}

/// A drain says GOAWAY, and a call that is under way ends as it would have.
#[test]
fn a_drain_lets_calls_end() {
    let folder = Folder::new("grpc-drain");
    let mut server = Server::start("one");
    let mut keel = keel(&folder, &[&server], "", "");
    let mut idle = crate::http2::frames::Connection::to(keel.address, &[]);
    assert!(idle.settled());
    let mut story = Story::begin(keel.address, "drain");
    assert_eq!(story.says(), "first");
    keel.signal("-TERM");
    keel.until("draining, at most 30s\n");
    idle.until(|own| own.closed);
    assert_eq!(idle.goaway.map(|(_, code)| code), Some(0));
    story.asks.write_all(b"go on\n").unwrap();
    assert_eq!(story.says(), "fine");
    server.until("late-done");
    assert_eq!(keel.wait().0.code(), Some(0));
}
