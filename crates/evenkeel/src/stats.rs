//! Owns what is counted of a service for its program, with the definition of each number.
//!
//! Counts requests, which only the library sees; attempts are counted by the core. Each number has one meaning here and
//! in every field of that name:
//!
//! | number | what it counts |
//! |---|---|
//! | request | one call of [`exchange`](ServiceHandle::exchange), or of a service for tower, whatever it takes |
//! | attempt | one pick: of a request, of its retries, and those that the program takes with `select` |
//! | succeeded | a request whose caller got `Ok`; an attempt that ended with a good head and an unbroken body |
//! | failed | a request whose caller got an error, refusals too; an attempt whose verdict, or broken body, was a failure |
//! | success rate | succeeded of succeeded and failed; none before the first of either |
//!
//! So one request with three retries that all fail is one request that failed, and four attempts that failed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use evenkeel_balance::backend::{BackendId, Counts};
use evenkeel_balance::breaker::Gate;
use evenkeel_balance::learn::histogram::{Histogram, Snapshot};
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::snapshot::BackendSnapshot;
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;

use crate::balancer::LoadBalancer;
use crate::clock::Clock;
use crate::service::ServiceHandle;

/// A service in numbers. Present members count; what was sent to those that left is forgotten with them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceStats {
    /// Its name.
    pub service: Arc<str>,
    /// Its requests since it was registered.
    pub requests: Requests,
    /// The attempts of all members, summed; `in_flight` are under way now.
    pub attempts: Counts,
    /// Members.
    pub members: usize,
    /// Members that may be picked without failing open.
    pub healthy: usize,
    /// Members whose breaker is open; half-open is not.
    pub breakers_open: usize,
    /// Mean time to the response head: of the members' means, each by its successes. Members without one do not count.
    pub latency: Option<Duration>,
    /// The distribution of it over all members, where the settings keep `histograms`.
    pub latencies: Option<Snapshot>,
    /// Picks that were refused, by why; each retry and each place in a queue that was not had counts.
    pub refused: BTreeMap<Refusal, u64>,
    /// Its members, in the order of configuration.
    pub backends: Vec<BackendStats>,
}

/// Requests of a service. `started` is the sum of the other four, also while they are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// All of them.
    pub started: u64,
    /// The caller got its result.
    pub succeeded: u64,
    /// The caller got an error.
    pub failed: u64,
    /// The caller left: its future was dropped, or it panicked.
    pub left: u64,
    /// Those that have no end yet.
    pub under_way: u64,
    /// Time to the end of those that succeeded or failed, waits and retries included: to the response head, where a body
    /// is followed. None before the first.
    pub durations: Option<Snapshot>,
}

impl Requests {
    /// Succeeded of succeeded and failed, 0 to 1; none before the first of either.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        rate(self.succeeded, self.failed)
    }

    /// The time that a share `q` of the requests did not exceed, at most 1.6 % off.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        self.durations.as_ref()?.quantile(q)
    }
}

/// A backend in numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendStats {
    /// Its identity.
    pub id: BackendId,
    /// May it be picked?
    pub standing: Standing,
    /// Its attempts since it joined.
    pub attempts: Counts,
    /// Mean time to the response head over its successes, weight 0.2 for the newest.
    pub latency: Option<Duration>,
    /// The distribution of it, where the settings keep `histograms`.
    pub latencies: Option<Snapshot>,
    /// Its breaker is open.
    pub breaker_open: bool,
}

impl BackendStats {
    /// Succeeded of succeeded and failed, 0 to 1; none before the first of either.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        rate(self.attempts.succeeded, self.attempts.failed)
    }

    /// The latency that a share `q` of the successes did not exceed, at most 1.6 % off; none without `histograms`.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        self.latencies.as_ref()?.quantile(q)
    }

    fn of(backend: BackendSnapshot) -> Self {
        Self {
            id: backend.id,
            standing: backend.standing,
            attempts: backend.counts,
            latency: backend.latency,
            latencies: backend.latencies,
            breaker_open: backend.gate == Gate::Open,
        }
    }
}

impl ServiceStats {
    /// The member with this identity.
    #[must_use]
    pub fn backend(&self, id: &str) -> Option<&BackendStats> {
        self.backends
            .iter()
            .find(|backend| backend.id.as_str() == id)
    }

