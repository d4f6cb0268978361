//! Owns what a run of one contender comes to, and what several come to: plain functions of what was seen.

use std::time::Duration;

use super::table::{SERVERS, Scenario, Watch};
use crate::client::Class;
use crate::judge::percentile;
use crate::load::Record;

/// A share is taken over so long.
const WINDOW: Duration = Duration::from_secs(1);

/// One look at the servers: what each was asked, and has under way.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) servers: Vec<(u64, u64)>,
}

/// What was seen of one run.
pub(crate) struct Seen {
    /// Of the time that counts.
    pub(crate) records: Vec<Record>,
    pub(crate) samples: Vec<Sample>,
    /// When it began to count.
    pub(crate) from: Duration,
    /// What the balancer computed, in cores.
    pub(crate) cores: f64,
}

/// Figures of several runs: the middle one, the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) middle: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) runs: usize,
}

impl Span {
    /// None of none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        (!values.is_empty()).then(|| Self {
            middle: median(values.to_vec()),
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            runs: values.len(),
        })
    }

    /// What this says of "at most so much": surely where all runs agree.
    pub(crate) fn verdict(self, most: f64) -> &'static str {
        match (self.middle <= most, self.low <= most, self.high <= most) {
            (true, _, true) => "reached",
            (true, _, false) => "reached, not surely",
            (false, true, _) => "MISSED, not surely",
            (false, false, _) => "MISSED",
        }
    }
}

/// The figures of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) offered: f64,
    /// Milliseconds from when a request was to be sent to its response head, of what was answered and what was given up.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Shares of what was offered.
    pub(crate) failed: f64,
    pub(crate) given_up: f64,
    /// What the scenario watches.
    pub(crate) watched: Option<f64>,
    pub(crate) cores: f64,
}

impl Figures {
    pub(crate) fn of(scenario: &Scenario, seen: &Seen) -> Self {
        let timeout = |class: &Class| matches!(class, Class::Timeout | Class::TimeoutWithin);
        let counted = |class: &Class| timeout(class) || *class == Class::Answered;
        let mut waits: Vec<Duration> = seen
            .records
            .iter()
            .filter(|record| counted(&record.class))
            .map(|record| record.latency)
            .collect();
        waits.sort_unstable();
        let offered = seen.records.len() as f64;
        let share = |wanted: &dyn Fn(&Class) -> bool| {
            let found = seen.records.iter().filter(|record| wanted(&record.class));
            found.count() as f64 / offered.max(1.0)
        };
        Self {
            offered,
            p50: percentile(&waits, 0.5),
            p99: percentile(&waits, 0.99),
            p999: percentile(&waits, 0.999),
            failed: share(&|class| *class != Class::Answered),
            given_up: share(&timeout),
            watched: watched(scenario.watch, seen),
            cores: seen.cores,
        }
    }

    /// The median of each figure by itself.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        let watched: Option<Vec<f64>> = runs.iter().map(|run| run.watched).collect();
        Self {
            offered: of(|run| run.offered),
            p50: of(|run| run.p50),
            p99: of(|run| run.p99),
            p999: of(|run| run.p999),
            failed: of(|run| run.failed),
            given_up: of(|run| run.given_up),
            watched: watched.map(median),
            cores: of(|run| run.cores),
        }
    }
}

/// The middle one, or the mean of both; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        even if even % 2 == 0 => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    }
}

/// The server with a fault of its own, where there is one.
const FAULTY: usize = SERVERS - 1;

/// How long one stands still.
const STALL: Duration = Duration::from_secs(5);

fn watched(watch: Watch, seen: &Seen) -> Option<f64> {
    let since = |after: Duration, holds: &dyn Fn(f64) -> bool| {
        let after = seen.from + after;
        let windows = windows(&seen.samples).filter(|(one, _)| one.at >= after);
        let found = windows
            .filter_map(|(one, two)| Some((one.at, share(one, two, FAULTY)?)))
            .find(|(_, share)| holds(*share));
        found.map(|(at, _)| (at - after).as_secs_f64())
    };
    match watch {
        Watch::Nothing => None,
        Watch::Isolated => since(Duration::ZERO, &|share| share < 0.01),
        Watch::Fair => since(STALL, &|share| share >= 0.5 / SERVERS as f64),
        Watch::InFlight => in_flight(&seen.samples),
    }
}

