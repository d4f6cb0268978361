//! Owns sockets that were bound elsewhere: by the process before this one, or by the system's manager of services.
//!
//! Each is looked at before it is believed: a descriptor is a number, and what it stands for is another's word.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use evenkeel_config::plan::Bind;
use socket2::{SockRef, Socket, Type};

use super::{Bound, SocketFile, bind_tcp};

/// Sockets that are bound to one address: as many as shared it.
#[derive(Debug)]
pub struct Inherited {
    /// The listener that they were for. None: whichever has the address.
    pub listener: Option<Box<str>>,
    /// The address, as the plan says it.
    pub bind: Bind,
    /// The sockets.
    pub sockets: Vec<OwnedFd>,
    /// Whether the file of a Unix socket goes with it.
    pub file: bool,
}

/// Where a listening socket is bound. None: it is none, or at no address that a plan could name.
#[must_use]
pub fn address(socket: &OwnedFd) -> Option<Bind> {
    let socket = SockRef::from(socket);
    if !is_listening(&socket) {
        return None;
    }
    let address = socket.local_addr().ok()?;
    let tcp = address.as_socket().map(Bind::Tcp);
    tcp.or_else(|| Some(Bind::Unix(address.as_pathname()?.to_owned())))
}

fn is_listening(socket: &SockRef<'_>) -> bool {
    let stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    stream && socket.is_listener().is_ok_and(|listens| listens)
}

/// Whether a socket that is bound there is one of this address of a plan, of which the port may be any.
fn is_at(at: &Bind, to: &Bind) -> bool {
    match (at, to) {
        (Bind::Tcp(at), Bind::Tcp(to)) => {
            at == to || to.port() == 0 && SocketAddr::new(at.ip(), 0) == *to
        }
        (at, to) => at == to,
    }
}

impl Inherited {
    /// Its port. None: it has none.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match address(self.sockets.first()?)? {
            Bind::Tcp(address) => Some(address.port()),
            Bind::Unix(_) => None,
        }
    }

    /// Where they are bound, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.bind {
            Bind::Tcp(address) => address.to_string(),
            Bind::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Takes them for so many workers. There are never fewer than there were, whatever the number of workers: what waits in the
    /// queue of a socket is lost with it. Where workers are more, sockets are added as far as the system allows.
    ///
    /// # Errors
    /// One that does not listen, or is bound elsewhere.
    pub fn take(self, workers: usize) -> io::Result<Bound> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
        let mut at = None;
        for socket in &self.sockets {
            let address =
                address(socket).ok_or_else(|| wrong("an inherited socket does not listen"))?;
            if !is_at(&address, &self.bind) {
                return Err(wrong("an inherited socket is bound elsewhere"));
            }
            let socket = SockRef::from(socket);
            socket.set_nonblocking(true)?;
            if let Bind::Tcp(_) = address {
                // Of a manager of services it may not have it.
                socket.set_tcp_nodelay(true)?;
            }
            at = Some(address);
        }
        let mut sockets = self.sockets.into_iter();
        match at {
            Some(Bind::Tcp(address)) => {
                let mut all: Vec<std::net::TcpListener> = sockets.map(Into::into).collect();
                let shared = |socket| Socket::reuse_port(&SockRef::from(socket)).unwrap_or(false);
                if all.iter().all(shared) {
                    // Who may not bind it any more shares those that there are.
                    let more = (all.len()..workers).map_while(|_| bind_tcp(address).ok());
                    all.extend(more.collect::<Vec<_>>());
                }
                Ok(Bound::Tcp(address, all))
            }
            Some(Bind::Unix(path)) => {
                let socket = sockets.next().ok_or_else(|| wrong("no socket"))?;
                let file = self.file.then(|| SocketFile::inherited(&path)).flatten();
                Ok(Bound::Unix(socket.into(), file))
            }
            None => Err(wrong("no socket was inherited")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::{Port, bind};

    /// As many sockets of one address.
    fn sockets(count: usize) -> (Bind, Vec<OwnedFd>) {
        let any = Bind::Tcp("127.0.0.1:0".parse().unwrap());
        match bind(&any, count, Port::Alone).unwrap() {
            Bound::Tcp(address, sockets) => (
                Bind::Tcp(address),
                sockets.into_iter().map(Into::into).collect(),
            ),
            Bound::Unix(..) => unreachable!(),
        }
    }

    fn taken(bind: Bind, sockets: Vec<OwnedFd>, workers: usize) -> io::Result<usize> {
        let inherited = Inherited {
            listener: None,
            bind,
            sockets,
            file: false,
        };
        inherited.take(workers).map(|bound| match bound {
            Bound::Tcp(_, all) => all.len(),
            Bound::Unix(..) => 0,
        })
    }

    #[test]
    fn there_are_never_fewer_and_more_where_workers_are() {
        for (sockets_are, workers, expect) in [(1, 1, 1), (4, 1, 4), (4, 2, 4), (2, 4, 4)] {
            let (bind, all) = sockets(sockets_are);
            assert_eq!(
                taken(bind, all, workers).unwrap(),
                expect,
                "{sockets_are} {workers}"
            );
        }
        // One that does not share its address stays alone.
        let alone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bind = Bind::Tcp(alone.local_addr().unwrap());
        assert_eq!(taken(bind, vec![alone.into()], 4).unwrap(), 1);
    }

    #[test]
    fn what_is_not_what_it_is_said_to_be_is_refused() {
        let (bind, all) = sockets(1);
        let elsewhere = Bind::Tcp("127.0.0.1:1".parse().unwrap());
        assert!(taken(elsewhere, all, 1).is_err());
        assert!(taken(bind.clone(), Vec::new(), 1).is_err());
        let (other, all) = sockets(1);
        let any = Bind::Tcp("127.0.0.1:0".parse().unwrap());
        assert_eq!(taken(any, all, 1).unwrap(), 1, "any port is this one too");
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = Bind::Tcp(udp.local_addr().unwrap());
        assert!(taken(at, vec![udp.into()], 1).is_err());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(taken(other, vec![file.into()], 1).is_err());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let connected = std::net::TcpStream::connect(to).unwrap();
        let at = Bind::Tcp(connected.local_addr().unwrap());
        assert!(taken(at, vec![connected.into()], 1).is_err());
    }
}
