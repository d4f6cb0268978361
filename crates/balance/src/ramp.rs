//! Owns slow start: the share of its weight that a backend has while it warms up.

use std::time::Duration;

use crate::time::Instant;

/// A backend begins with this share, so that it is tried at all (Envoy's `min_weight_percent`).
const LEAST: f32 = 0.1;

/// The share of its weight that a backend has at `now` when it began at `began`, 0.1 to 1; none when it is warm.
#[must_use]
pub(crate) fn ramp(began: Option<Instant>, window: Duration, now: Instant) -> Option<f32> {
    let passed = now.since(began?);
    (passed < window).then(|| (passed.as_secs_f32() / window.as_secs_f32()).max(LEAST))
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn linear_from_a_tenth_to_the_whole() {
        let second = |s: u64| Instant::from_nanos(s * 1_000_000_000);
        let rows = [
            (None, 5, None),
            (Some(0), 0, Some(0.1)),
            (Some(0), 5, Some(0.5)),
            (Some(0), 10, None),
            (Some(10), 5, Some(0.1)),
        ];
        for (began, now, expected) in rows {
            assert_eq!(
                ramp(began.map(second), Duration::from_secs(10), second(now)),
                expected,
                "{began:?} at {now}"
            );
        }
    }

    #[test]
    fn no_window_is_warm_at_once() {
        assert_eq!(
            ramp(Some(Instant::ZERO), Duration::ZERO, Instant::ZERO),
            None
        );
    }
}
