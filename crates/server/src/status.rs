//! Owns `status`: what a running instance says of itself.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::{json, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Its admin address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
}

pub(crate) fn status(arguments: &Arguments) -> ExitCode {
    match ask(arguments.admin) {
        Ok(answer) => match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.contains(" 200 ") => {
                say::out(&json::escaped(body));
                say::out("\n");
                ExitCode::SUCCESS
            }
            _ => {
                say::log(&format!(
                    "{} does not answer as evenkeel does",
                    arguments.admin
                ));
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            say::log(&format!("{} cannot be asked: {error}", arguments.admin));
            ExitCode::FAILURE
        }
    }
}

/// Which process it is.
///
/// # Errors
/// It cannot be asked, or does not say, in words.
pub(crate) fn process(admin: SocketAddr) -> Result<u32, String> {
    let answer = ask(admin).map_err(|error| format!("{admin} cannot be asked: {error}"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let status: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let process = status.get("process").and_then(serde_json::Value::as_u64);
    process
        .and_then(|process| u32::try_from(process).ok())
        .ok_or_else(|| format!("{admin} does not say which process it is"))
}

/// The most that is read.
const ANSWER_MOST: u64 = 64 * 1024 * 1024;

fn ask(admin: SocketAddr) -> io::Result<String> {
    let patience = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&admin, patience)?;
    stream.set_read_timeout(Some(patience))?;
    // HTTP/1.0: the answer comes as it is, and ends with the connection.
    write!(stream, "GET /v1/status HTTP/1.0\r\nHost: {admin}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_MOST).read_to_string(&mut answer)?;
    Ok(answer)
}
