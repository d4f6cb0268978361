//! What the policies must reach, N = 20, five seeds, two where all policies run. A target that is missed is a finding; it is never loosened:
//! whoever has another by the finding has it beside what was reached.
#![expect(clippy::print_stdout, reason = "the figures are worth seeing")]

use std::ops::Range;
use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{BackendId, BackendSpec};
use evenkeel_balance::hashing::mix;
use evenkeel_balance::hedge::{HedgeAt, HedgeSettings, Quantile};
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{
    HashMethod, LoadBound, Overprovision, PolicyChoice, ServiceSettings,
};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Outcome;
use evenkeel_sim::report::Report;
use evenkeel_sim::scenario::{Fault, Scenario};
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
    // As nginx has it, its cost grows with those in flight and not with their square: one that nothing happened to has up to 2.1, in
    // `docs/findings.md`. The target is for what our default does.
    check(PolicyChoice::LeastTime, 2.5);
}

/// Every policy in a world of tiers or zones.
fn parted(scenario: &Scenario) -> Vec<Row> {
    // Fewer seeds, for more policies.
    let rows = table::rows(scenario, &PolicyChoice::BUILT_IN, 2, 2);
    println!("{}", table::told(scenario, &rows));
    rows
}

/// Of all that came in these seconds, what went behind the first tier, or out of its zone.
#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
fn spilled(report: &Report, seconds: Range<usize>) -> f64 {
    let of = |each: &[u64]| {
        let counts = seconds.clone().map(|at| each.get(at).copied());
        counts.map(Option::unwrap_or_default).sum::<u64>() as f64
    };
    of(&report.spilled_each) / of(&report.served)
}

/// The share of all that spills in these seconds, in each seed.
fn check_spill(row: &Row, seconds: Range<usize>, share: f64, within: f64) {
    // They leave who fails so soon that its breaker opens late, and until then it counts as healthy: `docs/findings.md`.
    let least = match &*row.policy {
        // Reached: .93 of it behind a tier, .75 in another zone.
        "peak_ewma" | "least_time" => 0.7 * share,
        _ => share - within,
    };
    for report in &row.reports {
        let got = spilled(report, seconds.clone());
        assert!(
            got >= least && got <= share + within,
            "{}: {got:.4} of all spilled in {seconds:?}, not {share}",
            row.policy
        );
    }
}

/// What is left of a tier, or of a zone, is asked for what it can do, and the others for the rest; alone it would be asked for a fifth more.
fn check_half_lost(scenario: &Scenario, share: f64, within: f64) {
    let alone = Scenario {
        overprovision: Overprovision::new(1_000.0).expect("a factor"),
        ..scenario.clone()
    };
    let alone = table::rows(&alone, &PolicyChoice::BUILT_IN, 1, 2);
    for (shared, alone) in parted(scenario).iter().zip(&alone) {
        let told = format!(
            "{}: {:.1} ms, alone {:.1}",
            shared.policy,
            p99(shared),
            p99(alone)
        );
        println!("{told}");
        assert!(p99(shared) <= 0.2 * p99(alone), "{told}");
        let failed = shared.figure(|report| report.failed).most;
        assert!(failed < 0.01, "{}: {failed:.3} % failed", shared.policy);
        check_spill(shared, 0..8, 0.0, 0.0);
        check_spill(shared, 10..24, share, within);
    }
}

#[test]
fn a_tier_that_lost_half_does_not_drown() {
    check_half_lost(&Scenario::tiers(), 0.3, 0.02);
}

/// Of one zone's half of the clients 30 %, and nobody of the other's, which has what it needs.
#[test]
fn a_zone_that_lost_half_does_not_drown() {
    check_half_lost(&Scenario::zones(), 0.15, 0.01);
}

/// The next tier takes all within a second, and gives it back: not before the first is there again, and to the last exchange then.
#[test]
fn a_tier_that_is_lost_is_stood_in_for_until_it_is_back() {
    for row in parted(&Scenario::tiers_back()) {
        let failed = row.figure(|report| report.failed).most;
        assert!(failed < 0.1, "{}: {failed:.3} % failed", row.policy);
        check_spill(&row, 0..12, 0.0, 0.0);
        check_spill(&row, 13..22, 1.0, 0.01);
        check_spill(&row, 40..49, 0.0, 0.0);
    }
}

