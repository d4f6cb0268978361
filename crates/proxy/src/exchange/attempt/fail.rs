//! Owns how an attempt fails: what is said of it to its pick and to the exchange, and what of the request can be sent again.
//!
//! Held against a backend is what it did: a break, a silence, words that are none. Not what the client did, nor what a limit or a
//! deadline of ours cut short. The rows are in `tests/retries/verdicts.rs`.

use evenkeel_balance::pick::Pick;
use evenkeel_balance::retry::Progress;
use evenkeel_balance::service::Seat as Held;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome};
use evenkeel_config::plan::Protocol;
use evenkeel_wire::grpc::Status;

use super::{Attempted, Ended, Failed, Heard, Stale, Try, sent};
use crate::carrier::Carrier;
use crate::connection::Next;
use crate::exchange::call::fair;
use crate::net::Net;
use crate::reason::Reason;
use crate::relay::Break;
use crate::sock::Sock;
use crate::upstream::Connection;

impl<N: Net> Try<'_, '_, N> {
    /// Nothing of an answer was passed on: says what went wrong, to the pick and to the exchange.
    pub(super) fn failed(self, heard: Heard) -> Result<Attempted, Stale> {
        let now = self.conn.worker.now();
        (self.desk.seen.received, self.desk.seen.grpc) = (self.upload.came(), None);
        let idempotent = self.desk.request.is_idempotent();
        let shared = self.upstream.sock.is_stream();
        let stale = self.is_stale(&heard);
        let whole = self.is_whole();
        let written = shared || self.upload.has_written();
        let harmless = stale && (idempotent || !written);
        let unseen = self.reused && matches!(heard, Heard::Unseen);
        if (harmless || unseen) && whole && !self.tries.anew {
            self.tries.anew = true;
            return Err(Stale(self.set_aside(true)));
        }
        if stale {
            return Ok(self.ended_before(written, whole));
        }
        if let Some((reason, outcome)) = self.ended_here(&heard, now) {
            return Ok(self.ended_by(reason, outcome));
        }
        let unseen = matches!(heard, Heard::Unseen | Heard::Refused);
        let (fault, reason) = match heard {
            Heard::Client(broke) => return Ok(self.client_broke(&broke, now)),
            Heard::Gone => return Ok(self.gone(now)),
            Heard::Nothing { client: true } => return Ok(self.nobodys(Reason::BodyTimeout)),
            Heard::Nothing { client: false } if self.is_hurried(now) => {
                return Ok(self.nobodys(Reason::BackendTimeout));
            }
            heard => {
                if let Heard::Reset(error) = heard {
                    self.desk.seen.grpc = self.course.call.map(|_| Status::of_reset(error));
                }
                blamed(&heard)
            }
        };
        doubt(&self.upstream, fault);
        let failed = Failed {
            fault: Some(fault),
            // A stream's head is written apart from what is uploaded; what was not looked at counts as unsent, its body too.
            progress: progress(!unseen && written),
            reused: self.reused,
            whole,
            rest: None,
            reason,
        };
        self.set_aside(whole).finish(Outcome::Broken(fault), now);
        Ok(Attempted::Failed(failed))
    }

    /// Whether all of the request can be sent again.
    pub(super) fn is_whole(&self) -> bool {
        let alike = self.exchange.seat.live.plan.upstream.protocol != Protocol::Auto;
        !self.upload.has_begun() || self.upload.is_replayable(alike)
    }

    /// Puts what is left of the request where the next attempt finds it, if it can be sent again.
    pub(super) fn set_aside(self, whole: bool) -> Pick<Held> {
        let desk = self.desk;
        // What has not begun begins anew.
        if whole && self.upload.has_begun() {
            let head = match self.upstream.sock.is_stream() {
                true => 0,
                false => desk.forwardable.as_bytes().len(),
            };
            desk.replay = Some(Box::new(self.upload.without_head(head)));
        } else {
            desk.upward = self.upload.into_buffer(&self.conn.worker.buffers);
        }
        self.pick
    }

    /// The exchange's time was over before the attempt had its own: a rule may give less, others may have used it up. Then a silence is
    /// the backend's where it was long for what is usual, and nobody's where nothing is known of that.
    fn is_hurried(&self, now: Instant) -> bool {
        let waited = now.since(self.turned);
        let usual = self.pick.usual();
        (self.upload_over || self.is_awaited())
            && waited < self.per_try
            && usual.is_none_or(|usual| waited < fair(Some(usual), self.per_try))
    }

    /// Whether what was heard says nothing of the backend.
    pub(super) fn is_nobodys(&self, heard: &Heard, now: Instant) -> bool {
        match heard {
            Heard::Nothing { client } => {
                *client || self.is_hurried(now) || self.conn.deadline.is_cut()
            }
            heard => self.is_stale(heard),
        }
    }

