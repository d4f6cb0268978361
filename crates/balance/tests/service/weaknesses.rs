//! What broke other balancers, as rows: each names the system, its mark in the comparison, and the input.
//!
//! k-msg's W1, W6, W9, W10 and the TypeScript system's R2, R9, R10, R11 concern checks over the network: their rows
//! stand with the probes of the `evenkeel` crate.

use std::time::Duration;

use evenkeel_balance::backend::{BackendSpec, Weight};
use evenkeel_balance::event::EventKind;
use evenkeel_balance::hashing::mix;
use evenkeel_balance::health::{CheckFault, CheckResult};
use evenkeel_balance::membership::MembershipError;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::settings::{ActiveSettings, HashMethod, PolicyChoice, ServiceSettings};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::verdict::{Outcome, Verdict};

use crate::stage::{Stage, id, plain};

const PASS: CheckResult = CheckResult::Passed;
const REFUSED: CheckResult = CheckResult::Failed(CheckFault::Refused);

fn checked(fall: u32) -> ServiceSettings {
    plain().health(ActiveSettings::default().rise(2).fall(fall))
}

fn by(policy: PolicyChoice) -> ServiceSettings {
    plain().policy(policy)
}

/// k-msg W2: five failures spread among 500 successes opened the breaker.
#[test]
fn k_msg_w2_failures_of_a_lifetime_are_not_a_row() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    for _ in 0..5 {
        stage.serve(200, &[], &[]);
        let pick = stage.pick_of("a");
        stage.badly(pick);
        stage.pass(0.5);
    }
    assert_eq!(stage.standing("a"), Standing::Serving);
}

/// k-msg W3: an open endpoint was never readmitted while another was selectable; an hour later, 50 of 50 avoided it.
#[test]
fn k_msg_w3_an_ejected_backend_returns_beside_healthy_ones() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(10, &["a"], &[]);
    stage.pass(3600.0);
    let trial = stage.pick().unwrap();
    assert_eq!(*trial.backend().id(), id("a"));
    stage.well(trial);
    stage.pass(0.1);
    assert_eq!(stage.serve(50, &[], &["a", "b"]), [25, 25]);
}

/// k-msg W4: after a failed half-open trial the endpoint took full traffic, and after three failures nobody was
/// selectable for ever.
#[test]
fn k_msg_w4_a_failed_trial_opens_again_and_never_ends_in_nobody() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(10, &["a"], &[]);
    for _ in 0..5 {
        while stage.standing("a") != Standing::Probing {
            stage.pass(0.1);
        }
        let trial = stage.pick_of("a");
        assert!(trial.is_trial());
        stage.badly(trial);
        assert_eq!(
            stage.serve(20, &[], &["a", "b"]),
            [0, 20],
            "no traffic before the next trial"
        );
        stage.service.tick(stage.now);
        assert_eq!(stage.standing("a"), Standing::Ejected);
    }
}

/// k-msg W5: four probes brought four active connections to 0 and mixed their latency into the mean.
#[test]
fn k_msg_w5_checks_touch_no_traffic_counter() {
    let mut stage = Stage::new(checked(3), &["a"]);
    let held: Vec<_> = (0..4).map(|_| stage.pick().unwrap()).collect();
    let before = stage.backend("a");
    (0..4).for_each(|_| stage.check("a", PASS));
    (0..2).for_each(|_| stage.check("a", REFUSED));
    let after = stage.backend("a");
    assert_eq!(
        (after.counts, after.latency, after.learned),
        (before.counts, before.latency, before.learned)
    );
    assert_eq!((after.counts.in_flight, after.consecutive_failures), (4, 0));
    drop(held);
}

/// k-msg W7: weight 0 meant 1; the share was 0.48 to 0.50 against weight 1.
#[test]
fn k_msg_w7_weight_0_takes_nothing() {
    for policy in PolicyChoice::BUILT_IN {
        let mut stage = Stage::of(
            by(policy),
            vec![
                BackendSpec::new("a").weight(Weight::ZERO),
                BackendSpec::new("b"),
            ],
        );
        assert_eq!(stage.serve(200, &[], &["a", "b"]), [0, 200]);
    }
}

