//! Owns a backend: `evenkeel-chaos backend ADDRESS TAG MS`, a process of its own, so that killing and freezing it is real.
//!
//! Standard input is its control line: a command per line, an answer per line on standard output. It answers what a path asks
//! for (`/g/N`: N bytes, `/c/N`: the same in chunks) and counts what it was asked. It never decides what a fault means; see
//! `fleet.rs` for who commands it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::clock::Start;
use crate::wire;

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Answers after its service time.
    Fine,
    /// Answers after so many times its service time.
    Slow(u32),
    /// Answers so at once (0.5 ms).
    Error(u16),
    /// Of a hundred requests so many are answered with 503, and all take three times as long.
    Degraded(u8),
    /// Reads and says nothing.
    Silent,
    /// Reads the request and resets the connection.
    Reset,
    /// Resets within the body of its answer.
    Cut,
}

/// Largest head that is read.
const HEAD_MOST: usize = 16 * 1024;

/// A piece of a large body, and the pause behind it: so that there is a middle of an answer to be killed in.
const PIECE: usize = 16 * 1024;
const PIECE_REST: Duration = Duration::from_millis(4);

struct State {
    tag: String,
    service: Duration,
    mode: watch::Sender<Mode>,
    /// Raised when connections that wait for a request shall close.
    closing: watch::Sender<u64>,
    asked: Cell<u64>,
    in_flight: Cell<u32>,
    /// Integral of requests in flight over time, in microseconds, up to `since`.
    busy: Cell<u64>,
    since: Cell<Duration>,
    start: Start,
    chance: RefCell<fastrand::Rng>,
}

impl State {
    /// Takes the integral up to now, then lets one more or less be in flight.
    fn step(&self, change: i32) {
        let now = self.start.passed();
        let passed = (now - self.since.replace(now)).as_micros() as u64;
        self.busy
            .set(self.busy.get() + passed * u64::from(self.in_flight.get()));
        self.in_flight
            .set(self.in_flight.get().saturating_add_signed(change));
    }
}

/// In flight for as long as it lives.
struct Flying(Rc<State>);

impl Flying {
    fn new(state: &Rc<State>) -> Self {
        state.asked.set(state.asked.get() + 1);
        state.step(1);
        Self(state.clone())
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.0.step(-1);
    }
}

/// Runs until its control line ends.
pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let [address, tag, service] = words else {
        return Err("backend ADDRESS TAG MS".to_owned());
    };
    let address: SocketAddr = address.parse().map_err(|_| "no address".to_owned())?;
    let service = Duration::from_millis(service.parse().map_err(|_| "no time".to_owned())?);
    let state = Rc::new(State {
        tag: tag.clone(),
        service,
        mode: watch::Sender::new(Mode::Fine),
        closing: watch::Sender::new(0),
        asked: Cell::new(0),
        in_flight: Cell::new(0),
        busy: Cell::new(0),
        since: Cell::new(Duration::ZERO),
        start: Start::now(),
        chance: RefCell::new(fastrand::Rng::with_seed(7)),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    LocalSet::new()
        .block_on(&runtime, command(&state, address))
        .map_err(|error| format!("backend {tag}: {error}"))
}

/// Does what its control line says.
async fn command(state: &Rc<State>, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let mut accepting = Some(spawn_local(accept(listener, state.clone())));
    say(&format!("at {address}"));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["read"] => {
                state.step(0);
                let (asked, busy) = (state.asked.get(), state.busy.get());
                say(&format!("{asked} {busy} {}", state.in_flight.get()));
            }
            ["refuse"] => {
                stop(accepting.take()).await;
                // Who waits for a request is closed, as by a server that ends; who has one is answered.
                state.closing.send_modify(|times| *times += 1);
                say("done");
            }
            ["listen"] => {
                stop(accepting.take()).await;
                let listener = TcpListener::bind(address).await?;
                accepting = Some(spawn_local(accept(listener, state.clone())));
                say("done");
            }
            ["mode", name, number] => {
                state.mode.send_replace(mode(name, number));
                say("done");
            }
            _ => say("not understood"),
        }
    }
    Ok(())
}

