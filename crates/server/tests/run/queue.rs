//! Who waits for a full service, through the shipped binary: ten clients, two places, and what a backend sees of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_proxy::clock::Clock;

use crate::process::{Evenkeel, Folder, hold, rest};

/// So long a test waits for what must come; never decides a test that passes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A backend that tells whom it serves, and answers one when it is told to.
struct Slow {
    address: SocketAddr,
    /// The path of who comes, and how many are with it then.
    came: Receiver<(String, usize)>,
    go: SyncSender<()>,
}

impl Slow {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (comes, came) = sync_channel(64);
        let (go, told) = sync_channel::<()>(64);
        let (told, inside) = (Arc::new(Mutex::new(told)), Arc::new(Mutex::new(0_usize)));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (comes, told, inside) = (comes.clone(), told.clone(), inside.clone());
                std::thread::spawn(move || serve(stream, &comes, &told, &inside));
            }
        });
        Self { address, came, go }
    }

    fn came(&self) -> (String, usize) {
        self.came.recv_timeout(PATIENCE).unwrap()
    }
}

fn serve(
    stream: TcpStream,
    comes: &SyncSender<(String, usize)>,
    told: &Mutex<Receiver<()>>,
    inside: &Mutex<usize>,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let path = first.split(' ').nth(1).unwrap().to_owned();
        let now = {
            let mut inside = inside.lock().unwrap();
            *inside += 1;
            *inside
        };
        let _ = comes.send((path, now));
        let _ = told.lock().unwrap().recv();
        *inside.lock().unwrap() -= 1;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn ask(keel: &Evenkeel, path: &str) -> TcpStream {
    hold(
        keel.address,
        &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    )
}

/// Until the metrics say so.
pub(crate) fn until(keel: &Evenkeel, row: &str) {
    // Each page is a connection and a process: some twenty seconds.
    for _ in 0..5_000 {
        if keel.page("/metrics").contains(row) {
            return;
        }
    }
    panic!("{row} {}", keel.page("/metrics"));
}

#[test]
fn ten_clients_share_two_places() {
    let (folder, backend) = (Folder::new("queue"), Slow::start());
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 2
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
rules:
  - {{ name: urgent, priority: 1, when: {{ path: {{ prefix: /urgent }} }}, limits: {{ class: 1 }}, forward: api }}
  - {{ name: rest, forward: api }}
services:
  api:
    backends: [\"{}\"]
    limits: {{ max_in_flight: 2, queue: {{ length: 8, timeout: 1h }} }}
    timeouts: {{ exchange: 2h, per_try: 1h }}
",
        backend.address
    );
    let file = folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut clients = vec![ask(&keel, "/1"), ask(&keel, "/2")];
    let mut first = [backend.came().0, backend.came().0];
    first.sort_unstable();
    assert_eq!(first, ["/1", "/2"]);
    let waits = [
        "/3",
        "/4",
        "/urgent/5",
        "/6",
        "/urgent/7",
        "/8",
        "/9",
        "/urgent/10",
    ];
    let clock = Clock::start();
    for (path, waiting) in waits.into_iter().zip(1..) {
        clients.push(ask(&keel, path));
        let row = format!("evenkeel_queue_waiting{{service=\"api\"}} {waiting}\n");
        until(&keel, &row);
    }
    let all_wait = clock.now();
    // One more of the last class is told at once.
    let answer = rest(ask(&keel, "/11"));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    assert!(answer.ends_with("queue_full\n"), "{answer}");
    let status = keel.page("/v1/status");
    for part in [
        "\"in_flight\":2,\"max_in_flight\":2",
        "\"queue\":{\"waiting\":8,",
    ] {
        assert!(status.contains(part), "{part} {status}");
    }
    let mut order = Vec::new();
    let nobody_went = clock.now();
    for _ in waits {
        backend.go.send(()).unwrap();
        let (path, inside) = backend.came();
        assert!(inside <= 2, "{inside} at once");
        order.push(path);
    }
    let all_went = clock.now();
    let expect = [
        "/urgent/5",
        "/urgent/7",
        "/urgent/10",
        "/3",
        "/4",
        "/6",
        "/8",
        "/9",
    ];
    assert_eq!(order, expect);
    backend.go.send(()).unwrap();
    backend.go.send(()).unwrap();
    for client in clients {
        let answer = rest(client);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    for row in [
        "evenkeel_queue_waiting{service=\"api\"} 0\n",
        "evenkeel_queue_entered_total{service=\"api\"} 8\n",
        "evenkeel_queue_served_total{service=\"api\"} 8\n",
        "evenkeel_pick_refusals_total{service=\"api\",reason=\"queue_full\"} 1\n",
    ] {
        until(&keel, row);
    }
    // All eight waited from the one moment to the other, and nobody longer than from the first to the last.
    let row = "evenkeel_queue_waited_seconds_total{service=\"api\"} ";
    let page = keel.page("/metrics");
    let waited = page.lines().find_map(|line| line.strip_prefix(row));
    let waited: f64 = waited.unwrap().parse().unwrap();
    let least = 8.0 * nobody_went.since(all_wait).as_secs_f64();
    let most = 8.0 * all_went.since(Instant::ZERO).as_secs_f64();
    assert!(
        least > 0.0 && (least..most).contains(&waited),
        "{waited}, not {least} to {most}"
    );
}

#[test]
fn a_flow_waits_until_another_has_ended() {
    let (folder, backend) = (
        Folder::new("queue-flow"),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\", protocol: tcp, forward: api }} }}
services:
  api:
    backends: [{{ address: \"{}\", max_in_flight: 1 }}]
    limits: {{ queue: {{ length: 1, timeout: 1h }} }}
    timeouts: {{ exchange: 2h, per_try: 1h }}
",
        backend.local_addr().unwrap()
    );
    let file = folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let first = hold(keel.address, "one");
    let (with_first, _) = backend.accept().unwrap();
    let second = hold(keel.address, "two");
    until(&keel, "evenkeel_queue_waiting{service=\"api\"} 1\n");
    // The line is full: a third is cut, one way or the other.
    let mut third = TcpStream::connect(keel.address).unwrap();
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut nothing = Vec::new();
    let _ = third.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
    drop((first, with_first));
    let (mut with_second, _) = backend.accept().unwrap();
    let mut said = [0; 3];
    with_second.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"two", "what it said while it waited came along");
    with_second.write_all(b"hello").unwrap();
    drop(with_second);
    assert_eq!(rest(second), "hello");
    until(
        &keel,
        "evenkeel_exchanges_total{service=\"api\",reason=\"queue_full\"} 1\n",
    );
}

#[test]
fn a_stream_waits_as_a_connection_does_and_leaves_with_its_client() {
    let (folder, backend) = (Folder::new("queue-http2"), Slow::start());
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
rules: [{{ forward: api }}]
services:
  api:
    backends: [\"{}\"]
    limits: {{ max_in_flight: 1, queue: {{ timeout: 1h }} }}
    timeouts: {{ exchange: 2h, per_try: 1h }}
",
        backend.address
    );
    let file = folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let curl = |path: &str| {
        let mut curl = Command::new("curl");
        let url = format!("http://{}{path}", keel.address);
        curl.args([
            "-sS",
            "--http2-prior-knowledge",
            "-w",
            " %{http_version}",
            &url,
        ]);
        curl.stdout(Stdio::piped()).spawn().unwrap()
    };
    let first = curl("/1");
    assert_eq!(backend.came().0, "/1");
    let mut leaves = curl("/2");
    until(&keel, "evenkeel_queue_waiting{service=\"api\"} 1\n");
    let third = curl("/3");
    until(&keel, "evenkeel_queue_waiting{service=\"api\"} 2\n");
    leaves.kill().unwrap();
    leaves.wait().unwrap();
    until(&keel, "evenkeel_queue_waiting{service=\"api\"} 1\n");
    backend.go.send(()).unwrap();
    assert_eq!(backend.came(), ("/3".to_owned(), 1));
    backend.go.send(()).unwrap();
    for client in [first, third] {
        let said = client.wait_with_output().unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&said), "ok 2");
    }
    until(&keel, "evenkeel_queue_left_total{service=\"api\"} 1\n");
}
