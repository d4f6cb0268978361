//! WHAT a balancer sees of itself: figures over windows, what is wrong, where it goes, what to do about it.
//!
//! Whoever owns it feeds an [`Interval`](interval::Interval) of each service and backend at each tick, and asks. No I/O, no clock, no
//! randomness: time is an argument, and the same feed gives the same answers. Below, the modules in the order of the data.
//!
//! ```
//! use evenkeel_watch::{alert::Alerts, interval::Interval, series::Span, service::{ServiceWatch, WatchSettings}, time::Moment};
//!
//! let (mut watch, mut alerts, settings) = (ServiceWatch::default(), Alerts::default(), WatchSettings::default());
//! let mut one = Interval { millis: 1000, requests: 40, errors: 0, up: true, ..Interval::default() };
//! one.latencies.add(20_000_000, 40); // nanoseconds, answers
//! for second in 0..60 {
//!     let now = Moment::from_secs(1_795_305_600 + second);
//!     for change in watch.tick(now, &one, &[("10.0.0.1:80", &one)], &settings) {
//!         if let Some(notice) = alerts.take("api", &change, now)? {
//!             println!("tell somebody of alert {}", notice.number);
//!         }
//!     }
//! }
//! assert_eq!(watch.series().over(Span::Minute).requests, 2400);
//! assert_eq!(alerts.raised().count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

/// Time, as the caller tells it.
pub mod time;

/// Numbers from one kind into another, in one place.
mod number;

/// What is kept over restarts, as bytes.
pub mod bytes;

/// How long answers took: a distribution of few buckets.
pub mod latencies;

/// Those that come as wide buckets and a sum.
pub mod buckets;

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

/// How healthy a service is, how well it does, and whether requests went where they were to go.
pub mod overall;

/// Weights that follow what backends do.
pub mod controller;

/// Whether another policy is tried, and whether it stays.
pub mod experiment;

/// What to do about it.
pub mod recommend;