fn mode(name: &str, number: &str) -> Mode {
    let number: u16 = number.parse().unwrap_or(0);
    match name {
        "slow" => Mode::Slow(u32::from(number)),
        "error" => Mode::Error(number),
        "degraded" => Mode::Degraded(number as u8),
        "silent" => Mode::Silent,
        "reset" => Mode::Reset,
        "cut" => Mode::Cut,
        _ => Mode::Fine,
    }
}

fn say(line: &str) {
    println!("{line}");
}

async fn stop(task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        task.abort();
        let _ = task.await;
    }
}

async fn accept(listener: TcpListener, state: Rc<State>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let state = state.clone();
            spawn_local(async move {
                // A client that goes away is nothing to report.
                let _ = serve(stream, &state).await;
            });
        }
    }
}

/// One connection, request by request.
async fn serve(mut stream: TcpStream, state: &Rc<State>) -> io::Result<()> {
    let mut closing = state.closing.subscribe();
    let mut held = Vec::new();
    loop {
        let head = tokio::select! {
            head = wire::head(&mut stream, &mut held, HEAD_MOST) => head?,
            _ = closing.changed() => return Ok(()),
        };
        let Some(head) = head else { return Ok(()) };
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let flying = (path != "/health").then(|| Flying::new(state));
        let length = wire::field(&head, "content-length").and_then(|text| text.parse().ok());
        skip(&mut stream, &mut held, length.unwrap_or(0)).await?;
        answer(&mut stream, state, &path).await?;
        drop(flying);
        if closing.has_changed().unwrap_or(true) {
            return Ok(());
        }
    }
}

/// Reads a body and forgets it.
async fn skip(stream: &mut TcpStream, held: &mut Vec<u8>, mut left: usize) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let had = left.min(held.len());
    held.drain(..had);
    left -= had;
    while left > 0 {
        let most = left.min(piece.len());
        match stream.read(&mut piece[..most]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read,
        }
    }
    Ok(())
}

/// Answers as its mode has it.
async fn answer(stream: &mut TcpStream, state: &State, path: &str) -> io::Result<()> {
    let mut modes = state.mode.subscribe();
    let mode = *modes.borrow_and_update();
    let mut status = 200;
    match mode {
        Mode::Fine | Mode::Cut => tokio::time::sleep(state.service).await,
        Mode::Slow(times) => tokio::time::sleep(state.service * times).await,
        Mode::Error(with) => {
            tokio::time::sleep(Duration::from_micros(500)).await;
            status = with;
        }
        Mode::Degraded(percent) => {
            tokio::time::sleep(state.service * 3).await;
            if state.chance.borrow_mut().u8(0..100) < percent {
                status = 503;
            }
        }
        Mode::Silent => {
            // Whoever waits gets an answer when it is well again, as from a process that was frozen.
            let _ = modes.wait_for(|mode| *mode != Mode::Silent).await;
        }
        Mode::Reset => return reset(stream),
    }
    let size = match path == "/health" {
        true => 2,
        false => wire::size_of(path).unwrap_or(2),
    };
    let size = if status == 200 { size } else { 3 };
    write(stream, state, path, status, size, mode == Mode::Cut).await
}

/// Writes an answer, the large ones in pieces.
async fn write(
    stream: &mut TcpStream,
    state: &State,
    path: &str,
    status: u16,
    size: usize,
    cut: bool,
) -> io::Result<()> {
    let chunked = path.starts_with("/c/") && status == 200;
    let framing = match chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {size}"),
    };
    let head = format!(
        "HTTP/1.1 {status} So\r\n{framing}\r\nX-From: {}\r\n\r\n",
        state.tag
    );
    let mut bytes = head.into_bytes();
    let mut left = size;
    while left > 0 {
        let piece = left.min(PIECE);
        if chunked {
            bytes.extend_from_slice(format!("{piece:x}\r\n").as_bytes());
        }
        bytes.resize(bytes.len() + piece, wire::FILL);
        if chunked {
            bytes.extend_from_slice(b"\r\n");
        }
        left -= piece;
        if left > 0 {
            stream.write_all(&bytes).await?;
            bytes.clear();
            tokio::time::sleep(PIECE_REST).await;
            if cut {
                return reset(stream);
            }
        }
    }
    if chunked {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    stream.write_all(&bytes).await
}

/// The connection's end is then a reset.
fn reset(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    Err(io::ErrorKind::ConnectionReset.into())
}
