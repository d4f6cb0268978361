use std::time::Duration;

use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::settings::{HashMethod, PolicyChoice};

use crate::stage::{Stage, id, plain};

const ALL: [&str; 3] = ["a", "b", "c"];

fn halved(stage: &Stage) -> usize {
    stage.service.adjust(&[(id("a"), 0.5)], stage.now)
}

#[test]
fn a_factor_moves_a_share_of_every_policy_that_has_no_keys() {
    for (policy, expect) in [
        (PolicyChoice::RoundRobin, 190..=210),
        (PolicyChoice::Random, 150..=250),
        (PolicyChoice::LeastConnections, 0..=340),
    ] {
        let mut stage = Stage::new(plain().policy(policy.clone()), &ALL);
        assert_eq!(halved(&stage), 1);
        let share = stage.backend("a").share_wanted;
        assert!((share - 0.2).abs() < 1e-6, "{policy:?}: {share}");
        let got = stage.serve(1000, &[], &ALL)[0];
        assert!(expect.contains(&got), "{policy:?}: {got}");
        assert_eq!(
            stage
                .service
                .adjust(&ALL.map(|name| (id(name), 1.0)), stage.now),
            1
        );
        assert!((stage.backend("a").share_wanted - 1.0 / 3.0).abs() < 1e-6);
    }
}

/// Weights, slow start, drains, reloads: none undoes it, and it undoes none.
#[test]
fn it_stands_beside_all_else_that_makes_a_share() {
    let settings = plain().slow_start(Duration::from_secs(100));
    let mut stage = Stage::new(settings.clone(), &ALL);
    halved(&stage);
    let twice = Weight::new(2).unwrap();
    stage
        .service
        .set_weight(&id("a"), twice, stage.now)
        .unwrap();
    assert!((stage.backend("a").share_wanted - 1.0 / 3.0).abs() < 1e-6);
    assert_eq!(stage.backend("a").spec.weight, twice);
    let named = |name: &str| BackendSpec::new(name);
    let drained = vec![named("a").admin(Admin::Draining), named("b"), named("c")];
    stage.service.replace(drained, stage.now).unwrap();
    assert!(stage.backend("a").share_wanted.abs() < 1e-6);
    let back = ALL.map(named).to_vec();
    let random = settings.policy(PolicyChoice::Random);
    stage
        .service
        .reconfigure(random, back.clone(), stage.now)
        .unwrap();
    stage.pass(1.0);
    let seen = stage.backend("a");
    let expect = f64::from(seen.ramp) * 0.5;
    assert!((seen.factor - 0.5).abs() < 1e-6, "{seen:?}");
    assert!((seen.share_wanted - expect / (2.0 + expect)).abs() < 0.001);
    // Who leaves takes it along.
    stage
        .service
        .replace(back[1..].to_vec(), stage.now)
        .unwrap();
    stage.service.replace(back, stage.now).unwrap();
    assert!((stage.backend("a").factor - 1.0).abs() < 1e-6);
}

#[test]
fn what_is_no_factor_has_no_effect() {
    let stage = Stage::new(plain(), &ALL);
    let adjust = |name: &str, factor| stage.service.adjust(&[(id(name), factor)], stage.now);
    assert_eq!(adjust("nobody", 0.5), 0);
    assert_eq!(adjust("a", f32::NAN), 0);
    assert_eq!(adjust("a", 1.0), 0);
    assert_eq!(adjust("a", f32::INFINITY), 1);
    assert!((stage.backend("a").factor - 100.0).abs() < 1e-6);
    assert_eq!(adjust("a", -3.0), 1);
    assert!((stage.backend("a").factor - 0.01).abs() < 1e-6);
}

#[test]
fn keys_stay_where_they_are() {
    let policy = PolicyChoice::Hash(HashMethod::Maglev);
    let stage = Stage::new(plain().policy(policy), &ALL);
    halved(&stage);
    assert!((stage.backend("a").share_wanted - 1.0 / 3.0).abs() < 1e-6);
}
