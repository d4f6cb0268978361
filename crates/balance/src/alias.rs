//! Owns weighted random picks in constant time: the alias method (Walker 1977, built as in Vose 1991).
//!
//! Stateless after the build, so it is shared without a counter; shares are exact in expectation and scatter like dice.
//! Where runs of one backend matter, read `stride`.

use crate::hashing::scale;

/// A table of shares. 12 bytes per index of positive weight.
#[derive(Clone, Debug, Default)]
pub struct Alias(Box<[Column]>);

/// Two indices that share one column; `keep / 2^32` of it belongs to the first.
#[derive(Clone, Copy, Debug)]
struct Column {
    own: u32,
    other: u32,
    keep: u32,
}

impl Alias {
    /// A table of these weights, by position. O(n).
    ///
    /// Only ratios count. A weight that is zero, negative or not finite is never picked; of more than
    /// 2^32 weights the rest is left out.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let picked: Vec<(u32, f64)> = (0_u32..)
            .zip(weights)
            .filter(|(_, weight)| weight.is_finite() && *weight > 0.0)
            .collect();
        // Divided before they are added: a sum of huge weights must not become infinite.
        let most = picked
            .iter()
            .fold(0.0, |most: f64, (_, weight)| most.max(*weight));
        let sum: f64 = picked.iter().map(|(_, weight)| weight / most).sum();
        let columns = picked.len() as f64;
        let (mut below, mut above): (Vec<_>, Vec<_>) = picked
            .into_iter()
            .map(|(own, weight)| (own, weight / most / sum * columns))
            .partition(|(_, height)| *height < 1.0);
        let mut table = Vec::with_capacity(below.len() + above.len());
        // A tall one fills up a low column; what remains of it goes on the pile that it now belongs to.
        while !below.is_empty()
            && let Some((other, tall)) = above.pop()
            && let Some((own, height)) = below.pop()
        {
            table.push(Column {
                own,
                other,
                keep: of_2_pow_32(height),
            });
            let left = (tall + height) - 1.0;
            let pile = if left < 1.0 { &mut below } else { &mut above };
            pile.push((other, left));
        }
        // What is left is one column high, but for rounding.
        table.extend(below.into_iter().chain(above).map(|(own, _)| Column {
            own,
            other: own,
            keep: u32::MAX,
        }));
        Self(table.into_boxed_slice())
    }

    /// The position that a uniformly random word falls on; `None` when no weight was positive. One table look-up.
    #[must_use]
    pub fn pick(&self, chance: u64) -> Option<usize> {
        let column = usize::try_from(scale(chance & !COIN, self.0.len() as u64)).ok()?;
        let column = self.0.get(column)?;
        Some(if chance & COIN < u64::from(column.keep) {
            column.own
        } else {
            column.other
        } as usize)
    }
}

/// The half of the word that chooses within a column; the other half chooses the column.
const COIN: u64 = u32::MAX as u64;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0..1 times 2^32, and `as` saturates"
)]
fn of_2_pow_32(share: f64) -> u32 {
    (share * 4_294_967_296.0) as u32
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::hashing::mix;

    const PICKS: u64 = 200_000;

    /// Pearson's chi-square against the weights stays under `k + 4 sqrt(2 k)`, k degrees of freedom (p about 1e-4 or less).
    fn check(weights: &[f64]) {
        let usable = |weight: f64| {
            if weight.is_finite() && weight > 0.0 {
                weight
            } else {
                0.0
            }
        };
        let most = weights
            .iter()
            .fold(0.0, |most: f64, weight| most.max(usable(*weight)));
        let sum: f64 = weights.iter().map(|weight| usable(*weight) / most).sum();
        let table = Alias::new(weights.iter().copied());
        for seed in [1, 2, 3, 4, 5] {
            let mut counts = vec![0_u64; weights.len()];
            for turn in 0..PICKS {
                counts[table.pick(mix(seed, turn)).expect("a positive weight")] += 1;
            }
            let (mut chi_square, mut freedom) = (0.0, -1.0);
            for (&count, &weight) in counts.iter().zip(weights) {
                let expected = PICKS as f64 * (usable(weight) / most) / sum;
                if expected == 0.0 {
                    assert_eq!(count, 0, "weight {weight} of {weights:?} was picked");
                    continue;
                }
                chi_square += (count as f64 - expected).powi(2) / expected;
                freedom += 1.0;
            }
            let bound = freedom + 4.0 * f64::sqrt(2.0 * freedom) + 1e-9;
            assert!(
                chi_square <= bound,
                "seed {seed}: chi-square {chi_square} > {bound} for {weights:?}: {counts:?}"
            );
        }
    }

    #[test]
    fn shares_follow_weights() {
        check(&[1.0]);
        check(&[1.0, 1.0]);
        check(&[5.0, 1.0, 1.0]);
        check(&[1.0, 2.0, 3.0, 4.0]);
        check(&[0.0, 3.0, 0.0, 1.0]);
        check(&[1000.0, 1.0, 1.0, 1.0]);
        check(&[1e-300, 2e-300]);
        check(&[f64::MAX / 8.0, f64::MAX / 8.0]);
        check(&[f64::NAN, 1.0, f64::INFINITY, -1.0, 2.0]);
        check(&[0.1; 97]);
        check(&(1..=200).map(f64::from).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_to_pick() {
        let check = |weights: &[f64]| {
            assert_eq!(
                Alias::new(weights.iter().copied()).pick(7),
                None,
                "{weights:?}"
            );
        };
        check(&[]);
        check(&[0.0, 0.0]);
        check(&[f64::NAN, -1.0]);
    }

    #[test]
    fn every_word_falls_on_something() {
        let table = Alias::new([5.0, 0.0, 1.0]);
        for chance in [0, u64::MAX, COIN, !COIN, 1 << 63] {
            let picked = table.pick(chance).expect("a positive weight");
            assert!(picked != 1 && picked < 3, "{chance:#x} picked {picked}");
        }
    }
}
