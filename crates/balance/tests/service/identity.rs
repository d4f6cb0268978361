use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{BackendSpec, Weight};
use evenkeel_balance::event::EventKind;
use evenkeel_balance::membership::MembershipError;
use evenkeel_balance::settings::PolicyChoice;
use evenkeel_balance::standing::Standing;

use crate::stage::{Stage, id, plain};

fn specs(names: &[&str]) -> Vec<BackendSpec> {
    names.iter().map(|&name| BackendSpec::new(name)).collect()
}

/// Whoever left is remembered while somebody holds it, and no longer; without ticks there is a bound.
#[test]
fn who_left_is_forgotten() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    let departed = |stage: &Stage| stage.service.snapshot(stage.now).departed;
    let held = stage.pick_of("a");
    stage.service.remove(&id("a"), stage.now).unwrap();
    stage.pass(1.0);
    assert_eq!(departed(&stage), 1);
    for turn in 0..1000 {
        let spec = BackendSpec::new(format!("visitor-{turn}"));
        stage.service.add(spec.clone(), stage.now).unwrap();
        stage.service.remove(&spec.id, stage.now).unwrap();
        assert!(departed(&stage) <= 70, "{turn}");
    }
    stage.pass(1.0);
    assert_eq!(departed(&stage), 1);
    stage.well(held);
    stage.pass(1.0);
    assert_eq!(departed(&stage), 0);
}

/// Failures of before are not held against who returns while an attempt kept it in memory.
#[test]
fn who_returns_begins_anew() {
    let mut stage = Stage::new(plain(), &["a", "b", "c"]);
    let held = stage.pick_of("a");
    for _ in 0..4 {
        let pick = stage.pick_of("a");
        stage.badly(pick);
    }
    stage.service.remove(&id("a"), stage.now).unwrap();
    stage.service.add(BackendSpec::new("a"), stage.now).unwrap();
    let pick = stage.pick_of("a");
    stage.badly(pick);
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Serving);
    stage.well(held);
}

#[test]
fn an_update_keeps_counters_verdicts_and_means() {
    let mut stage = Stage::new(plain(), &["a", "b", "c", "d"]);
    stage.serve(40, &["a"], &[]);
    stage.pass(0.1);
    stage.mark("b", false);
    let held = stage.pick_of("c");
    let before = ["a", "b", "c"].map(|name| stage.backend(name));
    stage
        .service
        .replace(specs(&["e", "c", "b", "a"]), stage.now)
        .unwrap();
    stage
        .service
        .set_weight(&id("c"), Weight::new(7).unwrap(), stage.now)
        .unwrap();
    stage
        .service
        .set_settings(plain().policy(PolicyChoice::Adaptive), stage.now);
    for before in before {
        let after = stage.backend(before.id.as_str());
        assert_eq!(
            (after.counts, after.standing, after.gate),
            (before.counts, before.standing, before.gate)
        );
        assert_eq!(
            (after.latency, after.learned, after.open_until),
            (before.latency, before.learned, before.open_until)
        );
    }
    assert_eq!(stage.backend("c").counts.in_flight, 1);
    stage.well(held);
    stage.service.laws().unwrap();
    let order: Vec<String> = stage
        .service
        .snapshot(stage.now)
        .backends
        .iter()
        .map(|backend| backend.id.to_string())
        .collect();
    assert_eq!(order, ["e", "c", "b", "a"]);
}

#[test]
fn who_leaves_with_attempts_in_flight_and_returns_finds_its_counters() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    let held = stage.pick_of("a");
    let counts = stage.backend("a").counts;
    stage.service.remove(&id("a"), stage.now).unwrap();
    assert!(stage.service.snapshot(stage.now).backend("a").is_none());
    stage.pass(1.0);
    stage.service.add(BackendSpec::new("a"), stage.now).unwrap();
    assert_eq!(
        stage.backend("a").counts,
        counts,
        "the held attempt is still counted"
    );
    stage.well(held);
    assert_eq!(stage.backend("a").counts.in_flight, 0);
    stage.service.laws().unwrap();
}

