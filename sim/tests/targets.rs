//! What the policies must reach, N = 20, five seeds. A target that is missed is a finding; it is never loosened.
#![expect(clippy::print_stdout, reason = "the figures are worth seeing")]

use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{BackendId, BackendSpec};
use evenkeel_balance::hashing::mix;
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{HashMethod, LoadBound, PolicyChoice, ServiceSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Outcome;
use evenkeel_sim::report::Report;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::table::{self, Row};

const SEEDS: u64 = 5;

fn rows(scenario: &Scenario, policies: &[PolicyChoice]) -> Vec<Row> {
    table::rows(scenario, policies, SEEDS, 2)
}

fn named(name: &str) -> Scenario {
    Scenario::named(name).expect("a scenario of the table")
}

fn p99(row: &Row) -> f64 {
    row.figure(|report| report.p99).mean
}

/// The 99th percentile of `adaptive` relative to round robin and power of two.
fn check_tail(scenario: &str, of_round_robin: f64, of_power_of_two: f64) {
    let rows = rows(
        &named(scenario),
        &[
            PolicyChoice::Adaptive,
            PolicyChoice::RoundRobin,
            PolicyChoice::PowerOfTwo,
        ],
    );
    let [adaptive, round_robin, two] = [p99(&rows[0]), p99(&rows[1]), p99(&rows[2])];
    println!(
        "{scenario}: adaptive {adaptive:.1} ms, {:.3} of round robin, {:.3} of power of two",
        adaptive / round_robin,
        adaptive / two
    );
    assert!(
        adaptive <= of_round_robin * round_robin,
        "{scenario}: {adaptive:.1} ms against round robin's {round_robin:.1}"
    );
    assert!(
        adaptive <= of_power_of_two * two,
        "{scenario}: {adaptive:.1} ms against power of two's {two:.1}"
    );
}

#[test]
fn equal_servers() {
    check_tail("even-90", 0.70, 0.95);
}

#[test]
fn uneven_servers_at_70() {
    check_tail("uneven-70", 0.10, 0.70);
}

#[test]
fn uneven_servers_at_90() {
    check_tail("uneven-90", 0.10, 0.70);
}

/// However much is in flight on the good ones, and wherever in the list the bad ones stand. Half of 200 servers with 70 exchanges a
/// second each: who fails is tried about once a second, which is 0.6 % of all.
#[test]
fn a_sinkhole_draws_nothing() {
    for (scenario, most) in [
        ("sinkhole-70", 0.5),
        ("deep-sinkhole-35", 0.5),
        ("sinkhole-35-of-200", 1.0),
    ] {
        use PolicyChoice::{Adaptive, LeastTime, PeakEwma};
        for row in rows(&named(scenario), &[Adaptive, LeastTime, PeakEwma]) {
            let failed = row.figure(|report| report.failed).most;
            assert!(
                failed <= most,
                "{scenario}: {} failed {failed:.3} % at most",
                row.policy
            );
        }
    }
}

/// A bound makes no sinkhole of who fails: it gets its own keys, and nobody else's. A share that follows health gets far below them.
#[test]
fn bounds_and_health_draw_nothing_either() {
    let sinkhole = named("sinkhole-70");
    let check = |policy: PolicyChoice, least: f64, most: f64| {
        let rows = rows(&sinkhole, &[policy]);
        let failed = rows[0].figure(|report| report.failed).mean;
        assert!(
            (least..=most).contains(&failed),
            "{}: {failed:.3} %",
            rows[0].policy
        );
    };
    for method in HashMethod::ALL {
        check(PolicyChoice::Bounded(method, LoadBound::DEFAULT), 9.5, 11.0);
    }
    check(PolicyChoice::HealthBased, 0.0, 0.5);
}

/// What a bound is for: no tail where a hash alone has one, as low as that of power of two.
#[test]
fn a_bound_keeps_the_tail_of_a_hash_low() {
    let uneven = named("uneven-70");
    for method in HashMethod::ALL {
        let policies = [
            PolicyChoice::Bounded(method, LoadBound::DEFAULT),
            PolicyChoice::PowerOfTwo,
            PolicyChoice::Hash(method),
        ];
        let rows = rows(&uneven, &policies);
        let [bounded, two, alone] = [p99(&rows[0]), p99(&rows[1]), p99(&rows[2])];
        assert!(
            bounded <= two && bounded <= 0.1 * alone,
            "{method:?}: {bounded} {two} {alone}"
        );
    }
}

/// Failures that every server has say nothing of any of them, and herd nobody.
#[test]
fn failures_of_all_alike_cost_no_balance() {
    check_tail("errors-90", 0.70, 0.95);
}

#[test]
fn a_small_advantage_does_not_take_all_from_the_idle() {
    let rows = rows(&named("idle-02"), &[PolicyChoice::Adaptive]);
    let share = rows[0].figure(|report| report.largest_share()).most;
    assert!(share <= 1.5, "{share:.2} times an even share");
}

/// In each seed. Shorter runs vary more than the target by chance alone: 4 % at 200,000 exchanges, 3 % at 500,000.
#[test]
#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
fn mixed_routes_leave_equal_backends_equal_shares() {
    let scenario = Scenario {
        exchanges: 1_500_000,
        ..Scenario::mixed()
    };
    for (seed, report) in rows(&scenario, &[PolicyChoice::Adaptive])[0]
        .reports
        .iter()
        .enumerate()
    {
        let even = report.picks.iter().sum::<u64>() as f64 / report.picks.len() as f64;
        for (at, picks) in report.picks.iter().enumerate() {
            let share = *picks as f64 / even;
            assert!(
                (share - 1.0).abs() <= 0.03,
                "seed {seed}: server {at} got {share:.4} of an even share"
            );
        }
    }
}

/// What the targets are measured against must hurt somebody, or they prove nothing.
#[test]
fn the_faults_bite() {
    let bare = |name: &str| Scenario {
        breaker: false,
        retries: false,
        ..named(name)
    };
    let check = |name: &str, policy: PolicyChoice, bites: fn(&Report) -> bool| {
        let rows = rows(&bare(name), &[policy]);
        for report in &rows[0].reports {
            assert!(
                bites(report),
                "{name} under {}: {:.3} % failed, p99 {:.1} ms",
                rows[0].policy,
                report.failed,
                report.p99
            );
        }
    };
    check("kill-70", PolicyChoice::RoundRobin, |report| {
        report.failed > 3.0
    });
    check("restart-70", PolicyChoice::RoundRobin, |report| {
        report.failed > 0.0 && report.failed < 0.1
    });
    // Somebody waits to the deadline, and no longer.
    check("black-hole-70", PolicyChoice::RoundRobin, |report| {
        report.failed > 3.0 && (report.p99 - 1000.0).abs() < 1.0
    });
    check("stall-70", PolicyChoice::RoundRobin, |report| {
        report.p99 > 2000.0
    });
    check("sinkhole-70", PolicyChoice::LeastConnections, |report| {
        report.failed > 40.0
    });
}

#[test]
fn a_stall_is_left_at_once() {
    let rows = rows(
        &named("stall-70"),
        &[PolicyChoice::Adaptive, PolicyChoice::RoundRobin],
    );
    assert!(
        p99(&rows[0]) <= 0.5 * p99(&rows[1]),
        "{:.1} ms against {:.1}",
        p99(&rows[0]),
        p99(&rows[1])
    );
}

#[test]
fn eight_independent_balancers_cost_little() {
    let one = p99(&rows(&named("even-90"), &[PolicyChoice::Adaptive])[0]);
    let eight = p99(&rows(&named("even-90-by-8"), &[PolicyChoice::Adaptive])[0]);
    println!("eight balancers: {:.3} of one", eight / one);
    assert!(eight <= 1.35 * one, "{eight:.1} ms against {one:.1}");
}

#[test]
fn a_returning_server_is_not_flooded() {
    let check = |policy: PolicyChoice, most: f64| {
        let row = &rows(&named("restart-70"), &[policy])[0];
        let peak = row.figure(|report| report.peak).most;
        println!("{}: {peak:.2} times the mean in flight", row.policy);
        assert!(
            peak <= most,
            "{}: {peak:.2} times the mean in flight after a restart",
            row.policy
        );
    };
    check(PolicyChoice::Adaptive, 2.0);
    check(PolicyChoice::PeakEwma, 2.0);
    // As nginx has it, its cost grows with those in flight and not with their square.
    check(PolicyChoice::LeastTime, 2.5);
}

#[test]
fn the_dead_and_the_silent_cost_no_exchange() {
    for scenario in ["kill-70", "black-hole-70"] {
        let rows = rows(
            &named(scenario),
            &[PolicyChoice::Adaptive, PolicyChoice::RoundRobin],
        );
        for row in rows {
            let failed = row.figure(|report| report.failed).most;
            assert!(
                failed == 0.0,
                "{scenario}: {} failed {failed:.3} %",
                row.policy
            );
        }
    }
}

#[test]
fn a_backend_marked_down_moves_no_other_key() {
    for method in HashMethod::ALL {
        // With slow start they return one by one: `keys_come_home_with_the_ramp` of the core.
        let settings =
            ServiceSettings::with_policy(PolicyChoice::Hash(method)).slow_start(Duration::ZERO);
        let backends = (0..20)
            .map(|at| BackendSpec::new(format!("backend-{at}")))
            .collect();
        let service = Service::new(
            "hash",
            settings,
            backends,
            std::sync::Arc::new(()),
            Instant::ZERO,
        )
        .unwrap();
        let homes = || -> Vec<BackendId> {
            let home = |key: u64| {
                let pick = service
                    .pick(&Ask::new(0).key(mix(1, key)), Instant::ZERO)
                    .unwrap();
                let home = pick.backend().id().clone();
                pick.finish(Outcome::Completed, Instant::ZERO + Duration::from_millis(1));
                home
            };
            (0..10_000).map(home).collect()
        };
        let before = homes();
        let down = BackendId::from("backend-7");
        service
            .mark(&down, Some(false), None, Instant::ZERO)
            .unwrap();
        let after = homes();
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after && **before != down)
            .count();
        assert_eq!(moved, 0, "{method:?}");
        assert!(
            !after.contains(&down) && before.contains(&down),
            "{method:?}"
        );
        service
            .mark(&down, Some(true), None, Instant::ZERO)
            .unwrap();
        assert_eq!(homes(), before, "{method:?}: they return");
    }
}
