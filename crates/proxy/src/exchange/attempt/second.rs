//! Owns the second attempt of an exchange, up to its response head: made beside one that is slow, when that is, and of what it needs alone.
//!
//! It knows nothing of the client, reads nothing from it and tells it nothing: what it hears is the exchange's once it is answered
//! first. Dropped before, it is given up: its connection ends, its stream is taken back. Read next: `race`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::pick::Pick;
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Outcome, Verdict};
use evenkeel_wire::chunked::{ChunkLine, LAST_CHUNK};
use evenkeel_wire::forward::Forwardable;
use evenkeel_wire::{Framing, Malformed, ResponseHead};

use super::INTERIM_MOST;
use super::fail::{blamed, doubt, ended_unheard};
use super::hear::{Coming, Heard};
use super::race::Race;
use super::verdict::verdict_of;
use crate::carrier::Carrier;
use crate::deadline::Deadline;
use crate::exchange::call::fair;
use crate::failed::TryOutcome;
use crate::net::Net;
use crate::reason::Reason;
use crate::recorded::{End, Recording};
use crate::sock::Sock;
use crate::upstream::open::Opening;
use crate::upstream::{Connection, Lane};
use crate::worker::{Seat, Worker};

/// A request as it is asked once more, with all of its body.
pub(super) struct Copied {
    pub(super) head: Forwardable,
    pub(super) framing: Framing,
    pub(super) to_head: bool,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<u8>,
}

impl Copied {
    /// What is written of it: on a stream, its body alone.
    fn bytes(&self, stream: bool) -> Vec<u8> {
        if stream {
            return self.body.clone();
        }
        let mut bytes = self.head.as_bytes().to_vec();
        let chunked = matches!(self.framing, Framing::Chunked | Framing::UntilClose);
        let (before, behind): (_, &[&[u8]]) = match (chunked, self.body.is_empty()) {
            (false, _) => (None, &[]),
            (true, true) => (None, &[LAST_CHUNK, &self.trailers, b"\r\n"]),
            (true, false) => (
                Some(ChunkLine::before(self.body.len())),
                &[b"\r\n", LAST_CHUNK, &self.trailers, b"\r\n"],
            ),
        };
        if let Some(line) = before {
            bytes.extend_from_slice(line.as_bytes());
        }
        bytes.extend_from_slice(&self.body);
        behind.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }
}

/// How long it may take.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connect: Duration,
    pub(super) per_try: Duration,
    /// When the exchange must have its response head.
    pub(super) until: Instant,
}

/// What it was answered with, first of both.
pub(super) struct Won<N: Net> {
    pub(super) pick: Pick<Held>,
    pub(super) lane: Rc<Lane<N::Sock>>,
    pub(super) upstream: Connection<N::Sock>,
    /// When it had its connection, and how long that took. None: it was kept.
    pub(super) ready: Instant,
    pub(super) connect: Option<Duration>,
    /// All of the request is with the backend.
    pub(super) sent: bool,
    /// Interim ones, and the final one, which is last.
    pub(super) heads: VecDeque<ResponseHead>,
}

impl<N: Net> Won<N> {
    /// What is heard of it from here on.
    pub(super) fn said(&mut self) -> Race<N> {
        Race::Said {
            heads: std::mem::take(&mut self.heads),
            sent: self.sent,
        }
    }
}

/// The error: it came to nothing that a client would be given.
pub(super) type Answer<N> = Result<Box<Won<N>>, Lost>;

/// How one ended that came to nothing.
pub(super) struct Lost {
    pub(super) backend: BackendId,
    pub(super) outcome: TryOutcome,
}

/// A second attempt that is under way.
pub(in crate::exchange) struct Second<N: Net> {
    runs: Pin<Box<dyn Future<Output = Answer<N>>>>,
    outrun: Rc<Cell<bool>>,
}

impl<N: Net> Second<N> {
    pub(super) fn begin(
        (worker, recording): (Rc<Worker<N>>, Option<Rc<Recording>>),
        seat: Rc<Seat<N>>,
        (pick, lane): (Pick<Held>, Rc<Lane<N::Sock>>),
        (copied, introduction): (Copied, Vec<u8>),
        bounds: Bounds,
    ) -> Self {
        let outrun = Rc::new(Cell::new(false));
        let deadline = worker.deadlines.slot();
        deadline.serves(lane.number);
        let attempt = Attempt {
            charge: Charge {
                pick: Some(pick),
                outrun: outrun.clone(),
                worker: worker.clone(),
            },
            worker,
            recording,
            seat,
            lane,
            deadline,
            copied,
            introduction,
            bounds,
        };
        Self {
            runs: Box::pin(attempt.run()),
            outrun,
        }
    }

