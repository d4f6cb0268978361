//! Owns the one predicate that says who may be picked, and why not.
//!
//! It has two halves because it is asked at two times: `admission` when a table is published (standing and weight,
//! for all exchanges alike), `bar` when one exchange asks (tried, subset, full). Explaining asks the same two.

use crate::ask::Ask;
use crate::standing::Standing;
use crate::table::Lane;

/// Why a backend may not be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bar {
    /// Its standing forbids it.
    Standing(Standing),
    /// Its weight is 0.
    ZeroWeight,
    /// Tiers before its own serve: only who finds nobody there comes here.
    Standby,
    /// It is healthy, but fewer are than must be, and the service refuses.
    FewHealthy,
    /// It is half-open and its trials are all under way.
    NoTrialLeft,
    /// The caller's subset does not hold it.
    NotInSubset,
    /// An earlier attempt of the exchange went there.
    Tried,
    /// It has as many attempts in flight as it may.
    Full,
}

impl Bar {
    /// The word for it; of a standing, the standing's own.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Standing(standing) => standing.word(),
            Self::ZeroWeight => "zero_weight",
            Self::Standby => "standby",
            Self::FewHealthy => "few_healthy",
            Self::NoTrialLeft => "no_trial_left",
            Self::NotInSubset => "not_in_subset",
            Self::Tried => "tried",
            Self::Full => "full",
        }
    }
}

/// How far down the ladder a service stands: the first rung on which somebody may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// Proven backends serve.
    Proven,
    /// No proven one exists: the unproven serve.
    Unproven,
    /// None is healthy, or too few are: all serve that are not draining, disabled or of weight 0.
    FailOpen,
    /// None is healthy, or too few are, and the service refuses.
    AllDown,
}

impl Rung {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Unproven => "unproven",
            Self::FailOpen => "fail_open",
            Self::AllDown => "all_down",
        }
    }
}

/// Where a service stands: on which rung, and by which tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footing {
    pub(crate) rung: Rung,
    /// The first one that serves. None: no tier is healthy, or too few backends are, and none stands by.
    pub(crate) tier: Option<u16>,
    /// The last one that has a share; those behind it stand by. Not before it.
    pub(crate) last: Option<u16>,
}

/// Where a member stands in a published table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Lane,
    /// A lane that only who finds nobody in the tiers before comes to: it stands by.
    Reserve,
    Trial,
    Barred(Bar),
}

impl Admission {
    /// Whether it has a lane.
    pub(crate) const fn has_lane(self) -> bool {
        matches!(self, Self::Lane | Self::Reserve)
    }
}

/// The half that is the same for all exchanges.
pub(crate) fn admission(
    standing: Standing,
    zero_weight: bool,
    tier: u16,
    footing: Footing,
) -> Admission {
    use Standing::{Disabled, Down, Draining, Ejected, Probing, Serving, Unproven};
    let rung = footing.rung;
    match standing {
        Disabled | Draining => Admission::Barred(Bar::Standing(standing)),
        _ if zero_weight => Admission::Barred(Bar::ZeroWeight),
        Serving | Unproven | Probing if footing.last.is_some_and(|last| tier > last) => {
            match (standing, rung) {
                (Serving, _) | (Unproven, Rung::Unproven) => Admission::Reserve,
                // Not even for a trial: whoever stands by hears of no traffic that others can take.
                _ => Admission::Barred(Bar::Standby),
            }
        }
        Serving | Unproven if rung == Rung::AllDown => Admission::Barred(Bar::FewHealthy),
        Serving => Admission::Lane,
        Unproven | Down | Ejected | Probing if rung == Rung::FailOpen => Admission::Lane,
        Unproven if rung == Rung::Unproven => Admission::Lane,
        Probing => Admission::Trial,
        Unproven | Down | Ejected => Admission::Barred(Bar::Standing(standing)),
    }
}

/// Whether a member that new clients may not have still serves those who are kept there: it drains, waits for its first check, stands
/// by, or has no weight. Nothing that is known of it is bad. A service that refuses because few are healthy keeps nobody
/// on those; who drains, or has no weight, serves out what it has.
pub(crate) fn keeps(standing: Standing, admission: Admission) -> bool {
    match standing {
        Standing::Draining => true,
        Standing::Serving | Standing::Unproven => {
            matches!(admission, Admission::Barred(bar) if bar != Bar::FewHealthy)
        }
        Standing::Disabled | Standing::Down | Standing::Ejected | Standing::Probing => false,
    }
}

