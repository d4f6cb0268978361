//! Owns `retry:` of a service.

use std::time::Duration;

use evenkeel_balance::retry::{RetryOn, RetrySettings};

use crate::keys::{RETRY, RETRY_BACKOFF, RETRY_BUDGET};
use crate::limits::{RETRY_AFTER, RETRY_ON};
use crate::nearest::nearest;
use crate::problem::At;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// `hedge:` of a service.
pub(super) mod hedge;

/// What holds without it.
pub(super) fn absent() -> (RetrySettings, Option<(At, Duration)>) {
    (settings(), None)
}

fn settings() -> RetrySettings {
    let mut on = RetryOn::none();
    for word in RETRY_ON {
        name(word, &mut on);
    }
    RetrySettings::default().on(on).retry_after_max(RETRY_AFTER)
}

/// The settings, and what it says of the time of one attempt.
pub(super) fn read(fields: &Fields<'_>) -> Option<(RetrySettings, Option<(At, Duration)>)> {
    let (reading, node) = (fields.reading, fields.get("retry")?);
    let mut settings = settings();
    if !matches!(node.value, Value::Map(_)) {
        if fields.word("retry")? == "off" {
            settings.attempts = 1;
        }
        return Some((settings, None));
    }
    let map = reading.map(node, &RETRY)?;
    map.set_number("attempts", &mut settings.attempts);
    map.set("on", on, &mut settings.on);
    if let Some(backoff) = map.map("backoff", &RETRY_BACKOFF) {
        backoff.set("base", Reading::duration, &mut settings.backoff_base);
        backoff.set("max", Reading::duration, &mut settings.backoff_max);
        if settings.backoff_base > settings.backoff_max {
            reading.error(backoff.at, "range", "`base` is longer than `max`");
        }
        backoff.done();
    }
    if let Some(budget) = map.map("budget", &RETRY_BUDGET) {
        let permille = |reading: &Reading, node: &Node| reading.share(node).map(permille);
        budget.set("ratio", permille, &mut settings.budget.ratio_permille);
        budget.set(
            "floor",
            Reading::rate,
            &mut settings.budget.floor_per_second,
        );
        budget.done();
    }
    map.set(
        "retry_after_max",
        Reading::duration,
        &mut settings.retry_after_max,
    );
    let per_try = map.get("per_try");
    let per_try = per_try.and_then(|node| Some((node.at, reading.wait(node)?)));
    map.done();
    Some((settings, per_try))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of 1"
)]
fn permille(share: f64) -> u32 {
    (share * 1000.0).round() as u32
}

/// Words that name a fault, and the statuses of gRPC that are no success, in the order of their numbers.
const FAULTS: [&str; 5] = ["connect", "reset", "timeout", "protocol", "overloaded"];
const CALLS: [&str; 16] = [
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

fn on(reading: &Reading, node: &Node) -> Option<RetryOn> {
    let mut all = RetryOn::none();
    for item in reading.items(node) {
        let text = reading.text(item)?;
        if !name(text.value(), &mut all) {
            reading.error(item.at, "retry_on", unknown(&text));
        }
    }
    Some(all)
}

/// Adds what a word names. False: nothing.
fn name(word: &str, on: &mut RetryOn) -> bool {
    match word {
        "connect" => on.connect = true,
        "reset" => on.reset = true,
        "timeout" => on.timeout = true,
        "protocol" => on.protocol = true,
        "overloaded" => on.overloaded = true,
        _ => {
            let call = CALLS.iter().position(|call| *call == word);
            if let Some(number) = call.and_then(|at| u8::try_from(at + 1).ok()) {
                on.grpc.push(number);
                return true;
            }
            match word.parse() {
                Ok(status @ 400..=599) => on.statuses.push(status),
                _ => return false,
            }
        }
    }
    true
}

fn unknown(text: &Scalar) -> String {
    let known = FAULTS.iter().chain(&CALLS).copied();
    match nearest(known, text.value()) {
        Some(nearest) => format!("`{text}` is nothing that goes wrong; did you mean `{nearest}`?"),
        None => format!(
            "`{text}` is nothing that goes wrong; write {}, a status from 400 to 599, or one of gRPC like `unavailable`",
            FAULTS.map(|word| format!("`{word}`")).join(", ")
        ),
    }
}
