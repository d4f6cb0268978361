//! Owns consistent hashing by a look-up table: Maglev (Eisenbud et al., NSDI 2016, section 3.4), with weights.
//!
//! The table is a function of the configured membership alone. Health never rebuilds it: the policy probes past a backend
//! that may not serve, with the next attempt number, so that nobody else's client moves. Read next: `rendezvous`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use crate::hashing::{key, mix, scale};

/// Slots up to [`SMALL_UP_TO`] backends; prime. 128 KiB.
pub const SMALL: u32 = 65_537;
/// Slots above that, so that there are a hundred per backend for a long time; prime. 1.25 MiB.
pub const LARGE: u32 = 655_373;
/// The most backends that [`SMALL`] serves: a hundred slots each keep shares within 1 % (section 3.4 of the paper).
pub const SMALL_UP_TO: usize = 655;
/// The most backends of one table: what a slot of two bytes can name. Above 6 553, shares are coarser than 1 %.
pub const MOST: usize = FREE as usize;

/// A slot that nobody has claimed.
const FREE: u16 = u16::MAX;

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaglevError {
    /// More than [`MOST`] backends.
    TooMany {
        /// How many there were.
        given: usize,
    },
    /// The same id twice, at these positions of the input: the order would decide who gets which client.
    Duplicate(usize, usize),
}

impl fmt::Display for MaglevError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { given } => write!(out, "{given} backends for one table; {MOST} fit"),
            Self::Duplicate(one, other) => {
                write!(out, "backends {one} and {other} have the same id")
            }
        }
    }
}

impl std::error::Error for MaglevError {}

/// A table of slots, each the position of a backend. Two bytes per slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maglev(Box<[u16]>);

impl Maglev {
    /// A table for these ids and weights. The same for any order of input, but for the positions that it names.
    ///
    /// Slots are shared in proportion to the weights, off by at most one per backend; weight 0 takes none.
    /// About 3 ms for [`SMALL`], 60 ms for [`LARGE`], O(slots x log n): not for a worker.
    ///
    /// # Errors
    /// More than [`MOST`] backends, or an id given twice.
    pub fn new<I: AsRef<[u8]>>(backends: &[(I, u32)]) -> Result<Self, MaglevError> {
        Self::with_slots(
            backends,
            if backends.len() > SMALL_UP_TO {
                LARGE
            } else {
                SMALL
            },
        )
    }

    fn with_slots<I: AsRef<[u8]>>(backends: &[(I, u32)], slots: u32) -> Result<Self, MaglevError> {
        if backends.len() > MOST {
            return Err(MaglevError::TooMany {
                given: backends.len(),
            });
        }
        let mut sorted: Vec<(u16, &[u8], u32)> = (0_u16..)
            .zip(backends)
            .map(|(position, (id, weight))| (position, id.as_ref(), *weight))
            .collect();
        sorted.sort_by_key(|(_, id, _)| *id);
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0].1 == pair[1].1) {
            return Err(MaglevError::Duplicate(twice[0].0.into(), twice[1].0.into()));
        }
        sorted.retain(|(_, _, weight)| *weight > 0);
        Ok(Self(fill(&sorted, slots)))
    }

    /// The position that serves a key at a given attempt; `None` only when no backend has weight. One look-up.
    ///
    /// Attempt 0 is the home of the key. Each further attempt is as good as a new key: probe 1, 2, ... past backends that may
    /// not serve. When a share f of the slots may serve, 1/f probes are expected; bound them and then choose otherwise.
    #[must_use]
    pub fn lookup(&self, key: u64, attempt: u32) -> Option<usize> {
        let slot = scale(mix(key, attempt.into()), self.0.len() as u64);
        self.0
            .get(usize::try_from(slot).ok()?)
            .map(|position| usize::from(*position))
    }

    /// Slots, all of them taken: 0, [`SMALL`] or [`LARGE`].
    #[must_use]
    pub fn slots(&self) -> &[u16] {
        &self.0
    }
}

/// A backend's walk over all slots: a permutation, because the number of slots is prime.
struct Walk {
    position: u16,
    weight: u32,
    at: u32,
    skip: u32,
    claimed: u64,
}

impl Walk {
    fn new(position: u16, id: &[u8], weight: u32, slots: u32) -> Self {
        let hash = key(id);
        Self {
            position,
            weight,
            at: below(mix(hash, 0), slots),
            skip: 1 + below(mix(hash, 1), slots - 1),
            claimed: 0,
        }
    }

