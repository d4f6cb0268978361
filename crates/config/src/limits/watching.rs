//! Owns the limits of what is watched of services, of who is told of it, and of what follows.

use std::ops::RangeInclusive;
use std::time::Duration;

use evenkeel_balance::settings::PolicyChoice;

/// From one look at weights to the next: most answers of a step have come by then.
pub const ADJUST_EVERY: Duration = Duration::from_secs(60);

/// What that may be: answers of one second are few, and after an hour nobody remembers why.
pub const ADJUST_EVERY_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// A backend whose peers take less than this part of its time is slow.
pub const PERFORMANCE_THRESHOLD: f64 = 0.8;

/// A backend of whose requests a smaller share succeeds, and a smaller one than its peers', gets the least.
pub const HEALTH_THRESHOLD: f64 = 0.9;

/// Policies that are tried unless others are named: those that go by how long answers take, and by what is in flight.
pub const TRIED: [PolicyChoice; 3] = [
    PolicyChoice::Adaptive,
    PolicyChoice::LeastTime,
    PolicyChoice::LeastConnections,
];

/// The most policies that are tried: each takes its intervals of somebody's traffic.
pub const TRIED_MOST: usize = 8;

/// A score of the service under this is too low.
pub const TRIAL_THRESHOLD: f64 = 0.8;

/// The most intervals of a trial, or before one: a day of minutes.
pub const TRIAL_INTERVALS: u64 = 1440;

/// The most trials of a service, until somebody resets it.
pub const TRIALS: u64 = 100;

/// Receivers of alerts: each has a line of its own.
pub const WEBHOOKS: usize = 16;

/// Bytes of a secret that signs: fewer than 16 are guessed; more than this are hashed anyway (RFC 2104).
pub const SECRET_BYTES: RangeInclusive<usize> = 16..=1024;

/// One attempt to tell a receiver: it has to take note, and no more.
pub const WEBHOOK_WITHIN: Duration = Duration::from_secs(5);

/// The longest of that.
pub const WEBHOOK_WITHIN_MOST: Duration = Duration::from_secs(60);

/// Attempts of one alert: with rests that double from a second, half a minute.
pub const WEBHOOK_ATTEMPTS: u32 = 5;

/// The most of those.
pub const WEBHOOK_ATTEMPTS_MOST: u32 = 20;
