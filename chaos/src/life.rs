//! Owns a process of this program in another role, and its control line: a command per line, an answer per line.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// So long a command may take before that is a fault of this program.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running process. It ends with its owner.
pub(crate) struct Life {
    child: Child,
    control: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
    pid: Pid,
}

impl Life {
    /// Starts it, and the line that it says first.
    pub(crate) async fn begin(words: &[&str]) -> Result<(Self, String), String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .args(words)
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
        let mut life = Self {
            child,
            control,
            says: BufReader::new(says).lines(),
            pid,
        };
        let said = life.next().await?;
        Ok((life, said))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(self.pid, signal).map_err(|error| format!("no signal: {error}"))
    }

    /// SIGKILL, and its end.
    pub(crate) async fn kill(mut self) -> Result<(), String> {
        self.signal(Signal::KILL)?;
        let _ = self.child.wait().await;
        Ok(())
    }

    /// What it answers to a command.
    pub(crate) async fn ask(&mut self, line: &str) -> Result<String, String> {
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
