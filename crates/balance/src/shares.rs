//! Owns how the exchanges of a service are shared among its tiers, and what of them a zone keeps: arithmetic over weights.
//!
//! ```text
//! health(P) = min(1, overprovision x healthy(P) / whole(P))
//! load(P)   = min(1 - load of those before it, health(P) / min(1, sum of all health))
//! ```
//! Envoy's rule for its priorities, by weight in the place of the number of hosts, and exact where Envoy counts whole percents.
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority>. Reasons:
//! `docs/decisions/0032-tiers-and-zones.md`.

/// A share of 1, in the parts that coins are compared with.
pub(crate) const WHOLE: u64 = 1 << 32;

/// Weight that serves, and all of it that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Capacity {
    pub(crate) healthy: f64,
    pub(crate) whole: f64,
}

impl Capacity {
    pub(crate) fn add(&mut self, other: Self) {
        self.healthy += other.healthy;
        self.whole += other.whole;
    }

    /// What it is taken to carry of what is meant for it, 0 to 1.
    pub(crate) fn health(self, overprovision: f64) -> f64 {
        match self.whole > 0.0 {
            true => (overprovision * self.healthy / self.whole).min(1.0),
            false => 0.0,
        }
    }
}

/// The share of each tier, by their health in order. All are 1 together, or nobody has any health.
pub(crate) fn loads(health: &[f64]) -> Vec<f64> {
    let sum: f64 = health.iter().sum();
    let most = sum.min(1.0);
    let mut left = 1.0_f64;
    let share = |&one: &f64| {
        if sum <= 0.0 {
            return 0.0;
        }
        let load = (one / most).min(left);
        left -= load;
        // What rounding leaves is nobody's share.
        if left < 1e-9 {
            left = 0.0;
        }
        load
    };
    health.iter().map(share).collect()
}

/// A share in parts of [`WHOLE`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "0 to 2^32"
)]
pub(crate) fn parts(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * WHOLE as f64).round() as u64
}

/// Up to where each tier's coins go. The last one that has a share takes what rounding leaves.
pub(crate) fn bounds(loads: &[f64]) -> Vec<u64> {
    let last = loads.iter().rposition(|load| *load > 0.0);
    let mut sum = 0.0;
    let bound = |(at, load): (usize, &f64)| {
        sum += load;
        match last {
            Some(last) if at >= last => WHOLE,
            _ => parts(sum),
        }
    };
    loads.iter().enumerate().map(bound).collect()
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// Healthy percents of each tier, and its share in whole percents, as Envoy's table has them: each is rounded, and no more than
    /// is left.
    #[track_caller]
    fn check(healthy: &[u32], expect: &[u32]) {
        let capacity = |&healthy: &u32| Capacity {
            healthy: f64::from(healthy),
            whole: 100.0,
        };
        let health: Vec<_> = healthy
            .iter()
            .map(|healthy| capacity(healthy).health(1.4))
            .collect();
        let loads = loads(&health);
        let mut left = 100.0_f64;
        let percents: Vec<_> = loads
            .iter()
            .map(|load| {
                let percent = (load * 100.0).round().min(left);
                left -= percent;
                percent
            })
            .collect();
        let expect: Vec<_> = expect.iter().map(|&share| f64::from(share)).collect();
        assert_eq!(percents, expect, "{healthy:?}: {loads:?}");
    }

    #[test]
    fn shares_of_tiers_are_envoys() {
        check(&[100, 100], &[100, 0]);
        check(&[72, 100], &[100, 0]);
        check(&[71, 100], &[99, 1]);
        check(&[50, 100], &[70, 30]);
        check(&[25, 100], &[35, 65]);
        check(&[0, 100], &[0, 100]);
        check(&[25, 25], &[50, 50]);
        check(&[25, 25, 20], &[36, 36, 28]);
        // What is behind a tier that can carry all of it gets nothing, however healthy.
        check(&[50, 25, 100], &[70, 30, 0]);
        check(&[0, 0], &[0, 0]);
        check(&[1], &[100]);
    }

    #[test]
    fn shares_are_all_or_nothing_together_and_never_negative() {
        let mut word = 9;
        let mut random = |most: u64| {
            word = crate::hashing::mix(word, 3);
            u32::try_from(word % most).expect("small")
        };
        for _ in 0..10_000 {
            let tiers = 1 + random(6);
            let factor = 1.0 + f64::from(random(30)) / 10.0;
            let health: Vec<f64> = (0..tiers)
                .map(|_| {
                    let whole = random(4);
                    Capacity {
                        healthy: f64::from(random(u64::from(whole) + 1)),
                        whole: f64::from(whole),
                    }
                    .health(factor)
                })
                .collect();
            let loads = loads(&health);
            let sum: f64 = loads.iter().sum();
            let any = health.iter().any(|health| *health > 0.0);
            assert!(
                (sum - f64::from(u8::from(any))).abs() < 1e-9,
                "{health:?} {loads:?}"
            );
            let bounds = bounds(&loads);
            for (at, load) in loads.iter().enumerate() {
                assert!(*load >= 0.0, "{health:?} {loads:?}");
                assert!(health[at] > 0.0 || *load <= 0.0, "{health:?} {loads:?}");
                let before = at.checked_sub(1).map_or(0, |before| bounds[before]);
                assert!(bounds[at] >= before);
                let part = bounds[at] - before;
                assert!(
                    !any || part.abs_diff(parts(*load)) <= tiers.into(),
                    "{health:?} {loads:?} {bounds:?}"
                );
            }
            // The first one with any health is never without a share.
            let first = health.iter().position(|health| *health > 0.0);
            assert!(first.is_none_or(|first| loads[first] > 0.0));
        }
    }
}
