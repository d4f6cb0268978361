use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::hashing::mix;
use evenkeel_balance::settings::{HashMethod, PolicyChoice, ServiceSettings};
use evenkeel_balance::verdict::{Fault, Verdict};

use crate::stage::{Stage, id, plain};

const KEYS: u64 = 8_000;

/// Where each key goes.
fn homes(stage: &Stage) -> Vec<String> {
    let to = |key: u64| {
        let ask = Ask::new(mix(key, 9)).key(mix(key, 7));
        let pick = stage.service.pick(&ask, stage.now).unwrap();
        let to = pick.backend().id().as_str().to_owned();
        stage.well(pick);
        to
    };
    (0..KEYS).map(to).collect()
}

fn warming(policy: PolicyChoice) -> ServiceSettings {
    plain().slow_start(Duration::from_secs(100)).policy(policy)
}

const ALL: [&str; 4] = ["a", "b", "c", "d"];

/// Of whom a ramp is shown, it is so: whatever the policy, it gets less than half of an even share at first.
#[test]
fn every_policy_has_who_returns_warm_up() {
    for policy in PolicyChoice::BUILT_IN {
        let name = policy.name().to_owned();
        let mut stage = Stage::new(warming(policy), &ALL);
        stage.mark("d", false);
        stage.mark("d", true);
        assert!(stage.backend("d").ramp < 0.2, "{name}");
        let cold = stage.serve(2_000, &[], &ALL)[3];
        assert!((1..250).contains(&cold), "{name}: {cold} of 2000");
        stage.pass(101.0);
        let warm = stage.serve(2_000, &[], &ALL)[3];
        assert!(warm > 350, "{name}: {warm} of 2000");
    }
}

/// Keys come home one by one as the ramp rises, stay there, and no other key moves.
#[test]
fn keys_come_home_with_the_ramp() {
    for method in HashMethod::ALL {
        let mut stage = Stage::new(warming(PolicyChoice::Hash(method)), &ALL);
        let whole = homes(&stage);
        stage.mark("d", false);
        let without = homes(&stage);
        stage.mark("d", true);
        let mut home = vec![false; whole.len()];
        for (passed, ramp) in [(0.0, 0.1), (25.0, 0.25), (25.0, 0.5), (49.0, 0.99)] {
            stage.pass(passed);
            let now = homes(&stage);
            let (mut of_d, mut at_d) = (0.0, 0.0);
            for (key, to) in now.iter().enumerate() {
                let expect = match to == "d" {
                    true => &whole[key],
                    false => &without[key],
                };
                assert_eq!(to, expect, "{method:?} {ramp}: key {key} moved");
                assert!(!home[key] || to == "d", "{method:?} {ramp}: {key} left");
                home[key] |= to == "d";
                of_d += f64::from(u8::from(whole[key] == "d"));
                at_d += f64::from(u8::from(to == "d"));
            }
            let got: f64 = at_d / of_d;
            assert!((got - ramp).abs() < 0.04, "{method:?} {ramp}: {got}");
        }
        stage.pass(2.0);
        assert_eq!(homes(&stage), whole, "{method:?}");
    }
}

/// Where all warm up there is nobody warmer, and each key goes home.
#[test]
fn who_is_alone_is_warm_enough() {
    for method in HashMethod::ALL {
        let stage = Stage::new(warming(PolicyChoice::Hash(method)), &["a", "b"]);
        let whole = homes(&stage);
        stage.mark("a", false);
        stage.mark("a", true);
        stage.mark("b", false);
        let mut counts = BTreeMap::<_, u64>::new();
        for to in homes(&stage) {
            *counts.entry(to).or_default() += 1;
        }
        assert_eq!(
            counts,
            BTreeMap::from([("a".to_owned(), KEYS)]),
            "{method:?}"
        );
        stage.mark("b", true);
        let both = homes(&stage);
        let moved = both.iter().zip(&whole).filter(|(now, home)| now != home);
        // Those that a coin kept from home are another's, who is as cold.
        assert!(moved.count() < whole.len() / 2, "{method:?}");
    }
}

/// A trial is a backend's own keys', whatever its ramp.
#[test]
fn trials_want_no_coin() {
    let settings =
        warming(PolicyChoice::Hash(HashMethod::Maglev)).breaker(ServiceSettings::default().breaker);
    let mut stage = Stage::new(settings, &ALL);
    while stage.backend("d").open_until.is_none() {
        let mut pick = stage.pick_of("d");
        pick.answered(Verdict::Failure(Fault::Reset), stage.now);
        drop(pick);
        stage.pass(0.1);
    }
    let open = stage.backend("d").open_until.unwrap();
    stage.pass(open.since(stage.now).as_secs_f64() + 0.1);
    let pick = stage.pick_of("d");
    assert_eq!(*pick.backend().id(), id("d"));
}
