//! Owns tunnels: what follows a change of protocol, byte for byte, each direction closed by itself.

use std::future::poll_fn;
use std::task::Poll;

use evenkeel_balance::verdict::{Outcome, Verdict};
use evenkeel_wire::{Malformed, forward};

use super::{Attempted, Ended, Heard, Stale, Try};
use crate::connection::Next;
use crate::net::Net;
use crate::reason::Reason;
use crate::relay::Pump;
use crate::sock::Sock;

impl<N: Net> Try<'_, '_, N> {
    /// The backend changes the protocol: asked for, a tunnel; not asked for, no answer.
    pub(super) async fn switch(mut self) -> Result<Attempted, Stale> {
        if self.desk.request.upgrade().is_none() {
            let heard = Heard::Malformed(Malformed::Status);
            return self.failed(heard);
        }
        let now = self.conn.worker.now();
        self.pick.answered(Verdict::Success, now);
        self.desk.seen.head = Some(now.since(self.ready));
        let mut head = std::mem::take(&mut self.desk.downward);
        head.clear();
        forward::switching(&self.desk.response, &mut head);
        self.desk.seen.head_sent = head.len();
        if self.conn.sock.respond(&mut head, false).is_err() {
            self.desk.downward = head;
            return Ok(self.client_left(0, Reason::ClientLeft));
        }
        let mut download = Pump::tunnel().before(head);
        let mut upload = Pump::tunnel().before(std::mem::take(&mut self.desk.upward));
        let broken = self.tunnel(&mut upload, &mut download).await;
        let (received, sent) = (upload.came(), download.came());
        self.desk.downward = download.into_buffer();
        self.desk.upward = upload.into_buffer();
        // Which end broke a tunnel off says nothing about the backend's health.
        self.pick.finish(Outcome::Completed, self.conn.worker.now());
        if broken {
            self.upstream.sock.cut();
        }
        Ok(Attempted::Ended(Ended {
            next: if broken { Next::Cut } else { Next::Close },
            status: 101,
            reason: Reason::Served,
            received,
            sent,
        }))
    }

    /// Moves bytes both ways until both ends have closed. True: one broke off.
    async fn tunnel(&mut self, upload: &mut Pump, download: &mut Pump) -> bool {
        let idle = self.course.idle;
        self.conn.deadline.set(self.conn.worker.now() + idle);
        let (mut up, mut down) = (Half::Open, Half::Open);
        let conn = &mut *self.conn;
        let upstream = &mut self.upstream;
        poll_fn(|cx| {
            let buffers = &conn.worker.buffers;
            if up == Half::Open {
                match upload.poll(
                    cx,
                    &mut conn.input,
                    &mut conn.sock,
                    &mut upstream.sock,
                    buffers,
                ) {
                    Poll::Ready(Ok(())) => up = Half::Ending,
                    Poll::Ready(Err(_)) => return Poll::Ready(true),
                    Poll::Pending => {}
                }
            }
            if down == Half::Open {
                match download.poll(
                    cx,
                    &mut upstream.input,
                    &mut upstream.sock,
                    &mut conn.sock,
                    buffers,
                ) {
                    Poll::Ready(Ok(())) => down = Half::Ending,
                    Poll::Ready(Err(_)) => return Poll::Ready(true),
                    Poll::Pending => {}
                }
            }
            if up == Half::Ending && upstream.sock.poll_shutdown(cx).is_ready() {
                up = Half::Closed;
            }
            if down == Half::Ending && conn.sock.poll_shutdown(cx).is_ready() {
                down = Half::Closed;
            }
            if (up, down) == (Half::Closed, Half::Closed) {
                return Poll::Ready(false);
            }
            if upload.take_moved() | download.take_moved() {
                conn.deadline.set(conn.worker.now() + idle);
            }
            conn.deadline.poll_passed(cx).map(|()| true)
        })
        .await
    }
}

/// One direction of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    /// All is moved; the end is to be told.
    Ending,
    Closed,
}
