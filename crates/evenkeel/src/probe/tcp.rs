//! Owns connecting: the TCP probe, and the connection that the HTTP probe speaks over.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::address::{Address, Endpoint};
use crate::probe::{Checking, Finding, Probe, ProbeError, Target};

/// Passes when a connection can be made; nothing is sent. Also to Unix sockets and to the host and port of a URL.
///
/// Cost: one connection per check. A process that hangs after `listen` passes it, because the kernel connects for it:
/// prefer [`HttpProbe`](crate::probe::HttpProbe) where there is HTTP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpProbe;

impl Probe for TcpProbe {
    fn check(&self, target: Target) -> Checking {
        Box::pin(async move {
            let connected = async { connect(&target.address()?).await };
            match connected.await {
                Ok(_closed) => Finding::passed(None),
                Err(error) => error.into(),
            }
        })
    }
}

/// A connection to a backend.
#[derive(Debug)]
pub enum Link {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket.
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Link {
    /// Sends what goes before anything else, a PROXY header for instance.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn begin(&mut self, first: &[u8]) -> Result<(), ProbeError> {
        match self {
            Self::Tcp(stream) => stream.write_all(first).await?,
            #[cfg(unix)]
            Self::Unix(stream) => stream.write_all(first).await?,
        }
        Ok(())
    }
}

/// Connects; of a name's addresses, the first that accepts. For probes of a program's own, and for those here.
///
/// A name is resolved by the operating system, on a thread of tokio's blocking pool.
///
/// # Errors
/// No way to it, or nobody there who takes it.
pub async fn connect(address: &Address) -> Result<Link, ProbeError> {
    match address.endpoint() {
        Endpoint::Socket(socket) => Ok(Link::Tcp(TcpStream::connect(socket).await?)),
        // Apart: what it holds while it looks up would be held by every check.
        Endpoint::Name { host, port } => Box::pin(by_name(host, port)).await,
        #[cfg(unix)]
        Endpoint::Unix(path) => Ok(Link::Unix(tokio::net::UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        Endpoint::Unix(_) => Err(ProbeError::NoUnixSockets),
    }
}

async fn by_name(host: &str, port: u16) -> Result<Link, ProbeError> {
    let resolved = tokio::net::lookup_host((host, port))
        .await
        .map_err(ProbeError::Unresolved)?;
    let mut failed = None;
    for socket in resolved {
        match TcpStream::connect(socket).await {
            Ok(stream) => return Ok(Link::Tcp(stream)),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.map_or_else(
        || ProbeError::Unresolved(std::io::ErrorKind::NotFound.into()),
        ProbeError::from,
    ))
}
