//! Owns the loop of bytes that go both ways, each direction closed by itself: tunnels of HTTP, and flows.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::{Break, Pump};
use crate::connection::Conn;
use crate::net::Net;
use crate::sock::Sock;
use crate::upstream::Connection;

/// How bytes both ways came to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parted {
    /// Both ends closed, and were told of it.
    Closed,
    /// The client broke off.
    Client,
    /// The backend broke off.
    Backend,
    /// Nothing moved for too long.
    Idle,
}

/// One direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    /// All is moved; the end is to be told.
    Ending,
    Closed,
}

/// Moves bytes both ways until both ends have closed, or one broke off, or nothing moved for `idle`. Who holds the connections
/// says what becomes of them.
pub(crate) async fn both_ways<N: Net>(
    conn: &mut Conn<N>,
    upstream: &mut Connection<N::Sock>,
    upload: &mut Pump,
    download: &mut Pump,
    idle: Duration,
) -> Parted {
    conn.deadline.set(conn.worker.now() + idle);
    let (mut up, mut down) = (Half::Open, Half::Open);
    let by = |broke: &Break, sender, other| match broke.by_sender() {
        true => Poll::Ready(sender),
        false => Poll::Ready(other),
    };
    poll_fn(|cx| {
        let buffers = &conn.worker.buffers;
        let (client, backend) = (&mut conn.sock, &mut upstream.sock);
        if up == Half::Open {
            match upload.poll(cx, &mut conn.input, client, backend, buffers) {
                Poll::Ready(Ok(())) => up = Half::Ending,
                Poll::Ready(Err(broke)) => return by(&broke, Parted::Client, Parted::Backend),
                Poll::Pending => {}
            }
        }
        if down == Half::Open {
            match download.poll(cx, &mut upstream.input, backend, client, buffers) {
                Poll::Ready(Ok(())) => down = Half::Ending,
                Poll::Ready(Err(broke)) => return by(&broke, Parted::Backend, Parted::Client),
                Poll::Pending => {}
            }
        }
        if up == Half::Ending && backend.poll_shutdown(cx).is_ready() {
            up = Half::Closed;
        }
        if down == Half::Ending && client.poll_shutdown(cx).is_ready() {
            down = Half::Closed;
        }
        if (up, down) == (Half::Closed, Half::Closed) {
            return Poll::Ready(Parted::Closed);
        }
        if upload.take_moved() | download.take_moved() {
            conn.deadline.set(conn.worker.now() + idle);
        }
        conn.deadline.poll_passed(cx).map(|()| Parted::Idle)
    })
    .await
}
