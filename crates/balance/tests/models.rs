//! Models of the service under every schedule that shuttle finds: the guard, and publishing beside picking.
//!
//! `cargo xtask models` runs them, built with `--cfg shuttle`: then the core's atomics and locks are the checker's.
#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{BackendId, BackendSpec};
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::queue::Entry;
use evenkeel_balance::rate::{Key, Limit, RateSettings, Secret, Together};
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{PolicyChoice, QueueSettings, ServiceSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::Outcome;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

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

/// Wakes a thread of the model.
struct Bell(shuttle::sync::Mutex<bool>, shuttle::sync::Condvar);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::new(Self(
            shuttle::sync::Mutex::new(false),
            shuttle::sync::Condvar::new(),
        ))
    }

    /// Until somebody wakes it. Nobody does: the model is told that its threads are stuck.
    fn rest(&self) {
        let mut rung = self.0.lock().unwrap();
        while !std::mem::take(&mut *rung) {
            rung = self.1.wait(rung).unwrap();
        }
    }
}

fn queue(limit: u32, length: u32, of_backend: u32) -> Service {
    let settings = ServiceSettings::with_policy(PolicyChoice::LeastConnections)
        .max_in_flight(limit)
        .queue(
            QueueSettings::default()
                .length(length)
                .timeout(Duration::from_secs(1)),
        );
    let backends = vec![BackendSpec::new("a").max_in_flight(of_backend)];
    Service::new("model", settings, backends, Arc::new(()), NOW).unwrap()
}

/// Waits as long as it takes. `leaves`: not at all, but lets go of its place.
fn served(service: &Service, chance: u64, leaves: bool) -> Option<Pick> {
    let until = NOW + Duration::from_secs(9);
    let entry = service.pick_or_wait(&Ask::new(chance), until, NOW);
    let mut waiting = match entry.unwrap() {
        Entry::Picked(pick) => return Some(pick),
        Entry::Waiting(waiting) => waiting,
    };
    let bell = Bell::new();
    let waker = Waker::from(bell.clone());
    loop {
        match waiting.poll(&waker, NOW) {
            Poll::Ready(called) => return Some(called.unwrap().lasting()),
            Poll::Pending if leaves => return None,
            Poll::Pending => bell.rest(),
        }
    }
}