    fn claim(&mut self, table: &mut [u16]) {
        loop {
            let at = self.at as usize;
            self.at = (self.at + self.skip) % u32::try_from(table.len()).unwrap_or(u32::MAX);
            if let Some(slot) = table.get_mut(at)
                && *slot == FREE
            {
                *slot = self.position;
                self.claimed += 1;
                return;
            }
        }
    }

    /// The round of the next claim: every round for the heaviest, every second for one of half its weight.
    fn round(&self, heaviest: u32) -> u64 {
        (self.claimed * u64::from(heaviest)).div_ceil(u64::from(self.weight))
    }
}

/// Backends of weight, by id, claim slots in turns until none is free.
fn fill(backends: &[(u16, &[u8], u32)], slots: u32) -> Box<[u16]> {
    let heaviest = backends
        .iter()
        .map(|(_, _, weight)| *weight)
        .max()
        .unwrap_or(0);
    if heaviest == 0 {
        return Box::default();
    }
    let mut walks: Vec<Walk> = backends
        .iter()
        .map(|(position, id, weight)| Walk::new(*position, id, *weight, slots))
        .collect();
    let mut turns: BinaryHeap<Reverse<(u64, usize)>> =
        (0..walks.len()).map(|walk| Reverse((0, walk))).collect();
    let mut table = vec![FREE; slots as usize].into_boxed_slice();
    for _ in 0..slots {
        let Some(mut turn) = turns.peek_mut() else {
            break;
        };
        let Reverse((round, at)) = &mut *turn;
        if let Some(walk) = walks.get_mut(*at) {
            walk.claim(&mut table);
            *round = walk.round(heaviest);
        }
    }
    table
}

