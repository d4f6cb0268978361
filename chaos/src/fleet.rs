//! Owns the backends of a run: processes that are started, killed, frozen and told what to do.
//!
//! What each was asked is summed over its lives: what one counted within a tenth of a second before it was killed is lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// So long a command to a backend may take before that is a fault of this program.
const PATIENCE: Duration = Duration::from_secs(10);

/// Backends of one fleet; each has addresses of its own.
const FLEET_MOST: usize = 20;

/// An address of this run's own: nobody connects from it, and no other run has it, so that a port stays free while nobody listens.
pub(crate) fn own(number: u8) -> Ipv4Addr {
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, high.max(1), low, number)
}

/// What a backend says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    /// Requests that reached it.
    pub(crate) asked: u64,
    /// Integral of its requests in flight, in microseconds.
    pub(crate) busy: u64,
}

/// A running process and its control line.
struct Life {
    child: Child,
    control: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
    pid: Pid,
    frozen: bool,
}

/// One backend, dead or alive.
pub(crate) struct Backend {
    tag: String,
    service_ms: u64,
    pub(crate) address: SocketAddr,
    life: Option<Life>,
    /// Of earlier lives.
    earlier: Said,
    /// What it said last.
    last: Said,
}

impl Backend {
    /// Starts one of a fleet on this port, or any for 0. Its address is one that nobody connects from, so that the port stays free while it is
    /// dead.
    pub(crate) async fn start(
        fleet: usize,
        number: usize,
        port: u16,
        service_ms: u64,
    ) -> Result<Self, String> {
        let mut backend = Self {
            tag: format!("b{number}"),
            service_ms,
            address: (own((fleet * FLEET_MOST + number) as u8 + 1), port).into(),
            life: None,
            earlier: Said::default(),
            last: Said::default(),
        };
        backend.revive().await?;
        Ok(backend)
    }

    /// Starts it anew where it was.
    pub(crate) async fn revive(&mut self) -> Result<(), String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .arg("backend")
            .args([self.address.to_string(), self.tag.clone()])
            .arg(self.service_ms.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("a backend does not start: {error}"))?;
        let (Some(control), Some(says)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a backend has no control line".to_owned());
        };
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        let pid = pid.ok_or("a backend ended at once")?;
        let mut life = Life {
            child,
            control,
            says: BufReader::new(says).lines(),
            pid,
            frozen: false,
        };
        let said = life.next().await?;
        let address = said.strip_prefix("at ").and_then(|at| at.parse().ok());
        self.address = address.ok_or("a backend does not say where it is")?;
        self.life = Some(life);
        Ok(())
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        self.read().await;
        if let Some(mut life) = self.life.take() {
            life.signal(Signal::KILL)?;
            let _ = life.child.wait().await;
        }
        self.earlier.asked += self.last.asked;
        self.earlier.busy += self.last.busy;
        self.last = Said::default();
        Ok(())
    }

    /// SIGSTOP, or SIGCONT.
    pub(crate) fn freeze(&mut self, frozen: bool) -> Result<(), String> {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        life.frozen = frozen;
        life.signal(if frozen { Signal::STOP } else { Signal::CONT })
    }

    /// A line to its control line.
    pub(crate) async fn tell(&mut self, line: &str) -> Result<String, String> {
        match &mut self.life {
            Some(life) if !life.frozen => life.ask(line).await,
            _ => Err(format!("{} cannot be told `{line}` now", self.tag)),
        }
    }

    /// What it was asked so far; what it said last, while it cannot say.
    pub(crate) async fn read(&mut self) -> Said {
        if let Ok(line) = self.tell("read").await {
            let mut numbers = line.split(' ').map_while(|word| word.parse().ok());
            if let (Some(asked), Some(busy)) = (numbers.next(), numbers.next()) {
                self.last = Said { asked, busy };
            }
        }
        Said {
            asked: self.earlier.asked + self.last.asked,
            busy: self.earlier.busy + self.last.busy,
        }
    }
}

impl Life {
    fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(self.pid, signal).map_err(|error| format!("no signal: {error}"))
    }

    async fn ask(&mut self, line: &str) -> Result<String, String> {
        let sent = self.control.write_all(format!("{line}\n").as_bytes()).await;
        sent.map_err(|error| format!("a backend's control line: {error}"))?;
        self.next().await
    }

    async fn next(&mut self) -> Result<String, String> {
        match tokio::time::timeout(PATIENCE, self.says.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(_) => Err("a backend ended".to_owned()),
            Err(_) => Err("a backend says nothing".to_owned()),
        }
    }
}
