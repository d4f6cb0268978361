//! Models of the service under every schedule that shuttle finds: the guard, and publishing beside picking.
//!
//! `cargo xtask models` runs them, built with `--cfg shuttle`: then the core's atomics and locks are the checker's.
#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::sync::Arc;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{BackendId, BackendSpec};
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{PolicyChoice, ServiceSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Outcome;
use shuttle::thread;

const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn service(policy: PolicyChoice, limit: u32, names: &[&str]) -> Service {
    let spec = |name: &&str| BackendSpec::new(*name).max_in_flight(limit);
    let backends = names.iter().map(spec).collect();
    Service::new(
        "model",
        ServiceSettings::with_policy(policy),
        backends,
        Arc::new(()),
        NOW,
    )
    .unwrap()
}

fn in_flight(service: &Service, name: &str) -> u32 {
    service
        .snapshot(NOW)
        .backend(name)
        .unwrap()
        .counts
        .in_flight
}

/// Three threads for two places: never three at once, and every place comes back.
fn the_guard() {
    let service = service(PolicyChoice::LeastConnections, 2, &["a"]);
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let service = service.clone();
            thread::spawn(move || match service.pick(&Ask::new(worker), NOW) {
                Ok(pick) => {
                    let seen = pick.backend().in_flight();
                    assert!((1..=2).contains(&seen), "{seen} in flight of 2");
                    if worker == 0 {
                        drop(pick);
                    } else {
                        pick.finish(Outcome::Completed, NOW);
                    }
                    1
                }
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::AllFull);
                    0
                }
            })
        })
        .collect();
    let picked: u64 = workers
        .into_iter()
        .map(|worker| worker.join().unwrap())
        .sum();
    let counts = service.snapshot(NOW).backend("a").unwrap().counts;
    assert_eq!((counts.in_flight, counts.picked), (0, picked));
    assert!(picked >= 2, "two had a place");
    service.laws().unwrap();
}

/// A backend leaves and returns while others hold, take and give back picks of it: no charge is lost on the way, and what
/// somebody holds is in flight on the one that returned, also when the pick was taken by a table of before.
fn leaving_and_returning() {
    let service = service(PolicyChoice::LeastConnections, 9, &["a", "b"]);
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let service = service.clone();
            thread::spawn(move || {
                let handle = service.handle(worker);
                let only_a = [BackendId::from("a")];
                let ask = Ask::new(worker).subset(&only_a);
                let (held, refused) = match worker {
                    0 => match service.pick(&ask, NOW) {
                        Ok(pick) => (Some(pick), None),
                        Err(refusal) => (None, Some(refusal)),
                    },
                    _ => (None, handle.pick(&ask, NOW).map(drop).err()),
                };
                assert!(matches!(refused, None | Some(Refusal::NoBackends)));
                held
            })
        })
        .collect();
    service.remove(&"a".into(), NOW).unwrap();
    service.tick(NOW);
    service.add(BackendSpec::new("a"), NOW).unwrap();
    let held: Vec<_> = workers
        .into_iter()
        .filter_map(|worker| worker.join().unwrap())
        .collect();
    assert_eq!(in_flight(&service, "a") as usize, held.len(), "held picks");
    drop(held);
    assert_eq!(in_flight(&service, "a"), 0);
    service.laws().unwrap();
}

/// After a change is through, no later pick sees what was before it, whoever asks.
fn publishing() {
    let service = service(PolicyChoice::RoundRobin, 9, &["a"]);
    let changed = Arc::new(shuttle::sync::atomic::AtomicBool::new(false));
    let picker = {
        let (service, changed) = (service.clone(), changed.clone());
        thread::spawn(move || {
            let handle = service.handle(1);
            for _ in 0..3 {
                let late = changed.load(shuttle::sync::atomic::Ordering::SeqCst);
                let pick = handle.pick(&Ask::new(1), NOW).unwrap();
                assert!(
                    !late || pick.backend().id().as_str() == "b",
                    "an old table after the change"
                );
                pick.finish(Outcome::Completed, NOW);
            }
        })
    };
    service.replace(vec![BackendSpec::new("b")], NOW).unwrap();
    changed.store(true, shuttle::sync::atomic::Ordering::SeqCst);
    picker.join().unwrap();
    service.laws().unwrap();
}

/// Runs under random schedules and under those that change threads rarely. A failure prints its schedule.
fn check(model: fn()) {
    shuttle::check_random(model, 5_000);
    shuttle::check_pct(model, 2_000, 3);
}

#[test]
fn the_guard_is_exact_in_every_schedule() {
    check(the_guard);
}

#[test]
fn no_charge_is_lost_when_a_backend_leaves_and_returns() {
    check(leaving_and_returning);
}

#[test]
fn nobody_sees_an_old_table_after_a_change() {
    check(publishing);
}
