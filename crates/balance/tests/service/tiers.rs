use std::time::Duration;

use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::eligibility::{Bar, Rung};
use evenkeel_balance::event::EventKind;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::settings::{OnAllDown, PolicyChoice};

use crate::stage::{Stage, id, plain};

/// Three in tier 0 and two in each of 1 and 5, by their names.
fn tiered() -> Vec<BackendSpec> {
    [
        ("a", 0),
        ("b", 0),
        ("c", 0),
        ("d", 1),
        ("e", 1),
        ("f", 5),
        ("g", 5),
    ]
    .map(|(name, tier)| BackendSpec::new(name).tier(tier))
    .into()
}

const ALL: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// What is done to whom: `x` down, `o` out of weight, `d` draining, `n` disabled.
fn done(stage: &Stage, to: &str) {
    for (name, what) in ALL.iter().zip(to.chars()) {
        let admin = |admin| {
            let set = stage.service.set_admin(&id(name), admin, stage.now);
            set.unwrap();
        };
        match what {
            'x' => stage.mark(name, false),
            'o' => {
                let none = Weight::ZERO;
                let set = stage.service.set_weight(&id(name), none, stage.now);
                set.unwrap();
            }
            'd' => admin(Admin::Draining),
            'n' => admin(Admin::Disabled),
            _ => {}
        }
    }
}

/// Who serves, with any policy of the core's own, and what explaining says of those who do not.
#[track_caller]
fn check(to: &str, expect: &str, standby: &str) {
    for policy in PolicyChoice::BUILT_IN {
        let name = policy.name().to_owned();
        let settings = plain().policy(policy).on_all_down(OnAllDown::FailOpen);
        let mut stage = Stage::of(settings, tiered());
        done(&stage, to);
        let counts = stage.serve(400, &[], &ALL);
        let served: String = ALL
            .iter()
            .zip(&counts)
            .filter(|(_, count)| **count > 0)
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(served, expect, "{name} {to}");
        let ask = stage.ask();
        let explained = stage.service.explain(&ask, stage.now);
        let stands_by = |bar| bar == Some(Bar::Standby);
        let waiting: String = explained
            .candidates
            .iter()
            .filter(|one| stands_by(one.bar))
            .map(|one| one.id.as_str())
            .collect();
        assert_eq!(waiting, standby, "{name} {to}");
        let snapshot = stage.service.snapshot(stage.now);
        assert_eq!(snapshot.tier, explained.tier, "{name} {to}");
        for one in snapshot.backends {
            let wanted = one.share_wanted > 0.0;
            let serves = served.contains(one.id.as_str());
            let open = snapshot.rung == Rung::FailOpen;
            assert_eq!(wanted, serves && !open, "{name} {to} {}", one.id);
        }
    }
}

#[test]
fn a_tier_serves_while_none_before_it_is_healthy() {
    check(".......", "abc", "defg");
    check("x......", "bc", "defg");
    check("xx.....", "c", "defg");
    check("xxx....", "de", "fg");
    check("xxxx...", "e", "fg");
    check("xxxxx..", "fg", "");
    check("xxxxxx.", "g", "");
    // Those of a tier that waits may be down without a word.
    check("...xx..", "abc", "fg");
    // Whatever takes a backend out counts: weight 0, draining, disabled.
    check("ooo....", "de", "fg");
    check("ddd....", "de", "fg");
    check("nnn....", "de", "fg");
    check("xdn....", "de", "fg");
    check("odnoo..", "fg", "");
    // The end of the ladder: all tiers, but for what is not to serve.
    check("xxxxxxx", "abcdefg", "");
    check("xdxoxnx", "aceg", "");
}

#[test]
fn a_tier_that_is_full_does_not_spill() {
    let backends = vec![
        BackendSpec::new("a").max_in_flight(1),
        BackendSpec::new("b").tier(1),
    ];
    let mut stage = Stage::of(plain(), backends);
    let held = stage.pick().unwrap();
    assert_eq!(stage.pick().unwrap_err(), Refusal::AllFull);
    stage.well(held);
    assert_eq!(stage.serve(5, &[], &["a", "b"]), [5, 0]);
}

