//! Subscriptions: order, what is told to whom, and what a slow subscriber loses without holding anybody up.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken subscriber is the subject; helpers of tests"
)]

use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use evenkeel::events::NoEvent;
use evenkeel::{
    BalancerSettings, EventKind, Events, Fault, LoadBalancer, PolicyChoice, ServiceSettings,
    Verdict,
};

fn kinds(events: &mut Events) -> Vec<EventKind> {
    std::iter::from_fn(|| events.try_recv().ok())
        .map(|event| event.kind)
        .collect()
}

/// The words of the variants, without their fields.
fn words(events: &mut Events) -> Vec<String> {
    kinds(events)
        .iter()
        .map(|kind| {
            let debug = format!("{kind:?}");
            let end = debug.find(' ').unwrap_or(debug.len());
            debug[..end].to_owned()
        })
        .collect()
}

fn keeping(events_kept: usize) -> LoadBalancer {
    LoadBalancer::with_settings(&BalancerSettings::default().events_kept(events_kept))
}

fn settings() -> ServiceSettings {
    ServiceSettings::with_policy(PolicyChoice::RoundRobin)
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_service_is_told_in_order() {
    let balancer = LoadBalancer::new();
    let mut events = balancer.subscribe();
    balancer.register("api", settings(), ["a", "b"]).unwrap();
    balancer.add_backend("api", "c").unwrap();
    balancer.mark_health("api", "c", false).unwrap();
    let only = ["a".into()];
    for _ in 0..5 {
        let ask = evenkeel::Ask::new().subset(&only);
        let pick = balancer.select_with("api", &ask).unwrap();
        pick.failed(Fault::Connect);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    balancer.remove_backend("api", "a").unwrap();
    balancer.mark_health("api", "b", false).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    balancer.mark_health("api", "b", true).unwrap();
    balancer.register("api", settings(), ["b"]).unwrap();
    balancer.unregister("api").unwrap();
    assert_eq!(
        words(&mut events),
        [
            "ServiceStarted",
            "BackendAdded",
            "StandingChanged",
            // Two of three are out at most; c is down already, so the breaker of a is withheld.
            "BreakerWithheld",
            "BackendRemoved",
            "StandingChanged",
            "AllDown",
            "StandingChanged",
            "Recovered",
            "SettingsChanged",
            "BackendRemoved",
            "ServiceStopped",
        ]
    );
    assert_eq!(events.lost(), 0);
}

#[test]
fn exchanges_are_told_only_while_somebody_wants_them() {
    let balancer = LoadBalancer::new();
    balancer.register("api", settings(), ["a"]).unwrap();
    let mut plain = balancer.subscribe();
    balancer.select("api").unwrap().succeeded();
    let mut all = balancer.subscribe_exchanges();
    let mut pick = balancer.select("api").unwrap();
    pick.answered(Verdict::Success);
    pick.succeeded();
    drop(balancer.select("api").unwrap());
    balancer.mark_health("api", "a", false).unwrap();
    balancer.select("api").unwrap_err();
    assert_eq!(
        words(&mut all),
        [
            "Picked",
            "Answered",
            "Finished",
            "Picked",
            "Abandoned",
            "StandingChanged",
            "AllDown",
            "Refused"
        ]
    );
    assert_eq!(words(&mut plain), ["StandingChanged", "AllDown"]);
    drop(all);
    let mut later = balancer.subscribe_exchanges();
    assert_eq!(later.try_recv(), Err(NoEvent::NoneYet));
}

#[test]
fn a_slow_subscriber_loses_the_oldest_and_holds_nobody_up() {
    const PICKS: usize = 1_000;
    let balancer = keeping(16);
    balancer.register("api", settings(), ["a"]).unwrap();
    let mut slow = balancer.subscribe_exchanges();
    let mut other = balancer.subscribe();
    for _ in 0..PICKS {
        // On one thread: were a pick to wait for the subscriber, this would never end.
        balancer.select("api").unwrap().succeeded();
    }
    assert_eq!(balancer.events_lost(), 0, "not read yet, so not known yet");
    let kept = kinds(&mut slow);
    assert_eq!(kept.len(), 16);
    assert!(matches!(kept[15], EventKind::Finished { .. }));
    assert_eq!(slow.lost(), (3 * PICKS - 16) as u64);
    assert_eq!(balancer.events_lost(), slow.lost());
    assert_eq!(other.try_recv(), Err(NoEvent::NoneYet));
    assert_eq!(other.lost(), 0, "exchanges crowd out nobody else");
}

#[test]
fn the_number_of_kept_events_is_bounded_both_ways() {
    for (asked, kept) in [(0, 1), (1, 1), (4, 4)] {
        let balancer = keeping(asked);
        let mut events = balancer.subscribe();
        for name in ["one", "two", "three", "four", "five"] {
            balancer.register(name, settings(), ["a"]).unwrap();
        }
        assert_eq!(kinds(&mut events).len(), kept, "asked for {asked}");
    }
    drop(keeping(usize::MAX));
}

#[tokio::test]
async fn waiting_subscribers_are_woken_and_told_of_the_end() {
    let balancer = LoadBalancer::new();
    let mut events = balancer.subscribe();
    let listener = tokio::spawn(async move {
        let mut names = Vec::new();
        while let Some(event) = events.recv().await {
            names.push(event.service.to_string());
        }
        (names, events.try_recv())
    });
    tokio::task::yield_now().await;
    balancer.register("api", settings(), ["a"]).unwrap();
    tokio::task::yield_now().await;
    drop(balancer);
    let (names, end) = listener.await.unwrap();
    assert_eq!(names, ["api", "api"]);
    assert_eq!(end, Err(NoEvent::Ended));
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a subscriber of the program's that breaks when it is woken");
    }
}

/// Leaves a waiting subscriber behind whose waker panics, lets `happens` happen, and takes it away.
async fn woken_with_a_panic(events: &mut Events, happens: impl AsyncFnOnce()) {
    while events.try_recv().is_ok() {}
    let waker = Waker::from(Arc::new(Panics));
    let mut waits = Box::pin(events.recv());
    let first = waits.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(first.is_pending());
    happens().await;
}

/// Waking a subscriber runs code of the program's: neither the picker nor the ticker dies of it.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_kills_neither_pick_nor_ticker() {
    let balancer = LoadBalancer::new();
    balancer.register("api", settings(), ["a", "b"]).unwrap();
    let mut broken = balancer.subscribe_exchanges();
    woken_with_a_panic(&mut broken, async || {
        balancer.select("api").unwrap().succeeded();
    })
    .await;
    // The end of a verdict by hand is told by the ticker.
    for _ in 0..2 {
        let lasts = Duration::from_secs(1);
        balancer.mark_health_for("api", "a", false, lasts).unwrap();
        woken_with_a_panic(&mut broken, async || {
            tokio::time::sleep(Duration::from_secs(2)).await;
        })
        .await;
        assert_eq!(balancer.healthy_count("api"), 2, "the ticker lives");
    }
}
