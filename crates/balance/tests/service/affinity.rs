//! Who is kept where, and who moves: on a loss, once, to one place; at no other time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_balance::affinity::{CarriedClient, Clients, ClientsSettings, Lost, identity};
use evenkeel_balance::ask::Tried;
use evenkeel_balance::backend::{Admin, BackendSpec, Weight};
use evenkeel_balance::eligibility::Bar;
use evenkeel_balance::hashing::mix;
use evenkeel_balance::health::CheckResult;
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::settings::{
    ActiveSettings, AffinitySettings, HashMethod, OnAllDown, PolicyChoice, QueueSettings,
    ServiceSettings,
};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::stage::{Stage, id, plain};

const DRAINING: Duration = Duration::from_secs(60);

fn keeping() -> ServiceSettings {
    plain().affinity(AffinitySettings::default().draining(DRAINING))
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

/// Where a client of this number begins, that is kept nowhere yet.
fn begins(stage: &mut Stage, client: u64) -> String {
    let ask = stage.ask().client(mix(client, 7));
    let pick = stage.service.pick(&ask, stage.now).unwrap();
    let name = pick.backend().id().to_string();
    stage.well(pick);
    name
}

/// With every policy that has no key of its own; in the order of weights, and in no other.
#[test]
fn a_client_begins_at_one_place_in_every_process() {
    let specs = |names: &[&str]| -> Vec<BackendSpec> {
        let weight = |name: &str| Weight::new(if name == "c" { 2 } else { 1 }).unwrap();
        let spec = |name: &&str| BackendSpec::new(*name).weight(weight(name));
        names.iter().map(spec).collect()
    };
    for policy in PolicyChoice::BUILT_IN {
        if policy.is_keyed() {
            continue;
        }
        let settings = keeping().policy(policy.clone());
        let mut one = Stage::of(settings.clone(), specs(&["a", "b", "c"]));
        let mut other = Stage::of(settings, specs(&["c", "a", "b"]));
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for client in 0..4000 {
            let name = begins(&mut one, client);
            assert_eq!(
                begins(&mut other, 3999 - client),
                begins(&mut one, 3999 - client)
            );
            *counts.entry(name).or_default() += 1;
        }
        // Six standard deviations.
        assert!(counts["a"].abs_diff(1000) < 165, "{policy:?} {counts:?}");
        assert!(counts["b"].abs_diff(1000) < 165, "{policy:?} {counts:?}");
        // Who is out has none of them, and those of others begin where they would.
        let before: Vec<_> = (0..300).map(|client| begins(&mut one, client)).collect();
        one.mark("b", false);
        for (client, before) in (0..).zip(before) {
            let now = begins(&mut one, client);
            assert!(now == before || before == "b" && now != "b", "{policy:?}");
        }
        one.service.laws().unwrap();
    }
}

/// However few of however many: three of a thousand, before others that stand by.
#[test]
fn a_client_begins_at_one_place_among_few_of_many() {
    let specs = |from: usize| -> Vec<BackendSpec> {
        let spec = |at: usize| {
            let at = (at + from) % 1000;
            BackendSpec::new(format!("b-{at}")).tier(u16::from(at >= 3))
        };
        (0..1000).map(spec).collect()
    };
    let mut one = Stage::of(keeping(), specs(0));
    let mut other = Stage::of(keeping(), specs(500));
    // Chance stands elsewhere in the other process.
    for _ in 0..7 {
        other.ask();
    }
    for client in 0..200 {
        let name = begins(&mut one, client);
        assert_eq!(begins(&mut other, client), name);
        assert!(["b-0", "b-1", "b-2"].contains(&&*name), "{name}");
    }
}

/// A service that keeps nobody hears of no client, and where keys choose they do.
#[test]
fn who_begins_elsewhere() {
    let check = |settings: ServiceSettings| {
        let mut stage = Stage::new(settings, &["a", "b", "c"]);
        let all: BTreeSet<_> = (0..60).map(|_| begins(&mut stage, 1)).collect();
        assert_eq!(all.len(), 3);
    };
    check(plain());
    check(keeping().policy(PolicyChoice::Hash(HashMethod::Maglev)));
}

/// A half-open backend is tried by whoever comes for the first time: those who are kept elsewhere never would.
#[test]
fn who_is_new_makes_the_trial() {
    let mut stage = Stage::new(keeping(), &["a", "b", "c"]);
    while stage.standing("b") == Standing::Serving {
        let ask = stage.ask();
        let pick = stage.service.pick(&ask, stage.now).unwrap();
        match pick.backend().id().as_str() {
            "b" => stage.badly(pick),
            _ => stage.well(pick),
        }
        stage.pass(0.1);
    }
    let homeless = (0..)
        .find(|&client| begins(&mut stage, client) == "a")
        .unwrap();
    stage.pass(1.5);
    assert_eq!(stage.standing("b"), Standing::Probing);
    let ask = stage.ask().client(mix(homeless, 7));
    let trial = stage.service.pick(&ask, stage.now).unwrap();
    assert!(trial.is_trial());
    // There is one at a time: who comes next begins where it would.
    assert_eq!(begins(&mut stage, homeless), "a");
    stage.well(trial);
    stage.pass(0.2);
    assert_eq!(stage.standing("b"), Standing::Serving);
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
    let checked = keeping().health(ActiveSettings::default());
    let proven = |stage: &mut Stage| {
        for name in ["a", "c"] {
            stage.check(name, CheckResult::Passed);
        }
    };
    check(checked.clone(), proven, None);
    // Nobody is healthy: all serve, this one too.
    let open = keeping().on_all_down(OnAllDown::FailOpen);
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
    let at_once = plain().affinity(AffinitySettings::default().draining(Duration::ZERO));
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
    // It says so itself, though there is room by now.
    let spilled = stage.service.pick(&ask, stage.now).unwrap();
    assert!(spilled.is_spilled() && !held.is_spilled());
    let plain = stage.ask();
    assert!(!stage.service.pick(&plain, stage.now).unwrap().is_spilled());
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

/// Asks of one client that are made at once go to one next backend, the same in every process, each as often as its weight says.
#[test]
fn who_is_lost_moves_to_one_place() {
    let names = ["a", "b", "c", "d", "e"];
    let spec = |name: &str| {
        BackendSpec::new(name).weight(Weight::new(if name == "e" { 3 } else { 1 }).unwrap())
    };
    let settings = |policy| keeping().policy(policy);
    let mut one = Stage::of(settings(PolicyChoice::RoundRobin), names.map(spec).into());
    let mut turned = names;
    turned.reverse();
    let mut other = Stage::of(settings(PolicyChoice::Adaptive), turned.map(spec).into());
    for stage in [&mut one, &mut other] {
        admin(Admin::Disabled)(stage);
        // Whom the policies would not choose in turn.
        stage.serve(7, &[], &[]);
    }
    let mut counts = BTreeMap::<String, u32>::new();
    for client in 0..4_000 {
        let client = mix(client, 7);
        let mut seen = Vec::new();
        for stage in [&mut one, &mut other] {
            let ask = stage.ask().kept(identity(&id("b"))).client(client);
            let explained = stage.service.explain(&ask, stage.now).result.unwrap();
            // At once: none has ended when the next comes.
            let picks: Vec<_> = (0..3)
                .map(|_| stage.service.pick(&ask, stage.now).unwrap())
                .collect();
            for pick in picks {
                assert!(!pick.is_spilled());
                assert_eq!(pick.backend().id(), &explained);
                stage.well(pick);
            }
            seen.push(explained.to_string());
        }
        assert_eq!(seen[0], seen[1]);
        *counts.entry(seen.remove(0)).or_default() += 1;
    }
    // Six times the deviation of as many fair draws of a sixth: sqrt(4000 / 6 * 5 / 6) is 24; of a half it is 32.
    let near = |name: &str, expect: u32, away: u32| {
        let count = counts[name];
        assert!(count.abs_diff(expect) < away, "{name}: {counts:?}");
    };
    ["a", "c", "d"].iter().for_each(|name| near(name, 667, 142));
    near("e", 2_000, 190);
}

/// Of those that may be had: what was tried, is full, or out of a subset is passed over; and a retry moves as a first attempt does.
#[test]
fn who_moves_moves_where_it_may() {
    let mut stage = Stage::new(keeping(), &["a", "b", "c", "d"]);
    let subset = ["a", "b"].map(id);
    for client in 0..200 {
        let client = mix(client, 9);
        let mut tried = Tried::default();
        let held = stage.pick_of("b");
        tried.insert(held.backend());
        stage.well(held);
        let ask = stage.ask().kept(identity(&id("b"))).client(client);
        let pick = stage.service.pick(&ask.tried(&tried), stage.now).unwrap();
        let next = pick.backend().id().clone();
        assert_ne!(next, id("b"));
        tried.insert(pick.backend());
        stage.well(pick);
        let again = stage.service.explain(&ask.tried(&tried), stage.now);
        assert!(again.result.is_ok_and(|one| one != next && one != id("b")));
        let gone = stage.ask().kept(7).client(client);
        let within = stage.service.explain(&gone.subset(&subset), stage.now);
        assert!(within.result.is_ok_and(|one| subset.contains(&one)));
    }
    // With a limit of its own the one that would be next is full, and another is.
    let ask = stage.ask().kept(7).client(11);
    let next = stage.service.explain(&ask, stage.now).result.unwrap();
    let spec = BackendSpec::new(next.clone()).max_in_flight(1);
    stage.service.update(spec, stage.now).unwrap();
    let held = stage.service.pick(&ask, stage.now).unwrap();
    let other = stage.service.pick(&ask, stage.now).unwrap();
    assert!(held.backend().id() == &next && other.backend().id() != &next);
    drop((held, other));
}

/// One that waits for a full service is kept where it was when it is called.
#[test]
fn who_waits_is_kept() {
    let settings = keeping().max_in_flight(1).queue(QueueSettings::default());
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

/// A client that waits, and one that is held elsewhere: `front` waits first, of this class, kept there; then one that is kept on `a`.
/// After `waited` of ten seconds `a` has room. Says who is called, and where.
fn called(front: (u16, Option<&str>), waited: f64) -> [Option<String>; 2] {
    use evenkeel_balance::queue::{Entry, Waiting};
    let queue = QueueSettings::default().timeout(Duration::from_secs(10));
    let settings = keeping().queue(queue);
    let one = |name| BackendSpec::new(name).max_in_flight(1);
    let mut stage = Stage::of(settings, ["a", "b"].map(one).into());
    let held = ["a", "b"].map(|name| stage.pick_of(name));
    let wait = |stage: &mut Stage, class: u16, home: Option<&str>| -> Waiting {
        let ask = stage.ask().queue_class(class);
        let ask = home.map_or(ask, |home| ask.kept(identity(&id(home))));
        let until = stage.now + Duration::from_secs(100);
        match stage.service.pick_or_wait(&ask, until, stage.now).unwrap() {
            Entry::Waiting(waiting) => waiting,
            Entry::Picked(_) => unreachable!("it is full"),
        }
    };
    let mut waiting = [
        wait(&mut stage, front.0, front.1),
        wait(&mut stage, 100, Some("a")),
    ];
    stage.pass(waited);
    let [of_a, of_b] = held;
    stage.well(of_a);
    let waker = std::task::Waker::noop();
    // Held until all were asked: what one gives back may be the other's.
    let picks = waiting
        .each_mut()
        .map(|waiting| match waiting.poll(waker, stage.now) {
            std::task::Poll::Ready(pick) => Some(pick.unwrap()),
            std::task::Poll::Pending => None,
        });
    let name = |pick: &Option<_>| {
        let pick: &evenkeel_balance::pick::Pick<_> = pick.as_ref()?;
        Some(pick.backend().id().to_string())
    };
    let called = picks.each_ref().map(name);
    drop((picks, waiting));
    stage.well(of_b);
    stage.service.laws().unwrap();
    called
}

/// A place that becomes free is first of all for who waits for that one.
#[test]
fn who_waits_for_its_own_has_it_before_others() {
    let check = |front: (u16, Option<&str>), waited: f64, expect: [Option<&str>; 2]| {
        let called = called(front, waited);
        let called = called.each_ref().map(|name| name.as_deref());
        assert_eq!(called, expect, "{front:?} after {waited} s");
    };
    let (first, second) = ([Some("a"), None], [None, Some("a")]);
    check((100, Some("b")), 1.0, second);
    check((100, None), 1.0, second);
    check((100, Some("zzz")), 1.0, second);
    check((100, Some("a")), 1.0, first);
    // A better class is better.
    check((99, Some("b")), 1.0, first);
    check((99, None), 1.0, first);
    // Nobody is refused for it.
    check((100, Some("b")), 4.9, second);
    check((100, Some("b")), 5.0, first);
    check((100, None), 9.9, first);
}

/// What is explained is what is picked, and says why a client moves.
#[test]
fn it_is_explained() {
    for policy in PolicyChoice::BUILT_IN {
        let settings = keeping().policy(policy);
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
        let settings = keeping().policy(PolicyChoice::BUILT_IN[policy].clone());
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
    Clients::new(ClientsSettings::default().most(most).ttl(ttl), 7)
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
    assert!(clients.moves(1, 14, at(35)), "its time is over");
    assert_eq!(clients.peek(1, at(35)), None);
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
    clients.set_settings(
        ClientsSettings::default()
            .most(16)
            .ttl(Duration::from_secs(1000)),
    );
    assert_eq!(clients.counts().clients, 16);
}

/// Strangers are learnt while there is room, and push nobody out.
#[test]
fn strangers_are_learnt_while_there_is_room() {
    let clients = clients(160, 100);
    // Few enough that each part has room for its own.
    for client in 0..40 {
        clients.put(client, 1, at(1));
    }
    assert_eq!(clients.counts().evicted, 0);
    let learnt = (40..100_000).filter(|&client| clients.learn(client, 2, at(2)));
    assert_eq!(learnt.count(), 120);
    let counts = clients.counts();
    assert_eq!((counts.clients, counts.evicted), (160, 0));
    assert_eq!(counts.unlearned, 100_000 - 160);
    assert!((0..40).all(|client| clients.peek(client, at(3)) == Some(1)));
    // Who is known is seen, and goes where it is said.
    assert!(clients.learn(5, 3, at(50)));
    assert_eq!(
        (clients.peek(5, at(149)), clients.peek(6, at(101))),
        (Some(3), None)
    );
    // Who was set comes in all the same.
    clients.put(100_001, 4, at(60));
    assert_eq!(clients.peek(100_001, at(61)), Some(4));
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
    fn it_is_a_map_that_forgets(acts in prop::collection::vec((0..6_u8, 0..40_u64, 0..8_u64), 1..300)) {
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
                4 => {
                    let known = model.get_mut(&client).map(|one| std::mem::replace(one, (value, now + 20)).0);
                    prop_assert_eq!(clients.moves(key, value, at(now)), known != Some(value));
                }
                _ => now += value,
            }
        }
        clients.sweep(at(now));
        model.retain(|_, (_, until)| *until > now);
        prop_assert_eq!(clients.counts().clients, model.len() as u64);
    }
}
