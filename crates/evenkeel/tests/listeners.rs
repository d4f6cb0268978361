//! Functions at events of one name: on, once, off; what one does wrong harms nobody.

#![allow(clippy::unwrap_used, reason = "in the helpers of tests too")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use evenkeel::balance::policy::{Candidates, Policy};
use evenkeel::events::MOST_LISTENERS;
use evenkeel::{
    Error, Event, EventKind, EventName, LoadBalancer, PolicyChoice, QueueSettings, ServiceSettings,
    balance,
};

fn balancer() -> LoadBalancer {
    let balancer = LoadBalancer::new();
    let settings = ServiceSettings::default();
    balancer.register("api", settings, ["a:80"]).unwrap();
    balancer
}

/// Counts its calls.
fn counter() -> (Arc<AtomicUsize>, impl Fn(&Event) + Send + Sync + 'static) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counts = calls.clone();
    let count = move |_: &Event| {
        counts.fetch_add(1, Ordering::Relaxed);
    };
    (calls, count)
}

#[test]
fn each_event_of_its_name_is_heard_until_it_is_off() {
    let balancer = balancer();
    let (calls, count) = counter();
    let added = balancer.on(EventName::BackendAdded, count).unwrap();
    assert_eq!(
        (added.name(), added.is_on()),
        (EventName::BackendAdded, true)
    );
    balancer.add_backend("api", "b:80").unwrap();
    balancer.remove_backend("api", "b:80").unwrap();
    balancer.add_backend("api", "c:80").unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    added.off();
    balancer.add_backend("api", "d:80").unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    // What it held is gone with it.
    assert_eq!(Arc::strong_count(&calls), 1);
}

/// Theirs cannot take off a listener that was to be called once.
#[test]
fn once_is_heard_once_and_can_be_taken_off_before() {
    let balancer = balancer();
    let (calls, count) = counter();
    let once = balancer.once(EventName::BackendAdded, count).unwrap();
    let (never, count) = counter();
    let off = balancer.once(EventName::BackendAdded, count).unwrap();
    off.off();
    balancer.add_backend("api", "b:80").unwrap();
    balancer.add_backend("api", "c:80").unwrap();
    assert_eq!(
        (calls.load(Ordering::Relaxed), never.load(Ordering::Relaxed)),
        (1, 0)
    );
    assert!(!once.is_on());
}

#[test]
fn the_same_function_twice_is_called_twice_and_each_is_taken_off_alone() {
    let balancer = balancer();
    let (calls, count) = counter();
    let count = Arc::new(count);
    let [one, two] = [(); 2].map(|()| {
        let count = count.clone();
        balancer
            .on(EventName::BackendAdded, move |event| count(event))
            .unwrap()
    });
    balancer.add_backend("api", "b:80").unwrap();
    drop(one);
    balancer.add_backend("api", "c:80").unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    two.forever();
    balancer.add_backend("api", "d:80").unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    assert_eq!(balancer.off_all(Some(EventName::Drained)), 0);
    assert_eq!(balancer.off_all(None), 1);
    balancer.add_backend("api", "e:80").unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

/// Theirs aborts the call of the balancer.
#[test]
fn one_that_panics_harms_neither_the_call_nor_the_other_listeners() {
    let balancer = balancer();
    let panics = balancer
        .on(EventName::BackendAdded, |_| panic!("a listener panics"))
        .unwrap();
    let once = balancer
        .once(EventName::BackendAdded, |_| panic!("another"))
        .unwrap();
    let (calls, count) = counter();
    let hears = balancer.on(EventName::BackendAdded, count).unwrap();
    for backend in ["b:80", "c:80"] {
        balancer.add_backend("api", backend).unwrap();
    }
    assert_eq!(
        (
            calls.load(Ordering::Relaxed),
            panics.panics(),
            once.panics()
        ),
        (2, 2, 1)
    );
    assert!(panics.is_on() && hears.is_on() && !once.is_on());
    assert_eq!(balancer.backend_count("api"), 3);
}

#[test]
fn a_listener_may_change_the_balancer_and_take_itself_off() {
    let balancer = balancer();
    let own = Arc::new(Mutex::new(None));
    let (weak, slot) = (balancer.downgrade(), own.clone());
    let drain = balancer.on(EventName::BackendAdded, move |event| {
        let EventKind::BackendAdded { backend, .. } = &event.kind else {
            panic!("another event than was asked for: {event:?}");
        };
        let balancer = weak.upgrade().unwrap();
        balancer.remove_backend("api", backend.as_str()).unwrap();
        drop(slot.lock().unwrap().take());
    });
    *own.lock().unwrap() = Some(drain.unwrap());
    balancer.add_backend("api", "b:80").unwrap();
    assert_eq!(balancer.backend_count("api"), 1);
    balancer.add_backend("api", "c:80").unwrap();
    assert_eq!(balancer.backend_count("api"), 2);
}

/// Ends a test that would hang for ever; nothing else is decided by the time.
fn ends<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, waits) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || done.send(test()));
    let ended = waits.recv_timeout(std::time::Duration::from_secs(10));
    ended.expect("a lock was asked for by who held it, or the test failed above")
}

