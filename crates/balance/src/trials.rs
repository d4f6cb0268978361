//! Owns the bounded trials of a half-open breaker: how many may still start, how many passed, whether one failed.
//!
//! One word, changed by compare-and-exchange, each change bound to the epoch (the half-open period) it belongs to:
//! a late answer of an earlier period can neither pass nor fail the present one.
//!
//! ```text
//! closed, open: no tokens        begin(n): epoch + 1, n tokens
//! take: token - 1                passed: passed + 1
//! give back: token + 1           failed: failed, no tokens left
//! more(n): n tokens, all hang
//! ```

use crate::sync::{AtomicU64, Ordering};

/// epoch: 32 bits, failed: 1, passed: 15, tokens: 16.
#[derive(Debug, Default)]
pub(crate) struct Trials(AtomicU64);

/// The half-open period that a trial belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u32);

/// What the trials of the present period have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) passed: u16,
    pub(crate) failed: bool,
}

#[derive(Clone, Copy)]
struct Word {
    epoch: u32,
    failed: bool,
    passed: u16,
    tokens: u16,
}

impl Word {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each field is masked to its width"
    )]
    const fn unpack(word: u64) -> Self {
        Self {
            epoch: (word >> 32) as u32,
            failed: word & (1 << 31) != 0,
            passed: ((word >> 16) & 0x7FFF) as u16,
            tokens: word as u16,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.epoch) << 32
            | u64::from(self.failed) << 31
            | u64::from(self.passed & 0x7FFF) << 16
            | u64::from(self.tokens)
    }
}

impl Trials {
    /// The most trials that one half-open period can have.
    pub(crate) const MOST: u16 = 0x7FFF;

    /// A new half-open period with `tokens` trials. Called by the tick only.
    pub(crate) fn begin(&self, tokens: u16) {
        self.change(|word| {
            Some(Word {
                epoch: word.epoch.wrapping_add(1),
                failed: false,
                passed: 0,
                tokens: tokens.min(Self::MOST),
            })
        });
    }

    /// So many more trials in the same period: all before hang, and may yet answer. Called by the tick only.
    pub(crate) fn more(&self, tokens: u16) {
        self.change(|word| {
            (!word.failed).then(|| Word {
                tokens: word.tokens.saturating_add(tokens),
                ..word
            })
        });
    }

    /// Ends the period: nothing starts, late answers count for nothing. Called by the tick only.
    pub(crate) fn end(&self) {
        self.change(|word| {
            Some(Word {
                epoch: word.epoch.wrapping_add(1),
                failed: false,
                passed: 0,
                tokens: 0,
            })
        });
    }

    /// Takes a trial if one is left.
    pub(crate) fn take(&self) -> Option<Epoch> {
        self.change(|word| {
            (word.tokens > 0).then(|| Word {
                tokens: word.tokens - 1,
                ..word
            })
        })
        .map(|word| Epoch(word.epoch))
    }

    pub(crate) fn available(&self) -> bool {
        Word::unpack(self.0.load(Ordering::Relaxed)).tokens > 0
    }

    /// A trial that says nothing (its client left) may be tried again.
    pub(crate) fn give_back(&self, epoch: Epoch) {
        self.change(|word| {
            (word.epoch == epoch.0 && !word.failed).then(|| Word {
                tokens: word.tokens.saturating_add(1),
                ..word
            })
        });
    }

    pub(crate) fn passed(&self, epoch: Epoch) -> bool {
        self.change(|word| {
            (word.epoch == epoch.0).then(|| Word {
                passed: (word.passed + 1).min(0x7FFF),
                ..word
            })
        })
        .is_some()
    }

    /// A failed trial ends the others' chances at once; the tick re-opens the breaker.
    pub(crate) fn failed(&self, epoch: Epoch) -> bool {
        self.change(|word| {
            (word.epoch == epoch.0).then_some(Word {
                failed: true,
                tokens: 0,
                ..word
            })
        })
        .is_some()
    }

