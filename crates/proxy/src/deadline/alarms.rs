//! Owns times that are kept to the millisecond, for the few who need one: in which order they come, and who is woken.
//!
//! Most who ask to be woken have what they wait for long before. So a slot stands in line once: who asks for a later time than it
//! stands for changes a word, and is lined up anew when its place has come. Whoever owns the worker sleeps until the first time
//! ([`Worker::keep_ringing`](crate::worker::Worker::keep_ringing)).

use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use evenkeel_balance::time::Instant;

use super::{Deadline, Deadlines, NEVER, Slot};

/// So many places are looked through for those that nobody needs any more when there are twice as many as were needed the last time.
const FEW: usize = 1024;

/// The line. Holds at most two places for each slot, and [`FEW`].
#[derive(Debug, Default)]
pub(super) struct Alarms {
    line: RefCell<BinaryHeap<Reverse<Place>>>,
    /// So many places are worth a look.
    looked_at: Cell<usize>,
    /// Who sleeps until the first of them.
    ringer: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct Place {
    at: u64,
    slot: Weak<Slot>,
}

impl Place {
    /// Its slot, if it still stands for that.
    fn slot(&self) -> Option<Rc<Slot>> {
        let slot = self.slot.upgrade()?;
        (slot.lined_up.get() == self.at).then_some(slot)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl Alarms {
    fn first(&self) -> Option<u64> {
        self.line.borrow().peek().map(|Reverse(place)| place.at)
    }

    fn line_up(&self, slot: &Rc<Slot>, at: u64) {
        slot.lined_up.set(at);
        let first = self.first();
        let mut line = self.line.borrow_mut();
        if line.len() >= self.looked_at.get().max(FEW) {
            line.retain(|Reverse(place)| place.slot().is_some());
            self.looked_at.set(2 * line.len());
        }
        let slot = Rc::downgrade(slot);
        line.push(Reverse(Place { at, slot }));
        if first.is_none_or(|first| at < first)
            && let Some(ringer) = self.ringer.take()
        {
            ringer.wake();
        }
    }

    /// The first place whose time has come.
    fn due(&self, now: u64) -> Option<Place> {
        let mut line = self.line.borrow_mut();
        line.peek().filter(|Reverse(place)| place.at <= now)?;
        line.pop().map(|Reverse(place)| place)
    }
}

impl Deadlines {
    /// Wakes whose alarm has come. Cost: those, and who was lined up for an earlier time than it wants by now.
    pub(crate) fn ring(&self, now: Instant) {
        let now = now.as_nanos();
        while let Some(place) = self.alarms.due(now) {
            let Some(slot) = place.slot() else {
                continue;
            };
            slot.lined_up.set(NEVER);
            match slot.alarm.get() {
                NEVER => {}
                at if at > now => self.alarms.line_up(&slot, at),
                // Nobody looks at the time of an alarm that stands in no line.
                _ => {
                    slot.rang.set(true);
                    slot.wake();
                }
            }
        }
    }

    /// Ready with the time of the first alarm, once there is one that is not this.
    pub(crate) fn poll_alarm(&self, cx: &Context<'_>, but: Option<Instant>) -> Poll<Instant> {
        let first = self.alarms.first().map(Instant::from_nanos);
        match first.filter(|_| first != but) {
            Some(first) => Poll::Ready(first),
            None => {
                *self.alarms.ringer.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Deadline {
    /// From here on, waiting is interrupted at `at`, once; it [has rung](Self::rang) then.
    pub(crate) fn alarm(&self, of: &Deadlines, at: Instant) {
        let (slot, at) = (&self.0, at.as_nanos());
        slot.alarm.set(at);
        slot.rang.set(false);
        if at < slot.lined_up.get() {
            of.alarms.line_up(slot, at);
        }
    }

    /// From here on, nothing is interrupted.
    pub(crate) fn no_alarm(&self) {
        self.0.alarm.set(NEVER);
        self.0.rang.set(false);
    }

    pub(crate) fn rang(&self) -> bool {
        self.0.rang.get()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn first(deadlines: &Deadlines) -> Option<Instant> {
        let cx = Context::from_waker(Waker::noop());
        match deadlines.poll_alarm(&cx, None) {
            Poll::Ready(first) => Some(first),
            Poll::Pending => None,
        }
    }

    #[test]
    fn an_alarm_rings_once_and_at_its_time() {
        let deadlines = Deadlines::default();
        let deadline = deadlines.slot();
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(first(&deadlines), None);
        deadline.set(ms(900));
        deadline.alarm(&deadlines, ms(20));
        assert_eq!(first(&deadlines), Some(ms(20)));
        deadlines.ring(ms(19));
        assert!(!deadline.rang());
        deadlines.ring(ms(20));
        assert!(deadline.rang());
        assert!(deadline.poll_passed(&cx).is_pending(), "it is no deadline");
        assert_eq!(first(&deadlines), None);
        deadline.alarm(&deadlines, ms(30));
        assert!(!deadline.rang(), "a new one");
        deadline.no_alarm();
        deadlines.ring(ms(30));
        assert!(!deadline.rang());
    }

    /// A connection that asks again and again is lined up once, and is woken at the time that it asked for last.
    #[test]
    fn who_asks_again_keeps_its_place() {
        let deadlines = Deadlines::default();
        let deadline = deadlines.slot();
        for at in 20..1000 {
            deadline.alarm(&deadlines, ms(at));
        }
        assert_eq!(deadlines.alarms.line.borrow().len(), 1);
        deadlines.ring(ms(20));
        assert!(!deadline.rang());
        assert_eq!(first(&deadlines), Some(ms(999)));
        deadline.alarm(&deadlines, ms(50));
        assert_eq!(
            first(&deadlines),
            Some(ms(50)),
            "an earlier one has its own"
        );
        deadlines.ring(ms(50));
        assert!(deadline.rang());
        deadline.alarm(&deadlines, ms(2000));
        deadlines.ring(ms(1999));
        assert!(!deadline.rang(), "the place of before is nobody's");
        deadlines.ring(ms(2000));
        assert!(deadline.rang());
    }

    #[test]
    fn places_that_nobody_needs_do_not_pile_up() {
        let deadlines = Deadlines::default();
        let deadline = deadlines.slot();
        for at in 0..100_000 {
            deadline.alarm(&deadlines, ms(1_000_000 + at));
            deadline.alarm(&deadlines, ms(at));
            deadlines.ring(ms(at));
        }
        let kept = deadlines.alarms.line.borrow().len();
        assert!(kept <= 2 * FEW, "{kept} places for one slot");
        let many: Vec<_> = (0..5000).map(|_| deadlines.slot()).collect();
        for deadline in &many {
            deadline.alarm(&deadlines, ms(2_000_000));
        }
        assert!(deadlines.alarms.line.borrow().len() >= 5000);
        deadlines.ring(ms(2_000_000));
        assert!(many.iter().all(Deadline::rang));
    }

    #[test]
    fn the_next_connection_has_no_alarm_of_the_one_before() {
        let deadlines = Deadlines::default();
        let deadline = deadlines.slot();
        deadline.alarm(&deadlines, ms(10));
        drop(deadline);
        let next = deadlines.slot();
        assert!(next.0.lined_up.get() == ms(10).as_nanos(), "the same slot");
        deadlines.ring(ms(10));
        assert!(!next.rang());
    }

    #[test]
    fn who_sleeps_until_the_first_is_told_of_a_sooner_one() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};
        #[derive(Default)]
        struct Woken(AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let told = || woken.0.swap(false, Ordering::Relaxed);
        let deadlines = Deadlines::default();
        let [one, two, three] = [(); 3].map(|()| deadlines.slot());
        assert!(deadlines.poll_alarm(&cx, None).is_pending());
        one.alarm(&deadlines, ms(50));
        assert!(told());
        assert!(deadlines.poll_alarm(&cx, Some(ms(50))).is_pending());
        two.alarm(&deadlines, ms(50) + Duration::from_millis(1));
        assert!(!told(), "later");
        three.alarm(&deadlines, ms(40));
        assert!(told());
        assert_eq!(deadlines.poll_alarm(&cx, Some(ms(50))), Poll::Ready(ms(40)));
    }
}