/// Under no lock of the balancer's, that of which services there are included.
#[test]
fn a_listener_may_register_unregister_and_stop() {
    let heard = ends(|| {
        let balancer = balancer();
        let mut events = balancer.subscribe();
        let on = |name, then: fn(&LoadBalancer)| {
            let weak = balancer.downgrade();
            let then = move |_: &Event| then(&weak.upgrade().unwrap());
            balancer.once(name, then).unwrap().forever();
        };
        on(EventName::BackendAdded, |balancer| {
            balancer.unregister("api").unwrap();
        });
        on(EventName::ServiceStopped, |balancer| {
            let settings = ServiceSettings::default();
            balancer.register("api", settings, ["c:80"]).unwrap();
        });
        on(EventName::ServiceStarted, |balancer| balancer.stop());
        let settings = ServiceSettings::default();
        balancer
            .register("api", settings, ["a:80", "b:80"])
            .unwrap();
        let told = std::iter::from_fn(|| events.try_recv().ok());
        let told: Vec<EventName> = told.map(|event| EventName::of(&event.kind)).collect();
        assert!(balancer.list_service_names().is_empty());
        told
    });
    assert_eq!(
        heard,
        [
            EventName::SettingsChanged,
            EventName::BackendAdded,
            EventName::ServiceStopped,
            EventName::ServiceStarted,
            EventName::ServiceStopped,
        ]
    );
}

/// A policy breaks while it chooses for those who wait; who hears of it looks at the service.
#[test]
fn a_listener_of_a_policy_that_broke_may_look_at_who_waits() {
    struct Breaks(AtomicUsize);
    impl Policy for Breaks {
        fn name(&self) -> &'static str {
            "breaks"
        }
        fn choose(&self, view: &Candidates<'_>, _: &balance::ask::Ask<'_>) -> Option<usize> {
            assert_eq!(self.0.fetch_add(1, Ordering::Relaxed), 0, "on purpose");
            view.iter().next()
        }
    }
    let waiting = ends(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let balancer = LoadBalancer::new();
            let policy = PolicyChoice::Custom(Arc::new(Breaks(AtomicUsize::new(0))));
            let mut settings = ServiceSettings::with_policy(policy);
            settings.max_in_flight = std::num::NonZeroU32::new(1);
            settings.queue = Some(QueueSettings::default());
            balancer.register("api", settings, ["a:80"]).unwrap();
            let service = balancer.service("api").unwrap();
            let (looked, seen) = (service.clone(), Arc::new(Mutex::new(Vec::new())));
            let see = seen.clone();
            let failed = balancer.on(EventName::PolicyFailed, move |_| {
                let (stats, queue) = (looked.stats(), looked.snapshot().queue);
                let seen = (stats.attempts.in_flight, queue.waiting);
                see.lock().unwrap().push(seen);
            });
            failed.unwrap().forever();
            let held = service.select().unwrap();
            let minute = std::time::Duration::from_secs(60);
            let (one, two, ()) = tokio::join!(
                service.acquire(minute),
                async {
                    let second = service.acquire(std::time::Duration::from_millis(1)).await;
                    second.unwrap_err()
                },
                async {
                    held.succeeded();
                }
            );
            drop(one.unwrap());
            assert_eq!(two, Error::Refused(evenkeel::Refusal::QueueTimeout));
            balancer.off_all(None);
            std::mem::take(&mut *seen.lock().unwrap())
        })
    });
    assert_eq!(waiting, [(1, 1)]);
}

/// What a listener holds is dropped when it is taken off, and may be the owner of another, or call the balancer.
#[test]
fn a_listener_may_own_another_that_goes_with_it() {
    let balancer = balancer();
    let (calls, count) = counter();
    let inner = balancer.on(EventName::BackendAdded, count).unwrap();
    let outer = balancer.on(EventName::Drained, move |_| {
        let _ = inner.name();
    });
    outer.unwrap().forever();
    let (done, waits) = std::sync::mpsc::sync_channel(1);
    let clone = balancer.clone();
    std::thread::spawn(move || done.send(clone.off_all(Some(EventName::Drained))));
    // Nothing is decided by the time: it only ends a test that hangs.
    let off = waits.recv_timeout(std::time::Duration::from_secs(10));
    assert_eq!(off, Ok(1));
    balancer.add_backend("api", "b:80").unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[test]
fn events_of_attempts_are_told_while_one_listener_wants_them() {
    let balancer = balancer();
    let (calls, count) = counter();
    let picked = balancer.on(EventName::Picked, count).unwrap();
    balancer.select("api").unwrap().succeeded();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let (once, count) = counter();
    balancer.once(EventName::Finished, count).unwrap().forever();
    balancer.select("api").unwrap().succeeded();
    balancer.select("api").unwrap().succeeded();
    assert_eq!(
        (calls.load(Ordering::Relaxed), once.load(Ordering::Relaxed)),
        (3, 1)
    );
    picked.off();
    let mut exchanges = balancer.subscribe_exchanges();
    drop(balancer.select("api").unwrap());
    assert!(exchanges.try_recv().is_ok());
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[test]
fn there_are_at_most_so_many() {
    let balancer = balancer();
    let on = || balancer.on(EventName::Drained, |_| ());
    let all: Vec<_> = (0..MOST_LISTENERS).map(|_| on().unwrap()).collect();
    assert_eq!(on().unwrap_err(), Error::TooManyListeners);
    drop(all);
    assert!(on().is_ok());
}

#[test]
fn a_subscription_keeps_nothing_alive() {
    let balancer = balancer();
    let weak = balancer.downgrade();
    let on = balancer.on(EventName::Drained, |_| ()).unwrap();
    drop(balancer);
    assert!(weak.upgrade().is_none());
    drop(on);
}
