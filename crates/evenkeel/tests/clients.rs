//! Clients that are kept by name: where they were, for their time, and no longer than their backend is there. Time is paused.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::time::Duration;

use evenkeel::balance::affinity::ClientsSettings;
use evenkeel::{
    Ask, BackendSpec, Exchange, Fault, LoadBalancer, PolicyChoice, ServiceHandle, ServiceSettings,
    Target,
};

const TTL: Duration = Duration::from_secs(300);

fn service() -> ServiceHandle {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin);
    balancer.register("api", settings, ["a", "b", "c"]).unwrap();
    let service = balancer.service("api").unwrap();
    let settings = ClientsSettings::default().most(1_000).ttl(TTL);
    service.keep_clients(settings).unwrap();
    service
}

fn sent(service: &ServiceHandle, client: &str) -> String {
    let pick = service.select_for(client, &Ask::new()).unwrap();
    pick.id().to_string()
}

#[tokio::test(start_paused = true)]
async fn clients_stay_where_they_are_until_their_time_is_over() {
    let service = service();
    let all = ["one", "two", "three"];
    let first = all.map(|client| sent(&service, client));
    assert_eq!(first, ["a", "b", "c"]);
    for _ in 0..3 {
        // Twice each: turns that come round would pass for it.
        for (client, home) in all.into_iter().zip(&first) {
            assert_eq!(
                [(); 2].map(|()| sent(&service, client)),
                [(); 2].map(|()| home.clone())
            );
        }
        // Seen within their time, they are kept on.
        tokio::time::sleep(TTL * 3 / 4).await;
    }
    assert_eq!(service.clients().clients, 3);
    // R4: theirs never ended.
    tokio::time::sleep(TTL).await;
    assert_eq!(service.client_backend("one"), None);
    assert_eq!(service.clients().clients, 0);
}

#[tokio::test(start_paused = true)]
async fn one_or_all_are_cleared() {
    let service = service();
    for client in ["one", "two", "three"] {
        sent(&service, client);
    }
    assert_eq!(service.client_backend("two").unwrap().as_str(), "b");
    assert!(service.clear_client("two") && !service.clear_client("two"));
    assert_eq!(service.client_backend("two"), None);
    assert_eq!(service.client_backend("one").unwrap().as_str(), "a");
    assert_eq!((service.clear_clients(), service.clear_clients()), (2, 0));
    assert_eq!(service.client_backend("one"), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_backend_is_lost_moves_once_and_stays_there() {
    let service = service();
    assert_eq!(sent(&service, "one"), "a");
    service.mark_health("a", false).unwrap();
    let moved = sent(&service, "one");
    assert_ne!(moved, "a");
    service.mark_health("a", true).unwrap();
    for _ in 0..4 {
        assert_eq!(sent(&service, "one"), moved);
    }
    service.remove_backend(&moved).unwrap();
    assert_eq!(service.client_backend("one"), None);
    assert_ne!(sent(&service, "one"), moved);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_begins_at_home_and_the_client_stays_where_it_succeeds() {
    let service = service();
    let terms = Exchange::new().client("one").idempotent();
    let went = async |fails_on: &str| {
        let attempt = async |to: Target| match to.id.as_str() == fails_on {
            true => Err(Fault::Reset),
            false => Ok(to.id.to_string()),
        };
        service.exchange(&terms, attempt).await.unwrap()
    };
    assert_eq!(went("").await, "a");
    assert_eq!(went("").await, "a");
    let other = went("a").await;
    assert_ne!(other, "a");
    assert_eq!(service.client_backend("one").unwrap().as_str(), other);
    assert_eq!(went("").await, other);
    assert_eq!(service.clients().clients, 1);
}

/// A backend that is full has another serve its client, who is still its.
#[tokio::test(start_paused = true)]
async fn a_client_of_a_full_backend_stays_there() {
    let service = service();
    assert_eq!(sent(&service, "one"), "a");
    let full = BackendSpec::new("a").max_in_flight(1);
    service.update_backend(full).unwrap();
    let held = service.select_for("one", &Ask::new()).unwrap();
    assert_eq!((held.id().as_str(), held.is_spilled()), ("a", false));
    let spilled = service.select_for("one", &Ask::new()).unwrap();
    assert!(spilled.is_spilled() && spilled.id().as_str() != "a");
    // By an exchange, too, though there is room when it has succeeded.
    let terms = Exchange::new().client("one");
    let mut held = Some(held);
    let attempt = |to: Target| {
        held.take().unwrap().succeeded();
        std::future::ready(Ok::<_, Fault>(to.id.to_string()))
    };
    assert_ne!(service.exchange(&terms, attempt).await.unwrap(), "a");
    assert_eq!(service.client_backend("one").unwrap().as_str(), "a");
    assert_eq!(sent(&service, "one"), "a");
}

#[test]
fn without_a_table_nobody_is_remembered() {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::with_policy(PolicyChoice::RoundRobin);
    balancer.register("api", settings, ["a", "b"]).unwrap();
    let service = balancer.service("api").unwrap();
    assert_ne!(sent(&service, "one"), sent(&service, "one"));
    assert_eq!(
        (service.client_backend("one"), service.clear_clients()),
        (None, 0)
    );
}
