//! Who is kept where, and who moves: on a loss, once, to one place; at no other time.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use evenkeel_balance::affinity::{CarriedClient, Clients, ClientsSettings, Lost, identity};
use evenkeel_balance::ask::Tried;
use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::eligibility::Bar;
use evenkeel_balance::hashing::mix;
use evenkeel_balance::health::CheckResult;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::settings::{
    ActiveSettings, AffinitySettings, OnAllDown, PolicyChoice, QueueSettings, ServiceSettings,
};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::stage::{Stage, id, plain};

const DRAINING: Duration = Duration::from_secs(60);

fn keeping() -> ServiceSettings {
    ServiceSettings {
        affinity: Some(AffinitySettings { draining: DRAINING }),
        ..plain()
    }
}

impl Stage {
    /// Who serves a client that is kept there, ten times the same.
    fn served(&mut self, kept: &str) -> Result<String, Refusal> {
        let of = |stage: &mut Self| {
            let ask = stage.ask().kept(identity(&id(kept)));
            let pick = stage.service.pick(&ask, stage.now)?;
            let name = pick.backend().id().to_string();
            stage.well(pick);
            Ok(name)
        };
        let first = of(self);
        if first.as_deref() == Ok(kept) {
            assert!((0..9).all(|_| of(self) == first), "{kept} is not kept");
        }
        first
    }

    fn lost(&mut self, kept: &str) -> Lost {
        let ask = self.ask();
        self.service.lost(identity(&id(kept)), &ask, self.now)
    }
}

/// After this, who is kept on `b` of three is served by `b`, or lost for this reason and served by another, by which it is kept then.
fn check(settings: ServiceSettings, act: impl Fn(&mut Stage), expect: Option<Lost>) {
    let mut stage = Stage::new(settings, &["a", "b", "c"]);
    act(&mut stage);
    let served = stage.served("b").unwrap();
    match expect {
        None => assert_eq!(served, "b"),
        Some(lost) => {
            assert_ne!(served, "b");
            assert_eq!(stage.lost("b"), lost);
            assert_eq!(stage.served(&served).as_ref(), Ok(&served));
        }
    }
    stage.service.laws().unwrap();
}

fn admin(admin: Admin) -> impl Fn(&mut Stage) {
    move |stage| {
        let now = stage.now;
        stage.service.set_admin(&id("b"), admin, now).unwrap();
    }
}

fn spec(change: impl Fn(BackendSpec) -> BackendSpec) -> impl Fn(&mut Stage) {
    move |stage| {
        let spec = change(BackendSpec::new("b"));
        stage.service.update(spec, stage.now).unwrap();
    }
}

fn mark(healthy: bool) -> impl Fn(&mut Stage) {
    move |stage| {
        let now = stage.now;
        stage
            .service
            .mark(&id("b"), Some(healthy), None, now)
            .unwrap();
    }
}

