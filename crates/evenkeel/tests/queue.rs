//! Waiting for a full service, in paused time.
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::time::Duration;

use evenkeel::{Ask, Error, LoadBalancer, QueueSettings, Refusal, ServiceSettings};

fn balancer(length: u32) -> LoadBalancer {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::default().max_in_flight(1).queue(
        QueueSettings::default()
            .length(length)
            .timeout(Duration::from_secs(5)),
    );
    balancer.register("api", settings, ["a:80"]).unwrap();
    balancer
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_what_comes_free_by_class() {
    let balancer = balancer(9);
    let api = balancer.service("api").unwrap();
    let held = api.acquire(Duration::ZERO).await.unwrap();
    let order = std::sync::Mutex::new(Vec::new());
    let ask = async |name: &'static str, class: u16| {
        let ask = Ask::new().queue_class(class);
        let pick = api
            .acquire_with(&ask, Duration::from_secs(1))
            .await
            .unwrap();
        order.lock().unwrap().push(name);
        tokio::time::sleep(Duration::from_millis(10)).await;
        pick.succeeded();
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        held.succeeded();
    };
    tokio::join!(ask("late", 200), ask("first", 7), ask("second", 7), release);
    assert_eq!(*order.lock().unwrap(), ["first", "second", "late"]);
    let queue = api.snapshot().queue;
    assert_eq!((queue.entered, queue.served, queue.waiting), (3, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_shorter_time() {
    let balancer = balancer(1);
    let _held = balancer.select("api").unwrap();
    for (within, waited) in [(1, 1), (60, 5)] {
        let ask = Ask::new();
        let waits = balancer.acquire_with("api", &ask, Duration::from_secs(within));
        let mut waits = std::pin::pin!(waits);
        // Not before, and soon after.
        let early = Duration::from_millis(waited * 1000 - 10);
        assert!(tokio::time::timeout(early, &mut waits).await.is_err());
        let soon = tokio::time::timeout(Duration::from_millis(20), waits).await;
        let refused = soon.unwrap().unwrap_err();
        assert_eq!(refused, Error::Refused(Refusal::QueueTimeout));
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_the_queue() {
    let balancer = balancer(1);
    let api = balancer.service("api").unwrap();
    let held = api.select().unwrap();
    let gave_up = tokio::time::timeout(Duration::from_millis(5), api.acquire(Duration::MAX)).await;
    assert!(gave_up.is_err());
    assert_eq!(api.snapshot().queue.left, 1);
    drop(held);
    api.acquire(Duration::ZERO).await.unwrap().succeeded();
}

/// Who waits for a service that ends is told so at once, and gets no place that becomes free in it.
#[tokio::test(start_paused = true)]
async fn who_waits_is_told_that_the_service_has_ended() {
    for stops in [true, false] {
        let balancer = balancer(9);
        let api = balancer.service("api").unwrap();
        let held = api.select().unwrap();
        let waiting = api.clone();
        let mut waits = tokio::spawn(async move { waiting.acquire(Duration::MAX).await });
        let early = tokio::time::timeout(Duration::from_millis(5), &mut waits).await;
        assert!(early.is_err());
        match stops {
            true => balancer.stop(),
            false => balancer.unregister("api").unwrap(),
        }
        let soon = tokio::time::timeout(Duration::from_millis(20), waits).await;
        let told = soon.expect("it waits no longer").unwrap();
        assert_eq!(told.map(drop), Err(Error::UnknownService("api".into())));
        held.succeeded();
        let queue = api.snapshot().queue;
        assert_eq!((queue.waiting, queue.left, queue.served), (0, 1, 0));
    }
}

/// Called and ended in one moment: no pick is handed out of a service that is gone.
#[tokio::test(start_paused = true)]
async fn who_is_called_by_the_end_of_a_service_gets_no_pick() {
    let balancer = balancer(9);
    let api = balancer.service("api").unwrap();
    let held = api.select().unwrap();
    let waiting = api.clone();
    let mut waits = tokio::spawn(async move { waiting.acquire(Duration::MAX).await });
    let early = tokio::time::timeout(Duration::from_millis(5), &mut waits).await;
    assert!(early.is_err());
    held.succeeded();
    balancer.unregister("api").unwrap();
    let told = waits.await.unwrap();
    assert_eq!(told.map(drop), Err(Error::UnknownService("api".into())));
    let attempts = api.stats().attempts;
    assert_eq!((attempts.picked, attempts.in_flight), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn other_settings_are_followed_by_who_waits() {
    let waits = |millis| {
        (millis > 0).then_some(
            QueueSettings::default()
                .length(9)
                .timeout(Duration::from_millis(millis)),
        )
    };
    for (queue, ends, refusal) in [
        (waits(1_000), 1_000, Refusal::QueueTimeout),
        (waits(9_000), 9_000, Refusal::QueueTimeout),
        (waits(0), 500, Refusal::AllFull),
    ] {
        let balancer = balancer(9);
        let api = balancer.service("api").unwrap();
        let _held = api.select().unwrap();
        // In a task of its own: it is woken, or it is not polled.
        let waiting = api.clone();
        let mut waits = tokio::spawn(async move { waiting.acquire(Duration::MAX).await });
        let early = Duration::from_millis(500);
        assert!(tokio::time::timeout(early, &mut waits).await.is_err());
        let settings = api.settings().queue(queue);
        api.set_settings(settings).unwrap();
        let rest = Duration::from_millis(ends) - early;
        let until = rest.saturating_sub(Duration::from_millis(10));
        // Not before, and soon after.
        if !until.is_zero() {
            let early = tokio::time::timeout(until, &mut waits).await;
            assert!(early.is_err(), "{queue:?}");
        }
        let soon = tokio::time::timeout(Duration::from_millis(20), waits).await;
        let refused = soon.unwrap().unwrap().unwrap_err();
        assert_eq!(refused, Error::Refused(refusal), "{queue:?}");
    }
}
