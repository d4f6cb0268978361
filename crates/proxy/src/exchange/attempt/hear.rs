//! Owns the request on its way to the backend, and the wait for a response head; a client that goes ends both.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use evenkeel_config::limits::ServiceLimits;
use evenkeel_wire::http1::response::parse;
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use evenkeel_wire::{Framing, Malformed, ResponseHead};

use super::Try;
use super::race::{Beside, copied};
use crate::buffers::Buffers;
use crate::carrier::Carrier;
use crate::connection::Noticed;
use crate::http2::mux::asking::Unheard;
use crate::net::Net;
use crate::relay::Break;
use crate::sock::Sock;
use crate::upstream::Connection;

/// What was heard of the backend, or of the client meanwhile.
pub(super) enum Heard {
    /// A whole head of so many bytes.
    Head(usize),
    /// The end of the connection.
    End,
    /// The backend took its stream back, with this error.
    Reset(u32),
    /// The end of a connection of many streams.
    Ended,
    /// The backend goes, and says that it has not seen the request.
    Unseen,
    /// The backend has too many streams, and says that it has not looked at this one.
    Refused,
    Malformed(Malformed),
    /// Nothing, for too long; `client`: it was the client's turn.
    Nothing {
        client: bool,
    },
    /// The client broke off.
    Client(Break),
    /// The client has sent its request, and has gone.
    Gone,
}

/// A head that is under way, and what bounds it.
pub(super) struct Coming {
    end: HeadEnd,
    bounds: HeadLimits,
    to_head: bool,
}

impl Coming {
    /// Nothing of it is here; `to_head`: it answers a request that has no body in its answer.
    pub(super) fn new(limits: &ServiceLimits, to_head: bool) -> Self {
        Self {
            end: HeadEnd::default(),
            bounds: HeadLimits {
                bytes: limits.head,
                fields: limits.fields,
                target: 0,
            },
            to_head,
        }
    }

