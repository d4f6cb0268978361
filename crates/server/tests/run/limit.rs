//! A limit that is found, through the shipped binary: a backend that serves four at once well, and forty clients who do not wait for each other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process::{Evenkeel, Folder, PATIENCE, Server};
use crate::upgrade::Line;

/// So often a test looks for what must come.
const LOOKS: u32 = 6_000;

/// What an exchange is for the backend, alone.
const WORK: Duration = Duration::from_millis(10);

/// Takes longer the more are with it beyond those that it serves well.
#[derive(Default)]
struct Inside {
    now: AtomicUsize,
    most: AtomicUsize,
    well: AtomicUsize,
}

struct Backend {
    address: SocketAddr,
    inside: Arc<Inside>,
}

impl Backend {
    fn start(well: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Inside::default());
        inside.well.store(well, Ordering::Relaxed);
        let with = inside.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let inside = with.clone();
                std::thread::spawn(move || serve(stream, &inside));
            }
        });
        Self { address, inside }
    }
}

fn serve(stream: TcpStream, inside: &Inside) {
    // Nothing ever comes of it: waiting for that is the work.
    let (_held, never) = sync_channel::<()>(1);
    let mut reader = BufReader::new(stream);
    while head(&mut reader) {
        let now = inside.now.fetch_add(1, Ordering::Relaxed) + 1;
        inside.most.fetch_max(now, Ordering::Relaxed);
        let times = now as f64 / inside.well.load(Ordering::Relaxed) as f64;
        let worked = never.recv_timeout(WORK.mul_f64(times.max(1.0)));
        assert_eq!(worked, Err(RecvTimeoutError::Timeout));
        inside.now.fetch_sub(1, Ordering::Relaxed);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads a head; false where there is none any more.
fn head(reader: &mut BufReader<TcpStream>) -> bool {
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(2) => return true,
            Ok(read) if read > 0 => {}
            _ => return false,
        }
    }
}

/// Asks again and again, as long as it is told to.
struct Clients {
    ask: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(address: SocketAddr, count: usize) -> Self {
        let ask = Arc::new(AtomicBool::new(true));
        let threads = (0..count).map(|_| {
            let ask = ask.clone();
            std::thread::spawn(move || {
                while ask.load(Ordering::Relaxed) {
                    client(address, &ask);
                }
            })
        });
        let threads = threads.collect();
        Self { ask, threads }
    }