fn below(word: u64, bound: u32) -> u32 {
    u32::try_from(scale(word, bound.into())).unwrap_or(0)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn backends(count: usize) -> Vec<(String, u32)> {
        (0..count)
            .map(|n| (format!("10.0.{}.{}:8080", n / 250, n % 250), 1))
            .collect()
    }

    fn counts(table: &Maglev, count: usize) -> Vec<u32> {
        let mut counts = vec![0; count];
        for position in table.slots() {
            counts[usize::from(*position)] += 1;
        }
        counts
    }

    /// Largest share over the mean, and the share of slots not of the removed that changed hands (section 2 of the
    /// reference: "max/mean", "extra moved").
    fn measure(count: usize, removed: usize, slots: u32) -> (f64, f64) {
        let before_ids = backends(count);
        let before = Maglev::with_slots(&before_ids, slots).expect("fits");
        let most = counts(&before, count).into_iter().max().expect("not empty");
        let step = count / removed;
        let kept: Vec<_> = before_ids
            .iter()
            .enumerate()
            .filter(|(at, _)| at % step != 0 || at / step >= removed)
            .collect();
        assert_eq!(kept.len(), count - removed);
        let after_ids: Vec<_> = kept.iter().map(|(_, backend)| (*backend).clone()).collect();
        let after = Maglev::with_slots(&after_ids, slots).expect("fits");
        let id = |ids: &[(String, u32)], at: u16| ids[usize::from(at)].0.clone();
        let mut extra = 0;
        for (old, new) in before.slots().iter().zip(after.slots()) {
            let stays = kept.iter().any(|(at, _)| *at == usize::from(*old));
            extra += u32::from(stays && id(&before_ids, *old) != id(&after_ids, *new));
        }
        (
            f64::from(most) * count as f64 / f64::from(slots),
            f64::from(extra) / f64::from(slots),
        )
    }

    /// The reference numbers; one sample of hashes each, so "extra moved" may be half as much again.
    #[test]
    fn reference_numbers() {
        let check = |count, removed, slots, most: f64, extra: f64| {
            let (got_most, got_extra) = measure(count, removed, slots);
            assert!(
                (got_most - most).abs() < 0.001,
                "N={count} M={slots}: max/mean {got_most}, not {most}"
            );
            assert!(
                (extra * 0.5..extra * 1.5).contains(&got_extra),
                "N={count}-{removed} M={slots}: extra {got_extra}, not {extra}"
            );
        };
        check(10, 1, SMALL, 1.0000, 0.0029);
        check(100, 1, SMALL, 1.0010, 0.0057);
        check(100, 5, SMALL, 1.0010, 0.0097);
        check(100, 10, SMALL, 1.0010, 0.0114);
        check(1000, 1, SMALL, 1.007, 0.0057);
        check(100, 1, LARGE, 1.0001, 0.0015);
        check(100, 10, LARGE, 1.0001, 0.0035);
    }

    /// Shares follow weights to within one slot and a half.
    #[test]
    fn weighted_turns() {
        let check = |weights: &[u32]| {
            let ids: Vec<_> = weights
                .iter()
                .enumerate()
                .map(|(at, weight)| (format!("b{at}"), *weight))
                .collect();
            let table = Maglev::new(&ids).expect("fits");
            let sum: u32 = weights.iter().sum();
            for (count, weight) in counts(&table, weights.len()).into_iter().zip(weights) {
                let share = f64::from(SMALL) * f64::from(*weight) / f64::from(sum);
                assert!(
                    (f64::from(count) - share).abs() <= 1.5,
                    "weight {weight} of {weights:?}: {count}, not {share}"
                );
            }
        };
        check(&[1]);
        check(&[1, 1, 1]);
        check(&[5, 1, 1]);
        check(&[0, 3, 0, 1]);
        check(&[1000, 999, 1, 500, 250]);
        check(&[u32::MAX / 2, 1]);
    }

    #[test]
    fn nobody_has_weight() {
        let check =
            |ids: &[(&str, u32)]| assert_eq!(Maglev::new(ids).expect("fits").lookup(7, 0), None);
        check(&[]);
        check(&[("a", 0), ("b", 0)]);
    }

    #[test]
    fn limits() {
        let check = |ids: &[(String, u32)], expect| {
            assert_eq!(Maglev::new(ids).map(|table| table.0.len()), expect);
        };
        check(&backends(655), Ok(65_537));
        check(&backends(656), Ok(655_373));
        check(
            &vec![(String::new(), 1); MOST + 1],
            Err(MaglevError::TooMany { given: 65_536 }),
        );
        let twice = ["b", "a", "b"].map(|id| (id.to_owned(), 1));
        check(&twice, Err(MaglevError::Duplicate(0, 2)));
    }

    /// Every slot of the widest table names a backend, never the mark of a free slot.
    #[test]
    fn as_many_as_fit() {
        let ids: Vec<_> = (0..u32::try_from(MOST).expect("fits"))
            .map(|n| (n.to_be_bytes(), 1))
            .collect();
        let table = Maglev::new(&ids).expect("fits");
        let counts = counts(&table, MOST);
        assert!(counts.iter().all(|count| (10..=11).contains(count)));
    }

    #[test]
    fn the_order_of_input_does_not_matter() {
        let ids = backends(50);
        let turned: Vec<_> = ids.iter().rev().cloned().collect();
        let (table, other) = (
            Maglev::new(&ids).expect("fits"),
            Maglev::new(&turned).expect("fits"),
        );
        for (one, two) in table.slots().iter().zip(other.slots()) {
            assert_eq!(ids[usize::from(*one)], turned[usize::from(*two)]);
        }
    }

    /// Skipped, not rebuilt: nobody else's key moves, and those that move spread over the others as they should.
    #[test]
    fn a_skipped_backend_moves_only_its_own_keys() {
        let table = Maglev::new(&backends(100)).expect("fits");
        let serve = |key: u64, down: usize| {
            (0..).find_map(|attempt| {
                table
                    .lookup(key, attempt)
                    .filter(|position| *position != down)
            })
        };
        let mut moved_to = vec![0_u32; 100];
        for key in 0..100_000 {
            let home = table.lookup(key, 0).expect("has weight");
            let served = serve(key, 42).expect("has weight");
            if home == 42 {
                moved_to[served] += 1;
            } else {
                assert_eq!(
                    served, home,
                    "key {key} moved and was not of the skipped backend"
                );
            }
        }
        assert!(
            moved_to.iter().all(|moved| *moved < 40),
            "about 10 each: {moved_to:?}"
        );
        assert!(moved_to.iter().sum::<u32>() > 800);
    }

    /// The mapping is a promise: an upgrade that changes one of these moves every client. Computed by a second
    /// implementation, in Python.
    #[test]
    fn pinned_forever() {
        let ids: Vec<_> = (0..5)
            .map(|n| (format!("10.0.0.{n}:8080"), n + 1))
            .collect();
        let table = Maglev::new(&ids).expect("fits");
        let check = |client: &str, attempt, expect| {
            assert_eq!(
                table.lookup(key(client.as_bytes()), attempt),
                Some(expect),
                "{client}, attempt {attempt}"
            );
        };
        check("203.0.113.1", 0, 2);
        check("203.0.113.1", 1, 4);
        check("203.0.113.1", 2, 4);
        check("203.0.113.2", 0, 4);
        check("203.0.113.3", 0, 3);
        check("203.0.113.4", 0, 3);
        check("client-a", 0, 4);
        let slots: Vec<u8> = table
            .slots()
            .iter()
            .flat_map(|slot| slot.to_le_bytes())
            .collect();
        assert_eq!(
            key(&slots),
            0x57fb_2649_50c3_7b5a,
            "the whole table: {:#018x}",
            key(&slots)
        );
    }
}
