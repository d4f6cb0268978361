//! Owns the answer on its way to the client, and what is left of the request on its way to the backend meanwhile.

use std::future::poll_fn;
use std::task::Poll;

use evenkeel_balance::pick::Pick;
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_wire::chunked::{Chunked, Keep};
use evenkeel_wire::forward::{self, Reply, framing_for};
use evenkeel_wire::grpc::Status;
use evenkeel_wire::{Framing, Version};

use super::{Attempted, Ended, Failed, Try, sent};
use crate::again::Never;
use crate::carrier::Carrier;
use crate::connection::{Next, Noticed};
use crate::exchange::reply::{put_attempts, put_hsts};
use crate::http2::mux::asking::reset_by_peer;
use crate::net::Net;
use crate::reason::Reason;
use crate::relay::{Break, Pump};

/// How the relaying of a response ended.
enum Relayed {
    Whole,
    Backend(Break),
    /// The backend took its stream back, while the client took no more; the error's number, if one was said.
    Reset(Option<u32>),
    Client,
    /// Nothing moved for too long; `client`: it was the client's turn.
    Idle {
        client: bool,
    },
}

impl Relayed {
    /// The error with which the backend took its stream back.
    fn error(&self) -> Option<u32> {
        match self {
            Self::Backend(Break::Read(error)) => reset_by_peer(error),
            Self::Reset(error) => *error,
            _ => None,
        }
    }
}

impl<N: Net> Try<'_, '_, N> {
    /// A final head is here: learns from it, and relays it with its body.
    pub(super) async fn answer(mut self) -> Attempted {
        let now = self.conn.worker.now();
        self.heard_head(now);
        let verdict = self.verdict();
        self.pick.answered(verdict, now);
        if !matches!(verdict, Verdict::Success)
            && let Some(failed) = self.worth_another(verdict)
        {
            // On the heap: most answers are good.
            let next = Box::pin(self.given_up_for(&failed)).await;
            if !matches!(next, Err(Never::Refused)) {
                return self.given_up(next.ok(), failed.whole);
            }
        }
        self.upload.forget(&self.conn.worker.buffers);
        let (framing, keep) = self.write_head();
        let came = self.desk.response.framing();
        let mut head = std::mem::take(&mut self.desk.downward);
        let ends = came == Framing::Empty;
        if self.conn.sock.respond(&mut head, ends).is_err() {
            self.desk.downward = head;
            return self.client_left(0, Reason::ClientLeft);
        }
        let apart = self.conn.sock.is_stream();
        let mut download = self
            .download()
            .before(head)
            .ending(!keep)
            .hiding_load(self.hides_load())
            .wrapping(came == Framing::UntilClose && framing == Framing::Chunked);
        if !apart {
            download.gather(&mut self.upstream.input, &self.conn.worker.buffers);
        }
        let relayed = self.relay(&mut download).await;
        let sent_bytes = download.came();
        let ended = match relayed {
            Relayed::Whole => self.ended(download.trailers()),
            _ => Outcome::Completed,
        };
        let (started, sent_all) = (apart || download.has_written(), self.upload.is_done());
        self.desk.downward = download.into_buffer(&self.conn.worker.buffers);
        self.desk.seen.received = self.upload.came();
        let error = relayed.error();
        let fault = match relayed {
            Relayed::Whole => {
                let used_up = sent_all && !self.upload_broken;
                return self.whole(keep, used_up, sent_bytes, ended);
            }
            Relayed::Idle { .. } if self.conn.deadline.take_cut() => return self.cut(sent_bytes),
            Relayed::Idle { .. } if self.course.is_over(self.conn.worker.now()) => {
                return self.late(sent_bytes);
            }
            Relayed::Client => return self.client_left(sent_bytes, Reason::ClientLeft),
            Relayed::Idle { client: true } => {
                return self.client_left(sent_bytes, Reason::ClientStalled);
            }
            Relayed::Idle { client: false } => Fault::Timeout,
            Relayed::Backend(Break::Malformed(_)) => Fault::Protocol,
            Relayed::Backend(_) | Relayed::Reset(_) => Fault::Reset,
        };
        match started {
            true => self.broken_off(fault, error, sent_bytes),
            false => {
                self.desk.upward = self.upload.into_buffer(&self.conn.worker.buffers);
                (self.pick).finish(Outcome::Broken(fault), self.conn.worker.now());
                Attempted::Failed(sent(None, self.reused, Reason::BodyBroken))
            }
        }
    }

