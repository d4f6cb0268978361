//! Owns the process between the load and the backends: its start, signals, figures and end.
//!
//! What it says of itself is asked over its own page; its memory and descriptors are the kernel's word, over it and its children.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::clock::Start;
use crate::fleet;
use crate::setup::{self, Places, Wants, Who};

/// So long something of a balancer may take before that is its fault.
const PATIENCE: Duration = Duration::from_secs(40);

/// What libfaketime is, in Debian's package.
pub(crate) const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Memory in KiB and descriptors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) kib: u64,
    pub(crate) descriptors: u64,
}

/// What its page says: values by name with labels.
pub(crate) type Figures = BTreeMap<String, f64>;

/// A running balancer.
pub(crate) struct Balancer {
    pub(crate) who: Who,
    wants: Wants,
    folder: PathBuf,
    file: PathBuf,
    pub(crate) listen: SocketAddr,
    admin: SocketAddr,
    names: SocketAddr,
    revision: u32,
    child: Child,
    /// Another than the child's after an upgrade.
    pid: Pid,
}

impl Balancer {
    /// Starts it, and waits until it accepts.
    pub(crate) async fn start(
        who: Who,
        program: &Path,
        wants: Wants,
        folder: &Path,
        backends: &[SocketAddr],
        names: SocketAddr,
    ) -> Result<Self, String> {
        let (listen, admin) = (free()?, free()?);
        let suffix = match who {
            Who::Evenkeel | Who::Envoy => "yaml",
            Who::Haproxy | Who::Nginx | Who::Caddy => "conf",
            Who::Sozu => "toml",
            Who::Pingora => "env",
        };
        let file = folder.join(format!("{}-{}.{suffix}", who.word(), listen.port()));
        let places = Places {
            folder,
            listen,
            admin,
            names,
            backends,
            revision: 0,
        };
        write(&file, &setup::text(who, wants, &places))?;
        let mut command = command(who, program, wants, folder, &file);
        let said = fs::File::create(file.with_extension("said")).map_err(|e| e.to_string())?;
        let child = command
            .stdout(Stdio::null())
            .stderr(said)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", who.word()))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        let mut balancer = Self {
            who,
            wants,
            folder: folder.to_owned(),
            file,
            listen,
            admin,
            names,
            revision: 0,
            child,
            pid: pid.ok_or("it ended at once")?,
        };
        balancer.ready().await?;
        Ok(balancer)
    }

    async fn ready(&mut self) -> Result<(), String> {
        let start = Start::now();
        while TcpStream::connect(self.listen).await.is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                let said = fs::read_to_string(self.file.with_extension("said"));
                let said = said.unwrap_or_default();
                return Err(format!("{} ended: {status}\n{said}", self.who.word()));
            }
            if start.passed() > PATIENCE {
                return Err(format!("{} does not listen", self.who.word()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Writes a configuration that differs, with these backends, and has it read.
    pub(crate) async fn reload(&mut self, backends: &[SocketAddr]) -> Result<(), String> {
        self.revision += 1;
        let places = Places {
            folder: &self.folder,
            listen: self.listen,
            admin: self.admin,
            names: self.names,
            backends,
            revision: self.revision,
        };
        write(&self.file, &setup::text(self.who, self.wants, &places))?;
        if self.who != Who::Evenkeel {
            let signal = match self.who {
                Who::Haproxy => Signal::USR2,
                _ => Signal::HUP,
            };
            self.signal(signal)?;
            // They do not say when it is done; new processes take about so long here.
            tokio::time::sleep(Duration::from_millis(250)).await;
            return Ok(());
        }
        let reloads = "evenkeel_reloads_total{result=\"taken\"}";
        let taken = |figures: &Figures| figures.get(reloads).copied().unwrap_or(0.0);
        let before = taken(&self.figures().await?);
        self.signal(Signal::HUP)?;
        let start = Start::now();
        while taken(&self.figures().await?) <= before {
            if start.passed() > PATIENCE {
                return Err("a reload is not taken".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Has it replaced by a new process of the same program, and waits for the old one's end; with its exit code.
    pub(crate) async fn upgrade(&mut self) -> Result<Option<i32>, String> {
        // An heir is a child of ours once the old one has ended, so that its end is seen.
        set_child_subreaper(Some(getpid())).map_err(|error| error.to_string())?;
        let old = self.pid;
        self.signal(Signal::USR2)?;
        if self.who == Who::Haproxy {
            // Its process stays, and becomes the program anew.
            tokio::time::sleep(Duration::from_millis(250)).await;
            return Ok(Some(0));
        }
        let start = Start::now();
        let mut heir = None;
        loop {
            heir = heir.or_else(|| processes_of(&self.file).into_iter().find(|pid| *pid != old));
            let ended = self.child.try_wait().ok().flatten();
            match (heir, ended) {
                (Some(heir), Some(status)) => {
                    self.pid = heir;
                    return Ok(status.code());
                }
                _ if start.passed() > PATIENCE => {
                    return Err(format!("process {old} does not end, or has no heir"));
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(self.pid, signal)
            .map_err(|error| format!("{} is gone: {error}", self.who.word()))
    }

    /// SIGTERM (for the peers what ends them softly), and how it ended. None: it did not, in its time.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let signal = match self.who {
            Who::Haproxy => Signal::USR1,
            Who::Nginx => Signal::QUIT,
            // It has no soft end by signal, and its workers outlive it.
            Who::Sozu => return self.cut().await,
            Who::Pingora => Signal::INT,
            Who::Evenkeel | Who::Envoy | Who::Caddy => Signal::TERM,
        };
        self.signal(signal).ok()?;
        if self.child.id().is_none() {
            return self.heir_ends().await;
        }
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => status.code(),
            _ => {
                let _ = self.child.kill().await;
                None
            }
        }
    }

    /// Ends it and its children by force.
    async fn cut(&mut self) -> Option<i32> {
        for pid in self.pids().into_iter().rev().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let status = self.child.wait().await.ok()?;
        status.code()
    }

    async fn heir_ends(&self) -> Option<i32> {
        let start = Start::now();
        loop {
            match waitpid(Some(self.pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => return status.exit_status(),
                Ok(None) if start.passed() <= PATIENCE => {}
                _ => {
                    let _ = self.signal(Signal::KILL);
                    return None;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it says of itself; nothing of nginx, which says next to nothing, nor of those that only race, of which nothing is asked here.
    pub(crate) async fn figures(&self) -> Result<Figures, String> {
        let path = match self.who {
            Who::Evenkeel => "/metrics",
            Who::Haproxy => "/stats;csv",
            _ => return Ok(Figures::new()),
        };
        let asked = tokio::time::timeout(PATIENCE, page(self.admin, path)).await;
        let text = asked
            .map_err(|_| "its page does not come".to_owned())?
            .map_err(|error| format!("its page: {error}"))?;
        Ok(match self.who {
            Who::Haproxy => csv(&text),
            _ => lines(&text),
        })
    }

    /// Picks of each of these backends, where it says them.
    pub(crate) fn picks(&self, figures: &Figures, backends: &[SocketAddr]) -> Option<Vec<u64>> {
        let name = |at: &SocketAddr| match self.who {
            Who::Evenkeel => {
                format!("evenkeel_backend_picks_total{{service=\"api\",backend=\"{at}\"}}")
            }
            _ => format!("picks {at}"),
        };
        let of = |at| figures.get(&name(at)).map_or(0, |value| *value as u64);
        let says = matches!(self.who, Who::Evenkeel | Who::Haproxy);
        says.then(|| backends.iter().map(of).collect())
    }

    /// Memory and descriptors of it and its children.
    pub(crate) fn held(&self) -> Held {
        let mut held = Held::default();
        for place in self.processes() {
            let status = fs::read_to_string(place.join("status")).unwrap_or_default();
            let kib = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))
                .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            held.kib += kib.unwrap_or(0);
            held.descriptors += fs::read_dir(place.join("fd")).map_or(0, |fds| fds.count() as u64);
        }
        held
    }

    /// Time that its threads and those of its children have computed, with what each thread had of it.
    pub(crate) fn spent(&self) -> BTreeMap<String, Duration> {
        let mut spent = BTreeMap::new();
        for place in self.processes() {
            let tasks = fs::read_dir(place.join("task")).into_iter().flatten();
            for task in tasks.flatten().map(|task| task.path()) {
                let read = |file: &str| fs::read_to_string(task.join(file)).unwrap_or_default();
                let nanos = read("schedstat").split(' ').next().map(str::parse);
                let name = format!("{} {}", read("comm").trim(), task.display());
                spent.insert(
                    name,
                    Duration::from_nanos(nanos.and_then(Result::ok).unwrap_or(0)),
                );
            }
        }
        spent
    }

    /// Where the kernel tells of it and its children.
    fn processes(&self) -> Vec<PathBuf> {
        let each = self.pids().into_iter();
        each.map(|pid| PathBuf::from(format!("/proc/{pid}")))
            .collect()
    }

    /// It and its children, parents first.
    fn pids(&self) -> Vec<i32> {
        let mut left = vec![self.pid.as_raw_nonzero().get()];
        let mut pids = Vec::new();
        while let Some(pid) = left.pop() {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            let children = children.split_whitespace();
            left.extend(children.filter_map(|word| word.parse::<i32>().ok()));
            pids.push(pid);
        }
        pids
    }
}

/// How each is started in the foreground.
fn command(who: Who, program: &Path, wants: Wants, folder: &Path, file: &Path) -> Command {
    let words: &[&str] = match who {
        Who::Evenkeel => &["run"],
        Who::Haproxy => &["-W", "-db", "-f"],
        Who::Nginx => &["-c"],
        Who::Envoy => &["--disable-hot-restart", "--log-level", "error", "-c"],
        Who::Caddy => &["run", "--adapter", "caddyfile", "--config"],
        Who::Sozu => &["start", "-c"],
        Who::Pingora => &[],
    };
    let mut command = match wants.descriptors {
        None if who == Who::Pingora => {
            let mut command = Command::new("sh");
            command.args(["-c", "set -a && . \"$1\" && exec \"$0\""]);
            command.arg(program);
            command
        }
        None => Command::new(program),
        Some(most) => {
            let mut command = Command::new("sh");
            let limited = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
            command.args(["-c", &limited]).arg(program);
            command
        }
    };
    if wants.faked_clock {
        // Only the clock on the wall: the other cannot be set.
        command
            .env("LD_PRELOAD", FAKETIME)
            .env("FAKETIME_TIMESTAMP_FILE", folder.join("clock"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    command.args(words).arg(file);
    let workers = wants.choice.map(|choice| choice.workers.to_string());
    match (who, workers) {
        (Who::Envoy, Some(workers)) => drop(command.args(["--concurrency", &workers])),
        (Who::Caddy, workers) => {
            command.envs(workers.map(|workers| ("GOMAXPROCS", workers)));
            // What it keeps goes where the run's files are.
            command.env("XDG_DATA_HOME", folder);
            command.env("XDG_CONFIG_HOME", folder);
        }
        _ => {}
    }
    command
}

/// Processes that were started with this file.
fn processes_of(file: &Path) -> Vec<Pid> {
    let wanted = file.display().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words
            .split(|byte| *byte == 0)
            .any(|word| word == wanted.as_bytes())
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// An address that nobody has, and from which nobody connects.
pub(crate) fn free() -> Result<SocketAddr, String> {
    TcpListener::bind((fleet::own(200), 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// A page of it.
pub(crate) async fn page(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `name{labels} value`.
pub(crate) fn lines(text: &str) -> Figures {
    let rows = text.lines().filter(|line| line.starts_with("evenkeel_"));
    rows.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    })
    .collect()
}

/// How often each server was chosen, and tries that were repeated.
fn csv(text: &str) -> Figures {
    let mut rows = text
        .lines()
        .skip_while(|line| !line.starts_with("# pxname"));
    let names: Vec<&str> = rows.next().unwrap_or("").split(',').collect();
    let at = |name: &str| names.iter().position(|found| *found == name).unwrap_or(0);
    let (server, chosen, retries) = (at("svname"), at("lbtot"), at("wretr"));
    let mut figures = Figures::new();
    for row in rows.filter(|row| row.starts_with("api,")) {
        let cells: Vec<&str> = row.split(',').collect();
        let number = |place: usize| cells.get(place).and_then(|cell| cell.parse().ok());
        let name = cells.get(server).copied().unwrap_or("");
        figures.insert(format!("picks {name}"), number(chosen).unwrap_or(0.0));
        figures.insert(format!("retries {name}"), number(retries).unwrap_or(0.0));
    }
    figures
}
