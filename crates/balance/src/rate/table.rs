//! Owns buckets by key: as many as were asked for, and how one key takes the place of another.
//!
//! A key has its place in one set of seven. Who is known there is found and brought up to date without a lock; who is new takes the
//! lock of the set and the place of whoever has least to lose: nobody, or one whose bucket is full again, or else the one whose bucket
//! will be full first. So memory is bounded, a key that has used up its bucket is the last that others can drive out, and
//! nobody who is new is refused because strangers fill the table.
//!
//! ```text
//! word:  time at which the bucket is full (59 bits) | turn (4) | busy (1)
//!
//!   known:   word ---> busy? another's? ----no----> exchanged whole, or read anew
//!   enters:  [lock] word ---> busy ---> key ---> word, one turn on [unlock]
//! ```
//!
//! Why nobody charges another's bucket: who is known reads the word, then the key, then exchanges the word. An entry changes the word
//! before and behind the key, each time to one that it has not been: so a word that is exchanged has not changed since it was read, and was
//! of the key that was read behind it. The turn tells two words of the same time apart, until sixteen entries later.

use std::fmt;
use std::sync::PoisonError;

use crate::hashing::scale;
use crate::rate::Key;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Keys of one set: with its lock, two lines of a cache.
#[cfg(not(shuttle))]
const WAYS: usize = 7;

/// So that a model with few keys has full sets.
#[cfg(shuttle)]
const WAYS: usize = 2;

/// Places for each key that was asked for. Keys meet in sets by chance: with as many places as keys two of five sets would be full.
/// With twice as many and all keys there, some one in a hundred finds its set full.
const ROOM: usize = 2;

const BUSY: u64 = 1;
const TURN: u64 = 0b1_1110;
const TIME_FROM: u32 = 5;

/// The last time that a word can say: eighteen years.
pub(super) const TIME_MOST: u64 = u64::MAX >> TIME_FROM;

const fn time(word: u64) -> u64 {
    word >> TIME_FROM
}

const fn timed(word: u64, time: u64) -> u64 {
    (word & TURN) | if time < TIME_MOST { time } else { TIME_MOST } << TIME_FROM
}

const fn turned(word: u64) -> u64 {
    word.wrapping_add(BUSY << 1) & TURN
}

/// What becomes of the time of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is this one, and what was asked for is done.
    To(u64),
    /// It is this one, and nothing more.
    Only(u64),
    /// It stays.
    Stay,
}

impl Step {
    const fn time(self) -> Option<u64> {
        match self {
            Self::To(time) | Self::Only(time) => Some(time),
            Self::Stay => None,
        }
    }
}

/// All buckets of a limit.
pub(super) struct Table {
    sets: Box<[Set]>,
    evicted: AtomicU64,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

#[derive(Default)]
#[repr(align(128))]
struct Set {
    slots: [Slot; WAYS],
    /// Whoever is about to put another key somewhere.
    entering: Mutex<()>,
}

/// A key, zero being none, and its bucket.
#[derive(Default)]
struct Slot {
    key: AtomicU64,
    word: AtomicU64,
}

impl Table {
    pub(super) fn new(keys: usize) -> Self {
        let sets = keys.saturating_mul(ROOM).div_ceil(WAYS).max(1);
        Self {
            sets: (0..sets).map(|_| Set::default()).collect(),
            evicted: AtomicU64::new(0),
        }
    }

    /// Does with the time of a key what `step` says; a key that is new is full since ever. The time before, and what was done.
    #[inline]
    pub(super) fn update(&self, key: Key, now: u64, step: impl Fn(u64) -> Step) -> (u64, Step) {
        match self.known(key, &step) {
            Some(done) => done,
            None => self.enter(key, now, &step),
        }
    }

    /// The same of a key that is there. None: it is not.
    #[inline]
    pub(super) fn known(&self, key: Key, step: impl Fn(u64) -> Step) -> Option<(u64, Step)> {
        let mut slots = self.set(key).slots.iter();
        slots.find_map(|slot| slot.update(key, &step))
    }

    /// The time of a key.
    pub(super) fn look(&self, key: Key) -> u64 {
        self.known(key, |_| Step::Stay).map_or(0, |(time, _)| time)
    }

    #[cold]
    fn enter(&self, key: Key, now: u64, step: &impl Fn(u64) -> Step) -> (u64, Step) {
        let set = self.set(key);
        let _alone = set.entering.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Another worker has just brought it.
            if let Some(done) = self.known(key, step) {
                return done;
            }
            let done = step(0);
            let Some(after) = done.time() else {
                return (0, done);
            };
            if let Some(forgotten) = set.put(key, after) {
                if forgotten > now {
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                }
                return (0, done);
            }
        }
    }

    fn set(&self, key: Key) -> &Set {
        let at = scale(key.word(), self.sets.len() as u64);
        // Below the number of sets.
        &self.sets[usize::try_from(at).unwrap_or(0)]
    }

    /// No bucket is full later than this.
    pub(super) fn bring_down(&self, full: u64) {
        let slots = self.sets.iter().flat_map(|set| &set.slots);
        for slot in slots {
            let later =
                |word: u64| (word & BUSY == 0 && time(word) > full).then(|| timed(word, full));
            // One that is busy is about to have another time.
            let _ = slot
                .word
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
        }
    }

    /// Keys that are not full.
    pub(super) fn live(&self, now: u64) -> usize {
        let slots = self.sets.iter().flat_map(|set| &set.slots);
        let live = |slot: &&Slot| time(slot.word.load(Ordering::Relaxed)) > now;
        slots.filter(live).count()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }
}

impl Set {
    /// Puts a key in the place of whoever has least to lose, and says until when that one's bucket was not full. None: somebody took from
    /// it at this very moment. Only under the lock.
    fn put(&self, key: Key, after: u64) -> Option<u64> {
        let words = self.slots.iter().map(|slot| {
            let word = slot.word.load(Ordering::Acquire);
            (time(word), word, slot)
        });
        let (least, word, slot) = words.min_by_key(|(time, ..)| *time)?;
        slot.word
            .compare_exchange(word, word | BUSY, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        slot.key.store(key.word(), Ordering::Release);
        let entered = timed(turned(word), after);
        slot.word.store(entered, Ordering::Release);
        Some(least)
    }
}

impl Slot {
    /// None: it is another's, or about to be.
    #[inline]
    fn update(&self, key: Key, step: impl Fn(u64) -> Step) -> Option<(u64, Step)> {
        if self.key.load(Ordering::Acquire) != key.word() {
            return None;
        }
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            // The key is read behind the word, each time: see above.
            if word & BUSY != 0 || self.key.load(Ordering::Acquire) != key.word() {
                return None;
            }
            let before = time(word);
            let done = step(before);
            let Some(after) = done.time() else {
                return Some((before, done));
            };
            let exchanged = self.word.compare_exchange_weak(
                word,
                timed(word, after),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match exchanged {
                Ok(_) => return Some((before, done)),
                Err(newer) => word = newer,
            }
        }
    }
}
