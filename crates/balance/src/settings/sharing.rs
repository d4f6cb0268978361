//! Owns what an operator may set of how tiers and zones share. What follows from it: `shares`, `membership/parted`.

use crate::setters::setters;
use crate::zone::Zone;

/// How many times its healthy weight a tier, or a zone, is taken to carry: 1 to 1,000, to a thousandth.
///
/// With 1.4, members are taken to be loaded to 71 % at most: a tier takes all of its exchanges until less than that of its weight is
/// healthy, and the part that it lacks goes to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overprovision(u32);

impl Overprovision {
    /// Envoy's.
    pub const DEFAULT: Self = Self(1_400);

    /// So many times; none below 1 and above 1,000.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1,000 to 1,000,000"
    )]
    pub fn new(factor: f64) -> Option<Self> {
        let thousandths = (factor * 1_000.0).round();
        (1_000.0..=1_000_000.0)
            .contains(&thousandths)
            .then_some(Self(thousandths as u32))
    }

    /// How many times.
    #[must_use]
    pub fn factor(self) -> f64 {
        f64::from(self.0) / 1_000.0
    }
}

/// How zones are heeded: who prefers one gets it as far as it has healthy capacity, within each tier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZoneSettings {
    /// The zone of asks that name none ([`Ask::zone`](crate::ask::Ask::zone)); none: they have no preference.
    pub local: Option<Zone>,
    /// A zone with fewer healthy members in a tier than this is preferred by nobody there.
    pub min_backends: u32,
}

setters!(ZoneSettings { min_backends: u32, ; local: Zone, });

impl Default for ZoneSettings {
    /// No zone of its own; a zone of one backend is one. Envoy heeds zones from 6 hosts on, which nobody expects of the two or three
    /// that they configure.
    fn default() -> Self {
        Self {
            local: None,
            min_backends: 1,
        }
    }
}