/// k-msg W8: the half-open pick took a suspended endpoint, counted no connection and said nothing.
#[test]
fn k_msg_w8_a_trial_is_a_pick_like_any_other() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(10, &["a"], &[]);
    stage.pass(10.1);
    let trial = stage.pick().unwrap();
    assert_eq!(
        (trial.is_trial(), stage.backend("a").counts.in_flight),
        (true, 1)
    );
    drop(trial);
    stage
        .service
        .set_admin(
            &id("a"),
            evenkeel_balance::backend::Admin::Disabled,
            stage.now,
        )
        .unwrap();
    assert_eq!(
        stage.serve(20, &[], &["a", "b"]),
        [0, 20],
        "suspended is suspended"
    );
}

/// k-msg W11: one round-robin index for all lists skewed each of them. By weight, whatever the lists and their order.
#[test]
fn k_msg_w11_subsets_in_turn_are_each_served_evenly() {
    for policy in PolicyChoice::BUILT_IN {
        for lists in [
            &["ab", "cd"][..],
            &["ac"],
            &["ab", "ac", "ad", "bcd"],
            &["abd", "abd", "cd"],
        ] {
            for weights in [[1; 4], [1, 3, 1, 2]] {
                each_list_is_served_evenly(&policy, lists, weights);
            }
        }
    }
}

fn each_list_is_served_evenly(policy: &PolicyChoice, lists: &[&str], weights: [u32; 4]) {
    const ROUNDS: u32 = 2000;
    let spec =
        |(name, weight): (&str, u32)| BackendSpec::new(name).weight(Weight::new(weight).unwrap());
    let names = ["a", "b", "c", "d"];
    let specs = names.into_iter().zip(weights).map(spec).collect();
    let mut stage = Stage::of(by(policy.clone()), specs);
    let weight = |name: char| weights[names.iter().position(|one| one.contains(name)).unwrap()];
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..ROUNDS {
        for (at, list) in lists.iter().enumerate() {
            let subset: Vec<_> = list.chars().map(|name| id(&name.to_string())).collect();
            let ask = stage.ask().subset(&subset);
            let pick = stage.service.pick(&ask, stage.now).unwrap();
            *counts.entry((at, pick.backend().id().clone())).or_insert(0) += 1;
            stage.well(pick);
        }
    }
    // A ring has its shares from 160 points for a unit of weight.
    let within = match policy.name().starts_with("ring") {
        true => 0.35,
        false => 0.15,
    };
    for (at, list) in lists.iter().enumerate() {
        let sum: u32 = list.chars().map(weight).sum();
        for name in list.chars() {
            let got = counts
                .get(&(at, id(&name.to_string())))
                .copied()
                .unwrap_or(0);
            let wanted = f64::from(ROUNDS) * f64::from(weight(name)) / f64::from(sum);
            assert!(
                (f64::from(got) - wanted).abs() <= within * wanted,
                "{} {lists:?} {weights:?}: {name} of {list} got {got}, not {wanted:.0}: {counts:?}",
                policy.name()
            );
        }
    }
}

/// k-msg W11 and zlayer: the first of equals won every tie of least-connections.
#[test]
fn zlayer_ties_of_least_connections_are_not_the_first_ones() {
    let mut stage = Stage::new(by(PolicyChoice::LeastConnections), &["a", "b", "c", "d"]);
    let counts = stage.serve(4000, &[], &["a", "b", "c", "d"]);
    assert!(
        counts.iter().all(|count| (900..=1100).contains(count)),
        "{counts:?}"
    );
}

