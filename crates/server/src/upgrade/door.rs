//! Owns where the command is heard: a socket without a file, named by the process, of which the kernel says who is at the other
//! end. A path of a program to start is nothing that an address of pages may take from anybody.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Ask;

/// The longest question.
const QUESTION_MOST: u64 = 16 * 1024;

/// Questions that wait to be heard.
const QUESTIONS_KEPT: usize = 4;

/// A question is one line.
const QUESTION_WITHIN: Duration = Duration::from_secs(5);

/// What the command says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Question {
    pub(super) binary: Option<String>,
    pub(super) within_ms: Option<u64>,
}

/// What it hears.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Reply {
    /// The process that serves now.
    pub(super) process: Option<u32>,
    pub(super) failed: String,
}

/// What is asked for, and where the answer goes: the process that serves now, or why there is none.
pub(crate) type Asked = (Ask, oneshot::Sender<Result<u32, String>>);

/// The name of a process's door.
pub(super) fn name(process: u32) -> String {
    format!("evenkeel-upgrade-{process}")
}

/// Opens it. What is asked comes out of what is returned.
///
/// # Errors
/// Somebody has taken the name, or the system has none without a file.
pub(crate) fn open() -> io::Result<mpsc::Receiver<Asked>> {
    let listener = bind()?;
    let (asked, questions) = mpsc::channel(QUESTIONS_KEPT);
    tokio::spawn(async move {
        while !asked.is_closed() {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(answer(stream, asked.clone()));
                }
                Err(_) => tokio::time::sleep(QUESTION_WITHIN).await,
            }
        }
    });
    Ok(questions)
}

#[cfg(target_os = "linux")]
fn bind() -> io::Result<UnixListener> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener as Listener};

    let address = SocketAddr::from_abstract_name(name(std::process::id()))?;
    let listener = Listener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

#[cfg(not(target_os = "linux"))]
fn bind() -> io::Result<UnixListener> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Who may start a process as this user: that user, and root.
fn may_ask(stream: &UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred().map(|peer| peer.uid());
    peer.is_ok_and(|uid| uid == ours || uid == 0)
}

async fn answer(mut stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let outcome = match may_ask(&stream) {
        true => match timeout(QUESTION_WITHIN, question(&mut stream)).await {
            Ok(Ok(ask)) => forward(ask, &asked).await,
            _ => Err("the question is not understood".into()),
        },
        false => Err("only root and the user of the process may upgrade it".into()),
    };
    let reply = match outcome {
        Ok(process) => Reply {
            process: Some(process),
            ..Reply::default()
        },
        Err(failed) => Reply {
            process: None,
            failed,
        },
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn forward(ask: Ask, asked: &mpsc::Sender<Asked>) -> Result<u32, String> {
    let ended = || "the process ends".to_owned();
    let (sender, outcome) = oneshot::channel();
    asked.try_send((ask, sender)).map_err(|error| match error {
        TrySendError::Full(_) => "too many ask at once".to_owned(),
        TrySendError::Closed(_) => ended(),
    })?;
    outcome.await.map_err(|_| ended())?
}

async fn question(stream: &mut UnixStream) -> io::Result<Ask> {
    let mut line = String::new();
    BufReader::new(stream.take(QUESTION_MOST))
        .read_line(&mut line)
        .await?;
    let question: Question = serde_json::from_str(&line)?;
    Ok(Ask {
        binary: question.binary.map(Into::into),
        within: question
            .within_ms
            .map_or(super::WITHIN, Duration::from_millis),
    })
}
