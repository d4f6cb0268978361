//! Owns the soak: `cargo xtask soak [SECONDS]`. The shipped binary under mixed traffic, good and bad, with reloads, while its
//! memory and descriptors are read. What grows, or is wrong, fails it.
//!
//! Ten minutes unless said, so not part of the gate. Its figures stand in `docs/findings.md`.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clock::{Since, pause};
use crate::run::{Done, cargo, program};

/// Servers, one of which breaks off.
mod backend;

/// What clients do, and what they must get for it.
mod client;

/// Writes beside traffic.
mod writes;

/// Unless said.
const SECONDS: u64 = 600;

/// Clients at a time.
const CLIENTS: u64 = 12;

/// Between two readings.
const READ_EVERY: Duration = Duration::from_secs(10);

/// Between two reloads.
const RELOAD_EVERY: Duration = Duration::from_secs(3);

/// Seconds of load before the first reading.
const WARM: u64 = 6;

/// Until all that was kept idle has ended: above the proxy's own idle times.
const IDLE: Duration = Duration::from_secs(15);

/// After the last client, the longest wait until as few descriptors are open as before.
const REST: Duration = Duration::from_secs(90);

/// Memory may move by so much of its middle third's highest in the last third.
const GROWTH: f64 = 1.05;

/// And by so much, in KiB.
const GROWTH_KIB: u64 = 2048;

/// How many did what, and how it ended.
pub(crate) type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// One reading of the process.
#[derive(Clone, Copy)]
struct Reading {
    kib: u64,
    descriptors: u64,
}

/// Runs it, and says whether it holds.
pub(crate) fn soak(root: &Path, rest: &[String]) -> Done {
    let seconds = match rest {
        [] => SECONDS,
        [word, rest @ ..] if word == "writes" => return of_writes(root, rest),
        [word] => number(word)?,
        [_, word, ..] => return Err(not(word)),
    };
    cargo(
        root,
        &["build", "--release", "--locked", "-p", "evenkeel-server"],
    )
    .go()?;
    let folder = root.join("target/soak");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let counts = Counts::default();
    let mut keel = Keel::start(root, &folder)?;
    // What is opened once, at the first request or reload, is no growth.
    keel.load(WARM, &counts)?;
    pause(IDLE);
    let before = keel.read()?;
    let readings = keel.load(seconds, &counts)?;
    let after = keel.rest(before)?;
    let ended = keel.end()?;
    for (what, times) in &*counts.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{times:>12} {what}");
    }
    println!(
        "at rest: {} KiB and {} descriptors before, {} and {} after",
        before.kib, before.descriptors, after.kib, after.descriptors
    );
    judge(&readings)?;
    if after.descriptors > before.descriptors {
        return Err(format!(
            "{} descriptors are left over",
            after.descriptors - before.descriptors
        ));
    }
    let wrong = counts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .filter(|(what, _)| what.contains("WRONG"))
        .map(|(_, times)| times)
        .sum::<u64>();
    if wrong > 0 {
        return Err(format!("{wrong} answers were wrong"));
    }
    if !ended {
        return Err("it did not end cleanly".to_owned());
    }
    println!("flat: memory, descriptors; every answer right or rightly refused");
    Ok(())
}

fn of_writes(root: &Path, rest: &[String]) -> Done {
    let backends = |word: &String| usize::try_from(number(word)?).map_err(|_| not(word));
    match rest {
        [] => writes::writes(root, SECONDS, None),
        [seconds] => writes::writes(root, number(seconds)?, None),
        [seconds, all] => writes::writes(root, number(seconds)?, Some(backends(all)?)),
        [_, _, word, ..] => Err(not(word)),
    }
}

fn number(word: &String) -> Result<u64, String> {
    word.parse().map_err(|_| not(word))
}

fn not(word: &String) -> String {
    format!("`{word}` is not understood: soak [writes] [SECONDS [BACKENDS]]")
}

/// Whether the last third of the readings is as high as the one before it.
fn judge(readings: &[Reading]) -> Done {
    let third = readings.len() / 3;
    if third == 0 {
        return Err("too short to say anything: three readings at least".to_owned());
    }
    let highest = |part: &[Reading], of: fn(&Reading) -> u64| part.iter().map(of).max();
    let (middle, last) = (
        &readings[third..2 * third],
        &readings[readings.len() - third..],
    );
    let (earlier, later) = (
        highest(middle, |reading| reading.kib).unwrap_or(0),
        highest(last, |reading| reading.kib).unwrap_or(0),
    );
    println!("memory: highest {earlier} KiB in the middle third, {later} KiB in the last");
    #[expect(
        clippy::cast_precision_loss,
        reason = "a process has fewer than 2^53 KiB"
    )]
    let grown = later as f64 > earlier as f64 * GROWTH && later > earlier + GROWTH_KIB;
    match grown {
        true => Err("memory grows".to_owned()),
        false => Ok(()),
    }
}

/// The running binary.
struct Keel {
    child: Child,
    address: SocketAddr,
    file: PathBuf,
    /// Its access log, and the rows of those that were taken away.
    log: PathBuf,
    rows: usize,
    /// The texts that reloads change between.
    texts: [String; 2],
}

