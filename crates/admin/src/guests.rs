//! Owns who is connected to an address of pages: how many at once, and how long without an answer. Nothing here may hold
//! descriptors that the data plane needs.

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use evenkeel_control::Watch;
use evenkeel_control::secure::Identity;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Sleep, sleep};

use crate::contract::problem::Reason;
use crate::gate::Gate;

/// Over TLS.
mod secure;

use secure::Secure;

/// The most connections at once, per address.
pub(crate) const MOST: usize = 64;

/// From the connection's begin, or the last bytes of an answer that it took, to the next request; and from its first byte: the whole of it has to
/// come, and the answer has to be taken.
const WITHIN: Duration = Duration::from_secs(10);

/// How long accepting rests when the process has no descriptor left.
const REST: Duration = Duration::from_millis(100);

/// What is said to who comes while the address is full.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\nConnection: close\r\n\r\ntoo_many_connections\n";

/// What the addresses count, together.
#[derive(Debug, Default)]
pub struct Counts {
    refused: AtomicU64,
    timed_out: AtomicU64,
    asking: AtomicU64,
    denied: [AtomicU64; Reason::OF_THE_GATE.len()],
}

impl Counts {
    /// Connections that were refused: the address was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that have not been answered, or nothing yet.
    #[must_use]
    pub fn asking(&self) -> u64 {
        self.asking.load(Ordering::Relaxed)
    }

    /// Connections that were ended: no whole request came, or no answer was taken, within ten seconds.
    #[must_use]
    pub fn timed_out(&self) -> u64 {
        self.timed_out.load(Ordering::Relaxed)
    }
}

impl Counts {
    /// Counts a request that did not pass the gate.
    pub(crate) fn deny(&self, reason: Reason) {
        let at = Reason::OF_THE_GATE.iter().position(|one| *one == reason);
        if let Some(count) = at.and_then(|at| self.denied.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests that did not pass the gate, by the word of why.
    pub(crate) fn denied(&self) -> Vec<(&'static str, u64)> {
        let all = Reason::OF_THE_GATE.iter().zip(&self.denied);
        all.map(|(reason, count)| (reason.word(), count.load(Ordering::Relaxed)))
            .collect()
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// None: it came through a Unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// The user of the process at the other end of one.
    pub(crate) user: Option<u32>,
    /// By the certificate that it has shown, once there was a handshake.
    pub(crate) shown: Arc<OnceLock<Arc<Identity>>>,
}

/// As logs have it.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.user) {
            (Some(address), _) => address.fmt(f),
            (None, Some(user)) => write!(f, "unix:user-{user}"),
            (None, None) => f.write_str("unix"),
        }
    }
}

impl Connected<IncomingStream<'_, Hall>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Hall>) -> Self {
        stream.remote_addr().clone()
    }
}

/// What is listened on.
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An address, and its places.
pub(crate) struct Hall {
    socket: Socket,
    places: Arc<Semaphore>,
    gate: Arc<Gate>,
    watch: Watch,
    /// The gate's TLS is spoken here.
    secure: bool,
    closing: Closing,
}

/// Whether no more are to be taken: true, or its sender is gone.
pub(crate) type Closing = watch::Receiver<bool>;

/// When no more are to be taken.
pub(crate) async fn closed(mut closing: Closing) {
    let _ = closing.wait_for(|closes| *closes).await;
}

impl Hall {
    pub(crate) fn new(
        socket: Socket,
        secure: bool,
        (gate, watch): (Arc<Gate>, Watch),
        closing: Closing,
    ) -> Self {
        Self {
            closing,
            socket,
            places: Arc::new(Semaphore::new(MOST)),
            gate,
            watch,
            secure,
        }
    }

    async fn next(&self) -> io::Result<(Either, Peer)> {
        let mut peer = Peer::default();
        match &self.socket {
            Socket::Tcp(socket) => {
                let (one, address) = socket.accept().await?;
                peer.address = Some(address);
                Ok((Either::Tcp(one), peer))
            }
            Socket::Unix(socket) => {
                let (one, _) = socket.accept().await?;
                peer.user = one.peer_cred().ok().map(|user| user.uid());
                Ok((Either::Unix(one), peer))
            }
        }
    }

    /// Over TLS, if that is spoken here now.
    fn secured(&self, stream: Either, peer: &Peer) -> Either {
        let terms = self.secure.then(|| self.gate.terms(&self.watch)).flatten();
        match (stream, terms) {
            (Either::Tcp(stream), Some(terms)) => {
                Either::Tls(Secure::new(stream, terms, peer.shown.clone()))
            }
            (stream, _) => stream,
        }
    }
}

impl axum::serve::Listener for Hall {
    type Io = Guest<Either>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Peer) {
        let counts = self.gate.counts.clone();
        loop {
            let next = tokio::select! {
                biased;
                () = closed(self.closing.clone()) => pending().await,
                next = self.next() => next,
            };
            match next {
                Ok((stream, peer)) => match self.places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let stream = self.secured(stream, &peer);
                        return (Guest::new(stream, place, counts), peer);
                    }
                    Err(_) => {
                        counts.refused.fetch_add(1, Ordering::Relaxed);
                        stream.say(FULL);
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => sleep(REST).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer::default())
    }
}

