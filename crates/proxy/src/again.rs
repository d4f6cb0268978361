//! Owns what lies between an attempt that failed and the next one, in this order: whether there may be one, the wait, the pick.
//!
//! Who waits holds no place: a backend that is picked before the wait may be drained, full or down when it is over. What may be made
//! takes its retry out of the budget, and gives it back if nothing comes of it.

use std::time::Duration;

use evenkeel_balance::ask::Tried;
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::retry::{Attempt, Decision, Reason};
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;

use crate::connection::Conn;
use crate::net::Net;
use crate::observation::RetryCounters;
use crate::worker::{Seat, Worker};

/// Why there is no other attempt.
#[derive(Debug)]
pub(crate) enum Never {
    /// It is not to be made, or by nobody.
    Refused,
    /// The client has gone while it was waited for.
    Gone,
}

/// A retry that may be made after this wait, and is taken out of the budget where it has a price.
#[must_use = "one that is not made is to be given back"]
#[derive(Clone, Copy)]
pub(crate) struct Granted {
    after: Duration,
    excused: bool,
}

impl Granted {
    const fn decision(self) -> Decision {
        let Self { after, excused } = self;
        Decision::Again { after, excused }
    }
}

/// Whom an exchange has asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) tried: Tried,
    /// Attempts that reached nobody, and do not count.
    pub(crate) excused: u32,
}

/// An attempt that has failed, and what the next one is bound by.
pub(crate) struct Again<'a, N: Net> {
    pub(crate) seat: &'a Seat<N>,
    pub(crate) failed: Attempt,
    /// When the exchange must have its response head.
    pub(crate) until: Instant,
    /// A client that ended its direction is still there.
    pub(crate) half_close: bool,
}

impl<N: Net> Again<'_, N> {
    /// Whether there may be another attempt.
    pub(crate) fn granted(&mut self, worker: &Worker<N>) -> Option<Granted> {
        let now = worker.now();
        self.failed.deadline_left = Some(self.until.since(now));
        let service = &self.seat.live.state.service;
        match service.retry(&self.failed, worker.chance()) {
            Decision::Again { after, excused } => Some(Granted { after, excused }),
            Decision::No(reason) => {
                self.count(worker, |counters| counters.refused(reason));
                None
            }
        }
    }

    /// Waits, and takes a backend for the next attempt: one that was not tried, if there is any; when all were, a new round begins, in
    /// which the last one comes last.
    pub(crate) async fn next(
        mut self,
        conn: &mut Conn<N>,
        mut granted: Granted,
        asked: &mut Asked,
        pick: impl Fn(&Conn<N>, &Tried) -> Result<Pick<Held>, Refusal>,
    ) -> Result<Pick<Held>, Never> {
        let worker = conn.worker.clone();
        let mut waited = Duration::ZERO;
        loop {
            let after = granted.after;
            let stays = (conn.stays(after.saturating_sub(waited), self.half_close)).await;
            waited = waited.max(after);
            if !stays {
                self.not_made(granted);
                return Err(Never::Gone);
            }
            if worker.is_over() {
                self.not_made(granted);
                return Err(Never::Refused);
            }
            if worker.now() >= self.until {
                self.not_made(granted);
                self.count(&worker, |counters| {
                    counters.refused(Reason::DeadlineTooClose);
                });
                return Err(Never::Refused);
            }
            match self.picked(&mut asked.tried, |tried| pick(conn, tried)) {
                Ok(pick) => {
                    asked.excused += u32::from(granted.excused);
                    self.count(&worker, |counters| counters.made(self.failed.fault));
                    return Ok(pick);
                }
                Err(refusal) => {
                    self.not_made(granted);
                    // Others cannot be picked; those that were tried may be asked again.
                    if !std::mem::take(&mut self.failed.untried) {
                        self.count(&worker, |counters| counters.unpicked(refusal));
                        return Err(Never::Refused);
                    }
                }
            }
            granted = self.granted(&worker).ok_or(Never::Refused)?;
        }
    }

    fn picked(
        &self,
        tried: &mut Tried,
        pick: impl Fn(&Tried) -> Result<Pick<Held>, Refusal>,
    ) -> Result<Pick<Held>, Refusal> {
        if self.failed.untried {
            return pick(tried);
        }
        tried.keep_last();
        let several = self.seat.live.state.members() > 1;
        let others = several.then(|| pick(tried).ok()).flatten();
        *tried = Tried::default();
        others.map_or_else(|| pick(tried), Ok)
    }

    fn not_made(&self, granted: Granted) {
        let service = &self.seat.live.state.service;
        service.retry_not_made(granted.decision());
    }

    fn count(&self, worker: &Worker<N>, count: impl FnOnce(&RetryCounters)) {
        if let Some(row) = self.seat.live.state.counters.get(worker.index) {
            count(&row.retries);
        }
    }
}
