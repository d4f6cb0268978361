//! Owns when it is published what a check found in a large service, where each table costs a look at all members.
//!
//! | a check finds that | published |
//! |---|---|
//! | one is lost that may be had now, or one is well where nobody was | by a tick that is asked for, unless a table was made just now |
//! | anybody else stands otherwise | by the tick that comes anyway |
//!
//! The first checks of 10,000 members prove twenty in each 5 ms. Whoever may be had a little later costs no client anything; who is lost
//! and picked all the same costs each a retry. What traffic finds itself is `tick`'s, and waits for nothing.

use std::time::Duration;

use super::{Entry, Ledger};
use crate::eligibility::{Admission, Rung};
use crate::time::Instant;

/// Up to so many members, a check that changes a standing is published at once.
const AT_ONCE: usize = 256;

/// So far apart are tables that checks ask for, for each member beyond the first ones. With its tick, one takes some 0.7 us a member, and
/// so a seventh of the writer's time while many fail one after another. The ticks that come anyway bound it, to 100 ms.
const SPACING: Duration = Duration::from_micros(5);

/// Of so many, tables are as far apart as ticks that are asked for, by themselves: owners come to no two within 5 ms.
const FIRST: u32 = 1_000;

/// What the next table waits for.
pub(super) struct Due {
    /// A client may be worse off until it is made.
    presses: bool,
    /// When the one before it was.
    made: Instant,
}

impl Due {
    pub(super) const fn made(now: Instant) -> Self {
        Self {
            presses: false,
            made: now,
        }
    }
}

impl Ledger {
    pub(crate) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Whether what checks changed is published without waiting for a tick.
    pub(crate) fn is_small(&self) -> bool {
        self.members() <= AT_ONCE
    }

    /// Whether the next table is worth a tick before its time.
    pub(crate) fn presses(&self, now: Instant) -> bool {
        let members = u32::try_from(self.members()).unwrap_or(u32::MAX);
        let spacing = SPACING * members.saturating_sub(FIRST);
        self.dirty && self.due.presses && now.since(self.due.made) >= spacing
    }

    /// To be asked before a member's standing gets worse: whether anybody may be sent there now, if only for a trial or because it was kept.
    pub(super) fn may_be_had(&self, entry: &Entry) -> bool {
        !matches!(self.admitted(entry), Admission::Barred(_)) || self.is_kept(entry)
    }

    pub(super) fn press(&mut self) {
        self.due.presses = true;
    }

