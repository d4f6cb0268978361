//! Owns what a balancer may be told for all its services, with defaults and reasons.

/// What a balancer may be told, for all its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BalancerSettings {
    /// So many events are kept for a slow subscriber, rounded up to a power of two; 1 to
    /// [`MOST_KEPT`](crate::events::MOST_KEPT). About 200 bytes each, twice.
    pub events_kept: usize,
    /// Fixes the row of random words, for tests. `None`: a generator per thread, which is also faster.
    pub seed: Option<u64>,
    /// Never start the ticker: the program calls [`LoadBalancer::tick`](crate::LoadBalancer::tick).
    pub tick_by_hand: bool,
}

impl Default for BalancerSettings {
    /// 1,024 events: a burst of every backend of a large service changing standing.
    fn default() -> Self {
        Self {
            events_kept: 1_024,
            seed: None,
            tick_by_hand: false,
        }
    }
}

impl BalancerSettings {
    /// The same with so many events kept for a slow subscriber.
    #[must_use]
    pub fn events_kept(self, events_kept: usize) -> Self {
        Self {
            events_kept,
            ..self
        }
    }

    /// The same with a seed, or with none.
    #[must_use]
    pub fn seed(self, seed: impl Into<Option<u64>>) -> Self {
        let seed = seed.into();
        Self { seed, ..self }
    }

    /// The same, ticked by the program or not.
    #[must_use]
    pub fn tick_by_hand(self, tick_by_hand: bool) -> Self {
        Self {
            tick_by_hand,
            ..self
        }
    }
}
