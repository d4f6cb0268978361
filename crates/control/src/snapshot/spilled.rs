//! Owns what is told of picks beside where they would go first: nothing of what a service has not.

use evenkeel_balance::snapshot::ServiceSnapshot;
use evenkeel_balance::spill::Spill;

/// Of tiers where there are several, of zones where they are heeded.
pub(super) fn spilled(core: &ServiceSnapshot, zones: bool) -> Vec<(Spill, u64)> {
    let asked = |spill: Spill| match spill.is_of_zones() {
        true => zones,
        false => core.tiers.len() > 1,
    };
    let all = core.spilled.into_iter();
    all.filter(|(spill, _)| asked(*spill)).collect()
}