/// k-msg W12: completing a request of an unknown id made a stray entry and an event.
#[test]
fn k_msg_w12_nobody_reports_for_a_stranger() {
    let mut stage = Stage::new(checked(3), &["a"]);
    let report = evenkeel_balance::health::CheckReport::new(PASS, stage.now);
    assert_eq!(
        stage.service.check(&id("x"), report, stage.now),
        Err(MembershipError::Unknown(id("x")))
    );
    let pick = stage.pick().unwrap();
    stage.service.remove(&id("a"), stage.now).unwrap();
    stage.heard();
    stage.well(pick);
    stage.pass(1.0);
    assert!(stage.service.snapshot(stage.now).backends.is_empty());
    assert_eq!(stage.heard(), []);
}

/// k-msg W13: the success of a request that was under way made an endpoint healthy that probes had just failed.
#[test]
fn k_msg_w13_a_stale_success_does_not_undo_a_failed_check() {
    use CheckFault::{Refused, Timeout};
    for faults in [&[Timeout][..], &[Refused], &[Timeout, Refused]] {
        let mut stage = Stage::new(checked(1), &["a", "b"]);
        ["a", "b"].iter().for_each(|name| stage.check(name, PASS));
        let stale = stage.pick_of("a");
        stage.pass(1.0);
        for fault in faults {
            stage.check("a", CheckResult::Failed(*fault));
        }
        stage.well(stale);
        stage.pass(1.0);
        assert_eq!(stage.standing("a"), Standing::Down, "{faults:?}");
    }
}

/// TypeScript R3: maxConnections was promised and never enforced.
#[test]
fn typescript_r3_a_limit_is_enforced() {
    let mut stage = Stage::of(plain(), vec![BackendSpec::new("a").max_in_flight(2)]);
    let held: Vec<_> = (0..2).map(|_| stage.pick().unwrap()).collect();
    assert_eq!(stage.pick().unwrap_err(), Refusal::AllFull);
    drop(held);
}

/// TypeScript R5: "weighted round robin" was a weighted draw, with runs of six.
#[test]
fn typescript_r5_weighted_rotation_is_smooth() {
    let mut stage = Stage::of(
        plain(),
        vec![
            BackendSpec::new("a"),
            BackendSpec::new("b").weight(Weight::new(3).unwrap()),
        ],
    );
    let (mut run, mut longest, mut of_b) = (0, 0, 0);
    for _ in 0..4000 {
        let pick = stage.pick().unwrap();
        let b = *pick.backend().id() == id("b");
        (run, of_b) = if b { (run + 1, of_b + 1) } else { (0, of_b) };
        longest = longest.max(run);
        stage.well(pick);
    }
    assert!(longest <= 4, "a run of {longest}");
    assert!((2990..=3010).contains(&of_b), "{of_b} of 4000");
}

/// TypeScript R6: a sticky client bypassed an open breaker, and the event fired at each pick.
#[test]
fn typescript_r6_a_key_does_not_bypass_a_breaker() {
    let mut stage = Stage::new(by(PolicyChoice::Hash(HashMethod::Maglev)), &["a", "b", "c"]);
    let ask = stage.ask();
    let home = stage
        .service
        .pick(&ask, stage.now)
        .unwrap()
        .backend()
        .id()
        .clone();
    for _ in 0..5 {
        let pick = stage.service.pick(&ask, stage.now).unwrap();
        stage.badly(pick);
    }
    stage.pass(0.1);
    for _ in 0..10 {
        let pick = stage.service.pick(&ask, stage.now).unwrap();
        assert_ne!(*pick.backend().id(), home);
        stage.well(pick);
    }
    stage.pass(1.0);
    let opened = stage
        .heard()
        .into_iter()
        .filter(|kind| matches!(kind, EventKind::BreakerOpened { .. }))
        .count();
    assert_eq!(opened, 1);
}