    fn stop(self) {
        self.ask.store(false, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// One connection, until it ends. Who is refused comes back no sooner than an exchange takes.
fn client(address: SocketAddr, ask: &AtomicBool) {
    let (_held, never) = sync_channel::<()>(1);
    let stream = TcpStream::connect(address).unwrap();
    // Who is never answered does not ask again: then the test says what did not come, and ends.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    while ask.load(Ordering::Relaxed) {
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        if reader.get_mut().write_all(request.as_bytes()).is_err() {
            return;
        }
        let (mut line, mut length, mut refused) = (String::new(), 0, false);
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(2) => break,
                Ok(read) if read > 0 => {}
                _ => return,
            }
            refused |= line.starts_with("HTTP/1.1 503");
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        if refused {
            let _ = never.recv_timeout(WORK);
        }
    }
}

/// A figure of the metrics.
fn figure(keel: &Evenkeel, row: &str) -> f64 {
    let page = keel.page("/metrics");
    let value = page.lines().find_map(|line| line.strip_prefix(row));
    value.map_or(f64::NAN, |value| value.trim().parse().unwrap())
}

/// Until a figure is so. Each look is a connection and a process, beside clients that never rest: a minute or two.
fn until(keel: &Evenkeel, row: &str, wanted: &str, holds: impl Fn(f64) -> bool) {
    let mut value = f64::NAN;
    for _ in 0..LOOKS {
        value = figure(keel, row);
        if holds(value) {
            return;
        }
    }
    panic!(
        "{row} is {value}, and never was {wanted}: {}",
        keel.page("/metrics")
    );
}

fn text(address: SocketAddr, limits: &str) -> String {
    format!(
        "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 2
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
rules: [{{ forward: api }}]
services:
  api:
    backends: [{{ address: \"{address}\", id: one }}]
    {limits}
"
    )
}

#[test]
fn a_backend_gets_as_many_as_it_serves_well() {
    let (folder, backend) = (Folder::new("limit"), Backend::start(4));
    let limits = "limits: { adaptive: { min: 2, start: 4, max: 200 } }";
    let file = folder.write("keel.yaml", &text(backend.address, limits));
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let limit = "evenkeel_backend_limit{service=\"api\",backend=\"one\"}";
    let refused = "evenkeel_pick_refusals_total{service=\"api\",reason=\"all_full\"}";
    let picks = "evenkeel_backend_picks_total{service=\"api\",backend=\"one\"}";
    assert!((figure(&keel, limit) - 4.0).abs() < 1e-9);
    // With few it is at its ease: that is learned.
    let few = Clients::start(keel.address, 3);
    until(&keel, picks, "above 300", |picks| picks > 300.0);
    let many = Clients::start(keel.address, 40);
    until(&keel, refused, "above 100", |refused| refused > 100.0);
    // Time enough for a limit that only grows to let them all in: it doubles within some tenths of a second.
    until(&keel, picks, "above 2000", |picks| picks > 2000.0);
    let found = figure(&keel, limit);
    assert!((2.0..40.0).contains(&found), "{found}");
    let status = keel.page("/v1/status");
    assert!(status.contains("\"limit_wanted\":"), "{status}");
    let mut seen = String::new();
    for _ in 0..500 {
        let curl = Command::new("curl")
            .args(["-si", &format!("http://{}/", keel.address)])
            .output()
            .unwrap();
        seen = String::from_utf8(curl.stdout).unwrap();
        if seen.starts_with("HTTP/1.1 503") {
            break;
        }
    }
    assert!(seen.contains("\r\nRetry-After: 1\r\n"), "{seen}");
    assert!(seen.ends_with("all_full\n"), "{seen}");
    // It never was with more than were allowed, and that never was all of them.
    let most = backend.inside.most.load(Ordering::Relaxed);
    assert!(most < 40, "{most} were inside at once");
    // And it has not stopped working: it answers, and gets more when it takes more.
    let before = figure(&keel, picks);
    backend.inside.well.store(1000, Ordering::Relaxed);
    until(&keel, limit, "all 43", |limit| limit >= 43.0);
    assert!(figure(&keel, picks) > before + 100.0);
    few.stop();
    many.stop();
}

/// A new process begins where the old one has come to, not at `start`.
#[test]
fn what_was_found_goes_over() {
    let (folder, backend) = (Folder::new("limit-upgrade"), Backend::start(1000));
    let limits = "limits: { adaptive: { min: 2, start: 4, max: 32 } }";
    let file = folder.write("keel.yaml", &text(backend.address, limits));
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let limit = "evenkeel_backend_limit_wanted{service=\"api\",backend=\"one\"}";
    let many = Clients::start(keel.address, 40);
    until(&keel, limit, "all 32", |limit| limit >= 32.0);
    many.stop();
    let before = figure(&keel, limit);
    assert!(before > 8.0, "{before}");
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    let after = figure(&keel, limit);
    assert!((after - before).abs() < 1e-9, "{before}, then {after}");
    let picks = "evenkeel_backend_picks_total{service=\"api\",backend=\"one\"}";
    assert!(figure(&keel, picks) < 1.0, "another process");
}

/// The same of what `health_based` knows: whom it trusts little it goes on to trust little.
#[test]
fn trust_goes_over_too() {
    let folder = Folder::new("trust-upgrade");
    let good = Server::nginx(&folder, "location / { return 200 \"here\\n\"; }");
    let bad = Server::nginx(&folder, "location / { return 503; }");
    let file = folder.write(
        "keel.yaml",
        &format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\" }} }}
rules: [{{ forward: api }}]
services:
  api:
    policy: health_based
    breaker: off
    backends: [{{ address: \"{}\", id: good }}, {{ address: \"{}\", id: bad }}]
",
            good.address, bad.address
        ),
    );
    let mut keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let trust = |keel: &Evenkeel, id: &str| {
        let row = format!("evenkeel_backend_trust{{service=\"api\",backend=\"{id}\"}}");
        figure(keel, &row)
    };
    assert!((trust(&keel, "bad") - 1.0).abs() < 1e-6);
    let many = Clients::start(keel.address, 4);
    let row = "evenkeel_backend_trust{service=\"api\",backend=\"bad\"}";
    until(&keel, row, "below .3", |trust| trust < 0.3);
    many.stop();
    let before = trust(&keel, "bad");
    let mut line = Line::default();
    line.upgrade(&mut keel, &[]);
    // By a quarter of an octave it may move each second; who is trusted anew has 1.
    let after = trust(&keel, "bad");
    assert!(after < 0.6 && after > 0.0, "{before}, then {after}");
    assert!((trust(&keel, "good") - 1.0).abs() < 1e-6);
    let status: serde_json::Value = serde_json::from_str(&keel.page("/v1/status")).unwrap();
    let backends = &status["services"][0]["backends"];
    let told = backends[1]["trust"].as_f64().unwrap();
    assert!(told < 0.7 && told > 0.0, "{status}");
    assert_eq!(backends[1]["picked"], 0, "another process");
}

/// What it is there for: without it all forty are inside at once.
#[test]
fn without_it_a_backend_gets_them_all() {
    let (folder, backend) = (Folder::new("limit-off"), Backend::start(4));
    let file = folder.write(
        "keel.yaml",
        &text(backend.address, "limits: { adaptive: off }"),
    );
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let many = Clients::start(keel.address, 40);
    let picks = "evenkeel_backend_picks_total{service=\"api\",backend=\"one\"}";
    let mut looks = 0;
    while backend.inside.most.load(Ordering::Relaxed) < 40 {
        until(&keel, picks, "above 0", |picks| picks > 0.0);
        looks += 1;
        assert!(looks < 5_000, "never all of them");
    }
    assert!(!keel.page("/metrics").contains("evenkeel_backend_limit{"));
    assert!(!keel.page("/metrics").contains("evenkeel_backend_trust{"));
    let status = keel.page("/v1/status");
    assert!(!status.contains("\"limit\"") && !status.contains("\"trust\""));
    many.stop();
}
