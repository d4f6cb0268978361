//! Owns asking a running instance: one request, one answer, over TCP or a Unix socket.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::inputs::variable;

/// How long an instance may take to take a request, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read.
const ANSWER_MOST: u64 = 64 * 1024 * 1024;

/// Which instance is asked.
#[derive(Args)]
pub(crate) struct At {
    /// The instance's admin address: `127.0.0.1:9900`, `http://127.0.0.1:9900` or `unix:/run/evenkeel/admin.sock`
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "EVENKEEL_ADMIN",
        hide_env_values = true,
        default_value = "127.0.0.1:9900"
    )]
    pub(crate) admin: Admin,
}

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
        let bare = text.strip_prefix("http://");
        let bare = bare.map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
        // A name that means this machine by itself (RFC 6761 section 6.3).
        let port = bare.strip_prefix("localhost:");
        let address = match port.and_then(|port| port.parse().ok()) {
            Some(port) => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
            None => bare.parse(),
        };
        let address = address.map(Self::Tcp);
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

    /// All rows of a list that comes in pages.
    ///
    /// # Errors
    /// As above; or the row that a page began behind has gone meanwhile.
    pub(crate) fn all(&self, path: &str) -> Result<Vec<Value>, String> {
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let mut page = self.ask("GET", &format!("{path}?limit=1000{after}"))?;
            let Some(items) = page["items"].as_array_mut() else {
                return Err(self.is_another());
            };
            rows.append(items);
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", part(next)),
                None => return Ok(rows),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_named_by_address_url_or_socket() {
        for (text, address) in [
            ("127.0.0.1:9900", Some("127.0.0.1:9900")),
            ("[::1]:9900", Some("[::1]:9900")),
            ("http://127.0.0.1:9900", Some("127.0.0.1:9900")),
            ("http://127.0.0.1:9900/", Some("127.0.0.1:9900")),
            ("http://localhost:1", Some("127.0.0.1:1")),
            ("localhost:1", Some("127.0.0.1:1")),
            ("unix:/run/a.sock", Some("unix:/run/a.sock")),
            ("https://127.0.0.1:9900", None),
            ("http://127.0.0.1:9900/v1", None),
            ("127.0.0.1", None),
            ("localhost:", None),
            ("", None),
        ] {
            let admin = text.parse::<Admin>().ok().map(|admin| admin.to_string());
            assert_eq!(admin.as_deref(), address, "{text}");
        }
    }
}
