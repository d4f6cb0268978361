//! Owns tunnels: what follows a change of protocol, byte for byte.

use evenkeel_balance::verdict::{Outcome, Verdict};
use evenkeel_wire::{Malformed, base64, forward};

use super::{Attempted, Ended, Heard, Stale, Try};
use crate::connection::Next;
use crate::net::Net;
use crate::reason::Reason;
use crate::relay::Pump;
use crate::relay::tunnel::{Parted, both_ways};
use crate::sock::Sock;
use crate::tls::digest::sha1;

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
        self.put_switch(&mut head);
        self.desk.seen.head_sent = head.len();
        if self.conn.sock.respond(&mut head, false).is_err() {
            self.desk.downward = head;
            return Ok(self.client_left(0, Reason::ClientLeft));
        }
        let mut download = Pump::tunnel().before(head);
        let mut upload = Pump::tunnel().before(std::mem::take(&mut self.desk.upward));
        let (conn, upstream) = (&mut *self.conn, &mut self.upstream);
        let idle = self.course.idle;
        let parted = both_ways(conn, upstream, &mut upload, &mut download, idle).await;
        let broken = parted != Parted::Closed;
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

    /// Writes what the client hears of it.
    fn put_switch(&self, head: &mut Vec<u8>) {
        let (request, response) = (&self.desk.request, &self.desk.response);
        match (response.status(), request.upgrade()) {
            (101, _) | (_, None) => forward::switching(response, head),
            (_, Some(protocol)) => {
                let accept = request.field(b"sec-websocket-key").map(accept);
                forward::opened(response, protocol, accept.as_deref(), head);
            }
        }
    }
}

/// What a server answers to a WebSocket client's key, to show that it has understood (RFC 6455 section 4.2.2).
fn accept(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    base64::text(&sha1(&[key, GUID].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_has_its_answer() {
        let answer = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
