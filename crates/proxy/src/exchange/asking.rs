//! Owns what an exchange asks of a service: for whom, by which key, without whom; and what is written down of that where it is recorded.

use std::time::Duration;

use evenkeel_balance::ask::{Ask, Tried};
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_wire::RequestHead;

use super::Exchange;
use super::attempt::Course;
use super::call::per_try;
use crate::connection::Conn;
use crate::decide;
use crate::failed::TryOutcome;
use crate::net::Net;
use crate::observation::DECISIONS_PER_SAMPLE;
use crate::queue::{self, Unpicked};
use crate::recorded::{CANDIDATES, Decision, End, Timers};
use crate::worker::{Desk, Seat, Worker};

impl<N: Net> Exchange<'_, N> {
    /// What a hash policy sticks to.
    pub(super) fn key(&self, request: &RequestHead) -> Option<u64> {
        let key = self.seat.live.plan.key.as_ref();
        key.map(|key| decide::key(key, request, self.client))
    }

    /// A backend that was not tried, charged.
    pub(super) fn pick(
        &self,
        conn: &Conn<N>,
        tried: &Tried,
        course: &Course<'_>,
    ) -> Result<Pick<Held>, Refusal> {
        let ask = self.ask(&conn.worker, tried, course);
        let now = conn.worker.now();
        let decision = self.recorded(&ask, course, Duration::ZERO, now);
        let picked = self.seat.handle.pick(&ask, now);
        if let (Some(recording), Some(decision)) = (self.recording, decision) {
            let whom = match &picked {
                Ok(pick) => Ok(pick.backend().id()),
                Err(refusal) => Err(*refusal),
            };
            recording.decided(decision.picked(Some(whom), Duration::ZERO));
        }
        picked
    }

    /// The same for the first attempt: while the service is full it waits, where the service lets it.
    pub(super) async fn pick_or_wait(
        &self,
        conn: &mut Conn<N>,
        desk: &mut Desk,
        tried: &Tried,
        course: &Course<'_>,
    ) -> Result<Pick<Held>, Unpicked> {
        let (handle, until) = (&self.seat.handle, course.by(course.until));
        let ask = self.ask(&conn.worker, tried, course);
        let now = conn.worker.now();
        let decision = self.recorded(&ask, course, desk.seen.queue, now);
        let asked = handle.pick_or_wait(&ask, until, now);
        // Its lowest bits: what is chosen depends on them least. One that is written down takes longer by that.
        if ask.chance.is_multiple_of(DECISIONS_PER_SAMPLE) && decision.is_none() {
            self.decided(&conn.worker, now);
        }
        let queued = &mut desk.seen.queue;
        let bounds = (until, course.half_close);
        let picked = queue::picked(conn, handle, asked, bounds, queued).await;
        if let Some(decision) = decision {
            self.write_down(*decision, &picked, desk.seen.queue);
        }
        picked
    }

    /// What a pick is about to find, where that is written down, of who has waited so long before. On the heap: most have none, and what
    /// waits is to be small.
    #[inline]
    fn recorded(
        &self,
        ask: &Ask<'_>,
        course: &Course<'_>,
        queued: Duration,
        now: Instant,
    ) -> Option<Box<Decision>> {
        let decision = |_| {
            let found = self.decision(ask, course, now);
            Box::new(Decision {
                waited: queued,
                ..found
            })
        };
        self.recording.map(decision)
    }

    /// Writes down what came of it.
    #[cold]
    fn write_down(
        &self,
        decision: Decision,
        picked: &Result<Pick<Held>, Unpicked>,
        queued: Duration,
    ) {
        let whom = match picked {
            Ok(pick) => Some(Ok(pick.backend().id())),
            Err(Unpicked::Refused(refusal)) => Some(Err(*refusal)),
            Err(Unpicked::Gone | Unpicked::Over) => None,
        };
        if let Some(recording) = self.recording {
            let waited = queued.saturating_sub(decision.waited);
            recording.decided(decision.picked(whom, waited));
        }
    }

    /// What a pick finds now.
    #[cold]
    pub(super) fn decision(&self, ask: &Ask<'_>, course: &Course<'_>, now: Instant) -> Decision {
        let Seat { live, handle, .. } = &*self.seat;
        let limits = &live.plan.limits;
        let per_try = per_try(&self.rule.beside, limits, course.call);
        let connect = self.rule.beside.connect.unwrap_or(limits.connect);
        let by = live.affinity.as_ref().map(|affinity| &affinity.plan.by);
        let explains = self.recording.is_some_and(|recording| recording.explains());
        Decision {
            service: live.plan.name.clone(),
            key: course.key,
            affinity: by.map(|by| (by.word(), by.cookie().map(Into::into))),
            explanation: explains.then(|| handle.explain(ask, CANDIDATES, now)),
            after: now.since(self.began),
            waited: Duration::ZERO,
            picked: None,
            beside: false,
            timers: Timers {
                connect: connect.min(per_try),
                per_try,
                exchange: course.by(course.until).since(now),
            },
            ended: None,
        }
    }

    /// An attempt ended, and the client has not heard of it.
    #[cold]
    pub(super) fn went(&self, conn: &Conn<N>, desk: &mut Desk, outcome: TryOutcome) {
        let now = conn.worker.now();
        let after = now.since(self.began);
        desk.trail.put(&desk.backend, outcome, after);
        if let Some(recording) = self.recording {
            let how = match outcome {
                TryOutcome::Answered(status) => End::Answered(status),
                TryOutcome::Failed(reason) => End::Failed(reason),
            };
            recording.went(&desk.seen, how, now);
        }
    }

    /// A decision that began then is made.
    #[cold]
    fn decided(&self, worker: &Worker<N>, began: Instant) {
        if let Some(counters) = self.seat.live.state.counters.get(worker.index) {
            counters.stages.decided(worker.now().since(began));
        }
    }

    pub(super) fn ask<'t>(
        &self,
        worker: &Worker<N>,
        tried: &'t Tried,
        course: &Course<'_>,
    ) -> Ask<'t> {
        let mut ask = Ask::new(worker.chance())
            .class(decide::class(self.class))
            .queue_class(self.rule.class)
            .tried(tried);
        ask.key = course.key;
        ask.zone = decide::zone(&self.seat.live, self.client);
        match course.kept {
            Some(kept) => kept.ask(ask),
            None => ask,
        }
    }
}
