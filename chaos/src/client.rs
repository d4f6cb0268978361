//! Owns one exchange as a client sees it, and its class: answered, or failed in which way.
//!
//! A body that is short is told from one that looks whole but is not. A kept connection that ended before the first byte of an
//! answer is tried once more, as clients do (RFC 9112 section 9.3.1), and counted: it may hide a balancer that cuts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock::Start;
use crate::wire;

/// Largest head of an answer.
const HEAD_MOST: usize = 64 * 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) post: Option<usize>,
    pub(crate) size: usize,
    pub(crate) chunked: bool,
}

impl Kind {
    /// The least that can be asked for.
    pub(crate) const SMALL: Self = Self::get(13);

    const fn get(size: usize) -> Self {
        Self {
            post: None,
            size,
            chunked: false,
        }
    }

    /// Drawn by its share of a hundred: mostly small, some large, so that something is always within an answer.
    pub(crate) fn drawn(chance: u8) -> Self {
        match chance {
            0..=77 => Self::SMALL,
            78..=83 => Self::get(64 * 1024),
            84..=86 => Self::get(1024 * 1024),
            87..=89 => Self {
                chunked: true,
                ..Self::get(64 * 1024)
            },
            90..=96 => Self {
                post: Some(4 * 1024),
                ..Self::SMALL
            },
            _ => Self {
                post: Some(64 * 1024),
                ..Self::SMALL
            },
        }
    }

    /// May it be sent twice?
    pub(crate) fn is_idempotent(self) -> bool {
        self.post.is_none()
    }

    fn bytes(self) -> Vec<u8> {
        let place = if self.chunked { "c" } else { "g" };
        let (method, field) = match self.post {
            None => ("GET", String::new()),
            Some(length) => ("POST", format!("Content-Length: {length}\r\n")),
        };
        let head = format!(
            "{method} /{place}/{} HTTP/1.1\r\nHost: chaos.example\r\n{field}\r\n",
            self.size
        );
        let mut bytes = head.into_bytes();
        bytes.resize(bytes.len() + self.post.unwrap_or(0), wire::FILL);
        bytes
    }
}

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// With 200, whole and right.
    Answered,
    /// No connection was made.
    Refused,
    /// The connection ended before the first byte of an answer.
    ResetBefore,
    /// It ended within an answer, and could be seen to.
    Cut,
    /// Nothing came within the deadline.
    Timeout,
    /// The deadline passed within an answer.
    TimeoutWithin,
    /// The balancer's own answer, with its reason.
    Own(u16, String),
    /// A backend's status, handed on.
    Backend(u16),
    /// It looked whole and was not.
    Wrong,
    /// So many were open already that this program sent no more.
    NotSent,
}

impl Class {
    /// An answer had begun: it may be cut, but visibly.
    pub(crate) fn had_begun(&self) -> bool {
        matches!(self, Self::Cut | Self::TimeoutWithin)
    }

    pub(crate) fn word(&self) -> String {
        match self {
            Self::Answered => "answered".into(),
            Self::Refused => "refused".into(),
            Self::ResetBefore => "reset before the first byte".into(),
            Self::Cut => "cut within".into(),
            Self::Timeout => "timeout".into(),
            Self::TimeoutWithin => "timeout within".into(),
            Self::Own(status, reason) => format!("{status} {reason}"),
            Self::Backend(status) => format!("{status} of a backend"),
            Self::Wrong => "WRONG: looked whole".into(),
            Self::NotSent => "not sent".into(),
        }
    }
}

/// One connection and what was read beyond the last answer.
pub(crate) struct Conn {
    stream: TcpStream,
    held: Vec<u8>,
}