    /// Ready once it has ended: with an answer, or with none for a client.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer<N>> {
        self.runs.as_mut().poll(cx)
    }

    /// The first was answered before.
    pub(super) fn outrun(self) {
        self.outrun.set(true);
    }
}

/// Its pick, and how that ends if it is given up.
struct Charge<N: Net> {
    pick: Option<Pick<Held>>,
    outrun: Rc<Cell<bool>>,
    worker: Rc<Worker<N>>,
}

impl<N: Net> Charge<N> {
    /// None: nothing is held against the backend.
    fn end(&mut self, outcome: Option<Outcome>) {
        if let (Some(pick), Some(outcome)) = (self.pick.take(), outcome) {
            pick.finish(outcome, self.worker.now());
        }
    }

    fn usual(&self) -> Option<Duration> {
        self.pick.as_ref()?.usual()
    }
}

impl<N: Net> Drop for Charge<N> {
    fn drop(&mut self) {
        let outcome = self.outrun.get().then_some(Outcome::Outrun);
        self.end(outcome);
    }
}

struct Attempt<N: Net> {
    charge: Charge<N>,
    worker: Rc<Worker<N>>,
    recording: Option<Rc<Recording>>,
    seat: Rc<Seat<N>>,
    lane: Rc<Lane<N::Sock>>,
    deadline: Deadline,
    copied: Copied,
    introduction: Vec<u8>,
    bounds: Bounds,
}

impl<N: Net> Attempt<N> {
    async fn run(mut self) -> Answer<N> {
        let now = self.worker.now();
        let mut kept = self.lane.take_idle(&self.seat.live.plan.upstream, now);
        let mut anew = false;
        loop {
            let (mut upstream, opened) = match kept.take() {
                Some(upstream) => (upstream, false),
                None => match self.open(anew).await {
                    Ok(upstream) => (upstream, true),
                    Err(reason) => return Err(self.lost(TryOutcome::Failed(reason))),
                },
            };
            let ready = self.worker.now();
            let spent = ready.since(now);
            let until = ready + self.bounds.per_try.saturating_sub(spent);
            self.deadline.set(until.min(self.bounds.until));
            let mut said = Said::default();
            match self.asked(&mut upstream, &mut said).await {
                Ok(()) => {}
                // It had ended, by its backend's right: once, as with the first.
                Err(heard) if !anew && is_passed_by(&heard, &upstream) => {
                    anew = true;
                    continue;
                }
                Err(heard) => {
                    self.failed(&heard, &upstream, ready);
                    return Err(self.lost(TryOutcome::Failed(blamed(&heard).1)));
                }
            }
            return self.won(upstream, said, (ready, opened.then_some(spent)));
        }
    }

    fn lost(&self, outcome: TryOutcome) -> Lost {
        let backend = self.lane.backend.id.clone();
        Lost { backend, outcome }
    }

    /// Where a kept connection had ended, a `fresh` one; or why there is none.
    async fn open(&mut self, fresh: bool) -> Result<Connection<N::Sock>, Reason> {
        let service = &self.seat.live;
        let opening = Opening {
            service,
            introduction: &self.introduction,
            towards: service.towards.as_deref(),
            within: self.bounds.connect,
            until: self.bounds.until,
            half_close: true,
            protocol: service.plan.upstream.protocol,
            fresh,
        };
        let now = self.worker.now();
        let opened = opening.open_beside(&self.worker, &self.deadline, &self.lane, now);
        match opened.await {
            Ok(upstream) => Ok(upstream),
            Err((fault, reason)) => {
                self.charge.end(fault.map(Outcome::Broken));
                self.went(fault.map_or(End::GivenUp, |_| End::Failed(reason)));
                Err(reason)
            }
        }
    }