/// A connection of any kind.
pub(crate) enum Either {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Secure),
}

macro_rules! either {
    ($self:expr, $one:ident => $what:expr) => {
        match $self {
            Either::Tcp($one) => $what,
            Either::Unix($one) => $what,
            Either::Tls($one) => $what,
        }
    };
}

impl Either {
    /// Says this if it can be said at once. What has come is read first: closing over it would take the answer away.
    fn say(&self, what: &[u8]) {
        let mut come = [0; 4096];
        match self {
            Self::Tcp(one) => {
                let _ = one.try_read(&mut come);
                let _ = one.try_write(what);
            }
            Self::Unix(one) => {
                let _ = one.try_read(&mut come);
                let _ = one.try_write(what);
            }
            // Who speaks TLS would not understand it.
            Self::Tls(_) => {}
        }
    }
}

impl AsyncRead for Either {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), one => Pin::new(one).poll_read(cx, into))
    }
}

impl AsyncWrite for Either {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), one => Pin::new(one).poll_write(cx, from))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), one => Pin::new(one).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), one => Pin::new(one).poll_shutdown(cx))
    }
}

/// A connection that has a place, and so long.
///
/// What it takes of answers gives it more time, and the first byte of the next request does: a head that comes byte by byte does not.
pub(crate) struct Guest<S> {
    stream: S,
    over: Pin<Box<Sleep>>,
    /// It took some of an answer, and has not asked since.
    rests: bool,
    counts: Arc<Counts>,
    _place: OwnedSemaphorePermit,
}

impl<S> Guest<S> {
    fn new(stream: S, place: OwnedSemaphorePermit, counts: Arc<Counts>) -> Self {
        counts.asking.fetch_add(1, Ordering::Relaxed);
        Self {
            stream,
            over: Box::pin(sleep(WITHIN)),
            rests: false,
            counts,
            _place: place,
        }
    }

    /// It has been answered, or asks anew.
    fn rest(&mut self, rests: bool) {
        match (std::mem::replace(&mut self.rests, rests), rests) {
            (false, true) => self.counts.asking.fetch_sub(1, Ordering::Relaxed),
            (true, false) => self.counts.asking.fetch_add(1, Ordering::Relaxed),
            _ => return,
        };
    }

    /// What came of it, unless its time is over.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.over.as_mut().poll(cx).is_ready() {
            self.counts.timed_out.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S> Drop for Guest<S> {
    fn drop(&mut self) {
        if !self.rests {
            self.counts.asking.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guest<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, into);
        if this.rests && into.filled().len() > before {
            this.rest(false);
            this.over.set(sleep(WITHIN));
        }
        this.in_time(cx, polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guest<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, from);
        if polled.is_ready() {
            this.rest(true);
            this.over.set(sleep(WITHIN));
        }
        this.in_time(cx, polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.in_time(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.in_time(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{advance, timeout};

    use super::*;

    fn guest() -> (Guest<DuplexStream>, DuplexStream, Arc<Counts>) {
        let (here, there) = duplex(8);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let counts = Arc::new(Counts::default());
        (Guest::new(here, place, counts.clone()), there, counts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_byte_by_byte_does_not_come_for_ever() {
        let (mut guest, mut there, counts) = guest();
        for _ in 0..9 {
            there.write_all(b"a").await.unwrap();
            assert_eq!(guest.read_u8().await.unwrap(), b'a');
            advance(Duration::from_secs(1)).await;
        }
        // Its time runs from its begin: a second is left.
        let left = timeout(Duration::from_millis(1001), guest.read_u8()).await;
        let error = left.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(counts.timed_out(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_comes_late_has_its_whole_time() {
        let (mut guest, mut there, counts) = guest();
        guest.write_all(b"answer").await.unwrap();
        advance(Duration::from_secs(9)).await;
        there.write_all(b"a").await.unwrap();
        assert_eq!(guest.read_u8().await.unwrap(), b'a');
        // Its answer takes nine seconds; what else comes of it meanwhile gives it no more.
        advance(Duration::from_secs(9)).await;
        there.write_all(b"b").await.unwrap();
        assert_eq!(guest.read_u8().await.unwrap(), b'b');
        let left = timeout(Duration::from_millis(1001), guest.read_u8()).await;
        let error = left.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(counts.timed_out(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_gives_time_for_the_next_request_and_one_that_is_not_taken_does_not() {
        let (mut guest, mut there, counts) = guest();
        advance(Duration::from_secs(9)).await;
        guest.write_all(b"answer").await.unwrap();
        advance(Duration::from_secs(9)).await;
        there.write_all(b"b").await.unwrap();
        assert_eq!(guest.read_u8().await.unwrap(), b'b');
        assert_eq!(counts.timed_out(), 0);
        let error = guest.write_all(b"too much").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(counts.timed_out(), 1);
    }
}