/// Three threads for one place, of the service or of its backend; one may leave its place in the queue, one drops its pick: whoever
/// stays is served, and never are there two at once.
fn waiting(of_service: bool) {
    let service = match of_service {
        true => queue(1, 9, 0),
        false => queue(0, 9, 1),
    };
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let service = service.clone();
            thread::spawn(move || {
                let pick = served(&service, worker, worker == 2);
                if let Some(pick) = pick {
                    assert_eq!(pick.backend().in_flight(), 1, "one at a time");
                    match worker {
                        0 => drop(pick),
                        _ => pick.finish(Outcome::Completed, NOW),
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    the_queue_is_over(&service);
}

fn the_queue_is_over(service: &Service) {
    let seen = service.snapshot(NOW);
    let queue = seen.queue;
    assert_eq!(
        (queue.waiting, seen.places.map_or(0, |(taken, _)| taken)),
        (0, 0)
    );
    assert_eq!(queue.entered, queue.served + queue.refused + queue.left);
    service.laws().unwrap();
}

/// The limit is raised while somebody holds the only place and does not let go: who waits goes all the same.
fn a_limit_is_raised() {
    let service = queue(1, 9, 0);
    let held = service.pick(&Ask::new(1), NOW).unwrap();
    let waiter = {
        let service = service.clone();
        thread::spawn(move || drop(served(&service, 2, false)))
    };
    let settings = service.settings().max_in_flight(2);
    service.set_settings(settings, NOW);
    waiter.join().unwrap();
    drop(held);
    the_queue_is_over(&service);
}

/// A queue of one place: who comes too late is refused at once, and nobody is forgotten.
fn a_full_queue() {
    let service = queue(1, 1, 0);
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let service = service.clone();
            thread::spawn(move || {
                let until = NOW + Duration::from_secs(9);
                match service.pick_or_wait(&Ask::new(worker), until, NOW) {
                    Ok(Entry::Picked(pick)) => pick.finish(Outcome::Completed, NOW),
                    Ok(Entry::Waiting(waiting)) => drop(waiting),
                    Err(refusal) => assert_eq!(refusal, Refusal::QueueFull),
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    the_queue_is_over(&service);
}

#[test]
fn nobody_misses_his_turn_in_any_schedule() {
    check(|| waiting(true));
    check(|| waiting(false));
}

#[test]
fn a_raised_limit_is_room_in_every_schedule() {
    check(a_limit_is_raised);
}

#[test]
fn a_full_queue_refuses_in_every_schedule() {
    check(a_full_queue);
}

/// Runs under random schedules and under those that change threads rarely. A failure prints its schedule.
fn check(model: fn()) {
    let mut config = Config::new();
    // A thread has 32 KiB otherwise, which a service that is made, and what is made of its settings, fills.
    config.stack_size = 256 * 1024;
    Runner::new(RandomScheduler::new(5_000), config.clone()).run(model);
    Runner::new(PctScheduler::new(3, 2_000), config).run(model);
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

// --- Rate limits.

fn limit(burst: u32, keys: usize) -> Limit {
    let settings = RateSettings::new(NonZeroU32::MIN, Duration::from_secs(1))
        .burst(NonZeroU32::new(burst).unwrap())
        .keys(NonZeroUsize::new(keys).unwrap());
    Limit::new(settings, Secret::new([1, 2]))
}

/// The one set of a limit for one key: in the model it has two places.
fn key(limit: &Limit, number: u8) -> Key {
    limit.keying().part(Some(&[number])).key()
}

/// Three threads take of one bucket that nobody has taken of yet, and a token is given back on the way: as many pass as it holds.
fn a_bucket() {
    let limit = limit(2, 1);
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let limit = limit.clone();
            thread::spawn(move || {
                let key = key(&limit, 0);
                let mut passed = 0;
                for turn in 0..2 {
                    if let Ok(taken) = limit.take(key, NOW) {
                        match (worker, turn) {
                            (0, 0) => limit.give_back(taken, NOW),
                            _ => passed += 1,
                        }
                    }
                }
                passed
            })
        })
        .collect();
    let passed: u32 = workers.into_iter().map(|one| one.join().unwrap()).sum();
    let left = limit.look(key(&limit, 0), NOW).left;
    assert_eq!(passed + left, 2, "{passed} passed, {left} are left");
}

/// Two threads take of the bucket of one key, while others come to the same set of two places, whose buckets were taken of long ago: they
/// take each other's place and never that of the first, nor a token of it.
fn a_set() {
    let limit = limit(2, 1);
    for old in [1, 2] {
        assert!(limit.take(key(&limit, old), Instant::ZERO).is_ok());
    }
    let workers: Vec<_> = (0..3_u8)
        .map(|worker| {
            let limit = limit.clone();
            thread::spawn(move || {
                let of = |number| limit.take(key(&limit, number), NOW).is_ok();
                match worker {
                    // Both use up what there is, one after the other or at once.
                    0 | 1 => u32::from(of(0)) + u32::from(of(0)),
                    _ => {
                        assert!(of(1), "its bucket was full");
                        0
                    }
                }
            })
        })
        .collect();
    let passed: u32 = workers.into_iter().map(|one| one.join().unwrap()).sum();
    assert_eq!(passed, 2, "of one bucket");
    assert!(limit.take(key(&limit, 0), NOW).is_err());
    assert_eq!(limit.look(key(&limit, 1), NOW).left, 1);
    assert_eq!(limit.evicted(), 0, "full buckets are places for nothing");
}

/// Two threads ask two limits together, of which one has room for one: it passes once, and who was refused has taken nothing.
fn all_or_none() {
    let (wide, narrow) = (limit(9, 1), limit(1, 1));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (wide, narrow) = (wide.clone(), narrow.clone());
            thread::spawn(move || {
                let mut together = Together::default();
                assert!(together.add(&wide, Key::ONE, false));
                assert!(together.add(&narrow, Key::ONE, false));
                together.take(NOW).passes
            })
        })
        .collect();
    let passed = workers.into_iter().map(|one| one.join().unwrap());
    assert_eq!(passed.filter(|passes| *passes).count(), 1);
    assert_eq!(wide.look(Key::ONE, NOW).left, 8);
}

#[test]
fn a_bucket_is_exact_in_every_schedule() {
    check(a_bucket);
}

#[test]
fn no_key_charges_another_in_any_schedule() {
    check(a_set);
}

#[test]
fn several_limits_take_all_or_nothing_in_every_schedule() {
    check(all_or_none);
}