    /// It came to nothing for this reason, which says nothing of the backend.
    fn nobodys(self, reason: Reason) -> Attempted {
        self.ended_by(reason, Outcome::ClientLeft)
    }

    /// It ended for this reason, after which nobody is tried.
    fn ended_by(self, reason: Reason, outcome: Outcome) -> Attempted {
        let (reused, now) = (self.reused, self.conn.worker.now());
        self.set_aside(false).finish(outcome, now);
        Attempted::Failed(sent(None, reused, reason))
    }

    /// Why waiting ended after which nobody is tried, if it is that; and what that says of the backend.
    fn ended_here(&self, heard: &Heard, now: Instant) -> Option<(Reason, Outcome)> {
        match heard {
            Heard::Nothing { .. } if self.conn.deadline.take_cut() => {
                let reason = match self.conn.worker.is_over() {
                    true => Reason::InstanceDrained,
                    false => Reason::BackendDrained,
                };
                Some((reason, Outcome::ClientLeft))
            }
            Heard::Nothing { .. } if self.course.is_over(now) => {
                Some((Reason::CallTimeout, self.silent(now)))
            }
            _ => None,
        }
    }

    /// Whether a connection that had been used before ended before a byte of an answer: its backend may have ended it before it saw the
    /// request. How long that took is not asked: a backend that is busy tells of an end as late as of an answer.
    pub(super) fn is_stale(&self, heard: &Heard) -> bool {
        self.reused && ended_unheard(heard, &self.upstream)
    }

    /// A kept connection ended, and no other takes its place unasked. Nothing is held against the backend, which was free to end it:
    /// the pick is dropped, not finished.
    fn ended_before(self, written: bool, whole: bool) -> Attempted {
        drop(self.set_aside(whole));
        Attempted::Failed(Failed {
            fault: Some(Fault::Reset),
            progress: progress(written),
            reused: true,
            whole,
            rest: None,
            reason: Reason::StaleConnection,
        })
    }

    /// The client's body broke before there was an answer: nothing is held against the backend.
    fn client_broke(self, broke: &Break, now: Instant) -> Attempted {
        let received = self.upload.came();
        self.desk.seen.received = received;
        let reused = self.reused;
        self.set_aside(false).finish(Outcome::ClientLeft, now);
        let reason = match broke {
            Break::Malformed(malformed) => Reason::Malformed(*malformed),
            Break::TooLarge => Reason::BodyTooLarge,
            _ => {
                return Attempted::Ended(Ended {
                    next: Next::Cut,
                    status: 0,
                    reason: Reason::ClientLeft,
                    received,
                    sent: 0,
                });
            }
        };
        Attempted::Failed(sent(None, reused, reason))
    }

    pub(super) fn client_left(self, bytes: u64, reason: Reason) -> Attempted {
        let received = self.upload.came();
        let (status, now) = (self.desk.response.status(), self.conn.worker.now());
        self.set_aside(false).finish(Outcome::ClientLeft, now);
        Attempted::Ended(Ended {
            next: Next::Cut,
            status,
            reason,
            received,
            sent: bytes,
        })
    }
}

/// What is held against a backend of which this was heard in the place of a head.
pub(super) fn blamed(heard: &Heard) -> (Fault, Reason) {
    match heard {
        Heard::Nothing { .. } => (Fault::Timeout, Reason::BackendTimeout),
        Heard::Malformed(malformed) => (Fault::Protocol, Reason::BackendMalformed(*malformed)),
        Heard::Refused => (
            Fault::Overloaded { retry_after: None },
            Reason::BackendReset,
        ),
        _ => (Fault::Reset, Reason::BackendReset),
    }
}

/// Whether a connection ended before anything came on it.
pub(super) fn ended_unheard<S: Sock>(heard: &Heard, upstream: &Connection<S>) -> bool {
    match (heard, &upstream.sock) {
        (Heard::End, Carrier::Whole(_)) => upstream.input.is_empty(),
        (Heard::Ended, Carrier::Stream(stream)) => stream.is_unheard(),
        _ => false,
    }
}

/// Who broke the rules, or was silent, is doubted by whoever else asks on the same connection.
pub(super) fn doubt<S: Sock>(upstream: &Connection<S>, fault: Fault) {
    if let Carrier::Stream(stream) = &upstream.sock {
        match fault {
            Fault::Timeout => stream.doubt(false),
            Fault::Protocol => stream.doubt(true),
            _ => {}
        }
    }
}

const fn progress(written: bool) -> Progress {
    match written {
        true => Progress::Sent,
        false => Progress::Unsent,
    }
}
