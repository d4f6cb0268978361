//! Owns the counters of picks that other programs were given: the control plane's to write, and rare beside requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A sum of times, and how many they are.
#[derive(Debug, Default)]
struct Times {
    nanos: AtomicU64,
    count: AtomicU64,
}

impl Times {
    fn add(&self, time: Option<Duration>) {
        if let Some(time) = time {
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            self.nanos.fetch_add(nanos, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn mean(&self) -> Option<Duration> {
        let nanos = self.nanos.load(Ordering::Relaxed);
        let mean = nanos.checked_div(self.count.load(Ordering::Relaxed))?;
        Some(Duration::from_nanos(mean))
    }
}

/// What one report says in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// From the pick to the begin of the attempt.
    pub waited: Option<Duration>,
    /// From there to a connection.
    pub connect: Option<Duration>,
    /// From the begin to the response head.
    pub head: Option<Duration>,
    /// From the begin to the end.
    pub total: Option<Duration>,
    /// Bytes that the backend was sent.
    pub sent: u64,
    /// Bytes that it sent.
    pub received: u64,
}

/// One service's counters.
#[derive(Debug, Default)]
pub struct DecisionCounters {
    given: AtomicU64,
    reported: AtomicU64,
    failed: AtomicU64,
    expired: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    /// In the order of [`DecisionCounters::means`].
    times: [Times; 4],
}

impl DecisionCounters {
    /// Counts picks that are given.
    pub fn give(&self, picks: u64) {
        self.given.fetch_add(picks, Ordering::Relaxed);
    }

    /// Counts a report, and whether it was of a failure.
    pub fn report(&self, failed: bool, decided: &Decided) {
        self.reported.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.sent.fetch_add(decided.sent, Ordering::Relaxed);
        self.received.fetch_add(decided.received, Ordering::Relaxed);
        let times = [decided.waited, decided.connect, decided.head, decided.total];
        for (sum, time) in self.times.iter().zip(times) {
            sum.add(time);
        }
    }

    /// Counts a pick that nobody reported in its time.
    pub fn expire(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    /// Picks that were given.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// Of them, those that were reported, and of these those that had failed.
    #[must_use]
    pub fn reported(&self) -> (u64, u64) {
        // Failures first: one that is counted meanwhile makes them no more than all.
        let failed = self.failed.load(Ordering::Relaxed);
        (self.reported.load(Ordering::Relaxed), failed)
    }

    /// Those that nobody reported in their time.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// Bytes that backends were sent, and those that they sent, as reported.
    #[must_use]
    pub fn bytes(&self) -> [u64; 2] {
        [&self.sent, &self.received].map(|count| count.load(Ordering::Relaxed))
    }

    /// Means of what was reported: before the attempt began, to a connection, to the response head, to the end.
    #[must_use]
    pub fn means(&self) -> [Option<Duration>; 4] {
        self.times.each_ref().map(Times::mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_no_part_of_a_mean() {
        let counters = DecisionCounters::default();
        counters.give(3);
        let millis = |millis| Some(Duration::from_millis(millis));
        let (head, total) = (millis(10), millis(40));
        let one = Decided {
            head,
            total,
            sent: 5,
            received: 7,
            ..Decided::default()
        };
        counters.report(false, &one);
        let head = millis(30);
        let other = Decided {
            head,
            sent: 1,
            ..Decided::default()
        };
        counters.report(true, &other);
        counters.expire();
        assert_eq!(counters.given(), 3);
        assert_eq!(counters.reported(), (2, 1));
        assert_eq!(counters.expired(), 1);
        assert_eq!(counters.bytes(), [6, 7]);
        assert_eq!(counters.means(), [None, None, millis(20), millis(40)]);
    }
}
