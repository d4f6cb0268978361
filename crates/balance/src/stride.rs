//! Owns weighted round robin without a lock: a static stride scheduler over a number that only grows.
//!
//! After gRPC's weighted round robin (`scheduler.go`; <https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md>).
//! The state is one counter of the caller's, so there is nothing to contend for but that. Differs from gRPC in two things: a
//! weight far above the mean gets several columns, which bounds the tries of a pick; and the phases are spread (`PHASE`). Blind to load; read `alias` for dice.

/// Weights are scaled so that the heaviest column has this one.
const FULL: u64 = u16::MAX as u64;

/// The phase between neighbouring columns: the golden section of `FULL`, coprime to it, so that any run of columns
/// is spread over the cycle. gRPC's half a cycle knows two phases: a hundred light backends beside a heavy one take their
/// turns all at once, between runs of 500.
const PHASE: u64 = 40_502;

/// A column holds at most this many times the mean weight; with the columns that this adds, a pick expects at most one
/// try more than this: 64.
const CAP: f64 = 63.0;

/// A cycle of turns. 8 bytes per column; fewer than `n + n / 63 + 1` columns.
#[derive(Clone, Debug)]
pub struct Stride(Box<[Column]>);

#[derive(Clone, Copy, Debug)]
struct Column {
    index: u32,
    /// 1..=FULL
    weight: u16,
}

impl Stride {
    /// A cycle over these weights, by position; `None` when none is positive. O(n log n).
    ///
    /// Only ratios count. A weight that is zero, negative or not finite takes no part. Ratios are kept to
    /// 1/65535 of the heaviest column; a lighter weight than that counts as that.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = f32>) -> Option<Self> {
        let parts: Vec<(u32, f64)> = (0_u32..)
            .zip(weights)
            .filter(|(_, weight)| weight.is_finite() && *weight > 0.0)
            .map(|(index, weight)| (index, f64::from(weight)))
            .collect();
        let count = parts.len() as f64;
        let cap = CAP * parts.iter().map(|(_, weight)| weight).sum::<f64>() / count;
        // The copies of a split weight stand evenly spread among the others; a weight in one column keeps its place.
        let mut placed = Vec::with_capacity(parts.len());
        for ((index, weight), place) in parts.into_iter().zip(0_u32..) {
            let copies = whole(weight / cap);
            for copy in 0..copies {
                let at = (f64::from(copy) + f64::from(place) / count) / f64::from(copies);
                placed.push((at, index, weight / f64::from(copies)));
            }
        }
        placed.sort_by(|one, other| one.0.total_cmp(&other.0));
        let most = placed
            .iter()
            .fold(0.0, |most: f64, (_, _, weight)| most.max(*weight));
        let columns: Box<[Column]> = placed
            .into_iter()
            .map(|(_, index, weight)| Column {
                index,
                weight: of_full(weight / most),
            })
            .collect();
        (!columns.is_empty()).then_some(Self(columns))
    }

    /// The position whose turn it is. `next` gives the next number of a sequence that this cycle's users share,
    /// and is called once per try: at most 64 times on average over a cycle, about once where weights are alike.
    ///
    /// A sequence per worker, from a random start, saves the shared counter and desynchronises the workers.
    /// Equal weights make this plain round robin: number `s` is position `s % n`.
    pub fn pick(&self, mut next: impl FnMut() -> u64) -> usize {
        let count = self.0.len() as u64;
        loop {
            let number = next();
            let (generation, column) = (number / count, number % count);
            if let Some(turn) = usize::try_from(column).ok().and_then(|at| self.0.get(at))
                && turn.is_due(generation, column)
            {
                return turn.index as usize;
            }
        }
    }

    /// The mean number of tries of a pick, 1..=64.
    #[must_use]
    pub fn expected_tries(&self) -> f64 {
        let sum: f64 = self.0.iter().map(|column| f64::from(column.weight)).sum();
        FULL as f64 * self.0.len() as f64 / sum
    }
}

