//! What those who come from k-msg and the TypeScript system did in their own tests, done here.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::collections::HashSet;
use std::time::Duration;

use evenkeel::balance::settings::HashMethod;
use evenkeel::balance::standing::Standing;
use evenkeel::{Ask, BackendId, Fault, LoadBalancer, PolicyChoice, ServiceSettings};

/// Register and select among a list; completion; four failures in a row; the five fields.
#[tokio::test(start_paused = true)]
async fn their_own_tests_of_k_msg() {
    let balancer = LoadBalancer::new();
    let mut settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin);
    let breaker = settings.breaker.as_mut().unwrap();
    // Theirs takes an endpoint out after three failures.
    breaker.consecutive = 3;
    balancer
        .register("hooks", settings, ["one", "two"])
        .unwrap();
    let hooks = balancer.service("hooks").unwrap();
    let one = [BackendId::from("one")];
    let only_one = Ask::new().subset(&one);
    let mut pick = hooks.select_with(&only_one).unwrap();
    assert_eq!(pick.id().as_str(), "one");
    assert_eq!(hooks.stats().attempts.in_flight, 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    pick.answered(evenkeel::Verdict::Success);
    pick.succeeded();
    let status = hooks.backend("one").unwrap();
    assert_eq!(
        (status.standing, status.counts.succeeded),
        (Standing::Serving, 1)
    );
    assert!(status.latency.unwrap() >= Duration::from_millis(20));

    for failures in 1..=3 {
        hooks.select_with(&only_one).unwrap().failed(Fault::Connect);
        assert_eq!(hooks.backend("one").unwrap().consecutive_failures, failures);
    }
    balancer.tick();
    assert_eq!(hooks.backend("one").unwrap().standing, Standing::Ejected);
    assert!(hooks.select_with(&only_one).is_err());
    let stats = hooks.stats();
    assert_eq!(
        (stats.members, stats.healthy, stats.breakers_open),
        (2, 1, 1)
    );
    assert_eq!((stats.attempts.in_flight, stats.attempts.picked), (0, 4));
    assert!(stats.latency.unwrap() >= Duration::from_millis(20));
}

#[test]
fn a_key_keeps_its_client() {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::with_policy(PolicyChoice::Hash(HashMethod::Maglev));
    let servers = ["a", "b", "c", "d"];
    balancer.register("web", settings, servers).unwrap();
    let of = |client: u32| {
        let pick = balancer.select_with("web", &Ask::new().key(client.to_le_bytes()));
        pick.unwrap().id().to_string()
    };
    let before: Vec<String> = (0..100).map(of).collect();
    assert_eq!((0..100).map(of).collect::<Vec<_>>(), before);
    assert_eq!(before.iter().collect::<HashSet<_>>().len(), 4);
    // Who is down gives its clients away and gets them back; the others stay.
    balancer.mark_health("web", "a", false).unwrap();
    for (client, was) in (0..).zip(&before) {
        let now = of(client);
        assert!(
            if was == "a" { now != "a" } else { now == *was },
            "{client}"
        );
    }
}

/// Each for itself, and whatever the order in which they were told of the members.
#[test]
fn instances_agree_where_a_key_belongs() {
    for method in HashMethod::ALL {
        let instance = |servers: [&'static str; 4]| {
            let balancer = LoadBalancer::new();
            let settings = ServiceSettings::with_policy(PolicyChoice::Hash(method));
            balancer.register("web", settings, servers).unwrap();
            let service = balancer.service("web").unwrap();
            let of = |client: u32| {
                let ask = Ask::new().key(client.to_le_bytes());
                service.select_with(&ask).unwrap().id().to_string()
            };
            (0..200).map(of).collect::<Vec<_>>()
        };
        let one = instance(["a", "b", "c", "d"]);
        assert_eq!(instance(["c", "a", "d", "b"]), one, "{method:?}");
    }
}
