//! Second attempts beside slow ones, through the shipped binary: backends that answer when they are told to, and who was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use crate::http2::backends::{OK, asked};
use crate::http2::configuration;
use crate::http2::frames::{CANCEL, Connection, DATA, END_STREAM, asks, frame, headers};
use crate::process::{Evenkeel, Folder, PATIENCE, hold, rest};
use crate::queue::until;

/// A backend that tells who comes, and answers one with its name when it is told to.
struct Told {
    address: SocketAddr,
    came: Receiver<String>,
    go: SyncSender<()>,
}

impl Told {
    fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (comes, came) = sync_channel(64);
        let (go, told) = sync_channel::<()>(64);
        let told = Arc::new(Mutex::new(told));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (comes, told) = (comes.clone(), told.clone());
                std::thread::spawn(move || serve(stream, name, &comes, &told));
            }
        });
        Self { address, came, go }
    }

    fn answers(&self) {
        self.go.send(()).unwrap();
    }
}

fn serve(
    stream: TcpStream,
    name: &str,
    comes: &SyncSender<String>,
    told: &Mutex<Receiver<()>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).ok()? > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(stated) = lower.strip_prefix("content-length: ") {
                length = stated.trim().parse().ok()?;
            }
            line.clear();
        }
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut reader, &mut body).ok()?;
        let said = format!("{} {}", first.trim_end(), String::from_utf8_lossy(&body));
        comes.send(said).ok()?;
        told.lock().unwrap().recv().ok()?;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
            name.len()
        );
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

struct Scene {
    backends: [Told; 2],
    keel: Evenkeel,
    file: String,
    _folder: Folder,
}

const NAMES: [&str; 2] = ["one", "two"];

