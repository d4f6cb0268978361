//! Owns the other side: endpoints on free ports that check signatures, take nothing twice, are busy, or never answer.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::{Failure, clock, signature};

/// So many ids are remembered: more than come while a signature is fresh.
const REMEMBERED: usize = 1_000;

/// An endpoint; dropping it closes the port.
pub(crate) struct Receiver {
    pub(crate) address: String,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    taken: AtomicU32,
    again: AtomicU32,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What becomes of the first delivery.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Answered,
    /// Told to come back in a second, and to sign that anew.
    Busy,
    /// Taken, but the connection breaks before the answer.
    Unanswered,
}

impl Receiver {
    /// Takes what is signed with `secret`, answers 401 to all else.
    pub(crate) async fn well(secret: &'static [u8]) -> Result<Self, Failure> {
        Self::new(secret, First::Answered).await
    }

    /// The same, but the first is told to come back in a second.
    pub(crate) async fn busy_once(secret: &'static [u8]) -> Result<Self, Failure> {
        Self::new(secret, First::Busy).await
    }

    /// The same, but the answer to the first, which it took, is lost.
    pub(crate) async fn loses_the_first_answer(secret: &'static [u8]) -> Result<Self, Failure> {
        Self::new(secret, First::Unanswered).await
    }

    async fn new(secret: &'static [u8], first: First) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let counts = Arc::<Counts>::default();
        let mut endpoint = Endpoint {
            secret,
            first,
            ids: HashSet::new(),
            oldest: VecDeque::new(),
            stale: None,
            counts: counts.clone(),
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // What one client does must not end the endpoint.
                let _ = endpoint.serve(stream).await;
            }
        });
        Ok(Self {
            address,
            counts,
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
            counts: Arc::default(),
            task,
        })
    }

    /// How many it has taken, each once.
    pub(crate) fn taken(&self) -> u32 {
        self.counts.taken.load(Ordering::Relaxed)
    }

    /// How many came that it had taken before.
    pub(crate) fn again(&self) -> u32 {
        self.counts.again.load(Ordering::Relaxed)
    }
}

/// Where nobody listens: a port that is given to nobody who asks for any.
pub(crate) const CLOSED: &str = "127.0.0.1:1";

struct Endpoint {
    secret: &'static [u8],
    first: First,
    ids: HashSet<String>,
    oldest: VecDeque<String>,
    /// The signature that it was shown when it was busy: a second later it is stale.
    stale: Option<String>,
    counts: Arc<Counts>,
}

impl Endpoint {
    /// Reads one request and answers it.
    async fn serve(&mut self, stream: TcpStream) -> Result<(), Failure> {
        let mut stream = BufReader::new(stream);
        let delivery = Delivery::read(&mut stream).await?;
        let first = std::mem::replace(&mut self.first, First::Answered);
        let is_stale = self.stale.as_ref() == Some(&delivery.signed);
        let head = if first == First::Busy {
            self.stale = Some(delivery.signed);
            "503 Service Unavailable\r\nRetry-After: 1"
        } else if !is_stale && delivery.holds(self.secret) {
            self.take(delivery.id);
            "204 No Content"
        } else {
            "401 Unauthorized\r\nContent-Length: 0"
        };
        if first == First::Unanswered {
            return Ok(());
        }
        let answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        Ok(stream.write_all(answer.as_bytes()).await?)
    }

    /// Takes it unless it was taken before.
    fn take(&mut self, id: String) {
        if !self.ids.insert(id.clone()) {
            self.counts.again.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.counts.taken.fetch_add(1, Ordering::Relaxed);
        self.oldest.push_back(id);
        if self.oldest.len() > REMEMBERED
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[derive(Default)]
struct Delivery {
    id: String,
    signed: String,
    body: String,
}

impl Delivery {
    async fn read(stream: &mut BufReader<TcpStream>) -> Result<Self, Failure> {
        let (mut delivery, mut length) = (Self::default(), 0);
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
                signature::ID => value.clone_into(&mut delivery.id),
                signature::FIELD => value.clone_into(&mut delivery.signed),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        delivery.body = String::from_utf8(body)?;
        Ok(delivery)
    }

    fn holds(&self, secret: &[u8]) -> bool {
        let Self { id, signed, body } = self;
        signature::holds(secret, signed, id, body, clock::unix_seconds())
    }
}
