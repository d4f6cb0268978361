//! Clients that do not stop, and do not forgive: a request that gets no answer is a failure, whatever the reason.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};

use crate::process::{PATIENCE, hold, until};

/// Asks until it is told to end; an error is what went wrong.
type Client = fn(SocketAddr, &dyn Fn() -> bool) -> Result<(), String>;

const CLIENTS: [(&str, Client); 4] = [
    ("keep-alive", keep_alive),
    ("pausing", pausing),
    ("fresh", fresh),
    ("http2", http2),
];

struct One {
    name: &'static str,
    served: Arc<AtomicUsize>,
    thread: JoinHandle<Result<(), String>>,
}

/// All of them, at once.
pub(crate) struct Crowd {
    ends: Arc<AtomicBool>,
    all: Vec<One>,
}

impl Crowd {
    pub(crate) fn begin(to: SocketAddr) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let twice = CLIENTS.iter().chain(&CLIENTS);
        let all = twice.map(|&(name, client)| {
            let (served, ends) = (Arc::new(AtomicUsize::new(0)), ends.clone());
            let count = served.clone();
            let thread = spawn(move || {
                client(to, &|| {
                    count.fetch_add(1, Ordering::Relaxed);
                    ends.load(Ordering::Relaxed)
                })
            });
            One {
                name,
                served,
                thread,
            }
        });
        Self {
            all: all.collect(),
            ends,
        }
    }

    /// Waits until each has been served some more; one that has ended never is.
    pub(crate) fn until_each_is_served(&self) {
        for one in &self.all {
            let seen = one.served.load(Ordering::Relaxed);
            while one.served.load(Ordering::Relaxed) < seen + 3 && !one.thread.is_finished() {
                std::thread::yield_now();
            }
        }
    }

    /// Ends them, and says how often each was served.
    pub(crate) fn end(self) -> BTreeMap<&'static str, usize> {
        self.ends.store(true, Ordering::Relaxed);
        let mut served = BTreeMap::new();
        for one in self.all {
            let ended = one.thread.join().unwrap();
            assert_eq!(ended, Ok(()), "{}", one.name);
            *served.entry(one.name).or_default() += one.served.load(Ordering::Relaxed);
        }
        served
    }
}

const ASK: &[u8] = b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n";

