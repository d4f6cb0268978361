//! TCP as its users meet it: Redis behind, its own client in front; ends, cuts and waits byte for byte.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::process::{Evenkeel, Folder, PATIENCE, Server, hold, nobodys, rest};
use crate::tls::{Authority, metric};

/// What goes each way in the tests of much.
const MUCH: usize = 16 * 1024 * 1024;

fn redis() -> Server {
    Server::start(|port| {
        let mut command = Command::new("redis-server");
        let port = port.to_string();
        command.args(["--bind", "127.0.0.1", "--port", &port]);
        command.args(["--save", "", "--appendonly", "no"]);
        command
    })
}

/// What Redis's own client prints. One that is cut off at once asks again for as long as it is let.
fn ask(address: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("timeout")
        .args([&PATIENCE.as_secs().to_string(), "redis-cli"])
        .args(["-h", "127.0.0.1", "-p", &address.port().to_string()])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    // As `timeout` says that it was that long.
    let ended = output.status.code() != Some(124);
    assert!(ended, "{arguments:?} was not answered: {said}");
    said
}

/// One listener that has this beside its address, over one service of these backends that has this.
pub(crate) fn text(listener: &str, backends: &[SocketAddr], service: &str) -> String {
    let all: Vec<_> = backends.iter().map(ToString::to_string).collect();
    let all = all.join(", ");
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\ndrain: 1s\naccess_log: {{ to: ./access.log }}\nlisteners: {{ db: {{ bind: \"127.0.0.1:0\", protocol: tcp, {listener} }} }}\nservices: {{ db: {{ policy: round_robin, backends: [{all}], {service} }} }}\n"
    )
}

pub(crate) fn run(folder: &Folder, text: &str) -> Evenkeel {
    let file = folder.write("keel.yaml", text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

/// Over one backend of the test's own.
fn over(folder: &Folder, listener: &str, service: &str) -> (Evenkeel, TcpListener) {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = backend.local_addr().unwrap();
    let keel = run(folder, &text(listener, &[address], service));
    (keel, backend)
}

/// Both ends of one flow.
fn pair(keel: &Evenkeel, backend: &TcpListener) -> (TcpStream, TcpStream) {
    let client = hold(keel.address, "");
    let (server, _) = backend.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    (client, server)
}

/// The row of the access log with all of these, which is waited for.
pub(crate) fn row(folder: &Folder, marks: &[&str]) -> String {
    let mut log = String::new();
    // Some twenty seconds of a machine that has nothing else to do.
    for _ in 0..5_000_000 {
        log = std::fs::read_to_string(folder.path().join("access.log")).unwrap_or_default();
        let is = |row: &str| marks.iter().all(|mark| row.contains(mark));
        if let Some(row) = log.lines().find(|row| is(row)) {
            return row.to_owned();
        }
        thread::yield_now();
    }
    panic!("no row with {marks:?} in {log}");
}

#[test]
fn redis_is_served_and_one_that_dies_is_not_missed() {
    let folder = Folder::new("tcp-redis");
    let (one, two) = (redis(), redis());
    let backends = [one.address, two.address];
    let keel = run(&folder, &text("forward: db", &backends, ""));
    assert_eq!(ask(keel.address, &["ping"]), "PONG\n");
    for server in &backends {
        ask(*server, &["set", "who", &server.port().to_string()]);
    }
    let asked: Vec<_> = (0..4).map(|_| ask(keel.address, &["get", "who"])).collect();
    assert_ne!(asked[0], asked[1], "each in its turn: {asked:?}");
    drop(one);
    let left = format!("{}\n", two.address.port());
    for _ in 0..6 {
        assert_eq!(ask(keel.address, &["get", "who"]), left);
    }
    metric(
        &keel,
        "evenkeel_exchanges_total{service=\"db\",reason=\"served\"} 11",
    );
    let none = format!(
        "evenkeel_backend_failures_total{{service=\"db\",backend=\"{}\"}} 0\n",
        backends[0]
    );
    assert!(!keel.page("/metrics").contains(&none), "it was tried");
    row(
        &folder,
        &[
            "\"listener\":\"db\",\"rule\":null,\"service\":\"db\"",
            "\"protocol\":\"TCP\",\"scheme\":null,",
            "\"status\":null,",
            "\"reason\":\"served\"",
            "\"attempts\":2",
        ],
    );
}

/// The direction that a client or a backend has ended is ended at the other end, and the other goes on, to its last byte.
#[test]
fn each_direction_ends_by_itself() {
    let folder = Folder::new("tcp-half");
    let (keel, backend) = over(&folder, "forward: db", "");
    let (mut client, mut server) = pair(&keel, &backend);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut asked = Vec::new();
    server.read_to_end(&mut asked).unwrap();
    assert_eq!(asked, b"question");
    server.write_all(b"answer").unwrap();
    drop(server);
    assert_eq!(rest(client), "answer");
    let (mut client, mut server) = pair(&keel, &backend);
    server.write_all(b"banner").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let mut told = Vec::new();
    client.read_to_end(&mut told).unwrap();
    assert_eq!(told, b"banner");
    client.write_all(b"late").unwrap();
    drop(client);
    let mut late = String::new();
    server.read_to_string(&mut late).unwrap();
    assert_eq!(late, "late");
    row(&folder, &["\"received_bytes\":8", "\"sent_bytes\":6,"]);
    row(&folder, &["\"received_bytes\":4", "\"sent_bytes\":6,"]);
}

#[test]
fn much_goes_both_ways_at_once_and_arrives_as_it_was() {
    let folder = Folder::new("tcp-much");
    let (keel, backend) = over(&folder, "forward: db", "");
    let (client, server) = pair(&keel, &backend);
    let bytes = |salt: usize| -> Vec<u8> {
        // No two pieces of it are alike.
        let words = (0..MUCH / 8).map(|at| (at * 0x9e37_79b9 + salt).to_le_bytes());
        words.flatten().collect()
    };
    let each = |mut stream: TcpStream, sends: Vec<u8>| {
        let mut reader = stream.try_clone().unwrap();
        let reads = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        stream.write_all(&sends).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        reads
    };
    let behind = thread::spawn(move || each(server, bytes(3)).join().unwrap());
    let told = each(client, bytes(5)).join().unwrap();
    assert!(told == bytes(3), "downwards");
    assert!(behind.join().unwrap() == bytes(5), "upwards");
    // It is the way within the kernel that is tried here, and not for a part only. The least that a machine under load lets through.
    let page = keel.page("/metrics");
    let passed = page
        .lines()
        .find_map(|row| row.strip_prefix("evenkeel_spliced_bytes_total "));
    let passed: usize = passed.unwrap().parse().unwrap();
    assert!(passed > MUCH, "{passed} of {}", 2 * MUCH);
    // Nobody needs the pipes any more.
    metric(&keel, "evenkeel_splice_pipes 0");
}

/// The system has no descriptor for a pipe, whatever was counted: bytes are copied, and all of them arrive.
#[test]
fn what_finds_no_pipe_is_copied() {
    let folder = Folder::new("tcp-no-pipe");
    let (keel, backend) = over(&folder, "forward: db", "");
    let (mut client, mut server) = pair(&keel, &backend);
    let may_open = |files: &str| {
        let (id, limit) = (keel.id().to_string(), format!("--nofile={files}:"));
        let set = Command::new("prlimit")
            .args(["--pid", &id, &limit])
            .status();
        assert!(set.unwrap().success());
    };
    may_open("3");
    let sending = thread::spawn(move || {
        server.write_all(&numbered(MUCH)).unwrap();
    });
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    sending.join().unwrap();
    assert!(all == numbered(MUCH), "{} of {MUCH}", all.len());
    may_open("1024");
    drop(client);
    metric(&keel, "evenkeel_spliced_bytes_total 0");
    let page = keel.page("/metrics");
    assert!(
        !page.contains("evenkeel_splice_refusals_total 0\n"),
        "a pipe was there"
    );
}

/// Bytes that no two pieces of are alike.
fn numbered(length: usize) -> Vec<u8> {
    let words = (0..length / 8).map(|at| (at * 0x9e37_79b9).to_le_bytes());
    words.flatten().collect()
}

/// A drain that ends while bytes are within the kernel cuts: what came is as it was sent, and nobody takes it for all.
#[test]
fn a_drain_with_bytes_in_a_pipe_cuts() {
    let folder = Folder::new("tcp-drained-pipe");
    let (mut keel, backend) = over(&folder, "forward: db", "");
    let (mut client, mut server) = pair(&keel, &backend);
    let sending = thread::spawn(move || {
        let all = numbered(4 * MUCH);
        let error = server.write_all(&all).unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ));
    });
    // Its client takes nothing: one pipe holds what nobody takes.
    metric(&keel, "evenkeel_splice_pipes 1");
    keel.signal("-TERM");
    keel.until("draining, at most 1s\n");
    assert_eq!(keel.wait().0.code(), Some(3));
    sending.join().unwrap();
    let mut come = Vec::new();
    let error = client.read_to_end(&mut come).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(come.len() < 4 * MUCH && numbered(4 * MUCH).starts_with(&come));
}

#[test]
fn a_cut_is_passed_on_as_a_cut() {
    let folder = Folder::new("tcp-cut");
    // A connection that breaks before it stands is tried again, and nobody would take that one.
    let (keel, backend) = over(&folder, "forward: db", "retry: off");
    let (mut client, mut server) = pair(&keel, &backend);
    server.write_all(b"half").unwrap();
    let mut half = [0; 4];
    (&client).read_exact(&mut half).unwrap();
    cut(server);
    is_cut(&mut client);
    let (mut client, mut server) = pair(&keel, &backend);
    client.write_all(b"half").unwrap();
    server.read_exact(&mut half).unwrap();
    cut(client);
    is_cut(&mut server);
    row(&folder, &["\"reason\":\"body_broken\""]);
    row(&folder, &["\"reason\":\"client_left\""]);
    // Nobody had said anything to it, so that it is its own doing, whether or not the connection stood by then.
    let (mut client, server) = pair(&keel, &backend);
    cut(server);
    is_cut(&mut client);
    let failed = format!(
        "evenkeel_backend_failures_total{{service=\"db\",backend=\"{}\"}} 1",
        backend.local_addr().unwrap()
    );
    metric(&keel, &failed);
}

fn cut(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// It comes to a cut, after whatever came.
#[track_caller]
fn is_cut(stream: &mut TcpStream) {
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn who_says_nothing_for_too_long_is_cut() {
    let folder = Folder::new("tcp-idle");
    let timeouts = "timeouts: { idle: 400ms, idle_body: 100ms }";
    let (keel, backend) = over(&folder, &format!("forward: db, {timeouts}"), "");
    // With both directions open, and with one that has ended: not before its time by the instance's own clock.
    for (half, received) in [(false, 4), (true, 5)] {
        let (mut client, mut server) = pair(&keel, &backend);
        client.write_all(&b"words"[..received]).unwrap();
        server.read_exact(&mut [0; 5][..received]).unwrap();
        if half {
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
        }
        is_cut(&mut client);
        let bytes = format!("\"received_bytes\":{received},");
        let row = row(&folder, &["\"reason\":\"idle_timeout\"", &bytes]);
        let (_, lasted) = row.split_once("\"total_ms\":").unwrap();
        let lasted = lasted.split([',', '}']).next().unwrap();
        assert!(lasted.parse::<f64>().unwrap() >= 400.0, "{row}");
    }
}

/// Who takes nothing of what is there for it holds memory, and is not waited for as long as who is silent.
#[test]
fn who_takes_nothing_is_cut() {
    for (timeouts, service) in [
        ("timeouts: { idle_body: 300ms }", ""),
        ("", "timeouts: { idle_body: 300ms }"),
    ] {
        let folder = Folder::new("tcp-stalled");
        let (keel, backend) = over(&folder, &format!("forward: db, {timeouts}"), service);
        let (client, server) = pair(&keel, &backend);
        let floods = |mut stream: TcpStream| while stream.write_all(&[b'x'; 65536]).is_ok() {};
        floods(server);
        row(&folder, &["\"reason\":\"client_stalled\""]);
        drop(client);
        let (client, server) = pair(&keel, &backend);
        floods(client);
        row(&folder, &["\"reason\":\"idle_timeout\""]);
        drop(server);
    }
}

/// Who has ended its direction and then goes is noticed, and its flow is over: nothing is held for it.
#[test]
fn who_goes_after_its_end_is_noticed() {
    let folder = Folder::new("tcp-away");
    let (keel, backend) = over(&folder, "forward: db", "");
    let none = "evenkeel_flows{service=\"db\"} 0";
    let (client, mut server) = pair(&keel, &backend);
    (&client).write_all(b"last words").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    server.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"last words");
    cut(client);
    // Neither says a word.
    metric(&keel, none);
    row(
        &folder,
        &["\"reason\":\"client_left\"", "\"received_bytes\":10,"],
    );
    drop(server);
    // The backend, and what it said before is not lost.
    let (client, mut server) = pair(&keel, &backend);
    server.write_all(b"banner").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let mut told = Vec::new();
    (&client).read_to_end(&mut told).unwrap();
    assert_eq!(told, b"banner");
    cut(server);
    metric(
        &keel,
        "evenkeel_flow_duration_seconds_count{service=\"db\"} 2",
    );
    metric(&keel, none);
    drop(client);
    // In the middle of what it asked for.
    let (client, mut server) = pair(&keel, &backend);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    let sending = thread::spawn(move || while server.write_all(&[b'x'; 65536]).is_ok() {});
    (&client).read_exact(&mut [0; 1000]).unwrap();
    drop(client);
    sending.join().unwrap();
    metric(
        &keel,
        "evenkeel_exchanges_total{service=\"db\",reason=\"client_left\"} 2",
    );
}

/// What a client says before it has a backend is not lost to those that do not take it.
#[test]
fn a_backend_that_refuses_costs_no_byte() {
    let folder = Folder::new("tcp-retry");
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [nobodys(), backend.local_addr().unwrap()];
    let keel = run(&folder, &text("forward: db", &addresses, "breaker: off"));
    for _ in 0..2 {
        let client = hold(keel.address, "first words");
        client.shutdown(Shutdown::Write).unwrap();
        let (mut server, _) = backend.accept().unwrap();
        let mut words = String::new();
        server.read_to_string(&mut words).unwrap();
        assert_eq!(words, "first words");
        drop(server);
        assert_eq!(rest(client), "");
    }
    row(&folder, &["\"attempts\":2", "\"received_bytes\":11,"]);
}

/// A backend that is full has who comes wait, as long as connecting may take, and serves who waited once there is room.
#[test]
fn who_waits_for_a_full_backend_is_served_when_there_is_room() {
    for (within, served) in [("1h", true), ("100ms", false)] {
        let folder = Folder::new("tcp-full");
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = backend.local_addr().unwrap();
        let service = format!("breaker: off, timeouts: {{ connect: {within} }}");
        let all = text("forward: db", &[address], &service);
        let limited = format!("{{ address: \"{address}\", max_connections: 1 }}");
        let keel = run(
            &folder,
            &all.replace(&format!("[{address}]"), &format!("[{limited}]")),
        );
        let (first, server) = pair(&keel, &backend);
        let mut second = hold(keel.address, "first words");
        metric(
            &keel,
            "evenkeel_listener_connections_accepted_total{listener=\"db\"} 2",
        );
        backend.set_nonblocking(true).unwrap();
        if !served {
            is_cut(&mut second);
            metric(
                &keel,
                "evenkeel_local_answers_total{listener=\"db\",reason=\"max_connections\"} 1",
            );
        }
        let none = backend.accept().unwrap_err();
        assert_eq!(none.kind(), ErrorKind::WouldBlock, "it is full");
        drop((first, server));
        if served {
            backend.set_nonblocking(false).unwrap();
            let (mut server, _) = backend.accept().unwrap();
            let mut words = [0; 11];
            server.read_exact(&mut words).unwrap();
            assert_eq!(&words, b"first words");
        }
        row(&folder, &["\"reason\":\"served\""]);
    }
}

/// A backend whose queue is full answers nothing at all: the time for connecting ends it, and the next is asked.
#[test]
fn a_backend_that_is_silent_is_given_up_for_another() {
    let folder = Folder::new("tcp-black");
    let black = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&black, 0).unwrap();
    let silent = black.local_addr().unwrap();
    // Those who come first fill it; nobody accepts them.
    let _fill: Vec<_> = (0..4)
        .map(|_| {
            let flags = SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
            let _ = rustix::net::connect(&socket, &silent);
            socket
        })
        .collect();
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let all = [silent, backend.local_addr().unwrap()];
    let service = "breaker: off, timeouts: { connect: 200ms }";
    let keel = run(&folder, &text("forward: db", &all, service));
    for _ in 0..2 {
        let client = hold(keel.address, "first words");
        client.shutdown(Shutdown::Write).unwrap();
        let (mut server, _) = backend.accept().unwrap();
        let mut words = String::new();
        server.read_to_string(&mut words).unwrap();
        assert_eq!(words, "first words");
        drop(server);
        assert_eq!(rest(client), "");
    }
    row(&folder, &["\"attempts\":2", "\"reason\":\"served\""]);
    let none =
        format!("evenkeel_backend_failures_total{{service=\"db\",backend=\"{silent}\"}} 0\n");
    assert!(!keel.page("/metrics").contains(&none), "it was tried");
}

/// A certificate that is renewed is for who comes next: flows that stand go on.
#[test]
fn a_certificate_is_renewed_under_a_flow() {
    let folder = Folder::new("tcp-renewed");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["db.example"]);
    let server = redis();
    let listener = "forward: db, tls: { certificates: [{ cert: site.pem, key: site.key }] }";
    let mut keel = run(&folder, &text(listener, &[server.address], ""));
    let mut held = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &keel.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut says = BufReader::new(held.stdout.take().unwrap());
    let mut ask = held.stdin.take().unwrap();
    let mut asks = |statement: &str| {
        writeln!(ask, "{statement}\r").unwrap();
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(asks("SET who before"), "+OK\r\n");
    let shown = |keel: &Evenkeel| {
        let said = openssl(keel.address, &[], "QUIT\r\n");
        let (_, certificate) = said.split_once("-----BEGIN CERTIFICATE-----").unwrap();
        certificate.split("-----END").next().unwrap().to_owned()
    };
    let before = shown(&keel);
    authority.make("site", &["db.example"]);
    keel.signal("-HUP");
    keel.until("listener db changes\n");
    assert_ne!(shown(&keel), before);
    assert_eq!(asks("EXISTS who"), ":1\r\n");
    // Of the two questions between, none took this one's place.
    metric(&keel, "evenkeel_flows{service=\"db\"} 1");
    assert_eq!(asks("QUIT"), "+OK\r\n");
    held.wait().unwrap();
}

#[test]
fn who_finds_no_backend_is_cut_and_counted() {
    let folder = Folder::new("tcp-none");
    let keel = run(&folder, &text("forward: db", &[nobodys()], ""));
    let mut client = hold(keel.address, "");
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    metric(
        &keel,
        "evenkeel_local_answers_total{listener=\"db\",reason=\"connect_failed\"} 1",
    );
    row(
        &folder,
        &["\"reason\":\"connect_failed\"", "\"attempts\":3"],
    );
}

#[test]
fn a_flow_outlives_reloads_and_ends_with_a_drains_deadline() {
    let folder = Folder::new("tcp-reload");
    let (mut keel, backend) = over(&folder, "forward: db", "");
    let (mut client, mut server) = pair(&keel, &backend);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    folder.write("keel.yaml", &text("forward: db", &[address], ""));
    keel.signal("-HUP");
    keel.until("is removed\n");
    // Who comes now goes to the new one; who was there stays.
    let (_next, _) = pair(&keel, &other);
    let mut word = [0; 5];
    client.write_all(b"still").unwrap();
    server.read_exact(&mut word).unwrap();
    server.write_all(b"there").unwrap();
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"there");
    keel.signal("-TERM");
    keel.until("draining, at most 1s\n");
    client.write_all(b"still").unwrap();
    server.read_exact(&mut word).unwrap();
    let (status, said) = keel.wait();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("2 connections are cut"), "{said}");
    for mut end in [client, server] {
        let error = end.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    // What a drain cuts has its row as well.
    let was = format!("\"backend\":\"{}\"", backend.local_addr().unwrap());
    row(
        &folder,
        &[
            "\"listener\":\"db\"",
            "\"service\":\"db\"",
            &was,
            "\"reason\":\"drained\"",
            "\"received_bytes\":10,",
            "\"sent_bytes\":5,",
        ],
    );
}

/// Bytes are counted while they go, and who outlives its listener and its service is not forgotten.
#[test]
fn a_flow_is_counted_as_it_goes_and_named_when_its_names_are_gone() {
    let folder = Folder::new("tcp-counted");
    let (mut keel, backend) = over(&folder, "forward: db", "");
    let (mut client, mut server) = pair(&keel, &backend);
    client.write_all(b"question").unwrap();
    let mut word = [0; 8];
    server.read_exact(&mut word).unwrap();
    server.write_all(b"answer").unwrap();
    client.read_exact(&mut word[..6]).unwrap();
    for counted in [
        "evenkeel_flows{service=\"db\"} 1",
        "evenkeel_flow_bytes_total{service=\"db\",direction=\"received\"} 8",
        "evenkeel_flow_bytes_total{service=\"db\",direction=\"sent\"} 6",
        "evenkeel_flow_duration_seconds_count{service=\"db\"} 0",
    ] {
        metric(&keel, counted);
    }
    let status = keel.page("/v1/status");
    let flows: String = status.split_whitespace().collect();
    assert!(
        flows.contains("\"flows\":{\"open\":1,\"received_bytes\":8,\"sent_bytes\":6}"),
        "{status}"
    );
    // Its end is no latency: that is what its connection took.
    drop((client, server));
    metric(
        &keel,
        "evenkeel_flow_duration_seconds_count{service=\"db\"} 1",
    );
    metric(&keel, "evenkeel_flows{service=\"db\"} 0");
    let (mut client, mut server) = pair(&keel, &backend);
    let other = text("forward: db", &[backend.local_addr().unwrap()], "");
    folder.write(
        "keel.yaml",
        &other
            .replace("db:", "other:")
            .replace("forward: db", "forward: other"),
    );
    keel.signal("-HUP");
    keel.until_any("reloaded");
    client.write_all(b"late").unwrap();
    server.read_exact(&mut word[..4]).unwrap();
    drop((client, server));
    row(
        &folder,
        &[
            "\"listener\":\"db\",\"rule\":null,\"service\":\"db\"",
            "\"received_bytes\":4,",
        ],
    );
}

/// What `openssl s_client` says of a connection over which this is sent.
fn openssl(address: SocketAddr, arguments: &[&str], says: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended already.
    let _ = stdin.write_all(says.as_bytes());
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn tls_is_ended_before_redis_and_begun_anew_behind() {
    let folder = Folder::new("tcp-tls");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["db.example"]);
    authority.make("client", &["client"]);
    let server = redis();
    let listener = "forward: db, tls: { certificates: [{ cert: site.pem, key: site.key }], client_auth: { ca: authority.ca, mode: require } }";
    let keel = run(&folder, &text(listener, &[server.address], ""));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (path("client.pem"), path("client.key"));
    let shown = ["-cert", &*cert, "-key", &key, "-alpn", "postgresql"];
    let said = openssl(keel.address, &shown, "PING\r\nQUIT\r\n");
    assert!(said.contains("+PONG\r\n+OK\r\n"), "{said}");
    // What is spoken within is for client and backend to agree on.
    assert!(said.contains("No ALPN negotiated"), "{said}");
    let bare = openssl(keel.address, &[], "PING\r\nQUIT\r\n");
    assert!(!bare.contains("PONG"), "{bare}");
    // A second instance in front, which speaks TLS to the first.
    let upstream = "upstream: { tls: { ca: authority.ca, sni: db.example, cert: client.pem, key: client.key } }";
    let front = Folder::new("tcp-tls-front");
    for name in ["authority.ca", "client.pem", "client.key"] {
        std::fs::copy(path(name), front.path().join(name)).unwrap();
    }
    let front = run(&front, &text("forward: db", &[keel.address], upstream));
    assert_eq!(ask(front.address, &["ping"]), "PONG\n");
}

/// Ends its side of the connection without a word of TLS, as many clients of databases do, and reads on.
const ENDS_UNSAID: &str = r#"
import socket, ssl, sys
plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
below = plain.dup()
context = ssl._create_unverified_context()
context.set_alpn_protocols(["other", "postgresql"])
over = context.wrap_socket(plain, server_hostname="db.example", suppress_ragged_eofs=False)
if over.selected_alpn_protocol() != "postgresql":
    sys.exit("no protocol")
over.sendall(b"question")
below.shutdown(socket.SHUT_WR)
said = b""
while piece := over.recv(100):
    said += piece
print(said.decode())
"#;

#[test]
fn an_end_of_tls_that_is_not_said_is_passed_on_as_an_end() {
    let folder = Folder::new("tcp-unsaid");
    let authority = Authority::new(&folder, "authority");
    authority.make("site", &["db.example"]);
    let listener = "forward: db, tls: { certificates: [{ cert: site.pem, key: site.key }], alpn: [mysql, postgresql] }";
    let service = "upstream: { proxy_protocol: { version: v2, tlvs: [alpn] } }";
    let (keel, backend) = over(&folder, listener, service);
    let client = Command::new("python3")
        .args(["-c", ENDS_UNSAID, &keel.address.port().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut server, _) = backend.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut asked = Vec::new();
    server.read_to_end(&mut asked).unwrap();
    // The header, with the protocol at its end as type 1, and what came behind it.
    assert!(
        asked.ends_with(b"\x01\0\x0apostgresqlquestion"),
        "{asked:?}"
    );
    server.write_all(b"answer").unwrap();
    drop(server);
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "answer\n");
    row(&folder, &["\"reason\":\"served\"", "\"received_bytes\":8,"]);
}

/// nginx behind TLS of its own, known by its certificate and by what it says.
fn nginx(folder: &Folder, name: &str) -> Server {
    Server::nginx_tls(
        folder,
        name,
        &format!("location / {{ return 200 \"{name} $ssl_server_name $ssl_alpn_protocol\\n\"; }}"),
    )
}

const PAGE: &str = "GET / HTTP/1.0\r\n\r\n";

#[test]
fn tls_is_passed_on_by_name_and_protocol() {
    let folder = Folder::new("tcp-sni");
    let authority = Authority::new(&folder, "authority");
    for name in ["one", "two", "rest"] {
        let names = [&*format!("{name}.example"), "*.star.example"];
        authority.make(name, &names);
    }
    let [one, two, other] = ["one", "two", "rest"].map(|name| nginx(&folder, name));
    let of = |default: &str| {
        format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}\nworkers: 1\naccess_log: {{ to: ./access.log }}\nlisteners: {{ tls: {{ bind: \"127.0.0.1:0\", protocol: tcp, timeouts: {{ handshake: 2s }}, sni: {{ one.example: one, \"*.star.example\": {{ alpn: {{ http/1.1: two, odd: one }} }} {default} }} }} }}\nservices: {{ one: {{ backends: [{}] }}, two: {{ backends: [{}] }}, rest: {{ backends: [{}] }} }}\n",
            one.address, two.address, other.address
        )
    };
    let mut keel = run(&folder, &of(", default: rest"));
    let asked = |keel: &Evenkeel, arguments: &[&str]| openssl(keel.address, arguments, PAGE);
    for (arguments, expect) in [
        (
            &["-servername", "one.example"][..],
            "\r\n\r\none one.example \n",
        ),
        (
            &["-servername", "A.Star.Example", "-alpn", "h3,http/1.1"],
            "\r\n\r\ntwo A.Star.Example http/1.1\n",
        ),
        (&["-servername", "b.a.star.example"], "\r\n\r\nrest "),
        (&["-noservername"], "\r\n\r\nrest "),
    ] {
        let said = asked(&keel, arguments);
        assert!(said.contains(expect), "{arguments:?}: {said}");
    }
    let odd = asked(&keel, &["-servername", "a.star.example"]);
    assert!(odd.contains("alert no application protocol"), "{odd}");
    folder.write("keel.yaml", &of(""));
    keel.signal("-HUP");
    keel.until_any("listener tls changes");
    let said = asked(&keel, &["-servername", "none.example"]);
    assert!(said.contains("unrecognized name"), "{said}");
    // Not TLS, and nothing at all.
    let mut plain = hold(keel.address, "GET / HTTP/1.1\r\nHost: one.example\r\n\r\n");
    let _ = plain.read_to_end(&mut Vec::new());
    let mut silent = hold(keel.address, "\x16\x03\x01");
    let error = silent.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    for reason in [
        "unknown_protocol",
        "unknown_name",
        "bad_hello",
        "hello_timeout",
    ] {
        metric(
            &keel,
            &format!("evenkeel_local_answers_total{{listener=\"tls\",reason=\"{reason}\"}} 1"),
        );
    }
    // Who of them closes first, and how, is theirs.
    row(
        &folder,
        &["\"host\":\"one.example\"", "\"service\":\"one\""],
    );
    row(
        &folder,
        &["\"host\":\"none.example\"", "\"reason\":\"unknown_name\""],
    );
}

/// A hello that comes byte by byte, each in a record of its own, arrives as it came and is understood.
#[test]
fn a_hello_in_pieces_is_passed_on_as_it_came() {
    let folder = Folder::new("tcp-pieces");
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = backend.local_addr().unwrap();
    let keel = run(&folder, &text("sni: { one.example: db }", &[address], ""));
    let records = hello("one.example", 1);
    let mut client = hold(keel.address, "");
    client.set_nodelay(true).unwrap();
    for byte in &records {
        client.write_all(&[*byte]).unwrap();
    }
    client.write_all(b"and what follows").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (mut server, _) = backend.accept().unwrap();
    let mut all = Vec::new();
    server.read_to_end(&mut all).unwrap();
    assert!(all == [&records[..], b"and what follows"].concat());
    drop(server);
    assert_eq!(rest(client), "");
    let bytes = format!("\"received_bytes\":{},", records.len() + 16);
    row(&folder, &["\"host\":\"one.example\"", &bytes]);
    // More than any hello has is not waited for.
    let mut long = hold(keel.address, "");
    let endless = [&[22, 3, 1, 64, 0, 1, 0xff, 0xff, 0xff][..], &[0; 80_000]].concat();
    let _ = long.write_all(&endless);
    let _ = long.read_to_end(&mut Vec::new());
    metric(
        &keel,
        "evenkeel_local_answers_total{listener=\"db\",reason=\"bad_hello\"} 1",
    );
}

/// Clients that say nothing, or a part of a hello, keep out nobody who says a whole one.
#[test]
fn who_is_slow_with_a_hello_shuts_nobody_out() {
    let folder = Folder::new("tcp-slow");
    let listener =
        "sni: { one.example: db }, limits: { handshakes: 1 }, timeouts: { handshake: 1h }";
    let (keel, backend) = over(&folder, listener, "");
    let passes = || {
        let mut client = TcpStream::connect(keel.address).unwrap();
        client.write_all(&hello("one.example", 1000)).unwrap();
        let (mut server, _) = backend.accept().unwrap();
        server.read_exact(&mut [0]).unwrap();
    };
    let _silent = [(); 3].map(|()| hold(keel.address, ""));
    passes();
    let mut begun = hold(keel.address, "\u{16}\u{3}\u{1}");
    // While the first passes the byte is read, if it was not before: the second has a place to take away.
    passes();
    passes();
    let _ = begun.read_to_end(&mut Vec::new());
    metric(
        &keel,
        "evenkeel_local_answers_total{listener=\"db\",reason=\"too_many_hellos\"} 1",
    );
}

/// The least that a client of TLS 1.2 may say (RFC 5246 section 7.4.1.2), with a name, in records of so many bytes.
pub(crate) fn hello(name: &str, per_record: usize) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let sni = [&[0][..], &length(name.len()), name.as_bytes()].concat();
    let sni = [&length(sni.len())[..], &sni].concat();
    // The name, and signatures: ECDSA with SHA-256, then a group.
    let extensions = [
        &[0, 0][..],
        &length(sni.len()),
        &sni,
        &[0, 13, 0, 4, 0, 2, 4, 3],
        &[0, 10, 0, 4, 0, 2, 0, 23],
        &[0, 11, 0, 2, 1, 0],
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2, 0xc0, 0x2b, 1, 0],
        &length(extensions.len()),
        &extensions,
    ]
    .concat();
    let message = [&[1, 0][..], &length(body.len()), &body].concat();
    let record = |piece: &[u8]| [&[22, 3, 1][..], &length(piece.len()), piece].concat();
    message.chunks(per_record).flat_map(record).collect()
}
