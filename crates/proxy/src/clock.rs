//! Owns the questions to the operating system: what time is it, what is today's date, and a seed.

use std::time::{Duration, SystemTime};

use evenkeel_balance::time::Instant;

/// Monotonic time since the process began; the same for all workers and services.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// Time begins now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks for the time"
    )]
    pub fn start() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }

    /// The time; about 25 ns.
    #[must_use]
    #[inline]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks for the time"
    )]
    pub fn now(self) -> Instant {
        let elapsed = tokio::time::Instant::now().saturating_duration_since(self.start);
        Instant::ZERO + elapsed
    }
}

/// Time since 1970, for dates that people read and for those of certificates. Nothing else is decided by it.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks for the date"
)]
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// A seed that nobody can guess beforehand.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks for a seed"
)]
pub fn seed() -> u64 {
    fastrand::Rng::new().u64(..)
}
