//! Owns `upgrade`, the command: finds the process, asks it, and says what came of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::door::{Question, Reply, name};
use crate::client::Address;
use crate::{say, status};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Its admin address, which says which process it is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    admin: Address,
    /// The process itself, where it has no such address
    #[arg(long, value_name = "ID", conflicts_with = "admin")]
    pid: Option<u32>,
    /// Another binary than the one that it was started with
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Seconds until the new process must serve
    #[arg(long, value_name = "SECONDS", default_value_t = super::WITHIN.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3600))]
    within: u64,
}

/// Beside the time that the new process has.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) fn upgrade(arguments: &Arguments) -> ExitCode {
    let process = arguments
        .pid
        .map_or_else(|| status::process(&arguments.admin.clone().into()), Ok);
    match process.and_then(|process| Ok((process, ask(process, arguments)?))) {
        Ok((before, now)) => {
            say::out(&format!(
                "upgraded: process {now} serves, process {before} drains\n"
            ));
            ExitCode::SUCCESS
        }
        Err(why) => {
            say::log(&format!("not upgraded: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn ask(process: u32, arguments: &Arguments) -> Result<u32, String> {
    let said = |error: std::io::Error| format!("process {process} cannot be asked: {error}");
    let absolute = |path: &PathBuf| {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        text(&path)
    };
    let question = Question {
        binary: arguments.binary.as_ref().map(absolute).transpose()?,
        within_ms: Some(arguments.within * 1000),
    };
    let stream = connect(process).map_err(said)?;
    let patience = Duration::from_secs(arguments.within) + GRACE;
    stream.set_read_timeout(Some(patience)).map_err(said)?;
    let mut line = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
    line.push(b'\n');
    // Who is refused is told so before it has asked.
    let _ = (&stream).write_all(&line);
    let mut answer = String::new();
    let mut from = BufReader::new((&stream).take(1024 * 1024));
    from.read_line(&mut answer).map_err(said)?;
    let reply: Reply = serde_json::from_str(&answer)
        .map_err(|_| format!("process {process} ended, or does not answer as evenkeel does"))?;
    reply.process.ok_or(reply.failed)
}

fn text(path: &Path) -> Result<String, String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| "the path of the binary is no text".into())
}

/// Nobody else than the process itself may answer by its name.
#[cfg(target_os = "linux")]
fn connect(process: u32) -> std::io::Result<UnixStream> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name(process))?)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    match u32::try_from(peer.pid.as_raw_nonzero().get()) == Ok(process) {
        true => Ok(stream),
        false => Err(std::io::Error::other("another process has its name")),
    }
}

#[cfg(not(target_os = "linux"))]
fn connect(_: u32) -> std::io::Result<UnixStream> {
    Err(std::io::Error::other("here it hears SIGUSR2 alone"))
}