#[test]
fn each_move_between_tiers_is_told_once_and_failing_open_apart() {
    let settings = plain().on_all_down(OnAllDown::FailOpen);
    let mut stage = Stage::of(settings, tiered());
    let moves = |stage: &Stage| -> Vec<EventKind> {
        let told = stage.heard().into_iter();
        let of_interest = |kind: &EventKind| {
            matches!(
                kind,
                EventKind::TierChanged { .. }
                    | EventKind::AllDown { .. }
                    | EventKind::Recovered { .. }
            )
        };
        told.filter(of_interest).collect()
    };
    let changed = |from, to| EventKind::TierChanged { from, to };
    done(&stage, "xx.....");
    assert_eq!(moves(&stage), []);
    done(&stage, "xxx....");
    assert_eq!(moves(&stage), [changed(0, 1)]);
    done(&stage, "xxxxx..");
    assert_eq!(moves(&stage), [changed(1, 5)]);
    done(&stage, "xxxxxxx");
    let all_down = EventKind::AllDown {
        fail_open: true,
        members: 7,
    };
    assert_eq!(moves(&stage), [all_down]);
    stage.pass(2.0);
    assert_eq!(moves(&stage), []);
    stage.mark("b", true);
    let after = Duration::from_secs(2);
    let back = [changed(5, 0), EventKind::Recovered { after }];
    assert_eq!(moves(&stage), back);
    // A tier that another takes the place of in the configuration.
    let only = vec![BackendSpec::new("b").tier(3)];
    stage.service.replace(only, stage.now).unwrap();
    assert_eq!(moves(&stage), [changed(0, 3)]);
}

#[test]
fn a_breaker_of_a_tier_that_waits_gets_no_trial_and_one_of_a_tier_before_does() {
    let backends = vec![
        BackendSpec::new("a"),
        BackendSpec::new("b"),
        BackendSpec::new("c").tier(1),
        BackendSpec::new("d").tier(1),
    ];
    let mut stage = Stage::of(plain(), backends);
    stage.mark("a", false);
    stage.mark("b", false);
    // c fails while its tier serves, and its open time passes while it waits.
    stage.serve(40, &["c"], &[]);
    stage.pass(1.0);
    stage.mark("a", true);
    stage.pass(20.0);
    assert_eq!(stage.standing("c").word(), "probing");
    assert_eq!(stage.serve(50, &[], &["a", "c", "d"]), [50, 0, 0]);
    stage.mark("a", false);
    stage.pass(0.2);
    let counts = stage.serve(50, &[], &["a", "c", "d"]);
    assert!(counts[0] == 0 && counts[1] > 0, "{counts:?}");
}

#[test]
fn who_returns_warms_up_beside_its_own_tier_only() {
    let settings = plain().slow_start(Duration::from_secs(10));
    let backends = vec![
        BackendSpec::new("a"),
        BackendSpec::new("b"),
        BackendSpec::new("c").tier(1),
    ];
    let stage = Stage::of(settings, backends);
    for name in ["a", "b"] {
        stage.mark(name, false);
    }
    let ramp = |stage: &Stage, name: &str| stage.backend(name).ramp;
    stage.mark("a", true);
    assert!((ramp(&stage, "a") - 1.0).abs() < 0.01, "it is needed whole");
    stage.mark("b", true);
    assert!(ramp(&stage, "b") < 0.2, "it returns beside a");
    // Who joins a tier that waits has nobody to share with either way.
    let joins = BackendSpec::new("d").tier(2);
    stage.service.add(joins, stage.now).unwrap();
    assert!((ramp(&stage, "d") - 1.0).abs() < 0.01);
}

/// kOS K42, weighted round robin with priority: within the tier that serves, turns go exactly by weight, and the next one
/// takes over by its own weights.
#[test]
fn turns_go_by_weight_within_the_tier_that_serves() {
    let spec = |name: &str, weight: u32, tier: u16| {
        let weight = Weight::new(weight).unwrap();
        BackendSpec::new(name).weight(weight).tier(tier)
    };
    let backends = vec![
        spec("a", 5, 0),
        spec("b", 1, 0),
        spec("c", 3, 1),
        spec("d", 1, 1),
    ];
    let mut stage = Stage::of(plain(), backends);
    let names = ["a", "b", "c", "d"];
    assert_eq!(stage.serve(600, &[], &names), [500, 100, 0, 0]);
    stage.mark("a", false);
    assert_eq!(stage.serve(100, &[], &names), [0, 100, 0, 0]);
    stage.mark("b", false);
    assert_eq!(stage.serve(400, &[], &names), [0, 0, 300, 100]);
    stage.mark("a", true);
    assert_eq!(stage.serve(100, &[], &names), [100, 0, 0, 0]);
}
