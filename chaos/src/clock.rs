//! Owns the questions to the operating system's clock: when is now, and which day is it.

use std::time::{Duration, Instant, SystemTime};

/// Since when a run counts.
#[derive(Clone, Copy)]
pub(crate) struct Start(Instant);

impl Start {
    /// From now on.
    #[expect(
        clippy::disallowed_methods,
        reason = "a measurement of time begins somewhere"
    )]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago that was.
    #[expect(
        clippy::disallowed_methods,
        reason = "the other half of the same question"
    )]
    pub(crate) fn passed(self) -> Duration {
        self.0.elapsed()
    }

    /// Waits until so long after it; not at all when that has passed.
    pub(crate) async fn until(self, offset: Duration) {
        tokio::time::sleep_until((self.0 + offset).into()).await;
    }
}

/// Seconds since 1970, for the date of a report.
#[expect(
    clippy::disallowed_methods,
    reason = "a report says when it was made, and decides nothing by it"
)]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
