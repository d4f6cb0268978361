//! The real engine in virtual worlds with faults. A seed that finds something repeats it: `evenkeel-sim proxy --seed N`.

#[path = "../../../crates/balance/tests/allocations/counting.rs"]
mod counting;

use counting::{allocations, bytes_kept};
use evenkeel_sim::traffic::{Kind, Report, run, run_many};

/// Requests of a seed.
const STEPS: usize = 40;

#[test]
fn nothing_is_found_in_any_world() {
    let (report, found) = run_many(1, 400, STEPS, 2);
    assert!(found.is_empty(), "by seed, with {STEPS} steps: {found:#?}");
    // A fault that did not happen proves nothing.
    let faults: Vec<_> = report.faults.keys().copied().collect();
    let all = [
        "accepted and never answered",
        "answer byte by byte",
        "client left",
        "closed a kept connection unsaid",
        "connecting never ends",
        "drain",
        "end before the answer",
        "garbage",
        "hedge won",
        "hedged",
        "idle connection closed",
        "killed",
        "killed within the body",
        "killed within the head",
        "partition",
        "refuses connections",
        "reload",
        "reset before the answer",
        "reset within the request",
        "stalled within the body",
        "status 503",
    ];
    assert_eq!(faults, all);
    assert!(report.served > 8_000 && report.cut > 50, "{report:?}");
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    for seed in 1..=12 {
        let [one, two, other] = [seed, seed, seed + 100].map(|seed| run(seed, STEPS));
        assert_eq!(one, two, "seed {seed}, {:?}", Kind::of(seed));
        assert_ne!(one.trace, other.trace, "seed {seed}");
    }
    assert_eq!(run_many(1, 8, STEPS, 1), run_many(1, 8, STEPS, 3));
}

#[test]
fn a_world_that_ended_holds_nothing() {
    // What is made once for all stays.
    let mut seen = Report::default();
    for seed in 0..8 {
        seen.add(&run(seed, STEPS));
    }
    for seed in 0..40 {
        let mut report = None;
        let asked = allocations(|| report = Some(run(seed, STEPS)));
        drop(report.take());
        let kept = bytes_kept(|| drop(run(seed, STEPS)));
        assert_eq!(kept, 0, "bytes kept by seed {seed}");
        assert!(asked > 0, "nothing was counted");
    }
}
