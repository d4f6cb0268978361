//! Owns the one question to the operating system: how long did that take.

use std::time::{Duration, Instant};

/// Runs `work` and says how long it took.
#[expect(
    clippy::disallowed_methods,
    reason = "the steps of the gate are timed for whoever waits for them"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}
