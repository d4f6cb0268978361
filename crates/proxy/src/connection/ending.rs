//! Owns the end of a client's connection that is to be told, that all was written and that nothing more is read; and a short body that is
//! passed over so that it need not end.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::{Conn, Next};
use crate::net::Net;
use crate::sock::Sock;

/// How long a client that was refused may go on sending.
const LINGER: Duration = Duration::from_secs(2);

/// How much of it is read.
const LINGER_BYTES: usize = 1024 * 1024;

/// Ends the direction of writing.
pub(super) async fn end<N: Net>(conn: &mut Conn<N>) {
    conn.deadline.set(conn.worker.now() + LINGER);
    poll_fn(|cx| match conn.sock.poll_shutdown(cx) {
        Poll::Pending => conn.deadline.poll_passed(cx),
        Poll::Ready(_) => Poll::Ready(()),
    })
    .await;
}

/// The longest body that is read and forgotten for the sake of its connection: less than a handshake over TLS and a window of TCP are worth.
pub(crate) const SKIP_BYTES: u64 = 64 * 1024;

/// Reads and forgets what is left of the body of a request that was answered without it, so that the next one is found. A client that takes
/// longer than one that is lingered for loses its connection, which it may at any time.
pub(super) async fn skip<N: Net>(conn: &mut Conn<N>, left: u32) -> Next {
    let mut left = left as usize;
    conn.deadline.set(conn.worker.now() + LINGER);
    let came = poll_fn(|cx| {
        loop {
            let here = conn.input.data().len().min(left);
            conn.input.consume(here);
            left -= here;
            if left == 0 {
                return Poll::Ready(true);
            }
            let filled = conn
                .input
                .poll_fill(cx, &mut conn.sock, &conn.worker.buffers, false);
            match filled {
                Poll::Ready(Ok(length)) if length > 0 => {}
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return conn.deadline.poll_passed(cx).map(|()| false),
            }
        }
    })
    .await;
    conn.deadline.clear();
    if came { Next::Keep } else { Next::Linger }
}

/// Ends the direction of writing, then reads and forgets what the client still sends: closing at once would answer its bytes
/// with a reset, which can take the answer away from it (RFC 9112 section 9.6).
pub(crate) async fn linger<N: Net>(conn: &mut Conn<N>) {
    conn.deadline.set(conn.worker.now() + LINGER);
    let mut read = conn.input.data().len();
    conn.input.consume(read);
    let mut ended = false;
    poll_fn(|cx| {
        if conn.deadline.poll_passed(cx).is_ready() {
            return Poll::Ready(());
        }
        if !ended {
            match conn.sock.poll_shutdown(cx) {
                Poll::Ready(Ok(())) => ended = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        loop {
            let filled = conn
                .input
                .poll_fill(cx, &mut conn.sock, &conn.worker.buffers, false);
            match filled {
                Poll::Ready(Ok(length)) if length > 0 && read < LINGER_BYTES => {
                    read += length;
                    conn.input.consume(length);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}