    /// Attempts that succeeded of those that succeeded or failed, 0 to 1; none before the first of either.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        rate(self.attempts.succeeded, self.attempts.failed)
    }

    /// The latency that a share `q` of the successes of all members did not exceed; none without `histograms`.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        self.latencies.as_ref()?.quantile(q)
    }
}

impl ServiceHandle {
    /// The service and its members in numbers. Cost: members, 8 KiB for each where `histograms` are kept.
    #[must_use]
    pub fn stats(&self) -> ServiceStats {
        let snapshot = self.snapshot();
        let healthy = snapshot.healthy();
        let backends: Vec<BackendStats> = snapshot
            .backends
            .into_iter()
            .map(BackendStats::of)
            .collect();
        let core = &self.service.core;
        let refused = Refusal::ALL.map(|refusal| (refusal, core.refusals(refusal)));
        ServiceStats {
            service: snapshot.name,
            requests: self.service.requests.read(),
            attempts: summed(&backends),
            members: backends.len(),
            healthy,
            breakers_open: backends.iter().filter(|one| one.breaker_open).count(),
            latency: mean(&backends),
            latencies: merged(&backends),
            refused: refused.into_iter().collect(),
            backends,
        }
    }
}

impl LoadBalancer {
    /// A service and its members in numbers; none for an unknown one. Cost: members.
    #[must_use]
    pub fn stats(&self, service: &str) -> Option<ServiceStats> {
        self.service(service).map(|service| service.stats())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 53 bits"
)]
fn rate(succeeded: u64, failed: u64) -> Option<f64> {
    let all = succeeded.saturating_add(failed);
    (all > 0).then(|| succeeded as f64 / all as f64)
}

fn summed(backends: &[BackendStats]) -> Counts {
    let attempts = backends.iter().map(|one| one.attempts);
    attempts.fold(Counts::default(), Counts::plus)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a mean needs no more than 53 bits"
)]
fn mean(backends: &[BackendStats]) -> Option<Duration> {
    let (mut seconds, mut weight) = (0.0, 0.0);
    for one in backends {
        if let Some(latency) = one.latency {
            // A mean that was carried over from another process has no success of this one yet.
            let successes = one.attempts.succeeded.max(1) as f64;
            seconds += latency.as_secs_f64() * successes;
            weight += successes;
        }
    }
    (weight > 0.0).then(|| Duration::from_secs_f64(seconds / weight))
}

fn merged(backends: &[BackendStats]) -> Option<Snapshot> {
    let mut all = backends.iter().filter_map(|one| one.latencies.as_ref());
    let mut sum = all.next()?.clone();
    all.for_each(|one| sum.merge(one));
    Some(sum)
}

/// The requests of one service, as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    started: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    left: AtomicU64,
    /// 4 KiB, from the first end on.
    durations: OnceLock<Histogram>,
}

impl Counted {
    pub(crate) fn begin(self: &Arc<Self>, clock: Clock) -> Begun {
        self.started.fetch_add(1, Ordering::Relaxed);
        Begun {
            counted: Some(self.clone()),
            at: clock.now(),
            clock,
        }
    }

    pub(crate) fn read(&self) -> Requests {
        // The ends first, and acquired: nobody is read to have ended who is not read to have begun.
        let succeeded = self.succeeded.load(Ordering::Acquire);
        let failed = self.failed.load(Ordering::Acquire);
        let left = self.left.load(Ordering::Acquire);
        let started = self.started.load(Ordering::Relaxed);
        Requests {
            started,
            succeeded,
            failed,
            left,
            under_way: started.saturating_sub(succeeded + failed + left),
            durations: self.durations.get().map(Histogram::snapshot),
        }
    }
}

/// One request that has begun. Dropped without an end, its caller left.
#[derive(Debug)]
pub(crate) struct Begun {
    counted: Option<Arc<Counted>>,
    at: Instant,
    clock: Clock,
}

impl Begun {
    pub(crate) fn end(mut self, succeeded: bool) {
        if let Some(counted) = self.counted.take() {
            let durations = counted.durations.get_or_init(Histogram::default);
            durations.record(self.clock.now().since(self.at));
            let ended = match succeeded {
                true => &counted.succeeded,
                false => &counted.failed,
            };
            ended.fetch_add(1, Ordering::Release);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(counted) = self.counted.take() {
            counted.left.fetch_add(1, Ordering::Release);
        }
    }
}
