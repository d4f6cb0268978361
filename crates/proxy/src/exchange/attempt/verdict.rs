//! Owns what a response head says about its backend.

use std::time::Duration;

use evenkeel_balance::verdict::{Fault, Verdict};
use evenkeel_wire::ResponseHead;

/// What a response head says about its backend: 5xx is a failure, but for what it does not know how to do; 4xx is the client's.
pub(super) fn verdict_of(response: &ResponseHead) -> Verdict {
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