/// The half that one exchange asks. The cheap case, nothing tried, no subset and no limit, is three comparisons.
#[inline]
pub(crate) fn bar(lane: &Lane, ask: &Ask<'_>) -> Option<Bar> {
    if !ask.tried.is_empty() && ask.tried.contains(&lane.backend) {
        Some(Bar::Tried)
    } else if ask
        .subset
        .is_some_and(|subset| !subset.contains(lane.backend.id()))
    {
        Some(Bar::NotInSubset)
    } else if lane.limit != u32::MAX && lane.backend.in_flight() >= lane.limit {
        Some(Bar::Full)
    } else {
        None
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn who_is_admitted_on_which_rung() {
        use Rung::{AllDown, FailOpen, Proven};
        use Standing::{Disabled, Down, Draining, Ejected, Probing, Serving, Unproven};
        let barred = |standing| Admission::Barred(Bar::Standing(standing));
        let few = Admission::Barred(Bar::FewHealthy);
        let standby = Admission::Barred(Bar::Standby);
        let footing = |rung, last| Footing {
            rung,
            tier: last,
            last,
        };
        let rows = [
            (Serving, false, Proven, Admission::Lane),
            (Serving, true, Proven, Admission::Barred(Bar::ZeroWeight)),
            (Serving, true, FailOpen, Admission::Barred(Bar::ZeroWeight)),
            (Serving, false, FailOpen, Admission::Lane),
            (Serving, false, AllDown, few),
            (Unproven, false, AllDown, few),
            (Probing, false, AllDown, Admission::Trial),
            (Down, false, AllDown, barred(Down)),
            (Unproven, false, Proven, barred(Unproven)),
            (Unproven, false, Rung::Unproven, Admission::Lane),
            (Unproven, false, FailOpen, Admission::Lane),
            (Probing, false, Proven, Admission::Trial),
            (Probing, false, FailOpen, Admission::Lane),
            (Probing, true, Proven, Admission::Barred(Bar::ZeroWeight)),
            (Ejected, false, Proven, barred(Ejected)),
            (Ejected, false, Rung::Unproven, barred(Ejected)),
            (Ejected, false, FailOpen, Admission::Lane),
            (Down, false, Rung::Unproven, barred(Down)),
            (Down, false, FailOpen, Admission::Lane),
            (Draining, false, FailOpen, barred(Draining)),
            (Disabled, false, FailOpen, barred(Disabled)),
        ];
        for (standing, zero, rung, expected) in rows {
            let tier = (rung < FailOpen).then_some(0);
            assert_eq!(
                admission(standing, zero, 0, footing(rung, tier)),
                expected,
                "{standing} zero={zero} {rung:?}"
            );
        }
        // In tier 1, by the tier that serves.
        let rows = [
            (Serving, false, Proven, Some(0), Admission::Reserve),
            (Serving, false, Proven, Some(1), Admission::Lane),
            (Serving, false, Proven, Some(2), Admission::Lane),
            (
                Serving,
                true,
                Proven,
                Some(0),
                Admission::Barred(Bar::ZeroWeight),
            ),
            (Unproven, false, Rung::Unproven, Some(0), Admission::Reserve),
            (Unproven, false, Proven, Some(0), standby),
            (Unproven, false, Rung::Unproven, Some(1), Admission::Lane),
            (Probing, false, Proven, Some(0), standby),
            (Probing, false, Proven, Some(1), Admission::Trial),
            (Probing, false, FailOpen, None, Admission::Lane),
            (Ejected, false, Proven, Some(0), barred(Ejected)),
            (Down, false, Proven, Some(0), barred(Down)),
            (Down, false, FailOpen, None, Admission::Lane),
            (Draining, false, Proven, Some(0), barred(Draining)),
        ];
        for (standing, zero, rung, tier, expected) in rows {
            assert_eq!(
                admission(standing, zero, 1, footing(rung, tier)),
                expected,
                "{standing} zero={zero} {rung:?} {tier:?}"
            );
        }
    }
}