impl Keel {
    fn start(root: &Path, folder: &Path) -> Result<Self, String> {
        let backends = [backend::sound()?, backend::sound()?, backend::breaking()?];
        let address = free()?;
        let log = folder.join("access.log");
        let _ = fs::remove_file(&log);
        let texts = [1, 3].map(|weight| text(address, &log, &backends, weight));
        let file = folder.join("keel.yaml");
        let fail = |error| format!("{}: {error}", file.display());
        fs::write(&file, &texts[0]).map_err(fail)?;
        let said = fs::File::create(folder.join("keel.log")).map_err(fail)?;
        let child = Command::new(root.join("target/release/evenkeel"))
            .args(["run", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(|error| format!("evenkeel does not start: {error}"))?;
        let mut keel = Self {
            child,
            address,
            file,
            log,
            rows: 0,
            texts,
        };
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = keel.child.try_wait() {
                return Err(format!("evenkeel ended at once: {status}"));
            }
            thread::yield_now();
        }
        Ok(keel)
    }

    /// Memory and descriptors, as the kernel counts them.
    fn read(&self) -> Result<Reading, String> {
        let place = PathBuf::from(format!("/proc/{}", self.child.id()));
        let gone = |error| format!("evenkeel is gone: {error}");
        let status = fs::read_to_string(place.join("status")).map_err(gone)?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        let descriptors = fs::read_dir(place.join("fd")).map_err(gone)?.count() as u64;
        Ok(Reading { kib, descriptors })
    }

    /// Traffic and reloads for so long; a reading every ten seconds, of which the first ones see it warm up.
    fn load(&mut self, seconds: u64, counts: &Counts) -> Result<Vec<Reading>, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                let (address, counts, stop) = (self.address, counts.clone(), stop.clone());
                thread::spawn(move || client::run(address, seed, &counts, &stop))
            })
            .collect();
        let (began, mut readings, mut reloads) = (Since::now(), Vec::new(), 0_usize);
        let every = READ_EVERY.min(Duration::from_secs(seconds) / 12);
        let mut next = every;
        while began.passed() < Duration::from_secs(seconds) {
            pause(RELOAD_EVERY.min(every));
            reloads += 1;
            fs::write(&self.file, &self.texts[reloads % 2]).map_err(|error| error.to_string())?;
            self.signal("-HUP")?;
            self.rotate()?;
            if began.passed() >= next {
                next += every;
                let reading = self.read()?;
                println!(
                    "{:>5} s {:>8} KiB {:>6} descriptors",
                    began.passed().as_secs(),
                    reading.kib,
                    reading.descriptors
                );
                readings.push(reading);
            }
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| "a client broke".to_owned())?;
        }
        println!("{reloads} reloads");
        Ok(readings)
    }

    /// As programs that rotate logs do it. Rows that come between both steps go to the old file.
    fn rotate(&mut self) -> Done {
        let old = self.log.with_extension("old");
        if old.exists() {
            self.rows += rows(&old)?;
        }
        if fs::rename(&self.log, &old).is_err() {
            return Err("there is no access log".to_owned());
        }
        self.signal("-USR1")?;
        while !self.log.exists() {
            pause(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Waits until it has given back what its clients made it open.
    fn rest(&self, before: Reading) -> Result<Reading, String> {
        let began = Since::now();
        loop {
            let reading = self.read()?;
            if reading.descriptors <= before.descriptors || began.passed() > REST {
                return Ok(reading);
            }
            pause(Duration::from_secs(1));
        }
    }

    fn signal(&self, name: &str) -> Done {
        program("kill")
            .args(&[name, &self.child.id().to_string()])
            .go()
    }

    /// Drains it. Whether it ended as one that drained.
    fn end(&mut self) -> Result<bool, String> {
        self.signal("-TERM")?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        self.rows += rows(&self.log.with_extension("old"))? + rows(&self.log)?;
        println!("{} rows in the access log", self.rows);
        Ok(status.success())
    }
}

impl Drop for Keel {
    fn drop(&mut self) {
        // Where the soak failed before its end; else it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody has.
fn free() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}

/// The rows of a log, each of which is whole.
fn rows(log: &Path) -> Result<usize, String> {
    let text = fs::read_to_string(log).map_err(|error| format!("{}: {error}", log.display()))?;
    match text
        .lines()
        .find(|row| !row.starts_with('{') || !row.ends_with('}'))
    {
        Some(row) => Err(format!("half a row in the access log: {row}")),
        None => Ok(text.lines().count()),
    }
}

/// The configuration; `weight` is what reloads change.
fn text(address: SocketAddr, log: &Path, backends: &[SocketAddr; 3], weight: u32) -> String {
    let [one, two, breaking] = backends;
    let log = log.display();
    format!(
        "admin: {{ bind: off }}
workers: 2
access_log: \"{log}\"
listeners:
  web: {{ bind: \"{address}\", timeouts: {{ keep_alive: 5s }} }}
services:
  api:
    backends: [\"{one}\", {{ address: \"{two}\", weight: {weight} }}, \"{breaking}\"]
    health: {{ http: {{ path: /health }}, interval: 500ms }}
  other: {{ backends: [\"{two}\"] }}
rules:
  - {{ name: ping, priority: 1, when: {{ path: /ping }}, respond: {{ body: pong }} }}
  - {{ name: moved-{weight}, priority: 2, when: {{ path: /old }}, redirect: {{ path: /new }} }}
  - {{ name: denied, priority: 3, when: {{ path: /denied, not: {{ header: {{ x-let: in }} }} }}, deny: true }}
  - name: split
    priority: 4
    when: {{ host: soak.example, path: {{ prefix: /split }} }}
    rewrite: {{ prefix: {{ from: /split, to: /body }}, request_headers: {{ set: {{ x-tier: gold }} }}, response_headers: {{ set: {{ x-by: keel }} }} }}
    forward: {{ to: {{ api: 90, other: {weight} }}, affinity: {{ cookie: {{ name: side, ttl: 1m }} }} }}
    fallback: {{ respond: {{ status: 503, body: back soon }} }}
  - {{ name: api, when: {{ host: soak.example }}, forward: api }}
"
    )
}
