//! What `weighted_by_load` must reach, and what lies and silence may not do to it. A target that is missed is a finding; it is never
//! loosened.
#![expect(clippy::print_stdout, reason = "the figures are worth seeing")]

use std::time::Duration;

use evenkeel_balance::settings::PolicyChoice;
use evenkeel_sim::scenario::{Lie, Lying, Scenario};
use evenkeel_sim::table::{self, Row};

/// Policies over so many seeds.
fn rows(scenario: &Scenario, policies: &[PolicyChoice], seeds: u64) -> Vec<Row> {
    let rows = table::rows(scenario, policies, seeds, 2);
    println!("{}", table::told(scenario, &rows));
    rows
}

fn p99(row: &Row) -> f64 {
    row.figure(|report| report.p99).mean
}

/// How many times as much the fast half gets as the slow half, which comes first.
fn ratio(row: &Row) -> f64 {
    let of = |picks: &[u64]| -> u64 { picks.iter().sum() };
    row.figure(|report| {
        let (slow, fast) = report.picks.split_at(report.picks.len() / 2);
        of(fast) as f64 / of(slow) as f64
    })
    .mean
}

/// Balancers that each see a little of what is in flight: by reports, servers of half the speed get half, and nobody waits longer for it.
#[test]
fn shares_follow_the_hardware() {
    use PolicyChoice::{LeastConnections, RoundRobin, WeightedByLoad};
    let policies = [WeightedByLoad, RoundRobin, LeastConnections];
    let rows = rows(&Scenario::reported(), &policies, 5);
    let [weighted, round, least] = [&rows[0], &rows[1], &rows[2]];
    let [skew, of_round, of_least] = [weighted, round, least].map(ratio);
    println!("fast to slow: {skew:.2}, {of_round:.2}, {of_least:.2}");
    assert!((1.85..=2.15).contains(&skew), "{skew}");
    assert!((of_round - 1.0).abs() < 0.01 && of_least < 1.7);
    let [weighted, round, least] = [weighted, round, least].map(p99);
    assert!(weighted <= 0.1 * round, "{weighted} {round}");
    assert!(weighted <= least, "{weighted} {least}");
}

/// Where all are alike, going by reports costs no more than its smallest share: it is round robin, and stays it.
#[test]
fn equal_servers_stay_equal() {
    use PolicyChoice::{RoundRobin, WeightedByLoad};
    let even = Scenario {
        slow_share: 0.0,
        instances: 1,
        slots: 4,
        exchanges: 150_000,
        ..Scenario::reported()
    };
    let rows = rows(&even, &[WeightedByLoad, RoundRobin], 10);
    let most = rows[0].figure(|report| report.largest_share()).most;
    assert!(most <= 1.06, "{most}");
    assert!(p99(&rows[0]) <= 1.15 * p99(&rows[1]), "{}", p99(&rows[0]));
}

/// One server of ten lies, from when all are known; ten seeds. What it says may do the others little harm: their p99 against that of a
/// service whose servers all tell the truth.
#[test]
fn lies_and_silence_do_no_harm() {
    let honest = Scenario {
        servers: 10,
        slow_share: 0.0,
        instances: 1,
        slots: 8,
        exchanges: 200_000,
        ..Scenario::reported()
    };
    let of = |lie: Option<Lie>| {
        let lying = lie.map(|lie| Lying {
            from: Duration::from_secs(20),
            share: 0.1,
            lie,
        });
        let scenario = Scenario {
            lying,
            ..honest.clone()
        };
        let rows = table::rows(&scenario, &[PolicyChoice::WeightedByLoad], 10, 2);
        let row = rows.into_iter().next().expect("one policy");
        let failed = row.figure(|report| report.failed).most;
        let liar = row.figure(|report| {
            let all: u64 = report.picks.iter().sum();
            report.picks[9] as f64 * 10.0 / all as f64
        });
        let tail = row.figure(|report| report.p99);
        println!("{lie:?}: p99 {tail:?}, liar's share {liar:?}, failed {failed}");
        (tail, liar, failed)
    };
    let (truth, ..) = of(None);
    for (lie, slower, share) in [
        (Lie::Zero, 1.1, 0.9..=1.1),
        (Lie::NoNumber, 1.1, 0.9..=1.1),
        (Lie::Silent, 1.1, 0.9..=1.1),
        // It gets the less, and the others a tenth more: load .78.
        (Lie::Full, 1.6, 0.1..=0.6),
        // It is found out by its answers, again and again.
        (Lie::Idle, 2.5, 1.0..=1.6),
    ] {
        let (tail, liar, failed) = of(Some(lie));
        assert!(
            tail.mean <= slower * truth.mean,
            "{lie:?}: {tail:?} against {truth:?}"
        );
        assert!(share.contains(&liar.mean), "{lie:?}: {liar:?}");
        assert!(failed < 0.1, "{lie:?}: {failed} % failed");
    }
}
