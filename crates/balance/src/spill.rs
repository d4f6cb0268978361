//! Owns the words for where a pick went, beside where it would go first: which tier, which zone, and why another.

use crate::sync::{AtomicU64, Ordering};

/// What became of a preference. Of tiers: why one behind the first serves. Of zones: whether the one that is preferred does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spill {
    /// Tiers before its own lack healthy capacity, and its own has a part of their exchanges.
    TierHealth,
    /// Nobody of the tier that was drawn could be had: all are full, were tried, or are not in the subset.
    TierFull,
    /// The zone that is preferred serves.
    ZoneKept,
    /// That zone lacks healthy capacity, and keeps a part only.
    ZoneShare,
    /// Nobody of that zone could be had: all are full, were tried, or are not in the subset.
    ZoneFull,
    /// That zone has fewer healthy backends than it must.
    ZoneFew,
    /// That zone has no healthy backend in the tier.
    ZoneNobody,
}

impl Spill {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 7] = [
        Self::TierHealth,
        Self::TierFull,
        Self::ZoneKept,
        Self::ZoneShare,
        Self::ZoneFull,
        Self::ZoneFew,
        Self::ZoneNobody,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TierHealth => "health",
            Self::TierFull | Self::ZoneFull => "full",
            Self::ZoneKept => "kept",
            Self::ZoneShare => "share",
            Self::ZoneFew => "few",
            Self::ZoneNobody => "nobody",
        }
    }

    /// Whether it is of zones; else of tiers.
    #[must_use]
    pub const fn is_of_zones(self) -> bool {
        !matches!(self, Self::TierHealth | Self::TierFull)
    }
}

/// How many picks went where, of a service with tiers or zones.
#[derive(Debug, Default)]
pub(crate) struct Spills([AtomicU64; Spill::ALL.len()]);

impl Spills {
    #[inline]
    pub(crate) fn count(&self, spill: Spill) {
        self.0[spill as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All of them, in the order of [`Spill::ALL`].
    pub(crate) fn read(&self) -> [(Spill, u64); Spill::ALL.len()] {
        Spill::ALL.map(|spill| (spill, self.0[spill as usize].load(Ordering::Relaxed)))
    }
}
