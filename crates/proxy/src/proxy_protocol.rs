//! Owns the PROXY protocol on sockets: headers that proxies send before a client's first byte, and those that backends get.
//!
//! What the bytes mean is `wire/proxy_protocol`. Whether a header comes is configured for the listener and its peer, never found
//! out by looking: of listed peers it is required, and nobody else is served. Read before TLS and before anything else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::buffers::{Buffers, Input};

/// The header that a client's proxy sends.
mod receive;

/// The header that a backend gets.
mod introduce;

/// What is counted, by why.
mod counted;

pub use counted::{Received, Refused};
pub use introduce::of_checks;
pub(crate) use receive::{Expected, receive};

/// Between whom a client's connection is, as far as it is believed: its own ends, or those that a header gave.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The client. Port 0: none is known.
    pub(crate) source: SocketAddr,
    /// Over a Unix socket.
    pub(crate) unix: bool,
    /// What the client connected to, where a header said so. Else it is the connection's own.
    pub(crate) destination: Option<Rc<SocketAddr>>,
}

/// A client as it arrives: whose connection it is, and what of it was read already.
#[derive(Debug)]
pub struct Arrival {
    pub(crate) ends: Ends,
    /// What came behind a header.
    pub(crate) input: Input,
    /// How long that took.
    pub(crate) spent: Duration,
}

impl Ends {
    /// The client's address, canonical; 127.0.0.1 over a Unix socket without a header.
    pub(crate) const fn peer(&self) -> IpAddr {
        self.source.ip()
    }

    /// The port that the client connected to, if it is not the listener's own.
    pub(crate) fn port(&self) -> Option<u16> {
        let port = self.destination.as_deref().map(SocketAddr::port);
        port.filter(|port| *port != 0)
    }
}

impl Arrival {
    /// Of a connection over TCP; its address in either form.
    #[must_use]
    pub fn tcp(from: SocketAddr) -> Self {
        let source = SocketAddr::new(from.ip().to_canonical(), from.port());
        Self::of(source, false)
    }

    /// Of a connection over a Unix socket: a peer on this machine, for what needs an address.
    #[must_use]
    pub fn unix() -> Self {
        Self::of((Ipv4Addr::LOCALHOST, 0).into(), true)
    }

    fn of(source: SocketAddr, unix: bool) -> Self {
        Self {
            ends: Ends {
                source,
                unix,
                destination: None,
            },
            input: Input::default(),
            spent: Duration::ZERO,
        }
    }

    /// What was read already, taken out.
    pub(crate) fn take_first(&mut self, buffers: &Buffers) -> Vec<u8> {
        let first = self.input.data().to_vec();
        self.input.consume(first.len());
        self.input.release(buffers);
        first
    }
}

/// Of a connection whose port nobody asks for.
impl From<IpAddr> for Arrival {
    fn from(from: IpAddr) -> Self {
        Self::tcp((from, 0).into())
    }
}
