//! Owns the upgrades: `cargo xtask upgrades [COUNT]`. One process after another takes the place of the one before, under clients
//! that do not stop and forgive nothing: a request that gets no answer, and a tunnel that breaks off, fail it.
//!
//! A thousand unless said, so not part of the gate. What is shown is that nothing is lost, which an unoptimised binary shows as well.
//! Its figures stand in `docs/findings.md`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::{Since, pause, timed};
use crate::run::{Done, cargo, program};

/// Unless said.
const COUNT: usize = 1000;

/// Clients that keep their connection, and as many that take a new one each time.
const CLIENTS: usize = 4;

/// No client waits longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A line each so many.
const SAY_EVERY: usize = 50;

/// Runs it, and says whether nothing was lost.
pub(crate) fn upgrades(root: &Path, rest: &[String]) -> Done {
    let not = |word: &String| format!("`{word}` is not understood: upgrades [COUNT]");
    let count = match rest {
        [] => COUNT,
        [word] => word.parse().map_err(|_| not(word))?,
        [_, word, ..] => return Err(not(word)),
    };
    cargo(root, &["build", "--locked", "-p", "evenkeel-server"]).go()?;
    let folder = root.join("target/upgrades");
    let fail = |error: std::io::Error| error.to_string();
    fs::create_dir_all(&folder).map_err(fail)?;
    let mut keel = Keel::start(root, &folder)?;
    let load = Load::begin(keel.web);
    let mut tunnel = open(keel.web).map_err(fail)?;
    keel.settle(&load)?;
    let (before, mut took) = (keel.read()?, Vec::new());
    for at in 1..=count {
        let (done, length) = timed(|| keel.upgrade());
        done?;
        took.push(length);
        load.look()?;
        echo(&mut tunnel, at)
            .map_err(|error| format!("the tunnel of the first process: {error}"))?;
        if at.is_multiple_of(SAY_EVERY) {
            println!("{at:>6} upgrades {:>9} requests", load.served());
        }
    }
    drop(tunnel);
    keel.settle(&load)?;
    let after = keel.read()?;
    let served = load.end()?;
    took.sort_unstable();
    let at = |share: usize| {
        took.get(took.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{count} upgrades, {served} requests, none failed; an upgrade took {:?}, at the 99th percentile {:?}, at most {:?}",
        at(50),
        at(99),
        took.last().copied().unwrap_or_default()
    );
    println!(
        "first process: {} KiB, {} descriptors; last: {} KiB, {} descriptors",
        before.0, before.1, after.0, after.1
    );
    keel.end()?;
    match after.1 > before.1 + 2 * CLIENTS {
        true => Err("descriptors are left over".to_owned()),
        false => Ok(()),
    }
}

struct Keel {
    /// The first process; the others are found by its admin address.
    child: Child,
    binary: PathBuf,
    web: SocketAddr,
    admin: SocketAddr,
}

impl Keel {
    fn start(root: &Path, folder: &Path) -> Result<Self, String> {
        let (backend, web, admin) = (serve()?, free()?, free()?);
        let file = folder.join("keel.yaml");
        let fail = |error: std::io::Error| format!("{}: {error}", file.display());
        fs::write(
            &file,
            format!(
                "admin: {{ bind: \"{admin}\" }}\nworkers: 2\ndrain: 1h\nlisteners: {{ web: {{ bind: \"{web}\" }} }}\nservices: {{ api: {{ backends: [\"{backend}\"] }} }}\n"
            ),
        )
        .map_err(fail)?;
        let binary = root.join("target/debug/evenkeel");
        let said = fs::File::create(folder.join("keel.log")).map_err(fail)?;
        let child = Command::new(&binary)
            .args(["run", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(|error| format!("evenkeel does not start: {error}"))?;
        let mut keel = Self {
            child,
            binary,
            web,
            admin,
        };
        while TcpStream::connect(web).is_err() || TcpStream::connect(admin).is_err() {
            if let Ok(Some(status)) = keel.child.try_wait() {
                return Err(format!("evenkeel ended at once: {status}"));
            }
            thread::yield_now();
        }
        Ok(keel)
    }

    fn upgrade(&self) -> Done {
        let admin = self.admin.to_string();
        let run = program(&self.binary).args(&["upgrade", "--admin", &admin]);
        run.read().map(|_| ())
    }

    /// Waits until some clients more have been served.
    fn settle(&self, load: &Load) -> Done {
        let seen = load.served();
        let began = Since::now();
        while load.served() < seen + 1000 {
            load.look()?;
            if began.passed() > PATIENCE {
                return Err(format!("{} serves nobody", self.web));
            }
            pause(Duration::from_millis(10));
        }
        Ok(())
    }

    fn process(&self) -> Result<u32, String> {
        let mut stream = TcpStream::connect(self.admin).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream
            .write_all(b"GET /v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .and_then(|()| stream.read_to_string(&mut answer))
            .map_err(|error| error.to_string())?;
        let rest = answer.split("\"process\":").nth(1).unwrap_or_default();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits
            .parse()
            .map_err(|_| "the status names no process".to_owned())
    }

    /// Memory in KiB and descriptors of the process that serves.
    fn read(&self) -> Result<(u64, usize), String> {
        let place = PathBuf::from(format!("/proc/{}", self.process()?));
        let gone = |error| format!("evenkeel is gone: {error}");
        let status = fs::read_to_string(place.join("status")).map_err(gone)?;
        let row = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = row.and_then(|row| row.split_whitespace().next()?.parse().ok());
        let descriptors = fs::read_dir(place.join("fd")).map_err(gone)?.count();
        Ok((kib.unwrap_or(0), descriptors))
    }

    fn end(&mut self) -> Done {
        program("kill")
            .args(&["-TERM", &self.process()?.to_string()])
            .go()?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the first process ended badly: {status}")),
        }
    }
}

impl Drop for Keel {
    fn drop(&mut self) {
        if let Ok(process) = self.process() {
            let _ = program("kill").args(&["-KILL", &process.to_string()]).go();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clients that do not stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    clients: Vec<thread::JoinHandle<std::io::Result<()>>>,
}

impl Load {
    pub(crate) fn begin(to: SocketAddr) -> Self {
        let (stop, served) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let clients = (0..2 * CLIENTS).map(|at| {
            let (stop, served) = (stop.clone(), served.clone());
            thread::spawn(move || client(to, at < CLIENTS, &stop, &served))
        });
        Self {
            clients: clients.collect(),
            stop,
            served,
        }
    }

    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// A client that has ended has lost something.
    pub(crate) fn look(&self) -> Done {
        match self.clients.iter().any(thread::JoinHandle::is_finished) {
            true => Err("a client was not served".to_owned()),
            false => Ok(()),
        }
    }

    pub(crate) fn end(self) -> Result<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            let ended = client.join().map_err(|_| "a client broke".to_owned())?;
            ended.map_err(|error| format!("a request was not answered: {error}"))?;
        }
        Ok(self.served.load(Ordering::Relaxed))
    }
}

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn client(
    to: SocketAddr,
    keeps: bool,
    stop: &AtomicBool,
    served: &AtomicU64,
) -> std::io::Result<()> {
    let mut connection = connect(to)?;
    while !stop.load(Ordering::Relaxed) {
        connection.get_mut().write_all(ASK)?;
        let kept = answer(&mut connection).inspect_err(|error| println!("LOST: {error}"))?;
        served.fetch_add(1, Ordering::Relaxed);
        if !kept || !keeps {
            connection = connect(to)?;
        }
    }
    Ok(())
}

fn connect(to: SocketAddr) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(to).inspect_err(|error| println!("LOST: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// True: the connection is kept.
fn answer(from: &mut BufReader<TcpStream>) -> std::io::Result<bool> {
    let (mut head, mut kept) = (String::new(), true);
    while !head.ends_with("\r\n\r\n") {
        let at = head.len();
        if from.read_line(&mut head)? == 0 {
            return Err(std::io::Error::other(format!("no answer, after {head:?}")));
        }
        kept &= !head[at..].eq_ignore_ascii_case("connection: close\r\n");
    }
    let mut body = [0; 5];
    from.read_exact(&mut body)?;
    match head.starts_with("HTTP/1.1 200 ") && body == *b"here\n" {
        true => Ok(kept),
        false => Err(std::io::Error::other(head)),
    }
}

fn open(to: SocketAddr) -> std::io::Result<BufReader<TcpStream>> {
    let mut tunnel = connect(to)?;
    tunnel
        .get_mut()
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if tunnel.read_line(&mut head)? == 0 {
            return Err(std::io::Error::other(head));
        }
    }
    Ok(tunnel)
}

fn echo(tunnel: &mut BufReader<TcpStream>, at: usize) -> std::io::Result<()> {
    let (said, mut heard) = (format!("line {at}\n"), String::new());
    tunnel.get_mut().write_all(said.as_bytes())?;
    tunnel.read_line(&mut heard)?;
    match said == heard {
        true => Ok(()),
        false => Err(std::io::Error::other(heard)),
    }
}

/// A backend: five bytes to each, or a tunnel that echoes.
pub(crate) fn serve() -> Result<SocketAddr, String> {
    let fail = |error| format!("no backend can be started: {error}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || connection(&stream));
        }
    });
    Ok(address)
}

fn connection(mut stream: &TcpStream) -> Option<()> {
    let mut input = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            input.read_line(&mut head).ok().filter(|read| *read > 0)?;
        }
        if head.to_ascii_lowercase().contains("\r\nupgrade:") {
            let answer =
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
            stream.write_all(answer).ok()?;
            return std::io::copy(&mut input, &mut stream).ok().map(|_| ());
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhere\n";
        stream.write_all(answer).ok()?;
    }
}

/// An address that nobody has.
pub(crate) fn free() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}