#[test]
fn who_leaves_idle_and_returns_is_new() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(40, &["a"], &[]);
    stage.pass(0.1);
    assert_eq!(stage.standing("a"), Standing::Ejected);
    stage.service.remove(&id("a"), stage.now).unwrap();
    stage.pass(0.1);
    stage.service.add(BackendSpec::new("a"), stage.now).unwrap();
    assert_eq!(
        (stage.standing("a"), stage.backend("a").counts.picked),
        (Standing::Serving, 0)
    );
}

#[test]
fn what_cannot_be_changes_nothing() {
    let mut stage = Stage::new(plain().max_backends(3), &["a", "b"]);
    stage.serve(10, &[], &[]);
    let before = stage.backend("a").counts;
    let duplicate = Err(MembershipError::Duplicate(id("c")));
    assert_eq!(
        stage.service.replace(specs(&["c", "d", "c"]), stage.now),
        duplicate
    );
    let settings = plain().policy(PolicyChoice::Random);
    assert_eq!(
        stage
            .service
            .reconfigure(settings, specs(&["c", "c"]), stage.now),
        duplicate
    );
    assert_eq!(&*stage.service.snapshot(stage.now).policy, "round_robin");
    assert_eq!(
        stage.service.add(BackendSpec::new("a"), stage.now),
        Err(MembershipError::Duplicate(id("a")))
    );
    assert_eq!(
        stage
            .service
            .replace(specs(&["c", "d", "e", "f"]), stage.now),
        Err(MembershipError::TooMany {
            members: 4,
            most: 3
        })
    );
    stage.service.add(BackendSpec::new("c"), stage.now).unwrap();
    assert_eq!(
        stage.service.add(BackendSpec::new("d"), stage.now),
        Err(MembershipError::TooMany {
            members: 4,
            most: 3
        })
    );
    let unknown = Err(MembershipError::Unknown(id("x")));
    assert_eq!(stage.service.remove(&id("x"), stage.now), unknown);
    assert_eq!(
        stage.service.update(BackendSpec::new("x"), stage.now),
        unknown
    );
    assert_eq!(
        stage.service.mark(&id("x"), Some(true), None, stage.now),
        unknown
    );
    assert_eq!(stage.backend("a").counts, before);
    assert_eq!(
        stage.heard(),
        [EventKind::BackendAdded {
            backend: id("c"),
            standing: Standing::Serving
        }]
    );
}

#[test]
fn a_newcomer_among_others_warms_up_and_the_first_ones_do_not() {
    let settings = plain().slow_start(Duration::from_secs(10));
    let mut stage = Stage::new(settings, &["a", "b"]);
    assert!((stage.backend("a").ramp - 1.0).abs() < 1e-6);
    stage.service.add(BackendSpec::new("c"), stage.now).unwrap();
    let share = stage.serve(210, &[], &["c"])[0];
    assert!((8..=12).contains(&share), "{share}");
    stage.pass(10.1);
    assert_eq!(stage.serve(30, &[], &["a", "b", "c"]), [10; 3]);
}

#[test]
fn weight_0_drains_by_weight_and_is_no_mistake() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage
        .service
        .set_weight(&id("a"), Weight::ZERO, stage.now)
        .unwrap();
    assert_eq!(stage.serve(20, &[], &["a", "b"]), [0, 20]);
    stage
        .service
        .set_weight(&id("a"), Weight::ONE, stage.now)
        .unwrap();
    assert_eq!(stage.serve(20, &[], &["a", "b"]), [10, 10]);
    assert!(
        Weight::new(10_000).is_ok() && Weight::new(10_001).is_err() && Weight::new(70_000).is_err()
    );
}

#[test]
fn a_handle_sees_a_change_at_its_next_pick_and_its_old_picks_stay_whole() {
    let stage = Stage::new(plain(), &["a", "b"]);
    let handle = stage.service.handle(0);
    let ask = Ask::new(1);
    let old = handle.pick(&ask, stage.now).unwrap();
    let name = old.backend().id().clone();
    stage.service.replace(specs(&["c"]), stage.now).unwrap();
    for _ in 0..10 {
        let pick = handle.pick(&ask, stage.now).unwrap();
        assert_eq!(*pick.backend().id(), id("c"));
    }
    assert_eq!((old.backend().id(), old.backend().in_flight()), (&name, 1));
    drop(old);
    stage.service.laws().unwrap();
}

