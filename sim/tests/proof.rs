//! The world proves itself: what queueing theory knows in closed form, it must reproduce within 2 %.
#![expect(clippy::print_stdout, reason = "the figures are worth seeing")]

use std::time::Duration;

use evenkeel_balance::settings::PolicyChoice;
use evenkeel_sim::scenario::{Demand, Scenario};
use evenkeel_sim::{theory, world};

const SERVICE: f64 = 0.01;

/// Servers of exponential service, no network, no deadline: what the formulas speak of.
fn markov(servers: usize, slots: usize, load: f64, exchanges: usize) -> Scenario {
    Scenario {
        servers,
        slots,
        routes: vec![Demand::Exponential(SERVICE)],
        network: Duration::ZERO,
        deadline: None,
        exchanges,
        ..Scenario::plain("proof", "closed formulas", load)
    }
}

/// Mean sojourn over a few seeds, in units of the mean service time, against the formula.
fn check(policy: &PolicyChoice, scenario: &Scenario, expected: f64) {
    let seeds = [1, 2, 3, 4];
    let means: Vec<f64> = seeds
        .iter()
        .map(|&seed| world::run(scenario, policy, seed).mean / (SERVICE * 1000.0))
        .collect();
    let mean = means.iter().sum::<f64>() / 4.0;
    let spread = means.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / 3.0;
    let error = (spread / 4.0).sqrt();
    let off = (mean - expected).abs() / expected;
    let told = format!(
        "{} at {}: {mean:.4} +- {error:.4}, expected {expected:.4}",
        policy.name(),
        scenario.load
    );
    println!("{told}");
    assert!(off < 0.02, "{told}");
}

#[test]
fn the_mean_field_of_one_choice() {
    for (load, exchanges) in [
        (0.5, 200_000),
        (0.7, 300_000),
        (0.8, 1_000_000),
        (0.9, 2_000_000),
    ] {
        check(
            &PolicyChoice::Random,
            &markov(500, 1, load, exchanges),
            theory::mean_field(load, 1),
        );
    }
}

#[test]
fn the_mean_field_of_two_choices() {
    for (load, exchanges) in [
        (0.5, 200_000),
        (0.7, 300_000),
        (0.8, 400_000),
        (0.9, 600_000),
        (0.95, 1_000_000),
    ] {
        check(
            &PolicyChoice::PowerOfTwo,
            &markov(1000, 1, load, exchanges),
            theory::mean_field(load, 2),
        );
    }
}

#[test]
fn one_server_is_m_m_1() {
    for (load, exchanges) in [(0.5, 200_000), (0.8, 1_000_000)] {
        check(
            &PolicyChoice::Adaptive,
            &markov(1, 1, load, exchanges),
            1.0 / (1.0 - load),
        );
    }
}

#[test]
fn one_server_with_slots_is_m_m_c() {
    for (slots, load) in [(4, 0.7), (4, 0.9), (16, 0.9)] {
        let expected = theory::erlang_sojourn(slots, load);
        check(
            &PolicyChoice::RoundRobin,
            &markov(1, slots as usize, load, 1_000_000),
            expected,
        );
    }
}

/// As the core does it over shared exact counts, a full scan of single-slot servers is join-the-shortest-queue: never
/// better than one queue for all servers (M/M/c), and close to it.
#[test]
fn the_shortest_queue_is_near_the_one_queue() {
    let one_queue = theory::erlang_sojourn(10, 0.8);
    let mean = world::run(
        &markov(10, 1, 0.8, 500_000),
        &PolicyChoice::LeastConnections,
        1,
    )
    .mean
        / (SERVICE * 1000.0);
    assert!(
        mean > one_queue && mean < 1.25 * one_queue,
        "{mean:.3} against {one_queue:.3}"
    );
}
