//! Owns the table of clients: who is kept on which backend, for so long, so many at most.
//!
//! It has parts with a lock each, chosen by the client, so that no two workers wait for each other for long. In each the clients
//! stand in the order in which they were last seen: who is over goes first, and the oldest when there is no room. Time is an argument,
//! and so is the seed without which nobody can make up clients that fall into one place.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::PoisonError;
use std::time::Duration;

use crate::hashing::mix;
use crate::setters::setters;
use crate::sync::{Mutex, MutexGuard};
use crate::time::Instant;

/// Parts of a table.
const PARTS: usize = 16;

/// Nobody.
const NONE: u32 = u32::MAX;

/// So many are looked at by one change for being over: more than come in by it, so that the rest is not left behind.
const SWEPT: usize = 2;

/// How many, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientsSettings {
    /// The most at once, 16 or more; some 100 bytes each. Beyond, the one goes that was not seen for longest.
    pub most: usize,
    /// A client that was not seen for so long is forgotten.
    pub ttl: Duration,
}

impl Default for ClientsSettings {
    /// 10 MB; an hour, as HAProxy's and nginx's manuals have it in their examples.
    fn default() -> Self {
        Self {
            most: 100_000,
            ttl: Duration::from_secs(60 * 60),
        }
    }
}

setters!(ClientsSettings { most: usize, ttl: Duration, ; });

/// What became of clients, since the table was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientsCounts {
    /// Those that are kept now; some may be over and not forgotten yet.
    pub clients: u64,
    /// Those that came.
    pub came: u64,
    /// Those whose time was over.
    pub expired: u64,
    /// Those that went because there was no room.
    pub evicted: u64,
    /// Those that were not [learnt](Clients::learn), since there was none.
    pub unlearned: u64,
}

/// One that goes over to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedClient {
    /// Who.
    pub client: u128,
    /// The [identity](super::identity) of its backend.
    pub backend: u64,
    /// How long it is kept if it is not seen.
    pub left: Duration,
}

/// A bounded table of clients that forgets. To be shared.
pub struct Clients {
    parts: Box<[Mutex<Part>]>,
    seed: u64,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    /// An empty one; `seed` is chance, and a secret.
    #[must_use]
    pub fn new(settings: ClientsSettings, seed: u64) -> Self {
        let part = |_| Mutex::new(Part::new(settings, seed));
        Self {
            parts: (0..PARTS).map(part).collect(),
            seed,
        }
    }

    /// Puts other settings in force: who is too many goes, the oldest first; who was seen under a longer time keeps it until it is
    /// seen again. Cost: those that go.
    pub fn set_settings(&self, settings: ClientsSettings) {
        for part in &self.parts {
            let mut part = locked(part);
            (part.most, part.ttl) = (most_of(settings.most), settings.ttl);
            while part.known.len() > part.most {
                part.evict();
            }
        }
    }

    /// The backend that a client is kept on; it is seen by that, and kept on. One look-up under the lock of a part.
    #[must_use]
    pub fn get(&self, client: u128, now: Instant) -> Option<u64> {
        let mut part = self.part(client);
        part.sweep(now);
        let at = *part.known.get(&client)?;
        if part.slot(at).until <= now {
            part.forget(at);
            part.expired += 1;
            return None;
        }
        let backend = part.slot(at).backend;
        part.seen(at, now);
        Some(backend)
    }

    /// The same without seeing it, for who only looks.
    #[must_use]
    pub fn peek(&self, client: u128, now: Instant) -> Option<u64> {
        let part = self.part(client);
        let slot = part.slot(*part.known.get(&client)?);
        (slot.until > now).then_some(slot.backend)
    }

    /// Keeps a client on a backend from now on, wherever it was before.
    pub fn put(&self, client: u128, backend: u64, now: Instant) {
        let mut part = self.part(client);
        part.sweep(now);
        let ttl = part.ttl;
        part.put(client, backend, now, ttl);
    }

