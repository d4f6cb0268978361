//! Owns the change of protocol: whether it was asked for, and what is left of an exchange that goes on as a tunnel.

use evenkeel_balance::verdict::Verdict;
use evenkeel_wire::known::Known;
use evenkeel_wire::{Malformed, base64, forward};

use super::{Attempted, Ended, Heard, Stale, Try};
use crate::connection::Next;
use crate::exchange::reply::put_hsts;
use crate::net::Net;
use crate::reason::Reason;
use crate::relay::Pump;
use crate::relay::tunnel::Rests;
use crate::tls::digest::sha1;
use crate::tunnel::Tunnel;
use crate::worker::Desk;

impl<N: Net> Try<'_, '_, N> {
    /// The backend changes the protocol: asked for, a tunnel; not asked for, no answer.
    pub(super) async fn switch(mut self) -> Result<Attempted, Stale> {
        if !self.is_asked_for() {
            return self.failed(Heard::Malformed(Malformed::Status));
        }
        self.hear_load();
        let now = self.conn.worker.now();
        self.pick.answered(Verdict::Success, now);
        self.heard_head(now);
        let desk = &mut *self.desk;
        put_hsts(self.conn, self.exchange.listener, &mut desk.altered);
        (self.exchange).keep(self.conn, desk, &self.pick, self.course, self.tries);
        let mut head = Vec::new();
        put_switch(desk, self.course.via, &mut head);
        desk.seen.head_sent = head.len();
        if self.conn.sock.respond(&mut head, false).is_err() {
            return Ok(self.client_left(0, Reason::ClientLeft));
        }
        desk.upward = self.upload.into_buffer(&self.conn.worker.buffers);
        if desk.backend.is_empty() {
            // The log may be opened while the tunnel stands.
            let id = self.pick.backend().id().as_str();
            desk.backend.extend_from_slice(id.as_bytes());
        }
        desk.seen.switched = Some(now.since(self.exchange.began));
        self.conn.tunnel = Some(Box::new(Tunnel::new(
            self.upstream,
            self.pick.lasting(),
            Pump::both_ways().before(head),
            Rests {
                both: self.course.tunnel,
                half: self.course.idle,
                stall: self.course.idle,
            },
            self.exchange.began,
        )));
        Ok(Attempted::Ended(Ended {
            next: Next::Close,
            status: 101,
            reason: Reason::Served,
            received: 0,
            sent: 0,
        }))
    }

    /// Whether this protocol was asked for, and by the whole of the request: who changes it before has not read what for.
    fn is_asked_for(&self) -> bool {
        let name = |protocol: &[u8]| -> Vec<u8> {
            let name = protocol.split(|&byte| byte == b'/').next();
            name.unwrap_or_default().to_ascii_lowercase()
        };
        let Some(asked) = self.desk.request.upgrade().map(name) else {
            return false;
        };
        let mut told = (self.desk.response.fields()).filter(|field| field.known == Known::Upgrade);
        self.upload_over && !self.upload_broken && told.all(|field| name(field.value) == asked)
    }
}

/// Writes what the client hears of it.
fn put_switch(desk: &Desk, via: Option<&str>, head: &mut Vec<u8>) {
    let (request, response) = (&desk.request, &desk.response);
    let altered = Some(&desk.altered).filter(|altered| altered.is_touched());
    match (response.status(), request.upgrade()) {
        (101, _) | (_, None) => forward::switching(response, via, altered, head),
        (_, Some(protocol)) => {
            let accept = request.field(b"sec-websocket-key").map(accept);
            let told = (protocol, accept.as_deref());
            forward::opened(response, told, via, altered, head);
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
