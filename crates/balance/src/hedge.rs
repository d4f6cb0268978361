//! Owns whether a second attempt is begun beside one that is slow, after how long, and how many of them a service may afford.
//!
//! Pure but for its counters: who is slow is known to whoever sends, which also starts and cancels. A hedge is load that nobody
//! asked for, and comes when answers are late: so it is paid for twice, out of an allowance of its own and out of the retry budget, and
//! not begun at all where the service is full or fails. After "The Tail at Scale" (Dean, Barroso 2013). Read next: `pace`.

use std::fmt;
use std::time::Duration;

use crate::ask::ClassId;
use crate::parts::Reach;
use crate::pick::Refusal;
use crate::retry::RetrySettings;
use crate::retry::budget::{Budget, BudgetSettings};
use crate::sync::{Arc, AtomicU32, Ordering, Published};

/// How long answers of a class take.
pub(crate) mod pace;

use pace::Paces;

/// No hedge is begun sooner: what is faster than this is late by the system's own pauses.
pub const SOONEST: Duration = Duration::from_millis(1);

/// A service that has more than this part of what it may have at once, in percent, is not asked for more.
const CROWDED_PERCENT: u64 = 80;

/// When a second attempt is begun beside a slow one, and how many of them there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HedgeSettings {
    /// How long the first one has before.
    pub at: HedgeAt,
    /// Hedges per thousand exchanges at most, 1 to 1000. The retry budget pays for each as well.
    pub most_permille: u32,
}

impl HedgeSettings {
    /// Two of a hundred: what the paper measured with, and takes away most of a tail.
    pub const MOST_PERMILLE: u32 = 20;

    /// At this time, for at most 2 % of the exchanges.
    #[must_use]
    pub const fn at(at: HedgeAt) -> Self {
        Self {
            at,
            most_permille: Self::MOST_PERMILLE,
        }
    }

    /// The same for another [`most_permille`](#structfield.most_permille).
    #[must_use]
    pub const fn most_permille(self, most_permille: u32) -> Self {
        Self {
            most_permille,
            ..self
        }
    }
}

/// How long an attempt has before another is begun beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAt {
    /// What this share of the answers of its class does not exceed, as measured.
    Quantile(Quantile),
    /// So long, at least [`SOONEST`].
    After(Duration),
}

/// A share of all answers, from half of them to 99.9 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantile(u16);

impl Quantile {
    /// So many of a thousand; none below 500 and above 999.
    #[must_use]
    pub const fn new(permille: u16) -> Option<Self> {
        match permille {
            500..=999 => Some(Self(permille)),
            _ => None,
        }
    }

    /// So many of a thousand.
    #[must_use]
    pub const fn permille(self) -> u16 {
        self.0
    }

    fn share(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for Quantile {
    /// As it is written: `p95`, `p99.9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(f, "p{whole}"),
            (whole, tenth) => write!(f, "p{whole}.{tenth}"),
        }
    }
}

/// What is known of an exchange whose attempt is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    /// Doing it twice is the same as once: as with [`Attempt::idempotent`](crate::retry::Attempt::idempotent).
    pub idempotent: bool,
    /// All of the request is here and can be sent again.
    pub replayable: bool,
    /// Attempts of this exchange so far, the slow one included: 1 or more.
    pub made: u32,
    /// Those of them that do not count.
    pub excused: u32,
    /// Time until the exchange must have its response head; `None` when nothing limits it.
    pub deadline_left: Option<Duration>,
    /// Its client is kept, from now on, where it is answered. The second attempt stays in the tier and the zone that are drawn for it then: for
    /// one pause nobody is kept among those who serve for want of others. [`NoHedge::NoOther`] where nobody else is there.
    pub keeps: bool,
}

impl Slow {
    pub(crate) const fn reach(&self) -> Reach {
        match self.keeps {
            true => Reach::Drawn,
            false => Reach::All,
        }
    }
}

/// Why no second attempt is begun, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoHedge {
    /// The request must not be done twice.
    NotSafe,
    /// Not all of the request is here, or not any more.
    NotReplayable,
    /// The client is kept on its backend: another would take it from there.
    Kept,
    /// As many attempts as the retry settings allow.
    AttemptsExhausted,
    /// A usual response does not fit into what is left of the deadline.
    DeadlineTooClose,
    /// Somebody waits for the service, or it has most of what it may have at once.
    Overloaded,
    /// More than half of the service's backends fail.
    Failing,
    /// The service has no hedges left, or no retries.
    BudgetExhausted,
    /// No other backend may be picked.
    NoOther,
}

