//! What is changed while it runs: some of the settings, weights by identity, labels that choose.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::sync::Barrier;

use evenkeel::balance::membership::MembershipError;
use evenkeel::balance::standing::Standing;
use evenkeel::{
    Ask, BackendSpec, Error, EventName, LoadBalancer, PolicyChoice, ServiceHandle, ServiceSettings,
    Weight,
};

fn service(
    backends: impl IntoIterator<Item = impl Into<BackendSpec>>,
) -> (LoadBalancer, ServiceHandle) {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin);
    balancer.register("api", settings, backends).unwrap();
    let service = balancer.service("api").unwrap();
    (balancer, service)
}

fn weights(service: &ServiceHandle) -> Vec<u16> {
    let backends = service.snapshot().backends;
    backends.iter().map(|one| one.spec.weight.get()).collect()
}

#[test]
fn some_settings_change_and_the_others_stay() {
    let (balancer, service) = service(["a", "b"]);
    let slow_start = std::time::Duration::from_secs(7);
    let settings = service.settings().slow_start(slow_start);
    service.set_settings(settings).unwrap();
    service.select().unwrap().succeeded();
    let now = service
        .update_settings(|settings| settings.policy = PolicyChoice::LeastConnections)
        .unwrap();
    assert_eq!(now.policy.name(), "least_connections");
    assert_eq!(service.settings().policy.name(), "least_connections");
    assert_eq!(service.settings().slow_start, slow_start);
    assert_eq!(service.stats().attempts.picked, 1);
    balancer.unregister("api").unwrap();
    let gone = service.update_settings(|_| ()).unwrap_err();
    assert_eq!(gone, Error::UnknownService("api".into()));
}

#[test]
fn two_who_change_different_settings_do_not_undo_each_other() {
    let (_balancer, service) = service(["a"]);
    let together = Barrier::new(2);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            together.wait();
            for _ in 0..500 {
                service
                    .update_settings(|settings| settings.max_backends += 1)
                    .unwrap();
            }
        });
        together.wait();
        for _ in 0..500 {
            service
                .update_settings(|settings| settings.retry.attempts += 1)
                .unwrap();
        }
        one.join().unwrap();
    });
    let (before, after) = (ServiceSettings::default(), service.settings());
    assert_eq!(
        after.max_backends,
        before.max_backends - 1_000_000 + 1_000_500
    );
    assert_eq!(after.retry.attempts, before.retry.attempts + 500);
}

#[test]
fn weights_by_identity_change_as_one_or_not_at_all() {
    let (balancer, service) = service(["a", "b", "c"]);
    let weight = |weight| Weight::new(weight).unwrap();
    let told = balancer.on(EventName::BackendUpdated, |_| ()).unwrap();
    service
        .set_weights([("a", weight(3)), ("c", Weight::ZERO)])
        .unwrap();
    assert_eq!(weights(&service), [3, 1, 0]);
    let unknown = service
        .set_weights([("b", weight(9)), ("x", weight(9))])
        .unwrap_err();
    assert_eq!(
        unknown,
        Error::Membership(MembershipError::Unknown("x".into()))
    );
    assert_eq!(weights(&service), [3, 1, 0]);
    let mut got = [0; 2];
    for _ in 0..8 {
        let pick = service.select().unwrap();
        got[usize::from(pick.id().as_str() == "b")] += 1;
        pick.succeeded();
    }
    assert_eq!(got, [6, 2]);
    told.off();
}

#[test]
fn labels_are_kept_and_choose() {
    let labelled = |id: &str, region: &str| BackendSpec::new(id).label("region", region);
    let (_balancer, service) = service([
        labelled("a", "east"),
        labelled("b", "west"),
        labelled("c", "west"),
    ]);
    let of = |region: &str| {
        service.backends_where(|spec| spec.labels.get("region").is_some_and(|one| one == region))
    };
    let west = of("west");
    for _ in 0..6 {
        let pick = service.select_with(&Ask::new().subset(&west)).unwrap();
        assert_ne!(pick.id().as_str(), "a");
        pick.succeeded();
    }
    assert!(of("north").is_empty());
    let status = service.backend("b").unwrap();
    assert_eq!(
        (status.spec.labels["region"].as_str(), status.standing),
        ("west", Standing::Serving)
    );
    assert!(service.backend("x").is_none());
    service.set_weights([("b", Weight::ZERO)]).unwrap();
    assert_eq!(of("west"), west);
}
