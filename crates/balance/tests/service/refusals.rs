use evenkeel_balance::ask::Tried;
use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::hashing;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::settings::PolicyChoice;

use crate::stage::{Stage, id, plain};

#[test]
fn a_service_without_members_says_so() {
    let mut stage = Stage::new(plain(), &[]);
    assert_eq!(stage.pick().unwrap_err(), Refusal::NoBackends);
    assert_eq!(stage.service.refusals(Refusal::NoBackends), 1);
    assert_eq!(stage.service.refusals(Refusal::AllDown), 0);
}

#[test]
fn a_subset_of_strangers_has_no_members() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    let ask = stage.ask();
    let strangers = [id("x")];
    assert_eq!(
        stage
            .service
            .pick(&ask.subset(&strangers), stage.now)
            .unwrap_err(),
        Refusal::NoBackends
    );
    let one = [id("x"), id("b")];
    for _ in 0..10 {
        let pick = stage.service.pick(&ask.subset(&one), stage.now).unwrap();
        assert_eq!(*pick.backend().id(), id("b"));
    }
}

#[test]
fn down_draining_disabled_and_weight_0_are_all_down() {
    let mut stage = Stage::of(
        plain(),
        vec![
            BackendSpec::new("a").weight(Weight::ZERO),
            BackendSpec::new("b"),
            BackendSpec::new("c"),
            BackendSpec::new("d"),
        ],
    );
    stage.mark("b", false);
    stage
        .service
        .set_admin(&id("c"), Admin::Draining, stage.now)
        .unwrap();
    stage
        .service
        .set_admin(&id("d"), Admin::Disabled, stage.now)
        .unwrap();
    assert_eq!(stage.pick().unwrap_err(), Refusal::AllDown);
}

/// Who fails is avoided in a small subset of many as it is among few.
#[test]
fn a_small_subset_of_many_avoids_who_fails() {
    let names: Vec<String> = (0..100).map(|at| at.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let settings = plain().policy(PolicyChoice::Adaptive).breaker(None);
    let mut stage = Stage::new(settings, &names);
    let subset = ["3", "30", "60", "90"].map(id);
    let mut failed = 0;
    for _ in 0..2_000 {
        let ask = stage.ask().subset(&subset);
        let pick = stage.service.pick(&ask, stage.now).unwrap();
        if subset[..2].contains(pick.backend().id()) {
            failed += 1;
            stage.badly(pick);
        } else {
            stage.well(pick);
        }
    }
    assert!(failed < 60, "{failed} of 2000");
}

/// A rotation that has to look for whom it may pick is fair to all of them, wherever the gaps are.
#[test]
fn a_rotation_over_few_of_many_is_fair() {
    for (members, few) in [(10_u64, 2), (16, 4), (40, 2), (40, 3), (300, 3)] {
        let names: Vec<String> = (0..members).map(|at| at.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for turn in 0..20 {
            let mut stage = Stage::new(plain(), &names);
            let drawn = hashing::mix(members, turn);
            let mut subset = Vec::new();
            for at in 0.. {
                let name = hashing::scale(hashing::mix(drawn, at), members);
                let name = id(&name.to_string());
                if !subset.contains(&name) {
                    subset.push(name);
                }
                if subset.len() == few {
                    break;
                }
            }
            let mut picked = vec![0_usize; few];
            for _ in 0..6_000 {
                let ask = stage.ask().subset(&subset);
                let pick = stage.service.pick(&ask, stage.now).unwrap();
                let at = subset.iter().position(|one| one == pick.backend().id());
                picked[at.unwrap()] += 1;
                stage.well(pick);
            }
            let even = 6_000 / few;
            let off = |picks: &usize| picks.abs_diff(even) * 12 > even;
            assert!(
                !picked.iter().any(off),
                "{subset:?} of {members}: {picked:?}"
            );
        }
    }
}

#[test]
fn a_small_subset_of_many_is_found_and_shared() {
    let names: Vec<String> = (0..300).map(|at| at.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let subset = [id("7"), id("8"), id("250")];
    for policy in PolicyChoice::BUILT_IN {
        let mut stage = Stage::new(plain().policy(policy), &names);
        let mut picked = [0; 3];
        for key in 0..300 {
            let ask = stage.ask().key(hashing::mix(5, key)).subset(&subset);
            let pick = stage.service.pick(&ask, stage.now).unwrap();
            let at = subset.iter().position(|one| one == pick.backend().id());
            picked[at.unwrap()] += 1;
            stage.well(pick);
        }
        assert!(
            picked.iter().all(|&picks| picks > 60),
            "{}: {picked:?}",
            stage.service.snapshot(stage.now).policy
        );
    }
}

#[test]
fn tried_backends_are_excluded_under_every_policy() {
    for policy in PolicyChoice::BUILT_IN {
        let mut stage = Stage::new(plain().policy(policy), &["a", "b", "c"]);
        let mut tried = Tried::default();
        let mut seen = Vec::new();
        let ask = stage.ask();
        for _ in 0..3 {
            let pick = stage.service.pick(&ask.tried(&tried), stage.now).unwrap();
            tried.insert(pick.backend());
            seen.push(pick.backend().id().clone());
            stage.well(pick);
        }
        seen.sort();
        assert_eq!(seen, [id("a"), id("b"), id("c")]);
        assert_eq!(
            stage
                .service
                .pick(&ask.tried(&tried), stage.now)
                .unwrap_err(),
            Refusal::AllTried
        );
    }
}

#[test]
fn a_limit_is_exact_and_the_full_are_told_from_the_down() {
    let limited = |name: &str, limit| BackendSpec::new(name).max_in_flight(limit);
    let mut stage = Stage::of(
        plain(),
        vec![limited("a", 2), limited("b", 1), limited("c", 5)],
    );
    stage.mark("c", false);
    let picks: Vec<_> = (0..3).map(|_| stage.pick().unwrap()).collect();
    assert_eq!(
        (
            stage.backend("a").counts.in_flight,
            stage.backend("b").counts.in_flight
        ),
        (2, 1)
    );
    assert_eq!(stage.pick().unwrap_err(), Refusal::AllFull);
    let mut tried = Tried::default();
    let ask = stage.ask();
    picks.iter().for_each(|pick| tried.insert(pick.backend()));
    assert_eq!(
        stage
            .service
            .pick(&ask.tried(&tried), stage.now)
            .unwrap_err(),
        Refusal::AllTried,
        "tried weighs more than full"
    );
    drop(picks);
    drop(stage.pick().unwrap());
    stage.service.laws().unwrap();
}

#[test]
fn a_limit_that_is_lifted_is_lifted_at_once() {
    let mut stage = Stage::of(plain(), vec![BackendSpec::new("a").max_in_flight(1)]);
    let _held = stage.pick().unwrap();
    assert_eq!(stage.pick().unwrap_err(), Refusal::AllFull);
    stage
        .service
        .update(BackendSpec::new("a"), stage.now)
        .unwrap();
    let _also = stage.pick().unwrap();
    assert_eq!(stage.backend("a").counts.in_flight, 2);
}