impl Scene {
    /// Both have answered once, and that has paid for a hedge.
    fn new(name: &str) -> Self {
        let (folder, backends) = (Folder::new(name), NAMES.map(Told::start));
        let text = format!(
            "admin: {{ bind: \"127.0.0.1:0\" }}
workers: 1
listeners: {{ web: {{ bind: \"127.0.0.1:0\", attempts_header: x-attempts }} }}
services:
  api:
    policy: round_robin
    backends: [\"{}\", \"{}\"]
    hedge: {{ after: 20ms, most: 100% }}
    timeouts: {{ per_try: 1h, exchange: 2h }}
",
            backends[0].address, backends[1].address
        );
        let file = folder
            .write("keel.yaml", &text)
            .to_str()
            .unwrap()
            .to_owned();
        let keel = Evenkeel::run(&["-c", &file]);
        for backend in &backends {
            backend.answers();
        }
        for _ in &backends {
            assert!(keel.curl(&[], "/first").len() == 3);
        }
        for backend in &backends {
            backend.came.recv_timeout(PATIENCE).unwrap();
        }
        until(&keel, "evenkeel_hedge_budget{service=\"api\"} 1\n");
        Self {
            backends,
            keel,
            file,
            _folder: folder,
        }
    }

    fn ask(&self, request: &str) -> TcpStream {
        hold(self.keel.address, request)
    }

    /// Who was asked, by its place: the one that is round robin's turn.
    fn first(&self, expect: &str) -> usize {
        loop {
            for (at, backend) in self.backends.iter().enumerate() {
                if let Ok(came) = backend.came.try_recv() {
                    assert_eq!(came, expect);
                    return at;
                }
            }
            std::thread::yield_now();
        }
    }

    fn metric(&self, row: &str) {
        until(&self.keel, row);
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

#[test]
fn a_slow_backend_has_another_beside_it_and_the_first_answer_is_heard() {
    let scene = Scene::new("hedge");
    for (round, wins) in [(1, true), (2, false), (3, true)] {
        let path = format!("/{round}");
        let expect = format!("GET {path} HTTP/1.1 ");
        let client = scene.ask(&get(&path));
        let first = scene.first(&expect);
        let second = 1 - first;
        // Nobody answers until both were asked.
        let came = scene.backends[second].came.recv_timeout(PATIENCE).unwrap();
        assert_eq!(came, expect);
        let (winner, loser) = if wins {
            (second, first)
        } else {
            (first, second)
        };
        scene.backends[winner].answers();
        let answer = rest(client);
        assert!(answer.ends_with(NAMES[winner]), "{round}: {answer}");
        assert!(answer.contains("\r\nx-attempts: 2\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        scene.backends[loser].answers();
        scene.metric(&format!(
            "evenkeel_hedges_total{{service=\"api\"}} {round}\n"
        ));
        scene.metric("evenkeel_hedge_budget{service=\"api\"} 1\n");
    }
    for row in [
        "evenkeel_hedges_won_total{service=\"api\"} 2\n",
        "evenkeel_attempts_total{service=\"api\"} 8\n",
        "evenkeel_requests_total{service=\"api\",code=\"2xx\"} 5\n",
    ] {
        scene.metric(row);
    }
    let status = scene.keel.page("/v1/status");
    assert!(!status.contains("\"in_flight\":1"), "{status}");
    for backend in &scene.backends {
        assert!(
            backend.came.try_recv().is_err(),
            "nobody was asked more often"
        );
    }
}

#[test]
fn what_must_not_be_done_twice_is_with_one_alone() {
    let scene = Scene::new("hedge-post");
    let post = "POST /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody";
    let client = scene.ask(post);
    let first = scene.first("POST /p HTTP/1.1 body");
    scene.metric("evenkeel_hedges_refused_total{service=\"api\",reason=\"not_safe\"} 1\n");
    assert!(scene.backends[1 - first].came.try_recv().is_err());
    scene.backends[first].answers();
    assert!(rest(client).ends_with(NAMES[first]));
    scene.metric("evenkeel_hedges_total{service=\"api\"} 0\n");
}

/// The same by HTTP/2, with a body that both get.
#[test]
fn a_stream_is_hedged_as_a_connection_is() {
    let scene = Scene::new("hedge-http2");
    let mut curl = Command::new("curl");
    let url = format!("http://{}/put", scene.keel.address);
    curl.args([
        "-sS",
        "--http2-prior-knowledge",
        "-X",
        "PUT",
        "-d",
        "a body",
        "-D",
        "-",
        &url,
    ]);
    let client = curl.stdout(Stdio::piped()).spawn().unwrap();
    let first = scene.first("PUT /put HTTP/1.1 a body");
    let second = &scene.backends[1 - first];
    let came = second.came.recv_timeout(PATIENCE).unwrap();
    assert_eq!(came, "PUT /put HTTP/1.1 a body");
    second.answers();
    let said = client.wait_with_output().unwrap().stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/2 200 "), "{said}");
    assert!(said.contains("x-attempts: 2\r\n"), "{said}");
    assert!(said.ends_with(NAMES[1 - first]), "{said}");
    scene.metric("evenkeel_hedges_won_total{service=\"api\"} 1\n");
}

#[test]
fn a_client_that_leaves_ends_both() {
    let scene = Scene::new("hedge-left");
    let client = scene.ask(&get("/left"));
    for backend in &scene.backends {
        backend.came.recv_timeout(PATIENCE).unwrap();
    }
    let in_flight = |count: u32| {
        for backend in &scene.backends {
            let of = format!("{{service=\"api\",backend=\"{}\"}}", backend.address);
            scene.metric(&format!("evenkeel_backend_in_flight{of} {count}\n"));
        }
    };
    in_flight(1);
    drop(client);
    in_flight(0);
    scene.metric("evenkeel_hedges_won_total{service=\"api\"} 0\n");
}

/// The next connection to either.
fn accepted(behind: &[TcpListener]) -> (usize, Connection) {
    loop {
        for (at, listener) in behind.iter().enumerate() {
            listener.set_nonblocking(true).unwrap();
            if let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(false).unwrap();
                return (at, Connection::accepted(stream, &[]).unwrap());
            }
        }
        std::thread::yield_now();
    }
}

/// HTTP/2 on both sides: a client, and a connection to each backend, which has carried one stream.
struct Streams {
    keel: Evenkeel,
    client: Connection,
    both: Vec<(SocketAddr, Connection)>,
    _folder: Folder,
}

fn streams(name: &str) -> Streams {
    let (folder, behind) = (
        Folder::new(name),
        [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()),
    );
    let addresses: Vec<_> = behind
        .iter()
        .map(|one| format!("\"{}\"", one.local_addr().unwrap()))
        .collect();
    let service = "policy: round_robin, upstream: { protocol: http2, idle: 1h }, hedge: { after: 20ms, most: 100% }, timeouts: { per_try: 1h, exchange: 2h }";
    let text = configuration("", &addresses.join(", "), service);
    let file = folder.write("keel.yaml", &text);
    let keel = Evenkeel::run(&["-c", file.to_str().unwrap()]);
    let mut client = Connection::to(keel.address, &[]);
    let mut both = Vec::new();
    for _ in &behind {
        let warm = client.ask(END_STREAM, &asks("GET", "/warm", &[]));
        let (at, mut one) = accepted(&behind);
        let stream = asked(&mut one, 1)[0];
        one.write(&headers(stream, END_STREAM, OK));
        assert_eq!(client.answer(warm).status(), 200);
        both.push((at, one));
    }
    both.sort_by_key(|(at, _)| *at);
    let named = |(at, one): (usize, Connection)| (behind[at].local_addr().unwrap(), one);
    Streams {
        keel,
        client,
        both: both.into_iter().map(named).collect(),
        _folder: folder,
    }
}

/// The stream that is not heard is taken back, and its connection carries the next.
#[test]
fn a_stream_that_is_outrun_is_taken_back() {
    let Streams {
        keel,
        mut client,
        mut both,
        _folder,
    } = streams("hedge-streams");
    for (round, method, body) in [(1, "GET", ""), (2, "PUT", "a body"), (3, "GET", "")] {
        until(&keel, "evenkeel_hedge_budget{service=\"api\"} 1\n");
        let ends = if body.is_empty() { END_STREAM } else { 0 };
        let stream = client.ask(ends, &asks(method, "/raced", &[]));
        if ends == 0 {
            client.write(&frame(DATA, END_STREAM, stream, body.as_bytes()));
        }
        let mut streams = Vec::new();
        for (_, one) in &mut both {
            let last = *asked(one, 1 + round).last().unwrap();
            assert!(one.until(|own| own.streams[&last].ended));
            assert_eq!(one.streams[&last].body, body.as_bytes());
            streams.push(last);
        }
        let (winner, loser) = (round % 2, 1 - round % 2);
        both[winner].1.write(&headers(streams[winner], 0, OK));
        let said = NAMES[winner].as_bytes();
        both[winner]
            .1
            .write(&frame(DATA, END_STREAM, streams[winner], said));
        let answer = client.answer(stream);
        assert_eq!((answer.status(), &*answer.body), (200, said));
        let lost = streams[loser];
        assert!(
            both[loser]
                .1
                .until(|own| own.streams[&lost].reset == Some(CANCEL))
        );
        until(
            &keel,
            &format!("evenkeel_hedges_total{{service=\"api\"}} {round}\n"),
        );
    }
    let row = "evenkeel_requests_total{service=\"api\",code=\"2xx\"} 5\n";
    until(&keel, row);
}

/// An answer that goes on: the other attempt is over when this one begins and not when it ends, and each part of it is heard as it is said, once.
#[test]
fn an_answer_that_streams_is_the_winners_alone() {
    let Streams {
        keel,
        mut client,
        mut both,
        _folder,
    } = streams("hedge-streaming");
    for round in 1..=2 {
        until(&keel, "evenkeel_hedge_budget{service=\"api\"} 1\n");
        let stream = client.ask(END_STREAM, &asks("GET", "/events", &[]));
        let mut streams = Vec::new();
        for (_, one) in &mut both {
            streams.push(*asked(one, 1 + round).last().unwrap());
        }
        let (winner, loser) = (round % 2, 1 - round % 2);
        let in_flight = |of: usize, count: u32| {
            let labels = format!("{{service=\"api\",backend=\"{}\"}}", both[of].0);
            format!("evenkeel_backend_in_flight{labels} {count}\n")
        };
        let [held, given_back, ended] =
            [(winner, 1), (loser, 0), (winner, 0)].map(|(of, count)| in_flight(of, count));
        both[winner].1.write(&headers(streams[winner], 0, OK));
        let lost = streams[loser];
        let is_back = |own: &Connection| own.streams[&lost].reset == Some(CANCEL);
        assert!(both[loser].1.until(is_back));
        until(&keel, &given_back);
        until(&keel, &held);
        let mut said = String::new();
        for part in 0..50 {
            let more = format!("part {part};");
            said += &more;
            let bytes = frame(DATA, 0, streams[winner], more.as_bytes());
            both[winner].1.write(&bytes);
            // It is here before the next is said.
            let come = |own: &Connection| {
                let got = own.streams.get(&stream);
                got.is_some_and(|got| got.body.len() >= said.len())
            };
            assert!(client.until(come));
        }
        let bytes = frame(DATA, END_STREAM, streams[winner], b"");
        both[winner].1.write(&bytes);
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.body), (200, said.into_bytes()));
        until(&keel, &ended);
        let hedges = format!("evenkeel_hedges_total{{service=\"api\"}} {round}\n");
        until(&keel, &hedges);
    }
}

#[test]
fn explain_says_whether_and_after_how_long() {
    let scene = Scene::new("hedge-explain");
    for (method, line) in [
        ("GET", "hedged on another after 20 ms without an answer\n"),
        ("POST", "not hedged: not_safe\n"),
    ] {
        let told = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["explain", "-c", &scene.file, method, "http://a/"])
            .output()
            .unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains(line), "{told}");
    }
}