/// TypeScript R7: failures of retried attempts were never counted; only the last server of a request was blamed.
#[test]
fn typescript_r7_each_attempt_is_counted_where_it_failed() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    for _ in 0..5 {
        let first = stage.pick_of("a");
        stage.badly(first);
        let second = stage.pick_of("b");
        stage.well(second);
    }
    stage.pass(0.1);
    assert_eq!(
        (stage.standing("a"), stage.backend("a").counts.failed),
        (Standing::Ejected, 5)
    );
    assert_eq!(stage.backend("b").counts.failed, 0);
}

/// TypeScript R8: one failed request with three retries counted as four in all and one failed.
#[test]
fn typescript_r8_counters_agree_with_each_other() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(37, &["a"], &[]);
    drop(stage.pick().unwrap());
    let _under_way = stage.pick().unwrap();
    for name in ["a", "b"] {
        let counts = stage.backend(name).counts;
        assert_eq!(
            counts.picked,
            counts.finished + counts.abandoned + u64::from(counts.in_flight)
        );
        assert_eq!(counts.finished, counts.succeeded + counts.failed);
    }
    let picked: u64 = ["a", "b"]
        .iter()
        .map(|name| stage.backend(name).counts.picked)
        .sum();
    assert_eq!(picked, 39);
}

/// TypeScript R12: a breaker closed at once and fully: a thundering return.
#[test]
fn typescript_r12_who_returns_warms_up() {
    let settings = plain().slow_start(Duration::from_secs(10));
    let mut stage = Stage::new(settings, &["a", "b"]);
    stage.serve(10, &["a"], &[]);
    stage.pass(10.1);
    let trial = stage.pick_of("a");
    stage.well(trial);
    stage.service.tick(stage.now);
    let counts = stage.serve(110, &[], &["a", "b"]);
    assert!((8..=12).contains(&counts[0]), "{counts:?}");
}

