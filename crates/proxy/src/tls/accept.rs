//! Owns the handshake with a client: within its deadline, not too many at once, every failure counted by its reason.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::fault::Fault;
use super::places::Under;
use super::secured::{Secured, Version};
use super::sock::TlsSock;
use crate::connection::{CLOSING, Door, Held};
use crate::deadline::Deadline;
use crate::net::Net;
use crate::sock::Sock;
use crate::worker::Worker;

/// What one read takes of a client's first words; a hello with a key of ML-KEM has 1,800 bytes.
pub(super) const FIRST: usize = 4096;

/// How long a client that speaks plain HTTP has to take its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A listener's handshakes; all workers write them.
#[derive(Debug)]
pub struct Handshakes {
    /// Under way now; clients that have said nothing are not counted.
    pub(super) open: AtomicUsize,
    /// That ended well, by version.
    done: [AtomicU64; 2],
    /// Of these, without a whole handshake.
    resumed: AtomicU64,
    /// That failed, at the fault's number.
    failed: [AtomicU64; Fault::ALL.len()],
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            open: AtomicUsize::new(0),
            done: Default::default(),
            resumed: AtomicU64::new(0),
            failed: [const { AtomicU64::new(0) }; Fault::ALL.len()],
        }
    }
}

impl Handshakes {
    fn done(&self, secured: &Secured) {
        let version = match secured.version {
            Version::Tls12 => 0,
            Version::Tls13 => 1,
        };
        self.done[version].fetch_add(1, Ordering::Relaxed);
        if secured.resumed {
            self.resumed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A place is free again.
    pub(super) fn left(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn failed(&self, fault: Fault) {
        self.failed[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Those under way now, from the first byte on.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Those that ended well, by version; those that never did are left out.
    #[must_use]
    pub fn by_version(&self) -> Vec<(&'static str, u64)> {
        let counts = self.done.iter().map(|count| count.load(Ordering::Relaxed));
        let words = [Version::Tls12, Version::Tls13].map(Version::word);
        let all = words.into_iter().zip(counts);
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Those that ended well and were short.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Those that failed, by the word of the fault; those that never did are left out.
    #[must_use]
    pub fn by_fault(&self) -> Vec<(&'static str, u64)> {
        let counts = self
            .failed
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let all = Fault::ALL.iter().map(|fault| fault.word()).zip(counts);
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// Makes the handshake with a client, of whom `first` has come already. None: it failed, which is counted, and the connection has ended.
pub(crate) async fn handshake<N: Net, S: Sock>(
    worker: &Worker<N>,
    door: &Door,
    held: Held,
    sock: S,
    first: Vec<u8>,
) -> Option<TlsSock<S>> {
    let state = door.state();
    match made(worker, door, held, sock, first).await {
        Ok(sock) => {
            if let Some(secured) = sock.secured() {
                state.handshakes.done(secured);
            }
            Some(sock)
        }
        Err(fault) => {
            state.handshakes.failed(fault);
            None
        }
    }
}

async fn made<N: Net, S: Sock>(
    worker: &Worker<N>,
    door: &Door,
    held: Held,
    mut sock: S,
    mut first: Vec<u8>,
) -> Result<TlsSock<S>, Fault> {
    let deadline = worker.deadlines.slot();
    let within = match is_closing(worker, door) {
        true => held.within.min(CLOSING),
        false => held.within,
    };
    // Where descriptors lack, who has said nothing for longest makes place.
    deadline.set_idle(worker.now(), within);
    while first.is_empty() {
        let poll_late = |cx: &Context<'_>| poll_late(cx, worker, door, &deadline);
        poll_fn(|cx| poll_more(cx, &mut sock, &mut first, poll_late)).await?;
    }
    let Some(under) = Under::take(door, held.most, &deadline, worker.now()) else {
        turn_away(sock).await;
        return Err(Fault::TooMany);
    };
    // On the heap: who says nothing needs no room for it.
    let made = Box::pin(make(worker, door, &deadline, &under, held, sock, first)).await;
    made.map_err(|fault| match fault {
        Fault::Timeout if under.is_lost() => Fault::TooMany,
        fault => fault,
    })
}

/// Reads what comes next of a client's first words.
fn poll_more<S: Sock>(
    cx: &mut Context<'_>,
    sock: &mut S,
    first: &mut Vec<u8>,
    poll_late: impl Fn(&Context<'_>) -> Poll<()>,
) -> Poll<Result<(), Fault>> {
    let mut more = [0; FIRST];
    match sock.poll_read(cx, &mut more) {
        Poll::Ready(Ok(length)) if length > 0 => {
            first.extend_from_slice(&more[..length]);
            Poll::Ready(Ok(()))
        }
        Poll::Ready(_) => Poll::Ready(Err(Fault::PeerLeft)),
        Poll::Pending => poll_late(cx).map(|()| Err(Fault::Timeout)),
    }
}

/// A fatal alert that nobody has sealed: `internal_error` (RFC 8446 section 6.2), as there is none for who is busy.
const BUSY: &[u8] = &[0x15, 3, 3, 0, 2, 2, 80];

/// Tells a client that it is one too many, as far as that needs no waiting.
async fn turn_away<S: Sock>(mut sock: S) {
    poll_fn(|cx| {
        // Before it is read from: one that has just come is waited for from then on, by both.
        let _ = sock.poll_write(cx, BUSY);
        // What has come and is not read makes an end a cut, which may overtake the alert.
        let _ = sock.poll_read(cx, &mut [0; FIRST]);
        let _ = sock.poll_shutdown(cx);
        Poll::Ready(())
    })
    .await;
}

async fn make<N: Net, S: Sock>(
    worker: &Worker<N>,
    door: &Door,
    deadline: &Deadline,
    under: &Under<'_>,
    held: Held,
    mut sock: S,
    mut first: Vec<u8>,
) -> Result<TlsSock<S>, Fault> {
    let poll_late = |cx: &Context<'_>| poll_late(cx, worker, door, deadline);
    let terms = held.terms.ok_or(Fault::NoCertificate)?;
    while may_be_http(&first) {
        poll_fn(|cx| poll_more(cx, &mut sock, &mut first, poll_late)).await?;
    }
    if terms.speaks_http() && is_http(&first) {
        deadline.set(worker.now() + ANSWER_WITHIN);
        poll_fn(|cx| match poll_answer(cx, &mut sock) {
            Poll::Pending => deadline.poll_passed(cx),
            Poll::Ready(()) => Poll::Ready(()),
        })
        .await;
        return Err(Fault::PlainHttp);
    }
    let mut sock = terms.begin(sock, first)?;
    poll_fn(|cx| match sock.poll_handshake(cx) {
        Poll::Pending => {
            if sock.has_heard() {
                under.answered();
            }
            poll_late(cx).map(|()| Err(Fault::Timeout))
        }
        made => made,
    })
    .await?;
    Ok(sock)
}

pub(crate) fn is_closing<N: Net>(worker: &Worker<N>, door: &Door) -> bool {
    worker.is_closing() || door.is_closing()
}

/// Ready once a handshake has no time left: one whose listener closes is waited for as a first request is, no longer.
pub(crate) fn poll_late<N: Net>(
    cx: &Context<'_>,
    worker: &Worker<N>,
    door: &Door,
    deadline: &Deadline,
) -> Poll<()> {
    ready!(deadline.poll_passed(cx));
    if deadline.is_due(worker.now()) {
        return Poll::Ready(());
    }
    // Woken to look whether its listener closes.
    match is_closing(worker, door) {
        true => deadline.bring_forward(worker.now() + CLOSING),
        false => deadline.resume(),
    }
    deadline.poll_passed(cx)
}

/// The longest method that is taken for one.
const METHOD_MOST: usize = 16;

/// Whether more has to come before it is known what a client speaks: what came is a part of a method.
fn may_be_http(first: &[u8]) -> bool {
    first.len() <= METHOD_MOST && first.iter().all(u8::is_ascii_uppercase)
}

/// Whether a client's first words are a request line rather than a record of TLS, whose first byte is a number.
fn is_http(first: &[u8]) -> bool {
    let method = first.iter().take_while(|byte| byte.is_ascii_uppercase());
    let length = method.count();
    (3..=METHOD_MOST).contains(&length) && first.get(length) == Some(&b' ')
}

/// What a client hears that speaks plain HTTP here.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 55\r\nConnection: close\r\n\r\n400 Bad Request: this port speaks HTTPS, not plain HTTP";

fn poll_answer<S: Sock>(cx: &mut Context<'_>, sock: &mut S) -> Poll<()> {
    // Nothing was written before: it fits, or the client is gone.
    match sock.poll_write(cx, PLAIN) {
        Poll::Ready(_) => sock.poll_shutdown(cx).map(|_| ()),
        Poll::Pending => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_told_from_tls() {
        for (first, http) in [
            (&b"GET / HTTP/1.1\r\n"[..], true),
            (b"OPTIONS * HTTP/1.1\r\n", true),
            (b"\x16\x03\x01\x02\x00\x01", false),
            (b"get / HTTP/1.1\r\n", false),
            (b"GE", false),
            (b"", false),
        ] {
            assert_eq!(is_http(first), http, "{first:?}");
            assert!(!http || !may_be_http(first), "{first:?}");
        }
        for (first, more) in [
            (&b""[..], true),
            (b"G", true),
            (b"OPTIONS", true),
            (b"GET ", false),
            (b"GETS/", false),
            (b"AAAAAAAAAAAAAAAAA", false),
            (b"\x16", false),
        ] {
            assert_eq!(may_be_http(first), more, "{first:?}");
        }
    }

    #[test]
    fn the_answer_to_plain_http_has_the_length_that_it_says() {
        let text = std::str::from_utf8(PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
