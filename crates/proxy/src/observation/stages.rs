//! Owns where the time of exchanges went: waiting for a place, the decision, connecting, the backend; and what failing over took.

use std::time::Duration;

use super::{Count, Distribution, Durations, LATENCY_BOUNDS, MICRO, Observation};
use crate::reason::Blame;

/// Upper bounds of the buckets for decisions, in nanoseconds; above the last is one more.
const DECISION_BOUNDS: [u64; 10] = [
    250,
    500,
    MICRO,
    2_500,
    5 * MICRO,
    10 * MICRO,
    25 * MICRO,
    50 * MICRO,
    100 * MICRO,
    1_000 * MICRO,
];

/// Of so many decisions one is timed: to look at the clock once more would cost each of them a tenth of itself.
pub const DECISIONS_PER_SAMPLE: u64 = 64;

/// Where failing over led, by word: to an answer, whatever its client did then; to none, or to one that says that its backend failed; to
/// nothing, as the client did not wait.
const ENDS: [&str; 3] = ["served", "failed", "left"];

/// At its place among [`ENDS`].
fn end(seen: &Observation) -> usize {
    let blame = seen.reason.blame();
    let broke = matches!(blame, Blame::Backend | Blame::Machine);
    // A tunnel is served with the change of protocol.
    let served = matches!(seen.status, 100..=499) && (seen.switched.is_some() || !broke);
    match (seen.head.is_some(), blame) {
        (true, _) if served => 0,
        (_, Blame::Client) if seen.status < 500 => 2,
        _ => 1,
    }
}

/// One worker's counters of where the time of one service's exchanges went.
#[derive(Debug, Default)]
pub struct StageCounters {
    /// Waiting, of those that had to.
    queue: Durations<{ LATENCY_BOUNDS.len() }>,
    /// Connecting, in their last attempt, of those that found no connection kept.
    connect: Durations<{ LATENCY_BOUNDS.len() }>,
    /// From the connection to the response head, in their last attempt, of those that got one.
    head: Durations<{ LATENCY_BOUNDS.len() }>,
    /// Deciding who gets an exchange, of one in [`DECISIONS_PER_SAMPLE`].
    decision: Durations<{ DECISION_BOUNDS.len() }>,
    failovers: [Count; ENDS.len()],
    /// Failing over, of those that were served then.
    failover: Durations<{ LATENCY_BOUNDS.len() }>,
}

/// Where the time of a service's exchanges went.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    /// Waiting for a place, of those that had to.
    pub queue: Distribution,
    /// Connecting, of those that found no connection kept.
    pub connect: Distribution,
    /// From the connection to the response head.
    pub head: Distribution,
    /// Deciding who gets an exchange, of one in [`DECISIONS_PER_SAMPLE`].
    pub decision: Distribution,
    /// Exchanges that went on after an attempt that failed, by how they ended.
    pub failovers: Vec<(&'static str, u64)>,
    /// Of those that were served then: from the first attempt that failed to the response head that the client got, with all between.
    pub failover: Distribution,
}

impl StageCounters {
    /// Takes an exchange in.
    #[inline]
    pub(super) fn observe(&self, seen: &Observation) {
        if !seen.queue.is_zero() {
            self.waited(seen);
        }
        if let Some(connect) = seen.connect {
            self.connect.observe(&LATENCY_BOUNDS, connect);
        }
        if let Some(head) = seen.head {
            self.head.observe(&LATENCY_BOUNDS, head);
        }
        if let Some(took) = seen.failover {
            self.failed_over(seen, took);
        }
    }

    #[cold]
    fn waited(&self, seen: &Observation) {
        let elsewhere = seen.refused.map(|refused| refused.queue);
        let here = seen.queue.saturating_sub(elsewhere.unwrap_or_default());
        if !here.is_zero() {
            self.queue.observe(&LATENCY_BOUNDS, here);
        }
    }

    #[cold]
    fn failed_over(&self, seen: &Observation, took: Duration) {
        let end = end(seen);
        self.failovers[end].add(1);
        if end == 0 {
            self.failover.observe(&LATENCY_BOUNDS, took);
        }
    }

    /// A decision was timed.
    pub(crate) fn decided(&self, took: Duration) {
        self.decision.observe(&DECISION_BOUNDS, took);
    }

