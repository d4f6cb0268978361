//! Owns what one tick brings of a service or a backend: what ended since the last tick.

use crate::latencies::Latencies;

/// What ended within a stretch of time. For a service, of exchanges; for a backend, of attempts on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// How long it was, in milliseconds.
    pub millis: u32,
    /// What ended.
    pub requests: u32,
    /// How many of them failed, at most all.
    pub errors: u32,
    /// How long those took that succeeded, to the response head.
    pub latencies: Latencies,
    /// May the backend be picked, or has the service one that may. What an operator took out counts as up: nothing is wrong with it.
    pub up: bool,
}

impl Interval {
    /// How many failed, where a feed that counts them apart may be ahead by some.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.errors.min(self.requests)
    }
}
