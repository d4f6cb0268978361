//! A whole service over virtual time: stories, and the weaknesses of other balancers as rows.
#![cfg(not(shuttle))]
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

/// A service, a clock and an ear.
mod stage;

/// Who may be picked, and which no it is.
mod refusals;

/// Ejection, trials and return.
mod ejection;

/// Checks, hands, ladders and drains.
mod standing;

/// Warming up.
mod warming;

/// Health that is not believed.
mod few_healthy;

/// Who serves while others stand by.
mod tiers;

/// Who stands near.
mod zones;

/// Who is kept where, and who moves.
mod affinity;

/// Joining, leaving and returning.
mod identity;

/// A policy of the program's own.
mod custom;

/// Explaining is picking without the charge.
mod explaining;

/// What outcomes teach.
mod learning;

/// Who listens, and how.
mod listening;

/// Retries and their budget.
mod retries;

/// Second picks beside slow ones.
mod hedging;

/// A share that follows health.
mod trusting;

/// Limits that follow latency.
mod limits;

/// A share that follows reports of load.
mod weighing;

/// Keys, and no more than a part of the load.
mod bounded;

/// What broke others.
mod weaknesses;

/// A share that whoever watches gives.
mod adjusting;
