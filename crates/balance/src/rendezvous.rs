//! Owns consistent hashing by the highest score: rendezvous hashing (Thaler, Ravishankar 1998), with weights
//! (Schindelhauer, Schomaker 2005: `-w / ln u`).
//!
//! No table: exact shares, and a pick that leaves a backend out is at once the natural second choice. O(n) per pick, so for up to
//! about 32 backends; above that `maglev`.

use crate::hashing::{key, mix};

/// Backends, ready to be scored. 24 bytes each.
#[derive(Clone, Debug, Default)]
pub struct Rendezvous(Box<[Node]>);

#[derive(Clone, Copy, Debug)]
struct Node {
    position: usize,
    hash: u64,
    /// One over the weight.
    inverse: f64,
}

impl Rendezvous {
    /// Backends by id and weight; weight 0 is never chosen. O(n).
    #[must_use]
    pub fn new<I: AsRef<[u8]>>(backends: &[(I, u32)]) -> Self {
        let nodes = backends
            .iter()
            .enumerate()
            .filter(|(_, (_, weight))| *weight > 0);
        let node = |(position, (id, weight)): (usize, &(I, u32))| Node {
            position,
            hash: key(id.as_ref()),
            inverse: 1.0 / f64::from(*weight),
        };
        Self(nodes.map(node).collect())
    }

    /// The position that serves a key among those that `may_serve`; `None` when none of weight may.
    ///
    /// The same for any order of input. Leaving a backend out moves its own keys only, each to its next best. About
    /// 10 ns per backend.
    pub fn pick(&self, key: u64, mut may_serve: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut best: Option<(f64, Node)> = None;
        for &node in &self.0 {
            if !may_serve(node.position) {
                continue;
            }
            let odd = odd(mix(key, node.hash));
            // -ln u >= 1 - u: most backends lose by that already. A hair less than it, for the rounding of both sides.
            let at_least = (1.0 - odd as f64 * UNIT) * (node.inverse * 0.999_999_999);
            if best.is_some_and(|(least, _)| at_least > least) {
                continue;
            }
            let cost = minus_ln(odd) * node.inverse;
            // Equal costs (one pick in 2^50) go by hash, so that the order of input does not matter there either.
            if best.is_none_or(|(least, other)| {
                cost < least || (cost <= least && node.hash < other.hash)
            }) {
                best = Some((cost, node));
            }
        }
        best.map(|(_, node)| node.position)
    }
}

/// What a backend of weight 1 costs for a word that is made of it and of a key; one of another weight, that over its weight.
pub(crate) fn cost(word: u64) -> f64 {
    minus_ln(odd(word))
}

/// 2^-53
const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;

/// The upper 52 bits of a word and a one: odd and below 2^53, so exact in an `f64`, and never 0 or 1 in units of [`UNIT`].
const fn odd(word: u64) -> u64 {
    (word >> 12 << 1) | 1
}

