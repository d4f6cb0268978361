//! Owns the questions to the operating system: what time is it, here and for all of the system, what is today's date, and a seed.

use std::time::{Duration, SystemTime};

use evenkeel_balance::time::Instant;
use rustix::time::{ClockId, clock_gettime};

/// So long before the process time begins: what it takes over of another one may be as old, and an instant has no number below 0.
const BEFORE: Duration = Duration::from_hours(24 * 366);

/// Monotonic time; the same for all workers and services.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: tokio::time::Instant,
    began: Instant,
}

impl Clock {
    /// The process begins now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks for the time"
    )]
    pub fn start() -> Self {
        let now = tokio::time::Instant::now();
        // A system whose time cannot be before its own start has nothing older to take over.
        let zero = now.checked_sub(BEFORE).unwrap_or(now);
        Self {
            zero,
            began: Instant::ZERO + now.saturating_duration_since(zero),
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
        let elapsed = tokio::time::Instant::now().saturating_duration_since(self.zero);
        Instant::ZERO + elapsed
    }

    /// For how long the process has run.
    #[must_use]
    pub fn uptime(self) -> Duration {
        self.now().since(self.began)
    }
}

/// Monotonic time of the whole system: what another process of it said of the past can be reckoned on. Nothing else is decided by it.
#[must_use]
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
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