impl NoHedge {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::NotSafe,
        Self::NotReplayable,
        Self::Kept,
        Self::AttemptsExhausted,
        Self::DeadlineTooClose,
        Self::Overloaded,
        Self::Failing,
        Self::BudgetExhausted,
        Self::NoOther,
    ];

    /// The word for logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotSafe => "not_safe",
            Self::NotReplayable => "not_replayable",
            Self::Kept => "kept",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::DeadlineTooClose => "deadline_too_close",
            Self::Overloaded => "overloaded",
            Self::Failing => "failing",
            Self::BudgetExhausted => "budget_exhausted",
            Self::NoOther => "no_other",
        }
    }
}

impl From<Refusal> for NoHedge {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::AllFull | Refusal::QueueFull | Refusal::QueueTimeout => Self::Overloaded,
            Refusal::NoBackends | Refusal::AllDown | Refusal::AllTried | Refusal::Declined => {
                Self::NoOther
            }
        }
    }
}

/// Decides all but what the service can bear: by the exchange alone. `usual` is what an attempt of it takes.
pub(crate) fn decide(
    slow: &Slow,
    kept: bool,
    settings: &RetrySettings,
    usual: Duration,
) -> Result<(), NoHedge> {
    if !slow.idempotent {
        return Err(NoHedge::NotSafe);
    }
    if !slow.replayable {
        return Err(NoHedge::NotReplayable);
    }
    if kept {
        return Err(NoHedge::Kept);
    }
    if slow.made.saturating_sub(slow.excused) >= settings.attempts {
        return Err(NoHedge::AttemptsExhausted);
    }
    match slow.deadline_left {
        Some(left) if usual >= left => Err(NoHedge::DeadlineTooClose),
        _ => Ok(()),
    }
}

/// Whether so many of so many are too many to add to.
pub(crate) const fn is_crowded(taken: u64, most: u64) -> bool {
    taken * 100 >= most * CROWDED_PERCENT
}

/// What the tick says of a whole service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mood {
    Calm,
    Crowded,
    Failing,
}

/// What a service knows of its hedges. Picks read it, the tick writes.
#[derive(Debug)]
pub(crate) struct Hedging {
    /// None: there are none.
    paces: Published<Option<Paces>>,
    /// Hedges that it may afford; earned by exchanges alone.
    allowance: Budget,
    mood: AtomicU32,
}

impl Default for Hedging {
    fn default() -> Self {
        Self {
            paces: Published::new(Arc::new(None)),
            allowance: Budget::new(&earning(0)),
            mood: AtomicU32::new(Mood::Calm as u32),
        }
    }
}

/// A hedge that is not wanted is not kept for a day when all are late: a second's, and one.
fn earning(permille: u32) -> BudgetSettings {
    BudgetSettings {
        ratio_permille: permille,
        floor_per_second: 0,
        keep: Duration::ZERO,
        keep_earned: Duration::from_secs(1),
    }
}

impl Hedging {
    /// How long an attempt of this class has. None: as long as it takes.
    pub(crate) fn after(&self, class: ClassId) -> Option<Duration> {
        self.paces.read(|paces| paces.as_ref()?.after(class))
    }

    /// An answer of this class that took so long.
    pub(crate) fn answered(&self, class: ClassId, latency: Duration) {
        self.paces.read(|paces| {
            if let Some(paces) = paces {
                paces.answered(class, latency);
            }
        });
    }

    /// An attempt of this class that was given up after so long.
    pub(crate) fn outlasted(&self, class: ClassId, latency: Duration) {
        self.paces.read(|paces| {
            if let Some(paces) = paces {
                paces.outlasted(class, latency);
            }
        });
    }

    /// What the tick said last.
    pub(crate) fn calm(&self) -> Result<(), NoHedge> {
        match self.mood.load(Ordering::Relaxed) {
            mood if mood == Mood::Crowded as u32 => Err(NoHedge::Overloaded),
            mood if mood == Mood::Failing as u32 => Err(NoHedge::Failing),
            _ => Ok(()),
        }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.mood.store(mood as u32, Ordering::Relaxed);
    }

    /// Takes one hedge out of the allowance and out of the retry budget.
    pub(crate) fn withdraw(&self, retries: &Budget) -> Result<(), NoHedge> {
        if !self.allowance.withdraw() {
            return Err(NoHedge::BudgetExhausted);
        }
        if !retries.withdraw() {
            self.allowance.refund();
            return Err(NoHedge::BudgetExhausted);
        }
        Ok(())
    }

    /// Gives it back: it was not begun.
    pub(crate) fn refund(&self, retries: &Budget) {
        self.allowance.refund();
        retries.refund();
    }

    /// Hedges that are left.
    pub(crate) fn left(&self) -> u64 {
        self.allowance.left()
    }

