//! Owns what is counted of what happens to a service: checks, breakers, backends that are lost and come back, tiers.
//!
//! Stands between the core and who hears its events, once for each service, so that nothing is looked up by a name. Nothing of
//! single attempts is counted here: they have their rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::event::{Event, EventKind, Listener, Withheld};
use evenkeel_balance::standing::{Reason, Standing};
use evenkeel_balance::time::Instant;

use super::{Distribution, Durations, LATENCY_BOUNDS, MILLI, SECOND};

/// Upper bounds of the buckets for how long backends and services are lost, in nanoseconds; above the last is one more.
const RECOVERY_BOUNDS: [u64; 10] = [
    500 * MILLI,
    SECOND,
    2_500 * MILLI,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    300 * SECOND,
    900 * SECOND,
    3_600 * SECOND,
];

/// Counts what happens to one service, and passes it on.
pub struct Happened {
    next: Arc<dyn Listener>,
    counted: Mutex<Counted>,
}

/// How often what, by word. The words that there usually are stand there from the begin: who watches a number sees it rise only if it was
/// there before.
type Words = BTreeMap<&'static str, u64>;

struct Counted {
    checks: Durations<{ LATENCY_BOUNDS.len() }>,
    opened: Words,
    withheld: Words,
    closed: u64,
    lost: Words,
    /// Members that served and may not be picked since then. Never more than there are members: who leaves is forgotten.
    out: HashMap<BackendId, Instant>,
    recovery: Durations<{ RECOVERY_BOUNDS.len() }>,
    all_down: u64,
    all_recovery: Durations<{ RECOVERY_BOUNDS.len() }>,
    tiers: u64,
}

