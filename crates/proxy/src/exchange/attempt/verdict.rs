//! Owns what a response head says about its backend.

use std::time::Duration;

use evenkeel_balance::pick::Pick;
use evenkeel_balance::retry::Progress;
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_wire::grpc::Status;
use evenkeel_wire::{Framing, ResponseHead, retry_after};

use super::{Attempted, Course, Ended, Failed, Try, unsent};
use crate::carrier::Carrier;
use crate::connection::{Conn, Next};
use crate::exchange::Exchange;
use crate::exchange::call::{STATUS, fair, per_try, put_status};
use crate::net::Net;
use crate::reason::Reason;
use crate::sock::Sock;
use crate::upstream::open::Unopened;

impl<N: Net> Try<'_, '_, N> {
    /// What the head that is here says about its backend; of a call, how that ended.
    pub(super) fn verdict(&mut self) -> Verdict {
        self.hear_load();
        let Some(call) = self.course.call else {
            return verdict_of(&self.desk.response);
        };
        let (status, verdict) = call.head(&self.desk.response);
        self.desk.seen.grpc = status;
        verdict.unwrap_or_else(|| verdict_of(&self.desk.response))
    }

    /// What the end of a whole answer says, with these trailers.
    pub(super) fn ended(&mut self, trailers: &[u8]) -> Outcome {
        self.hear_load_behind(trailers);
        match (self.course.call, self.desk.seen.grpc) {
            (Some(call), None) => {
                let (status, outcome) = call.trailers(trailers);
                self.desk.seen.grpc = Some(status);
                outcome
            }
            _ => Outcome::Completed,
        }
    }

    /// Ends a call within its answer with a status of ours. False: it is no call, or nobody hears of it.
    pub(super) fn tell(&mut self, reason: Reason, status: Status) -> bool {
        if self.course.call.is_none() {
            return false;
        }
        let mut trailers = Vec::new();
        put_status(status, reason.word(), &mut trailers);
        let said = self.conn.sock.end(&trailers).is_ok();
        self.desk.seen.grpc = Some(status).filter(|_| said);
        said
    }

    /// How an attempt ended without a head that the client's time has: a backend that was silent for long enough is to blame, as if
    /// there had been no such time. A client in a hurry has nobody ejected.
    pub(super) fn silent(&self, now: Instant) -> Outcome {
        let (rule, limits) = (
            &self.exchange.rule.beside,
            &self.exchange.seat.live.plan.limits,
        );
        let fair = fair(self.pick.usual(), per_try(rule, limits, None));
        if self.is_clients_turn() || now.since(self.turned) < fair {
            return Outcome::ClientLeft;
        }
        if let Carrier::Stream(stream) = &self.upstream.sock {
            stream.doubt(false);
        }
        Outcome::Broken(Fault::Timeout)
    }

    /// The client has gone, and what that says of the backend.
    pub(super) fn gone(self, now: Instant) -> Attempted {
        let outcome = match self.course.is_used_up(now) {
            true => self.silent(now),
            false => Outcome::ClientLeft,
        };
        let received = self.upload.came();
        self.set_aside(false).finish(outcome, now);
        Attempted::Ended(Ended::gone(received))
    }

    /// A call's time is over within its answer: it ends with a status of ours, and the backend's stream with it.
    pub(super) fn late(mut self, bytes: u64) -> Attempted {
        let said = self.tell(Reason::CallTimeout, Reason::CallTimeout.grpc());
        match self.client_left(bytes, Reason::CallTimeout) {
            Attempted::Ended(ended) if said => Attempted::Ended(Ended {
                next: Next::Linger,
                ..ended
            }),
            cut => cut,
        }
    }
}

