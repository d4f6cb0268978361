//! Owns the table of policies against scenarios: which cells there are, and how they are told.
//!
//! Cells are independent and run on all cores; each is a function of policy, scenario and seed alone.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use evenkeel_balance::settings::PolicyChoice;

use crate::report::Report;
use crate::scenario::Scenario;
use crate::world;

/// The policy of this name.
#[must_use]
pub fn policy(name: &str) -> Option<PolicyChoice> {
    PolicyChoice::BUILT_IN
        .into_iter()
        .find(|policy| policy.name() == name)
}

/// One row: a policy in a scenario, over some seeds.
#[derive(Clone, Debug)]
pub struct Row {
    /// The policy's word.
    pub policy: String,
    /// One report per seed, in order.
    pub reports: Vec<Report>,
}

/// A figure over the seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Mean.
    pub mean: f64,
    /// Least.
    pub least: f64,
    /// Most.
    pub most: f64,
}

impl Row {
    /// A figure of the reports.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a handful of seeds")]
    pub fn figure(&self, of: impl Fn(&Report) -> f64) -> Figure {
        let values: Vec<f64> = self.reports.iter().map(of).collect();
        Figure {
            mean: values.iter().sum::<f64>() / values.len().max(1) as f64,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(0.0, f64::max),
        }
    }
}

/// Runs every policy in `scenario` with seeds 1 up to `seeds`, on `threads` threads.
///
/// # Panics
/// When the core breaks a law in one of the runs.
#[must_use]
pub fn rows(
    scenario: &Scenario,
    policies: &[PolicyChoice],
    seeds: u64,
    threads: usize,
) -> Vec<Row> {
    let cells: Vec<(usize, u64)> = (0..policies.len())
        .flat_map(|at| (1..=seeds).map(move |seed| (at, seed)))
        .collect();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Report>>> = Mutex::new(vec![None; cells.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let cell = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(at, seed)) = cells.get(cell) else {
                        break;
                    };
                    let report = world::run(scenario, &policies[at], seed);
                    done.lock().unwrap_or_else(PoisonError::into_inner)[cell] = Some(report);
                }
            });
        }
    });
    let mut reports = done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_iter()
        .flatten();
    let row = |policy: &PolicyChoice| Row {
        policy: policy.name().to_owned(),
        reports: reports
            .by_ref()
            .take(usize::try_from(seeds).unwrap_or(0))
            .collect(),
    };
    policies.iter().map(row).collect()
}

/// The rows of a scenario as a Markdown table.
#[must_use]
pub fn told(scenario: &Scenario, rows: &[Row]) -> String {
    let mut text = format!(
        "## {}\n\n{}; {} exchanges a seed.\n\n",
        scenario.name, scenario.about, scenario.exchanges
    );
    let parted = scenario.behind > 0.0 || scenario.zones > 0;
    // Beside servers that stand by, and with a whole tier struck, the mean in flight is of nobody.
    let struck = !parted && scenario.strikes.iter().any(|strike| !strike.at.is_zero());
    text += "| policy | p50 ms | p99 ms | failed % | largest share |";
    let further = [
        (struck, " peak after the fault |"),
        (parted, " spilled % |"),
    ];
    for (_, title) in further.iter().filter(|(wanted, _)| *wanted) {
        text += title;
    }
    text += "\n|---|--:|--:|--:|--:|";
    text += &"--:|".repeat(usize::from(struck) + usize::from(parted));
    text.push('\n');
    for row in rows {
        let _ = write!(
            text,
            "| {} | {} | {} | {} | {} |",
            row.policy,
            spread(row.figure(|report| report.p50), 1),
            spread(row.figure(|report| report.p99), 1),
            spread(row.figure(|report| report.failed), 3),
            spread(row.figure(Report::largest_share), 2),
        );
        if struck {
            let _ = write!(text, " {} |", spread(row.figure(|report| report.peak), 1));
        }
        if parted {
            let spilled = row.figure(|report| report.spilled);
            let _ = write!(text, " {} |", spread(spilled, 1));
        }
        text.push('\n');
    }
    text
}

fn spread(figure: Figure, digits: usize) -> String {
    let Figure { mean, least, most } = figure;
    if format!("{least:.digits$}") == format!("{most:.digits$}") {
        format!("{mean:.digits$}")
    } else {
        format!("{mean:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}