impl Conn {
    /// To the first of these that takes it.
    pub(crate) async fn open(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let held = Vec::new();
                    return Ok(Self { stream, held });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether the other end has closed it, or says what nobody asked for.
    pub(crate) fn has_ended(&self) -> bool {
        let mut one = [0];
        !matches!(self.stream.try_read(&mut one), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// What came of one try on one connection.
pub(crate) struct Came {
    pub(crate) class: Class,
    /// The connection, where it can carry another exchange.
    pub(crate) conn: Option<Conn>,
}

/// Sends a request and reads its answer. `at` becomes when the head was there.
pub(crate) async fn exchange(
    mut conn: Conn,
    kind: Kind,
    start: Start,
    at: &mut Option<Duration>,
) -> Came {
    // A balancer may answer before it has read a body, and close: what it answered counts.
    let sent = conn.stream.write_all(&kind.bytes()).await;
    let head = wire::head(&mut conn.stream, &mut conn.held, HEAD_MOST).await;
    let Ok(Some(head)) = head else {
        let class = match conn.held.is_empty() {
            true => Class::ResetBefore,
            false => Class::Cut,
        };
        return Came { class, conn: None };
    };
    *at = Some(start.passed());
    let mut body = Vec::new();
    let whole = read_body(&mut conn, &head, &mut body).await;
    let class = match whole {
        Err(_) => Class::Cut,
        Ok(()) => class_of(&head, &body, kind),
    };
    let closes = wire::field(&head, "connection").is_some_and(|value| value == "close");
    let keeps = whole.is_ok() && sent.is_ok() && !closes && conn.held.is_empty();
    Came {
        class,
        conn: keeps.then_some(conn),
    }
}

fn class_of(head: &str, body: &[u8], kind: Kind) -> Class {
    let status = wire::status(head);
    let from_backend = wire::field(head, "x-from").is_some();
    match (status, from_backend) {
        (200, true) if body.len() == kind.size && body.iter().all(|byte| *byte == wire::FILL) => {
            Class::Answered
        }
        (200, _) => Class::Wrong,
        (_, true) => Class::Backend(status),
        (_, false) => {
            let text = String::from_utf8_lossy(body);
            let reason = text.lines().next().and_then(|line| line.rsplit_once(": "));
            let reason = reason.map_or("", |(_, word)| word);
            Class::Own(status, reason.to_owned())
        }
    }
}

/// Reads a body to the end that its framing says. An error: it broke off.
async fn read_body(conn: &mut Conn, head: &str, body: &mut Vec<u8>) -> io::Result<()> {
    if wire::field(head, "transfer-encoding").is_some() {
        loop {
            let line = conn.line().await?;
            let size = usize::from_str_radix(line.trim(), 16)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if size == 0 {
                while !conn.line().await?.trim().is_empty() {}
                return Ok(());
            }
            conn.take(size, body).await?;
            conn.line().await?;
        }
    }
    if let Some(length) = wire::field(head, "content-length") {
        let length = length
            .parse()
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        return conn.take(length, body).await;
    }
    body.append(&mut conn.held);
    conn.stream.read_to_end(body).await?;
    Ok(())
}

impl Conn {
    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.held).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, mut count: usize, to: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let had = count.min(self.held.len());
            to.extend(self.held.drain(..had));
            count -= had;
            if count == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server writes before it closes, and what that is to a client who asked for 13 bytes.
    fn check(written: &str, class: &Class) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let seen = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                wire::head(&mut stream, &mut Vec::new(), HEAD_MOST)
                    .await
                    .unwrap();
                stream.write_all(written.as_bytes()).await.unwrap();
            };
            let ask = async {
                let conn = Conn::open(&[address]).await.unwrap();
                exchange(conn, Kind::get(13), Start::now(), &mut None).await
            };
            tokio::join!(serve, ask).1.class
        });
        assert_eq!(&seen, class, "{written:?}");
    }

    #[test]
    fn what_is_seen_has_its_class() {
        let own = |status, reason: &str| Class::Own(status, reason.to_owned());
        for (written, class) in [
            (
                "HTTP/1.1 200 So\r\nX-From: b\r\nContent-Length: 13\r\n\r\nkkkkkkkkkkkkk",
                Class::Answered,
            ),
            (
                "HTTP/1.1 200 So\r\nX-From: b\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nkkkkkkkkkkkkk\r\n0\r\n\r\n",
                Class::Answered,
            ),
            // Breaks off, and says so.
            (
                "HTTP/1.1 200 So\r\nX-From: b\r\nContent-Length: 13\r\n\r\nkkkkkkkkkkkk",
                Class::Cut,
            ),
            (
                "HTTP/1.1 200 So\r\nX-From: b\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nkkkkkkkkkkkkk\r\n",
                Class::Cut,
            ),
            ("HTTP/1.1 200 So\r\nX-Fr", Class::Cut),
            ("", Class::ResetBefore),
            // Looks whole and is not.
            (
                "HTTP/1.1 200 So\r\nX-From: b\r\nContent-Length: 12\r\n\r\nkkkkkkkkkkkk",
                Class::Wrong,
            ),
            (
                "HTTP/1.1 200 So\r\nX-From: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                Class::Wrong,
            ),
            (
                "HTTP/1.1 200 So\r\nX-From: b\r\nContent-Length: 13\r\n\r\nkkkkkkkkkkkkx",
                Class::Wrong,
            ),
            ("HTTP/1.1 200 So\r\nX-From: b\r\n\r\nkkkk", Class::Wrong),
            // Whose answer it is.
            (
                "HTTP/1.1 503 So\r\nX-From: b\r\nContent-Length: 1\r\n\r\nk",
                Class::Backend(503),
            ),
            (
                "HTTP/1.1 503 So\r\nContent-Length: 18\r\n\r\n503 So: all_down\r\n",
                own(503, "all_down"),
            ),
            (
                "HTTP/1.1 502 So\r\nContent-Length: 4\r\n\r\nfrom",
                own(502, ""),
            ),
        ] {
            check(written, &class);
        }
    }
}
