//! Owns what became of clients that a service keeps, and the counters of it.

use evenkeel_balance::affinity::Lost;
use evenkeel_balance::eligibility::Bar;

use super::Count;
use crate::affinity::{Ignored, Served};

/// What became of a client that a service keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stayed {
    /// It was kept nowhere, and is kept on the backend that answered.
    New,
    /// The backend that it is kept on answered.
    Kept,
    /// Another one answered, and it is kept there from now on.
    Moved(Lost),
    /// Another one answered since its own was full. It is kept where it was.
    Spilled,
}

impl Stayed {
    /// What became of one that was kept on this backend, now that one has answered; `lost` says why its own did not.
    pub(crate) fn of(home: Option<u64>, served: Served, lost: impl FnOnce(u64) -> Lost) -> Self {
        match home {
            None => Self::New,
            Some(home) if home == served.backend => Self::Kept,
            Some(_) if served.spilled => Self::Spilled,
            // Whoever was picked for another reason moves, though its own may be whole by now, or full.
            Some(home) => Self::Moved(lost(home)),
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Kept => "kept",
            Self::Moved(_) => "moved",
            Self::Spilled => "spilled",
        }
    }

    /// Why it was not served where it was kept.
    #[must_use]
    pub const fn lost(self) -> Option<Lost> {
        match self {
            Self::Moved(lost) => Some(lost),
            Self::Spilled => Some(Lost::Barred(Bar::Full)),
            Self::New | Self::Kept => None,
        }
    }
}

/// Why a client moves, by word.
const LOST: [&str; 14] = [
    "gone",
    "disabled",
    "draining",
    "down",
    "ejected",
    "probing",
    "unproven",
    "zero_weight",
    "standby",
    "few_healthy",
    "no_trial_left",
    "not_in_subset",
    "tried",
    "full",
];

const STAYS: [&str; 3] = ["new", "kept", "spilled"];

const IGNORED: [&str; 2] = ["invalid", "expired"];

/// One worker's counters of the clients that one service keeps.
#[derive(Debug, Default)]
pub struct StayCounters {
    stays: [Count; STAYS.len()],
    moved: [Count; LOST.len()],
    ignored: [Count; IGNORED.len()],
}

impl StayCounters {
    pub(super) fn observe(&self, stayed: Stayed) {
        match stayed {
            Stayed::New => self.stays[0].add(1),
            Stayed::Kept => self.stays[1].add(1),
            Stayed::Spilled => self.stays[2].add(1),
            Stayed::Moved(lost) => {
                let at = LOST.iter().position(|word| *word == lost.word());
                if let Some(count) = at.and_then(|at| self.moved.get(at)) {
                    count.add(1);
                }
            }
        }
    }

    pub(crate) fn ignored(&self, ignored: Ignored) {
        self.ignored[match ignored {
            Ignored::Invalid => 0,
            Ignored::Expired => 1,
        }]
        .add(1);
    }
}

fn rows<'c, const N: usize>(
    words: [&'static str; N],
    of: impl Iterator<Item = &'c [Count; N]>,
) -> Vec<(&'static str, u64)> {
    let mut sums = [0; N];
    for counts in of {
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count.get();
        }
    }
    words.into_iter().zip(sums).collect()
}

/// Exchanges of all workers whose clients were new, were kept, or were served elsewhere for once.
#[must_use]
pub fn stays<'c>(workers: impl Iterator<Item = &'c StayCounters>) -> Vec<(&'static str, u64)> {
    rows(STAYS, workers.map(|one| &one.stays))
}

/// Clients of all workers that moved, by why.
#[must_use]
pub fn moves<'c>(workers: impl Iterator<Item = &'c StayCounters>) -> Vec<(&'static str, u64)> {
    rows(LOST, workers.map(|one| &one.moved))
}

/// Cookies that counted as nothing, by why.
#[must_use]
pub fn ignored<'c>(workers: impl Iterator<Item = &'c StayCounters>) -> Vec<(&'static str, u64)> {
    rows(IGNORED, workers.map(|one| &one.ignored))
}

#[cfg(test)]
mod tests {
    use evenkeel_balance::standing::Standing;

    use super::*;

    /// Whether a client stays where it is was decided when another was picked, and not by what is so when that one has answered.
    #[test]
    fn who_moves_is_no_spill_though_its_own_is_full_by_now() {
        let full = Lost::Barred(Bar::Full);
        for (home, spilled, expect) in [
            (None, false, Stayed::New),
            (Some(2), false, Stayed::Kept),
            (Some(1), true, Stayed::Spilled),
            (Some(1), false, Stayed::Moved(full)),
        ] {
            let served = Served {
                backend: 2,
                spilled,
            };
            let stayed = Stayed::of(home, served, |_| full);
            assert_eq!(stayed, expect, "{home:?} {spilled}");
        }
    }

    #[test]
    fn each_has_a_row_of_its_own() {
        use Standing::{Disabled, Down, Draining, Ejected, Probing, Unproven};
        let standings = [Disabled, Draining, Down, Ejected, Probing, Unproven];
        let bars = [
            Bar::ZeroWeight,
            Bar::Standby,
            Bar::FewHealthy,
            Bar::NoTrialLeft,
            Bar::NotInSubset,
            Bar::Tried,
            Bar::Full,
        ];
        let all = standings.into_iter().map(Bar::Standing).chain(bars);
        let all: Vec<_> = [Lost::Gone]
            .into_iter()
            .chain(all.map(Lost::Barred))
            .collect();
        let (one, other) = (StayCounters::default(), StayCounters::default());
        for (lost, times) in all.iter().zip(1..) {
            for _ in 0..times {
                one.observe(Stayed::Moved(*lost));
            }
            other.observe(Stayed::Moved(*lost));
        }
        one.observe(Stayed::New);
        one.observe(Stayed::Spilled);
        other.observe(Stayed::Kept);
        other.ignored(Ignored::Expired);
        let both = || [&one, &other].into_iter();
        let expect: Vec<_> = all.iter().map(|lost| lost.word()).zip(2..).collect();
        assert_eq!(moves(both()), expect);
        assert_eq!(stays(both()), [("new", 1), ("kept", 1), ("spilled", 1)]);
        assert_eq!(ignored(both()), [("invalid", 0), ("expired", 1)]);
    }
}