    /// Earns by so many exchanges. By one caller: the tick.
    pub(crate) fn refill(&self, exchanges: u64, elapsed: Duration, settings: &HedgeSettings) {
        let settings = earning(settings.most_permille);
        self.allowance
            .refill_to_one_at_least(exchanges, elapsed, &settings);
    }

    /// Other settings: what was measured stays as long as there are hedges. By the one writer.
    pub(crate) fn follow(&self, settings: Option<&HedgeSettings>) {
        let before = self.paces.load();
        let next = settings.map(|settings| match &*before {
            Some(paces) => paces.at(settings.at),
            None => Paces::new(settings.at),
        });
        self.paces.store(Arc::new(next));
    }

    /// The paces as they are. By the one writer.
    pub(crate) fn paces(&self) -> Arc<Option<Paces>> {
        self.paces.load()
    }

    /// Publishes others. By the one writer.
    pub(crate) fn publish(&self, paces: Paces) {
        self.paces.store(Arc::new(Some(paces)));
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    const SLOW: Slow = Slow {
        idempotent: true,
        replayable: true,
        made: 1,
        excused: 0,
        deadline_left: Some(Duration::from_secs(1)),
        keeps: false,
    };

    fn check(slow: Slow, kept: bool, expect: Result<(), NoHedge>) {
        let usual = Duration::from_millis(10);
        let decided = decide(&slow, kept, &RetrySettings::default(), usual);
        assert_eq!(decided, expect, "{slow:?} {kept}");
    }

    #[test]
    fn what_the_exchange_says() {
        check(SLOW, false, Ok(()));
        check(SLOW, true, Err(NoHedge::Kept));
        let unsafe_ = Slow {
            idempotent: false,
            ..SLOW
        };
        check(unsafe_, true, Err(NoHedge::NotSafe));
        let gone = Slow {
            replayable: false,
            ..SLOW
        };
        check(gone, true, Err(NoHedge::NotReplayable));
        // Both count to the attempts of the settings, of which there are three.
        check(Slow { made: 2, ..SLOW }, false, Ok(()));
        let third = Slow { made: 3, ..SLOW };
        check(third, false, Err(NoHedge::AttemptsExhausted));
        check(
            Slow {
                excused: 1,
                ..third
            },
            false,
            Ok(()),
        );
        for (left, expect) in [
            (None, Ok(())),
            (Some(11), Ok(())),
            (Some(10), Err(NoHedge::DeadlineTooClose)),
        ] {
            let left = left.map(Duration::from_millis);
            check(
                Slow {
                    deadline_left: left,
                    ..SLOW
                },
                false,
                expect,
            );
        }
    }

    #[test]
    fn quantiles_are_written_as_they_are_read() {
        for (permille, expect) in [
            (499, None),
            (500, Some("p50")),
            (950, Some("p95")),
            (955, Some("p95.5")),
            (999, Some("p99.9")),
            (1000, None),
        ] {
            let text = Quantile::new(permille).map(|quantile| quantile.to_string());
            assert_eq!(text.as_deref(), expect);
        }
    }

    #[test]
    fn both_budgets_pay_or_none() {
        let hedging = Hedging::default();
        let settings = HedgeSettings::at(HedgeAt::After(SOONEST));
        let retries = Budget::new(&BudgetSettings::default());
        let spent = || hedging.withdraw(&retries).is_err();
        assert!(spent(), "nothing is earned before the first exchange");
        assert_eq!(retries.left(), 30);
        hedging.refill(100, Duration::ZERO, &settings);
        assert!(!spent() && !spent() && spent(), "two of a hundred");
        assert_eq!(retries.left(), 28);
        hedging.refund(&retries);
        while retries.withdraw() {}
        assert!(spent());
        retries.refund();
        assert!(!spent(), "what the other refused was given back");
    }

    /// However few the exchanges are, one of fifty is hedged; and however long nobody was late, no more than a second's are kept.
    #[test]
    fn a_quiet_service_saves_for_one_and_a_busy_one_for_a_second() {
        let settings = HedgeSettings::at(HedgeAt::After(SOONEST));
        let drain = |exchanges: u64, ticks: u64| {
            let hedging = Hedging::default();
            for _ in 0..ticks {
                hedging.refill(exchanges, Duration::from_millis(100), &settings);
            }
            (0..).find(|_| !hedging.allowance.withdraw())
        };
        assert_eq!(drain(1, 49), Some(0));
        assert_eq!(drain(1, 50), Some(1));
        assert_eq!(drain(1, 50_000), Some(1));
        assert_eq!(drain(1000, 50_000), Some(200));
    }
}
