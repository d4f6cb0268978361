//! Owns rate limits: who may pass now. Token buckets, one for each key, in a bounded table that all workers share.
//!
//! A bucket is one number, the time at which it is full again: the "theoretical arrival time" of the generic cell rate algorithm
//! (ITU-T I.371). Nothing refills it, time does. Taking is one look-up and one exchange of a word, so that the workers together
//! never let more pass than one would. Time and the secret of the keys are arguments; what a key is made of is the caller's to
//! say. Read next: `rate/table` (what happens when there are too many keys), `docs/decisions/0033-rate-limits.md`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::setters::setters;
use crate::sync::Arc;
use crate::time::Instant;

/// Whom a limit counts.
mod key;

/// Buckets by key.
mod table;

/// Several limits of one request.
mod together;

pub use key::{Key, Keying, Secret};
pub use together::{LIMITS_MOST, Said, Together, Verdict};

use table::{Step, Table};

/// What a limit lets pass, of each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateSettings {
    /// Tokens that a bucket gets in each `per`, evenly.
    pub allow: NonZeroU32,
    /// Zero counts as a nanosecond.
    pub per: Duration,
    /// Tokens that a bucket holds when it is full, as it is at first.
    pub burst: NonZeroU32,
    /// Buckets at once that are not full; some 40 bytes each, which are taken at the begin. Beyond, who has taken least is forgotten.
    pub keys: NonZeroUsize,
}

/// Unless it is said otherwise; 4 MB.
const KEYS: NonZeroUsize = match NonZeroUsize::new(100_000) {
    Some(keys) => keys,
    None => NonZeroUsize::MIN,
};

impl RateSettings {
    /// So many in each `per`, as many at once, for 100,000 keys.
    #[must_use]
    pub const fn new(allow: NonZeroU32, per: Duration) -> Self {
        Self {
            allow,
            per,
            burst: allow,
            keys: KEYS,
        }
    }
}

setters!(RateSettings { burst: NonZeroU32, keys: NonZeroUsize, ; });

/// How a bucket fills, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// From one token to the next: rounded up, so that a rounding never lets more pass.
    interval: u64,
    /// From empty to full.
    depth: u64,
}

impl Pace {
    fn new(settings: &RateSettings) -> Self {
        let interval = settings
            .per
            .as_nanos()
            .div_ceil(settings.allow.get().into());
        let interval = u64::try_from(interval).unwrap_or(u64::MAX).max(1);
        let depth = interval.saturating_mul(settings.burst.get().into());
        Self {
            interval: interval.min(LONGEST),
            depth: depth.min(LONGEST),
        }
    }

    /// When a bucket is full, now at the soonest. One that is much emptier than these can be was so at another pace, and is empty now.
    fn full(self, full: u64, now: u64) -> u64 {
        let empty = now + self.depth;
        match full > empty + SKEW {
            true => empty,
            false => full.max(now),
        }
    }

    /// What a bucket has that is full at that time.
    fn room(self, full: u64, now: u64) -> Room {
        let (full, empty) = (self.full(full, now), now + self.depth);
        let left = empty.saturating_sub(full) / self.interval;
        Room {
            left: u32::try_from(left).unwrap_or(u32::MAX),
            next: match full == now {
                true => Duration::ZERO,
                false => Duration::from_nanos(full + (left + 1) * self.interval - empty),
            },
        }
    }

    /// A token less, where there is a whole one.
    fn less(self, before: u64, now: u64) -> Step {
        let (full, empty) = (self.full(before, now), now + self.depth);
        match full + self.interval <= empty {
            true => Step::To(full + self.interval),
            false if full < before => Step::Only(full),
            false => Step::Stay,
        }
    }
}

/// Workers read one clock, and not at once: a moment that one of them is late is no other pace.
const SKEW: u64 = 60 * 1_000_000_000;

/// No bucket takes longer to fill: four years, so that a time and this fit the word of a bucket, which ends after eighteen.
const LONGEST: u64 = 4 * 366 * 24 * 60 * 60 * 1_000_000_000;

