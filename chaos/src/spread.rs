//! Owns few connections over several workers: clients that ask one thing after another, what each worker computes meanwhile, and how even
//! that is.
//!
//! A closed loop, as what is asked is not how long they wait but who works: a worker that idles beside one that is saturated. With
//! `--beside` another program of Evenkeel is given the same at its turn, so that a machine that drifts drifts for both. Counted by a
//! balancer are connections; so the cases in which these are not alike, or in which some have left, show what that misses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::balancer::Balancer;
use crate::clock::Start;
use crate::life::Life;
use crate::race::figures::median;
use crate::report;
use crate::setup::{Choice, Wants, Who};

mod clients;

const USAGE: &str = "evenkeel-chaos spread --evenkeel PROGRAM [--beside PROGRAM] [--quick]";

/// Who asks, in one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clients {
    /// So many that keep their connections.
    Kept(usize),
    /// So many with a connection for each request.
    Anew(usize),
    /// So many come, and half of them, drawn, close before it counts.
    Halved(usize),
    /// The same, and then as many come as closed.
    Refilled(usize),
    /// Connections of HTTP/2 by the streams that each has busy at any time; they come in an order that is drawn.
    Streams(&'static [usize]),
}

impl Clients {
    fn count(self) -> usize {
        match self {
            Self::Kept(count) | Self::Anew(count) | Self::Halved(count) | Self::Refilled(count) => {
                count
            }
            Self::Streams(each) => each.len(),
        }
    }

    fn word(self) -> String {
        match self {
            Self::Kept(_) => "kept".to_owned(),
            Self::Anew(_) => "one for each request".to_owned(),
            Self::Halved(_) => "kept; half have closed".to_owned(),
            Self::Refilled(_) => "kept; half have closed, as many came".to_owned(),
            Self::Streams(each) => {
                let each: Vec<String> = each.iter().map(usize::to_string).collect();
                format!("HTTP/2, streams {}", each.join(" "))
            }
        }
    }
}

/// Workers, and who asks.
const CASES: [(u8, Clients); 18] = [
    (2, Clients::Kept(2)),
    (2, Clients::Kept(4)),
    (2, Clients::Kept(8)),
    (2, Clients::Kept(16)),
    (4, Clients::Kept(4)),
    (4, Clients::Kept(8)),
    (4, Clients::Kept(16)),
    // What spreading costs where connections come and go; one worker has nobody to give to.
    (1, Clients::Anew(64)),
    (2, Clients::Anew(64)),
    // Who leaves is not asked where it was; what stays is not moved.
    (2, Clients::Halved(4)),
    (4, Clients::Halved(8)),
    (4, Clients::Halved(16)),
    (4, Clients::Refilled(16)),
    // Alike, and then by far not.
    (4, Clients::Streams(&[8, 8, 8, 8])),
    (2, Clients::Streams(&[32, 1])),
    (2, Clients::Streams(&[32, 32, 1, 1])),
    (4, Clients::Streams(&[32, 1, 1, 1])),
    (4, Clients::Streams(&[32, 32, 1, 1, 1, 1, 1, 1])),
];

/// Until all workers listen; until all clients are at work; and until a worker has seen who closed.
const SETTLED: Duration = Duration::from_millis(300);

/// What one run of a case came to.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Of all that workers computed, the share of the one that computed least and of the one that did most.
    least: f64,
    most: f64,
    /// Requests in a second.
    rate: f64,
    /// Microseconds that workers computed for each.
    each: f64,
}

impl Seen {
    fn of(computed: &[f64], answered: u32, lasts: Duration) -> Self {
        let sum: f64 = computed.iter().sum();
        let share = |one: f64| one / sum.max(1e-9);
        Self {
            least: share(computed.iter().copied().fold(f64::INFINITY, f64::min)),
            most: share(computed.iter().copied().fold(0.0, f64::max)),
            rate: f64::from(answered) / lasts.as_secs_f64(),
            each: sum * 1e6 / f64::from(answered.max(1)),
        }
    }
}

/// What all runs of a case came to: medians, and the run in which one worker had most of the work. Where it is drawn who meets whom a
/// median hides what some operator will have for days.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    least: f64,
    most: f64,
    worst: f64,
    rate: f64,
    each: f64,
}

impl Row {
    fn of(seen: &[Seen]) -> Self {
        let of = |figure: fn(&Seen) -> f64| median(seen.iter().map(figure).collect());
        Self {
            least: of(|one| one.least),
            most: of(|one| one.most),
            worst: seen.iter().map(|one| one.most).fold(0.0, f64::max),
            rate: of(|one| one.rate),
            each: of(|one| one.each),
        }
    }

    fn line(self, (workers, clients): (u8, Clients), program: &Path) -> String {
        format!(
            "| {workers} | {} | {} | {} | {:.0} % | {:.0} % | {:.0} % | {:.0} | {:.1} |",
            clients.count(),
            clients.word(),
            program.display(),
            self.least * 100.0,
            self.most * 100.0,
            self.worst * 100.0,
            self.rate,
            self.each,
        )
    }
}

