//! Owns how counters that only rise become what ended within a second, of a service and of a backend of it.

use std::time::Duration;

use evenkeel_balance::learn::histogram::Snapshot;
use evenkeel_balance::snapshot::BackendSnapshot;
use evenkeel_watch::interval::Interval;
use evenkeel_watch::latencies::Latencies;

use crate::stats::Counted;

/// One's counters of before.
#[derive(Debug, Default)]
pub(super) struct Tap {
    succeeded: u64,
    failed: u64,
    latencies: Option<Snapshot>,
}

impl Tap {
    /// What ended of the attempts on a backend. Without a histogram all that succeeded took as long as its mean.
    pub(super) fn backend(&mut self, one: &BackendSnapshot, millis: u32) -> Interval {
        let counts = (one.counts.succeeded, one.counts.failed);
        let up = one.standing.is_well();
        self.turn(counts, one.latencies.as_ref(), one.latency, (millis, up))
    }

    fn turn(
        &mut self,
        (succeeded, failed): (u64, u64),
        latencies: Option<&Snapshot>,
        mean: Option<Duration>,
        (millis, up): (u32, bool),
    ) -> Interval {
        // Fewer than before are those of another one of that name.
        let more = |before: &mut u64, now: u64| {
            let more = now.checked_sub(*before).unwrap_or(now);
            *before = now;
            u32::try_from(more).unwrap_or(u32::MAX)
        };
        let began_anew = succeeded < self.succeeded;
        let good = more(&mut self.succeeded, succeeded);
        let bad = more(&mut self.failed, failed);
        let before = self.latencies.take().filter(|_| !began_anew);
        let mut all = Latencies::default();
        if let Some(now) = latencies {
            let since = match &before {
                Some(before) => now.since(before),
                None => now.clone(),
            };
            for (latency, count) in since.each() {
                put(&mut all, latency, count);
            }
            self.latencies = Some(now.clone());
        } else if let Some(mean) = mean {
            put(&mut all, mean, good.into());
        }
        Interval {
            millis,
            requests: good.saturating_add(bad),
            errors: bad,
            latencies: all,
            up,
        }
    }
}

/// What ended of a service: of its requests, once one was an exchange, else of its attempts.
pub(super) fn ended(
    whole: &mut Tap,
    requests: &Counted,
    each: &[Interval],
    (millis, up): (u32, bool),
) -> Interval {
    let seen = requests.read();
    let counts = (seen.succeeded, seen.failed);
    let exchanges = whole.turn(counts, seen.durations.as_ref(), None, (millis, up));
    if seen.started > 0 {
        return exchanges;
    }
    let mut all = Interval {
        millis,
        up,
        ..Interval::default()
    };
    for one in each {
        all.requests = all.requests.saturating_add(one.requests);
        all.errors = all.errors.saturating_add(one.errors);
        all.latencies.merge(&one.latencies);
    }
    all
}

fn put(all: &mut Latencies, latency: Duration, count: u64) {
    let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
    all.add(nanos, u32::try_from(count).unwrap_or(u32::MAX));
}
