//! Owns how an instance ends.

use std::time::Duration;

use crate::limits;

/// How the instance ends on SIGTERM, and its listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPlan {
    /// Exchanges in flight get so long, from the end of `delay` on.
    pub within: Duration,
    /// So long it says that it is not ready, and serves.
    pub delay: Duration,
    /// Idle connections may begin an exchange so long.
    pub idle: Duration,
}

impl Default for DrainPlan {
    fn default() -> Self {
        Self {
            within: limits::DRAIN,
            delay: limits::DRAIN_DELAY,
            idle: limits::DRAIN_IDLE,
        }
    }
}

impl DrainPlan {
    /// How long idle connections are heard where the process goes on, or another one serves: nobody waits for their end. What they
    /// begin last has the other half.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.within / 2
    }

    /// The same where the process ends, and whoever replaces it may wait for that.
    #[must_use]
    pub fn last_patience(&self) -> Duration {
        self.idle.min(self.patience())
    }
}
