//! Owns when waiting ends: one slot per connection, swept ten times a second instead of a timer each.
//!
//! Setting a deadline is a store. The sweep looks at every slot and wakes those that are due; so a deadline is kept up to
//! 100 ms late, never early.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_balance::time::Instant;

use crate::spare::Spare;

/// Times that are kept to the millisecond.
mod alarms;

use alarms::Alarms;

/// How often [`Deadlines::sweep`] is to be called.
pub const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// In so many parts a sweep is made where there is much of something.
pub const SWEEP_PARTS: u32 = 10;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// For so long an idle connection is heard whoever wants its place: where silent clients come by the hundred, one whose request is
/// still on its way would be cut within milliseconds. Longer, and fewer of those who wait get a place in a second: with 64 places, 400
/// silent clients kept the next one waiting for 0.6 s at 100 ms.
const HEARD: Duration = Duration::from_millis(50);

/// The most slots kept for connections to come, at some 100 B each.
const KEPT: usize = 4096;

/// The deadlines of one worker.
#[derive(Debug)]
pub struct Deadlines {
    slots: RefCell<Vec<Weak<Slot>>>,
    /// Of connections that have ended: what was made for each would lie about until the next sweep.
    spare: Rc<Spare<Rc<Slot>>>,
    alarms: Alarms,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            slots: RefCell::default(),
            spare: Rc::new(Spare::new(KEPT)),
            alarms: Alarms::default(),
        }
    }
}

#[derive(Debug)]
struct Slot {
    at: Cell<u64>,
    passed: Cell<bool>,
    /// Nothing is lost when waiting ends now.
    idle: Cell<bool>,
    /// Its owner is to be told that listeners close.
    heeds: Cell<bool>,
    /// Since when it is idle.
    since: Cell<u64>,
    /// The number of the backend that is waited for; 0: none.
    serves: Cell<u64>,
    /// What is under way there is to end, whatever moves.
    cut: Cell<bool>,
    /// Its owner wants to have waited for a while.
    lasts: Cell<Lasts>,
    /// When its owner is to be woken between two sweeps.
    alarm: Cell<u64>,
    /// The time for which it stands in line for that.
    lined_up: Cell<u64>,
    /// Its owner was woken so.
    rang: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Where it goes when its connection has ended.
    spare: Weak<Spare<Rc<Slot>>>,
}

/// Whether somebody waits who wants to know that it takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasts {
    NotAsked,
    Asked,
    /// There was a sweep since.
    Yes,
}

/// One connection's deadline. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Deadline(Rc<Slot>);

impl Deadlines {
    /// A new slot, without a deadline; it ends with its owner.
    #[must_use]
    pub fn slot(&self) -> Deadline {
        if let Some(slot) = self.spare.take() {
            return Deadline(slot);
        }
        let slot = Rc::new(Slot {
            at: Cell::new(NEVER),
            passed: Cell::new(false),
            idle: Cell::new(false),
            heeds: Cell::new(false),
            since: Cell::new(0),
            serves: Cell::new(0),
            cut: Cell::new(false),
            lasts: Cell::new(Lasts::NotAsked),
            alarm: Cell::new(NEVER),
            lined_up: Cell::new(NEVER),
            rang: Cell::new(false),
            waker: RefCell::new(None),
            spare: Rc::downgrade(&self.spare),
        });
        self.slots.borrow_mut().push(Rc::downgrade(&slot));
        Deadline(slot)
    }

    /// Ends the waiting of all who wait for nothing in particular, or are to be told.
    pub(crate) fn end_idle(&self) {
        for slot in self.slots.borrow().iter().filter_map(Weak::upgrade) {
            if slot.idle.get() || slot.heeds.get() {
                slot.passed.set(true);
                slot.wake();
            }
        }
    }

    /// Ends the waiting of who has waited longest for nothing in particular. False: there is nobody who has for [`HEARD`]. Cost: one
    /// look per connection.
    pub(crate) fn end_oldest_idle(&self, now: Instant) -> bool {
        let slots = self.slots.borrow();
        let oldest = slots
            .iter()
            .filter_map(Weak::upgrade)
            // Those that are ending already make place by themselves.
            .filter(|slot| slot.idle.get() && !slot.passed.get())
            .filter(|slot| Instant::from_nanos(slot.since.get()) + HEARD <= now)
            .min_by_key(|slot| slot.since.get());
        let Some(slot) = oldest else { return false };
        slot.end();
        true
    }

    /// Ends the waiting of all who wait for a backend of these numbers. Cost: one look per connection.
    pub(crate) fn cut(&self, numbers: &HashSet<u64>) {
        for slot in self.slots.borrow().iter().filter_map(Weak::upgrade) {
            if numbers.contains(&slot.serves.get()) {
                slot.cut();
            }
        }
    }