/// `-ln u` for u = `odd` times [`UNIT`], within 1e-14 of it.
///
/// Made of additions, multiplications and divisions, which IEEE 754 defines to the last bit: `f64::ln` is the platform's,
/// and a client must not move because its backends are chosen with another libm.
fn minus_ln(odd: u64) -> f64 {
    let exponent = odd.ilog2();
    // 1 <= m < 2, then centred on 1 so that the series is short and exact where u is close to 1.
    let m = odd as f64 / (1_u64 << exponent) as f64;
    let (m, halvings) = if m > std::f64::consts::SQRT_2 {
        (m / 2.0, 52 - exponent)
    } else {
        (m, 53 - exponent)
    };
    // ln m = 2 artanh z
    let z = (m - 1.0) / (m + 1.0);
    let z2 = z * z;
    let series = [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0]
        .iter()
        .fold(0.0, |sum, odd| sum * z2 + 1.0 / odd);
    f64::from(halvings) * std::f64::consts::LN_2 - 2.0 * z * series
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn backends(weights: &[u32]) -> Vec<(String, u32)> {
        weights
            .iter()
            .enumerate()
            .map(|(at, weight)| (format!("10.0.0.{at}:8080"), *weight))
            .collect()
    }

    fn all(_: usize) -> bool {
        true
    }

    #[test]
    fn minus_ln_is_minus_ln() {
        let check = |word: u64| {
            let u = odd(word) as f64 * UNIT;
            let (got, want) = (minus_ln(odd(word)), -u.ln());
            assert!(
                got > 0.0 && (got - want).abs() <= 1e-14 * want.max(1.0),
                "u {u}: {got}, not {want}"
            );
        };
        check(0);
        check(u64::MAX);
        check(1 << 63);
        (0..64).for_each(|bit| check(1 << bit));
        (0..64).for_each(|bit| check(u64::MAX >> bit));
        (0..100_000).for_each(|n| check(mix(n, 1)));
    }

    /// Multinomial noise only: each count is within 4.5 sigma of its share.
    #[test]
    fn shares_follow_weights() {
        let check = |weights: &[u32]| {
            const KEYS: u64 = 200_000;
            let table = Rendezvous::new(&backends(weights));
            let mut counts = vec![0_u32; weights.len()];
            for client in 0..KEYS {
                counts[table.pick(mix(client, 3), all).expect("has weight")] += 1;
            }
            let sum: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(weights) {
                let share = f64::from(*weight) / f64::from(sum);
                let sigma = (KEYS as f64 * share * (1.0 - share)).sqrt();
                let away = (f64::from(*count) - KEYS as f64 * share).abs();
                assert!(
                    away <= 4.5 * sigma,
                    "weight {weight} of {weights:?}: {count}, {} sigma off",
                    away / sigma
                );
            }
        };
        check(&[1]);
        check(&[1, 1, 1]);
        check(&[5, 1, 1]);
        check(&[0, 3, 0, 1]);
        check(&[1, 10, 100, 1000]);
        check(&[7; 32]);
    }

    #[test]
    fn nobody_may_serve() {
        let check = |weights: &[u32], may: fn(usize) -> bool, expect| {
            assert_eq!(
                Rendezvous::new(&backends(weights)).pick(7, may),
                expect,
                "{weights:?}"
            );
        };
        check(&[], all, None);
        check(&[0, 0], all, None);
        check(&[1, 1], |_| false, None);
        check(&[0, 1], |position| position == 0, None);
        check(&[0, 1], all, Some(1));
    }

    /// Removing, adding and weighting down move the keys of that backend and nobody else's.
    #[test]
    fn only_its_own_keys_move() {
        let ids = backends(&[1, 2, 3, 4, 5, 6]);
        let full = Rendezvous::new(&ids);
        let without = Rendezvous::new(&[&ids[..3], &ids[4..]].concat());
        let mut lighter_ids = ids.clone();
        lighter_ids[3].1 = 1;
        let lighter = Rendezvous::new(&lighter_ids);
        let mut moved = 0;
        for client in 0..20_000 {
            let home = full.pick(client, all).expect("has weight");
            let removed = without
                .pick(client, all)
                .map(|position| if position < 3 { position } else { position + 1 });
            assert_eq!(
                removed,
                full.pick(client, |position| position != 3),
                "removed is skipped"
            );
            let weighed = lighter.pick(client, all);
            if home == 3 {
                moved += 1;
            } else {
                assert_eq!(
                    (removed, weighed),
                    (Some(home), Some(home)),
                    "key {client} moved"
                );
            }
        }
        assert!((3_400..4_300).contains(&moved), "4 of 21: {moved}");
    }

    #[test]
    fn the_order_of_input_does_not_matter() {
        let ids = backends(&[1, 2, 3, 4, 5, 6]);
        let turned: Vec<_> = ids.iter().rev().cloned().collect();
        let (one, other) = (Rendezvous::new(&ids), Rendezvous::new(&turned));
        for client in 0..10_000 {
            assert_eq!(
                one.pick(client, all),
                other.pick(client, all).map(|position| 5 - position)
            );
        }
    }

    /// The mapping is a promise: an upgrade that changes one of these moves every client. Computed by a second
    /// implementation, in Python.
    #[test]
    fn pinned_forever() {
        let table = Rendezvous::new(&backends(&[1, 2, 3, 4, 5]));
        let check = |client: &str, expect: [usize; 2]| {
            let first = table.pick(key(client.as_bytes()), all).expect("has weight");
            let second = table
                .pick(key(client.as_bytes()), |position| position != first)
                .expect("has weight");
            assert_eq!([first, second], expect, "{client}");
        };
        check("203.0.113.1", [4, 2]);
        check("203.0.113.2", [1, 3]);
        check("203.0.113.3", [4, 2]);
        check("203.0.113.4", [1, 4]);
        check("client-a", [0, 4]);
    }
}