#[test]
fn clients_move_on_a_loss_and_at_no_other_time() {
    let barred = |bar| Some(Lost::Barred(bar));
    let standing = |standing| barred(Bar::Standing(standing));
    check(keeping(), |_| {}, None);
    check(
        keeping(),
        admin(Admin::Disabled),
        standing(Standing::Disabled),
    );
    check(keeping(), mark(false), standing(Standing::Down));
    check(
        keeping(),
        |stage| stage.service.remove(&id("b"), stage.now).unwrap(),
        Some(Lost::Gone),
    );
    let again = |stage: &mut Stage| {
        stage.service.remove(&id("b"), stage.now).unwrap();
        stage.service.add(BackendSpec::new("b"), stage.now).unwrap();
    };
    check(keeping(), again, None);
    // Others that come and go, and places that change, move nobody.
    let others = |stage: &mut Stage| {
        let names = ["x", "b", "a", "y", "z"].map(BackendSpec::new);
        stage.service.replace(names.into(), stage.now).unwrap();
    };
    check(keeping(), others, None);
    // Who gets no new clients keeps those that it has.
    check(keeping(), admin(Admin::Draining), None);
    check(
        keeping(),
        spec(|spec| spec.weight(Weight::new(0).unwrap())),
        None,
    );
    check(keeping(), spec(|spec| spec.tier(3)), None);
    let checked = ServiceSettings {
        health: Some(ActiveSettings::default()),
        ..keeping()
    };
    let proven = |stage: &mut Stage| {
        for name in ["a", "c"] {
            stage.check(name, CheckResult::Passed);
        }
    };
    check(checked.clone(), proven, None);
    // Nobody is healthy: all serve, this one too.
    let open = ServiceSettings {
        on_all_down: OnAllDown::FailOpen,
        ..keeping()
    };
    let all_down = |stage: &mut Stage| {
        for name in ["a", "b", "c"] {
            stage
                .service
                .mark(&id(name), Some(false), None, stage.now)
                .unwrap();
        }
    };
    check(open, all_down, None);
    // Until its drain is over, or not at all.
    let drained = |stage: &mut Stage| {
        admin(Admin::Draining)(stage);
        stage.pass(DRAINING.as_secs_f64());
    };
    check(keeping(), drained, standing(Standing::Draining));
    let just_so = |stage: &mut Stage| {
        admin(Admin::Draining)(stage);
        stage.pass(DRAINING.as_secs_f64() - 0.1);
    };
    check(keeping(), just_so, None);
    let at_once = ServiceSettings {
        affinity: Some(AffinitySettings {
            draining: Duration::ZERO,
        }),
        ..plain()
    };
    check(
        at_once,
        admin(Admin::Draining),
        standing(Standing::Draining),
    );
    // An open breaker, and a half-open one, whose trials kept clients make.
    let opened = |stage: &mut Stage| {
        for _ in 0..5 {
            let pick = stage.pick_of("b");
            stage.badly(pick);
        }
        stage.pass(0.1);
    };
    check(keeping(), opened, standing(Standing::Ejected));
}

#[test]
fn a_full_backend_loses_who_comes_then() {
    let mut stage = Stage::new(keeping(), &["a", "b"]);
    spec(|spec| spec.max_in_flight(1))(&mut stage);
    let ask = stage.ask().kept(identity(&id("b")));
    let held = stage.service.pick(&ask, stage.now).unwrap();
    assert_eq!(held.backend().id(), &id("b"));
    assert_eq!(stage.served("b").as_deref(), Ok("a"));
    assert_eq!(stage.lost("b"), Lost::Barred(Bar::Full));
    stage.well(held);
    assert_eq!(stage.served("b").as_deref(), Ok("b"));
}

#[test]
fn an_attempt_that_was_made_is_not_made_there_again() {
    let mut stage = Stage::new(keeping(), &["a", "b"]);
    let mut tried = Tried::default();
    let held = stage.pick_of("b");
    tried.insert(held.backend());
    let ask = stage.ask().kept(identity(&id("b"))).tried(&tried);
    let pick = stage.service.pick(&ask, stage.now).unwrap();
    assert_eq!(pick.backend().id(), &id("a"));
    let lost = stage.service.lost(identity(&id("b")), &ask, stage.now);
    assert_eq!(lost, Lost::Barred(Bar::Tried));
}

/// One that waits for a full service is kept where it was when it is called.
#[test]
fn who_waits_is_kept() {
    let settings = ServiceSettings {
        max_in_flight: NonZeroU32::new(1),
        queue: Some(QueueSettings::default()),
        ..keeping()
    };
    let mut stage = Stage::new(settings, &["a", "b", "c"]);
    for kept in ["c", "a", "b", "b", "c"] {
        let held = stage.pick().unwrap();
        let until = stage.now + Duration::from_secs(1);
        let ask = stage.ask().kept(identity(&id(kept)));
        let entry = stage.service.pick_or_wait(&ask, until, stage.now).unwrap();
        let evenkeel_balance::queue::Entry::Waiting(mut waiting) = entry else {
            unreachable!("it is full");
        };
        stage.well(held);
        let waker = std::task::Waker::noop();
        let std::task::Poll::Ready(Ok(pick)) = waiting.poll(waker, stage.now) else {
            unreachable!("there is room");
        };
        assert_eq!(pick.backend().id(), &id(kept));
        pick.finish(evenkeel_balance::verdict::Outcome::Completed, stage.now);
    }
}