    pub(crate) fn results(&self) -> Results {
        let word = Word::unpack(self.0.load(Ordering::Relaxed));
        Results {
            passed: word.passed,
            failed: word.failed,
        }
    }

    fn change(&self, next: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let word = next(Word::unpack(seen))?;
            match self.0.compare_exchange_weak(
                seen,
                word.pack(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(word),
                Err(now) => seen = now,
            }
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn trials_are_bounded_and_a_late_answer_of_an_earlier_period_counts_for_nothing() {
        let trials = Trials::default();
        assert_eq!(trials.take(), None, "closed: no trials");
        trials.begin(2);
        let (first, second) = (trials.take().unwrap(), trials.take().unwrap());
        assert_eq!(trials.take(), None, "bounded");
        trials.give_back(first);
        let third = trials.take().unwrap();
        assert!(trials.failed(second));
        trials.give_back(third);
        assert_eq!(trials.take(), None, "after a failure nothing starts");
        trials.end();
        trials.begin(1);
        assert!(!trials.passed(first) && !trials.failed(first));
        assert_eq!(
            trials.results(),
            Results {
                passed: 0,
                failed: false
            }
        );
        let fresh = trials.take().unwrap();
        assert!(trials.passed(fresh));
        assert_eq!(
            trials.results(),
            Results {
                passed: 1,
                failed: false
            }
        );
    }
}

#[cfg(all(test, shuttle))]
mod tests {
    use shuttle::thread;

    use super::*;
    use crate::sync::Arc;

    /// Three takers for two tokens; one fails, one gives back, one passes, while the tick ends the period.
    fn takers_and_the_end_of_the_period() {
        let trials = Arc::new(Trials::default());
        trials.begin(2);
        let takers: Vec<_> = (0..3)
            .map(|way| {
                let trials = Arc::clone(&trials);
                thread::spawn(move || {
                    let epoch = trials.take();
                    if let Some(epoch) = epoch {
                        match way {
                            0 => drop(trials.passed(epoch)),
                            1 => trials.give_back(epoch),
                            _ => drop(trials.failed(epoch)),
                        }
                    }
                    epoch
                })
            })
            .collect();
        let before_end = trials.results();
        trials.end();
        let epochs: Vec<_> = takers
            .into_iter()
            .map(|taker| taker.join().expect("takers do not panic"))
            .collect();
        assert!(
            epochs.iter().flatten().count() <= 3,
            "two tokens, and one that came back"
        );
        assert!(
            epochs.iter().flatten().all(|epoch| *epoch == Epoch(1)),
            "nothing starts after the end"
        );
        assert!(before_end.passed <= 1);
        assert!(
            !trials.available(),
            "nothing is given back to an ended period"
        );
        assert_eq!(
            trials.results(),
            Results {
                passed: 0,
                failed: false
            }
        );
    }

    /// Without the one that gives back, two tokens are two trials, in every schedule; a failure leaves none.
    fn two_tokens_are_two_trials() {
        let trials = Arc::new(Trials::default());
        trials.begin(2);
        let take = |fail: bool| {
            let trials = Arc::clone(&trials);
            thread::spawn(move || {
                let epoch = trials.take();
                if let Some(epoch) = epoch.filter(|_| fail) {
                    trials.failed(epoch);
                    return 1;
                }
                u32::from(epoch.is_some())
            })
        };
        let takers = [take(false), take(true), take(false), take(false)];
        let taken: u32 = takers
            .into_iter()
            .map(|taker| taker.join().expect("takers do not panic"))
            .sum();
        assert!(taken <= 2, "{taken} trials of two tokens");
        assert!(!trials.results().failed || !trials.available());
    }

    #[test]
    fn trials_are_bounded_in_every_schedule() {
        shuttle::check_random(two_tokens_are_two_trials, 20_000);
        shuttle::check_pct(two_tokens_are_two_trials, 5_000, 3);
    }

    #[test]
    fn an_ended_period_stays_ended_in_every_schedule() {
        shuttle::check_random(takers_and_the_end_of_the_period, 20_000);
        shuttle::check_pct(takers_and_the_end_of_the_period, 5_000, 3);
    }
}
