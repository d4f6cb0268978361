//! Owns who is checked next: pure, a function of what was seen and of the time that it is told.
//!
//! A backend's first check is due when it is first seen, its second within one interval (by chance, so that checks
//! spread), every further one an interval after the last was due: a grid that slow checks do not move. A grid point that
//! passes while a check runs is passed over. Where standing lengthens the interval, checks spread anew.
//! Never runs anything; `runner` does.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::hashing;
use evenkeel_balance::time::Instant;

use crate::sweep::settings::CheckerSettings;

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) service: Arc<str>,
    pub(crate) backend: BackendId,
}

/// How often a backend wants to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Calm,
    Unsure,
    Down,
}

/// One backend, as a look at its service shows it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) key: Key,
    pub(crate) address: Arc<str>,
    pub(crate) need: Need,
    /// No check has ever reached it.
    pub(crate) fresh: bool,
}

/// A check to make now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) key: Key,
    pub(crate) address: Arc<str>,
    /// Tells a backend from one of the same identity that came later.
    pub(crate) serial: u64,
    /// Who asked for it by hand.
    pub(crate) requests: Vec<u64>,
}

#[derive(Debug)]
struct Slot {
    serial: u64,
    address: Arc<str>,
    need: Need,
    /// The next grid point.
    due: Instant,
    /// When its last regular check began.
    begun: Option<Instant>,
    /// A check of it has reached the service.
    reached: bool,
    requests: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Intervals {
    calm: Duration,
    unsure: Duration,
    down: Duration,
}

impl Intervals {
    fn of(self, need: Need) -> Duration {
        match need {
            Need::Calm => self.calm,
            Need::Unsure => self.unsure,
            Need::Down => self.down,
        }
    }
}

/// Who is checked next.
#[derive(Debug)]
pub(crate) struct Schedule {
    intervals: Intervals,
    seed: u64,
    serials: u64,
    /// By what one check costs: comparing texts along a tree was dearer than all else that is decided of it.
    slots: HashMap<Key, Slot>,
    /// Slots that wait for their grid point.
    queue: BTreeSet<(Instant, Key)>,
    /// Slots that are wanted by hand, first come first served.
    wanted: VecDeque<Key>,
    /// Also of backends that left meanwhile: one that returns waits for the check of its former self.
    running: BTreeSet<Key>,
}

impl Schedule {
    pub(crate) fn new(settings: &CheckerSettings) -> Self {
        Self {
            intervals: Intervals {
                calm: settings.interval,
                unsure: settings.interval_unsure.unwrap_or(settings.interval),
                down: settings.interval_down.unwrap_or(settings.interval),
            },
            seed: settings.seed,
            serials: 0,
            slots: HashMap::new(),
            queue: BTreeSet::new(),
            wanted: VecDeque::new(),
            running: BTreeSet::new(),
        }
    }

    /// Whether the standing of a backend moves its checks.
    pub(crate) fn follows_standing(&self) -> bool {
        let Intervals { calm, unsure, down } = self.intervals;
        calm != unsure || calm != down
    }

