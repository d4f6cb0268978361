//! Owns what is measured of a run, and the figures made of it.

use crate::scenario::{Part, Scenario};

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
    /// Where each of them stands.
    pub parts: Vec<Part>,
    /// Attempts behind the first tier, or out of the balancer's zone, percent.
    pub spilled: f64,
    /// How many of them there were in each second, the warm-up's too.
    pub spilled_each: Vec<u64>,
    /// The most that was in flight on a struck server in the 5 s after, relative to the mean of all servers then.
    pub peak: f64,
    /// Exchanges that succeeded in each second.
    pub served: Vec<u64>,
    /// The adaptive limit of the first server at each tick, where there is one.
    pub limits: Vec<u32>,
}

impl Report {
    /// The largest share of a server, relative to an even share of what came to its tier and zone.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    pub fn largest_share(&self) -> f64 {
        let share = |(part, picks): (&Part, &u64)| {
            let servers = self.parts.iter().zip(&self.picks);
            let of_part = servers.filter(|(other, _)| *other == part);
            let (count, sum) =
                of_part.fold((0_u64, 0), |(count, sum), (_, one)| (count + 1, sum + one));
            *picks as f64 * count as f64 / sum.max(1) as f64
        };
        let shares = self.parts.iter().zip(&self.picks).map(share);
        shares.fold(0.0, f64::max)
    }
}

/// An attempt that a server gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picked {
    pub(crate) server: usize,
    /// It is behind the first tier, or out of the balancer's zone.
    pub(crate) spills: bool,
    pub(crate) counted: bool,
    pub(crate) now: u64,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    latencies: Vec<u64>,
    failed: u64,
    hedged: u64,
    closed: u64,
    picks: Vec<u64>,
    parts: Vec<Part>,
    spilled: u64,
    spilled_each: Vec<u64>,
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
            parts: (0..scenario.servers)
                .map(|server| scenario.part_of(server))
                .collect(),
            spilled: 0,
            spilled_each: Vec::new(),
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
    pub(crate) fn picked(&mut self, picked: &Picked, in_flight: &[u32]) {
        let server = picked.server;
        self.picks[server] += u64::from(picked.counted);
        self.spilled += u64::from(picked.counted && picked.spills);
        *in_second(&mut self.spilled_each, picked.now) += u64::from(picked.spills);
        if self.struck[server].is_some_and(|at| picked.now - at < WATCHED) {
            let all: u32 = in_flight.iter().sum();
            let mean = f64::from(all) / in_flight.len() as f64;
            self.peak = self.peak.max(f64::from(in_flight[server]) / mean);
        }
    }

    pub(crate) fn served(&mut self, now: u64, succeeded: bool) {
        *in_second(&mut self.served, now) += u64::from(succeeded);
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
        let attempts = self.picks.iter().sum::<u64>().max(1) as f64;
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
            parts: self.parts,
            spilled: self.spilled as f64 * 100.0 / attempts,
            spilled_each: self.spilled_each,
            peak: self.peak,
            served: self.served,
            limits: self.limits,
        }
    }
}

/// The count of the second in which this is.
fn in_second(counts: &mut Vec<u64>, now: u64) -> &mut u64 {
    let second = usize::try_from(now / 1_000_000_000).unwrap_or(usize::MAX);
    if counts.len() <= second {
        counts.resize(second + 1, 0);
    }
    &mut counts[second]
}
