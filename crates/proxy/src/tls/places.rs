//! Owns the places among a listener's handshakes under way: one limit for all workers, and who gives his place up when none is left.
//!
//! A client that has said nothing has no place: it waits under the limit of connections, as one of plain HTTP does. Who has said a
//! part of a hello and no more goes first, then who was answered and has been silent since; who hurries is never sent away for
//! somebody new, or at a rush nobody would get through.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_balance::time::Instant;

use crate::connection::Door;
use crate::deadline::Deadline;
use crate::live::DoorState;

/// How long a client that was answered may keep its place while others want it; what a slow one takes on a bad line.
const ANSWERED: Duration = Duration::from_secs(1);

/// Who has a place at one listener of one worker, by number: the lowest came first.
#[derive(Debug, Default)]
pub(crate) struct Places {
    next: Cell<u64>,
    /// Their hello is not whole yet.
    begun: RefCell<BTreeMap<u64, Holder>>,
    /// They are to go on.
    answered: RefCell<BTreeMap<u64, Holder>>,
}

#[derive(Debug)]
struct Holder {
    state: Arc<DoorState>,
    deadline: Deadline,
    since: Instant,
}

impl Holder {
    fn leave(self) {
        self.state.handshakes.left();
    }
}

impl Places {
    /// Ends the handshake that is to go for a new one. False: each of this worker has a right to its place.
    fn make(&self, now: Instant) -> bool {
        let begun = self.begun.borrow_mut().pop_first();
        let gone = begun.or_else(|| {
            let mut answered = self.answered.borrow_mut();
            let (_, oldest) = answered.first_key_value()?;
            let long = now.since(oldest.since) >= ANSWERED;
            if long { answered.pop_first() } else { None }
        });
        let Some((_, gone)) = gone else { return false };
        gone.deadline.end();
        gone.leave();
        true
    }

    fn remove(&self, number: u64) -> Option<Holder> {
        let begun = self.begun.borrow_mut().remove(&number);
        begun.or_else(|| self.answered.borrow_mut().remove(&number))
    }
}

/// A place among the handshakes under way.
pub(super) struct Under<'d> {
    places: &'d Places,
    number: u64,
}

impl<'d> Under<'d> {
    /// A place for who waits by this deadline, while there are `most`; one that another of this worker gives up, if there is none.
    pub(super) fn take(
        door: &'d Door,
        most: usize,
        deadline: &Deadline,
        now: Instant,
    ) -> Option<Self> {
        let (places, state) = (door.places(), door.state());
        let under = |open| (open < most).then_some(open + 1);
        let open = &state.handshakes.open;
        while open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, under)
            .is_err()
        {
            // Those of other workers are not ours to end: the kernel deals a flood to all of them alike.
            if !places.make(now) {
                return None;
            }
        }
        let number = places.next.get();
        places.next.set(number + 1);
        let holder = Holder {
            state: state.clone(),
            deadline: deadline.clone(),
            since: now,
        };
        places.begun.borrow_mut().insert(number, holder);
        Some(Self { places, number })
    }

    /// Its hello was whole.
    pub(super) fn answered(&self) {
        if let Some(holder) = self.places.begun.borrow_mut().remove(&self.number) {
            let mut answered = self.places.answered.borrow_mut();
            answered.insert(self.number, holder);
        }
    }

    /// Whether the place was given to somebody else.
    pub(super) fn is_lost(&self) -> bool {
        let has = |all: &RefCell<BTreeMap<u64, Holder>>| all.borrow().contains_key(&self.number);
        !has(&self.places.begun) && !has(&self.places.answered)
    }
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        if let Some(holder) = self.places.remove(self.number) {
            holder.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::deadline::Deadlines;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// Who of three, of whom some were answered, is gone once a fourth wants a place at this time. None: the fourth is refused.
    #[track_caller]
    fn check(answered: &[usize], when: u64, expect: Option<usize>) {
        let state = Arc::new(DoorState::default());
        let door = Door::new("secure".into(), 0, state.clone());
        let deadlines = Deadlines::default();
        let slots = [(); 4].map(|()| deadlines.slot());
        let take = |slot: usize, when| Under::take(&door, 3, &slots[slot], at(when));
        let all = [0, 1, 2].map(|slot| take(slot, slot as u64 * 100).unwrap());
        for &one in answered {
            all[one].answered();
        }
        let fourth = take(3, when);
        assert_eq!(fourth.is_some(), expect.is_some(), "{answered:?} {when}");
        let cx = &Context::from_waker(Waker::noop());
        for (slot, under) in all.iter().enumerate() {
            let gone = expect == Some(slot);
            assert_eq!(under.is_lost(), gone, "{answered:?} {when}: {slot}");
            assert_eq!(slots[slot].poll_passed(cx).is_ready(), gone);
        }
        assert_eq!(state.handshakes.open(), 3);
        drop((all, fourth));
        assert_eq!(state.handshakes.open(), 0, "each place is given back once");
    }

    #[test]
    fn who_said_least_and_came_first_makes_place() {
        // A hello that is not whole goes at once, before any that was answered.
        check(&[], 300, Some(0));
        check(&[0], 300, Some(1));
        check(&[0, 1], 300, Some(2));
        check(&[0, 1], 5000, Some(2));
        // Who was answered has its time.
        check(&[0, 1, 2], 300, None);
        check(&[0, 1, 2], 999, None);
        check(&[2, 1, 0], 1000, Some(0));
    }

    #[test]
    fn a_limit_that_was_lowered_is_kept() {
        let state = Arc::new(DoorState::default());
        let door = Door::new("secure".into(), 0, state.clone());
        let slot = Deadlines::default().slot();
        let all = [(); 5].map(|()| Under::take(&door, 5, &slot, at(0)).unwrap());
        let one = Under::take(&door, 2, &slot, at(1)).unwrap();
        assert_eq!(state.handshakes.open(), 2);
        let lost = all.iter().map(Under::is_lost).filter(|lost| *lost).count();
        assert_eq!(lost, 4);
        drop((all, one));
        assert_eq!(state.handshakes.open(), 0);
    }
}
