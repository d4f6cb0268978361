//! Owns what became of reloads, and when the process began.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_proxy::clock::since_1970;

/// What became of reloads.
#[derive(Debug)]
pub(crate) struct Reloads {
    taken: AtomicU64,
    refused: AtomicU64,
    /// The last one was refused: what runs is not what the files say.
    is_behind: AtomicBool,
    /// Of the last that was taken, or of the start: milliseconds since 1970.
    taken_at: AtomicU64,
    /// When the instance began, since 1970.
    began: Duration,
}

impl Reloads {
    pub(crate) fn begin() -> Self {
        let started = Self {
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            is_behind: AtomicBool::new(false),
            taken_at: AtomicU64::new(0),
            began: since_1970(),
        };
        started.date();
        started
    }

    pub(crate) fn count(&self, taken: bool) {
        let count = if taken { &self.taken } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
        self.is_behind.store(!taken, Ordering::Relaxed);
        if taken {
            self.date();
        }
    }

    /// Those that were taken, and those that were refused.
    pub(super) fn counts(&self) -> [u64; 2] {
        [&self.taken, &self.refused].map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    pub(super) fn taken_at(&self) -> Duration {
        Duration::from_millis(self.taken_at.load(Ordering::Relaxed))
    }

    pub(super) const fn began(&self) -> Duration {
        self.began
    }

    fn date(&self) {
        let now = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
        self.taken_at.store(now, Ordering::Relaxed);
    }
}