/// What happened to a service so far.
#[derive(Clone, Debug, Default)]
pub struct Happenings {
    /// How long its checks took.
    pub checks: Distribution,
    /// Breakers that opened, by why.
    pub opened: Vec<(&'static str, u64)>,
    /// Breakers that would have opened and must not, by why not; once per episode.
    pub withheld: Vec<(&'static str, u64)>,
    /// Breakers that closed again.
    pub closed: u64,
    /// Backends that served and were lost, to `down` or `ejected`.
    pub lost: Vec<(&'static str, u64)>,
    /// How long those were lost that serve again.
    pub recovery: Distribution,
    /// Times that no backend, or too few, were healthy.
    pub all_down: u64,
    /// How long that lasted, once it is over.
    pub all_recovery: Distribution,
    /// Times that another tier came to serve.
    pub tiers: u64,
}

impl Happened {
    /// Nothing yet; `next` hears it too.
    #[must_use]
    pub fn before(next: Arc<dyn Listener>) -> Self {
        Self {
            next,
            counted: Mutex::new(Counted::begin()),
        }
    }

    /// So far.
    #[must_use]
    pub fn so_far(&self) -> Happenings {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let words = |words: &Words| words.iter().map(|(word, count)| (*word, *count)).collect();
        let recovery = |one| Durations::together(&RECOVERY_BOUNDS, std::iter::once(one));
        Happenings {
            checks: Durations::together(&LATENCY_BOUNDS, std::iter::once(&counted.checks)),
            opened: words(&counted.opened),
            withheld: words(&counted.withheld),
            closed: counted.closed,
            lost: words(&counted.lost),
            recovery: recovery(&counted.recovery),
            all_down: counted.all_down,
            all_recovery: recovery(&counted.all_recovery),
            tiers: counted.tiers,
        }
    }

    fn count(&self, count: impl FnOnce(&mut Counted)) {
        count(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

const fn word_of(why: Withheld) -> &'static str {
    match why {
        Withheld::Cap => "cap",
        Withheld::MedianFails => "median_fails",
    }
}

impl Counted {
    fn begin() -> Self {
        let opens = [
            Reason::Consecutive,
            Reason::FailureRate,
            Reason::SlowRate,
            Reason::TrialFailed,
        ];
        let never = |word| (word, 0);
        Self {
            checks: Durations::default(),
            opened: opens.map(Reason::word).map(never).into(),
            withheld: [Withheld::Cap, Withheld::MedianFails]
                .map(word_of)
                .map(never)
                .into(),
            closed: 0,
            lost: [Standing::Down, Standing::Ejected]
                .map(Standing::word)
                .map(never)
                .into(),
            out: HashMap::new(),
            recovery: Durations::default(),
            all_down: 0,
            all_recovery: Durations::default(),
            tiers: 0,
        }
    }

    fn stands(&mut self, backend: &BackendId, (from, to): (Standing, Standing), at: Instant) {
        match to {
            Standing::Down | Standing::Ejected if from == Standing::Serving => {
                *self.lost.entry(to.word()).or_default() += 1;
                self.out.entry(backend.clone()).or_insert(at);
            }
            Standing::Serving => {
                if let Some(since) = self.out.remove(backend) {
                    self.recovery.observe(&RECOVERY_BOUNDS, at.since(since));
                }
            }
            // The operator's wish: it did not recover.
            Standing::Disabled | Standing::Draining => {
                self.out.remove(backend);
            }
            _ => {}
        }
    }
}

impl Listener for Happened {
    fn hear(&self, event: &Event) {
        match &event.kind {
            EventKind::Checked { latency, .. } => {
                self.count(|all| all.checks.observe(&LATENCY_BOUNDS, *latency));
            }
            EventKind::StandingChanged {
                backend, from, to, ..
            } => self.count(|all| all.stands(backend, (*from, *to), event.at)),
            EventKind::BackendRemoved { backend, .. } => {
                self.count(|all| {
                    all.out.remove(backend);
                });
            }
            EventKind::BreakerOpened { reason, .. } => {
                self.count(|all| *all.opened.entry(reason.word()).or_default() += 1);
            }
            EventKind::BreakerWithheld { why, .. } => {
                self.count(|all| *all.withheld.entry(word_of(*why)).or_default() += 1);
            }
            EventKind::BreakerClosed { .. } => self.count(|all| all.closed += 1),
            EventKind::AllDown { .. } => self.count(|all| all.all_down += 1),
            EventKind::Recovered { after } => {
                self.count(|all| all.all_recovery.observe(&RECOVERY_BOUNDS, *after));
            }
            EventKind::TierChanged { .. } => self.count(|all| all.tiers += 1),
            _ => {}
        }
        self.next.hear(event);
    }

    fn wants_exchanges(&self) -> bool {
        self.next.wants_exchanges()
    }

    fn tick_wanted(&self) {
        self.next.tick_wanted();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Counts(AtomicU64);

    impl Listener for Counts {
        fn hear(&self, _event: &Event) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn wants_exchanges(&self) -> bool {
            true
        }

        fn tick_wanted(&self) {
            self.0.fetch_add(100, Ordering::Relaxed);
        }
    }

    fn told(seconds: u64, kind: EventKind) -> Event {
        Event {
            service: "api".into(),
            at: Instant::ZERO + Duration::from_secs(seconds),
            kind,
        }
    }

    fn stands(backend: &str, from: Standing, to: Standing) -> EventKind {
        EventKind::StandingChanged {
            backend: backend.into(),
            from,
            to,
            reason: Reason::Consecutive,
        }
    }

    /// Backends' standings, second by second.
    #[test]
    fn a_backend_is_lost_until_it_serves_again() {
        use Standing::{Disabled, Down, Ejected, Probing, Serving, Unproven};
        let check = |story: &[(u64, &str, Standing, Standing)], lost: [u64; 2], seconds: &[u64]| {
            let happened = Happened::before(Arc::new(()));
            for &(at, backend, from, to) in story {
                happened.hear(&told(at, stands(backend, from, to)));
            }
            let so_far = happened.so_far();
            let sum = seconds.iter().copied().map(Duration::from_secs).sum();
            let lost: Vec<_> = ["down", "ejected"].into_iter().zip(lost).collect();
            assert_eq!(so_far.lost, lost, "{story:?}");
            let recovery = so_far.recovery;
            assert_eq!(
                (recovery.count(), recovery.sum),
                (seconds.len() as u64, sum),
                "{story:?}"
            );
        };
        check(
            &[(1, "a", Serving, Down), (4, "a", Down, Serving)],
            [1, 0],
            &[3],
        );
        check(
            &[
                (1, "a", Serving, Ejected),
                (2, "b", Serving, Down),
                (5, "a", Ejected, Probing),
                (6, "a", Probing, Ejected),
                (9, "a", Probing, Serving),
                (10, "b", Down, Serving),
            ],
            [1, 1],
            &[8, 8],
        );
        // Who never served has not come back, nor who was switched off.
        check(
            &[(1, "a", Unproven, Down), (4, "a", Down, Serving)],
            [0, 0],
            &[],
        );
        check(
            &[
                (1, "a", Serving, Down),
                (2, "a", Down, Disabled),
                (9, "a", Disabled, Serving),
            ],
            [1, 0],
            &[],
        );
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let happened = Happened::before(Arc::new(()));
        for at in 0..100_u64 {
            let id = format!("b{at}");
            happened.hear(&told(at, stands(&id, Standing::Serving, Standing::Down)));
            let backend = id.as_str().into();
            let in_flight = 0;
            happened.hear(&told(at, EventKind::BackendRemoved { backend, in_flight }));
        }
        assert!(happened.counted.lock().unwrap().out.is_empty());
        assert_eq!(happened.so_far().lost, [("down", 100), ("ejected", 0)]);
    }

    #[test]
    fn each_event_is_counted_once_and_passed_on() {
        let next = Arc::new(Counts::default());
        let happened = Happened::before(next.clone());
        let backend = || BackendId::from("a");
        let all = [
            EventKind::Checked {
                backend: backend(),
                latency: Duration::from_millis(3),
                fault: None,
                status: None,
                failures: 0,
            },
            EventKind::BreakerOpened {
                backend: backend(),
                reason: Reason::Consecutive,
                failures: 5,
                until: Instant::ZERO,
            },
            EventKind::BreakerOpened {
                backend: backend(),
                reason: Reason::TrialFailed,
                failures: 5,
                until: Instant::ZERO,
            },
            EventKind::BreakerClosed { backend: backend() },
            EventKind::BreakerWithheld {
                backend: backend(),
                why: Withheld::Cap,
            },
            EventKind::BreakerWithheld {
                backend: backend(),
                why: Withheld::MedianFails,
            },
            EventKind::AllDown {
                fail_open: true,
                healthy: 0,
                members: 1,
            },
            EventKind::Recovered {
                after: Duration::from_secs(7),
            },
            EventKind::TierChanged { from: 0, to: 1 },
            EventKind::Drained { backend: backend() },
        ];
        let many = all.len() as u64;
        for kind in all {
            happened.hear(&told(1, kind));
        }
        let so_far = happened.so_far();
        let checks = so_far.checks;
        assert_eq!((checks.count(), checks.sum), (1, Duration::from_millis(3)));
        let opened: Vec<_> = so_far
            .opened
            .iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(opened, [&("consecutive_failures", 1), &("trial_failed", 1)]);
        assert_eq!(so_far.opened.len(), 4);
        assert_eq!(so_far.withheld, [("cap", 1), ("median_fails", 1)]);
        assert_eq!((so_far.closed, so_far.all_down, so_far.tiers), (1, 1, 1));
        assert_eq!(so_far.all_recovery.sum, Duration::from_secs(7));
        assert_eq!(next.0.load(Ordering::Relaxed), many);
        assert!(happened.wants_exchanges());
        happened.tick_wanted();
        assert_eq!(next.0.load(Ordering::Relaxed), many + 100);
    }
}
