//! Owns what an exchange leaves with a service that refused it before another one was asked in its place.

use std::time::Duration;

use super::Observation;
use crate::reason::Reason;

/// How far an exchange was when a service refused it whose rule has another one to ask.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// The service: its place among the plan's services.
    pub service: usize,
    /// Why it refused.
    pub reason: Reason,
    /// Attempts that were made until then.
    pub attempts: u32,
    /// What was waited until then.
    pub queue: Duration,
    /// What failing over took until then, in vain.
    pub failover: Option<Duration>,
}

impl Observation {
    /// This service has refused, and another is asked in its place, which knows of no attempt yet.
    pub(crate) fn goes_elsewhere(&mut self, service: usize, reason: Reason, other: usize) {
        self.refused = Some(Refused {
            service,
            reason,
            attempts: self.attempts,
            queue: self.queue,
            failover: self.failover.take(),
        });
        self.service = Some(other);
    }

    /// What the service that refused takes in: why, its own part of the time, and the status that the client got all the same.
    /// Bytes are counted once.
    pub(crate) fn of_refused(&self) -> Option<(usize, Self)> {
        let refused = self.refused?;
        let seen = Self {
            reason: refused.reason,
            attempts: refused.attempts,
            queue: refused.queue,
            failover: refused.failover,
            refused: None,
            stayed: None,
            connect: None,
            head: None,
            received: 0,
            sent: 0,
            switched: None,
            ..*self
        };
        Some((refused.service, seen))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::observation::{Distribution, ServiceCounters, Stages};

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// One that was full and had tried twice, and one that served after 30 ms more of waiting.
    #[test]
    fn each_service_has_its_own_part_of_an_exchange_that_went_elsewhere() {
        let mut seen = Observation::begin(Ipv4Addr::LOCALHOST.into());
        seen.service = Some(3);
        (seen.attempts, seen.queue, seen.failover) = (2, millis(100), Some(millis(60)));
        seen.goes_elsewhere(3, Reason::MaxConnections, 5);
        (seen.attempts, seen.queue) = (3, millis(130));
        (seen.connect, seen.head) = (Some(millis(1)), Some(millis(7)));
        (seen.reason, seen.status) = (Reason::Served, 200);
        (seen.received, seen.sent) = (10, 20);
        let (other, first) = (ServiceCounters::default(), ServiceCounters::default());
        other.observe(&seen);
        let (service, of_first) = seen.of_refused().unwrap();
        first.observe(&of_first);
        assert_eq!((seen.service, service), (Some(5), 3));
        let check = |row: &ServiceCounters, times: [Option<u64>; 3], failed, bytes, attempts| {
            let all: Stages = super::super::StageCounters::together([&row.stages].into_iter());
            let each = [&all.queue, &all.connect, &all.head];
            let told = |one: &Distribution| (one.count() > 0).then_some(one.sum);
            assert_eq!(each.map(told), times.map(|time| time.map(millis)));
            let ends = [("served", 0), ("failed", failed), ("left", 0)];
            assert_eq!(all.failovers, ends);
            assert_eq!((row.received.get(), row.sent.get()), bytes);
            assert_eq!((row.attempts.get(), row.classes[2].get()), (attempts, 1));
        };
        check(&other, [Some(30), Some(1), Some(7)], 0, (10, 20), 1);
        check(&first, [Some(100), None, None], 1, (0, 0), 2);
        // Who did not wait again has no time of waiting.
        let queue = millis(100);
        let other = ServiceCounters::default();
        other.observe(&Observation { queue, ..seen });
        check(&other, [None, Some(1), Some(7)], 0, (10, 20), 1);
    }
}
