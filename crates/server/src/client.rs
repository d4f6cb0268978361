//! Owns asking a running instance: one request, one answer, over TCP or a Unix socket.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use crate::inputs::variable;

/// How long an instance may take to take a request, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read.
const ANSWER_MOST: u64 = 64 * 1024 * 1024;

/// An admin address.
#[derive(Clone, Debug)]
pub(crate) enum Admin {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let address = text.parse().map(Self::Tcp);
        address
            .map_err(|_| "write it as `127.0.0.1:9900` or `unix:/run/evenkeel/admin.sock`".into())
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Admin {
    /// Asks for a page, or for a change.
    ///
    /// # Errors
    /// What went wrong, in words: nobody answers, or the answer is a refusal.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Result<Value, String> {
        let body = self.ask_for_text(method, path)?;
        serde_json::from_str(&body).map_err(|_| self.is_another())
    }

    fn is_another(&self) -> String {
        format!("{self} does not answer as evenkeel does")
    }

    /// The same, as it came.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn ask_for_text(&self, method: &str, path: &str) -> Result<String, String> {
        let answer = self.exchange(method, path);
        let answer = answer.map_err(|error| {
            // As the system puts it, a deadline is a resource that is not there.
            let why = match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    format!("no answer within {PATIENCE:?}")
                }
                _ => error.to_string(),
            };
            format!("{self} cannot be asked: {why}; is it the admin address of a running instance?")
        })?;
        let other = || self.is_another();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(other)?;
        let status = head.split(' ').nth(1).ok_or_else(other)?;
        if status == "200" {
            return Ok(body.to_owned());
        }
        let value: Value = serde_json::from_str(body).map_err(|_| other())?;
        Err(value["detail"].as_str().map_or_else(other, str::to_owned))
    }

    fn exchange(&self, method: &str, path: &str) -> io::Result<String> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                talk(stream, method, path, &address.to_string())
            }
            Self::Unix(socket) => {
                let stream = UnixStream::connect(socket)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                talk(stream, method, path, "localhost")
            }
        }
    }
}

/// Where a token is that says who asks: on the command line all users of the machine would see it.
const TOKEN: &str = "EVENKEEL_TOKEN";

/// HTTP/1.0: the answer comes as it is, and ends with the connection.
fn talk(mut stream: impl Read + Write, method: &str, path: &str, host: &str) -> io::Result<String> {
    let token = variable(TOKEN).and_then(|token| token.into_string().ok());
    let graphic = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
    let token = token
        .filter(graphic)
        .map(|token| format!("Authorization: Bearer {token}\r\n"));
    write!(
        stream,
        // What the command line asks for is meant whichever revision runs.
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nX-Evenkeel: {}\r\nIf-Match: *\r\n{}Content-Length: 0\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
        token.unwrap_or_default(),
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

/// A name as one part of a path.
pub(crate) fn part(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