    /// Has a client that is kept elsewhere move to a backend. False: it is kept there already, so that of all who bring it there at once one
    /// alone has moved it. Who is not known is not kept by this.
    pub fn moves(&self, client: u128, backend: u64, now: Instant) -> bool {
        let mut part = self.part(client);
        let Some(&at) = part.known.get(&client) else {
            return true;
        };
        let Slot {
            until,
            backend: was,
            ..
        } = *part.slot(at);
        if until <= now {
            return true;
        }
        part.slot_mut(at).backend = backend;
        part.seen(at, now);
        was != backend
    }

    /// The same as [`Self::put`] for one of whom nobody has said that it is kept there: a stranger comes in while there is room, and nobody goes for it.
    /// False: there was none.
    pub fn learn(&self, client: u128, backend: u64, now: Instant) -> bool {
        let mut part = self.part(client);
        part.sweep(now);
        let ttl = part.ttl;
        let may = part.known.len() < part.most || part.known.contains_key(&client);
        match may {
            true => part.put(client, backend, now, ttl),
            false => part.unlearned += 1,
        }
        may
    }

    /// Forgets a client. False: it was not known.
    pub fn clear(&self, client: u128) -> bool {
        let mut part = self.part(client);
        let at = part.known.get(&client).copied();
        at.inspect(|&at| part.forget(at)).is_some()
    }

    /// Forgets all, and says how many.
    pub fn clear_all(&self) -> usize {
        let clear = |part: &Mutex<Part>| {
            let mut part = locked(part);
            let known = part.known.len();
            (part.known, part.slots, part.free) = (
                HashMap::with_hasher(Seeded(self.seed)),
                Vec::new(),
                Vec::new(),
            );
            (part.oldest, part.newest) = (NONE, NONE);
            known
        };
        self.parts.iter().map(clear).sum()
    }

    /// Forgets those whose time is over. To be called now and then; each change does it for a few of its part. Cost: those that go.
    pub fn sweep(&self, now: Instant) {
        for part in &self.parts {
            let mut part = locked(part);
            while part.expire(now) {}
        }
    }

    /// What became of clients.
    #[must_use]
    pub fn counts(&self) -> ClientsCounts {
        let mut counts = ClientsCounts::default();
        for part in &self.parts {
            let part = locked(part);
            counts.clients += part.known.len() as u64;
            counts.came += part.came;
            counts.expired += part.expired;
            counts.evicted += part.evicted;
            counts.unlearned += part.unlearned;
        }
        counts
    }

    /// Those that are kept, the ones seen last first, so many at most. Cost: clients, one part after the other.
    #[must_use]
    pub fn carried(&self, most: usize, now: Instant) -> Vec<CarriedClient> {
        let mut all = Vec::new();
        for part in &self.parts {
            let part = locked(part);
            let mut at = part.newest;
            let enough = all.len() + most / PARTS;
            while at != NONE && all.len() < enough {
                let slot = part.slot(at);
                if slot.until > now {
                    all.push(CarriedClient {
                        client: slot.client,
                        backend: slot.backend,
                        left: slot.until.since(now),
                    });
                }
                at = slot.older;
            }
        }
        all
    }

    /// Takes in those of another process that are not known here. None is kept longer than this table keeps its own.
    pub fn take_over(&self, mut all: Vec<CarriedClient>, now: Instant) {
        // So that they stand in the order in which they are over.
        all.sort_by_key(|one| one.left);
        for one in all {
            let mut part = self.part(one.client);
            let left = one.left.min(part.ttl);
            if !left.is_zero() && !part.known.contains_key(&one.client) {
                part.put(one.client, one.backend, now, left);
            }
        }
    }

    fn part(&self, client: u128) -> MutexGuard<'_, Part> {
        let hash = Seeded(self.seed).hash_one(client);
        locked(&self.parts[part_of(hash)])
    }
}

/// By bits in the middle: within its part a table of `std` looks by the lowest and compares the highest seven, and of those that were the
/// same for all of a part it would learn nothing.
fn part_of(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0) % PARTS
}

