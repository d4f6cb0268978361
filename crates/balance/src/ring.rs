//! Owns consistent hashing by points on a ring (Karger et al. 1997), 160 for each unit of weight as nginx and Pingora have them.
//!
//! Like a table of Maglev a function of the configured membership alone, and probed past who may not serve. A change of
//! membership moves the keys of who left or joined and no others, which Maglev's moves nearly; in return shares are off by 8 %
//! where Maglev's are even. Not nginx's hash: the same keys go elsewhere there. Read next: `maglev`, `rendezvous`.

use crate::hashing::{key, mix};

/// Points for each unit of weight.
pub const POINTS: u32 = 160;
/// The most points of a ring, 8 bytes each: 16 MiB. Backends that together want more get half as many for each unit of weight, or
/// a quarter, and so on, at least one each: the ring then has at most one for each backend more.
pub const MOST: u64 = 1 << 21;

/// Points in order, each of a backend. 8 bytes per point, 4 per backend.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    /// Where on the ring in the upper half, whose in the lower: a place in `ranked`.
    points: Box<[u64]>,
    /// Positions in the input, by id: equal points go by id, so that the order of input does not matter there either.
    ranked: Box<[u32]>,
}

impl Ring {
    /// A ring of these ids and weights; weight 0 has no point. The same for any order of input, but for the positions that it names.
    ///
    /// O(points x log points), 0.2 s at [`MOST`]: not for a worker.
    #[must_use]
    pub fn new<I: AsRef<[u8]>>(backends: &[(I, u32)]) -> Self {
        let mut sorted: Vec<(u32, &[u8], u32)> = (0_u32..)
            .zip(backends)
            .map(|(position, (id, weight))| (position, id.as_ref(), *weight))
            .collect();
        sorted.sort_by_key(|(_, id, _)| *id);
        let wanted = |weight: u32| u64::from(weight) * u64::from(POINTS);
        let all: u64 = sorted.iter().map(|(_, _, weight)| wanted(*weight)).sum();
        // Halves, so that a backend's fewer points are some of those it had: its other keys stay.
        let halved = (all.div_ceil(MOST).max(1)).next_power_of_two().ilog2();
        let mut points = Vec::new();
        for (rank, (_, id, weight)) in (0_u64..).zip(&sorted) {
            let count = match weight {
                0 => 0,
                _ => (wanted(*weight) >> halved).max(1),
            };
            let hash = key(id);
            points.extend((0..count).map(|point| mix(hash, point) >> 32 << 32 | rank));
        }
        points.sort_unstable();
        Self {
            points: points.into(),
            ranked: sorted.iter().map(|(position, ..)| *position).collect(),
        }
    }

    /// The position that serves a key at a given attempt; `None` only when no backend has weight. A binary search.
    ///
    /// Attempt 0 is the home of the key. Each further attempt is as good as a new key: the next point on the ring would give
    /// all that a busy backend cannot take to the few that stand behind it (Chen, Coleman, Shrivastava 2021).
    #[must_use]
    pub fn lookup(&self, key: u64, attempt: u32) -> Option<usize> {
        let place = mix(key, attempt.into()) >> 32 << 32;
        let at = self.points.partition_point(|point| *point < place);
        let point = self.points.get(at).or_else(|| self.points.first())?;
        let rank = usize::try_from(point & u64::from(u32::MAX)).ok()?;
        let position = self.ranked.get(rank)?;
        usize::try_from(*position).ok()
    }

    /// How many points there are.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points.len()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    const KEYS: u64 = 200_000;

    fn backends(weights: &[u32]) -> Vec<(String, u32)> {
        let named =
            |(at, weight): (usize, &u32)| (format!("10.0.{}.{}:80", at / 250, at % 250), *weight);
        weights.iter().enumerate().map(named).collect()
    }

    fn homes(ids: &[(String, u32)]) -> Vec<String> {
        let ring = Ring::new(ids);
        let home = |key: u64| {
            ids[ring.lookup(mix(key, 3), 0).expect("has weight")]
                .0
                .clone()
        };
        (0..KEYS).map(home).collect()
    }

    /// Shares follow weights about as evenly as 160 points can: the standard deviation of one is 1/sqrt(160) = 8 %.
    #[test]
    fn shares_follow_weights() {
        let check = |weights: &[u32], within: f64| {
            let ids = backends(weights);
            let ring = Ring::new(&ids);
            let mut counts = vec![0_u64; ids.len()];
            for key in 0..KEYS {
                counts[ring.lookup(mix(key, 3), 0).expect("has weight")] += 1;
            }
            let sum: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(weights) {
                let wanted = KEYS as f64 * f64::from(*weight) / f64::from(sum);
                let off = (*count as f64 - wanted).abs();
                assert!(
                    off <= within * wanted,
                    "{weight} of {weights:?}: {count}, not {wanted}"
                );
            }
        };
        check(&[1], 0.0);
        check(&[1; 20], 0.25);
        check(&[100; 20], 0.05);
        check(&[5, 1, 1, 0, 3], 0.25);
        check(&[10_000, 5_000], 0.01);
    }

    #[test]
    fn a_change_moves_no_other_keys() {
        let before_ids = backends(&[1; 20]);
        let mut after_ids = before_ids.clone();
        let left = after_ids.remove(7).0;
        let (before, after) = (homes(&before_ids), homes(&after_ids));
        for (one, other) in before.iter().zip(&after) {
            assert!(one == other || *one == left, "{one} to {other}");
        }
    }

    #[test]
    fn the_order_of_input_does_not_matter() {
        let ids = backends(&[3, 1, 2, 1]);
        let turned: Vec<_> = ids.iter().rev().cloned().collect();
        assert_eq!(homes(&ids), homes(&turned));
    }

    #[test]
    fn limits() {
        let check = |weights: &[u32], points: usize| {
            assert_eq!(
                Ring::new(&backends(weights)).points(),
                points,
                "{}",
                weights.len()
            );
        };
        check(&[], 0);
        check(&[0, 0], 0);
        check(&[1, 0, 2], 480);
        check(&[1; 10_000], 1_600_000);
        check(&[1; 13_107], 2_097_120);
        check(&[1; 13_108], 13_108 * 80);
        check(&[10_000; 100], 100 * (1_600_000 >> 7));
        // Who is light beside many heavy ones has a point all the same.
        let mut weights = vec![10_000; 2_000];
        weights.push(1);
        check(&weights, 2_000 * (1_600_000 >> 11) + 1);
        assert_eq!(Ring::new(&backends(&[0])).lookup(7, 0), None);
    }

    /// Half the points of each are some of those it had: about half of the keys stay.
    #[test]
    fn a_ring_that_is_halved_keeps_what_it_can() {
        let (before, after) = (
            homes(&backends(&[1; 13_107])),
            homes(&backends(&[1; 13_108])),
        );
        let same = before
            .iter()
            .zip(&after)
            .filter(|(one, other)| one == other);
        let same = same.count() as f64 / KEYS as f64;
        assert!(same > 0.45, "{same}");
    }

    /// The mapping is a promise: an upgrade that changes one of these moves every client.
    #[test]
    fn pinned_forever() {
        let ring = Ring::new(&backends(&[1, 2, 3, 4, 5]));
        let homes: Vec<_> = (0..16).map(|at| ring.lookup(key(&[at]), 0)).collect();
        let homes: Vec<_> = homes.into_iter().flatten().collect();
        assert_eq!(homes, [2, 2, 2, 3, 1, 4, 4, 3, 0, 1, 3, 2, 1, 3, 4, 0]);
    }
}