    /// Ends the waiting of all who wait for a backend, and wakes everybody else to look whether they wait in vain. Cost: one look per
    /// connection.
    pub(crate) fn cut_all(&self) {
        for slot in self.slots.borrow().iter().filter_map(Weak::upgrade) {
            match slot.serves.get() {
                0 => slot.wake(),
                _ => slot.cut(),
            }
        }
    }

    /// Wakes whose deadline has passed, and forgets slots without an owner. Cost: one look per connection.
    pub fn sweep(&self, now: Instant) {
        let mut due = Vec::new();
        self.slots.borrow_mut().retain(|slot| {
            let Some(slot) = slot.upgrade() else {
                return false;
            };
            if slot.at.get() <= now.as_nanos() && !slot.passed.replace(true) {
                due.extend(slot.waker.borrow_mut().take());
            }
            if slot.lasts.get() == Lasts::Asked {
                slot.lasts.set(Lasts::Yes);
                due.extend(slot.waker.borrow_mut().take());
            }
            true
        });
        self.spare.sweep();
        for waker in due {
            waker.wake();
        }
    }
}

impl Slot {
    /// Its owner waits no longer.
    fn end(&self) {
        self.at.set(0);
        self.passed.set(true);
        self.wake();
    }

    /// What is under way at its backend ends.
    fn cut(&self) {
        if !self.cut.replace(true) {
            self.passed.set(true);
            self.wake();
        }
    }

    /// Wakes this task from here on.
    #[inline]
    fn wakes(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Drop for Deadline {
    /// The last owner leaves it to the next connection, as new.
    fn drop(&mut self) {
        if Rc::strong_count(&self.0) == 1
            && let Some(spare) = self.0.spare.upgrade()
        {
            self.clear();
            self.0.lasts.set(Lasts::NotAsked);
            self.no_alarm();
            self.0.waker.take();
            spare.give(self.0.clone());
        }
    }
}

impl Deadline {
    /// Ends waiting now, as if its time had come.
    pub(crate) fn end(&self) {
        self.0.end();
    }

    /// From here on, waiting ends at `at`.
    #[inline]
    pub fn set(&self, at: Instant) {
        self.0.at.set(at.as_nanos());
        self.0.passed.set(self.0.cut.get());
        self.0.idle.set(false);
        self.0.heeds.set(false);
    }

    /// From here on, a backend of this number is waited for; 0: none. Whoever is cut is told so by each wait until then.
    #[inline]
    pub(crate) fn serves(&self, number: u64) {
        self.0.serves.set(number);
        self.0.cut.set(false);
    }

    /// Whether waiting ended because what is under way at its backend is to end. What is waited for from here on is not that.
    pub(crate) fn take_cut(&self) -> bool {
        let cut = self.0.cut.get();
        self.serves(0);
        cut
    }

    /// Whether it has: to be asked by who goes on with another backend.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.cut.get()
    }

    /// From `now` on, waiting ends after `within`, or at any time before, and nothing is lost.
    #[inline]
    pub fn set_idle(&self, now: Instant, within: Duration) {
        self.serves(0);
        self.set(now + within);
        self.0.since.set(now.as_nanos());
        self.0.idle.set(true);
    }

    /// From here on, waiting ends at `at`, or to say that listeners close.
    pub(crate) fn set_heedful(&self, at: Instant) {
        self.set(at);
        self.0.heeds.set(true);
    }

    /// From here on, waiting ends at `at`, or when it was to end if that is sooner; who was to be told before is told again.
    pub(crate) fn bring_forward(&self, at: Instant) {
        self.0.at.set(self.0.at.get().min(at.as_nanos()));
        self.0.passed.set(self.0.cut.get());
    }

    /// From here on, waiting has no end, and no backend is waited for.
    #[inline]
    pub fn clear(&self) {
        self.serves(0);
        self.0.at.set(NEVER);
        self.0.passed.set(false);
        self.0.idle.set(false);
        self.0.heeds.set(false);
    }

    /// Whether its own time has come.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.0.at.get() <= now.as_nanos()
    }

    /// Goes on waiting for the same time.
    pub(crate) fn resume(&self) {
        self.0.passed.set(false);
    }

    /// Whether there was a sweep since this was first asked. The next one wakes who asks, whatever its deadline.
    pub(crate) fn poll_lasts(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.lasts.get() == Lasts::Yes {
            return Poll::Ready(());
        }
        self.0.lasts.set(Lasts::Asked);
        self.0.wakes(cx);
        Poll::Pending
    }