impl<N: Net> Exchange<'_, N> {
    /// There is no connection, for which it `took` so long, where it was tried, of so much that it may take. Where the exchange's time was
    /// over before, that is the backend's if it was long for what is usual.
    pub(super) fn unopened(
        &self,
        conn: &Conn<N>,
        pick: Pick<Held>,
        unopened: &Unopened,
        (took, within): (Option<Duration>, Duration),
        course: &Course<'_>,
    ) -> Attempted {
        let now = conn.worker.now();
        let limits = &self.seat.live.plan.limits;
        let fair = || fair(pick.usual(), per_try(&self.rule.beside, limits, None));
        let slow = || took.is_some_and(|took| took >= fair());
        let (fault, ended) = match *unopened {
            Unopened::Gone => {
                let fault = (course.is_used_up(now) && slow()).then_some(Fault::Connect);
                let outcome = fault.map_or(Outcome::ClientLeft, Outcome::Broken);
                pick.finish(outcome, now);
                return Attempted::Ended(Ended::gone(0));
            }
            _ if conn.worker.is_over() => (None, unsent(None, Reason::InstanceDrained)),
            Unopened::Nobody if !course.is_over(now) => {
                let (fault, progress) = (Some(Fault::Connect), Progress::Unreached);
                let failed = unsent(fault, Reason::ConnectFailed);
                (fault, Failed { progress, ..failed })
            }
            // By the client's time, after which nobody is tried.
            Unopened::Nobody => (Some(Fault::Connect), unsent(None, Reason::CallTimeout)),
            Unopened::Failed(fault, _) if course.is_over(now) => {
                (fault.filter(|_| slow()), unsent(None, Reason::CallTimeout))
            }
            Unopened::Failed(fault, reason) => {
                let hurried = now >= course.until && took.is_none_or(|took| took < within);
                let known = pick.usual().is_some();
                let fault = fault.filter(|_| !hurried || known && slow());
                (fault, unsent(fault, reason))
            }
        };
        match fault {
            Some(fault) => pick.finish(Outcome::Broken(fault), now),
            // Our own limit: nothing is held against the backend.
            None => drop(pick),
        }
        Attempted::Failed(ended)
    }
}

/// What of an answer is worth another attempt.
pub(super) struct Worth {
    pub(super) fault: Fault,
    pub(super) progress: Progress,
    /// How long the backend asks to be left alone.
    pub(super) rest: Option<Duration>,
}

impl<N: Net> Try<'_, '_, N> {
    /// Whether an answer with this verdict is to be given up for another attempt, should one be made. None: it is the client's.
    pub(super) fn worth(&self, verdict: Verdict) -> Option<Worth> {
        let on = &self.exchange.seat.live.plan.settings.retry.on;
        let response = &self.desk.response;
        if let (Some(_), Some(status)) = (self.course.call, self.desk.seen.grpc)
            && response.framing() == Framing::Empty
            && values(response, STATUS).next().is_some()
        {
            let rest = pushback(response)?;
            let number = status.number();
            return match (on.grpc.contains(&number), verdict) {
                // All of the answer is its status: nothing is committed to its client (gRFC A6). Its server may have begun it all the
                // same, so that it is asked anew whatever it does only where that very status is named, as in a client's policy.
                (true, _) => Some(Worth {
                    fault: Fault::Grpc(number),
                    progress: Progress::Unsent,
                    rest,
                }),
                (false, Verdict::Failure(fault)) => Some(Worth {
                    fault,
                    // `overloaded` is no such name: servers say it from within a handler, too.
                    progress: Progress::Sent,
                    rest,
                }),
                (false, _) => None,
            };
        }
        let fault = match (on.statuses.contains(&response.status()), verdict) {
            (true, _) => Fault::Status(response.status()),
            (false, Verdict::Failure(fault)) => fault,
            (false, _) => return None,
        };
        Some(Worth {
            fault,
            progress: Progress::Sent,
            rest: values(response, b"retry-after")
                .next()
                .and_then(|said| retry_after::read(said, || self.conn.worker.net.since_1970())),
        })
    }
}

fn values<'r>(response: &'r ResponseHead, name: &'r [u8]) -> impl Iterator<Item = &'r [u8]> {
    let fields = response.fields();
    let named = fields.filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value)
}

/// How long a server of gRPC asks a client to wait before it tries again. Less than nothing, and what cannot be read: it is not to try
/// again, which is None (gRFC A6).
fn pushback(response: &ResponseHead) -> Option<Option<Duration>> {
    let mut said = values(response, b"grpc-retry-pushback-ms");
    match (said.next(), said.next()) {
        (None, _) => Some(None),
        (Some(only), None) => {
            let millis: u32 = std::str::from_utf8(only).ok()?.parse().ok()?;
            Some(Some(Duration::from_millis(millis.into())))
        }
        (Some(_), Some(_)) => None,
    }
}

/// What a response head says about its backend.
pub(super) fn verdict_of(response: &ResponseHead) -> Verdict {
    Verdict::of_status(response.status())
}
