//! Owns what the engine asks of the world: connections to backends, and time. The operating system's answer is `OsNet`; a
//! simulation brings its own.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{BackendAddress, UpstreamPlan};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::clock::{Clock, since_1970};
use crate::sock::Sock;
use crate::sock::os::OsSock;

/// The world of one worker.
pub trait Net: 'static {
    /// What connections are.
    type Sock: Sock + 'static;

    /// Connects to a backend. Dropping the future gives up.
    fn connect(
        &self,
        to: &BackendAddress,
        how: &UpstreamPlan,
    ) -> impl Future<Output = io::Result<Self::Sock>>;

    /// The time.
    fn now(&self) -> Instant;

    /// Time since 1970, for the dates that answers carry. Nothing is decided by it.
    fn since_1970(&self) -> Duration;
}

/// The operating system.
#[derive(Clone, Copy, Debug)]
pub struct OsNet {
    clock: Clock,
}

impl OsNet {
    /// A world whose time began at `clock`.
    #[must_use]
    pub const fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl Net for OsNet {
    type Sock = OsSock;

    async fn connect(&self, to: &BackendAddress, how: &UpstreamPlan) -> io::Result<OsSock> {
        match to {
            BackendAddress::Tcp(address) => connect_tcp(*address, how).await.map(OsSock::Tcp),
            BackendAddress::Unix(path) => UnixStream::connect(path).await.map(OsSock::Unix),
            BackendAddress::Name(name, port) => {
                let found = tokio::net::lookup_host((&**name, port.get())).await?;
                happy_eyeballs(interleaved(found), how)
                    .await
                    .map(OsSock::Tcp)
            }
        }
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn since_1970(&self) -> Duration {
        since_1970()
    }
}

async fn connect_tcp(address: SocketAddr, how: &UpstreamPlan) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = how.source {
        let same_family = source.is_ipv4() == address.is_ipv4();
        if !same_family {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the source address is of the other family",
            ));
        }
        socket.bind(SocketAddr::new(source, 0))?;
    }
    if let Some(after) = how.keepalive {
        let probes = TcpKeepalive::new().with_time(after);
        SockRef::from(&socket).set_tcp_keepalive(&probes)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Addresses of both families by turns, beginning with the resolver's first (RFC 8305 section 4).
fn interleaved(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let (mut first, mut second): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for address in found.take(ADDRESSES_MOST) {
        let like_first = first
            .first()
            .is_none_or(|one: &SocketAddr| one.is_ipv4() == address.is_ipv4());
        if like_first {
            first.push(address);
        } else {
            second.push(address);
        }
    }
    let longest = first.len().max(second.len());
    (0..longest)
        .flat_map(|at| [first.get(at).copied(), second.get(at).copied()])
        .flatten()
        .collect()
}

/// The most addresses of a name that are tried.
const ADDRESSES_MOST: usize = 8;

/// How long one address has before the next is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Tries one address after another, each beside those before it, and takes the first connection.
async fn happy_eyeballs(addresses: Vec<SocketAddr>, how: &UpstreamPlan) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut tries: Vec<Pin<Box<dyn Future<Output = io::Result<TcpStream>> + '_>>> = Vec::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut pause = Box::pin(tokio::time::sleep(Duration::ZERO));
    poll_fn(|cx| {
        loop {
            let mut at = 0;
            while at < tries.len() {
                match tries[at].as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        last = error;
                        drop(tries.swap_remove(at));
                    }
                    Poll::Pending => at += 1,
                }
            }
            if !tries.is_empty() && pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match waiting.next() {
                Some(address) => {
                    tries.push(Box::pin(connect_tcp(address, how)));
                    pause.set(tokio::time::sleep(HEAD_START));
                }
                None if tries.is_empty() => {
                    let error = std::mem::replace(&mut last, io::ErrorKind::Other.into());
                    return Poll::Ready(Err(error));
                }
                None => {
                    // Nothing is left to begin; those under way wake us.
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}
