//! Owns what rate limits do to a request, and what its answer says of them.
//!
//! `Retry-After` (RFC 9110 section 10.2.3), and `RateLimit` and `RateLimit-Policy` as draft-ietf-httpapi-ratelimit-headers-10 has them: lists of
//! a policy's name with what is allowed (`q`, in `w` seconds), what is left (`r`) and when there is more (`t`). Beside what a backend says
//! in the same fields: lists of several fields are one.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_balance::rate::{Said, Verdict};
use evenkeel_config::plan::RatePlan;
use evenkeel_wire::altered::Altered;

use super::call::is_call;
use crate::connection::Conn;
use crate::net::Net;
use crate::rates::{Rate, Rates, Who, take};
use crate::worker::Desk;

const POLICY: &[u8] = b"RateLimit-Policy";
const LEFT: &[u8] = b"RateLimit";
const RETRY_AFTER: &[u8] = b"Retry-After";

/// Milliseconds after which a client of gRPC may call again (gRPC's proposal A6).
const PUSHBACK: &[u8] = b"grpc-retry-pushback-ms";

/// Whether a request of this client may pass by the limits that it meets; what its answer says of them is noted. False: it is to be refused.
pub(super) fn passes<N: Net>(
    rates: &Rates,
    conn: &Conn<N>,
    desk: &mut Desk,
    client: IpAddr,
) -> bool {
    let rates = rates.of(desk.seen.listener, desk.seen.rule);
    if rates.is_empty() {
        return true;
    }
    let who = Who {
        request: Some(&desk.request),
        client,
    };
    let verdict = take(rates, who, conn.worker.index, conn.worker.now());
    tell(rates, &verdict, desk);
    // Of several that refuse it the one that stands first.
    let refuses = |(rate, said): &(&Rate, Said)| !said.passes && !rate.plan.shadow;
    if let Some((rate, _)) = rates.iter().zip(verdict.said()).find(refuses) {
        desk.limit.clear();
        desk.limit.extend_from_slice(rate.plan.name.as_bytes());
    }
    verdict.passes
}

fn tell(rates: &[Rate], verdict: &Verdict, desk: &mut Desk) {
    let told = |rate: &Rate| !rate.plan.shadow && (rate.plan.fields || !verdict.passes);
    if !rates.iter().any(told) {
        return;
    }
    // What an answer is written with, later.
    let mut text = std::mem::take(&mut desk.downward);
    let all = || rates.iter().zip(verdict.said());
    let all = || all().filter(|(rate, _)| told(rate));
    let altered = &mut desk.altered;
    put(altered, POLICY, &mut text, all(), |plan, _, text| {
        let (allow, window) = (plan.settings.allow, plan.settings.per.as_secs().max(1));
        let _ = write!(text, "\"{}\";q={allow};w={window}", plan.name);
    });
    put(altered, LEFT, &mut text, all(), |plan, said, text| {
        let (left, next) = (said.room.left, seconds(said.room.next));
        let _ = write!(text, "\"{}\";r={left};t={next}", plan.name);
    });
    if !verdict.passes {
        let refusing = all().filter(|(_, said)| !said.passes);
        let wait = refusing.map(|(_, said)| said.room.next).max();
        let wait = wait.unwrap_or_default();
        text.clear();
        let _ = write!(text, "{}", seconds(wait).max(1));
        // A rule may have its own say.
        if !altered.takes_from_response(RETRY_AFTER) {
            let _ = altered.response().set(RETRY_AFTER, &text);
        }
        if is_call(&desk.request) {
            text.clear();
            let _ = write!(text, "{}", wait.as_millis().clamp(1, PUSHBACK_MOST));
            let _ = altered.response().set(PUSHBACK, &text);
        }
    }
    text.clear();
    desk.downward = text;
}

/// What an `int32` of milliseconds holds.
const PUSHBACK_MOST: u128 = 0x7fff_ffff;

/// Adds a field with an item for each limit. Names and values are of our own, and fit.
fn put<'r>(
    altered: &mut Altered,
    name: &[u8],
    text: &mut Vec<u8>,
    all: impl Iterator<Item = (&'r Rate, Said)>,
    item: impl Fn(&RatePlan, &Said, &mut Vec<u8>),
) {
    text.clear();
    for (rate, said) in all {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        item(&rate.plan, &said, text);
    }
    if !altered.takes_from_response(name) {
        let _ = altered.response().add(name, text);
    }
}

/// Rounded up: who comes a moment too soon is refused again.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
