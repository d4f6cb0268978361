//! Owns few connections over several workers: clients that ask one thing after another, each on a connection of its own, and what
//! each worker computes meanwhile.
//!
//! A closed loop, as what is asked is not how long they wait but who works: a worker that idles beside one that is saturated. With
//! `--beside` another program of Evenkeel is given the same at its turn, so that a machine that drifts drifts for both.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::balancer::Balancer;
use crate::client::{Class, Conn, Kind, exchange};
use crate::clock::Start;
use crate::life::Life;
use crate::race::figures::median;
use crate::report;
use crate::setup::{Choice, Wants, Who};

const USAGE: &str = "evenkeel-chaos spread --evenkeel PROGRAM [--beside PROGRAM] [--quick]";

/// Workers, clients at once, and whether each has a connection for each request.
const CASES: [(u8, usize, bool); 9] = [
    (2, 2, false),
    (2, 4, false),
    (2, 8, false),
    (2, 16, false),
    (4, 4, false),
    (4, 8, false),
    (4, 16, false),
    // What spreading costs where connections come and go; one worker has nobody to give to.
    (1, 64, true),
    (2, 64, true),
];

/// Until all workers listen; and until all clients are at work.
const SETTLED: Duration = Duration::from_millis(300);

/// What one case came to.
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
        "Shares are of what all workers compute; an even share of two is 50 %, of four 25 %.\n"
    );
    println!(
        "| workers | clients | connections | program | least busy | most busy | requests/s | us each |"
    );
    println!("|--:|--:|---|---|--:|--:|--:|--:|");
    let (times, lasts) = if quick { (2, 1) } else { (7, 2) };
    for (workers, clients, anew) in CASES {
        let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); programs.len()];
        for _ in 0..times {
            for (program, seen) in programs.iter().zip(&mut seen) {
                let lasts = Duration::from_secs(lasts);
                seen.push(once(program, (workers, clients, anew), lasts, folder).await?);
            }
        }
        for (program, seen) in programs.iter().zip(&seen) {
            let of = |figure: fn(&Seen) -> f64| median(seen.iter().map(figure).collect());
            println!(
                "| {workers} | {clients} | {} | {} | {:.0} % | {:.0} % | {:.0} | {:.1} |",
                if anew { "one for each request" } else { "kept" },
                program.display(),
                of(|one| one.least) * 100.0,
                of(|one| one.most) * 100.0,
                of(|one| one.rate),
                of(|one| one.each),
            );
        }
    }
    Ok(true)
}

async fn once(
    program: &Path,
    (workers, clients, anew): (u8, usize, bool),
    lasts: Duration,
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
    let warm = 2 * SETTLED;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..clients {
        // One after another, as clients come.
        let conn = open(balancer.listen).await?;
        all.spawn(ask(
            conn,
            balancer.listen,
            start,
            (warm, warm + lasts),
            anew,
        ));
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
    let computed = |(name, after): (&String, &Duration)| {
        let before = before.get(name).copied().unwrap_or_default();
        after.saturating_sub(before).as_secs_f64()
    };
    let each: Vec<f64> = after.iter().map(computed).collect();
    let sum: f64 = each.iter().sum();
    let share = |one: f64| one / sum.max(1e-9);
    Ok(Seen {
        least: share(each.iter().copied().fold(f64::INFINITY, f64::min)),
        most: share(each.iter().copied().fold(0.0, f64::max)),
        rate: f64::from(answered) / lasts.as_secs_f64(),
        each: sum * 1e6 / f64::from(answered.max(1)),
    })
}

async fn open(to: SocketAddr) -> Result<Conn, String> {
    Conn::open(&[to]).await.map_err(|error| error.to_string())
}

/// Asks one thing after another, and says how many answers came in the time that counts.
async fn ask(
    conn: Conn,
    to: SocketAddr,
    start: Start,
    (from, until): (Duration, Duration),
    anew: bool,
) -> Result<u32, String> {
    let (mut conn, mut answered) = (Some(conn), 0);
    while start.passed() < until {
        let one = match conn.take() {
            Some(conn) => conn,
            None => open(to).await?,
        };
        let came = exchange(one, Kind::SMALL, start, &mut None).await;
        if came.class != Class::Answered {
            return Err(came.class.word());
        }
        answered += u32::from(start.passed() >= from);
        conn = came.conn.filter(|_| !anew);
    }
    Ok(answered)
}

/// What each worker has computed.
fn workers_of(balancer: &Balancer) -> BTreeMap<String, Duration> {
    let mut spent = balancer.spent();
    spent.retain(|name, _| name.starts_with("worker-"));
    spent
}
