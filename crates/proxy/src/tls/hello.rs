//! Owns what a client says first whose TLS is ended elsewhere: read on a copy by the library's own parser, kept to be passed on as
//! it came, in however many packets and records.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use evenkeel_config::limits::HELLO_BYTES;
use rustls::server::Acceptor;

use super::accept::{FIRST, is_closing, poll_late};
use super::places::Under;
use crate::connection::{CLOSING, Conn};
use crate::net::Net;
use crate::reason::Reason;
use crate::sock::Sock;

/// What a client asks for, with what it said.
pub(crate) struct Hello {
    /// All that came, to be passed on.
    pub(crate) bytes: Vec<u8>,
    /// The name of the server that it wants.
    pub(crate) name: Option<Box<str>>,
    /// The protocols that it offers, best first.
    pub(crate) protocols: Vec<Box<[u8]>>,
}

/// Reads until the hello is whole, within its deadline, while no more than `most` that have begun are read at once. What came of one
/// that failed stays behind in its bytes.
///
/// # Errors
/// Why there is none: the client left, was late, or speaks something else.
pub(crate) async fn read<N: Net>(
    conn: &mut Conn<N>,
    most: usize,
    within: Duration,
    bytes: &mut Vec<u8>,
) -> Result<Hello, Reason> {
    let door = conn.door.clone();
    let within = match is_closing(&conn.worker, &door) {
        true => within.min(CLOSING),
        false => within,
    };
    // Where descriptors lack, who has said nothing for longest makes place.
    conn.deadline.set_idle(conn.worker.now(), within);
    // What came behind a PROXY header.
    bytes.extend_from_slice(conn.input.data());
    conn.input.consume(bytes.len());
    conn.input.release(&conn.worker.buffers);
    while bytes.is_empty() {
        more(conn, bytes).await?;
    }
    let under = Under::take(&door, most, &conn.deadline, conn.worker.now());
    let under = under.ok_or(Reason::TooManyHellos)?;
    let hello = whole(conn, bytes).await;
    hello.map_err(|reason| match reason {
        Reason::HelloTimeout if under.is_lost() => Reason::TooManyHellos,
        reason => reason,
    })
}

async fn whole<N: Net>(conn: &mut Conn<N>, bytes: &mut Vec<u8>) -> Result<Hello, Reason> {
    let mut reader = Reader::default();
    loop {
        if let Some(Asked { name, protocols }) = reader.read(bytes)? {
            conn.deadline.clear();
            let bytes = std::mem::take(bytes);
            return Ok(Hello {
                bytes,
                name,
                protocols,
            });
        }
        more(conn, bytes).await?;
    }
}

/// Reads what comes next.
async fn more<N: Net>(conn: &mut Conn<N>, bytes: &mut Vec<u8>) -> Result<(), Reason> {
    poll_fn(|cx| {
        let mut piece = [0; FIRST];
        match conn.sock.poll_read(cx, &mut piece) {
            Poll::Ready(Ok(length)) if length > 0 => {
                bytes.extend_from_slice(&piece[..length]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Err(Reason::ClientLeft)),
            Poll::Pending => poll_late(cx, &conn.worker, &conn.door, &conn.deadline)
                .map(|()| Err(Reason::HelloTimeout)),
        }
    })
    .await
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name of the server that it wants.
    pub name: Option<Box<str>>,
    /// The protocols that it offers, best first.
    pub protocols: Vec<Box<[u8]>>,
}

/// Reads a hello on a copy, as its pieces come.
#[derive(Default)]
pub struct Reader {
    acceptor: Acceptor,
    /// Bytes that the parser has.
    read: usize,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// What is asked for in `bytes`, which is all that has come, what was looked at before too. None: it is not whole.
    ///
    /// # Errors
    /// It is no hello, or one of more than [`HELLO_BYTES`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Asked>, Reason> {
        let most = bytes.len().min(HELLO_BYTES);
        let mut rest = bytes.get(self.read..most).unwrap_or_default();
        self.read = most;
        while !rest.is_empty() {
            // Nothing taken: more than it ever takes of a hello.
            if !matches!(self.acceptor.read_tls(&mut rest), Ok(taken) if taken > 0) {
                return Err(Reason::BadHello);
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let offered = hello.alpn().into_iter().flatten();
                    return Ok(Some(Asked {
                        name: hello.server_name().map(Into::into),
                        protocols: offered.map(Into::into).collect(),
                    }));
                }
                Err(_) => return Err(Reason::BadHello),
            }
        }
        match most < HELLO_BYTES {
            true => Ok(None),
            false => Err(Reason::BadHello),
        }
    }
}

/// What a client is told whose name has no service: a fatal alert, `unrecognized_name` (RFC 6066 section 3). The library says
/// alerts of its own only.
pub(crate) const UNRECOGNIZED_NAME: [u8; 7] = alert(112);

/// The same for its protocols: `no_application_protocol` (RFC 7301 section 3.2).
pub(crate) const NO_PROTOCOL: [u8; 7] = alert(120);

/// A record of TLS 1.2, which every client reads before a version is agreed on (RFC 8446 section 5.1), with a fatal alert.
const fn alert(number: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, number]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;
    use crate::tls::terms::provider;

    /// What a client of the library says that wants `a.example` and offers two protocols.
    fn said() -> Vec<u8> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = "a.example".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut said = Vec::new();
        client.write_tls(&mut said).unwrap();
        said
    }

    /// What bytes come to in pieces of so many, and how many of them had come by then.
    fn read(bytes: &[u8], piece: usize) -> (Result<Option<Asked>, Reason>, usize) {
        let mut reader = Reader::default();
        let mut came = 0;
        while came < bytes.len() {
            came = (came + piece).min(bytes.len());
            match reader.read(&bytes[..came]) {
                Ok(None) => {}
                ended => return (ended, came),
            }
        }
        (Ok(None), came)
    }

    #[test]
    fn a_hello_is_read_in_any_pieces_and_no_further_than_its_limit() {
        let said = said();
        let asked = Asked {
            name: Some("a.example".into()),
            protocols: vec![b"h2"[..].into(), b"http/1.1"[..].into()],
        };
        let longest = [&[22, 3, 1, 64, 0, 1, 0, 0xff, 0xf0][..], &[0; 80_000]].concat();
        let empty = [22, 3, 1, 0, 0].repeat(20_000);
        for piece in [1, 7, 100, 4096, 100_000] {
            assert_eq!(
                read(&said, piece).0,
                Ok(Some(asked.clone())),
                "{piece}: whole"
            );
            let followed = [&said[..], &[23, 3, 3, 0, 1, 0]].concat();
            assert_eq!(
                read(&followed, piece).0,
                Ok(Some(asked.clone())),
                "{piece}: followed"
            );
            let cut = &said[..said.len() - 1];
            assert_eq!(read(cut, piece).0, Ok(None), "{piece}: cut");
            for (what, bytes) in [
                ("an alert", &[21, 3, 1, 0, 2, 2, 40][..]),
                ("HTTP", b"GET / HTTP/1.1\r\n\r\n"),
                ("too long", &longest),
                ("empty records", &empty),
            ] {
                let (ended, came) = read(bytes, piece);
                assert_eq!(ended, Err(Reason::BadHello), "{piece}: {what}");
                let most = (HELLO_BYTES + piece).min(bytes.len());
                assert!(came <= most, "{piece}: {what}: {came}");
            }
        }
        // Byte by byte no more is taken than it has.
        assert_eq!(read(&said, 1).1, said.len());
    }
}
