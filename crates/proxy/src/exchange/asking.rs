//! Owns what an exchange asks of a service: for whom, by which key, without whom.

use evenkeel_balance::ask::{Ask, Tried};
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_wire::RequestHead;

use super::Exchange;
use super::attempt::Course;
use crate::connection::Conn;
use crate::decide;
use crate::net::Net;
use crate::observation::DECISIONS_PER_SAMPLE;
use crate::queue::{self, Unpicked};
use crate::worker::{Desk, Worker};

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
        self.seat.handle.pick(&ask, conn.worker.now())
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
        let asked = handle.pick_or_wait(&ask, until, now);
        // Its lowest bits: what is chosen depends on them least.
        if ask.chance.is_multiple_of(DECISIONS_PER_SAMPLE) {
            self.decided(&conn.worker, now);
        }
        let queued = &mut desk.seen.queue;
        let bounds = (until, course.half_close);
        queue::picked(conn, handle, asked, bounds, queued).await
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
