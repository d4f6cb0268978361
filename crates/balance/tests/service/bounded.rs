use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::hashing::mix;
use evenkeel_balance::pick::Pick;
use evenkeel_balance::settings::{HashMethod, LoadBound, PolicyChoice};

use crate::stage::{Stage, id, plain};

fn stage(policy: PolicyChoice, weights: &[u32]) -> Stage {
    let spec = |(at, weight): (usize, &u32)| {
        BackendSpec::new(format!("backend-{at}")).weight(Weight::new(*weight).unwrap())
    };
    let specs = weights.iter().enumerate().map(spec).collect();
    Stage::of(plain().policy(policy), specs)
}

fn of_key(stage: &Stage, key: u64) -> Pick {
    let ask = Ask::new(mix(key, 5)).key(mix(key, 6));
    stage.service.pick(&ask, stage.now).unwrap()
}

/// One key alone is asked for, `held` times at once: nobody has more than its part of them all times the bound, rounded up.
#[test]
fn the_keys_of_one_do_not_crowd_it() {
    for method in HashMethod::ALL {
        for factor in [1.05, 1.25, 2.0, 100.0] {
            for weights in [&[1; 20][..], &[5, 1, 1, 0, 3], &[1; 300]] {
                let bound = LoadBound::new(factor).unwrap();
                let stage = stage(PolicyChoice::Bounded(method, bound), weights);
                let home = of_key(&stage, 7).backend().id().clone();
                let sum: u32 = weights.iter().sum();
                let mut held = Vec::new();
                for all in 1..=400_u32 {
                    let pick = of_key(&stage, 7);
                    let weight: u32 = {
                        let at: usize = pick.backend().id().as_str()[8..].parse().unwrap();
                        weights[at]
                    };
                    let part = f64::from(weight) / f64::from(sum);
                    let most = (factor * f64::from(all) * part).ceil() + 1e-3;
                    assert!(
                        f64::from(pick.backend().in_flight()) <= most,
                        "{method:?} {factor} {weights:?}: {} has {} of {all}",
                        pick.backend().id(),
                        pick.backend().in_flight()
                    );
                    held.push(pick);
                }
                held.into_iter().for_each(|pick| stage.well(pick));
                assert_eq!(*of_key(&stage, 7).backend().id(), home, "it comes home");
                stage.service.laws().unwrap();
            }
        }
    }
}

/// How one goes.
type Goes = fn(&Stage);

/// What is under way on who drains, is out, or was removed is no part of what the others share.
#[test]
fn the_bound_is_of_those_that_serve() {
    let away: [(&str, Goes); 4] = [
        ("drains", |stage| admin(stage, Admin::Draining)),
        ("disabled", |stage| admin(stage, Admin::Disabled)),
        ("down", |stage| stage.mark("backend-0", false)),
        ("removed", |stage| {
            let removed = stage.service.remove(&id("backend-0"), stage.now);
            removed.unwrap();
        }),
    ];
    for method in HashMethod::ALL {
        for (name, goes) in away {
            let stage = stage(PolicyChoice::Bounded(method, LoadBound::DEFAULT), &[1; 4]);
            let only = [id("backend-0")];
            let there = |_| {
                let ask = Ask::new(1).key(1).subset(&only);
                stage.service.pick(&ask, stage.now).unwrap()
            };
            let mut held: Vec<_> = (0..100).map(there).collect();
            goes(&stage);
            for all in 1..=40 {
                let pick = of_key(&stage, 7);
                let most = (1.25 * f64::from(all) / 3.0).ceil() + 1e-3;
                let got = pick.backend().in_flight();
                let case = format!(
                    "{method:?}, {name}: {} has {got} of {all}",
                    pick.backend().id()
                );
                assert!(f64::from(got) <= most, "{case}");
                held.push(pick);
                // They end one by one meanwhile.
                held.drain(..2).for_each(|pick| stage.well(pick));
            }
            held.into_iter().for_each(|pick| stage.well(pick));
            stage.service.laws().unwrap();
        }
    }
}

fn admin(stage: &Stage, admin: Admin) {
    let set = stage.service.set_admin(&id("backend-0"), admin, stage.now);
    set.unwrap();
}

/// Without load each key is where it would be without a bound, and load moves the keys of who is crowded only.
#[test]
fn other_keys_stay() {
    for method in HashMethod::ALL {
        let free = stage(PolicyChoice::Hash(method), &[1; 20]);
        let bounded = stage(PolicyChoice::Bounded(method, LoadBound::DEFAULT), &[1; 20]);
        let home = |stage: &Stage, key| of_key(stage, key).backend().id().clone();
        let crowded = home(&free, 0);
        for key in 0..2_000 {
            assert_eq!(home(&free, key), home(&bounded, key), "{method:?} {key}");
        }
        // As many on all, and one key's many more: the bound of all but its home is far.
        let keys = (0..200).filter(|key| home(&free, *key) != crowded);
        let mut held: Vec<_> = keys.map(|key| of_key(&bounded, key)).collect();
        held.extend((0..40).map(|_| of_key(&bounded, 0)));
        let most = held.iter().map(|pick| pick.backend().in_flight()).max();
        let (mut stayed, mut away) = (0, 0);
        for key in 1_000..2_000 {
            match home(&free, key) == home(&bounded, key) {
                true => stayed += 1,
                false => away += 1,
            }
        }
        assert!(most <= Some(16), "{method:?}: {most:?} of {}", held.len());
        assert!(
            stayed > 500 && away > 30,
            "{method:?}: {stayed} stayed, {away} did not"
        );
    }
}

#[test]
fn bounds() {
    let check = |factor: f64, expect: Option<f64>| {
        assert_eq!(
            LoadBound::new(factor).map(LoadBound::factor),
            expect,
            "{factor}"
        );
    };
    check(1.25, Some(1.25));
    check(1.05, Some(1.05));
    check(100.0, Some(100.0));
    check(1.2504, Some(1.25));
    check(1.0, None);
    check(100.1, None);
    check(0.0, None);
    check(-1.25, None);
    check(f64::NAN, None);
    check(f64::INFINITY, None);
}

/// What fails ends at once and has room: the keys of others stay away from it.
#[test]
fn nobody_is_sent_on_to_who_fails() {
    let settings = plain().breaker(None).policy(PolicyChoice::Bounded(
        HashMethod::Maglev,
        LoadBound::DEFAULT,
    ));
    let mut stage = Stage::new(settings, &["a", "b", "c", "d"]);
    let mut under_way = std::collections::VecDeque::new();
    let mut failed = 0;
    for exchange in 0..4_000 {
        let pick = stage.pick().unwrap();
        if *pick.backend().id() == id("a") {
            failed += u32::from(exchange >= 1_000);
            stage.badly(pick);
        } else {
            under_way.push_back(pick);
        }
        if under_way.len() > 40 {
            under_way
                .pop_front()
                .into_iter()
                .for_each(|pick| stage.well(pick));
        }
    }
    assert!(
        failed < 850,
        "{failed} of 3000 went to who fails, a quarter are its own"
    );
}