    /// A head is here that may be the client's: says how long it took, and failing over, where that led to it.
    #[inline]
    pub(super) fn heard_head(&mut self, now: Instant) {
        self.desk.seen.head = Some(self.lane.heard(now.since(self.ready)));
        if let Some(failed) = self.tries.failed {
            self.desk.seen.failover = Some(now.since(failed));
        }
    }

    /// A drain has taken too long: ours to end, and held against nobody.
    fn cut(self, bytes: u64) -> Attempted {
        let reason = self.conn.cut_for();
        self.client_left(bytes, reason)
    }

    /// The backend broke off within an answer that the client has begun to hear; it may have said an `error`.
    fn broken_off(mut self, fault: Fault, error: Option<u32>, bytes: u64) -> Attempted {
        // Of a call it can be said in its own words that it is not whole.
        let status = error.map_or(Reason::BodyBroken.grpc(), Status::of_reset);
        let next = match self.tell(Reason::BodyBroken, status) {
            true => Next::Linger,
            false => Next::Cut,
        };
        let received = self.upload.came();
        self.desk.upward = self.upload.into_buffer(&self.conn.worker.buffers);
        (self.pick).finish(Outcome::Broken(fault), self.conn.worker.now());
        Attempted::Ended(Ended {
            next,
            status: self.desk.response.status(),
            reason: Reason::BodyBroken,
            received,
            sent: bytes,
        })
    }

    /// What an answer with this verdict failed by, if that is worth another attempt.
    fn worth_another(&self, verdict: Verdict) -> Option<Failed> {
        let worth = self.worth(verdict)?;
        Some(Failed {
            fault: Some(worth.fault),
            progress: worth.progress,
            reused: self.reused,
            whole: self.is_whole(),
            rest: worth.rest,
            reason: Reason::Served,
        })
    }

    /// The attempt that is made in the place of an answer. Its backend's place is given back before: where there are few, it may be
    /// the one that is needed. The answer is kept until there is another pick, and is its client's if there is none.
    async fn given_up_for(&mut self, failed: &Failed) -> Result<Pick<Held>, Never> {
        let (exchange, course, request) = (self.exchange, self.course, &self.desk.request);
        let again = exchange.after(request, failed, self.tries, course);
        let mut again = again.ok_or(Never::Refused)?;
        let granted = again.granted(&self.conn.worker).ok_or(Never::Refused)?;
        self.pick.end(Outcome::Completed, self.conn.worker.now());
        exchange
            .next(self.conn, again, granted, self.tries, course)
            .await
    }

    /// The answer is nobody's any more: another attempt is made with this pick, or the client has gone.
    fn given_up(self, next: Option<Pick<Held>>, whole: bool) -> Attempted {
        let received = self.upload.came();
        drop(self.set_aside(whole && next.is_some()));
        next.map_or_else(|| Attempted::Ended(Ended::gone(received)), Attempted::Again)
    }

    /// The answer's body, on its way to the client.
    fn download(&self) -> Pump {
        let came = self.desk.response.framing();
        if self.upstream.sock.is_stream() {
            return Pump::of_stream(came);
        }
        let chunks = match self.desk.request.version() {
            Version::Old => Keep::Data,
            Version::Current => Keep::Chunks,
            Version::Two => Keep::Apart,
        };
        let limits = &self.exchange.seat.live.plan.limits;
        Pump::new(came, || Chunked::new(chunks, limits.head, limits.fields))
    }

