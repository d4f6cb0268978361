//! The thirteen unit tests of zlayer's `lb.rs`, said with our words, and the surprises of it that concern a library.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::time::Duration;

use evenkeel::balance::health::{CheckFault, CheckReport, CheckResult};
use evenkeel::balance::membership::MembershipError;
use evenkeel::balance::settings::ActiveSettings;
use evenkeel::balance::snapshot::BackendSnapshot;
use evenkeel::balance::standing::Standing;
use evenkeel::{
    BackendSpec, BalancerSettings, Error, LoadBalancer, Pick, PolicyChoice, Refusal,
    ServiceSettings, Verdict,
};

const THREE: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

fn balancer(policy: PolicyChoice, backends: &[&str]) -> LoadBalancer {
    let balancer = LoadBalancer::with_settings(&BalancerSettings::default().seed(7));
    let settings = ServiceSettings::with_policy(policy);
    let backends = backends.iter().copied();
    balancer.register("api", settings, backends).unwrap();
    balancer
}

fn member(balancer: &LoadBalancer, id: &str) -> BackendSnapshot {
    let group = balancer.group_snapshot("api").unwrap();
    group.backend(id).unwrap().clone()
}

fn in_flight(balancer: &LoadBalancer, id: &str) -> u32 {
    member(balancer, id).counts.in_flight
}

/// Selects `count` times, ends each attempt, and says who got it.
fn selected(balancer: &LoadBalancer, count: usize) -> Vec<String> {
    let mut who = Vec::new();
    for _ in 0..count {
        let pick = balancer.select("api").unwrap();
        who.push(pick.id().to_string());
        pick.succeeded();
    }
    who
}

fn held(balancer: &LoadBalancer, id: &str) -> Pick {
    let only = [id.into()];
    let ask = evenkeel::Ask::new().subset(&only);
    balancer.select_with("api", &ask).unwrap()
}

#[test]
fn t01_round_robin_keeps_its_order_and_wraps() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE);
    let who = selected(&balancer, 6);
    assert_eq!(who[..3], who[3..]);
    // From whichever it begins with.
    let from = THREE.iter().position(|id| *id == who[0]).unwrap();
    let turns: Vec<_> = (0..3).map(|turn| THREE[(from + turn) % 3]).collect();
    assert_eq!(who[..3], turns);
}

#[test]
fn t02_least_connections_counts_what_is_held() {
    let balancer = balancer(PolicyChoice::LeastConnections, &THREE);
    let _first = [held(&balancer, THREE[0]), held(&balancer, THREE[0])];
    let _second = held(&balancer, THREE[1]);
    assert_eq!(selected(&balancer, 2), [THREE[2], THREE[2]]);
}

#[test]
fn t03_who_is_unhealthy_is_passed_over() {
    // The original's rotation gave the whole share of the missing one to its successor; ties of ours are drawn.
    let rows = [
        (PolicyChoice::RoundRobin, 15..=15),
        (PolicyChoice::LeastConnections, 10..=20),
    ];
    for (policy, fair) in rows {
        let balancer = balancer(policy, &THREE);
        balancer.mark_health("api", THREE[1], false).unwrap();
        let who = selected(&balancer, 30);
        assert!(!who.iter().any(|id| id == THREE[1]));
        let first = who.iter().filter(|id| *id == THREE[0]).count();
        assert!(fair.contains(&first), "{first} of 30");
    }
}

#[test]
fn t04_a_charge_is_given_back_by_every_end_of_a_pick() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE[..1]);
    let ends: [fn(Pick); 4] = [
        drop,
        Pick::succeeded,
        |pick| pick.failed(evenkeel::Fault::Reset),
        |pick| pick.finish(evenkeel::Outcome::ClientLeft),
    ];
    for end in ends {
        let one = balancer.select("api").unwrap();
        let two = balancer.select("api").unwrap();
        assert_eq!(in_flight(&balancer, THREE[0]), 2);
        end(one);
        assert_eq!(in_flight(&balancer, THREE[0]), 1);
        end(two);
        assert_eq!(in_flight(&balancer, THREE[0]), 0);
    }
    let counts = member(&balancer, THREE[0]).counts;
    assert_eq!((counts.finished, counts.abandoned), (6, 2));
}

#[test]
fn t05_an_update_keeps_the_state_of_who_stays() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE[..2]);
    let pick = held(&balancer, THREE[0]);
    balancer.mark_health("api", THREE[1], false).unwrap();
    let (first, second) = (member(&balancer, THREE[0]), member(&balancer, THREE[1]));
    // Another order, one more.
    let after = [THREE[2], THREE[1], THREE[0]];
    balancer.update_backends("api", after).unwrap();
    assert_eq!(member(&balancer, THREE[0]).counts, first.counts);
    assert_eq!(in_flight(&balancer, THREE[0]), 1);
    assert_eq!(member(&balancer, THREE[1]).standing, Standing::Down);
    let failed = member(&balancer, THREE[1]).checks_failed;
    assert_eq!(failed, second.checks_failed);
    assert_eq!(member(&balancer, THREE[2]).counts.picked, 0);
    let group = balancer.group_snapshot("api").unwrap();
    let order: Vec<_> = group.backends.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(order, after);
    drop(pick);
    assert_eq!(in_flight(&balancer, THREE[0]), 0);
}