    /// Ready once the deadline has passed and the sweep has seen it.
    #[inline]
    pub fn poll_passed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.passed.get() {
            return Poll::Ready(());
        }
        self.0.wakes(cx);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_with_the_sweep_and_not_before() {
        let deadlines = Deadlines::default();
        let deadline = deadlines.slot();
        let cx = Context::from_waker(Waker::noop());
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        deadlines.sweep(at(1000));
        assert!(deadline.poll_passed(&cx).is_pending(), "none was set");
        deadline.set(at(1010));
        deadlines.sweep(at(1009));
        assert!(deadline.poll_passed(&cx).is_pending());
        deadlines.sweep(at(1010));
        assert!(deadline.poll_passed(&cx).is_ready());
        deadline.set(at(1020));
        assert!(deadline.poll_passed(&cx).is_pending(), "a new one");
        deadline.clear();
        deadlines.sweep(at(2000));
        assert!(deadline.poll_passed(&cx).is_pending());
        drop(deadline.clone());
        deadlines.sweep(at(2001));
        // The next connection has it, as new.
        deadline.serves(7);
        deadline.set_idle(at(2002), Duration::ZERO);
        assert!(deadline.poll_lasts(&cx).is_pending());
        deadlines.cut(&HashSet::from([7]));
        drop(deadline);
        let next = deadlines.slot();
        deadlines.sweep(at(2003));
        deadlines.end_idle();
        assert_eq!(deadlines.slots.borrow().len(), 1);
        assert!(next.poll_passed(&cx).is_pending() && !next.take_cut());
        assert!(next.poll_lasts(&cx).is_pending());
        drop(next);
        let many: Vec<_> = (0..1000).map(|_| deadlines.slot()).collect();
        drop(many);
        (0..100).for_each(|_| deadlines.sweep(at(2004)));
        assert!(deadlines.slots.borrow().len() < 100, "nobody needs them");
    }

    #[test]
    fn who_asks_whether_it_takes_a_while_is_told_by_the_next_sweep() {
        let deadlines = Deadlines::default();
        let cx = Context::from_waker(Waker::noop());
        let now = Instant::from_nanos(1);
        let deadline = deadlines.slot();
        deadlines.sweep(now);
        assert!(deadline.poll_lasts(&cx).is_pending(), "a sweep before");
        assert!(deadline.poll_lasts(&cx).is_pending());
        deadlines.sweep(now);
        assert!(deadline.poll_lasts(&cx).is_ready());
        assert!(deadline.poll_passed(&cx).is_pending(), "it has not passed");
    }

    #[test]
    fn who_waits_for_a_backend_that_is_cut_is_told_until_it_waits_for_another() {
        let deadlines = Deadlines::default();
        let cx = Context::from_waker(Waker::noop());
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let [one, two] = [7, 8].map(|number| {
            let slot = deadlines.slot();
            slot.serves(number);
            slot.set(at(100));
            slot
        });
        deadlines.cut(&HashSet::from([7, 9]));
        assert!(one.poll_passed(&cx).is_ready() && two.poll_passed(&cx).is_pending());
        // What moves meanwhile gives no time.
        one.set(at(200));
        assert!(one.poll_passed(&cx).is_ready());
        assert!(one.take_cut() && !two.take_cut());
        one.set(at(200));
        assert!(one.poll_passed(&cx).is_pending());
        one.serves(7);
        one.set_idle(at(1), Duration::from_secs(9));
        deadlines.cut(&HashSet::from([7]));
        assert!(one.poll_passed(&cx).is_pending(), "it waits for no backend");
    }

    #[test]
    fn who_has_been_idle_longest_makes_place_first() {
        let deadlines = Deadlines::default();
        let cx = Context::from_waker(Waker::noop());
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        assert!(!deadlines.end_oldest_idle(at(9)), "there is nobody");
        let [busy, young, old] = [(); 3].map(|()| deadlines.slot());
        busy.set(at(1));
        // The youngest's time is over first: a client that has just come is to be heard before one that rests.
        old.set_idle(at(2), Duration::from_secs(60));
        young.set_idle(at(3), Duration::from_secs(1));
        let passed = || [&busy, &young, &old].map(|slot| slot.poll_passed(&cx).is_ready());
        let soon = at(2) + Duration::from_millis(49);
        assert!(
            !deadlines.end_oldest_idle(soon),
            "its request is on its way"
        );
        assert!(deadlines.end_oldest_idle(at(3)));
        assert_eq!(passed(), [false, false, true]);
        assert!(old.is_due(at(3)), "it ends, and does not go on waiting");
        assert!(!deadlines.end_oldest_idle(at(3)), "it has just come");
        assert!(deadlines.end_oldest_idle(at(4)));
        assert_eq!(passed(), [false, true, true]);
        assert!(!deadlines.end_oldest_idle(at(9)), "nobody else is idle");
    }
}