/// Runs what these words ask for.
pub(crate) async fn run(words: &[String], folder: &Path) -> Result<bool, String> {
    let (mut programs, mut quick) = (Vec::new(), false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--evenkeel" | "--beside" => {
                programs.push(PathBuf::from(words.next().ok_or(USAGE)?));
            }
            "--quick" => quick = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    let versions: Vec<(&Path, &[&str])> = programs
        .iter()
        .map(|program| (program.as_path(), ["version"].as_slice()))
        .collect();
    println!("{}\n", report::facts("cargo xtask spread", &versions));
    println!(
        "Shares are of what all workers compute; an even share of two is 50 %, of four 25 %. Medians; `worst run` is the largest share of one worker in any.\n"
    );
    println!(
        "| workers | clients | connections | program | least busy | most busy | worst run | requests/s | us each |"
    );
    println!("|--:|--:|---|---|--:|--:|--:|--:|--:|");
    let (times, lasts) = if quick { (2, 1) } else { (7, 2) };
    let lasts = Duration::from_secs(lasts);
    for case in CASES {
        let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); programs.len()];
        for seed in 0..times {
            for (program, seen) in programs.iter().zip(&mut seen) {
                seen.push(once(program, case, (seed, lasts), folder).await?);
            }
        }
        for (program, seen) in programs.iter().zip(&seen) {
            println!("{}", Row::of(seen).line(case, program));
        }
    }
    Ok(true)
}

async fn once(
    program: &Path,
    (workers, clients): (u8, Clients),
    (seed, lasts): (u64, Duration),
    folder: &Path,
) -> Result<Seen, String> {
    let (_servers, said) = Life::begin(&["servers", "4", "0", "0", "0"]).await?;
    let words = said.split(' ');
    let servers: Vec<SocketAddr> = words.filter_map(|word| word.parse().ok()).collect();
    let wants = Wants {
        choice: Some(Choice {
            policy: "adaptive",
            plain: true,
            workers,
        }),
        ..Wants::NONE
    };
    let nobody = ([127, 0, 0, 1], 53).into();
    let balancer = Balancer::start(Who::Evenkeel, program, wants, folder, &servers, nobody).await?;
    let start = Start::now();
    // It listens before all of its workers do.
    start.until(SETTLED).await;
    let came = clients::come(clients, balancer.listen, seed).await?;
    let warm = start.passed() + SETTLED;
    let mut all = tokio::task::JoinSet::new();
    for client in came {
        all.spawn(client.ask(balancer.listen, start, (warm, warm + lasts)));
    }
    start.until(warm).await;
    let before = workers_of(&balancer);
    start.until(warm + lasts).await;
    let after = workers_of(&balancer);
    let mut answered = 0;
    while let Some(one) = all.join_next().await {
        answered += one.map_err(|error| error.to_string())??;
    }
    drop(balancer);
    let computed = computed(&before, &after, workers)?;
    Ok(Seen::of(&computed, answered, lasts))
}

/// Seconds that each worker computed between two looks. A worker that is not seen would be missing among those that idle.
fn computed(
    before: &BTreeMap<String, Duration>,
    after: &BTreeMap<String, Duration>,
    workers: u8,
) -> Result<Vec<f64>, String> {
    if after.len() != usize::from(workers) {
        return Err(format!("{} of {workers} workers are seen", after.len()));
    }
    let since = |(name, after): (&String, &Duration)| {
        let before = before.get(name).copied().unwrap_or_default();
        after.saturating_sub(before).as_secs_f64()
    };
    Ok(after.iter().map(since).collect())
}

/// What each worker has computed.
fn workers_of(balancer: &Balancer) -> BTreeMap<String, Duration> {
    let mut spent = balancer.spent();
    spent.retain(|name, _| name.starts_with("worker-"));
    spent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(workers: &[(&str, u64)]) -> BTreeMap<String, Duration> {
        let each = workers.iter();
        each.map(|(name, at)| ((*name).to_owned(), Duration::from_millis(*at)))
            .collect()
    }

    #[test]
    fn shares_are_of_what_workers_computed_between_two_looks() {
        let before = look(&[("worker-0", 100), ("worker-1", 900), ("worker-2", 0)]);
        let after = look(&[("worker-0", 700), ("worker-1", 1_200), ("worker-2", 100)]);
        let computed = computed(&before, &after, 3).unwrap();
        assert_eq!(computed, [0.6, 0.3, 0.1]);
        let seen = Seen::of(&computed, 500, Duration::from_secs(2));
        let near = |one: f64, two: f64| (one - two).abs() < 1e-9;
        assert!(near(seen.least, 0.1) && near(seen.most, 0.6), "{seen:?}");
        // A second of work for 500 of them.
        assert!(
            near(seen.rate, 250.0) && near(seen.each, 2_000.0),
            "{seen:?}"
        );
    }

    #[test]
    fn a_worker_that_is_not_seen_is_not_left_out() {
        let seen = look(&[("worker-0", 700), ("worker-1", 1_200)]);
        assert!(computed(&seen, &seen, 2).is_ok());
        let said = computed(&seen, &seen, 3);
        assert_eq!(said, Err("2 of 3 workers are seen".to_owned()));
    }

    #[test]
    fn a_row_has_medians_and_the_worst_run() {
        let run = |least, most| Seen {
            least,
            most,
            rate: 1_000.0 * most,
            each: 1.0,
        };
        // As where two that are busy meet in one run of three.
        let row = Row::of(&[run(0.4, 0.6), run(0.02, 0.98), run(0.45, 0.55)]);
        assert_eq!((row.least, row.most, row.worst), (0.4, 0.6, 0.98));
        let line = row.line((2, Clients::Streams(&[32, 1])), Path::new("evenkeel"));
        assert_eq!(
            line,
            "| 2 | 2 | HTTP/2, streams 32 1 | evenkeel | 40 % | 60 % | 98 % | 600 | 1.0 |"
        );
    }
}