#[test]
fn t06_all_unhealthy_is_a_refusal() {
    for policy in [PolicyChoice::RoundRobin, PolicyChoice::LeastConnections] {
        let balancer = balancer(policy, &THREE);
        for id in THREE {
            balancer.mark_health("api", id, false).unwrap();
        }
        let refused = balancer.select("api").unwrap_err();
        assert_eq!(refused, Error::Refused(Refusal::AllDown));
        assert_eq!(balancer.healthy_count("api"), 0);
    }
}

#[test]
fn t07_an_unknown_service_is_said_to_be_unknown() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE);
    assert!(balancer.select("api").is_ok());
    let unknown = || Err::<(), _>(Error::UnknownService("web".into()));
    // The original did nothing and said nothing in all but the first.
    assert_eq!(balancer.select("web").map(drop), unknown());
    assert_eq!(balancer.update_backends("web", THREE), unknown());
    assert_eq!(balancer.add_backend("web", "a"), unknown());
    assert_eq!(balancer.remove_backend("web", "a"), unknown());
    assert_eq!(balancer.unregister("web"), unknown());
    assert_eq!(balancer.mark_health("web", "a", true), unknown());
    assert_eq!(balancer.settings("web").map(drop), unknown());
    let explained = balancer.explain("web", &evenkeel::Ask::new());
    assert_eq!(explained.map(drop), unknown());
    assert!(balancer.group_snapshot("web").is_none());
    assert!(balancer.service("web").is_none());
    assert_eq!(balancer.backend_count("web"), 0);
    assert_eq!(balancer.healthy_count("web"), 0);
}

#[test]
fn t08_backends_are_added_and_removed_one_by_one_and_never_twice() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE[..1]);
    balancer.add_backend("api", THREE[1]).unwrap();
    assert_eq!(balancer.backend_count("api"), 2);
    let twice = Error::Membership(MembershipError::Duplicate(THREE[1].into()));
    assert_eq!(balancer.add_backend("api", THREE[1]), Err(twice));
    assert_eq!(balancer.backend_count("api"), 2);
    balancer.remove_backend("api", THREE[0]).unwrap();
    assert_eq!(selected(&balancer, 2), [THREE[1], THREE[1]]);
    let gone = Error::Membership(MembershipError::Unknown(THREE[0].into()));
    assert_eq!(balancer.remove_backend("api", THREE[0]), Err(gone));
}

#[test]
fn t09_an_unregistered_service_is_gone_and_its_picks_end_in_peace() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE);
    let (handle, pick) = (
        balancer.service("api").unwrap(),
        balancer.select("api").unwrap(),
    );
    balancer.unregister("api").unwrap();
    let gone = Error::UnknownService("api".into());
    assert_eq!(balancer.select("api").map(drop), Err(gone.clone()));
    assert_eq!(handle.select().map(drop), Err(gone.clone()));
    assert_eq!(balancer.list_service_names().len(), 0);
    pick.succeeded();
    let ended = handle.snapshot();
    assert_eq!(
        ended
            .backends
            .iter()
            .map(|b| b.counts.finished)
            .sum::<u64>(),
        1
    );
    // Another service under the name is not the handle's.
    balancer
        .register("api", ServiceSettings::default(), ["b:80"])
        .unwrap();
    assert_eq!(handle.select().map(drop), Err(gone));
}

#[test]
fn t10_services_are_updated_apart_and_listed_in_order() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE);
    let settings = ServiceSettings::default();
    balancer
        .register("web", settings.clone(), ["w:80"])
        .unwrap();
    balancer.register("auth", settings, ["a:80"]).unwrap();
    balancer.update_backends("web", ["w:81", "w:82"]).unwrap();
    assert_eq!(balancer.backend_count("api"), 3);
    assert_eq!(balancer.backend_count("web"), 2);
    let names: Vec<_> = balancer.list_service_names();
    assert_eq!(names, ["api".into(), "auth".into(), "web".into()]);
    assert_eq!(balancer.services().len(), 3);
    // What is in two of them has a health of its own in each.
    balancer.add_backend("web", THREE[0]).unwrap();
    balancer.mark_health("web", THREE[0], false).unwrap();
    assert_eq!(member(&balancer, THREE[0]).standing, Standing::Serving);
    let healthy = ["api", "web"].map(|service| balancer.healthy_count(service));
    assert_eq!(healthy, [3, 2]);
}

#[test]
fn t11_an_empty_service_refuses() {
    let balancer = balancer(PolicyChoice::RoundRobin, &[]);
    let refused = balancer.select("api").unwrap_err();
    assert_eq!(refused, Error::Refused(Refusal::NoBackends));
}

#[test]
fn t12_failures_are_counted_and_a_verdict_of_health_forgets_them() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE);
    let failed = |balancer: &LoadBalancer| member(balancer, THREE[0]).checks_failed;
    for count in 1..=3 {
        balancer.mark_health("api", THREE[0], false).unwrap();
        assert_eq!(failed(&balancer), count);
    }
    balancer.mark_health("api", THREE[0], true).unwrap();
    assert_eq!(failed(&balancer), 0);
}