/// TypeScript "ip-hash": removing one of ten servers sent 88 % of the other clients elsewhere.
#[test]
fn typescript_ip_hash_a_removal_moves_few_other_keys() {
    for method in HashMethod::ALL {
        let names: Vec<String> = (0..10).map(|at| format!("10.0.0.{at}:80")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let stage = Stage::new(by(PolicyChoice::Hash(method)), &names);
        let homes = || -> Vec<_> {
            let home = |key| {
                let ask = evenkeel_balance::ask::Ask::new(0).key(mix(3, key));
                stage
                    .service
                    .pick(&ask, stage.now)
                    .unwrap()
                    .backend()
                    .id()
                    .clone()
            };
            (0..5000).map(home).collect()
        };
        let before = homes();
        stage.service.remove(&id("10.0.0.4:80"), stage.now).unwrap();
        let moved = before
            .iter()
            .zip(homes())
            .filter(|(was, is)| **was != id("10.0.0.4:80") && *was != is)
            .count();
        assert!(
            moved * 100 <= 5000,
            "{method:?}: {moved} of 5000 moved, more than 1 %"
        );
    }
}

/// zlayer Z1: the documentation said one failure, the code waited for three. Both are settings; a hand is immediate.
#[test]
fn zlayer_z1_both_readings_of_failure() {
    for fall in [1, 3] {
        let stage = Stage::new(checked(fall), &["a", "b"]);
        ["a", "b"].iter().for_each(|name| stage.check(name, PASS));
        for failure in 1..=3 {
            stage.check("a", REFUSED);
            let expected = if failure >= fall {
                Standing::Down
            } else {
                Standing::Serving
            };
            assert_eq!(
                stage.standing("a"),
                expected,
                "fall {fall}, failure {failure}"
            );
        }
    }
    let stage = Stage::new(plain(), &["a", "b"]);
    stage.mark("a", false);
    assert_eq!(stage.standing("a"), Standing::Down);
    stage.mark("a", true);
    assert_eq!(
        (stage.standing("a"), stage.backend("a").checks_failed),
        (Standing::Serving, 0)
    );
}

/// zlayer Z3: an application's mark was undone by the next TCP success, within 5 s.
#[test]
fn zlayer_z3_a_passing_check_does_not_undo_a_verdict_by_hand() {
    let stage = Stage::new(checked(1), &["a", "b"]);
    ["a", "b"].iter().for_each(|name| stage.check(name, PASS));
    stage.mark("a", false);
    (0..10).for_each(|_| stage.check("a", PASS));
    assert_eq!(stage.standing("a"), Standing::Down);
}

/// zlayer: the successor of an unhealthy backend took its turns as well: 2 of 3 instead of 1 of 2.
#[test]
fn zlayer_nobody_inherits_the_turns_of_a_down_neighbour() {
    let mut stage = Stage::new(plain(), &["a", "b", "c"]);
    stage.mark("a", false);
    assert_eq!(stage.serve(300, &[], &["a", "b", "c"]), [0, 150, 150]);
}

/// zlayer: selecting and counting were two steps; between them, everybody saw the same least-loaded backend.
#[test]
fn zlayer_choosing_and_counting_are_one_step() {
    let mut stage = Stage::new(by(PolicyChoice::LeastConnections), &["a", "b", "c", "d"]);
    let held: Vec<_> = (0..8).map(|_| stage.pick().unwrap()).collect();
    assert!(
        ["a", "b", "c", "d"]
            .iter()
            .all(|name| stage.backend(name).counts.in_flight == 2)
    );
    drop(held);
}

/// zlayer: registering again lost counts, health and position; duplicates doubled a share.
#[test]
fn zlayer_registering_again_keeps_state_and_duplicates_are_refused() {
    let mut stage = Stage::new(plain(), &["a", "b"]);
    stage.serve(10, &[], &[]);
    stage.mark("a", false);
    let specs = |names: &[&str]| {
        names
            .iter()
            .map(|&name| BackendSpec::new(name))
            .collect::<Vec<_>>()
    };
    stage
        .service
        .replace(specs(&["a", "b", "c"]), stage.now)
        .unwrap();
    assert_eq!(
        (stage.standing("a"), stage.backend("b").counts.picked),
        (Standing::Down, 5)
    );
    assert_eq!(
        stage.service.replace(specs(&["a", "a"]), stage.now),
        Err(MembershipError::Duplicate(id("a")))
    );
}

/// Pingora: health was keyed by a hash that included weight, so a new weight forgot that the backend was down.
#[test]
fn pingora_another_weight_does_not_forget_that_a_backend_is_down() {
    let stage = Stage::new(checked(1), &["a", "b"]);
    ["a", "b"].iter().for_each(|name| stage.check(name, PASS));
    stage.check("a", REFUSED);
    stage
        .service
        .set_weight(&id("a"), Weight::new(9).unwrap(), stage.now)
        .unwrap();
    assert_eq!(stage.standing("a"), Standing::Down);
}

/// nginx, Traefik `leasttime`: a backend that fails in half a millisecond looked fastest and drew the traffic.
#[test]
fn nginx_fast_failures_do_not_attract() {
    use PolicyChoice::{Adaptive, LeastTime, PeakEwma};
    [Adaptive, LeastTime, PeakEwma]
        .into_iter()
        .for_each(fast_failures_do_not_attract);
}

fn fast_failures_do_not_attract(policy: PolicyChoice) {
    let name = policy.name().to_owned();
    let settings = by(policy).breaker(None);
    let mut stage = Stage::new(settings, &["a", "b", "c", "d"]);
    let mut counts = 0;
    for exchange in 0..2000 {
        let mut pick = stage.pick().unwrap();
        if *pick.backend().id() == id("a") {
            counts += 1;
            pick.answered(
                Verdict::Failure(evenkeel_balance::verdict::Fault::Status(500)),
                stage.now + Duration::from_micros(500),
            );
            pick.finish(Outcome::Completed, stage.now + Duration::from_micros(500));
        } else {
            stage.well(pick);
        }
        if exchange % 20 == 0 {
            stage.pass(0.1);
        }
    }
    assert!(
        counts < 40,
        "{name}: {counts} of 2000 went to the one that fails"
    );
}
