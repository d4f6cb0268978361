//! Owns what the end that takes requests does with a stream: its head in, and heads of answers out.

use std::io;

use evenkeel_wire::http2::fields;
use evenkeel_wire::{Malformed, RequestHead};

use super::streams::Broken;
use super::{FULL, Mux};

impl Mux {
    /// Takes the request's head, once. What breaks the rules behind it is held against it.
    pub(in super::super) fn take_head(
        &self,
        at: usize,
        into: &mut RequestHead,
    ) -> Result<(), Malformed> {
        let inner = &mut *self.0.borrow_mut();
        let stream = inner.streams.at(at);
        let mut head = stream.head.take().unwrap_or(Err(Malformed::Http2))?;
        let wrong = stream.broken == Some(Broken::Wrong);
        std::mem::swap(&mut *head, into);
        inner.stock.requests.give(head);
        if wrong { Err(Malformed::Http2) } else { Ok(()) }
    }

    /// Sends a head, of its text; `ends`: nothing follows.
    pub(in super::super) fn send_head(
        &self,
        at: usize,
        head: &[u8],
        ends: bool,
        interim: bool,
    ) -> io::Result<()> {
        self.with(|inner| {
            inner.may_send(at)?;
            if inner.streams.get(at).answered {
                return Err(io::ErrorKind::NotConnected.into());
            }
            if interim && inner.output.len() >= FULL {
                // Who does not read misses nothing by it.
                return Ok(());
            }
            inner.block.clear();
            fields::put_response(&mut inner.encoder, head, &mut inner.block)
                .map_err(io::Error::other)?;
            inner.put_block(at, ends);
            let stream = inner.streams.at(at);
            (stream.answered, stream.over) = (!interim, ends);
            inner.closed(at);
            Ok(())
        })
    }
}
