//! Owns rate limits at one moment.

use std::sync::Arc;

use evenkeel_balance::time::Instant;
use evenkeel_proxy::live::Live;
pub use evenkeel_proxy::rates::RateCounts;

/// A rate limit at one moment.
#[derive(Clone, Debug)]
pub struct RateSnapshot {
    /// Where it stands: `rule` or `listener`.
    pub of: &'static str,
    /// The name of that.
    pub name: Arc<str>,
    /// By what it counts, in a word that is unique there.
    pub limit: Arc<str>,
    /// What became of requests.
    pub counts: RateCounts,
    /// Keys whose buckets are not full.
    pub keys: usize,
}

/// All of them. Cost: as many looks as they may have keys together.
pub(super) fn all(live: &Live, now: Instant) -> Vec<RateSnapshot> {
    let rates = live.rates.iter().flat_map(|rates| rates.all());
    let shown = rates.map(|rate| {
        let (of, name) = rate.owner.words();
        RateSnapshot {
            of,
            name: name.into(),
            limit: rate.plan.name.clone(),
            counts: rate.counts(),
            keys: rate.keys(now),
        }
    });
    shown.collect()
}
