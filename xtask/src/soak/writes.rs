//! Owns `cargo xtask soak writes [SECONDS [BACKENDS]]`: a hundred writes a second by the API of the shipped binary, of all kinds, while
//! clients ask that forgive nothing. A request without its answer fails it, and a write that is not taken.
//!
//! How long a write takes is printed and judges nothing: whoever else is on the machine has a part in it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::clock::{Since, pause, timed};
use crate::run::{Done, cargo, program};
use crate::upgrades::{Load, PATIENCE, free, serve};

/// Writes in a second.
const RATE: u32 = 100;

/// Backends of the service, unless said.
const BACKENDS: usize = 1000;

/// A line each so many writes.
const SAY_EVERY: u64 = 6000;

/// Runs it, and says whether nothing was lost.
pub(super) fn writes(root: &Path, seconds: u64, backends: Option<usize>) -> Done {
    let backends = backends.unwrap_or(BACKENDS).max(2);
    cargo(
        root,
        &["build", "--release", "--locked", "-p", "evenkeel-server"],
    )
    .go()?;
    let folder = root.join("target/soak");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut keel = Keel::start(root, &folder, backends)?;
    let load = Load::begin(keel.web);
    let mut writer = Writer::new(keel.admin)?;
    let (before, began) = (keel.memory()?, Since::now());
    let (mut took, mut at) = (Vec::new(), 0_u64);
    while began.passed() < Duration::from_secs(seconds) {
        let (done, length) = timed(|| one(&mut writer, at, backends));
        done?;
        load.look()?;
        took.push(length);
        at += 1;
        if at.is_multiple_of(SAY_EVERY) {
            println!("{at:>8} writes {:>9} requests", load.served());
        }
        let due = Duration::from_secs(at) / RATE;
        pause(due.saturating_sub(began.passed()));
    }
    let (length, after) = (began.passed(), keel.memory()?);
    let served = load.end()?;
    let last = writer.revision()?;
    // The start is the first.
    if last != at + 1 {
        return Err(format!("{at} writes came to revision {last}"));
    }
    took.sort_unstable();
    let of = |share: usize| took.get(took.len() * share / 100).copied();
    println!(
        "{at} writes over {backends} backends in {length:.1?}, {served} requests, none failed; a write took {:?}, at the 99th percentile {:?}, at most {:?}",
        of(50).unwrap_or_default(),
        of(99).unwrap_or_default(),
        took.last().copied().unwrap_or_default()
    );
    println!("memory: {before} KiB before, {after} after");
    keel.end()
}

/// The write of this number. Each changes something.
fn one(writer: &mut Writer, at: u64, backends: usize) -> Done {
    let turn = at / 8;
    let id = usize::try_from(turn).unwrap_or(0) % (backends - 1);
    let of = |id: &str| format!("/v1/services/api/backends/{id}");
    let (backend, fresh) = (of(&format!("b{id}")), of("fresh"));
    let order =
        |first: &str, second: &str| format!("{{\"rules\": [\"{first}\", \"{second}\", \"rest\"]}}");
    match at % 8 {
        0 => writer.write(
            "PATCH",
            &backend,
            &format!("{{\"weight\": {}}}", 2 + turn % 200),
        ),
        1 => writer.write(
            "PUT",
            &fresh,
            "{\"address\": \"127.0.0.1:1\", \"weight\": 0}",
        ),
        2 => writer.write("POST", &format!("{backend}/drain"), ""),
        3 => writer.write("PUT", "/v1/rule-order", &order("two", "one")),
        4 => writer.write("POST", &format!("{backend}/enable"), ""),
        5 => writer.write("DELETE", &fresh, ""),
        6 => writer.write("PUT", "/v1/rule-order", &order("one", "two")),
        _ => {
            let policy = ["\"random\"", "\"least_connections\""];
            let which = usize::from(turn.is_multiple_of(2));
            writer.write("PUT", "/v1/services/api/policy", policy[which])
        }
    }
}

/// One connection to the API, and the revision that it has seen.
struct Writer {
    stream: BufReader<TcpStream>,
    seen: String,
}

