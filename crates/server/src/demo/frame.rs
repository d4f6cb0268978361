//! Owns the figures that the demo shows at one moment, and those of the last second, from counters that only grow.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_balance::learn::histogram;
use evenkeel_control::Snapshot;
use evenkeel_control::snapshot::Backend;

use super::load::{Tally, count};
use super::told::Happened;

/// What the last second is: from the youngest sample that is so old.
const LATELY: Duration = Duration::from_secs(1);

/// Samples of the last second, and some.
const SAMPLES: usize = 16;

/// Requests of a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    pub(crate) per_second: f64,
    pub(crate) errors: u64,
    /// The 50th, 95th and 99th percentile.
    pub(crate) quantiles: [Option<Duration>; 3],
}

/// A backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) standing: &'static str,
    pub(crate) reason: String,
    /// Tenths of a percent by weight and standing; all sum to 1000, or to 0.
    pub(crate) wanted: u32,
    /// The same of what it got in the last second.
    pub(crate) lately: u32,
    /// And since the start.
    pub(crate) got: u32,
    pub(crate) in_flight: u32,
    pub(crate) latency: Option<Duration>,
    pub(crate) picked: u64,
    pub(crate) failed: u64,
}

/// All that is shown.
#[derive(Clone, Default)]
pub(crate) struct Frame {
    pub(crate) at: Duration,
    pub(crate) policy: String,
    pub(crate) rate: u32,
    /// What was due, and became of it.
    pub(crate) due: u64,
    pub(crate) well: u64,
    pub(crate) errors: u64,
    pub(crate) broken: u64,
    pub(crate) unsent: u64,
    pub(crate) attempts: u64,
    pub(crate) exchanges: u64,
    pub(crate) now: Pace,
    pub(crate) all: Pace,
    pub(crate) rows: Vec<Row>,
    pub(crate) events: Vec<Happened>,
    /// Where the dashboard is. None: that is not shown.
    pub(crate) dashboard: Option<SocketAddr>,
}

/// Counters at one moment.
struct Sample {
    at: Duration,
    answered: u64,
    wrong: u64,
    latency: histogram::Snapshot,
    picked: Vec<u64>,
}

/// Makes frames.
#[derive(Default)]
pub(crate) struct Meter {
    rate: u32,
    samples: VecDeque<Sample>,
}

impl Meter {
    pub(crate) fn new(rate: u32) -> Self {
        Self {
            rate,
            samples: VecDeque::new(),
        }
    }

    /// How it stands now. To be asked a few times a second.
    pub(crate) fn frame(
        &mut self,
        at: Duration,
        tally: &Tally,
        seen: &Snapshot,
        events: Vec<Happened>,
    ) -> Frame {
        let service = seen.services.first();
        let backends = service.map_or(&[][..], |service| &service.backends);
        let (errors, broken) = (count(&tally.errors), count(&tally.broken));
        let sample = Sample {
            at,
            answered: count(&tally.well) + errors,
            wrong: errors + broken,
            latency: tally.latency.snapshot(),
            picked: backends.iter().map(|backend| backend.picked).collect(),
        };
        let nothing = Sample {
            at: Duration::ZERO,
            answered: 0,
            wrong: 0,
            latency: histogram::Snapshot::default(),
            picked: vec![0; backends.len()],
        };
        let old = self
            .samples
            .iter()
            .rfind(|old| at.saturating_sub(old.at) >= LATELY)
            .unwrap_or(&nothing);
        let frame = Frame {
            at,
            policy: service.map_or_else(String::new, |service| service.policy.to_string()),
            rate: self.rate,
            due: count(&tally.due),
            well: count(&tally.well),
            errors,
            broken,
            unsent: count(&tally.unsent),
            attempts: service.map_or(0, |service| service.attempts),
            exchanges: service.map_or(0, |service| service.classes.iter().sum()),
            now: pace(old, &sample),
            all: pace(&nothing, &sample),
            rows: rows(backends, old, &sample),
            events,
            dashboard: None,
        };
        self.samples.push_back(sample);
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        frame
    }
}

fn rows(backends: &[Backend], from: &Sample, to: &Sample) -> Vec<Row> {
    let lately = to.picked.iter().zip(&from.picked);
    let lately = lately.map(|(now, then)| now.saturating_sub(*then) as f64);
    let lately = shares(&lately.collect::<Vec<_>>());
    let got = shares(&to.picked.iter().map(|&n| n as f64).collect::<Vec<_>>());
    let wanted = backends.iter().map(|backend| backend.share_wanted);
    let wanted = shares(&wanted.collect::<Vec<_>>());
    let each = backends.iter().zip(wanted).zip(lately).zip(got);
    each.map(|(((backend, wanted), lately), got)| Row {
        name: backend.id.clone(),
        standing: backend.standing,
        reason: backend.reason.clone(),
        wanted,
        lately,
        got,
        in_flight: backend.in_flight,
        latency: backend.latency,
        picked: backend.picked,
        failed: backend.failed,
    })
    .collect()
}

fn pace(from: &Sample, to: &Sample) -> Pace {
    let latency = to.latency.since(&from.latency);
    let took = to.at.saturating_sub(from.at).as_secs_f64();
    Pace {
        per_second: to.answered.saturating_sub(from.answered) as f64 / took.max(0.001),
        errors: to.wrong.saturating_sub(from.wrong),
        quantiles: [0.5, 0.95, 0.99].map(|q| latency.quantile(q)),
    }
}

/// Parts of a whole in tenths of a percent that sum to 1000 exactly: those that lose most by rounding down get what is left.
/// All 0 of nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0..=1000"
)]
pub(crate) fn shares(parts: &[f64]) -> Vec<u32> {
    let whole: f64 = parts.iter().sum();
    if whole <= 0.0 {
        return vec![0; parts.len()];
    }
    let exact: Vec<f64> = parts.iter().map(|part| part / whole * 1000.0).collect();
    let mut shares: Vec<u32> = exact.iter().map(|share| share.floor() as u32).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let missing = 1000_u32.saturating_sub(shares.iter().sum());
    for at in order.into_iter().take(missing as usize) {
        shares[at] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_the_whole() {
        for (parts, expect) in [
            (&[][..], &[][..]),
            (&[0.0, 0.0], &[0, 0]),
            (&[1.0], &[1000]),
            (&[1.0, 1.0, 1.0], &[334, 333, 333]),
            (&[2.0, 1.0], &[667, 333]),
            (&[0.0, 1.0, 1e9], &[0, 0, 1000]),
            (&[0.2, 0.2, 0.2, 0.2, 0.2], &[200; 5]),
        ] {
            assert_eq!(shares(parts), expect, "{parts:?}");
        }
    }
}
