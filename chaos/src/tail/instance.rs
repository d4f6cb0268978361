//! Owns the instance of a run: its configuration, how it is started, and what is done to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::Disturbance;
use crate::balancer::{free, lines, page};
use crate::clock::Start;

/// Backends beside those that are asked.
const BACKENDS: usize = 10_000;

/// So long the instance may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// The instance of a run.
pub(super) struct Instance {
    child: Child,
    pid: Pid,
    file: PathBuf,
    pub(super) listen: SocketAddr,
    admin: SocketAddr,
    log: Option<PathBuf>,
    /// Those that answer.
    servers: Vec<SocketAddr>,
    /// The port at which everybody else answers.
    port: u16,
}

impl Instance {
    /// How many reloads it has taken.
    pub(super) async fn reloads(&self) -> Result<f64, String> {
        let page = page(self.admin, "/metrics").await;
        let figures = lines(&page.map_err(|error| format!("its page: {error}"))?);
        let taken = figures.get("evenkeel_reloads_total{result=\"taken\"}");
        Ok(taken.copied().unwrap_or(0.0))
    }

    pub(super) async fn start(
        program: &Path,
        disturbance: Disturbance,
        folder: &Path,
        servers: &[SocketAddr],
        port: u16,
    ) -> Result<Self, String> {
        let (listen, admin) = (free()?, free()?);
        let file = folder.join(format!("tail-{}.yaml", listen.port()));
        let log = folder.join("access.log");
        let text = |of: &Self| of.text(0, false);
        let mut of = Self {
            child: Command::new("true")
                .spawn()
                .map_err(|error| error.to_string())?,
            pid: rustix::process::getpid(),
            file: file.clone(),
            listen,
            admin,
            log: (disturbance == Disturbance::Rotate).then_some(log),
            servers: servers.to_vec(),
            port,
        };
        std::fs::write(&file, text(&of)).map_err(|error| error.to_string())?;
        of.child = Command::new(program)
            .arg("run")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let pid = of.child.id().and_then(|id| Pid::from_raw(id as i32));
        of.pid = pid.ok_or("it ended at once")?;
        let start = Start::now();
        while TcpStream::connect(listen).await.is_err() {
            if start.passed() > PATIENCE {
                return Err("it does not listen".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(of)
    }

    /// Its configuration; `turn` says which half of the backends it has.
    fn text(&self, turn: usize, checked: bool) -> String {
        let mut text = format!(
            "admin: {{ bind: \"{}\" }}\nworkers: 2\nlisteners: {{ web: {{ bind: \"{}\" }} }}\n",
            self.admin, self.listen
        );
        if let Some(log) = &self.log {
            text += &format!("access_log: {{ to: \"{}\" }}\n", log.display());
        }
        let ids: Vec<String> = self.servers.iter().map(|at| format!("\"{at}\"")).collect();
        text += &format!(
            "services:\n  api: {{ backends: [{}] }}\n  many:\n    slow_start: 1s\n",
            ids.join(", ")
        );
        if checked {
            text += "    health: { http: { path: /health } }\n";
        }
        text += "    backends:\n";
        // One half stays, the other is one of two.
        let half = BACKENDS / 2;
        let numbers = (0..half).chain((1 + turn % 2) * half..(2 + turn % 2) * half);
        for number in numbers {
            let (high, low) = (number / 250, number % 250 + 1);
            text += &format!("      - \"127.100.{high}.{low}:{}\"\n", self.port);
        }
        text + "rules: [{ name: all, forward: { api: 50, many: 50 } }]\n"
    }

    pub(super) fn write(&self, turn: usize, checked: bool) -> Result<(), String> {
        std::fs::write(&self.file, self.text(turn, checked)).map_err(|error| error.to_string())
    }

    pub(super) fn reload(&self, turn: usize, checked: bool) -> Result<(), String> {
        self.write(turn, checked)?;
        self.signal(Signal::HUP)
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(self.pid, signal).map_err(|error| format!("it is gone: {error}"))
    }

    /// Disturbs it until then. `turn` is one more each time that something is done.
    pub(super) async fn disturb(
        &self,
        disturbance: Disturbance,
        turn: &mut usize,
        (start, until): (Start, Duration),
    ) -> Result<(), String> {
        let every = Duration::from_millis(match disturbance {
            Disturbance::Nothing | Disturbance::Checks => {
                start.until(until).await;
                return Ok(());
            }
            Disturbance::Reload => 1_000,
            Disturbance::Scrape => 500,
            Disturbance::Rotate => 100,
        });
        while start.passed() < until {
            let next = start.passed() + every;
            match (disturbance, &self.log) {
                (Disturbance::Reload, _) => self.reload(*turn, false)?,
                // In a process of its own: what is read here would disturb the generator.
                (Disturbance::Scrape, _) => {
                    let page = format!("http://{}/metrics", self.admin);
                    let read = Command::new("curl")
                        .args(["-s", "-f", "-o", "/dev/null", &page])
                        .status();
                    let read = read.await.map_err(|error| format!("curl: {error}"))?;
                    if !read.success() {
                        return Err("its page does not come".to_owned());
                    }
                }
                (Disturbance::Rotate, Some(log)) => {
                    std::fs::rename(log, log.with_extension("1"))
                        .map_err(|error| format!("{}: {error}", log.display()))?;
                    self.signal(Signal::USR1)?;
                }
                _ => {}
            }
            *turn += 1;
            start.until(next.min(until)).await;
        }
        Ok(())
    }
}
