//! The same seed, the same world: to the last event, whatever the machine does meanwhile.

use evenkeel_balance::settings::PolicyChoice;
use evenkeel_sim::report::Report;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::{table, world};

fn figures(report: Report) -> Report {
    Report { trace: 0, ..report }
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    for scenario in Scenario::all() {
        let exchanges = 5_000;
        // Faults come as early as the end does, or none of them would.
        let sooner = scenario.exchanges / exchanges;
        let mut scenario = Scenario {
            exchanges,
            ..scenario
        };
        for strike in &mut scenario.strikes {
            strike.at /= u32::try_from(sooner).expect("a few");
        }
        let mut spared = scenario.clone();
        let last = spared.strikes.pop();
        for policy in PolicyChoice::BUILT_IN {
            let [one, two, other] = [7, 7, 8].map(|seed| world::run(&scenario, &policy, seed));
            assert_eq!(one, two, "{} in {}", policy.name(), scenario.name);
            assert_ne!(
                one.trace,
                other.trace,
                "{} in {}: another seed is another world",
                policy.name(),
                scenario.name
            );
            // A fault that comes behind the end changes nothing, and one that does nothing only the trace, which has that it came.
            let without = world::run(&spared, &policy, 7);
            let struck = last.is_none() || figures(one) != figures(without);
            assert!(struck, "{} in {}: {last:?}", policy.name(), scenario.name);
        }
    }
}

#[test]
fn threads_do_not_matter() {
    let scenario = Scenario {
        exchanges: 5_000,
        ..Scenario::plain("threads", "", 0.7).uneven()
    };
    let told = |threads| {
        table::told(
            &scenario,
            &table::rows(&scenario, &PolicyChoice::BUILT_IN, 3, threads),
        )
    };
    assert_eq!(told(1), told(4));
}

/// The tables of cheap scenarios stand in the document as they come out now. The rest is written by the same code.
#[test]
fn the_document_is_not_stale() {
    let document = include_str!("../../docs/policies.md");
    for name in ["even-90", "sinkhole-70", "kill-70", "zones-60-by-2"] {
        let scenario = Scenario::named(name).unwrap();
        let told = table::told(
            &scenario,
            &table::rows(&scenario, &PolicyChoice::BUILT_IN, 5, 2),
        );
        assert!(
            document.contains(&told),
            "docs/policies.md is stale; `cargo xtask policies` writes it anew. {name} is now:\n{told}"
        );
    }
}
