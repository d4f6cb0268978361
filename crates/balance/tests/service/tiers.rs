use std::time::Duration;

use evenkeel_balance::ask::{Ask, Tried};
use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::eligibility::{Bar, Rung};
use evenkeel_balance::event::EventKind;
use evenkeel_balance::hashing::mix;
use evenkeel_balance::health::{CheckFault, CheckResult};
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::queue::Entry;
use evenkeel_balance::service::Handle;
use evenkeel_balance::settings::{
    ActiveSettings, HashMethod, OnAllDown, Overprovision, PolicyChoice, QueueSettings,
    ServiceSettings,
};
use evenkeel_balance::spill::Spill;
use evenkeel_balance::verdict::{Outcome, Verdict};

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
fn a_tier_serves_what_those_before_it_cannot_carry() {
    check(".......", "abc", "defg");
    // Two thirds carry 93 %.
    check("x......", "bcde", "fg");
    check("xx.....", "cde", "fg");
    check("xxx....", "de", "fg");
    check("xxxx...", "efg", "");
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

/// So many healthy of so many in each tier, and the percents that each is to get.
#[track_caller]
fn shared(policy: &PolicyChoice, tiers: &[(usize, usize)], factor: f64, expect: &[f64]) {
    let name = policy.name().to_owned();
    let settings = ServiceSettings::with_policy(policy.clone())
        .overprovision(Overprovision::new(factor).unwrap())
        .slow_start(Duration::ZERO);
    let member = |tier: usize, at: usize| format!("{tier}-{at}");
    let specs = tiers.iter().enumerate().flat_map(|(tier, &(_, all))| {
        let of = u16::try_from(tier).unwrap();
        (0..all).map(move |at| BackendSpec::new(member(tier, at)).tier(of))
    });
    let mut stage = Stage::of(settings, specs.collect());
    for (tier, &(healthy, all)) in tiers.iter().enumerate() {
        (healthy..all).for_each(|at| stage.mark(&member(tier, at), false));
    }
    let (mut got, picks) = (vec![0_u32; tiers.len()], 4_000_u32);
    for _ in 0..picks {
        let pick = stage.pick().unwrap();
        let id = pick.backend().id().as_str();
        got[id.split_once('-').unwrap().0.parse::<usize>().unwrap()] += 1;
        stage.well(pick);
    }
    for ((tier, got), percents) in got.iter().enumerate().zip(expect) {
        let got = f64::from(*got) / f64::from(picks) * 100.0;
        // Five standard deviations of a draw of 4,000; nothing is nothing.
        let near = if *percents > 0.0 && *percents < 100.0 {
            4.0
        } else {
            0.0
        };
        assert!(
            (got - percents).abs() <= near,
            "{name} {tiers:?} x {factor}: tier {tier} got {got} %, not {percents}"
        );
    }
    let snapshot = stage.service.snapshot(stage.now);
    for (tier, percents) in snapshot.tiers.iter().zip(expect) {
        let share = tier.share * 100.0;
        assert!((share - percents).abs() < 0.5, "{name} {tiers:?}: {tier:?}");
    }
    let counted: u64 = snapshot.tiers.iter().map(|tier| tier.picked).sum();
    assert_eq!(counted, u64::from(picks), "{name} {tiers:?}");
    let behind: u64 = snapshot.tiers.iter().skip(1).map(|tier| tier.picked).sum();
    let spilled = snapshot.spilled;
    assert!(
        spilled.contains(&(Spill::TierHealth, behind)),
        "{name} {tiers:?}: {spilled:?}"
    );
    let ask = stage.ask();
    let explained = stage.service.explain(&ask, stage.now);
    let sum: f64 = explained.tiers.iter().map(|(_, share)| share).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{name} {:?}", explained.tiers);
}

#[test]
fn every_policy_shares_exchanges_by_the_health_of_tiers() {
    for policy in &PolicyChoice::BUILT_IN {
        shared(policy, &[(10, 10), (10, 10)], 1.4, &[100.0, 0.0]);
        shared(policy, &[(18, 25), (5, 5)], 1.4, &[100.0, 0.0]);
        shared(policy, &[(5, 10), (10, 10)], 1.4, &[70.0, 30.0]);
        shared(policy, &[(1, 4), (4, 4)], 1.4, &[35.0, 65.0]);
        shared(policy, &[(0, 4), (4, 4)], 1.4, &[0.0, 100.0]);
        shared(policy, &[(2, 8), (2, 8)], 1.4, &[50.0, 50.0]);
        let three = [(5, 20), (5, 20), (4, 20)];
        shared(policy, &three, 1.4, &[35.7, 35.7, 28.6]);
    }
    let plain = PolicyChoice::RoundRobin;
    shared(&plain, &[(5, 10), (10, 10)], 1.0, &[50.0, 50.0]);
    shared(&plain, &[(9, 10), (10, 10)], 1.0, &[90.0, 10.0]);
    // All or nothing, as far as it matters.
    shared(&plain, &[(1, 10), (10, 10)], 1_000.0, &[100.0, 0.0]);
}

/// The coin of a tier says nothing of whom the policy draws within it.
#[test]
fn a_tier_that_has_a_share_serves_through_all_of_its_backends_alike() {
    for policy in [
        PolicyChoice::Random,
        PolicyChoice::Adaptive,
        PolicyChoice::PowerOfTwo,
    ] {
        let settings = ServiceSettings::with_policy(policy).slow_start(Duration::ZERO);
        let names: Vec<String> = (0..20).map(|at| at.to_string()).collect();
        let specs = names.iter().enumerate();
        let specs = specs.map(|(at, name)| BackendSpec::new(&**name).tier(u16::from(at >= 10)));
        let mut stage = Stage::of(settings, specs.collect());
        (5..10).for_each(|at| stage.mark(&names[at], false));
        let of: Vec<&str> = names.iter().map(|name| &**name).collect();
        let counts = stage.serve(20_000, &[], &of);
        for (at, &count) in counts.iter().enumerate() {
            let expect: usize = match at {
                0..5 => 2_800,
                5..10 => 0,
                _ => 600,
            };
            assert!(count.abs_diff(expect) <= expect / 6, "{at}: {counts:?}");
        }
    }
}

/// A key spills by what it is: the same ones, as long as shares stand, and home again afterwards.
#[test]
fn a_key_keeps_its_tier_while_shares_stand() {
    for method in HashMethod::ALL {
        let settings =
            ServiceSettings::with_policy(PolicyChoice::Hash(method)).slow_start(Duration::ZERO);
        let specs = ["a", "b", "c", "d", "e", "f", "g", "h"].iter().enumerate();
        let specs = specs.map(|(at, name)| BackendSpec::new(*name).tier(u16::from(at >= 4)));
        let stage = Stage::of(settings, specs.collect());
        let homes = |stage: &Stage, chance: u64| -> Vec<String> {
            let home = |key| {
                let ask = Ask::new(mix(chance, key)).key(mix(77, key));
                let pick = stage.service.pick(&ask, stage.now).unwrap();
                let home = pick.backend().id().as_str().to_owned();
                stage.well(pick);
                home
            };
            (0..2_000).map(home).collect()
        };
        let whole = homes(&stage, 1);
        assert!(whole.iter().all(|home| "abcd".contains(&**home)));
        stage.mark("a", false);
        stage.mark("b", false);
        let shared = homes(&stage, 2);
        assert_eq!(
            shared,
            homes(&stage, 3),
            "{method:?}: chance has no part in it"
        );
        let is_first = |home: &&String| "abcd".contains(&***home);
        let first = shared.iter().filter(is_first).count();
        assert!((1_300..1_500).contains(&first), "{method:?}: {first}");
        for (was, is) in whole.iter().zip(&shared) {
            // Who stays in the tier, and whose home serves, is at home.
            let at_home = was == is || "efgh".contains(&**is) || "ab".contains(&**was);
            assert!(at_home, "{method:?}: {was} {is}");
        }
        // A little more for the next tier moves few, and none of those that it has.
        stage.mark("c", false);
        for (was, is) in shared.iter().zip(homes(&stage, 4)) {
            assert!(
                "abcd".contains(&**was) || *was == is,
                "{method:?}: {was} {is}"
            );
        }
        ["a", "b", "c"]
            .iter()
            .for_each(|name| stage.mark(name, true));
        assert_eq!(homes(&stage, 5), whole, "{method:?}");
    }
}

#[test]
fn a_tier_that_is_full_spills_before_anybody_is_refused_or_waits() {
    for policy in PolicyChoice::BUILT_IN {
        let name = policy.name().to_owned();
        let settings = plain().policy(policy).queue(QueueSettings::default());
        let limited = |name, tier| BackendSpec::new(name).tier(tier).max_in_flight(1);
        let backends = vec![limited("a", 0), limited("b", 1), limited("c", 7)];
        let mut stage = Stage::of(settings, backends);
        let mut held = Vec::new();
        for expect in ["a", "b", "c"] {
            let ask = stage.ask();
            let until = stage.now + Duration::from_secs(1);
            let entry = stage.service.pick_or_wait(&ask, until, stage.now);
            let Entry::Picked(pick) = entry.unwrap() else {
                unreachable!("{name}: there is room behind")
            };
            assert_eq!(pick.backend().id().as_str(), expect, "{name}");
            held.push(pick);
        }
        assert_eq!(stage.pick().unwrap_err(), Refusal::AllFull, "{name}");
        let full = stage.service.snapshot(stage.now).spilled;
        assert!(full.contains(&(Spill::TierFull, 2)), "{name}: {full:?}");
        // Who frees a place is where the next one goes, in whichever tier.
        stage.well(held.remove(1));
        let pick = stage.pick().unwrap();
        assert_eq!(pick.backend().id().as_str(), "b", "{name}");
        stage.well(pick);
        held.into_iter().for_each(|pick| stage.well(pick));
        assert_eq!(stage.serve(5, &[], &["a", "b", "c"]), [5, 0, 0], "{name}");
    }
}

/// Where a tier behind has a share and no room, the tiers before take what it lacks.
#[test]
fn who_finds_the_last_tier_full_goes_to_the_first() {
    let limited = BackendSpec::new("c").tier(1).max_in_flight(1);
    let backends = vec![BackendSpec::new("a"), BackendSpec::new("b"), limited];
    let mut stage = Stage::of(plain(), backends);
    stage.mark("a", false);
    let held = stage.pick_of("c");
    assert_eq!(stage.serve(100, &[], &["a", "b", "c"]), [0, 100, 0]);
    stage.well(held);
}

#[test]
fn an_ask_goes_on_to_the_next_tier_where_it_may_have_nobody_of_the_first() {
    let backends = vec![
        BackendSpec::new("a"),
        BackendSpec::new("b"),
        BackendSpec::new("c").tier(1),
    ];
    let mut stage = Stage::of(plain(), backends);
    let mut tried = Tried::default();
    for _ in 0..3 {
        let ask = stage.ask();
        let pick = stage.service.pick(&ask.tried(&tried), stage.now).unwrap();
        tried.insert(pick.backend());
        stage.well(pick);
    }
    let ask = stage.ask();
    let none = stage.service.pick(&ask.tried(&tried), stage.now);
    assert_eq!(none.unwrap_err(), Refusal::AllTried);
    let only = [id("c")];
    let explained = stage.service.explain(&ask.subset(&only), stage.now);
    let place = explained.place.unwrap();
    assert_eq!((place.tier, place.tier_spill), (1, Some(Spill::TierFull)));
    assert_eq!(explained.candidates[2].bar, None);
    let pick = stage.service.pick(&ask.subset(&only), stage.now).unwrap();
    assert_eq!(*pick.backend().id(), id("c"));
    stage.well(pick);
}

/// The share of the first tier, in percents.
fn first_share(stage: &Stage) -> f64 {
    let snapshot = stage.service.snapshot(stage.now);
    snapshot.tiers[0].share * 100.0
}

#[test]
fn who_returns_counts_as_it_warms_up_and_who_joins_is_not_missed() {
    let settings = plain()
        .slow_start(Duration::from_secs(10))
        .health(ActiveSettings::default());
    let mut specs: Vec<_> = ["a", "b"].map(BackendSpec::new).into();
    specs.push(BackendSpec::new("z").tier(1));
    let mut stage = Stage::of(settings, specs);
    // Nobody is proven: the first tier is tried first, and all of it is taken to serve.
    assert!((first_share(&stage) - 100.0).abs() < 1e-9);
    ["a", "z"]
        .iter()
        .for_each(|name| stage.check(name, CheckResult::Passed));
    assert!(
        (first_share(&stage) - 100.0).abs() < 1e-9,
        "b is not known yet"
    );
    stage.check("b", CheckResult::Passed);
    stage.mark("b", false);
    assert!((first_share(&stage) - 70.0).abs() < 1e-9);
    stage.mark("b", true);
    stage.pass(0.1);
    let begins = first_share(&stage);
    assert!(
        (76.0..79.0).contains(&begins),
        "a tenth of it is back: {begins}"
    );
    stage.pass(2.0);
    let later = first_share(&stage);
    assert!(later > begins && later < 100.0, "{later}");
    stage.pass(10.0);
    assert!((first_share(&stage) - 100.0).abs() < 1e-9);
    // Three that join: unproven, broken, warming up.
    for name in ["c", "d", "e"] {
        stage
            .service
            .add(BackendSpec::new(name), stage.now)
            .unwrap();
    }
    (0..3).for_each(|_| stage.check("d", CheckResult::Failed(CheckFault::Refused)));
    stage.check("e", CheckResult::Passed);
    stage.pass(0.1);
    assert!((first_share(&stage) - 100.0).abs() < 1e-9);
    // One that has served is missed, also if it is only drained.
    stage.pass(20.0);
    stage
        .service
        .set_admin(&id("e"), Admin::Draining, stage.now)
        .unwrap();
    stage.mark("b", false);
    assert!((first_share(&stage) - 1.4 / 3.0 * 100.0).abs() < 1e-6);
}

#[test]
fn shares_are_by_weight() {
    let weighed = |name, weight| BackendSpec::new(name).weight(Weight::new(weight).unwrap());
    let backends = vec![
        weighed("a", 3),
        weighed("b", 1),
        weighed("o", 0),
        BackendSpec::new("c").tier(1),
    ];
    let stage = Stage::of(plain(), backends);
    stage.mark("b", false);
    assert!((first_share(&stage) - 100.0).abs() < 1e-9);
    stage.mark("b", true);
    stage.mark("a", false);
    assert!((first_share(&stage) - 35.0).abs() < 1e-9);
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
        healthy: 0,
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
    // Who is all down and comes back to the tier that served before has not moved.
    stage.mark("b", false);
    let all_down = EventKind::AllDown {
        fail_open: true,
        healthy: 0,
        members: 1,
    };
    assert_eq!(moves(&stage), [all_down]);
    stage.pass(2.0);
    stage.mark("b", true);
    assert_eq!(moves(&stage), [EventKind::Recovered { after }]);
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
    stage.mark("b", true);
    stage.pass(20.0);
    assert_eq!(stage.standing("c").word(), "probing");
    assert_eq!(stage.serve(50, &[], &["a", "b", "c", "d"]), [25, 25, 0, 0]);
    // As soon as its tier has a share, it is heard.
    stage.mark("a", false);
    stage.pass(0.2);
    let counts = stage.serve(50, &[], &["a", "b", "c", "d"]);
    assert!(
        counts[0] == 0 && counts[1] > 0 && counts[2] > 0,
        "{counts:?}"
    );
}

/// However the policy chooses: of a hash no key comes to a tier that has no share, and a first tier of one would never be tried again.
#[test]
fn a_tier_of_which_all_are_on_trial_is_heard_and_serves_again() {
    for policy in PolicyChoice::BUILT_IN {
        let name = policy.name().to_owned();
        let backends = vec![BackendSpec::new("a"), BackendSpec::new("b").tier(1)];
        let mut stage = Stage::of(plain().policy(policy), backends);
        stage.serve(20, &["a"], &[]);
        stage.pass(0.1);
        assert_eq!(stage.standing("a").word(), "ejected", "{name}");
        assert_eq!(stage.serve(5, &[], &["a", "b"]), [0, 5], "{name}");
        stage.pass(1.5);
        assert_eq!(stage.standing("a").word(), "probing", "{name}");
        let ask = stage.ask();
        let explained = stage.service.explain(&ask, stage.now);
        assert!(explained.trial, "{name}");
        assert_eq!(explained.result, Ok(id("a")), "{name}");
        assert_eq!(stage.serve(5, &[], &["a", "b"]), [1, 4], "{name}");
        stage.pass(0.1);
        assert_eq!(stage.serve(5, &[], &["a", "b"]), [5, 0], "{name}");
    }
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

/// Who stands by is heard when it has to stand in, and what its answers taught outlasts the next tick.
#[test]
fn what_a_tier_that_stands_in_taught_is_kept() {
    let settings = ServiceSettings::with_policy(PolicyChoice::PeakEwma).slow_start(Duration::ZERO);
    let backends = vec![
        BackendSpec::new("a").max_in_flight(1),
        BackendSpec::new("b").tier(1),
        BackendSpec::new("c").tier(1),
    ];
    let mut stage = Stage::of(settings, backends);
    // What is usual is known from here on: 10 ms.
    stage.serve(8, &[], &[]);
    stage.pass(0.2);
    let held = stage.pick_of("a");
    for (name, took) in [("b", 1_000), ("c", 10)] {
        let (ask, only) = (stage.ask(), [id(name)]);
        let mut pick = stage.service.pick(&ask.subset(&only), stage.now).unwrap();
        let then = stage.now + Duration::from_millis(took);
        pick.answered(Verdict::Success, then);
        pick.finish(Outcome::Completed, then);
    }
    stage.pass(1.5);
    let ask = stage.ask();
    let explained = stage.service.explain(&ask, stage.now);
    let score = |at: usize| explained.candidates[at].score.unwrap();
    assert!(score(1) > 10.0 * score(2), "{} {}", score(1), score(2));
    stage.well(held);
}

/// kOS K42, weighted round robin with priority: within each tier turns go exactly by weight, whatever share it has.
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
    // A sixth carries 23 %.
    let counts = stage.serve(2_000, &[], &names);
    assert!(
        counts[0] == 0 && (370..570).contains(&counts[1]),
        "{counts:?}"
    );
    assert!(counts[2].abs_diff(3 * counts[3]) <= 4, "{counts:?}");
    stage.mark("b", false);
    let counts = stage.serve(400, &[], &names);
    assert_eq!(counts[..2], [0, 0]);
    assert!(counts[2].abs_diff(300) <= 2, "{counts:?}");
    // Five sixths carry all of it.
    stage.mark("a", true);
    assert_eq!(stage.serve(100, &[], &names), [100, 0, 0, 0]);
}

/// The switch from one tier to two and back loses no turn and no count, whoever holds which table.
#[test]
fn handles_follow_tiers_that_come_and_go() {
    let stage = Stage::of(plain(), vec![BackendSpec::new("a")]);
    let (handle, other) = (stage.service.handle(1), stage.service.handle(2));
    let picked = |handle: &Handle, chance: u64| {
        let pick = handle.pick(&Ask::new(mix(3, chance)), stage.now).unwrap();
        let id = pick.backend().id().as_str().to_owned();
        pick.finish(Outcome::Completed, stage.now);
        id
    };
    for round in 0..20 {
        stage
            .service
            .add(BackendSpec::new("b").tier(1), stage.now)
            .unwrap();
        assert_eq!(picked(&handle, round), "a");
        stage.mark("a", false);
        assert_eq!(picked(&handle, round), "b");
        stage.mark("a", true);
        stage.service.remove(&id("b"), stage.now).unwrap();
        // One of them has not looked for a while.
        assert_eq!(picked(&handle, round), "a");
        assert_eq!(picked(&other, round), "a");
    }
    stage.service.laws().unwrap();
}
