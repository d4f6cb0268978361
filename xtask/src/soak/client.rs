//! Owns what clients of the soak do: by turns what browsers, scripts, broken programs and attackers do.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Counts;
use super::backend::body;
use crate::clock::pause;

/// So long is an answer waited for; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(70);

/// What a client does in one turn, and its name. What it gives back is how it ended.
type Habit = (&'static str, fn(SocketAddr, u64) -> Option<&'static str>);

/// All are done about equally often.
const HABITS: [Habit; 12] = [
    ("many requests on one connection", keeps),
    ("a connection for one request", once),
    ("a body in chunks", uploads),
    ("half a head, then gone", half_head),
    ("gone before its answer", leaves),
    ("a large answer, read slowly", slowly),
    ("a large answer, given up half-way", gives_up),
    ("what is no request", malformed),
    ("two requests at once", pipelines),
    ("a tunnel", tunnels),
    ("a split, rewritten", split),
    ("what is denied", denied),
];

/// Goes on until it is told to stop.
pub(super) fn run(address: SocketAddr, seed: u64, counts: &Counts, stop: &AtomicBool) {
    let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while !stop.load(Ordering::Relaxed) {
        // xorshift64 (Marsaglia, 2003).
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let habits = HABITS.len() as u64;
        let Some((name, habit)) = HABITS.get(usize::try_from(chance % habits).unwrap_or(0)) else {
            continue;
        };
        let how = habit(address, chance >> 32).unwrap_or("WRONG");
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(format!("{name}: {how}")).or_default() += 1;
    }
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// Asks for a body of a length, and checks every byte. A backend that breaks off within its answer ends the connection here
/// too, which is right; it is told apart.
fn ask(stream: &mut TcpStream, length: usize) -> Option<bool> {
    let head = format!("GET /body/{length} HTTP/1.1\r\nHost: soak.example\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    hear(stream, &body(length))
}

/// Reads one answer that must have this body. `Some(false)`: it broke off, or was a refusal for a reason.
fn hear(stream: &mut TcpStream, expect: &[u8]) -> Option<bool> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.extend_from_slice(&byte),
            // Hanging is wrong; an end is not.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return None;
            }
            _ => return Some(false),
        }
    }
    let head = String::from_utf8(head).ok()?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return ["502", "503"]
            .iter()
            .any(|status| head.starts_with(&format!("HTTP/1.1 {status} ")))
            .then_some(false);
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?;
    if length.parse() != Ok(expect.len()) {
        return None;
    }
    let mut got = Vec::new();
    let whole = stream.take(expect.len() as u64).read_to_end(&mut got);
    if whole.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) || !expect.starts_with(&got)
    {
        return None;
    }
    Some(got.len() == expect.len())
}

const fn said(whole: bool) -> &'static str {
    if whole {
        "right"
    } else {
        "refused or broken off"
    }
}

fn keeps(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let mut stream = connect(address)?;
    for turn in 0..50 {
        let length = usize::try_from((chance + turn * 37) % 3000).ok()?;
        if !ask(&mut stream, length)? {
            return Some(said(false));
        }
    }
    Some(said(true))
}

fn once(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let length = usize::try_from(chance % 20_000).ok()?;
    ask(&mut connect(address)?, length).map(said)
}

fn uploads(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let mut stream = connect(address)?;
    let sent = body(usize::try_from(chance % 50_000 + 1).ok()?);
    let head = "POST /echo HTTP/1.1\r\nHost: soak.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    for chunk in sent.chunks(7000) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    if stream.write_all(&bytes).is_err() {
        return Some(said(false));
    }
    hear(&mut stream, &sent).map(said)
}

fn half_head(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let head = b"GET / HTTP/1.1\r\nHost: soak.example\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let part = usize::try_from(chance).ok()? % head.len();
    connect(address)?.write_all(&head[..part]).ok()?;
    Some("done")
}

fn leaves(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let mut stream = connect(address)?;
    stream
        .write_all(
            format!(
                "GET /body/{} HTTP/1.1\r\nHost: soak.example\r\n\r\n",
                chance % 5000
            )
            .as_bytes(),
        )
        .ok()?;
    Some("done")
}

fn split(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let mut stream = connect(address)?;
    let length = usize::try_from(chance % 5000).ok()?;
    let head = format!("GET /split/{length} HTTP/1.1\r\nHost: soak.example\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    hear(&mut stream, &body(length)).map(said)
}

fn denied(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let mut stream = connect(address)?;
    let secret = format!(
        "GET /denied?token={chance} HTTP/1.1\r\nHost: soak.example\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(secret.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 403 ").then_some("denied")
}

fn slowly(address: SocketAddr, _: u64) -> Option<&'static str> {
    let mut stream = connect(address)?;
    stream
        .write_all(b"GET /body/2000000 HTTP/1.1\r\nHost: soak.example\r\n\r\n")
        .ok()?;
    // Until both sides' buffers are full, and the proxy waits.
    pause(Duration::from_millis(200));
    hear(&mut stream, &body(2_000_000)).map(said)
}

fn gives_up(address: SocketAddr, _: u64) -> Option<&'static str> {
    let mut stream = connect(address)?;
    stream
        .write_all(b"GET /body/2000000 HTTP/1.1\r\nHost: soak.example\r\n\r\n")
        .ok()?;
    let mut some = [0; 10_000];
    let _ = stream.read(&mut some);
    Some("done")
}

fn malformed(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let wrong = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: soak.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\x16\x03\x01\x02\x00",
        "GET / HTTP/1.1\r\nHost: soak.example\r\nContent-Length: -1\r\n\r\n",
    ];
    let mut stream = connect(address)?;
    let text = wrong.get(usize::try_from(chance).ok()? % wrong.len())?;
    stream.write_all(text.as_bytes()).ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    let mut answer = Vec::new();
    // A reset may overtake the answer's last bytes; a 200 must not come.
    let _ = stream.read_to_end(&mut answer);
    (answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 ")).then_some("refused")
}

fn pipelines(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let mut stream = connect(address)?;
    let length = usize::try_from(chance % 900).ok()?;
    let two = format!(
        "GET /body/{length} HTTP/1.1\r\nHost: soak.example\r\n\r\nGET /ping HTTP/1.1\r\nHost: soak.example\r\n\r\n"
    );
    stream.write_all(two.as_bytes()).ok()?;
    if !hear(&mut stream, &body(length))? {
        return Some(said(false));
    }
    hear(&mut stream, b"pong").map(said)
}

fn tunnels(address: SocketAddr, chance: u64) -> Option<&'static str> {
    let mut stream = connect(address)?;
    let head = "GET /tunnel HTTP/1.1\r\nHost: soak.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => answer.extend_from_slice(&byte),
            _ => return Some(said(false)),
        }
    }
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        return Some(said(false));
    }
    let sent = body(usize::try_from(chance % 8000 + 1).ok()?);
    stream.write_all(&sent).ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).ok()?;
    (heard == sent).then_some(said(true))
}
