//! Requests that are tried again, in memory and in a time that stands still: what each backend got, and what the client heard.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

mod frames;
#[path = "../exchange/plan.rs"]
mod plan;
mod world;

/// Which attempts are made again, and what the next one gets.
mod again;

/// Which attempts have another beside them, and whose answer is heard.
mod hedged;

/// What failing over leaves in the counters.
mod failover;

/// What becomes of connections that a reload leaves to nobody.
mod retired;

/// What each end of an attempt says of its backend.
mod verdicts;
