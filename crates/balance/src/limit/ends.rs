//! Owns what an operator may set of adaptive limits.

use std::num::NonZeroU32;

use crate::setters::setters;

/// Between which ends each backend's limit moves, and by what.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdaptiveLimit {
    /// No backend is given fewer at once, whatever is heard of it.
    pub min: NonZeroU32,
    /// None is given more.
    pub max: NonZeroU32,
    /// Where it begins; where that is not between the two, at the nearer one.
    pub start: NonZeroU32,
    /// Answers may take so much longer than while a backend is at its ease, as a share of that: 0.5 is half more.
    pub tolerance: f64,
}

impl AdaptiveLimit {
    /// Fewer than ten at once are told from too many by chance alone; small backends say how few it is. Netflix's start and tolerance. A
    /// thousand is what Envoy's goes up to.
    pub const DEFAULT: Self = Self {
        min: NonZeroU32::new(10).expect("ten is not zero"),
        max: NonZeroU32::new(1000).expect("a thousand is not zero"),
        start: NonZeroU32::new(20).expect("twenty is not zero"),
        tolerance: 0.5,
    };
}

impl Default for AdaptiveLimit {
    fn default() -> Self {
        Self::DEFAULT
    }
}

setters!(AdaptiveLimit {
    min: NonZeroU32,
    max: NonZeroU32,
    start: NonZeroU32,
    tolerance: f64,
    ;
});

impl AdaptiveLimit {
    /// Where they cross, the least holds.
    pub(super) fn ends(&self) -> (f64, f64) {
        let least = f64::from(self.min.get());
        (least, f64::from(self.max.get()).max(least))
    }

    pub(super) fn within(&self, limit: f64) -> f64 {
        let (least, most) = self.ends();
        limit.clamp(least, most)
    }
}
