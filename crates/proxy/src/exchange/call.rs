//! Owns what a request is as a call of gRPC: whether it is one, when its time is over, and what its status says of the backend.
//!
//! Messages go through as any body does. Read next: `docs/grpc.md`.

use std::time::Duration;

use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_config::limits::ServiceLimits;
use evenkeel_config::plan::Beside;
use evenkeel_wire::altered::Altered;
use evenkeel_wire::forward::Forwardable;
use evenkeel_wire::grpc::{self, Status, message, timeout};
use evenkeel_wire::known::Known;
use evenkeel_wire::{RequestHead, ResponseHead, Version};

use super::attempt::Course;

/// The field in which a response says how its call ended.
pub(super) const STATUS: &[u8] = b"grpc-status";

/// A request that lived so long before its client took it back was meant.
const MEANT: Duration = Duration::from_secs(1);

/// A shorter time is none that a client would wait for.
const HURRY: Duration = Duration::from_millis(10);

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
    began: Instant,
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
        Some(Self { began, ends, told })
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

    /// Whether a client that leaves now leaves because the time that it gave is over: clients keep clocks of their own, and theirs began
    /// before the call was here.
    fn is_used_up(self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| {
            let whole = ends.since(self.began);
            now.since(self.began) >= whole - whole / 8
        })
    }

    /// Tells the backend of the next attempt how much time is left.
    pub(super) fn tell(self, now: Instant, head: &mut Forwardable) {
        if let Some(ends) = self.ends.filter(|_| self.told) {
            head.set_timeout(ends.since(now));
        }
    }
}

/// From when on a client that takes its request back has given it its time: it lived long, or as long as its client said. Streams that
/// are open at once bound how many there can be of those.
pub(super) fn given(call: Option<Call>, began: Instant) -> Instant {
    let whole = call.and_then(|call| Some(call.ends?.since(began)));
    began + whole.map_or(MEANT, |whole| (whole - whole / 8).clamp(HURRY, MEANT))
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

    /// Whether a client that leaves now leaves because the time that it gives its call is over.
    pub(super) fn is_used_up(&self, now: Instant) -> bool {
        self.call.is_some_and(|call| call.is_used_up(now))
    }
}

/// The least time that a backend had to be silent for when its client's own time was over: else that says nothing of the backend.
/// Backends answer from one machine room; a client that waits less is in a hurry.
const FAIR_LEAST: Duration = Duration::from_millis(100);

/// So many times what calls usually take.
const FAIR_TIMES: u32 = 4;

/// For how long a backend may be silent when its client's time is over, without being blamed: no longer than an attempt may take
/// without such a time (`per_try`), no less than several times what is `usual`.
pub(super) fn fair(usual: Option<Duration>, per_try: Duration) -> Duration {
    let usual = usual.unwrap_or_default().saturating_mul(FAIR_TIMES);
    usual.max(FAIR_LEAST).min(per_try)
}

/// How long an attempt may take to its head. What a call's client gives it takes the place of what nobody configured: that is for
/// clients who say nothing.
pub(super) fn per_try(rule: &Beside, limits: &ServiceLimits, call: Option<Call>) -> Duration {
    let said = rule.per_try.or(limits.per_try_said);
    match call.and_then(|call| call.ends) {
        Some(_) if said.is_none() => limits.exchange,
        _ => said.unwrap_or(limits.per_try),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_backend_may_be_silent() {
        let ms = Duration::from_millis;
        for (usual, per_try, expect) in [
            (None, ms(10_000), ms(100)),
            (Some(ms(2)), ms(10_000), ms(100)),
            (Some(ms(300)), ms(10_000), ms(1_200)),
            (Some(ms(5_000)), ms(10_000), ms(10_000)),
            (None, ms(50), ms(50)),
        ] {
            assert_eq!(fair(usual, per_try), expect, "{usual:?} {per_try:?}");
        }
    }

    #[test]
    fn whose_time_bounds_an_attempt() {
        let began = Instant::from_nanos(0);
        let call = |ends| Call {
            began,
            ends,
            told: true,
        };
        let timed = Some(call(Some(began + Duration::from_secs(30))));
        let (mut rule, mut limits) = (Beside::default(), ServiceLimits::default());
        assert_eq!(per_try(&rule, &limits, None), limits.per_try);
        assert_eq!(per_try(&rule, &limits, Some(call(None))), limits.per_try);
        assert_eq!(per_try(&rule, &limits, timed), limits.exchange);
        limits.per_try_said = Some(Duration::from_secs(7));
        assert_eq!(per_try(&rule, &limits, timed), Duration::from_secs(7));
        rule.per_try = Some(Duration::from_secs(3));
        assert_eq!(per_try(&rule, &limits, timed), Duration::from_secs(3));
    }

    #[test]
    fn when_a_client_has_given_its_time() {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let call = |ms| Call {
            began: at(0),
            ends: Some(at(ms)),
            told: true,
        };
        for (call, expect) in [
            (None, 1_000),
            (Some(call(0)), 10),
            (Some(call(8)), 10),
            (Some(call(800)), 700),
            (Some(call(80_000)), 1_000),
        ] {
            assert_eq!(given(call, at(0)), at(expect), "{call:?}");
        }
        assert!(!call(800).is_used_up(at(699)) && call(800).is_used_up(at(700)));
    }
}
