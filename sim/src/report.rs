//! Owns what is measured of a run, and the figures made of it.

use crate::scenario::Scenario;

/// How long after a strike the struck servers are watched, in nanoseconds.
const WATCHED: u64 = 5_000_000_000;

/// The figures of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// A hash over everything that happened, in order.
    pub trace: u64,
    /// Median latency of exchanges that were answered or timed out, milliseconds.
    pub p50: f64,
    /// 99th percentile, milliseconds.
    pub p99: f64,
    /// 99.9th percentile, milliseconds.
    pub p999: f64,
    /// Mean, milliseconds.
    pub mean: f64,
    /// Failed exchanges, percent.
    pub failed: f64,
    /// Exchanges that had a second attempt beside a slow one, percent.
    pub hedged: f64,
    /// Attempts per server.
    pub picks: Vec<u64>,
    /// The most that was in flight on a struck server in the 5 s after, relative to the mean of all servers then.
    pub peak: f64,
    /// Exchanges that succeeded in each second.
    pub served: Vec<u64>,
    /// The adaptive limit of the first server at each tick, where there is one.
    pub limits: Vec<u32>,
}

impl Report {
    /// The largest share of a server, relative to an even share.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    pub fn largest_share(&self) -> f64 {
        let most = self.picks.iter().copied().max().unwrap_or(0) as f64;
        most * self.picks.len() as f64 / self.picks.iter().sum::<u64>().max(1) as f64
    }
}

#[derive(Debug)]
pub(crate) struct Recorder {
    latencies: Vec<u64>,
    failed: u64,
    hedged: u64,
    closed: u64,
    picks: Vec<u64>,
    struck: Vec<Option<u64>>,
    peak: f64,
    served: Vec<u64>,
    limits: Vec<u32>,
    /// A failure that took so long is a latency too: somebody waited.
    waited: u64,
}

impl Recorder {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            latencies: Vec::with_capacity(scenario.exchanges),
            failed: 0,
            hedged: 0,
            closed: 0,
            picks: vec![0; scenario.servers],
            struck: vec![None; scenario.servers],
            peak: 0.0,
            served: Vec::new(),
            limits: Vec::new(),
            waited: scenario.deadline.map_or(u64::MAX, |deadline| {
                u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX)
            }),
        }
    }

    pub(crate) fn struck(&mut self, server: usize, now: u64) {
        self.struck[server] = Some(now);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    pub(crate) fn picked(&mut self, server: usize, counted: bool, now: u64, in_flight: &[u32]) {
        self.picks[server] += u64::from(counted);
        if self.struck[server].is_some_and(|at| now - at < WATCHED) {
            let all: u32 = in_flight.iter().sum();
            let mean = f64::from(all) / in_flight.len() as f64;
            self.peak = self.peak.max(f64::from(in_flight[server]) / mean);
        }
    }

    pub(crate) fn served(&mut self, now: u64, succeeded: bool) {
        let second = usize::try_from(now / 1_000_000_000).unwrap_or(usize::MAX);
        if self.served.len() <= second {
            self.served.resize(second + 1, 0);
        }
        self.served[second] += u64::from(succeeded);
    }

    pub(crate) fn limited(&mut self, limit: u32) {
        self.limits.push(limit);
    }

    pub(crate) fn hedged(&mut self, counted: bool) {
        self.hedged += u64::from(counted);
    }

    pub(crate) fn closed(&mut self, latency: u64, succeeded: bool) {
        self.closed += 1;
        self.failed += u64::from(!succeeded);
        if succeeded || latency >= self.waited {
            self.latencies.push(latency);
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "counts and nanoseconds below 2^53"
    )]
    pub(crate) fn report(mut self, trace: u64) -> Report {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let at = |per_mille: usize| {
            self.latencies
                .get((count * per_mille / 1000).min(count.saturating_sub(1)))
                .map_or(0.0, |&nanos| nanos as f64 / 1e6)
        };
        Report {
            trace,
            p50: at(500),
            p99: at(990),
            p999: at(999),
            mean: self
                .latencies
                .iter()
                .map(|&nanos| nanos as f64 / 1e6)
                .sum::<f64>()
                / count.max(1) as f64,
            failed: self.failed as f64 * 100.0 / self.closed.max(1) as f64,
            hedged: self.hedged as f64 * 100.0 / self.closed.max(1) as f64,
            picks: self.picks,
            peak: self.peak,
            served: self.served,
            limits: self.limits,
        }
    }
}