/// What is explained is what is picked, and says why a client moves.
#[test]
fn it_is_explained() {
    for policy in PolicyChoice::BUILT_IN {
        let settings = ServiceSettings {
            policy,
            ..keeping()
        };
        let mut stage = Stage::new(settings, &["a", "b", "c"]);
        for (admin, kept) in [
            (Admin::Enabled, Ok(())),
            (Admin::Draining, Ok(())),
            (
                Admin::Disabled,
                Err(Lost::Barred(Bar::Standing(Standing::Disabled))),
            ),
        ] {
            stage.service.set_admin(&id("b"), admin, stage.now).unwrap();
            let ask = stage.ask().kept(identity(&id("b")));
            let explained = stage.service.explain(&ask, stage.now);
            assert_eq!(explained.kept, Some(kept));
            assert!(!explained.trial);
            assert_eq!(explained.result == Ok(id("b")), kept.is_ok());
        }
        let ask = stage.ask();
        assert_eq!(stage.service.explain(&ask, stage.now).kept, None);
    }
}

/// Without an affinity in the settings nobody is kept.
#[test]
fn it_is_asked_for() {
    let mut stage = Stage::new(plain(), &["a", "b", "c"]);
    let names: Vec<_> = (0..3).map(|_| stage.served("zzz").unwrap()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(stage.service.member(identity(&id("b"))), None);
    stage.service.set_settings(keeping(), stage.now);
    assert_eq!(stage.service.member(identity(&id("b"))), Some(id("b")));
    assert_eq!(stage.served("b").as_deref(), Ok("b"));
    stage.service.set_settings(plain(), stage.now);
    assert_eq!(stage.service.member(identity(&id("b"))), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

    /// Whatever happens to backends, a client moves when its backend is lost to it, once, and never else.
    #[test]
    fn one_move_on_a_loss(acts in prop::collection::vec((0..6_usize, 0..7_u8), 1..40), policy in 0..7_usize) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let settings = ServiceSettings {
            policy: PolicyChoice::BUILT_IN[policy].clone(),
            ..keeping()
        };
        let mut stage = Stage::new(settings, &names);
        let mut homes: BTreeMap<u64, String> = BTreeMap::new();
        for (which, act) in acts {
            let (backend, now) = (id(names[which]), stage.now);
            let service = &stage.service;
            // The first one stays whole, so that there is always one.
            let _ = match (which, act) {
                (0, _) | (_, 0) => service.set_admin(&backend, Admin::Enabled, now),
                (_, 1) => service.set_admin(&backend, Admin::Draining, now),
                (_, 2) => service.set_admin(&backend, Admin::Disabled, now),
                (_, 3) => service.mark(&backend, Some(false), None, now),
                (_, 4) => service.mark(&backend, Some(true), None, now),
                (_, 5) => service.remove(&backend, now),
                _ => service.add(BackendSpec::new(names[which]), now),
            };
            for client in 0..20 {
                let before = homes.get(&client).cloned();
                let ask = stage.ask();
                let ask = match &before {
                    Some(home) => ask.kept(identity(&id(home))),
                    None => ask,
                };
                let may = stage.service.explain(&ask, stage.now).kept;
                let pick = stage.service.pick(&ask, stage.now).unwrap();
                let at = pick.backend().id().to_string();
                stage.well(pick);
                if let Some(home) = before {
                    prop_assert_eq!(may == Some(Ok(())), home == at, "client {} of {} is at {}", client, home, at);
                }
                homes.insert(client, at.clone());
                // It stays there.
                prop_assert_eq!(stage.served(&at), Ok(at));
            }
            stage.pass(0.1);
        }
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn clients(most: usize, ttl: u64) -> Clients {
    let ttl = Duration::from_secs(ttl);
    Clients::new(ClientsSettings { most, ttl }, 7)
}

#[test]
fn a_client_is_known_until_it_was_not_seen_for_long() {
    let clients = clients(1000, 10);
    assert_eq!(clients.get(1, at(0)), None);
    clients.put(1, 11, at(0));
    clients.put(2, 12, at(5));
    assert_eq!(
        (clients.get(1, at(9)), clients.peek(2, at(14))),
        (Some(11), Some(12))
    );
    // Looking does not count as seeing.
    assert_eq!(
        (clients.get(2, at(15)), clients.get(1, at(15))),
        (None, Some(11))
    );
    clients.put(1, 13, at(16));
    assert_eq!(
        (clients.get(1, at(25)), clients.peek(1, at(35))),
        (Some(13), None)
    );
    clients.sweep(at(36));
    let counts = clients.counts();
    assert_eq!(
        (counts.clients, counts.came, counts.expired, counts.evicted),
        (0, 2, 2, 0)
    );
    // One, and all.
    for client in 0..100 {
        clients.put(client, 1, at(40));
    }
    assert!(clients.clear(7) && !clients.clear(7));
    assert_eq!(
        (clients.get(7, at(41)), clients.get(8, at(41))),
        (None, Some(1))
    );
    assert_eq!((clients.clear_all(), clients.clear_all()), (99, 0));
    assert_eq!(
        (clients.get(8, at(41)), clients.counts().clients),
        (None, 0)
    );
    clients.put(8, 2, at(42));
    assert_eq!(clients.get(8, at(43)), Some(2));
}

#[test]
fn a_table_is_bounded_and_the_oldest_goes() {
    let clients = clients(160, 1000);
    for client in 0..100_000 {
        clients.put(client, 1, at(1));
    }
    let counts = clients.counts();
    assert_eq!(counts.clients, 160);
    assert_eq!(counts.evicted, 100_000 - 160);
    // Those that came last are there, in each part.
    let known: Vec<_> = (0..100_000)
        .filter(|&one| clients.peek(one, at(2)).is_some())
        .collect();
    assert_eq!(known.len(), 160);
    assert!(known.iter().all(|&one| one > 99_000), "{known:?}");
    // A smaller one holds the newest of them.
    clients.set_settings(ClientsSettings {
        most: 16,
        ttl: Duration::from_secs(1000),
    });
    assert_eq!(clients.counts().clients, 16);
}

#[test]
fn clients_go_over_to_another_process() {
    let before = clients(1000, 100);
    for client in 0..50 {
        before.put(client, 7, at(u64::try_from(client).unwrap()));
    }
    let carried = before.carried(1000, at(60));
    assert_eq!(carried.len(), 50);
    let next = clients(1000, 100);
    next.put(3, 9, at(0));
    next.take_over(carried, at(10));
    // Who is known here already stays, the others have what they had left.
    assert_eq!(
        (
            next.get(3, at(11)),
            next.peek(4, at(53)),
            next.peek(4, at(54))
        ),
        (Some(9), Some(7), None)
    );
    assert_eq!(
        (next.peek(49, at(98)), next.peek(49, at(99))),
        (Some(7), None)
    );
    // A wrong word of another process makes no client stay for ever.
    let wrong = CarriedClient {
        client: 99,
        backend: 1,
        left: Duration::MAX,
    };
    next.take_over(vec![wrong], at(10));
    assert_eq!(
        (next.peek(99, at(109)), next.peek(99, at(110))),
        (Some(1), None)
    );
    // No more than asked for, of each part the newest.
    let some = before.carried(16, at(60));
    assert!(some.len() <= 16 && some.iter().any(|one| one.client == 49));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, rng_seed: RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

    /// Against a plain map: what the table knows is what the map has, unless there was no room.
    #[test]
    fn it_is_a_map_that_forgets(acts in prop::collection::vec((0..5_u8, 0..40_u64, 0..8_u64), 1..300)) {
        let clients = clients(16 * 60, 20);
        let mut model: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut now = 0;
        for (act, client, value) in acts {
            // As programs make them: any bits.
            let key = u128::from(mix(client, 1)) << 64 | u128::from(client);
            model.retain(|_, (_, until)| *until > now);
            match act {
                0 => {
                    clients.put(key, value, at(now));
                    model.insert(client, (value, now + 20));
                }
                1 => {
                    let known = model.get_mut(&client).map(|(backend, until)| { *until = now + 20; *backend });
                    prop_assert_eq!(clients.get(key, at(now)), known);
                }
                2 => prop_assert_eq!(clients.peek(key, at(now)), model.get(&client).map(|one| one.0)),
                3 => {
                    let there = model.remove(&client).is_some();
                    prop_assert!(clients.clear(key) || !there);
                }
                _ => now += value,
            }
        }
        clients.sweep(at(now));
        model.retain(|_, (_, until)| *until > now);
        prop_assert_eq!(clients.counts().clients, model.len() as u64);
    }
}