/// One answer. True: the connection is kept.
fn answer(from: &mut BufReader<TcpStream>) -> Result<bool, String> {
    let (mut line, mut status, mut length, mut kept) = (String::new(), String::new(), 0, true);
    loop {
        line.clear();
        let read = from
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        if read == 0 {
            return Err(format!("no answer, after {status:?}"));
        }
        let field = line.trim_end().to_ascii_lowercase();
        match field.split_once(": ") {
            _ if status.is_empty() => status = field,
            _ if field.is_empty() => break,
            Some(("content-length", number)) => length = number.parse().unwrap(),
            Some(("connection", "close")) => kept = false,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)
        .map_err(|error| error.to_string())?;
    match (status.starts_with("http/1.1 200 "), &*body) {
        (true, b"here\n") => Ok(kept),
        _ => Err(format!("{status} {}", String::from_utf8_lossy(&body))),
    }
}

fn connect(to: SocketAddr) -> Result<BufReader<TcpStream>, String> {
    let stream = TcpStream::connect(to).map_err(|error| format!("not connected: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Ok(BufReader::new(stream))
}

/// One connection for as long as it is kept; an end that was not announced is a failure.
fn keep_alive(to: SocketAddr, served: &dyn Fn() -> bool) -> Result<(), String> {
    asking(to, served, || ())
}

/// The same, of somebody who thinks between two requests: it is idle when its connection is to end.
fn pausing(to: SocketAddr, served: &dyn Fn() -> bool) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    asking(to, served, || {
        // A wait of the kernel's own making, as long as some requests of others take.
        for _ in 0..20 {
            let _ = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let _ = listener.accept().unwrap();
        }
    })
}

fn asking(to: SocketAddr, served: &dyn Fn() -> bool, pause: impl Fn()) -> Result<(), String> {
    let mut connection = connect(to)?;
    loop {
        pause();
        let sent = connection.get_mut().write_all(ASK);
        sent.map_err(|error| format!("not sent: {error}"))?;
        if !answer(&mut connection)? {
            connection = connect(to)?;
        }
        if served() {
            return Ok(());
        }
    }
}

fn fresh(to: SocketAddr, served: &dyn Fn() -> bool) -> Result<(), String> {
    loop {
        let mut connection = connect(to)?;
        let sent = connection.get_mut().write_all(ASK);
        sent.map_err(|error| format!("not sent: {error}"))?;
        answer(&mut connection)?;
        if served() {
            return Ok(());
        }
    }
}

/// Whether the other end has said that it ends, and has nothing against us.
fn is_told(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
}

/// The client of the `h2` crate. It takes another connection when it is told that this one ends (RFC 9113 section 6.8).
fn http2(to: SocketAddr, served: &dyn Fn() -> bool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        loop {
            let stream = tokio::net::TcpStream::connect(to).await;
            let stream = stream.map_err(|error| format!("not connected: {error}"))?;
            let made = h2::client::handshake(stream).await;
            let (client, connection) = made.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            let mut client = Some(client);
            while let Some(ready) = client.take() {
                // Told before it asks: nothing is lost.
                let mut ready = match ready.ready().await {
                    Ok(ready) => ready,
                    Err(error) if is_told(&error) => break,
                    Err(error) => return Err(format!("ended unsaid: {error}")),
                };
                let ask = http::Request::get(format!("http://{to}/who"));
                let sent = ready.send_request(ask.body(()).unwrap(), true);
                let answer = match sent {
                    Ok((answer, _)) => answer.await,
                    Err(error) => Err(error),
                };
                let answer = match answer {
                    Ok(answer) => answer,
                    // Not processed, which the other end promises: it may be asked again.
                    Err(error) if is_told(&error) => break,
                    Err(error) => return Err(error.to_string()),
                };
                if answer.status() != 200 {
                    return Err(answer.status().to_string());
                }
                let mut body = answer.into_body();
                let mut all = Vec::new();
                while let Some(piece) = body.data().await {
                    all.extend_from_slice(&piece.map_err(|error| error.to_string())?);
                }
                if all != b"here\n" {
                    return Err(String::from_utf8_lossy(&all).into_owned());
                }
                if served() {
                    return Ok(());
                }
                client = Some(ready);
            }
        }
    })
}

/// Two backends that echo: one at once, one after a change of protocol.
pub(crate) struct Tunnels {
    pub(crate) echo: SocketAddr,
    pub(crate) switching: SocketAddr,
}

/// An open tunnel.
pub(crate) struct Tunnel(TcpStream, u32);

impl Tunnel {
    /// What is said comes back.
    pub(crate) fn echoes(&mut self) {
        self.1 += 1;
        let line = format!("line {}\n", self.1);
        self.0.write_all(line.as_bytes()).unwrap();
        assert_eq!(until(&mut self.0, "\n"), line);
    }
}

impl Tunnels {
    pub(crate) fn start() -> Self {
        Self {
            echo: serve(false),
            switching: serve(true),
        }
    }

    pub(crate) fn flow(&self, to: SocketAddr) -> Tunnel {
        let mut tunnel = Tunnel(hold(to, ""), 0);
        tunnel.echoes();
        tunnel
    }

    pub(crate) fn socket(&self, to: SocketAddr) -> Tunnel {
        let ask = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut stream = hold(to, ask);
        let head = until(&mut stream, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut tunnel = Tunnel(stream, 0);
        tunnel.echoes();
        tunnel
    }
}

fn serve(switches: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            spawn(move || echo(stream, switches));
        }
    });
    address
}

fn echo(mut stream: TcpStream, switches: bool) {
    if switches {
        until(&mut stream, "\r\n\r\n");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
    }
    let mut from = stream.try_clone().unwrap();
    let _ = std::io::copy(&mut from, &mut stream);
}
