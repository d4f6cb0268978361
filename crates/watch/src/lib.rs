//! WHAT a balancer sees of itself: figures over windows, what is wrong, where it goes, what to do about it.
//!
//! Whoever owns it feeds an [`Interval`](interval::Interval) of each service and backend at each tick, and asks. No I/O, no clock, no
//! randomness: time is an argument, and the same feed gives the same answers. Below, the modules in the order of the data.
#![forbid(unsafe_code)]

/// Time, as the caller tells it.
pub mod time;

/// Numbers from one kind into another, in one place.
mod number;

/// What is kept over restarts, as bytes.
pub mod bytes;

/// How long answers took: a distribution of few buckets.
pub mod latencies;

/// What one tick brings.
pub mod interval;

/// Figures over ten seconds to a day, in bounded memory.
pub mod series;

/// What is measured: its unit, and which way is bad.
pub mod metric;

/// Where a figure goes, and how sure that is.
pub mod trend;

/// From looks to what counts as wrong: patience, hysteresis, flapping.
pub mod condition;

/// Limits that an operator sets, and budgets of errors.
pub mod threshold;

/// Slower than before.
pub mod shift;

/// Failing more than it should.
pub mod surge;

/// Slower than peers.
pub mod peers;

/// What is wrong now and was lately.
pub mod alert;

/// One service that is watched: its series, and what is wrong with it.
pub mod service;

/// Weights that follow what backends do.
pub mod controller;

/// What to do about it.
pub mod recommend;
