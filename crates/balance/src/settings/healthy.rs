//! Owns how many backends must be healthy, that health is believed. What follows from too few: `membership/stand`.

use crate::setters::setters;

/// The fewest backends that are worth believing; with fewer it is as if none were healthy ([`OnAllDown`](super::OnAllDown) says what then).
///
/// A backend that waits for its first check counts as healthy: nothing bad is known of it. One that drains, is disabled or has weight 0
/// counts nowhere: it is out because somebody said so.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MinHealthy {
    /// So many, of all tiers together.
    pub count: u32,
    /// Such a share of one tier, 0 to 1. One tier that has it is enough: a standby that is whole is what it stands by for.
    pub share: f64,
}

impl Default for MinHealthy {
    /// ALB's: one is enough. Envoy believes no health below half, which takes backends that are known to be down for better ones
    /// than those that are left.
    fn default() -> Self {
        Self {
            count: 1,
            share: 0.0,
        }
    }
}

setters!(MinHealthy { count: u32, share: f64, ; });

impl MinHealthy {
    /// Whether it is met by so many of so many in each tier.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a million members are counted exactly"
    )]
    pub(crate) fn is_met(&self, tiers: impl Iterator<Item = (usize, usize)>) -> bool {
        // 7 % of 100 is a little more than 7.
        let of_tier = |healthy: usize, of: usize| healthy as f64 + 1e-6 >= self.share * of as f64;
        let (mut count, mut share) = (0_usize, false);
        for (healthy, of) in tiers {
            count += healthy;
            share |= healthy > 0 && of_tier(healthy, of);
        }
        share && usize::try_from(self.count).is_ok_and(|least| count >= least)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_all_and_such_a_share_of_one() {
        let check = |count: u32, percent: u32, tiers: &[(usize, usize)], expect: bool| {
            let share = f64::from(percent) / 100.0;
            let least = MinHealthy { count, share };
            let met = least.is_met(tiers.iter().copied());
            assert_eq!(met, expect, "{count}, {percent} % of {tiers:?}");
        };
        check(1, 0, &[(1, 10)], true);
        check(0, 0, &[(1, 10)], true);
        check(1, 0, &[(0, 10)], false);
        check(0, 0, &[(0, 10)], false);
        check(3, 0, &[(2, 10)], false);
        check(3, 0, &[(3, 10)], true);
        check(0, 50, &[(4, 10)], false);
        check(0, 50, &[(5, 10)], true);
        check(0, 100, &[(9, 10)], false);
        check(0, 100, &[(10, 10)], true);
        for of in 1..=200_usize {
            for percent in 1..=100 {
                let least = (of * percent).div_ceil(100);
                let percent = u32::try_from(percent).expect("small");
                check(0, percent, &[(least, of)], true);
                check(0, percent, &[(least - 1, of)], false);
            }
        }
        // Tiers: a count is of all of them, a share of any.
        check(4, 0, &[(2, 5), (2, 5)], true);
        check(5, 0, &[(2, 5), (2, 5)], false);
        check(0, 50, &[(0, 10), (2, 2)], true);
        check(0, 50, &[(4, 10), (0, 2)], false);
        check(3, 50, &[(0, 10), (2, 2)], false);
        check(0, 50, &[], false);
    }
}
