//! Owns what happened in the demo, in words: the core's events, and what its own backends do.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_balance::event::{Event, EventKind, Listener, Withheld};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use evenkeel_control::clock::Clock;
use evenkeel_control::snapshot::reason;

use super::backends::{Mood, SHAKY};

/// The most that is kept; older ones are counted and forgotten.
const KEPT: usize = 100;

/// One of them.
#[derive(Clone)]
pub(crate) struct Happened {
    pub(crate) at: Duration,
    pub(crate) words: String,
}

#[derive(Default)]
struct Log {
    kept: VecDeque<Happened>,
    /// All that there were.
    all: usize,
    /// The one with a schedule was out; and is back.
    went: bool,
    returned: bool,
}

/// All of them.
pub(crate) struct Told {
    clock: Clock,
    start: Instant,
    log: Mutex<Log>,
}

impl Told {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            start: clock.now(),
            log: Mutex::default(),
        }
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.now().since(self.start)
    }

    pub(crate) fn say(&self, words: &str) {
        let at = self.elapsed();
        let mut log = self.log();
        log.all += 1;
        log.kept.push_back(Happened {
            at,
            words: words.into(),
        });
        if log.kept.len() > KEPT {
            log.kept.pop_front();
        }
    }

    /// What was said after the first `seen`, as far as it is kept, and how much there is in all.
    pub(crate) fn after(&self, seen: usize) -> (Vec<Happened>, usize) {
        let log = self.log();
        let new = log.all.saturating_sub(seen).min(log.kept.len());
        let first = log.kept.len() - new;
        (log.kept.iter().skip(first).cloned().collect(), log.all)
    }

    /// Whether the one with a schedule was out and is back.
    pub(crate) fn returned(&self) -> bool {
        self.log().returned
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Follows the one with a schedule. What a busy machine makes of its checks while it is well does not count as out.
    fn follow(&self, from: Standing, to: Standing, mood: Mood) {
        let mut log = self.log();
        log.went |= from == Standing::Serving && mood != Mood::Well;
        log.returned |= log.went && to == Standing::Serving;
    }
}

impl Listener for Told {
    fn hear(&self, event: &Event) {
        if let EventKind::StandingChanged {
            backend, from, to, ..
        } = &event.kind
            && backend.as_str() == SHAKY
        {
            self.follow(*from, *to, Mood::after(self.elapsed()));
        }
        if let Some(words) = words(&event.kind) {
            self.say(&words);
        }
    }
}

/// What people are told of it; none: too much of it happens.
fn words(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::StandingChanged {
            backend,
            from,
            to,
            reason: why,
        } => format!("{backend}: {from} -> {to} ({})", reason(*why)),
        EventKind::BreakerWithheld { backend, why } => {
            let why = match why {
                Withheld::Cap => "as many as may be are out already",
                Withheld::MedianFails => "most backends fail alike",
            };
            format!("{backend}: not ejected, {why}")
        }
        // It has no other least than one.
        EventKind::AllDown { .. } => "no backend is healthy: all are served through".into(),
        EventKind::Recovered { .. } => "a backend is healthy again".into(),
        EventKind::RetryBudgetSpent { refused } => {
            format!("the retry budget is spent: {refused} not tried again")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_balance::standing::Reason;

    use super::*;

    #[test]
    fn back_is_who_was_out() {
        use Standing::{Down, Ejected, Probing, Serving, Unproven};
        let told = Told::new(Clock::start());
        for (from, to, mood, returned) in [
            (Unproven, Serving, Mood::Well, false),
            (Serving, Down, Mood::Well, false),
            (Down, Serving, Mood::Well, false),
            (Serving, Ejected, Mood::Fails, false),
            (Ejected, Probing, Mood::Refuses, false),
            (Probing, Serving, Mood::Well, true),
            (Serving, Down, Mood::Well, true),
        ] {
            told.follow(from, to, mood);
            assert_eq!(told.returned(), returned, "{from} {to} {mood:?}");
        }
    }

    #[test]
    fn standings_are_told_in_the_words_of_the_status() {
        let told = Told::new(Clock::start());
        told.hear(&Event {
            service: Arc::from("demo"),
            at: Instant::ZERO,
            kind: EventKind::StandingChanged {
                backend: "slow".into(),
                from: Standing::Unproven,
                to: Standing::Serving,
                reason: Reason::ChecksPassed,
            },
        });
        let (all, _) = told.after(0);
        assert_eq!(all[0].words, "slow: unproven -> serving (checks_passed)");
    }

    #[test]
    fn old_ones_go() {
        let told = Told::new(Clock::start());
        (0..KEPT + 5).for_each(|at| told.say(&at.to_string()));
        let words = |seen| {
            let (new, all) = told.after(seen);
            assert_eq!(all, KEPT + 5);
            (new.len(), new.first().map(|one| one.words.clone()))
        };
        assert_eq!(words(0), (KEPT, Some("5".into())));
        assert_eq!(words(KEPT + 3), (2, Some((KEPT + 3).to_string())));
        assert_eq!(words(KEPT + 5), (0, None));
    }
}