/// What a bucket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Whole tokens that can be taken now.
    pub left: u32,
    /// Until there is one more; zero: it is full.
    pub next: Duration,
}

/// A token that was taken, while it may have to be given back.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Taken {
    key: Key,
    full: u64,
    /// What the bucket has now.
    pub room: Room,
}

/// A limit. Its clones share their buckets.
#[derive(Clone, Debug)]
pub struct Limit {
    settings: RateSettings,
    pace: Pace,
    secret: Secret,
    table: Arc<Table>,
}

impl Limit {
    /// One whose buckets are all full. Cost: its memory, by `keys`.
    #[must_use]
    pub fn new(settings: RateSettings, secret: Secret) -> Self {
        Self {
            settings,
            pace: Pace::new(&settings),
            secret,
            table: Arc::new(Table::new(settings.keys.get())),
        }
    }

    /// The same at another pace: buckets are full when they would have been, but never emptier than they can be now. None: there are to be
    /// more or fewer of them, which is another table. Cost: where buckets become smaller, as many looks as there may be keys.
    #[must_use]
    pub fn paced(&self, settings: RateSettings, now: Instant) -> Option<Self> {
        let pace = Pace::new(&settings);
        if settings.keys != self.settings.keys {
            return None;
        }
        if pace.depth < self.pace.depth {
            self.table.bring_down(nanos(now) + pace.depth);
        }
        Some(Self {
            settings,
            pace,
            ..self.clone()
        })
    }

    /// What it lets pass.
    #[must_use]
    pub const fn settings(&self) -> &RateSettings {
        &self.settings
    }

    /// Begins the key of somebody: no two limits have the same for the same parts, unless they share their secret.
    pub const fn keying(&self) -> Keying {
        self.secret.begin()
    }

    /// Takes a token from the bucket of a key.
    ///
    /// Cost: a look-up and an exchange of one word, without a lock; a key that is new takes the lock of its set, one of thousands,
    /// for some ten instructions. Nothing is allocated.
    ///
    /// # Errors
    /// There is no whole one; how long until there is.
    pub fn take(&self, key: Key, now: Instant) -> Result<Taken, Room> {
        let (pace, now) = (self.pace, nanos(now));
        let (before, step) = self.table.update(key, now, |full| pace.less(full, now));
        match step {
            Step::To(full) => Ok(Taken {
                key,
                full,
                room: pace.room(full, now),
            }),
            Step::Only(_) | Step::Stay => Err(pace.room(before, now)),
        }
    }

    /// What the bucket of a key has; nothing is taken.
    #[must_use]
    pub fn look(&self, key: Key, now: Instant) -> Room {
        let now = nanos(now);
        self.pace.room(self.table.look(key), now)
    }

    /// Gives a token back that was taken a moment ago, as if it had not been. What time has put in its place meanwhile is not put there
    /// twice.
    pub fn give_back(&self, taken: Taken, now: Instant) {
        let now = nanos(now);
        // Without it, it would have been full so much of the time since, and nothing would have come in: that was put there already.
        let back = taken.full.saturating_sub(now).min(self.pace.interval);
        if back > 0 {
            // Still emptier by it: whatever was taken since stands behind it.
            self.table
                .known(taken.key, |full| match full >= taken.full {
                    true => Step::To(full.saturating_sub(back)),
                    false => Step::Stay,
                });
        }
    }

    /// Keys whose buckets are not full. Cost: as many looks as there may be keys.
    #[must_use]
    pub fn keys(&self, now: Instant) -> usize {
        self.table.live(nanos(now))
    }

    /// Keys that were forgotten before their buckets were full again, since there was no room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    /// Bytes of its table.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

/// Fourteen years after the owner's start it is that for ever, and buckets no longer fill.
fn nanos(now: Instant) -> u64 {
    now.as_nanos().min(table::TIME_MOST - LONGEST)
}

#[cfg(all(test, not(shuttle)))]
mod tests;