    /// Writes the head of the answer for the client. Its framing there, and whether the connection lives on.
    fn write_head(&mut self) -> (Framing, bool) {
        let version = self.desk.request.version();
        let framing = framing_for(version, &self.desk.response);
        // While the body still comes nobody knows whether it will come whole, or at all (`100 Continue`): the connection ends
        // with this answer, and a client that is not told so may send its next request into nothing.
        let used_up = self.upload_over && !self.upload_broken;
        // Now, not when it was asked: backends may think for long.
        let stays = self.course.keep && !self.conn.is_closing();
        let keep = stays && framing != Framing::UntilClose && used_up;
        let reply = Reply {
            framing,
            version,
            keep,
            to_head: self.desk.request.is_head(),
        };
        put_hsts(self.conn, self.exchange.listener, &mut self.desk.altered);
        let attempts = self.desk.seen.attempts;
        put_attempts(self.exchange.listener, attempts, &mut self.desk.altered);
        (self.exchange).keep(self.conn, self.desk, &self.pick, self.course, self.tries);
        self.desk.downward.clear();
        forward::response(
            &self.desk.response,
            &reply,
            self.course.via,
            Some(&self.desk.altered).filter(|altered| altered.is_touched()),
            &mut self.desk.downward,
        );
        self.desk.seen.head_sent = self.desk.downward.len();
        (framing, keep)
    }

    /// Moves the answer to the client, and what is left of the request to the backend.
    async fn relay(&mut self, download: &mut Pump) -> Relayed {
        let idle = self.course.idle_answer;
        let (mut waiting, mut deaf) = (false, false);
        let status = self.desk.response.status();
        poll_fn(|cx| {
            if !self.upload_over
                && let Poll::Ready(Err(_)) = self.send(cx)
            {
                return Poll::Ready(Relayed::Client);
            }
            let asks_going = self.may_ask_going();
            let sent = self.upload_over && !self.upload_broken;
            let conn = &mut *self.conn;
            let polled = download.poll(
                cx,
                &mut self.upstream.input,
                &mut self.upstream.sock,
                &mut conn.sock,
                &conn.worker.buffers,
            );
            match polled {
                Poll::Ready(Ok(())) => return Poll::Ready(Relayed::Whole),
                Poll::Ready(Err(broke)) if broke.by_sender() => {
                    return Poll::Ready(Relayed::Backend(broke));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Relayed::Client),
                Poll::Pending => {}
            }
            // While the client takes nothing, nothing is read that would tell.
            if sent
                && download.has_output()
                && let Carrier::Stream(stream) = &mut self.upstream.sock
                && let Poll::Ready(error) = stream.poll_taken_back(cx)
            {
                return Poll::Ready(Relayed::Reset(error));
            }
            if download.take_paused() {
                conn.worker.net.give_way(cx);
            }
            // A body may rest for long, and only a write would tell.
            if asks_going && !deaf {
                match conn.poll_going(cx, self.course.half_close) {
                    Poll::Ready(Noticed::Gone) => return Poll::Ready(Relayed::Client),
                    Poll::Ready(Noticed::Deaf) => deaf = true,
                    Poll::Pending => {}
                }
            }
            if download.take_moved() | !std::mem::replace(&mut waiting, true) {
                let now = conn.worker.now();
                conn.deadline.set(self.course.by(now + idle));
                // What moves all the time would never see its deadline pass.
                if self.course.is_over(now) {
                    return Poll::Ready(Relayed::Idle { client: false });
                }
            }
            if download.has_written() {
                // As far as it got, should it be cut.
                (self.desk.seen.status, self.desk.seen.sent) = (status, download.came());
            }
            let client = download.has_output();
            conn.deadline
                .poll_passed(cx)
                .map(|()| Relayed::Idle { client })
        })
        .await
    }

    /// The answer is with the client, whole.
    fn whole(mut self, keep: bool, sent_all: bool, bytes: u64, ended: Outcome) -> Attempted {
        let now = self.conn.worker.now();
        let response = &self.desk.response;
        self.upstream.input.release(&self.conn.worker.buffers);
        if response.keeps_connection() && sent_all && self.upstream.input.is_empty() {
            let how = &self.exchange.seat.live.plan.upstream;
            self.lane
                .park(self.upstream, how, response.keeps_for_seconds(), now);
        }
        self.pick.finish(ended, now);
        let received = self.upload.came();
        self.desk.upward = self.upload.into_buffer(&self.conn.worker.buffers);
        let next = match (sent_all, keep) {
            (true, true) => Next::Keep,
            (true, false) if !self.desk.request.keeps_connection() => Next::Close,
            // Ended by us, while the next request may be on its way.
            _ => Next::Linger,
        };
        Attempted::Ended(Ended {
            next,
            status: self.desk.response.status(),
            reason: Reason::Served,
            received,
            sent: bytes,
        })
    }
}
