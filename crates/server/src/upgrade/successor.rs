//! Owns the process that is to take over, as this one sees it: started, given everything, heard or ended.
//!
//! On a thread of its own, which waits for nobody longer than it may. The child is found by nothing but its standard input: no
//! descriptor of this process stays open in it, and no code runs between fork and exec.

use std::ffi::OsString;
use std::io::{BufWriter, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use evenkeel_control::control::handover::CarriedState;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::warn;

use super::manifest::learned;
use super::{HANDOVER, passing};

/// How often a waiting thread looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The longest answer.
const ANSWER_MOST: usize = 1024 * 1024;

/// What the environment of this process says of this process alone.
const OURS: [&str; 5] = [
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "WATCHDOG_PID",
];

/// What the new process reads of this one's is waited for no longer: a disk that hangs is no reason to go on as before.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// What is to be started, and what it is given.
pub(crate) struct Order {
    pub(crate) binary: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) within: Duration,
    /// What must be understood.
    pub(crate) manifest: Vec<u8>,
    pub(crate) sockets: Vec<OwnedFd>,
    /// What was learned.
    pub(crate) state: CarriedState,
}

/// One that serves.
pub(crate) struct Successor {
    pub(crate) child: Child,
    /// What it has no use for, of what it was given.
    pub(crate) unwanted: Vec<usize>,
    /// It takes the end of what it reads here for a sign that it is alone, and the end of all for this process's.
    pub(crate) told: UnixStream,
}

/// What a new process says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub(super) ready: bool,
    pub(super) unwanted: Vec<usize>,
    /// Why it does not serve.
    pub(super) failed: String,
}

/// An upgrade under way.
pub(crate) struct Upgrading {
    pub(crate) outcome: oneshot::Receiver<Result<Successor, String>>,
    cancelled: Arc<AtomicBool>,
}

impl Upgrading {
    /// Begins it, once what the new process reads is written; not for ever.
    pub(crate) fn begin(order: Order, written: Receiver<()>) -> Self {
        let (sender, outcome) = oneshot::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let seen = cancelled.clone();
        // Without a thread the sender is dropped, and that is heard.
        let _ = std::thread::Builder::new()
            .name("upgrade".into())
            .spawn(move || {
                let _ = written.recv_timeout(WRITTEN_WITHIN);
                if let Err(Ok(mut late)) = sender.send(start(&order, &seen)) {
                    end(&mut late.child);
                }
            });
        Self { outcome, cancelled }
    }

    /// One of which came this.
    #[cfg(test)]
    pub(super) fn ended(outcome: Result<Successor, String>) -> Self {
        let (sender, receiver) = oneshot::channel();
        let _ = sender.send(outcome);
        Self {
            outcome: receiver,
            cancelled: Arc::default(),
        }
    }

    /// Nobody waits for it any more: what was started is ended, if it does not serve yet.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn start(order: &Order, cancelled: &AtomicBool) -> Result<Successor, String> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    let mut command = Command::new(&order.binary);
    command
        .args(&order.arguments)
        .env(HANDOVER, "1")
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    for name in OURS {
        command.env_remove(name);
    }
    let child = command.spawn();
    // The other end is the child's alone: its end is heard.
    drop(command);
    let mut child =
        child.map_err(|error| format!("{} cannot be started: {error}", order.binary.display()))?;
    match hand_over(&ours, order, cancelled) {
        Ok(unwanted) => Ok(Successor {
            child,
            unwanted,
            told: ours,
        }),
        Err(Silent::Said(why)) => {
            let _ = ours.shutdown(std::net::Shutdown::Both);
            end(&mut child);
            Err(why)
        }
        Err(Silent::Left) => {
            let _ = child.kill();
            let status = child
                .wait()
                .map_or_else(|_| "unknown status".into(), |status| status.to_string());
            Err(format!("the new process ended without a word: {status}"))
        }
    }
}

/// Why nobody serves.
enum Silent {
    Said(String),
    /// It closed the connection.
    Left,
}

fn hand_over(
    mut stream: &UnixStream,
    order: &Order,
    cancelled: &AtomicBool,
) -> Result<Vec<usize>, Silent> {
    let broken = |error: &std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Silent::Said("the new process does not take what it is given".into())
        }
        ErrorKind::InvalidData => Silent::Said(error.to_string()),
        _ => Silent::Left,
    };
    let said = |error: std::io::Error| Silent::Said(error.to_string());
    stream.set_write_timeout(Some(order.within)).map_err(said)?;
    stream.set_read_timeout(Some(LOOK_EVERY)).map_err(said)?;
    passing::send(stream, &order.manifest, &order.sockets).map_err(|error| broken(&error))?;
    let left_out = learned::write(&mut BufWriter::new(stream), &order.state);
    let left_out = left_out.map_err(|error| broken(&error))?;
    if left_out > 0 {
        warn!(
            "upgrade: what was learned of {left_out} backends and services does not go over: all of it takes too much room"
        );
    }
    let mut looks = order.within.as_millis() / LOOK_EVERY.as_millis() + 1;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.ends_with(b"\n") {
        match stream.read(&mut piece) {
            Ok(0) => return Err(Silent::Left),
            Ok(length) if answer.len() + length <= ANSWER_MOST => {
                answer.extend_from_slice(&piece[..length]);
            }
            Ok(_) => return Err(Silent::Said("the new process says too much".into())),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // One that was about to serve has said so meanwhile.
                if cancelled.load(Ordering::Relaxed) {
                    return Err(Silent::Said("this process ends".into()));
                }
                looks -= 1;
                if looks == 0 {
                    let within = order.within;
                    let why =
                        format!("the new process does not serve after {within:?}, and was ended");
                    return Err(Silent::Said(why));
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Silent::Left),
        }
    }
    match serde_json::from_slice::<Answer>(&answer) {
        Ok(Answer {
            ready: true,
            unwanted,
            ..
        }) => Ok(unwanted),
        Ok(answer) => Err(Silent::Said(answer.failed)),
        Err(_) => Err(Silent::Said(
            "the new process says what is not understood".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What it says while it is given up counts: it serves, and may have taken requests.
    #[test]
    fn one_that_is_given_up_is_heard_all_the_same() {
        let order = Order {
            binary: PathBuf::new(),
            arguments: Vec::new(),
            within: Duration::from_secs(30),
            manifest: Vec::new(),
            sockets: Vec::new(),
            state: CarriedState::default(),
        };
        for (said, expect) in [
            ("{\"ready\":true,\"unwanted\":[2]}\n", Ok(vec![2])),
            ("{\"failed\":\"no\"}\n", Err("no")),
            ("", Err("this process ends")),
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(said.as_bytes()).unwrap();
            let heard = hand_over(&ours, &order, &AtomicBool::new(true));
            let heard = heard.map_err(|silent| match silent {
                Silent::Said(why) => why,
                Silent::Left => "left".into(),
            });
            assert_eq!(heard, expect.map_err(str::to_owned), "{said}");
        }
    }
}
