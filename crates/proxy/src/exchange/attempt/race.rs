//! Owns the race of two attempts of one exchange: when the second is begun, whose answer is the client's, and what is said of the other.
//!
//! The first that has a final head is heard, unless it says that its backend failed: then the other is waited for. Nothing of an
//! answer goes to the client before that is decided, and only one of both has a way to it. Whether there may be a second is for the core
//! to say (`evenkeel_balance::hedge`).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_balance::hedge::{NoHedge, Slow};
use evenkeel_balance::pick::Pick;
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Outcome;
use evenkeel_wire::{Framing, ResponseHead};

use super::second::{Answer, Bounds, Copied, Second, Won};
use super::{Attempted, Course};
use crate::connection::Conn;
use crate::deadline::Deadline;
use crate::decide;
use crate::exchange::call::per_try;
use crate::exchange::{Exchange, Tries};
use crate::net::Net;
use crate::observation::{HedgeCounters, Observation};
use crate::recorded::End;
use crate::relay::Pump;
use crate::upstream::open::{Opening, Unopened};
use crate::upstream::{Connection, Lane};
use crate::worker::{Desk, Worker};

/// The side of the first, once it has asked.
mod asked;

/// What runs beside an attempt.
#[derive(Default)]
pub(in crate::exchange) enum Race<N: Net> {
    /// Nothing, nor will it.
    #[default]
    Off,
    /// Nothing yet.
    Waits,
    Runs(Second<N>),
    /// It was answered first, with these heads, and is the exchange's only attempt from there on; `sent`: it has all of the request.
    Said {
        heads: VecDeque<ResponseHead>,
        sent: bool,
    },
}

impl<N: Net> Race<N> {
    #[inline]
    pub(super) const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Whether what is heard next was heard already.
    #[inline]
    pub(super) const fn has_said(&self) -> bool {
        matches!(self, Self::Said { .. })
    }

    /// Whether there is something to be done about it now.
    #[inline]
    pub(super) fn is_on(&self, deadline: &Deadline) -> bool {
        match self {
            Self::Off | Self::Said { .. } => false,
            Self::Waits => deadline.rang(),
            Self::Runs(_) => true,
        }
    }

    const fn runs(&self) -> bool {
        matches!(self, Self::Runs(_))
    }

    /// What the second came to, after which it is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Answer<N>> {
        let Self::Runs(second) = self else {
            return None;
        };
        let Poll::Ready(answer) = second.poll(cx) else {
            return None;
        };
        *self = Self::Off;
        Some(answer)
    }

    /// The first was answered before.
    fn outrun(&mut self) {
        if let Self::Runs(second) = std::mem::take(self) {
            second.outrun();
        }
    }
}

/// What a second attempt is begun with.
pub(super) struct Beside<'a, N: Net> {
    pub(super) worker: &'a Rc<Worker<N>>,
    pub(super) deadline: &'a Deadline,
    pub(super) desk: &'a mut Desk,
    pub(super) course: &'a Course<'a>,
    pub(super) tries: &'a mut Tries<N>,
}

/// What came of opening a connection, perhaps in a race.
pub(super) enum Opened<N: Net> {
    First(Result<(Connection<N::Sock>, Instant), Unopened>),
    /// The second was answered before there was any; or there is none, for this reason.
    Second(Box<Won<N>>, Option<Unopened>),
}