#[test]
fn t13_health_goes_both_ways_at_once() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE);
    assert_eq!(balancer.healthy_count("api"), 3);
    balancer.mark_health("api", THREE[2], false).unwrap();
    assert_eq!(balancer.healthy_count("api"), 2);
    assert_eq!(member(&balancer, THREE[2]).standing, Standing::Down);
    balancer.mark_health("api", THREE[2], true).unwrap();
    assert_eq!(balancer.healthy_count("api"), 3);
    assert_eq!(member(&balancer, THREE[2]).standing, Standing::Serving);
}

/// The original inserted a fresh group: counts, health and position were lost.
#[test]
fn registering_again_keeps_the_state_and_takes_the_settings() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE);
    let pick = held(&balancer, THREE[0]);
    balancer.mark_health("api", THREE[1], false).unwrap();
    let handle = balancer.service("api").unwrap();
    let settings = ServiceSettings::with_policy(PolicyChoice::LeastConnections);
    balancer
        .register("api", settings, [THREE[0], THREE[1], "10.0.0.4:80"])
        .unwrap();
    assert_eq!(in_flight(&balancer, THREE[0]), 1);
    assert_eq!(member(&balancer, THREE[1]).standing, Standing::Down);
    let policy = balancer.settings("api").unwrap().policy;
    assert_eq!(policy.name(), "least_connections");
    assert_eq!(
        &*balancer.group_snapshot("api").unwrap().policy,
        "least_connections"
    );
    assert!(handle.select().is_ok(), "a handle lives on");
    drop(pick);
}

/// What cannot be leaves settings and members as they were, in both branches of registering.
#[test]
fn a_registration_that_cannot_be_changes_nothing() {
    let balancer = balancer(PolicyChoice::RoundRobin, &THREE);
    let twice = Error::Membership(MembershipError::Duplicate("a".into()));
    let few = ServiceSettings::default().max_backends(2);
    let many = MembershipError::TooMany {
        members: 3,
        most: 2,
    };
    for service in ["api", "new"] {
        let register = |settings: &ServiceSettings, backends: [&str; 3]| {
            balancer.register(service, settings.clone(), backends)
        };
        let settings = ServiceSettings::default();
        assert_eq!(register(&settings, ["a", "b", "a"]), Err(twice.clone()));
        assert_eq!(register(&few, ["a", "b", "c"]), Err(many.clone().into()));
    }
    assert_eq!(balancer.list_service_names(), ["api".into()]);
    assert_eq!(
        balancer.settings("api").unwrap().policy.name(),
        "round_robin"
    );
    assert_eq!(balancer.backend_count("api"), 3);
    // More room and more members come together.
    balancer.register("api", few, ["a", "b"]).unwrap();
    balancer
        .register("api", ServiceSettings::default(), ["a", "b", "c"])
        .unwrap();
    assert_eq!(balancer.backend_count("api"), 3);
}

/// Z3: in the original the next passed TCP check undid a verdict by hand.
#[test]
fn z3_a_check_does_not_undo_a_verdict_by_hand() {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::default().health(ActiveSettings::default());
    balancer.register("api", settings, THREE).unwrap();
    let handle = balancer.service("api").unwrap();
    let check = |result| {
        let report = CheckReport::new(result, balancer.now()).latency(Duration::from_millis(1));
        handle.check(THREE[0], report).unwrap();
    };
    check(CheckResult::Passed);
    balancer.mark_health("api", THREE[0], false).unwrap();
    for _ in 0..5 {
        check(CheckResult::Passed);
        assert_eq!(member(&balancer, THREE[0]).standing, Standing::Down);
    }
    handle.unmark_health(THREE[0]).unwrap();
    assert_eq!(member(&balancer, THREE[0]).standing, Standing::Serving);
    // Z1: a failed check alone brings nobody down before the third.
    for expected in [Standing::Serving, Standing::Serving, Standing::Down] {
        check(CheckResult::Failed(CheckFault::Refused));
        assert_eq!(member(&balancer, THREE[0]).standing, expected);
    }
}

/// Z5: weights, draining and a limit, which the original lacked.
#[test]
fn z5_weights_draining_and_limits() {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin);
    let heavy = BackendSpec::new("heavy").weight(evenkeel::Weight::new(3).unwrap());
    let light = BackendSpec::new("light").max_in_flight(1);
    balancer.register("api", settings, [heavy, light]).unwrap();
    let who = selected(&balancer, 40);
    assert_eq!(who.iter().filter(|id| *id == "heavy").count(), 30);
    let handle = balancer.service("api").unwrap();
    handle
        .set_admin("heavy", evenkeel::Admin::Draining)
        .unwrap();
    let mut only = balancer.select("api").unwrap();
    assert_eq!(only.id().as_str(), "light");
    only.answered(Verdict::Success);
    let full = balancer.select("api").unwrap_err();
    assert_eq!(full, Error::Refused(Refusal::AllFull));
    drop(only);
    assert!(balancer.select("api").is_ok());
}
