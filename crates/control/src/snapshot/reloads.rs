//! Owns what became of reloads, and when the process began.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_proxy::clock::since_1970;

/// What was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// The texts of the configuration, and all that they name.
    Texts,
    /// Files that they name: certificates, tokens.
    Files,
}

/// What became of reloads.
#[derive(Debug)]
pub(crate) struct Reloads {
    taken: AtomicU64,
    refused: AtomicU64,
    /// The last one of each was refused: what runs is not what they say.
    behind: [AtomicBool; 2],
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
            behind: Default::default(),
            taken_at: AtomicU64::new(0),
            began: since_1970(),
        };
        started.date();
        started
    }

    pub(crate) fn count(&self, of: Of, taken: bool) {
        let count = if taken { &self.taken } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
        self.behind[of as usize].store(!taken, Ordering::Relaxed);
        if taken {
            self.date();
            // Whoever reads the texts reads the files too.
            self.same();
        }
    }

    /// The files that the texts name hold what runs.
    pub(crate) fn same(&self) {
        self.behind[Of::Files as usize].store(false, Ordering::Relaxed);
    }

    /// Those that were taken, and those that were refused.
    pub(super) fn counts(&self) -> [u64; 2] {
        [&self.taken, &self.refused].map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn is_behind(&self, of: Of) -> bool {
        self.behind[of as usize].load(Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_files_say_each_of_themselves() {
        let all = Reloads::begin();
        let behind = || [Of::Texts, Of::Files].map(|of| all.is_behind(of));
        assert_eq!(behind(), [false, false]);
        all.count(Of::Texts, false);
        all.count(Of::Files, false);
        assert_eq!(behind(), [true, true]);
        // Files that hold what runs say nothing of the texts.
        all.same();
        assert_eq!(behind(), [true, false]);
        all.count(Of::Files, true);
        assert_eq!(behind(), [true, false]);
        // Whoever takes the texts has read the files.
        all.count(Of::Files, false);
        all.count(Of::Texts, true);
        assert_eq!((behind(), all.counts()), ([false, false], [2, 3]));
    }
}
