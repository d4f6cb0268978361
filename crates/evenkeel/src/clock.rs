//! Owns the questions to the operating system: what time is it, what date, and a random word.
//!
//! Everything else of the crate is told. Time is tokio's, so a paused clock pauses the balancer too; the date is not.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use evenkeel_balance::hashing;
use evenkeel_balance::time::Instant;

/// Monotonic time since the balancer was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks for the time"
    )]
    pub(crate) fn start() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }

    /// Nanoseconds since the start; about 25 ns.
    #[inline]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks for the time"
    )]
    pub(crate) fn now(self) -> Instant {
        let elapsed = tokio::time::Instant::now().saturating_duration_since(self.start);
        Instant::ZERO + elapsed
    }
}

/// Time since the begin of 1970, for dates that a backend names.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks for the date"
)]
pub(crate) fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

/// Where random words come from.
#[derive(Debug)]
pub(crate) enum Chance {
    /// A generator per thread, seeded by the operating system: no thread waits for another.
    PerThread,
    /// A row that a seed fixes, in the order of drawing. Threads share its counter.
    Seeded {
        /// The seed.
        seed: u64,
        /// How many were drawn.
        drawn: AtomicU64,
    },
}

thread_local! {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks for a seed")]
    static GENERATOR: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
}

impl Chance {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        seed.map_or(Self::PerThread, |seed| Self::Seeded {
            seed,
            drawn: AtomicU64::new(0),
        })
    }

    /// What the next draw gives, on this thread where threads have their own. Changes nothing.
    pub(crate) fn peek(&self) -> u64 {
        match self {
            Self::PerThread => GENERATOR
                .try_with(|generator| generator.borrow().clone().u64(..))
                .unwrap_or_default(),
            Self::Seeded { seed, drawn } => hashing::mix(*seed, drawn.load(Ordering::Relaxed)),
        }
    }

    #[inline]
    pub(crate) fn draw(&self) -> u64 {
        match self {
            // A thread that is being torn down has no generator any more: its picks are not random, but made.
            Self::PerThread => GENERATOR
                .try_with(|generator| generator.borrow_mut().u64(..))
                .unwrap_or_default(),
            Self::Seeded { seed, drawn } => {
                hashing::mix(*seed, drawn.fetch_add(1, Ordering::Relaxed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_row_and_another_seed_gives_another() {
        let row = |seed| {
            let chance = Chance::new(Some(seed));
            [chance.draw(), chance.draw(), chance.draw()]
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        assert_ne!(row(7)[0], row(7)[1]);
    }

    #[test]
    fn threads_draw_from_generators_of_their_own() {
        let draw = || Chance::new(None).draw();
        let other = std::thread::spawn(draw).join().unwrap();
        assert_ne!(draw(), other);
    }
}
