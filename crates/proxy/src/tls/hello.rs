//! Owns what a client says first whose TLS is ended elsewhere: read on a copy by the library's own parser, kept to be passed on as
//! it came, in however many packets and records.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use evenkeel_config::limits::HELLO_BYTES;
use rustls::server::{Accepted, Acceptor};

use super::accept::{FIRST, Under, is_closing, poll_late};
use crate::connection::{CLOSING, Conn};
use crate::net::Net;
use crate::reason::Reason;
use crate::sock::Sock;

/// What a client asks for.
pub(crate) struct Hello {
    /// All that came, to be passed on.
    pub(crate) bytes: Vec<u8>,
    /// The name of the server that it wants.
    pub(crate) name: Option<Box<str>>,
    /// The protocols that it offers, best first.
    pub(crate) protocols: Vec<Box<[u8]>>,
}

/// Reads until the hello is whole, within its deadline, while no more than `most` are read at once. What came of one that failed
/// stays behind in its bytes.
///
/// # Errors
/// Why there is none: the client left, was late, or speaks something else.
pub(crate) async fn read<N: Net>(
    conn: &mut Conn<N>,
    most: usize,
    within: Duration,
    bytes: &mut Vec<u8>,
) -> Result<Hello, Reason> {
    let state = conn.door.state();
    let _under = Under::take(&state, most).ok_or(Reason::TooManyHellos)?;
    let within = match is_closing(&conn.worker, &conn.door) {
        true => within.min(CLOSING),
        false => within,
    };
    // Where descriptors lack, who has said nothing for longest makes place.
    conn.deadline.set_idle(conn.worker.now(), within);
    let mut acceptor = Acceptor::default();
    // What came behind a PROXY header.
    bytes.extend_from_slice(conn.input.data());
    conn.input.consume(bytes.len());
    conn.input.release(&conn.worker.buffers);
    let mut from = 0;
    loop {
        if let Some(accepted) = feed(&mut acceptor, &bytes[from..])? {
            conn.deadline.clear();
            let hello = accepted.client_hello();
            let offered = hello.alpn().into_iter().flatten();
            return Ok(Hello {
                name: hello.server_name().map(Into::into),
                protocols: offered.map(Into::into).collect(),
                bytes: std::mem::take(bytes),
            });
        }
        if bytes.len() >= HELLO_BYTES {
            return Err(Reason::BadHello);
        }
        from = bytes.len();
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
        .await?;
    }
}

/// Hands more bytes to the parser. None: it wants more.
fn feed(acceptor: &mut Acceptor, mut bytes: &[u8]) -> Result<Option<Accepted>, Reason> {
    while !bytes.is_empty() {
        // Nothing taken: more than it ever takes of a hello.
        if !matches!(acceptor.read_tls(&mut bytes), Ok(taken) if taken > 0) {
            return Err(Reason::BadHello);
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(accepted) => return Ok(accepted),
            Err(_) => return Err(Reason::BadHello),
        }
    }
    Ok(None)
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