impl Writer {
    fn new(admin: SocketAddr) -> Result<Self, String> {
        let fail = |error: std::io::Error| error.to_string();
        let stream = TcpStream::connect(admin).map_err(fail)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
        stream.set_nodelay(true).map_err(fail)?;
        let mut writer = Self {
            stream: BufReader::new(stream),
            seen: "*".to_owned(),
        };
        // What is so already is no revision, and its answer names the one that runs.
        writer.write("POST", "/v1/services/api/enable", "")?;
        Ok(writer)
    }

    fn write(&mut self, method: &str, path: &str, body: &str) -> Done {
        let said = self.ask(method, path, body);
        let head = said.map_err(|error| format!("{method} {path}: {error}"))?;
        match head.starts_with("HTTP/1.1 20") {
            true => Ok(()),
            false => Err(format!("{method} {path}: {head}")),
        }
    }

    /// The answer's head, and its body behind it.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let (seen, length) = (&self.seen, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nIf-Match: {seen}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let at = head.len();
            if self.stream.read_line(&mut head)? == 0 {
                return Err(std::io::Error::other("no answer"));
            }
            let line = head[at..].trim_end().to_ascii_lowercase();
            if let Some(tag) = line.strip_prefix("etag: ") {
                tag.clone_into(&mut self.seen);
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().map_err(std::io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        head.push_str(&String::from_utf8_lossy(&body));
        Ok(head)
    }

    /// The number of the revision that was seen last.
    fn revision(&self) -> Result<u64, String> {
        let number = self.seen.trim_matches('"').split('-').next();
        let number = number.and_then(|number| number.parse().ok());
        number.ok_or_else(|| format!("`{}` is no revision", self.seen))
    }
}

struct Keel {
    child: Child,
    web: SocketAddr,
    admin: SocketAddr,
}

impl Keel {
    fn start(root: &Path, folder: &Path, backends: usize) -> Result<Self, String> {
        let (web, admin) = (free()?, free()?);
        let servers = [serve()?, serve()?, serve()?, serve()?];
        let list: Vec<_> = (0..backends)
            .zip(servers.iter().cycle())
            .map(|(at, server)| format!("      - {{ id: b{at}, address: \"{server}\" }}\n"))
            .collect();
        let text = format!(
            "admin: {{ bind: \"{admin}\" }}\nworkers: 2\nlisteners: {{ web: {{ bind: \"{web}\" }} }}\nservices:\n  api:\n    slow_start: 0\n    backends:\n{}rules:\n  - {{ name: one, when: {{ path: /one }}, deny: true }}\n  - {{ name: two, when: {{ path: /two }}, deny: true }}\n  - {{ name: rest, forward: api }}\n",
            list.concat()
        );
        let file = folder.join("writes.yaml");
        let fail = |error: std::io::Error| format!("{}: {error}", file.display());
        fs::write(&file, text).map_err(fail)?;
        let said = fs::File::create(folder.join("writes.log")).map_err(fail)?;
        let state = folder.join("writes-state");
        let _ = fs::remove_dir_all(&state);
        fs::create_dir_all(&state).map_err(fail)?;
        let child = Command::new(root.join("target/release/evenkeel"))
            .args(["run", "-c"])
            .args([&file, Path::new("--state-dir"), &state])
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(|error| format!("evenkeel does not start: {error}"))?;
        let mut keel = Self { child, web, admin };
        while TcpStream::connect(web).is_err() || TcpStream::connect(admin).is_err() {
            if let Ok(Some(status)) = keel.child.try_wait() {
                return Err(format!("evenkeel ended at once: {status}"));
            }
            thread::yield_now();
        }
        Ok(keel)
    }

    /// In KiB.
    fn memory(&self) -> Result<u64, String> {
        let place = PathBuf::from(format!("/proc/{}/status", self.child.id()));
        let status = fs::read_to_string(place).map_err(|error| error.to_string())?;
        let row = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = row.and_then(|row| row.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| "the kernel tells no memory".to_owned())
    }

    fn end(&mut self) -> Done {
        let process = self.child.id().to_string();
        program("kill").args(&["-TERM", &process]).go()?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("it ended badly: {status}")),
        }
    }
}

impl Drop for Keel {
    fn drop(&mut self) {
        // Where it failed before its end; else it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
