//! Owns the questions to the operating system's clock: how long did that take, and waiting.

use std::time::{Duration, Instant};

/// Since when.
#[derive(Clone, Copy)]
pub(crate) struct Since(Instant);

impl Since {
    /// From now on.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is done by hand is timed for whoever waits for it"
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
}

/// Runs `work` and says how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let since = Since::now();
    let done = work();
    (done, since.passed())
}

/// Waits; for measurements over time only, never for a fact.
#[expect(
    clippy::disallowed_methods,
    reason = "a soak looks at a process every few seconds"
)]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}