/// Looked at alone, a member is told as among all; but its shares are beside what the others had at the last tick.
#[test]
fn one_member_alone_is_told_as_among_all() {
    let mut stage = Stage::new(plain(), &["a", "b", "c"]);
    let weight = Weight::new(3).unwrap();
    let set = stage.service.set_weight(&id("a"), weight, stage.now);
    set.unwrap();
    stage.serve(40, &["b"], &[]);
    let _held = stage.pick_of("c");
    stage.mark("b", false);
    stage.pass(0.1);
    let both = |stage: &Stage, name: &str| {
        let alone = stage.service.backend(name, stage.now).unwrap();
        [alone, stage.backend(name)].map(|one| format!("{one:?}"))
    };
    for name in ["a", "b", "c"] {
        let [alone, among] = both(&stage, name);
        assert_eq!(alone, among);
    }
    assert!(stage.service.backend("x", stage.now).is_none());
    assert_eq!(stage.service.census(), (3, 2));
    // What the others got since the tick is not looked at.
    let before = stage.service.backend("c", stage.now).unwrap();
    stage.serve(9, &[], &[]);
    let alone = stage.service.backend("c", stage.now).unwrap();
    let (picked, was) = (alone.counts.picked as f64, before.counts.picked as f64);
    let others = was / before.share_got - was;
    assert!(picked > was, "{picked}");
    assert!((alone.share_got - picked / (picked + others)).abs() < 1e-9);
    stage.service.remove(&id("b"), stage.now).unwrap();
    assert!(stage.service.backend("b", stage.now).is_none());
    let wanted = |name: &str| stage.service.backend(name, stage.now).unwrap().share_wanted;
    assert_eq!((wanted("a"), wanted("c")), (0.75, 0.25));
}

/// Who joins late has had nothing of what the others had before: what is compared begins anew for all.
#[test]
fn picks_are_compared_from_where_all_members_began() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    let since = |stage: &Stage| {
        let all = stage.service.snapshot(stage.now).backends;
        all.iter().map(|one| one.picked_since).collect::<Vec<_>>()
    };
    stage.serve(100, &[], &[]);
    assert_eq!(since(&stage), [50, 50]);
    (stage.service)
        .add(BackendSpec::new("c"), stage.now)
        .unwrap();
    assert_eq!(since(&stage), [0, 0, 0]);
    stage.serve(30, &[], &[]);
    assert_eq!(since(&stage), [10, 10, 10]);
    let weigh = |stage: &Stage, weight| {
        let weight = Weight::new(weight).unwrap();
        stage
            .service
            .set_weight(&id("a"), weight, stage.now)
            .unwrap();
    };
    // What is told again changes nothing, nor does who leaves.
    weigh(&stage, 1);
    stage.service.remove(&id("b"), stage.now).unwrap();
    assert_eq!(since(&stage), [10, 10]);
    weigh(&stage, 3);
    stage.serve(40, &[], &[]);
    assert_eq!(since(&stage), [30, 10]);
    // All that it ever got is counted as before.
    assert_eq!(stage.backend("a").counts.picked, 90);
}

#[test]
fn the_shares_wanted_sum_to_one() {
    let mut stage = Stage::new(plain(), &["a", "b", "c"]);
    stage
        .service
        .set_weight(&id("a"), Weight::new(5).unwrap(), stage.now)
        .unwrap();
    let sum = |stage: &Stage| {
        stage
            .service
            .snapshot(stage.now)
            .backends
            .iter()
            .map(|backend| backend.share_wanted)
            .sum::<f64>()
    };
    assert!((sum(&stage) - 1.0).abs() < 1e-9);
    stage.mark("a", false);
    assert!((sum(&stage) - 1.0).abs() < 1e-9);
    assert!((stage.backend("b").share_wanted - 0.5).abs() < 1e-9);
    stage.mark("b", false);
    stage.mark("c", false);
    assert!(sum(&stage) < 1e-9);
    stage.pass(0.1);
}
