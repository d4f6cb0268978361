//! Owns what the engine asks of the world: connections to backends, and time. The operating system's answer is `OsNet`; a
//! simulation brings its own.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{BackendAddress, UpstreamPlan};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::clock::{Clock, since_1970};
use crate::sock::Sock;
use crate::sock::os::OsSock;
use crate::tls::channel::Channel;
use crate::tls::upstream::Towards;

/// The world of one worker.
pub trait Net: 'static {
    /// What connections are.
    type Sock: Sock + 'static;

    /// Connects to a backend, over TLS if that is planned; `towards` is what it is held to then. `first` goes before anything else,
    /// TLS too, and is often nothing. Dropping the future gives up.
    fn connect(
        &self,
        to: &BackendAddress,
        how: &UpstreamPlan,
        towards: Option<&Towards>,
        first: &[u8],
    ) -> impl Future<Output = io::Result<Self::Sock>>;

    /// Runs a task beside the others of this worker, until it ends.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Wakes the task that asks once the others had their turns, and those too whom the system has something for by then.
    fn give_way(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

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
    type Sock = Channel<OsSock>;

    async fn connect(
        &self,
        to: &BackendAddress,
        how: &UpstreamPlan,
        towards: Option<&Towards>,
        first: &[u8],
    ) -> io::Result<Channel<OsSock>> {
        let mut sock = connect(to, how).await?;
        begin(&mut sock, first).await?;
        match (&how.tls, towards) {
            (None, _) => Ok(Channel::Plain(sock)),
            (Some(_), Some(towards)) => {
                // On the heap: most connections have none.
                let made = Box::pin(towards.handshake(sock, to)).await?;
                Ok(Channel::Tls(Box::new(made)))
            }
            (Some(_), None) => Err(io::Error::other("its TLS could not be loaded")),
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        // Waking itself, a task would have 61 turns before the system is asked.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn since_1970(&self) -> Duration {
        since_1970()
    }
}

/// Writes all of this. At once: a fresh connection has room for more than any of it.
async fn begin<S: Sock>(sock: &mut S, mut first: &[u8]) -> io::Result<()> {
    while !first.is_empty() {
        match poll_fn(|cx| sock.poll_write(cx, first)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            length => first = &first[length..],
        }
    }
    Ok(())
}

async fn connect(to: &BackendAddress, how: &UpstreamPlan) -> io::Result<OsSock> {
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener};

    use evenkeel_config::plan::Protocol;

    use super::*;

    const PLAIN: UpstreamPlan = UpstreamPlan {
        idle: Duration::ZERO,
        requests: None,
        age: None,
        idle_most: 0,
        source: None,
        keepalive: None,
        tls: None,
        protocol: Protocol::Http1,
        streams: 1,
        proxy_protocol: None,
    };

    fn run<T>(what: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(what)
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn families_take_turns_and_too_many_are_left_out() {
        let of = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().unwrap())
                .collect::<Vec<SocketAddr>>()
        };
        let found = of(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let expect = of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleaved(found.into_iter()), expect);
        let many = (1..100).map(|port| SocketAddr::from(([1, 1, 1, 1], port)));
        assert_eq!(interleaved(many).len(), ADDRESSES_MOST);
    }

    #[test]
    fn an_address_that_refuses_and_one_that_is_silent_do_not_hold_up_the_next() {
        let (gone, refuses) = listener();
        drop(gone);
        let (_open, answers) = listener();
        // A queue that is full: whoever else asks is not answered at all.
        let (full, silent) = listener();
        SockRef::from(&full).listen(0).unwrap();
        let _fill: Vec<_> = (0..4)
            .map(|_| {
                let socket = socket2::Socket::new(
                    socket2::Domain::IPV4,
                    socket2::Type::STREAM.nonblocking(),
                    None,
                )
                .unwrap();
                let _ = socket.connect(&silent.into());
                socket
            })
            .collect();
        run(async {
            let stream = happy_eyeballs(vec![refuses, silent, answers], &PLAIN)
                .await
                .unwrap();
            assert_eq!(stream.peer_addr().unwrap(), answers);
            let error = happy_eyeballs(vec![refuses, refuses], &PLAIN)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let error = happy_eyeballs(Vec::new(), &PLAIN).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        });
    }

    #[test]
    fn connections_come_from_where_the_plan_says_and_are_kept_alive() {
        let (listener, address) = listener();
        let how = UpstreamPlan {
            source: Some([127, 0, 0, 7].into()),
            keepalive: Some(Duration::from_secs(33)),
            ..PLAIN
        };
        run(async {
            let stream = connect_tcp(address, &how).await.unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), IpAddr::from([127, 0, 0, 7]));
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
            assert_eq!(
                socket.tcp_keepalive_time().unwrap(),
                Duration::from_secs(33)
            );
            let stream = connect_tcp(address, &PLAIN).await.unwrap();
            assert!(!SockRef::from(&stream).keepalive().unwrap());
            let other = "[::1]:1".parse().unwrap();
            let error = connect_tcp(other, &how).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        });
    }
}