    /// Asks, and listens until there is a final head.
    async fn asked(
        &self,
        upstream: &mut Connection<N::Sock>,
        said: &mut Said,
    ) -> Result<(), Heard> {
        let copied = &self.copied;
        let bodyless = copied.framing == Framing::Empty;
        if let Carrier::Stream(stream) = &mut upstream.sock {
            match stream.ask(&copied.head, bodyless, copied.to_head, None) {
                Ok(true) => {}
                Ok(false) => return Err(Heard::Unseen),
                // The first was asked so, too.
                Err(_) => return Err(Heard::Gone),
            }
        }
        let mut sending = Sending {
            bytes: copied.bytes(upstream.sock.is_stream()),
            written: 0,
        };
        let limits = &self.seat.live.plan.limits;
        for _ in 0..=INTERIM_MOST {
            let mut coming = Coming::new(limits, copied.to_head);
            let mut head = ResponseHead::default();
            let heard = poll_fn(|cx| {
                if !said.over {
                    match sending.poll(cx, &mut upstream.sock, &copied.trailers) {
                        Poll::Ready(Ok(())) => (said.over, said.sent) = (true, true),
                        // The backend reads no more; it may have answered all the same.
                        Poll::Ready(Err(_)) => said.over = true,
                        Poll::Pending => {}
                    }
                }
                let buffers = &self.worker.buffers;
                let heard = coming.poll(cx, upstream, buffers, &mut head);
                if heard.is_ready() {
                    return heard;
                }
                let nothing = Heard::Nothing { client: false };
                self.deadline.poll_passed(cx).map(|()| nothing)
            });
            match heard.await {
                Heard::Head(length) => upstream.input.consume(length),
                heard => return Err(heard),
            }
            match head.status() {
                101 => break,
                100..=199 => said.heads.push_back(head),
                _ => {
                    said.heads.push_back(head);
                    return Ok(());
                }
            }
        }
        Err(Heard::Malformed(Malformed::Status))
    }

    fn failed(&mut self, heard: &Heard, upstream: &Connection<N::Sock>, ready: Instant) {
        let waited = self.worker.now().since(ready);
        let per_try = self.bounds.per_try;
        let hurried = || {
            let usual = self.charge.usual();
            waited < per_try && usual.is_none_or(|usual| waited < fair(Some(usual), per_try))
        };
        let fault = match heard {
            Heard::Gone => None,
            Heard::Nothing { .. } if self.deadline.take_cut() || hurried() => None,
            heard => Some(blamed(heard).0),
        };
        if let Some(fault) = fault {
            doubt(upstream, fault);
        }
        self.charge.end(fault.map(Outcome::Broken));
        self.went(fault.map_or(End::GivenUp, |_| End::Failed(blamed(heard).1)));
    }

    /// It came to nothing, so: where the exchange is recorded, that is written down.
    fn went(&self, how: End) {
        if let Some(recording) = &self.recording {
            recording.went_beside(how, self.worker.now());
        }
    }

    /// A final head is here. One that says that its backend failed is no answer while the other may yet have a good one.
    fn won(
        &mut self,
        upstream: Connection<N::Sock>,
        said: Said,
        (ready, connect): (Instant, Option<Duration>),
    ) -> Answer<N> {
        let on = &self.seat.live.plan.settings.retry.on;
        let (Some(head), Some(mut pick)) = (said.heads.back(), self.charge.pick.take()) else {
            return Err(self.lost(TryOutcome::Failed(Reason::BackendReset)));
        };
        let verdict = verdict_of(head);
        if is_worse(head, verdict, &on.statuses) {
            let now = self.worker.now();
            pick.answered(verdict, now);
            pick.finish(Outcome::Completed, now);
            self.went(End::Answered(head.status()));
            return Err(self.lost(TryOutcome::Answered(head.status())));
        }
        Ok(Box::new(Won {
            pick,
            lane: self.lane.clone(),
            upstream,
            ready,
            connect,
            sent: said.sent,
            heads: said.heads,
        }))
    }
}

/// Whether a connection that was kept ended, or its backend goes, before it saw the request.
fn is_passed_by<S: Sock>(heard: &Heard, upstream: &Connection<S>) -> bool {
    let unseen = matches!(heard, Heard::Unseen) || ended_unheard(heard, upstream);
    upstream.is_reused() && unseen
}

/// Whether another attempt's answer would be better than this: one that says that its backend failed, or is named to be tried again.
pub(super) fn is_worse(head: &ResponseHead, verdict: Verdict, statuses: &[u16]) -> bool {
    matches!(verdict, Verdict::Failure(_)) || statuses.contains(&head.status())
}

/// What was said, and heard.
#[derive(Default)]
struct Said {
    heads: VecDeque<ResponseHead>,
    /// The request is sent, or will not be.
    over: bool,
    /// All of it is.
    sent: bool,
}

/// A request on its way.
struct Sending {
    bytes: Vec<u8>,
    written: usize,
}

impl Sending {
    fn poll<S: Sock>(
        &mut self,
        cx: &mut Context<'_>,
        sock: &mut Carrier<S>,
        trailers: &[u8],
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            match ready!(sock.poll_write(cx, &self.bytes[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length,
            }
        }
        ready!(sock.poll_flush(cx))?;
        Poll::Ready(sock.end(trailers))
    }
}