    pub(crate) fn members(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Takes in all backends that there are. The requests by hand of those that are gone.
    pub(crate) fn see(&mut self, all: Vec<Seen>, now: Instant) -> Vec<u64> {
        let mut left = std::mem::take(&mut self.slots);
        for seen in all {
            let slot = match left.remove(&seen.key) {
                Some(slot) => self.seen_again(slot, &seen, now),
                None => self.joined(&seen, now),
            };
            self.slots.insert(seen.key, slot);
        }
        let mut orphans = Vec::new();
        for (key, slot) in left {
            self.queue.remove(&(slot.due, key));
            orphans.extend(slot.requests);
        }
        // In the order of asking, not of a table.
        orphans.sort_unstable();
        orphans
    }

    /// Takes in what has changed of these, of those that there are.
    pub(crate) fn see_again(&mut self, some: Vec<Seen>, now: Instant) {
        for seen in some {
            if let Some(slot) = self.slots.remove(&seen.key) {
                let slot = self.seen_again(slot, &seen, now);
                self.slots.insert(seen.key, slot);
            }
        }
    }

    fn joined(&mut self, seen: &Seen, now: Instant) -> Slot {
        if !self.running.contains(&seen.key) {
            self.queue.insert((now, seen.key.clone()));
        }
        self.serials += 1;
        Slot {
            serial: self.serials,
            address: seen.address.clone(),
            need: seen.need,
            due: now,
            begun: None,
            reached: false,
            requests: Vec::new(),
        }
    }

    fn seen_again(&mut self, mut slot: Slot, seen: &Seen, now: Instant) -> Slot {
        slot.address = seen.address.clone();
        let mut due = slot.due;
        let interval = self.intervals.of(seen.need);
        if seen.fresh && slot.reached {
            // It left and returned between two looks: another backend of the same identity.
            self.serials += 1;
            (slot.serial, slot.reached) = (self.serials, false);
            (slot.begun, due) = (None, now);
        } else if interval != self.intervals.of(slot.need)
            && let Some(begun) = slot.begun
        {
            // To a longer interval by its share, so that backends which change together do not stay together.
            let longer = interval > self.intervals.of(slot.need);
            let share = match longer {
                true => share(self.seed, &seen.key),
                false => 1.0,
            };
            due = begun + interval.mul_f64(share);
        }
        slot.need = seen.need;
        if due != slot.due {
            if self.queue.remove(&(slot.due, seen.key.clone())) {
                self.queue.insert((due, seen.key.clone()));
            }
            slot.due = due;
        }
        slot
    }

    /// Wants one backend checked by hand. False when there is no such backend.
    pub(crate) fn want(&mut self, key: &Key, request: u64) -> bool {
        let Some(slot) = self.slots.get_mut(key) else {
            return false;
        };
        if slot.requests.is_empty() && !self.running.contains(key) {
            self.wanted.push_back(key.clone());
        }
        slot.requests.push(request);
        true
    }

    /// The backends of this service, or of all.
    pub(crate) fn keys(&self, service: Option<&str>) -> Vec<Key> {
        let of = |key: &&Key| service.is_none_or(|service| *key.service == *service);
        let mut keys: Vec<Key> = self.slots.keys().filter(of).cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// When [`begin`](Self::begin) has something next; none while nobody waits.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        if self.wanted.is_empty() {
            self.queue.first().map(|(due, _)| *due)
        } else {
            Some(now)
        }
    }

    /// The next check to make, those by hand first. It runs until [`end`](Self::end).
    pub(crate) fn begin(&mut self, now: Instant) -> Option<Begun> {
        let key = self.first(now)?;
        let slot = self.slots.get_mut(&key)?;
        self.queue.remove(&(slot.due, key.clone()));
        if slot.due <= now {
            let interval = self.intervals.of(slot.need);
            if slot.begun.is_some() {
                slot.due = after(slot.due, interval, now);
            } else {
                slot.due = now + interval.mul_f64(share(self.seed, &key));
            }
            slot.begun = Some(now);
        }
        let begun = Begun {
            key: key.clone(),
            address: slot.address.clone(),
            serial: slot.serial,
            requests: std::mem::take(&mut slot.requests),
        };
        self.running.insert(key);
        Some(begun)
    }

    fn first(&mut self, now: Instant) -> Option<Key> {
        while let Some(key) = self.wanted.pop_front() {
            // It may have left, or begun at its grid point meanwhile.
            let waits = |slot: &Slot| !slot.requests.is_empty();
            if self.slots.get(&key).is_some_and(waits) && !self.running.contains(&key) {
                return Some(key);
            }
        }
        let (due, key) = self.queue.first()?;
        (*due <= now).then(|| key.clone())
    }

    /// Whether the backend that this check began with is still there.
    pub(crate) fn stands(&self, begun: &Begun) -> bool {
        let slot = self.slots.get(&begun.key);
        slot.is_some_and(|slot| slot.serial == begun.serial)
    }

    /// The check of this backend has ended; `reached` says whether its service took it.
    pub(crate) fn end(&mut self, key: &Key, reached: bool, now: Instant) {
        self.running.remove(key);
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.reached |= reached;
        if slot.begun.is_some() && slot.due < now {
            let need = slot.need;
            slot.due = after(slot.due, self.intervals.of(need), now);
        }
        self.queue.insert((slot.due, key.clone()));
        if !slot.requests.is_empty() {
            self.wanted.push_back(key.clone());
        }
    }
}

/// Which share of an interval this backend waits where checks spread: more than none, at most all.
fn share(seed: u64, key: &Key) -> f64 {
    let texts = [
        key.service.as_bytes(),
        &[0],
        key.backend.as_str().as_bytes(),
    ];
    let place = hashing::mix(seed, hashing::key(&texts.concat()));
    1.0 - fastrand::Rng::with_seed(place).f64()
}

/// The first point after `now` of the grid through `from`.
fn after(from: Instant, interval: Duration, now: Instant) -> Instant {
    let passed = now.since(from).as_nanos();
    let every = interval.as_nanos().max(1);
    let steps = u64::try_from(passed / every + 1).unwrap_or(u64::MAX);
    let every = u64::try_from(every).unwrap_or(u64::MAX);
    from + Duration::from_nanos(every.saturating_mul(steps))
}

#[cfg(test)]
mod tests;
