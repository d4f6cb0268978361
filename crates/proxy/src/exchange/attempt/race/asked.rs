//! Owns a race on the side of the attempt that was first, once it has asked: whose answer goes on, and how that which lost is ended.

use std::task::{Context, Poll};

use evenkeel_balance::verdict::Outcome;
use evenkeel_wire::{Framing, Malformed};

use super::{Beside, Other, Race, copied};
use crate::exchange::attempt::fail::{blamed, doubt};
use crate::exchange::attempt::hear::Heard;
use crate::exchange::attempt::second::{Won, is_worse};
use crate::exchange::attempt::verdict::verdict_of;
use crate::exchange::attempt::{Try, note_backend};
use crate::failed::TryOutcome;
use crate::net::Net;
use crate::observation::HedgeCounters;
use crate::recorded::End;
use crate::relay::Pump;

impl<N: Net> Try<'_, '_, N> {
    /// The next head of those that are here already, if that is where they come from.
    #[inline]
    pub(in crate::exchange::attempt) fn next_head(&mut self) -> bool {
        match &mut self.tries.race {
            Race::Said { heads, .. } => {
                let head = heads.pop_front();
                head.map(|head| self.desk.response = head).is_some()
            }
            _ => false,
        }
    }

    /// Ready once the second was answered first: what is heard from here on is its answer.
    #[cold]
    pub(in crate::exchange::attempt) fn poll_race(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let worker = self.conn.worker.clone();
        let bodyless = self.desk.request.framing() == Framing::Empty;
        let whole = self.upload_over && !self.upload_broken;
        let body = || copied(&self.upload, bodyless, whole);
        let beside = Beside {
            worker: &worker,
            deadline: &self.conn.deadline,
            desk: &mut *self.desk,
            course: self.course,
            tries: &mut *self.tries,
        };
        match self.exchange.poll_second(cx, beside, body) {
            Some(won) => {
                self.take_over(*won);
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }

    /// The second goes on in the place of the first, whose pick ends: outrun, if it has not ended by itself.
    pub(in crate::exchange::attempt) fn take_over(&mut self, mut won: Won<N>) {
        let (worker, now) = (self.conn.worker.clone(), self.conn.worker.now());
        self.exchange.count_hedge(&worker, HedgeCounters::won);
        self.tries.race = won.said();
        let first = std::mem::replace(&mut self.pick, won.pick);
        first.finish(Outcome::Outrun, now);
        if let Some(recording) = self.exchange.recording {
            recording.overtaken(&self.desk.seen, now);
        }
        self.upstream = won.upstream;
        (self.lane, self.ready) = (won.lane, won.ready);
        self.desk.seen.connect = won.connect;
        self.go_on();
        self.next_head();
    }

    /// The request was sent by the second, on what is the attempt's connection from here on.
    pub(in crate::exchange::attempt) fn go_on(&mut self) {
        let worker = &self.conn.worker;
        if self.desk.request.framing() == Framing::Empty {
            let upload = std::mem::replace(&mut self.upload, Pump::nothing());
            self.desk.upward = upload.into_buffer(&worker.buffers);
        }
        let sent = matches!(self.tries.race, Race::Said { sent: true, .. });
        (self.upload_over, self.upload_broken) = (true, !sent);
        (self.reused, self.turned) = (self.upstream.is_reused(), self.ready);
        self.conn.deadline.serves(self.lane.number);
        let until = self.course.by(self.course.until);
        self.conn.deadline.set(until);
        note_backend(self.desk, &self.pick);
    }

    /// What is heard of the first where another may run, or does. The error: the other is to be waited for.
    #[cold]
    pub(in crate::exchange::attempt) fn settled(&mut self, heard: Heard) -> Result<Heard, Heard> {
        let status = self.desk.response.status();
        let is_head = matches!(heard, Heard::Head(_));
        match self.tries.race {
            Race::Off | Race::Said { .. } => Ok(heard),
            _ if is_head && status < 200 && status != 101 => Ok(heard),
            Race::Waits if is_head => {
                self.conn.deadline.no_alarm();
                self.tries.race = Race::Off;
                Ok(heard)
            }
            // It may be asked anew on a fresh connection, and be as slow there; of one with a body that has to be there first.
            Race::Waits => {
                if self.desk.request.framing() != Framing::Empty {
                    self.conn.deadline.no_alarm();
                }
                Ok(heard)
            }
            Race::Runs(_) if is_head && status == 101 => Err(Heard::Malformed(Malformed::Status)),
            Race::Runs(_) if is_head && self.is_worse() => Err(heard),
            Race::Runs(_) if is_head => {
                self.tries.race.outrun();
                if let Some(recording) = self.exchange.recording {
                    recording.went_beside(End::Outrun, self.conn.worker.now());
                }
                Ok(heard)
            }
            Race::Runs(_) if matches!(heard, Heard::Gone | Heard::Client(_)) => {
                self.tries.race = Race::Off;
                Ok(heard)
            }
            Race::Runs(_) => Err(heard),
        }
    }

    /// The first has come to nothing, or to no good: the other's answer, if it has a better one.
    pub(in crate::exchange::attempt) async fn other(&mut self, heard: Heard) -> Heard {
        let (conn, desk) = (&mut *self.conn, &mut *self.desk);
        let other = self.exchange.other(conn, desk, self.course, self.tries);
        match other.await {
            Other::Won(won) => {
                self.end_first(&heard);
                self.take_over(*won);
                Heard::Head(0)
            }
            Other::Lost => heard,
            Other::Gone => {
                self.tries.race = Race::Off;
                Heard::Gone
            }
        }
    }

    fn is_worse(&self) -> bool {
        let (response, settings) = (&self.desk.response, &self.exchange.seat.live.plan.settings);
        is_worse(response, verdict_of(response), &settings.retry.on.statuses)
    }

    /// The first came to this, and the other is answered: says so to its pick.
    fn end_first(&mut self, heard: &Heard) {
        let now = self.conn.worker.now();
        let told = match heard {
            Heard::Head(_) => TryOutcome::Answered(self.desk.response.status()),
            heard => TryOutcome::Failed(blamed(heard).1),
        };
        let after = now.since(self.exchange.began);
        (self.desk.trail).put(&self.desk.backend, told, after);
        let outcome = match heard {
            Heard::Head(_) => {
                self.pick.answered(verdict_of(&self.desk.response), now);
                Outcome::Completed
            }
            heard if self.is_nobodys(heard, now) => Outcome::ClientLeft,
            heard => {
                let (fault, _) = blamed(heard);
                doubt(&self.upstream, fault);
                Outcome::Broken(fault)
            }
        };
        self.pick.end(outcome, now);
        if let Some(recording) = self.exchange.recording {
            let how = match heard {
                Heard::Head(_) => End::Answered(self.desk.response.status()),
                heard => End::Failed(blamed(heard).1),
            };
            recording.went(&self.desk.seen, how, now);
        }
    }
}