/// A panic under the lock is a bug in the order of the list; what there is may still be asked.
fn locked(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

fn most_of(most: usize) -> usize {
    (most / PARTS).max(1)
}

struct Part {
    known: HashMap<u128, u32, Seeded>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    most: usize,
    ttl: Duration,
    came: u64,
    expired: u64,
    evicted: u64,
    unlearned: u64,
}

struct Slot {
    client: u128,
    backend: u64,
    until: Instant,
    older: u32,
    newer: u32,
}

impl Part {
    fn new(settings: ClientsSettings, seed: u64) -> Self {
        Self {
            known: HashMap::with_hasher(Seeded(seed)),
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            most: most_of(settings.most),
            ttl: settings.ttl,
            came: 0,
            expired: 0,
            evicted: 0,
            unlearned: 0,
        }
    }

    fn slot(&self, at: u32) -> &Slot {
        &self.slots[at as usize]
    }

    fn slot_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize]
    }

    fn put(&mut self, client: u128, backend: u64, now: Instant, left: Duration) {
        if let Some(&at) = self.known.get(&client) {
            self.slot_mut(at).backend = backend;
            self.seen(at, now);
            return;
        }
        if self.known.len() >= self.most {
            self.evict();
        }
        let slot = Slot {
            client,
            backend,
            until: now + left,
            older: NONE,
            newer: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                *self.slot_mut(at) = slot;
                at
            }
            None => {
                let Ok(at) = u32::try_from(self.slots.len()) else {
                    return;
                };
                self.slots.push(slot);
                at
            }
        };
        self.known.insert(client, at);
        self.came += 1;
        self.link(at);
    }

    fn seen(&mut self, at: u32, now: Instant) {
        self.unlink(at);
        self.slot_mut(at).until = now + self.ttl;
        self.link(at);
    }

    /// As the newest.
    fn link(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.newest, at);
        let slot = self.slot_mut(at);
        (slot.older, slot.newer) = (before, NONE);
        match before {
            NONE => self.oldest = at,
            before => self.slot_mut(before).newer = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Slot { older, newer, .. } = *self.slot(at);
        match older {
            NONE => self.oldest = newer,
            older => self.slot_mut(older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slot_mut(newer).older = older,
        }
    }

    fn forget(&mut self, at: u32) {
        self.unlink(at);
        let client = self.slot(at).client;
        self.known.remove(&client);
        self.free.push(at);
    }

    fn evict(&mut self) {
        if self.oldest != NONE {
            self.forget(self.oldest);
            self.evicted += 1;
        }
    }

    fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEPT {
            if !self.expire(now) {
                break;
            }
        }
    }

    /// Forgets the oldest if its time is over.
    fn expire(&mut self, now: Instant) -> bool {
        let over = self.oldest != NONE && self.slot(self.oldest).until <= now;
        if over {
            self.forget(self.oldest);
            self.expired += 1;
        }
        over
    }
}

/// Hashes clients by a seed.
#[derive(Clone, Copy)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = Hashing;

    fn build_hasher(&self) -> Hashing {
        Hashing(self.0)
    }
}

struct Hashing(u64);

impl Hasher for Hashing {
    fn write_u128(&mut self, client: u128) {
        let bytes = client.to_le_bytes();
        for half in bytes.as_chunks().0 {
            self.0 = mix(self.0, u64::from_le_bytes(*half));
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = mix(self.0, byte.into());
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// The highest seven bits, by which a table tells most strangers from those it has, take all their values in each part; so do the
    /// lowest, by which it looks.
    #[test]
    fn parts_leave_a_table_the_bits_that_it_needs() {
        let mut seen = vec![(0_u128, 0_u128); PARTS];
        for client in 0..100_000_u128 {
            let hash = Seeded(7).hash_one(client);
            let (high, low) = &mut seen[part_of(hash)];
            *high |= 1 << (hash >> 57);
            *low |= 1 << (hash & 127);
        }
        assert!(seen.iter().all(|&both| both == (u128::MAX, u128::MAX)));
    }
}