/// Where nobody has to cross it does not matter how far away the others are.
#[test]
fn nobody_leaves_a_zone_that_has_what_it_needs() {
    let peace = |across| Scenario {
        strikes: Vec::new(),
        across,
        exchanges: 20_000,
        ..Scenario::zones()
    };
    let [near, far] = [Duration::ZERO, Duration::from_secs(1)].map(|across| parted(&peace(across)));
    for (near, far) in near.iter().zip(&far) {
        assert_eq!(near.reports, far.reports, "{}", near.policy);
        assert_eq!(near.figure(|report| report.spilled).most, 0.0);
    }
    // Who has to cross feels it there and back: else the above would say nothing.
    let [near, far] = [Duration::ZERO, Duration::from_secs(1)].map(|across| {
        let lost = peace(across).strike(Duration::ZERO, 0.25, Fault::Kill);
        p99(&table::rows(&lost, &[PolicyChoice::Adaptive], 1, 1)[0])
    });
    assert!(near < 1_000.0 && far >= 2_000.0, "{near:.1} ms, {far:.1}");
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

/// One of twenty servers pauses for a second out of four: what is under way there, or comes, waits.
fn pausing(hedge: Option<HedgeSettings>) -> Scenario {
    let mut scenario = Scenario {
        hedge,
        exchanges: 80_000,
        ..Scenario::plain("pausing", "a server that pauses, load .5", 0.5)
    };
    for at in (6..40).step_by(4) {
        let stall = Fault::Stall(Duration::from_secs(1));
        scenario = scenario.strike(Duration::from_secs(at), 0.05, stall);
    }
    scenario
}

fn hedged_at(permille: u16, most_permille: u32) -> HedgeSettings {
    let quantile = Quantile::new(permille).expect("a quantile");
    HedgeSettings::at(HedgeAt::Quantile(quantile)).most_permille(most_permille)
}

/// Where a policy does not look at what is in flight, a pause is felt by all who are sent there; a second attempt takes that away, and costs
/// what it may at most. Where it does, hedges must not make the one that pauses look good.
#[test]
fn hedges_take_the_tail_of_pauses_away() {
    let policies = [PolicyChoice::RoundRobin, PolicyChoice::Adaptive];
    let without = rows(&pausing(None), &policies);
    let with = rows(&pausing(Some(hedged_at(950, 50))), &policies);
    for (without, with) in without.iter().zip(&with) {
        let hedged = with.figure(|report| report.hedged);
        println!(
            "{}: p99 {:.1} ms, hedged {:.1} ms, {:.2} % of them",
            with.policy,
            p99(without),
            p99(with),
            hedged.mean
        );
        // What a second of the warm-up has earned is spent behind it.
        assert!(hedged.least > 0.5 && hedged.most <= 5.2, "{hedged:?}");
        assert_eq!(without.figure(|report| report.hedged).most, 0.0);
    }
    assert!(p99(&with[0]) <= 0.4 * p99(&without[0]), "round robin");
    assert!(p99(&with[1]) <= 1.05 * p99(&without[1]), "adaptive");
}

/// Work that cannot be done is not made more than was allowed, with everybody overloaded too. It is felt where little is to spare: who is late
/// here is so since it is much work, which is done twice, by servers that notice nobody leave and have no limits.
#[test]
fn hedges_add_little_to_an_overload() {
    let busy = |load, hedge| Scenario {
        hedge,
        ..Scenario::plain("busy", "as much as all can do, or more", load)
    };
    let policies = [PolicyChoice::RoundRobin, PolicyChoice::Adaptive];
    for (load, permille, most, slower) in [
        (0.5, 950, 20, 1.05),
        (0.8, 950, 20, 1.15),
        (0.95, 950, 20, 1.9),
        (1.2, 950, 20, 1.25),
        (1.2, 500, 200, 2.5),
    ] {
        let without = rows(&busy(load, None), &policies);
        let with = rows(&busy(load, Some(hedged_at(permille, most))), &policies);
        for (without, with) in without.iter().zip(&with) {
            let (hedged, most) = (with.figure(|report| report.hedged), f64::from(most) / 10.0);
            let [before, after] = [without, with].map(|row| {
                let failed = row.figure(|report| report.failed).mean;
                (row.figure(|report| report.p50).mean, p99(row), failed)
            });
            println!(
                "load {load}, {}: {before:.1?} before, {after:.1?} with {:.2} % of at most {most} %",
                with.policy, hedged.mean
            );
            assert!(
                hedged.least > 0.0 && hedged.most <= most * 1.05,
                "{hedged:?}"
            );
            assert!(after.0 <= slower * before.0 && after.1 <= slower * before.1);
        }
    }
}

/// A server that never answers is hedged away for a while; it must end up with no more than it has without hedges.
#[test]
fn hedges_do_not_keep_the_silent_in_business() {
    let silent = |hedge| Scenario {
        hedge,
        ..named("black-hole-70")
    };
    let policies = [PolicyChoice::RoundRobin, PolicyChoice::Adaptive];
    let without = rows(&silent(None), &policies);
    let with = rows(&silent(Some(hedged_at(950, 50))), &policies);
    for (without, with) in without.iter().zip(&with) {
        let picks = |row: &Row| row.figure(|report| report.picks[0] as f64).mean;
        println!(
            "{}: {:.0} picks of the silent, {:.0} with hedges",
            with.policy,
            picks(without),
            picks(with)
        );
        assert_eq!(with.figure(|report| report.failed).most, 0.0);
        assert!(picks(with) <= 2.0 * picks(without), "{}", with.policy);
    }
}
