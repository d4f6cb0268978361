//! Owns what is remembered of an exchange, and the counters that it goes into: a row per worker, so that no two write one line.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_balance::health::{CheckFault, CheckResult};
pub use evenkeel_wire::grpc::Status;

use crate::reason::{REASONS, Reason};
use crate::tls::secured::Agreed;

pub use decided::{Decided, DecisionCounters};
pub use durations::{Distribution, Durations, LATENCY_BOUNDS, PASSED_BOUNDS};
use durations::{MICRO, MILLI, SECOND};
pub use happened::{Happened, Happenings};
pub use heads::{HEAD_BOUNDS, HeadCounters, Heads};
pub use hedged::{HedgeCounters, hedges, refused_hedges};
pub use refused::Refused;
pub use reported::{PollCounters, ReportCounters, reports};

pub use retried::{RetryCounters, bodies_unkept, refused_retries, retries};

pub use stages::{DECISIONS_PER_SAMPLE, StageCounters, Stages};
pub use stayed::{StayCounters, Stayed, ignored, moves, stays};

/// Distributions of times.
mod durations;

/// Where the time of exchanges went.
mod stages;

/// What single backends take.
mod heads;

/// What happens to services.
mod happened;

/// What became of picks that other programs were given.
mod decided;
/// Services that refused before another was asked.
mod refused;

/// What became of reports of load.
mod reported;

/// What became of attempts that failed.
mod retried;

/// What became of attempts that were slow.
mod hedged;

/// What became of clients that are kept.
mod stayed;

/// The closed record of one exchange: filled as it goes, ended at one place, by `exchange::serve`. Plain numbers, so that it costs
/// the same whether or not somebody reads it; names are looked up where they are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The client, behind proxies that are trusted.
    pub client: IpAddr,
    /// What its connection agreed on over TLS. None: it is plain.
    pub secured: Option<Agreed>,
    /// Its place among the plan's listeners. None: it has left the plan.
    pub listener: Option<usize>,
    /// The rule that matched: its place among the plan's rules.
    pub rule: Option<usize>,
    /// The service that was asked last: its place among the plan's services.
    pub service: Option<usize>,
    /// What was before, where a service refused whose rule has a fallback.
    pub refused: Option<Refused>,
    /// The status that the client got; 0 when it got none.
    pub status: u16,
    /// Why.
    pub reason: Reason,
    /// How it ended as a call of gRPC. None: it is none, or broke off before that was said.
    pub grpc: Option<Status>,
    /// Attempts that were made.
    pub attempts: u32,
    /// What became of a client that the service keeps. None: it keeps none, or no backend has answered.
    pub stayed: Option<Stayed>,
    /// Whether it is a flow, of which there is no request and no status.
    pub flow: bool,
    /// Whether the request's head came whole and could be read.
    pub understood: bool,
    /// Whether a head was written for a backend: its ids are those of this exchange.
    pub forwarded: bool,
    /// Waited for a place under a limit, over all attempts.
    pub queue: Duration,
    /// Spent on connecting in the last attempt. None: its connection was kept from before, or there was no place for one.
    pub connect: Option<Duration>,
    /// From the connection of the last attempt to its response head. None: no head came.
    pub head: Option<Duration>,
    /// From the first attempt that failed to the response head of the last one, which followed it; to its begin, if it has no head. None: none
    /// did.
    pub failover: Option<Duration>,
    /// From the first byte of the request to the last of the answer.
    pub total: Duration,
    /// From the first byte of the request to the change of protocol, the rest was a tunnel; of a flow, until its connection to the
    /// backend stood. None: it came to neither.
    pub switched: Option<Duration>,
    /// Bytes of the request's head, or of what came of it. 0: nothing came, so that there was no exchange.
    pub head_received: usize,
    /// Bytes of the request's body, or of a tunnel from the client.
    pub received: u64,
    /// Bytes of the answer's head.
    pub head_sent: usize,
    /// Bytes of the answer's body, or of a tunnel to the client.
    pub sent: u64,
}

impl Observation {
    /// Of an exchange that begins. Left so, the client went away within its request's head.
    #[must_use]
    pub const fn begin(peer: IpAddr) -> Self {
        Self {
            peer,
            client: peer,
            secured: None,
            listener: None,
            rule: None,
            service: None,
            refused: None,
            status: 0,
            reason: Reason::ClientLeft,
            grpc: None,
            attempts: 0,
            stayed: None,
            flow: false,
            understood: false,
            forwarded: false,
            queue: Duration::ZERO,
            connect: None,
            head: None,
            failover: None,
            total: Duration::ZERO,
            switched: None,
            head_received: 0,
            received: 0,
            head_sent: 0,
            sent: 0,
        }
    }
}