impl<N: Net> Exchange<'_, N> {
    /// An attempt begins that may have another beside it, once in an exchange.
    #[cold]
    pub(super) fn may_race(
        &self,
        conn: &Conn<N>,
        desk: &Desk,
        began: Instant,
        tries: &mut Tries<N>,
    ) {
        conn.deadline.no_alarm();
        if tries.hedged {
            return;
        }
        tries.race = Race::Waits;
        // Of one with a body it is the backend's turn when it has all of that.
        if desk.request.framing() == Framing::Empty {
            self.set_alarm(conn, began);
        }
    }

    /// The backend has had its turn since then.
    #[cold]
    pub(super) fn set_alarm(&self, conn: &Conn<N>, since: Instant) {
        if let Some(after) = self.seat.handle.hedge_after(decide::class(self.class)) {
            conn.deadline.alarm(&conn.worker.deadlines, since + after);
        }
    }

    /// Begins the second attempt if its time has come, and says what it was answered with. `body`: that of the request, whole, with
    /// its trailers; none: it cannot be sent again.
    pub(super) fn poll_second(
        &self,
        cx: &mut Context<'_>,
        mut beside: Beside<'_, N>,
        body: impl FnOnce() -> Option<(Vec<u8>, Vec<u8>)>,
    ) -> Option<Box<Won<N>>> {
        if matches!(beside.tries.race, Race::Waits) && beside.deadline.rang() {
            beside.tries.race = match self.begin_second(&mut beside, body()) {
                Ok(second) => Race::Runs(second),
                Err(_) => Race::Off,
            };
        }
        self.won(cx, beside.worker, beside.desk, beside.tries)
    }

    /// What the second was answered with. One that came to nothing is an attempt that ended.
    fn won(
        &self,
        cx: &mut Context<'_>,
        worker: &Worker<N>,
        desk: &mut Desk,
        tries: &mut Tries<N>,
    ) -> Option<Box<Won<N>>> {
        match tries.race.poll(cx)? {
            Ok(won) => Some(won),
            Err(lost) => {
                let after = worker.now().since(self.began);
                let backend = lost.backend.as_str().as_bytes();
                desk.trail.put_beside(backend, lost.outcome, after);
                None
            }
        }
    }

    fn begin_second(
        &self,
        beside: &mut Beside<'_, N>,
        body: Option<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Second<N>, NoHedge> {
        let (worker, course) = (beside.worker, beside.course);
        let (request, now) = (&beside.desk.request, worker.now());
        let tried = beside.tries.asked.tried;
        let slow = Slow {
            idempotent: decide::is_repeatable(request),
            replayable: body.is_some(),
            made: beside.tries.made,
            excused: beside.tries.asked.excused,
            deadline_left: Some(course.by(course.until).since(now)),
            keeps: beside.desk.stay.is_some(),
        };
        let ask = self.ask(worker, &tried, course);
        let decision = self.recording.map(|_| self.decision(&ask, course, now));
        let picked = self.seat.handle.hedge(&slow, &ask, now);
        let picked = picked.and_then(|pick| match self.seat.lane(pick.backend()) {
            Some(lane) => Ok((pick, lane)),
            None => Err(NoHedge::NoOther),
        });
        let (pick, lane) =
            picked.inspect_err(|no| self.count_hedge(worker, |hedges| hedges.refused(*no)))?;
        self.count_hedge(worker, HedgeCounters::sent);
        let limits = &self.seat.live.plan.limits;
        let per_try = per_try(&self.rule.beside, limits, course.call);
        let connect = self.rule.beside.connect.unwrap_or(limits.connect);
        let (body, trailers) = body.unwrap_or_default();
        let mut copied = Copied {
            head: beside.desk.forwardable.clone(),
            framing: request.framing(),
            to_head: request.is_head(),
            body,
            trailers,
        };
        let bounds = Bounds {
            connect: connect.min(per_try),
            per_try,
            until: course.by(course.until),
        };
        let tries = &mut *beside.tries;
        tries.asked.tried.insert(pick.backend());
        (tries.hedged, tries.seen) = (true, true);
        tries.made += 1;
        beside.desk.seen.attempts += 1;
        if let (Some(recording), Some(decision)) = (self.recording, decision) {
            let whom = Some(Ok(pick.backend().id()));
            recording.decided_beside(decision.picked(whom, Duration::ZERO));
            if let Some(span) = recording.span_beside() {
                copied.head.set_span(span);
            }
        }
        let asked = (copied, course.introduction.clone());
        let with = (worker.clone(), self.recording.cloned());
        let seat = self.seat.clone();
        Ok(Second::begin(with, seat, (pick, lane), asked, bounds))
    }

    fn count_hedge(&self, worker: &Worker<N>, count: impl FnOnce(&HedgeCounters)) {
        if let Some(row) = self.seat.live.state.counters.get(worker.index) {
            count(&row.hedges);
        }
    }

    /// Opens a connection for the first, while a second may be begun: of a backend that takes none it is known late.
    pub(super) async fn open_in_race(
        &self,
        (conn, desk, tries): (&mut Conn<N>, &mut Desk, &mut Tries<N>),
        opening: &Opening<'_>,
        (lane, now): (&Rc<Lane<N::Sock>>, Instant),
        course: &Course<'_>,
    ) -> Opened<N> {
        let (worker, deadline) = (conn.worker.clone(), conn.deadline.clone());
        let (mut seen, framing) = (desk.seen, desk.request.framing());
        let opened = {
            let mut opening = pin!(opening.open(conn, &mut seen, lane, now));
            poll_fn(|cx| {
                if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
                    return Poll::Ready(Ok(opened));
                }
                let beside = Beside {
                    worker: &worker,
                    deadline: &deadline,
                    desk: &mut *desk,
                    course,
                    tries: &mut *tries,
                };
                let body = || (framing == Framing::Empty).then(<_>::default);
                match self.poll_second(cx, beside, body) {
                    Some(won) => Poll::Ready(Err(won)),
                    None => Poll::Pending,
                }
            })
            .await
        };
        (desk.seen.queue, desk.seen.connect) = (seen.queue, seen.connect);
        let (mut won, unopened) = match opened {
            Err(won) => (won, None),
            Ok(Err(unopened)) if tries.race.runs() && !matches!(unopened, Unopened::Gone) => {
                match self.other(conn, desk, course, tries).await {
                    Other::Won(won) => (won, Some(unopened)),
                    Other::Lost => return Opened::First(Err(unopened)),
                    Other::Gone => return Opened::First(Err(Unopened::Gone)),
                }
            }
            Ok(opened) => return Opened::First(opened),
        };
        self.count_hedge(&worker, HedgeCounters::won);
        tries.race = won.said();
        Opened::Second(won, unopened)
    }

    /// The first has no connection, whether or not that is why the second goes on in its place.
    pub(super) fn outrun(
        &self,
        conn: &Conn<N>,
        (pick, seen): (Pick<Held>, &Observation),
        unopened: Option<Unopened>,
        took: (Option<Duration>, Duration),
        course: &Course<'_>,
    ) {
        let how = match unopened {
            Some(unopened) => match self.unopened(conn, pick, &unopened, took, course) {
                Attempted::Failed(failed) => End::Failed(failed.reason),
                Attempted::Ended(_) | Attempted::Again(_) => End::GivenUp,
            },
            None => {
                pick.finish(Outcome::Outrun, conn.worker.now());
                End::Outrun
            }
        };
        if let Some(recording) = self.recording {
            let now = conn.worker.now();
            recording.went(seen, how, now);
            recording.overtaken(seen, now);
        }
    }

    /// Waits for the second alone, for a client that is still there.
    async fn other(
        &self,
        conn: &mut Conn<N>,
        desk: &mut Desk,
        course: &Course<'_>,
        tries: &mut Tries<N>,
    ) -> Other<N> {
        let worker = conn.worker.clone();
        let mut gone = pin!(conn.gone(course.half_close));
        poll_fn(|cx| {
            if let Some(won) = self.won(cx, &worker, desk, tries) {
                return Poll::Ready(Other::Won(won));
            }
            if !tries.race.runs() {
                return Poll::Ready(Other::Lost);
            }
            gone.as_mut().poll(cx).map(|()| Other::Gone)
        })
        .await
    }
}

/// What the second came to, where the first has come to nothing.
enum Other<N: Net> {
    Won(Box<Won<N>>),
    Lost,
    /// The client did not wait.
    Gone,
}

/// The body of a request that is all here, and its trailers.
pub(super) fn copied(upload: &Pump, bodyless: bool, over: bool) -> Option<(Vec<u8>, Vec<u8>)> {
    match bodyless {
        true => Some(<_>::default()),
        false => (over && upload.is_kept()).then(|| upload.copied()),
    }
}