    /// Reads until the head is whole, or will never be.
    pub(super) fn poll<S: Sock>(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Connection<S>,
        buffers: &Buffers,
        into: &mut ResponseHead,
    ) -> Poll<Heard> {
        if let Carrier::Stream(stream) = &mut upstream.sock {
            let head = stream.poll_head(cx, into);
            return head.map(|head| match head {
                Ok(()) => Heard::Head(0),
                Err(Unheard::Unseen) => Heard::Unseen,
                Err(Unheard::Refused) => Heard::Refused,
                Err(Unheard::Ended) => Heard::Ended,
                Err(Unheard::Broken(error)) => Heard::Reset(error),
                Err(Unheard::Malformed(malformed)) => Heard::Malformed(malformed),
            });
        }
        loop {
            if !upstream.input.is_empty() {
                let data = upstream.input.data();
                match parse(data, &mut self.end, &self.bounds, self.to_head, into) {
                    Ok(Some(length)) => return Poll::Ready(Heard::Head(length)),
                    Ok(None) => {}
                    Err(malformed) => return Poll::Ready(Heard::Malformed(malformed)),
                }
            }
            match upstream
                .input
                .poll_fill(cx, &mut upstream.sock, buffers, false)
            {
                Poll::Ready(Ok(length)) if length > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Heard::End),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<N: Net> Try<'_, '_, N> {
    /// Sends the request, and listens for a head meanwhile.
    pub(super) async fn hear(&mut self) -> Heard {
        if self.next_head() {
            return Heard::Head(0);
        }
        let limits = &self.exchange.seat.live.plan.limits;
        let mut coming = Coming::new(limits, self.desk.request.is_head());
        let heard = poll_fn(|cx| self.poll_hear(cx, &mut coming)).await;
        let heard = match heard {
            Some(heard) => heard,
            None => self.hear_deaf(&mut coming).await,
        };
        match self.tries.race.is_off() {
            true => heard,
            // On the heap: few are late.
            false => match self.settled(heard) {
                Ok(heard) => heard,
                Err(heard) => Box::pin(self.other(heard)).await,
            },
        }
    }

    /// Ready with nothing: the request is sent, and reading tells no more of the client.
    fn poll_hear(&mut self, cx: &mut Context<'_>, coming: &mut Coming) -> Poll<Option<Heard>> {
        if !self.upload_over {
            match self.send(cx) {
                Poll::Ready(Ok(())) => {
                    if self.desk.request.framing() != Framing::Empty {
                        let within = self.per_try.min(self.course.within);
                        self.turned = self.conn.worker.now();
                        let until = self.course.by(self.turned + within);
                        self.conn.deadline.set(until);
                        if !self.tries.race.is_off() {
                            self.exchange.set_alarm(self.conn, self.turned);
                        }
                    }
                }
                Poll::Ready(Err(broke)) => return Poll::Ready(Some(Heard::Client(broke))),
                Poll::Pending => {}
            }
        }
        let buffers = &self.conn.worker.buffers;
        let heard = coming.poll(cx, &mut self.upstream, buffers, &mut self.desk.response);
        if let Poll::Ready(heard) = heard {
            return Poll::Ready(Some(heard));
        }
        if self.tries.race.is_on(&self.conn.deadline) && self.poll_race(cx).is_ready() {
            return Poll::Ready(Some(Heard::Head(0)));
        }
        if self.may_ask_going() {
            match self.conn.poll_going(cx, self.course.half_close) {
                Poll::Ready(Noticed::Gone) => return Poll::Ready(Some(Heard::Gone)),
                Poll::Ready(Noticed::Deaf) => return Poll::Ready(None),
                Poll::Pending => {}
            }
        }
        let client = self.is_clients_turn();
        // What moves all the time would never see its deadline pass.
        if self.course.call.is_some() && self.course.is_over(self.conn.worker.now()) {
            return Poll::Ready(Some(Heard::Nothing { client }));
        }
        self.conn
            .deadline
            .poll_passed(cx)
            .map(|()| Some(Heard::Nothing { client }))
    }

    /// Whether the client's going can be noticed now. Of a stream it always is, without reading: while a backend takes no more of a
    /// body, nothing is read of it. On a connection what is read ahead would be the body's.
    pub(super) const fn may_ask_going(&self) -> bool {
        self.upload_over || self.conn.sock.is_stream()
    }

    /// Whether the request is not all here, and the backend has what is.
    pub(super) fn is_clients_turn(&self) -> bool {
        !self.upload_over && !self.upload.has_output() && !self.is_awaited()
    }

    /// Whether a client keeps its body back until it is told to go on (RFC 9110 section 10.1.1): the backend's turn, which owes an
    /// answer to the head alone.
    pub(super) fn is_awaited(&self) -> bool {
        !self.upload.has_begun() && self.desk.request.expects_continue() && !self.tries.continued
    }

    /// Listens for a head, while reading tells nothing more of the client.
    async fn hear_deaf(&mut self, coming: &mut Coming) -> Heard {
        let bodyless = self.desk.request.framing() == Framing::Empty;
        let (heard, won) = {
            let conn = &*self.conn;
            let mut left = pin!(conn.left(self.course.half_close));
            poll_fn(|cx| {
                let buffers = &conn.worker.buffers;
                let heard = coming.poll(cx, &mut self.upstream, buffers, &mut self.desk.response);
                if let Poll::Ready(heard) = heard {
                    return Poll::Ready((heard, None));
                }
                if self.tries.race.is_on(&conn.deadline) {
                    let beside = Beside {
                        worker: &conn.worker,
                        deadline: &conn.deadline,
                        desk: &mut *self.desk,
                        course: self.course,
                        tries: &mut *self.tries,
                    };
                    let body = || copied(&self.upload, bodyless, !self.upload_broken);
                    if let Some(won) = self.exchange.poll_second(cx, beside, body) {
                        return Poll::Ready((Heard::Head(0), Some(won)));
                    }
                }
                if left.as_mut().poll(cx).is_ready() {
                    return Poll::Ready((Heard::Gone, None));
                }
                let nothing = Heard::Nothing { client: false };
                conn.deadline.poll_passed(cx).map(|()| (nothing, None))
            })
            .await
        };
        if let Some(won) = won {
            self.take_over(*won);
        }
        heard
    }

    /// Moves the request on. Ready with an error: the client's.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        let conn = &mut *self.conn;
        let sent = self.upload.poll(
            cx,
            &mut conn.input,
            &mut conn.sock,
            &mut self.upstream.sock,
            &conn.worker.buffers,
        );
        if self.upload.is_kept() && self.upload.has_written() {
            // What may be asked but once has been.
            let stream = self.upstream.sock.is_stream();
            if !stream && !self.desk.request.is_idempotent() {
                self.upload.forget(&conn.worker.buffers);
            }
        }
        if self.upload.take_crowded() {
            self.exchange.seat.sent_once(conn.worker.index);
        }
        match sent {
            Poll::Ready(Ok(())) => self.upload_over = true,
            Poll::Ready(Err(broke)) if broke.by_sender() => return Poll::Ready(Err(broke)),
            // The backend reads no more; it may have answered all the same.
            Poll::Ready(Err(_)) => (self.upload_over, self.upload_broken) = (true, true),
            Poll::Pending => {
                if self.upload.take_paused() {
                    conn.worker.net.give_way(cx);
                }
                if self.upload.take_moved() && !self.is_awaited() {
                    self.desk.seen.received = self.upload.came();
                    self.turned = self.conn.worker.now();
                    let until = self.course.by(self.turned + self.course.idle);
                    self.conn.deadline.set(until);
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}
