//! Owns who is connected to an address of pages: how many at once, and how long without an answer. Nothing here may hold
//! descriptors that the data plane needs.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// The most connections at once, per address.
pub(crate) const MOST: usize = 64;

/// From the connection's begin, or the last bytes of an answer that it took, to the next: the whole head has to come, and the
/// answer has to be taken.
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
}

impl Counts {
    /// Connections that were refused: the address was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that were ended: no whole request came, or no answer was taken, within ten seconds.
    #[must_use]
    pub fn timed_out(&self) -> u64 {
        self.timed_out.load(Ordering::Relaxed)
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
    counts: Arc<Counts>,
}

impl Hall {
    pub(crate) fn new(socket: Socket, counts: Arc<Counts>) -> Self {
        Self {
            socket,
            places: Arc::new(Semaphore::new(MOST)),
            counts,
        }
    }

    async fn next(&self) -> io::Result<Either> {
        match &self.socket {
            Socket::Tcp(socket) => socket.accept().await.map(|(one, _)| Either::Tcp(one)),
            Socket::Unix(socket) => socket.accept().await.map(|(one, _)| Either::Unix(one)),
        }
    }
}

impl axum::serve::Listener for Hall {
    type Io = Guest<Either>;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, ()) {
        loop {
            match self.next().await {
                Ok(stream) => match self.places.clone().try_acquire_owned() {
                    Ok(place) => return (Guest::new(stream, place, self.counts.clone()), ()),
                    Err(_) => {
                        self.counts.refused.fetch_add(1, Ordering::Relaxed);
                        stream.say(FULL);
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => sleep(REST).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection of either kind.
pub(crate) enum Either {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! either {
    ($self:expr, $one:ident => $what:expr) => {
        match $self {
            Either::Tcp($one) => $what,
            Either::Unix($one) => $what,
        }
    };
}

impl Either {
    /// Says this if it can be said at once. What has come is read first: closing over it would take the answer away.
    fn say(&self, what: &[u8]) {
        let mut come = [0; 4096];
        let _ = either!(self, one => one.try_read(&mut come));
        let _ = either!(self, one => one.try_write(what));
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
/// Only what it takes of answers gives it more time: a head that comes byte by byte does not.
pub(crate) struct Guest<S> {
    stream: S,
    over: Pin<Box<Sleep>>,
    counts: Arc<Counts>,
    _place: OwnedSemaphorePermit,
}

impl<S> Guest<S> {
    fn new(stream: S, place: OwnedSemaphorePermit, counts: Arc<Counts>) -> Self {
        Self {
            stream,
            over: Box::pin(sleep(WITHIN)),
            counts,
            _place: place,
        }
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

impl<S: AsyncRead + Unpin> AsyncRead for Guest<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(cx, into);
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