/// Samples that lie a window apart.
fn windows(samples: &[Sample]) -> impl Iterator<Item = (&Sample, &Sample)> {
    samples.iter().enumerate().filter_map(|(at, one)| {
        let two = samples[at..].iter().find(|two| two.at >= one.at + WINDOW)?;
        Some((one, two))
    })
}

/// What share of all that was asked meanwhile one server was asked.
fn share(one: &Sample, two: &Sample, server: usize) -> Option<f64> {
    let asked = |at: usize| two.servers.get(at)?.0.checked_sub(one.servers.get(at)?.0);
    let all: u64 = (0..one.servers.len()).filter_map(asked).sum();
    Some(asked(server)? as f64 / (all.max(1)) as f64)
}

/// The most that one server that was asked nothing for a second has under way later, over a second, in means of those that were always
/// asked.
fn in_flight(samples: &[Sample]) -> Option<f64> {
    let count = samples.first()?.servers.len();
    let mut gone = vec![false; count];
    let mut most = None;
    for (one, two) in windows(samples) {
        for (server, gone) in gone.iter_mut().enumerate() {
            *gone |= share(one, two, server) == Some(0.0);
        }
        let within = samples
            .iter()
            .filter(|at| at.at >= one.at && at.at <= two.at);
        let within: Vec<&Sample> = within.collect();
        let mean = |server: usize| {
            let each = within
                .iter()
                .filter_map(|sample| sample.servers.get(server));
            each.map(|(_, open)| *open as f64).sum::<f64>() / within.len().max(1) as f64
        };
        let stayed: Vec<f64> = (0..count).filter(|at| !gone[*at]).map(mean).collect();
        let usual = stayed.iter().sum::<f64>() / stayed.len().max(1) as f64;
        let back = (0..count).filter(|at| gone[*at]).map(mean);
        let ratio = back.fold(0.0, f64::max) / usual.max(0.1);
        if gone.iter().any(|gone| *gone) && most.is_none_or(|most| ratio > most) {
            most = Some(ratio);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two servers, looked at each half second: what was asked between, and what is under way.
    fn samples(looks: &[[(u64, u64); 2]]) -> Vec<Sample> {
        let mut asked = [0, 0];
        let looks = looks.iter().enumerate().map(|(at, look)| {
            asked[0] += look[0].0;
            asked[1] += look[1].0;
            Sample {
                at: Duration::from_millis(500 * at as u64),
                servers: vec![(asked[0], look[0].1), (asked[1], look[1].1)],
            }
        });
        looks.collect()
    }

    #[test]
    fn shares_are_over_a_second() {
        let samples = samples(&[
            [(0, 0), (0, 0)],
            [(10, 0), (30, 0)],
            [(10, 0), (0, 0)],
            [(10, 0), (0, 0)],
        ]);
        let shares: Vec<f64> = windows(&samples)
            .filter_map(|(one, two)| share(one, two, 1))
            .collect();
        assert_eq!(shares, [0.6, 0.0]);
    }

    #[test]
    fn who_came_back_is_held_against_those_that_stayed() {
        let away = [(10, 4), (0, 0)];
        let back = [(10, 4), (10, 12)];
        let mut looks = vec![[(10, 4), (10, 4)]; 4];
        looks.extend([away; 4]);
        looks.extend([back; 4]);
        let most = in_flight(&samples(&looks));
        assert_eq!(most, Some(3.0));
        assert_eq!(in_flight(&samples(&[[(10, 4), (10, 9)]; 6])), None);
    }

    #[test]
    fn a_verdict_is_sure_where_all_runs_agree() {
        let check = |values: &[f64], wanted: &str| {
            let span = Span::of(values).unwrap();
            assert_eq!(span.verdict(0.7), wanted, "{values:?}");
        };
        check(&[0.66, 0.68, 0.70], "reached");
        check(&[0.66, 0.68, 0.71], "reached, not surely");
        check(&[0.69, 0.71, 0.73], "MISSED, not surely");
        check(&[0.71, 0.72, 0.73], "MISSED");
        assert_eq!(Span::of(&[]), None);
    }

    #[test]
    fn medians() {
        for (values, expect) in [
            (vec![], 0.0),
            (vec![3.0], 3.0),
            (vec![5.0, 1.0], 3.0),
            (vec![9.0, 1.0, 2.0], 2.0),
        ] {
            assert_eq!(median(values), expect);
        }
    }
}