impl Column {
    /// In `weight` of every `FULL` generations, evenly spread.
    const fn is_due(self, generation: u64, column: u64) -> bool {
        let weight = self.weight as u64;
        (weight * (generation % FULL) + (column % FULL) * PHASE) % FULL >= FULL - weight
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive; `as` saturates"
)]
fn whole(times: f64) -> u32 {
    (times.ceil() as u32).max(1)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0..=1 times 65535"
)]
fn of_full(share: f64) -> u16 {
    ((share * f64::from(u16::MAX)).round() as u16).max(1)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn stride(weights: &[f32]) -> Stride {
        Stride::new(weights.iter().copied()).expect("a positive weight")
    }

    fn picks(stride: &Stride, start: u64, count: usize) -> Vec<usize> {
        let mut number = start;
        let mut next = || {
            number = number.wrapping_add(1);
            number.wrapping_sub(1)
        };
        (0..count).map(|_| stride.pick(&mut next)).collect()
    }

    /// Equal weights are plain round robin, in order, from any start.
    #[test]
    fn equal_weights_are_round_robin() {
        let check = |weights: &[f32], start: u64, expect: &[usize]| {
            assert_eq!(
                picks(&stride(weights), start, expect.len()),
                expect,
                "{weights:?} from {start}"
            );
        };
        check(&[1.0; 3], 0, &[0, 1, 2, 0, 1, 2, 0]);
        check(&[7.5; 3], 1, &[1, 2, 0, 1, 2, 0, 1]);
        check(&[1.0; 3], 3 << 40, &[0, 1, 2, 0]);
        check(&[2.0], 5, &[0, 0, 0]);
        check(
            &[0.0, 2.0, f32::NAN, 2.0, -1.0, f32::INFINITY],
            0,
            &[1, 3, 1, 3],
        );
        let many = vec![0.25; 200];
        check(&many, 0, &(0..400).map(|n| n % 200).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_takes_part() {
        let check = |weights: &[f32]| {
            assert!(
                Stride::new(weights.iter().copied()).is_none(),
                "{weights:?}"
            );
        };
        check(&[]);
        check(&[0.0, -1.0, f32::NAN]);
    }

    /// Over a cycle the counts match the weights within 1 %, and no run of one position is longer than `longest`.
    fn check(weights: &[f32], longest: usize) {
        let stride = stride(weights);
        let cycle: u64 = stride.0.iter().map(|column| u64::from(column.weight)).sum();
        let picks = picks(&stride, 0, usize::try_from(cycle).expect("fits"));
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for (position, &weight) in weights.iter().enumerate() {
            let got = picks.iter().filter(|picked| **picked == position).count() as f64
                / picks.len() as f64;
            let share = f64::from(weight) / sum;
            assert!(
                (got - share).abs() <= 0.01 * share,
                "{position} of {weights:?}: share {got}, not {share}"
            );
        }
        let run = picks
            .chunk_by(|one, other| one == other)
            .map(<[usize]>::len)
            .max();
        assert!(run <= Some(longest), "a run of {run:?} with {weights:?}");
        assert!(
            stride.expected_tries() <= 64.0,
            "{} tries with {weights:?}",
            stride.expected_tries()
        );
    }

    #[test]
    fn smooth_and_exact() {
        // R5 of the TypeScript load balancer: "weighted round robin" came in runs of six.
        check(&[5.0, 1.0, 1.0], 3);
        check(&[1.0, 3.0], 3);
        check(&[3.0, 2.0, 1.0], 2);
        check(&[10.0, 1.0], 10);
        check(&[4.0, 4.0, 1.0], 2);
        check(&[0.5, 0.25, 0.125], 2);
        check(&[1000.0, 1.0, 1.0, 1.0], 1000);
    }

    /// Skew beyond 64 times the mean: counts stay exact, the tries stay bounded, turns stay spread.
    #[test]
    fn skew_is_bounded() {
        let skewed = |heavy: f32, light: usize| {
            let mut weights = vec![1.0; light];
            weights.insert(light / 2, heavy);
            weights
        };
        check(&skewed(1_000.0, 99), 30); // 91 times the mean; its fair run is 10
        check(&skewed(1_000.0, 500), 6); // 334 times the mean; its fair run is 2
        check(&skewed(500.0, 500), 3); // 250 times the mean; its fair run is 1
        for weights in [
            skewed(65_535.0, 6_000),
            skewed(1e30, 100),
            skewed(1e-30, 100),
            skewed(1.0, 100),
        ] {
            let tries = stride(&weights).expected_tries();
            assert!((1.0..=64.0).contains(&tries), "{tries} tries");
        }
    }

    #[test]
    fn the_least_weight_still_gets_a_turn() {
        let picks = picks(&stride(&[1e9, 1.0]), 0, 70_000);
        assert!(picks.contains(&1));
    }

    #[test]
    fn the_sequence_may_wrap() {
        let picks = picks(&stride(&[5.0, 1.0, 1.0]), u64::MAX - 3, 50);
        assert!(picks.iter().all(|position| *position < 3));
    }
}
