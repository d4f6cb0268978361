//! Owns what an attempt asks of a stream and not of a connection, where the request goes before its body and 101 is a word.

use std::future::poll_fn;
use std::task::Poll;

use evenkeel_balance::verdict::Outcome;
use evenkeel_wire::{Framing, Malformed};

use super::{Attempted, Try, sent, unsent};
use crate::carrier::Carrier;
use crate::net::Net;
use crate::reason::Reason;

impl<N: Net> Try<'_, '_, N> {
    /// Asks on a stream; on a connection, the request goes before its body.
    pub(super) async fn ask(&mut self) -> Result<bool, Malformed> {
        let Carrier::Stream(stream) = &mut self.upstream.sock else {
            return Ok(true);
        };
        let (request, deadline) = (&self.desk.request, &self.conn.deadline);
        if request.upgrade().is_some() {
            // Whether it takes tunnels it says among the first. Who is late is so in what follows, too.
            poll_fn(|cx| match stream.poll_known(cx) {
                Poll::Pending => deadline.poll_passed(cx),
                known @ Poll::Ready(()) => known,
            })
            .await;
        }
        let bodyless = request.framing() == Framing::Empty;
        let to_head = request.is_head();
        stream.ask(&self.desk.forwardable, bodyless, to_head, request.upgrade())
    }

    /// Whether this answer opens a tunnel on a stream.
    pub(super) fn opens(&mut self) -> bool {
        match &mut self.upstream.sock {
            Carrier::Stream(stream) => stream.opens(&self.desk.response),
            Carrier::Whole(_) | Carrier::Client(_) => false,
        }
    }

    /// Whether the client would take this answer for the tunnel that it asked for: by HTTP/2 each 2xx is one (RFC 8441 section 5).
    pub(super) fn is_no_tunnel(&self) -> bool {
        self.conn.sock.is_stream() && self.desk.request.upgrade().is_some()
    }

    /// The backend did not change the protocol, as it may.
    pub(super) fn not_opened(self) -> Attempted {
        self.desk.upward = self.upload.into_buffer(&self.conn.worker.buffers);
        self.pick.finish(Outcome::Completed, self.conn.worker.now());
        let reason = Reason::BackendMalformed(Malformed::Status);
        Attempted::Failed(sent(None, self.reused, reason))
    }

    /// What HTTP/1.1 could say and HTTP/2 cannot: nothing is held against the backend.
    pub(super) fn unsayable(self, malformed: Malformed) -> Attempted {
        self.desk.upward = self.upload.into_buffer(&self.conn.worker.buffers);
        drop(self.pick);
        Attempted::Failed(unsent(None, Reason::Malformed(malformed)))
    }
}
