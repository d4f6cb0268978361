//! Owns what windows of load in pairs say, one disturbed and one calm: what the disturbance adds, how surely, and whether that is too much.
//!
//! A figure past the balancer is the machine's. What is judged is a difference of differences: of what was seen through it and past it at the
//! same time, disturbed and calm. The mean is without a fifth of the pairs at either end, its interval Yuen's (as `bench/harness/ratio.py` has
//! it): a pause of the machine in one window decides nothing, and one in many makes the interval wide. But what strikes seldom and hard is cut
//! off with the pauses, so that nothing is reached that is not by the mean of all pairs too.

/// What a disturbance may add to requests over 5 ms, in a thousand: one of ten thousand. As an instance that stood still for 6 ms once in each
/// window would make those of its first millisecond late, one of two thousand, this is a fifth of the least stop of all of it.
pub(super) const MOST: f64 = 0.1;

/// So many late ones in a thousand of calm windows, and nothing is decided: a request that is late anyway shows no disturbance.
pub(super) const CROWDED: f64 = 50.0;

/// Of the pairs, at either end.
const TRIMMED: f64 = 0.2;

/// Two-sided 95 % quantiles of Student's t by degrees of freedom, from 1.
const T_95: [f64; 20] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
];

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Added {
    pub(super) middle: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// The mean of all, those at the ends too.
    pub(super) all: f64,
    /// The largest.
    pub(super) worst: f64,
}

/// What an interval says of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Reached,
    Missed,
    /// It holds the bound, or those that it leaves out are beyond.
    Open,
}

impl Verdict {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Missed => "MISSED",
            Self::Open => "not decided",
        }
    }
}

impl Added {
    /// The mean of these. Of fewer than two nothing is known of how sure it is.
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let out = (TRIMMED * count as f64) as usize;
        let kept = values.get(out..count - out).unwrap_or_default();
        let left = kept.len() as f64;
        let middle = kept.iter().sum::<f64>() / left.max(1.0);
        let all = values.iter().sum::<f64>() / count.max(1) as f64;
        let worst = values.last().copied().unwrap_or_default();
        let (Some(first), Some(last), true) = (kept.first(), kept.last(), count > 1) else {
            return Self {
                middle,
                low: f64::NEG_INFINITY,
                high: f64::INFINITY,
                all,
                worst,
            };
        };
        // Each end stands for those that it lost.
        let winsorized: Vec<f64> = values
            .iter()
            .map(|value| value.clamp(*first, *last))
            .collect();
        let mean = winsorized.iter().sum::<f64>() / count as f64;
        let squares: f64 = winsorized.iter().map(|value| (value - mean).powi(2)).sum();
        let t = T_95[(kept.len() - 2).min(T_95.len() - 1)];
        let half = t * (squares / (left * (left - 1.0))).sqrt();
        Self {
            middle,
            low: middle - half,
            high: middle + half,
            all,
            worst,
        }
    }

    pub(super) fn verdict(self, most: f64) -> Verdict {
        match () {
            () if self.high <= most && self.all <= most => Verdict::Reached,
            () if self.low > most => Verdict::Missed,
            () => Verdict::Open,
        }
    }

    pub(super) fn shown(self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.middle, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], middle: f64, half: f64, verdict: Verdict) {
        let found = Added::of(values.to_vec());
        for (got, wanted) in [
            (found.middle, middle),
            (found.low, middle - half),
            (found.high, middle + half),
        ] {
            assert!(
                (got - wanted).abs() < 0.01 || got == wanted,
                "{values:?}: {found:?}"
            );
        }
        assert_eq!(found.verdict(MOST), verdict, "{values:?}");
    }

    /// By hand, from the tables of Student's t.
    #[test]
    fn means_and_what_they_say() {
        check(&[0.0; 10], 0.0, 0.0, Verdict::Reached);
        check(&[1.0; 10], 1.0, 0.0, Verdict::Missed);
        check(&[-3.0; 10], -3.0, 0.0, Verdict::Reached);
        check(&[1.0, 2.0, 3.0], 2.0, 4.303 / 3.0_f64.sqrt(), Verdict::Open);
        // Two that the machine hit decide nothing, whichever way.
        let mut hit = vec![0.0; 8];
        hit.extend([500.0, -500.0]);
        check(&hit, 0.0, 0.0, Verdict::Reached);
        // Two that one side alone has are cut off, and not forgotten.
        let mut struck = vec![0.0; 8];
        struck.extend([500.0; 2]);
        check(&struck, 0.0, 0.0, Verdict::Open);
        let found = Added::of(struck);
        assert_eq!((found.all, found.worst), (100.0, 500.0));
        // Half of them, and nothing is known: of ten, six are left, three of 0 and three of 2.
        let half = 2.571 * (10.0_f64 / 30.0).sqrt();
        check(&[0.0, 2.0].repeat(5), 1.0, half, Verdict::Open);
        check(&[7.0], 7.0, f64::INFINITY, Verdict::Open);
        check(&[], 0.0, f64::INFINITY, Verdict::Open);
    }
}
