//! Owns what a request is as a call of gRPC: whether it is one, when its time is over, and what its status says of the backend.
//!
//! Messages go through as any body does. Read next: `docs/grpc.md`.

use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_wire::altered::Altered;
use evenkeel_wire::forward::Forwardable;
use evenkeel_wire::grpc::{self, Status, message, timeout};
use evenkeel_wire::known::Known;
use evenkeel_wire::{RequestHead, ResponseHead, Version};

use super::attempt::Course;
use crate::reason::Reason;

/// The field in which a response says how its call ended.
pub(super) const STATUS: &[u8] = b"grpc-status";

/// Whether a request is a call: only as HTTP/2 has gRPC its trailers. Cost: nothing but for a POST of HTTP/2.
pub(super) fn is_call(request: &RequestHead) -> bool {
    request.version() == Version::Two
        && request.method() == b"POST"
        && request.first(Known::ContentType).is_some_and(grpc::is_grpc)
}

/// Appends the lines that say how a call ended.
pub(super) fn put_status(status: Status, text: &str, out: &mut Vec<u8>) {
    for part in [STATUS, b": ", status.text().as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(message::FIELD.as_bytes());
    out.extend_from_slice(b": ");
    message::write(text, out);
    out.extend_from_slice(b"\r\n");
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// When the time that its client gives it is over.
    ends: Option<Instant>,
    /// The backend is told how much of it is left. A rule may have said something else.
    told: bool,
}

impl Call {
    /// The call that a request is, which began then. What its client said of its time is left out of what goes on, since it is said
    /// anew by each attempt. What cannot be read, or is said twice, sets no time and goes on as it came.
    pub(super) fn of(request: &RequestHead, altered: &mut Altered, began: Instant) -> Option<Self> {
        if !is_call(request) {
            return None;
        }
        let name = timeout::FIELD.as_bytes();
        let mut values = request.values(name);
        let ends = match (values.next(), values.next()) {
            (Some(only), None) => timeout::read(only).map(|within| began + within),
            _ => None,
        };
        let ruled = |gone: &[u8]| gone.eq_ignore_ascii_case(name);
        let told = ends.is_some()
            && !altered.request_gone().any(ruled)
            && altered.request().remove(name).is_ok();
        Some(Self { ends, told })
    }

    /// What a status says of the backend. What the application says of the request, as 4xx does in HTTP, says nothing of it.
    const fn verdict(self, status: Status) -> Verdict {
        match status {
            Status::Ok => Verdict::Success,
            Status::ResourceExhausted => Verdict::Failure(Fault::Overloaded { retry_after: None }),
            // Without a time of the client's it is the backend's own that was over. With one, a client in a hurry would have its
            // backends ejected.
            Status::DeadlineExceeded if self.ends.is_some() => Verdict::Neutral,
            // `UNKNOWN` is what servers make of an exception that nobody caught, and what no status at all stands for.
            Status::DeadlineExceeded
            | Status::Unknown
            | Status::Internal
            | Status::Unavailable
            | Status::DataLoss => Verdict::Failure(Fault::Grpc(status.number())),
            Status::Cancelled
            | Status::InvalidArgument
            | Status::NotFound
            | Status::AlreadyExists
            | Status::PermissionDenied
            | Status::FailedPrecondition
            | Status::Aborted
            | Status::OutOfRange
            | Status::Unimplemented
            | Status::Unauthenticated => Verdict::Neutral,
        }
    }

    /// What a response's head says: the status that the client gets or will make of it, unless trailers say it, and the verdict. None:
    /// the backend speaks HTTP, and is judged by that.
    pub(super) fn head(self, response: &ResponseHead) -> (Option<Status>, Option<Verdict>) {
        let fields = response.fields().map(|field| (field.name, field.value));
        let status = grpc::in_head(response.status(), fields);
        let says = || {
            let mut names = response.fields().map(|field| field.name);
            names.any(|name| name.eq_ignore_ascii_case(STATUS))
        };
        let verdict = match status {
            None => Some(Verdict::Success),
            Some(status) if response.status() == 200 || says() => Some(self.verdict(status)),
            Some(_) => None,
        };
        (status, verdict)
    }

    /// What the trailers of a whole response say, given as lines.
    pub(super) fn trailers(self, lines: &[u8]) -> (Status, Outcome) {
        let fields = lines.split(|&byte| byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        });
        let status = grpc::in_trailers(fields);
        let outcome = match self.verdict(status) {
            Verdict::Failure(fault) => Outcome::Broken(fault),
            Verdict::Success | Verdict::Neutral => Outcome::Completed,
        };
        (status, outcome)
    }

    /// Whether the time that the client gives it is over.
    pub(super) fn is_over(self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// Tells the backend of the next attempt how much time is left.
    pub(super) fn tell(self, now: Instant, head: &mut Forwardable) {
        if let Some(ends) = self.ends.filter(|_| self.told) {
            head.set_timeout(ends.since(now));
        }
    }
}

impl Course<'_> {
    /// When waiting until `at` ends: sooner, if a call's time is over before.
    pub(super) fn by(&self, at: Instant) -> Instant {
        let ends = self.call.and_then(|call| call.ends);
        ends.map_or(at, |ends| ends.min(at))
    }

    /// Whether the time that the client gives its call is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.call.is_some_and(|call| call.is_over(now))
    }

    /// Why an attempt came to nothing: what a call's own time has ended is held against nobody.
    pub(super) fn blamed(
        &self,
        now: Instant,
        fault: Option<Fault>,
        reason: Reason,
    ) -> (Option<Fault>, Reason) {
        match self.is_over(now) {
            true => (None, Reason::CallTimeout),
            false => (fault, reason),
        }
    }
}