/// A number that one thread raises and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Raises it. Only ever called by one thread, so that no bus cycle is locked.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's counters of one service.
#[derive(Debug)]
#[repr(align(128))]
pub struct ServiceCounters {
    /// Answers by class of status: 1xx to 5xx, and none at all first.
    pub classes: [Count; 6],
    /// Exchanges by why they ended as they did, at the reason's number.
    pub reasons: [Count; REASONS],
    /// Calls of gRPC by how they ended, at the status's number.
    pub calls: [Count; Status::ALL.len()],
    /// Attempts.
    pub attempts: Count,
    /// What exchanges took.
    pub latency: Durations<{ LATENCY_BOUNDS.len() }>,
    /// Where their time went.
    pub stages: StageCounters,
    /// Bytes of requests' bodies.
    pub received: Count,
    /// Bytes of answers' bodies.
    pub sent: Count,
    /// Its tunnels.
    pub tunnels: PassedCounters,
    /// Its flows.
    pub flows: PassedCounters,
    /// Its retries.
    pub retries: RetryCounters,
    /// Its hedges.
    pub hedges: HedgeCounters,
    /// Its clients that are kept.
    pub stays: StayCounters,
    /// What its backends report of their load.
    pub reports: ReportCounters,
}

/// One worker's counters of what one service's tunnels, or its flows, pass on as it comes.
#[derive(Debug, Default)]
pub struct PassedCounters {
    /// Those that were opened.
    pub opened: Count,
    /// Of them, those that are over.
    pub closed: Count,
    /// Bytes from clients, as they go.
    pub received: Count,
    /// Bytes to clients, as they go.
    pub sent: Count,
    /// Of those that are over, how long they were open.
    pub lasted: Durations<{ PASSED_BOUNDS.len() }>,
}

impl Default for ServiceCounters {
    fn default() -> Self {
        Self {
            classes: Default::default(),
            reasons: [const { Count::new() }; REASONS],
            calls: [const { Count::new() }; Status::ALL.len()],
            attempts: Count::default(),
            latency: Durations::default(),
            stages: StageCounters::default(),
            received: Count::default(),
            sent: Count::default(),
            tunnels: PassedCounters::default(),
            flows: PassedCounters::default(),
            retries: RetryCounters::default(),
            hedges: HedgeCounters::default(),
            stays: StayCounters::default(),
            reports: ReportCounters::default(),
        }
    }
}

impl ServiceCounters {
    /// Its flows, or its tunnels.
    #[must_use]
    pub const fn passed(&self, flow: bool) -> &PassedCounters {
        match flow {
            true => &self.flows,
            false => &self.tunnels,
        }
    }

    /// Takes an exchange in.
    pub fn observe(&self, seen: &Observation) {
        let class = usize::from(seen.status / 100).min(5);
        self.classes[class].add(1);
        self.reasons[seen.reason.number()].add(1);
        if let Some(status) = seen.grpc {
            self.calls[usize::from(status.number())].add(1);
        }
        if let Some(stayed) = seen.stayed {
            self.stays.observe(stayed);
        }
        let elsewhere = seen.refused.map_or(0, |refused| refused.attempts);
        self.attempts
            .add(seen.attempts.saturating_sub(elsewhere).into());
        // A tunnel answers with its change of protocol, a flow's backend with its connection: how long they last is no latency.
        let latency = seen.switched.unwrap_or(seen.total);
        if let Some(switched) = seen.switched {
            let lasted = &self.passed(seen.flow).lasted;
            lasted.observe(&PASSED_BOUNDS, seen.total.saturating_sub(switched));
        }
        self.latency.observe(&LATENCY_BOUNDS, latency);
        self.stages.observe(seen);
        self.received.add(seen.received);
        self.sent.add(seen.sent);
    }
}

/// What a check can come to, by word.
const CHECKS: [&str; 10] = [
    "passed",
    "timeout",
    "refused",
    "reset",
    "status",
    "body_mismatch",
    "malformed",
    "other",
    "tls",
    "protocol",
];

/// A backend's checks, by what they came to; the control plane's to write.
#[derive(Debug, Default)]
pub struct CheckCounters([AtomicU64; CHECKS.len()]);

impl CheckCounters {
    /// Counts a check.
    pub fn add(&self, result: CheckResult) {
        let at = match result {
            CheckResult::Passed => 0,
            CheckResult::Failed(CheckFault::Timeout) => 1,
            CheckResult::Failed(CheckFault::Refused) => 2,
            CheckResult::Failed(CheckFault::Reset) => 3,
            CheckResult::Failed(CheckFault::Status(_)) => 4,
            CheckResult::Failed(CheckFault::Mismatch) => 5,
            CheckResult::Failed(CheckFault::Malformed) => 6,
            CheckResult::Failed(CheckFault::Other) => 7,
            CheckResult::Failed(CheckFault::Protocol("tls", _)) => 8,
            CheckResult::Failed(CheckFault::Protocol(_, _)) => 9,
        };
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }

    /// How many came to what, by word; what none came to is left out.
    #[must_use]
    pub fn by_result(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let all = CHECKS.into_iter().zip(counts);
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// A listener's counters; all workers write them, so they hold what is rare.
#[derive(Debug)]
pub struct DoorCounters {
    accepted: AtomicU64,
    admitted: AtomicU64,
    closed: AtomicU64,
    accept_failed: AtomicU64,
    given: AtomicU64,
    calmed: AtomicU64,
    crowded: AtomicU64,
    /// Answers that were made here, at the reason's number.
    answered: [AtomicU64; REASONS],
}

impl Default for DoorCounters {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            accept_failed: AtomicU64::new(0),
            given: AtomicU64::new(0),
            calmed: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
            answered: [const { AtomicU64::new(0) }; REASONS],
        }
    }
}

impl DoorCounters {
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that were accepted.
    #[must_use]
    pub fn accepted_total(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn admitted(&self) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that had a place under the listener's limit. Of those that were accepted the others wait for one.
    #[must_use]
    pub fn admitted_total(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    pub(crate) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Of those that were admitted, those that have ended: the others are open. Counted apart from both, so that a place that is lost shows.
    #[must_use]
    pub fn closed_total(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn accept_failed(&self) {
        self.accept_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Times that a connection could not be accepted: no descriptor or no memory left.
    #[must_use]
    pub fn accept_failed_total(&self) -> u64 {
        self.accept_failed.load(Ordering::Relaxed)
    }

    pub(crate) fn given(&self) {
        self.given.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that a worker took and gave to another, which had fewer.
    #[must_use]
    pub fn given_total(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    pub(crate) fn calmed(&self) {
        self.calmed.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections of HTTP/2 that were ended because their frames cost too much.
    #[must_use]
    pub fn calmed_total(&self) -> u64 {
        self.calmed.load(Ordering::Relaxed)
    }

    pub(crate) fn crowded(&self) {
        self.crowded.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that were cut because their client's address has as many as it may.
    #[must_use]
    pub fn crowded_total(&self) -> u64 {
        self.crowded.load(Ordering::Relaxed)
    }

    pub(crate) fn answered(&self, reason: Reason) {
        self.answered[reason.number()].fetch_add(1, Ordering::Relaxed);
    }

    /// Answers that were made here, by the word of their reason; those that never were are left out.
    #[must_use]
    pub fn answered_by_reason(&self) -> Vec<(&'static str, u64)> {
        let counts = self
            .answered
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        rows(counts)
    }
}

/// Counts at their reasons' numbers, by word; zeros are left out.
fn rows(counts: impl Iterator<Item = u64>) -> Vec<(&'static str, u64)> {
    Reason::all()
        .map(Reason::word)
        .zip(counts)
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Exchanges of all workers by the word of their reason; those that never ended so are left out.
#[must_use]
pub fn by_reason(workers: &[ServiceCounters]) -> Vec<(&'static str, u64)> {
    let sum = |number: usize| workers.iter().map(|row| row.reasons[number].get()).sum();
    rows((0..REASONS).map(sum))
}

/// Calls of gRPC of all workers by the name of their status; those that never ended so are left out.
#[must_use]
pub fn by_status(workers: &[ServiceCounters]) -> Vec<(&'static str, u64)> {
    let sum = |number: usize| workers.iter().map(|row| row.calls[number].get()).sum();
    let all = Status::ALL.iter().enumerate();
    let all = all.map(|(number, status)| (status.name(), sum(number)));
    all.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_row_of_its_own() {
        let door = DoorCounters::default();
        let workers = [ServiceCounters::default(), ServiceCounters::default()];
        for (number, reason) in Reason::all().enumerate() {
            let times = number as u64 + 1;
            for _ in 0..times {
                door.answered(reason);
            }
            let seen = Observation {
                status: reason.status(),
                reason,
                ..Observation::begin(std::net::Ipv4Addr::LOCALHOST.into())
            };
            for at in 0..times {
                workers[usize::from(at % 2 == 1)].observe(&seen);
            }
        }
        let expect: Vec<_> = Reason::all().map(Reason::word).zip(1..).collect();
        assert_eq!(door.answered_by_reason(), expect);
        assert_eq!(by_reason(&workers), expect);
    }
}