    /// The service stands otherwise now: where nobody was well, somebody is waited for.
    pub(super) fn press_where_recovered(&mut self, from: Rung, to: Rung) {
        if from >= Rung::FailOpen && to < Rung::FailOpen {
            self.press();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::Arc as StdArc;

    use super::*;
    use crate::backend::{BackendId, BackendSpec};
    use crate::event::{Event, Listener};
    use crate::health::{CheckFault, CheckReport, CheckResult};
    use crate::service::{Service, TICK};
    use crate::settings::{ActiveSettings, ServiceSettings};
    use crate::sync::Mutex;

    const PASSED: CheckResult = CheckResult::Passed;
    const REFUSED: CheckResult = CheckResult::Failed(CheckFault::Refused);

    /// Owners of services come to a tick that is asked for so much later at most.
    const PROMPTLY: Duration = Duration::from_millis(5);

    #[derive(Default)]
    struct Wish(Mutex<bool>);

    impl Listener for Wish {
        fn hear(&self, _event: &Event) {}

        fn tick_wanted(&self) {
            *self.0.lock().expect("nobody panics") = true;
        }
    }

    /// A service whose checks end one after another, a quarter of a millisecond apart, with the ticks that its owner makes.
    struct Wave {
        service: Service,
        wish: StdArc<Wish>,
        members: Vec<BackendId>,
        now: Instant,
        regular: Instant,
        prompt: Option<Instant>,
    }

    impl Wave {
        fn of(members: usize) -> Self {
            let members: Vec<BackendId> = (0..members).map(|at| format!("b-{at}").into()).collect();
            let specs = members.iter().cloned().map(BackendSpec::new).collect();
            let settings = ServiceSettings::default()
                .health(ActiveSettings::default().rise(1).fall(1))
                .slow_start(Duration::ZERO);
            let (wish, now) = (StdArc::new(Wish::default()), Instant::ZERO);
            let service = Service::new("s", settings, specs, wish.clone(), now);
            Self {
                service: service.expect("no two have a name"),
                wish,
                members,
                now,
                regular: now + TICK,
                prompt: None,
            }
        }

        fn pass(&mut self, time: Duration) {
            self.now = self.now + time;
            if std::mem::take(&mut *self.wish.0.lock().expect("nobody panics")) {
                self.prompt = self.prompt.or(Some(self.now + PROMPTLY));
            }
            if self.regular <= self.now {
                self.regular = self.now + TICK;
                self.service.tick(self.now);
            } else if self.prompt.is_some_and(|at| at <= self.now) {
                self.prompt = None;
                self.service.tick(self.now);
            }
        }

        fn check(&mut self, at: usize, result: CheckResult) {
            let report = CheckReport::new(result, self.now);
            let taken = self.service.check(&self.members[at], report, self.now);
            taken.expect("it is a member");
            self.pass(Duration::from_micros(250));
        }

        /// Checks all of them; says how many tables that made.
        fn sweep(&mut self, result: CheckResult) -> u64 {
            let before = self.tables();
            (0..self.members.len()).for_each(|at| self.check(at, result));
            self.pass(TICK);
            self.tables() - before
        }

        fn tables(&self) -> u64 {
            self.service.shared.table.version()
        }

        fn lanes(&self) -> usize {
            self.service.shared.table.read(|table| table.lanes.len())
        }

        /// How long a pick may still be sent to somebody who is lost now.
        fn leaves(&mut self, at: usize) -> Duration {
            let (began, lanes) = (self.now, self.lanes());
            self.check(at, REFUSED);
            while self.lanes() == lanes {
                self.pass(Duration::from_micros(250));
            }
            self.now.since(began)
        }
    }

    #[test]
    fn many_that_are_proven_one_after_another_cost_a_table_for_each_tick() {
        let mut wave = Wave::of(4_000);
        // A second of them.
        assert_eq!(wave.sweep(PASSED), 10);
        assert_eq!(wave.lanes(), 4_000);
        // Who was well already is no news.
        assert_eq!(wave.sweep(PASSED), 0);
    }

    #[test]
    fn many_that_are_lost_one_after_another_cost_what_is_bounded() {
        let mut wave = Wave::of(4_000);
        wave.sweep(PASSED);
        // 15 ms apart, and 5 until the tick comes; there would be 190 otherwise.
        let tables = wave.sweep(REFUSED);
        assert!((40..=60).contains(&tables), "{tables}");
    }

    #[test]
    fn who_is_lost_is_left_at_once() {
        let soon = PROMPTLY + Duration::from_millis(1);
        // Another one just behind it, too, where a table is cheap; where it is not, in time.
        for (members, next) in [(300, soon), (1_000, soon), (4_000, TICK)] {
            let mut wave = Wave::of(members);
            wave.sweep(PASSED);
            wave.pass(TICK);
            let (first, second) = (wave.leaves(7), wave.leaves(8));
            assert!(
                first <= soon && second <= next,
                "{first:?}, {second:?} of {members}"
            );
        }
    }

    #[test]
    fn few_are_told_with_the_check() {
        let mut wave = Wave::of(AT_ONCE);
        assert_eq!(wave.sweep(PASSED), AT_ONCE as u64);
        assert_eq!(wave.sweep(REFUSED), AT_ONCE as u64);
    }

    #[test]
    fn the_first_who_is_well_again_is_had_at_once() {
        let mut wave = Wave::of(300);
        wave.sweep(PASSED);
        wave.sweep(REFUSED);
        wave.pass(TICK);
        let tables = wave.tables();
        wave.check(7, PASSED);
        (0..20).for_each(|_| wave.pass(Duration::from_micros(250)));
        assert_eq!(wave.tables() - tables, 1);
        // The second one is no hurry.
        wave.check(8, PASSED);
        (0..20).for_each(|_| wave.pass(Duration::from_micros(250)));
        assert_eq!(wave.tables() - tables, 1);
        wave.pass(TICK);
        assert_eq!(wave.tables() - tables, 2);
    }
}