    /// Those of all workers.
    pub fn together<'s>(all: impl Iterator<Item = &'s Self> + Clone) -> Stages {
        let of = |one: fn(&Self) -> &Durations<{ LATENCY_BOUNDS.len() }>| {
            Durations::together(&LATENCY_BOUNDS, all.clone().map(one))
        };
        let ended = |end: usize| all.clone().map(|one| one.failovers[end].get()).sum::<u64>();
        Stages {
            queue: of(|one| &one.queue),
            connect: of(|one| &one.connect),
            head: of(|one| &one.head),
            failovers: ENDS.into_iter().zip((0..).map(ended)).collect(),
            failover: of(|one| &one.failover),
            decision: Durations::together(&DECISION_BOUNDS, all.map(|one| &one.decision)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::reason::Reason;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn seen() -> Observation {
        Observation::begin(Ipv4Addr::LOCALHOST.into())
    }

    /// What an exchange did not do is in no row.
    #[test]
    fn each_part_of_an_exchange_has_its_own_row() {
        let check = |seen: Observation, expect: [u64; 4]| {
            let row = StageCounters::default();
            row.observe(&seen);
            let all = StageCounters::together([&row].into_iter());
            let counts = [&all.queue, &all.connect, &all.head, &all.failover];
            assert_eq!(counts.map(Distribution::count), expect, "{seen:?}");
            let sums = [&all.queue, &all.connect, &all.head].map(|one| one.sum);
            let expect = [Some(seen.queue), seen.connect, seen.head];
            assert_eq!(sums, expect.map(Option::unwrap_or_default));
        };
        check(seen(), [0, 0, 0, 0]);
        let queue = millis(7);
        check(Observation { queue, ..seen() }, [1, 0, 0, 0]);
        let connect = Some(millis(3));
        check(Observation { connect, ..seen() }, [0, 1, 0, 0]);
        let head = Some(Duration::ZERO);
        check(Observation { head, ..seen() }, [0, 0, 1, 0]);
    }

    #[test]
    fn failing_over_takes_from_the_failure_to_the_head_that_served() {
        let check = |seen: Observation, ends: [u64; 3], sum| {
            let row = StageCounters::default();
            row.observe(&seen);
            let all = StageCounters::together([&row].into_iter());
            let expect: Vec<_> = ENDS.into_iter().zip(ends).collect();
            assert_eq!((all.failovers, all.failover.sum), (expect, sum), "{seen:?}");
        };
        let ended = |reason, status, head: Option<u64>| Observation {
            failover: Some(millis(100)),
            connect: Some(millis(20)),
            head: head.map(millis),
            reason,
            status,
            ..seen()
        };
        const SERVED: ([u64; 3], Duration) = ([1, 0, 0], millis(100));
        const FAILED: ([u64; 3], Duration) = ([0, 1, 0], Duration::ZERO);
        const LEFT: ([u64; 3], Duration) = ([0, 0, 1], Duration::ZERO);
        for (reason, status, head, (ends, sum)) in [
            (Reason::Served, 200, Some(3), SERVED),
            (Reason::Served, 404, Some(3), SERVED),
            (Reason::Served, 502, Some(3), FAILED),
            (Reason::ConnectFailed, 502, None, FAILED),
            (Reason::BodyBroken, 200, Some(3), FAILED),
            // What a client does with its answer is its own.
            (Reason::ClientLeft, 200, Some(3), SERVED),
            (Reason::ClientStalled, 200, Some(3), SERVED),
            (Reason::ClientLeft, 503, Some(3), FAILED),
            (Reason::BackendDrained, 200, Some(3), SERVED),
            (Reason::CallTimeout, 200, Some(3), SERVED),
            (Reason::CallTimeout, 504, None, FAILED),
            // It may have had an answer that was given up, but not this one.
            (Reason::ClientGone, 0, Some(3), LEFT),
            (Reason::ClientGone, 0, None, LEFT),
            (Reason::BodyTimeout, 408, None, LEFT),
        ] {
            check(ended(reason, status, head), ends, sum);
        }
        let tunnel = Observation {
            switched: Some(millis(4)),
            ..ended(Reason::BodyBroken, 101, Some(3))
        };
        check(tunnel, SERVED.0, SERVED.1);
    }

    #[test]
    fn decisions_of_all_workers_come_together() {
        let rows = [StageCounters::default(), StageCounters::default()];
        for (row, nanos) in [(0, 250), (1, 251), (1, 2_000_000)] {
            rows[row].decided(Duration::from_nanos(nanos));
        }
        let all = StageCounters::together(rows.iter()).decision;
        let counts: Vec<_> = all.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
