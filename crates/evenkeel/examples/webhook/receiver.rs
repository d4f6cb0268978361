//! Owns the other side: endpoints on free ports that check signatures, are busy, or never answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::{Failure, clock, signature};

/// An endpoint; dropping it closes the port.
pub(crate) struct Receiver {
    pub(crate) address: String,
    verified: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Takes what is signed with `secret`, answers 401 to all else.
    pub(crate) async fn well(secret: &'static [u8]) -> Result<Self, Failure> {
        Self::new(secret, false).await
    }

    /// The same, but the first is told to come back in a second.
    pub(crate) async fn busy_once(secret: &'static [u8]) -> Result<Self, Failure> {
        Self::new(secret, true).await
    }

    async fn new(secret: &'static [u8], mut busy: bool) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let verified = Arc::new(AtomicU32::new(0));
        let counts = verified.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // What one client does must not end the endpoint.
                if let Ok(true) = answer(stream, secret, busy).await {
                    counts.fetch_add(1, Ordering::Relaxed);
                }
                busy = false;
            }
        });
        Ok(Self {
            address,
            verified,
            task,
        })
    }

    /// Takes connections and never answers.
    pub(crate) async fn hung() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.push(stream);
            }
        });
        Ok(Self {
            address,
            verified: Arc::default(),
            task,
        })
    }

    /// How many it has taken.
    pub(crate) fn verified(&self) -> u32 {
        self.verified.load(Ordering::Relaxed)
    }
}

/// Where nobody listens.
pub(crate) async fn closed_port() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    Ok(listener.local_addr()?.to_string())
}

/// Reads one request and answers it. Whether it was verified.
async fn answer(stream: TcpStream, secret: &[u8], busy: bool) -> Result<bool, Failure> {
    let mut stream = BufReader::new(stream);
    let (mut length, mut signed) = (0, String::new());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            signature::FIELD => value.clone_into(&mut signed),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body)?;
    let verified = signature::holds(secret, &signed, &body, clock::unix_seconds());
    let head = match (busy, verified) {
        (true, _) => "503 Service Unavailable\r\nRetry-After: 1",
        (false, true) => "204 No Content",
        (false, false) => "401 Unauthorized\r\nContent-Length: 0",
    };
    let answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    Ok(verified && !busy)
}
