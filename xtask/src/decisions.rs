//! Owns the timing of decisions for other programs: `cargo xtask decisions [SECONDS]`. The shipped binary on one core, asked over connections that
//! are kept, one pick at a time and in batches; each pick is reported. Its figures stand in `docs/findings.md`.
//!
//! What is asked runs on the other cores: on a machine that has none, both share one and the figure is lower.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::clock::Since;
use crate::run::{Done, ask};
use crate::shipped;

/// Of each row, unless said.
const SECONDS: u64 = 5;

/// Connections that ask.
const CLIENTS: usize = 8;

/// Picks of one question.
const BATCHES: [usize; 4] = [1, 10, 100, 1000];

/// Runs it, and prints a row for each size of question.
pub(crate) fn decisions(root: &Path, rest: &[String]) -> Done {
    let not = |word: &String| format!("`{word}` is not understood: decisions [SECONDS]");
    let seconds = match rest {
        [] => SECONDS,
        [word] => word.parse().map_err(|_| not(word))?,
        [_, word, ..] => return Err(not(word)),
    };
    shipped::build(root)?;
    let folder = root.join("target/decisions");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let keel = Keel::start(root, &folder)?;
    println!("picks a question   decisions/s   of a core   us of it a decision");
    for batch in BATCHES {
        let before = keel.ticks()?;
        let began = Since::now();
        let length = Duration::from_secs(seconds);
        let clients = (0..CLIENTS).map(|_| {
            let admin = keel.admin;
            thread::spawn(move || client(admin, batch, began, length))
        });
        let clients: Vec<_> = clients.collect();
        let mut decided = 0;
        for one in clients {
            let ended = one.join().map_err(|_| "a client broke".to_owned())?;
            decided += ended.map_err(|error| format!("a decision was not answered: {error}"))?;
        }
        let (wall, busy) = (began.passed().as_secs_f64(), keel.ticks()? - before);
        let rate = f64::from(decided) / wall;
        let (share, each) = (busy / wall, busy / f64::from(decided) * 1e6);
        println!("{batch:>16} {rate:>13.0} {share:>11.2} {each:>21.2}");
    }
    Ok(())
}

struct Keel {
    child: Child,
    admin: SocketAddr,
    /// Parts of a second that the system counts in.
    tick: f64,
}

impl Keel {
    /// On the first core alone, with ten backends that nobody is sent to.
    fn start(root: &Path, folder: &Path) -> Result<Self, String> {
        let (web, admin) = (free()?, free()?);
        let backends: Vec<_> = (1..=10).map(|at| format!("\"10.0.0.{at}:80\"")).collect();
        let file = folder.join("keel.yaml");
        let text = format!(
            "admin: {{ bind: \"{admin}\" }}\nworkers: 1\nlisteners: {{ web: {{ bind: \"{web}\" }} }}\nservices: {{ api: {{ backends: [{}] }} }}\n",
            backends.join(", ")
        );
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let child = Command::new("taskset")
            .args([
                "-c",
                "0",
                &shipped::program(root),
                "run",
                "--no-overlay",
                "-c",
            ])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("evenkeel does not start: {error}"))?;
        let tick = ask(&["getconf", "CLK_TCK"]).and_then(|said| said.trim().parse().ok());
        let mut keel = Self {
            child,
            admin,
            tick: tick.unwrap_or(100.0),
        };
        while TcpStream::connect(admin).is_err() {
            if let Ok(Some(status)) = keel.child.try_wait() {
                return Err(format!("evenkeel ended at once: {status}"));
            }
            thread::yield_now();
        }
        Ok(keel)
    }

    /// Seconds of processor time so far, its own and the system's for it.
    fn ticks(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        // Behind the name, which may hold anything.
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let mut fields = rest.split(' ').skip(11);
        let mut next = || fields.next()?.parse::<f64>().ok();
        let sum = next().zip(next()).map(|(own, system)| own + system);
        sum.map(|sum| sum / self.tick)
            .ok_or_else(|| format!("{path} is not as expected"))
    }
}

impl Drop for Keel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks and reports until the time is over; says how many were decided and reported.
fn client(to: SocketAddr, batch: usize, began: Since, length: Duration) -> std::io::Result<u32> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut connection = BufReader::new(stream);
    let mut decided = 0;
    while began.passed() < length {
        let ask = format!("{{\"picks\":{batch}}}");
        let answer = exchange(&mut connection, "/v1/services/api/picks", &ask)?;
        let ids: Vec<_> = answer.split("\"pick\":\"").skip(1).collect();
        let ids = ids.iter().filter_map(|rest| rest.split('"').next());
        let ids: Vec<_> = ids.collect();
        const OUTCOME: &str = "{\"status\":200,\"head_ms\":2.5,\"total_ms\":4}";
        match *ids {
            [only] => exchange(
                &mut connection,
                &format!("/v1/picks/{only}/outcome"),
                OUTCOME,
            )?,
            _ => {
                let each = ids
                    .iter()
                    .map(|id| format!("{{\"pick\":\"{id}\",\"outcome\":{OUTCOME}}}"));
                let each = each.collect::<Vec<_>>().join(",");
                let all = format!("{{\"outcomes\":[{each}]}}");
                exchange(&mut connection, "/v1/picks/outcomes", &all)?
            }
        };
        decided += u32::try_from(ids.len()).unwrap_or(u32::MAX);
    }
    Ok(decided)
}

/// The body of the answer to this.
fn exchange(over: &mut BufReader<TcpStream>, path: &str, body: &str) -> std::io::Result<String> {
    let ask = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    over.get_mut().write_all(ask.as_bytes())?;
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let at = head.len();
        if over.read_line(&mut head)? == 0 {
            return Err(std::io::Error::other(format!("no answer, after {head:?}")));
        }
        let line = head[at..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    over.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(std::io::Error::other)?;
    match head.starts_with("HTTP/1.1 200 ") {
        true => Ok(body),
        false => Err(std::io::Error::other(body)),
    }
}

/// An address that nobody has.
fn free() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}
