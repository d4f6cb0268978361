//! Owns the one question of this room to the system's clock.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the clock that only goes forward, as systemd counts them.
pub(crate) fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
