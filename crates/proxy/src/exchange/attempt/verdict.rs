//! Owns what a response head says about its backend.

use std::time::Duration;

use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_wire::ResponseHead;

use super::{Attempted, Ended, Try};
use crate::connection::Next;
use crate::exchange::call::put_status;
use crate::net::Net;
use crate::reason::Reason;
use crate::sock::Sock;

impl<N: Net> Try<'_, '_, N> {
    /// What the head that is here says about its backend; of a call, how that ended.
    pub(super) fn verdict(&mut self) -> Verdict {
        let Some(call) = self.course.call else {
            return verdict_of(&self.desk.response);
        };
        let (status, verdict) = call.head(&self.desk.response);
        self.desk.seen.grpc = status;
        verdict.unwrap_or_else(|| verdict_of(&self.desk.response))
    }

    /// What the end of a whole answer says, with these trailers.
    pub(super) fn ended(&mut self, trailers: &[u8]) -> Outcome {
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
    pub(super) fn tell(&mut self, reason: Reason) -> bool {
        if self.course.call.is_none() {
            return false;
        }
        let mut trailers = Vec::new();
        put_status(reason.grpc(), reason.word(), &mut trailers);
        let said = self.conn.sock.end(&trailers).is_ok();
        self.desk.seen.grpc = Some(reason.grpc()).filter(|_| said);
        said
    }

    /// A call's time is over within its answer: it ends with a status of ours, and the backend's stream with it.
    pub(super) fn late(mut self, bytes: u64) -> Attempted {
        let said = self.tell(Reason::CallTimeout);
        match self.client_left(bytes, Reason::CallTimeout) {
            Attempted::Ended(ended) if said => Attempted::Ended(Ended {
                next: Next::Linger,
                ..ended
            }),
            cut => cut,
        }
    }
}

/// What a response head says about its backend: 5xx is a failure, but for what it does not know how to do; 4xx is the client's.
fn verdict_of(response: &ResponseHead) -> Verdict {
    match response.status() {
        501 | 505 | 400..=499 => Verdict::Neutral,
        503 => Verdict::Failure(Fault::Overloaded {
            retry_after: retry_after(response),
        }),
        status @ 500..=599 => Verdict::Failure(Fault::Status(status)),
        _ => Verdict::Success,
    }
}

/// `Retry-After` in seconds; a date is not read.
fn retry_after(response: &ResponseHead) -> Option<Duration> {
    let field = response
        .fields()
        .find(|field| field.name.eq_ignore_ascii_case(b"retry-after"))?;
    let seconds = std::str::from_utf8(field.value).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
