use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::ask::Ask;
use crate::backend::{Admin, BackendId, BackendSpec, Weight};
use crate::hashing;
use crate::health::{CheckFault, CheckReport, CheckResult};
use crate::pick::Pick;
use crate::service::{Service, TICK};
use crate::settings::{ActiveSettings, PolicyChoice, ServiceSettings};
use crate::time::Instant;
use crate::verdict::{Fault, Outcome, Verdict};

/// A service with its time.
struct World {
    service: Service,
    now: Instant,
    /// What is under way.
    held: Vec<Pick>,
}

fn specs(count: usize) -> Vec<BackendSpec> {
    let name = |at| BackendSpec::new(format!("b{at}"));
    (0..count).map(name).collect()
}

impl World {
    fn new(settings: ServiceSettings) -> Self {
        let now = Instant::ZERO + Duration::from_secs(1);
        let service = Service::new("world", settings, specs(3), Arc::new(()), now);
        Self {
            service: service.expect("three members are few"),
            now,
            held: Vec::new(),
        }
    }

    fn ticks(&mut self, count: u32) {
        for _ in 0..count {
            self.now = self.now + TICK;
            self.service.tick(self.now);
        }
    }

    fn rests(&self) -> bool {
        self.service.locked(|ledger| ledger.rests())
    }

    fn pick(&self) -> Pick {
        let picked = self.service.pick(&Ask::new(7), self.now);
        picked.expect("somebody may be picked")
    }

    fn exchange(&mut self, verdict: Verdict, latency: Duration) {
        let mut pick = self.pick();
        self.now = self.now + latency;
        pick.answered(verdict, self.now);
        pick.finish(Outcome::Completed, self.now);
    }

    fn check(&self, backend: &str, result: CheckResult) {
        let report = CheckReport::new(result, self.now);
        let taken = self
            .service
            .check(&BackendId::from(backend), report, self.now);
        taken.expect("it is a member");
    }
}

fn checked() -> ServiceSettings {
    ServiceSettings::default().health(ActiveSettings::default())
}

#[test]
fn comes_to_rest_once_nothing_is_left_of_its_traffic() {
    let mut world = World::new(ServiceSettings::default());
    for _ in 0..40 {
        world.exchange(Verdict::Success, Duration::from_millis(5));
        world.ticks(1);
    }
    world.ticks(50);
    assert!(!world.rests(), "its window holds what happened");
    world.ticks(3_000);
    assert!(world.rests());
    world.ticks(3_000);
    assert!(world.rests(), "and stays");
    let left = world.service.snapshot(world.now);
    assert_eq!(
        (left.retry_budget, left.backends[0].window.total()),
        (30, 0)
    );
}

/// Brings it to rest, and does this.
fn check_wakes(what: &str, settings: ServiceSettings, act: impl FnOnce(&mut World), wakes: bool) {
    let mut world = World::new(settings);
    for at in 0..3 {
        world.check(&format!("b{at}"), CheckResult::Passed);
    }
    let held = world.pick();
    world.held.push(held);
    world.ticks(300);
    assert!(world.rests(), "before: {what}");
    act(&mut world);
    assert_eq!(!world.rests(), wakes, "{what}");
    if !wakes {
        world.ticks(2);
        assert!(world.rests(), "two ticks after: {what}");
    }
}

#[test]
fn what_wakes_it() {
    let id = BackendId::from("b1");
    let half = Weight::new(500).expect("a weight");
    type Act<'a> = Box<dyn FnOnce(&mut World) + 'a>;
    let rows: Vec<(&str, Act<'_>)> = vec![
        (
            "an exchange",
            Box::new(|world| world.exchange(Verdict::Success, TICK)),
        ),
        (
            "an attempt under way ends",
            Box::new(|world| {
                let held = world.held.pop().expect("one is under way");
                held.finish(Outcome::Completed, world.now);
            }),
        ),
        (
            "an attempt under way is answered",
            Box::new(|world| {
                let now = world.now;
                world.held[0].answered(Verdict::Success, now);
            }),
        ),
        (
            "an attempt under way fails",
            Box::new(|world| {
                let now = world.now;
                world.held[0].answered(Verdict::Failure(Fault::Reset), now);
            }),
        ),
        (
            "an attempt under way is dropped",
            Box::new(|world| world.held.clear()),
        ),
        (
            "a verdict by hand that ends",
            Box::new(|world| {
                let until = Some(world.now + Duration::from_secs(60));
                let marked = world.service.mark(&id, Some(false), until, world.now);
                marked.expect("it is a member");
            }),
        ),
        (
            "a check fails",
            Box::new(|world| {
                world.check("b1", CheckResult::Failed(CheckFault::Refused));
                world.check("b1", CheckResult::Failed(CheckFault::Refused));
                world.check("b1", CheckResult::Failed(CheckFault::Refused));
                world.check("b1", CheckResult::Passed);
                world.check("b1", CheckResult::Passed);
                world.check("b1", CheckResult::Passed);
            }),
        ),
    ];
    for (what, act) in rows {
        check_wakes(what, checked(), act, true);
    }
    let passes = |world: &mut World| world.check("b1", CheckResult::Passed);
    check_wakes("a check passes", checked(), passes, false);
    // These are followed at once, and leave nothing that a later tick would find.
    for (what, act) in [
        (
            "a weight",
            Box::new(|world: &mut World| {
                let set = world
                    .service
                    .set_weight(&BackendId::from("b1"), half, world.now);
                set.expect("it is a member");
            }) as Act<'_>,
        ),
        (
            "settings",
            Box::new(|world: &mut World| {
                world.service.set_settings(checked(), world.now);
            }),
        ),
    ] {
        let mut world = World::new(checked());
        world.ticks(300);
        assert!(world.rests(), "before: {what}");
        act(&mut world);
        assert!(!world.rests(), "{what}");
        world.ticks(2);
        assert!(world.rests(), "again after: {what}");
    }
}

/// A worker that nobody asks holds the table of before, and with it who left.
#[test]
fn who_left_and_is_still_held_keeps_nobody_awake() {
    let mut world = World::new(checked());
    let handle = world.service.handle(1);
    let removed = world.service.remove(&BackendId::from("b1"), world.now);
    removed.expect("it is a member");
    world.ticks(300);
    assert!(world.rests());
    assert_eq!(world.service.snapshot(world.now).departed, 1);
    drop(handle);
    world.ticks(2);
    assert!(world.rests());
    assert_eq!(world.service.snapshot(world.now).departed, 0);
}

#[test]
fn what_keeps_it_awake() {
    let check = |what: &str, settings: ServiceSettings, act: &dyn Fn(&mut World)| {
        let mut world = World::new(settings);
        act(&mut world);
        world.ticks(400);
        assert!(!world.rests(), "{what}");
    };
    for policy in [
        PolicyChoice::PeakEwma,
        PolicyChoice::HealthBased,
        PolicyChoice::WeightedByLoad,
    ] {
        let name = policy.name().to_owned();
        check(&name, ServiceSettings::with_policy(policy), &|_| ());
    }
    check("an open breaker", ServiceSettings::default(), &|world| {
        for _ in 0..60 {
            world.exchange(Verdict::Failure(Fault::Reset), Duration::from_millis(1));
            world.exchange(Verdict::Success, Duration::from_millis(1));
        }
        let one = BackendId::from("b0");
        let mut held: Vec<Pick> = (0..40).map(|_| world.pick()).collect();
        for pick in held.drain(..) {
            let bad = *pick.backend().id() == one;
            let fault = Verdict::Failure(Fault::Reset);
            let verdict = if bad { fault } else { Verdict::Success };
            let mut pick = pick;
            pick.answered(verdict, world.now);
            pick.finish(Outcome::Completed, world.now);
        }
        world.ticks(1);
    });
    check(
        "a member that drains",
        ServiceSettings::default(),
        &|world| {
            let held = world.pick();
            let id = held.backend().id().clone();
            world.held.push(held);
            let set = world.service.set_admin(&id, Admin::Draining, world.now);
            set.expect("it is a member");
        },
    );
}

/// Of two services that hear the same, one is kept awake: nobody can tell them apart.
#[test]
fn nobody_sees_that_it_rested() {
    for seed in [1_u64, 20_261_122, 0xfeed] {
        let settings = || {
            let limited = NonZeroU32::new(1_000);
            ServiceSettings {
                max_in_flight: limited,
                ..checked()
            }
        };
        let mut worlds = [World::new(settings()), World::new(settings())];
        let mut rested = 0;
        for step in 0..60_u64 {
            let chance = hashing::mix(seed, step);
            let (kind, idle) = (chance % 6, 1 + (chance >> 8) % 2_500);
            let latency = Duration::from_millis(1 + (chance >> 32) % 40);
            for world in &mut worlds {
                match kind {
                    0 => world.exchange(Verdict::Success, latency),
                    1 => world.exchange(Verdict::Failure(Fault::Reset), latency),
                    2 => {
                        let held = world.pick();
                        world.held.push(held);
                    }
                    3 => world.held.clear(),
                    4 => world.check("b2", CheckResult::Failed(CheckFault::Timeout)),
                    _ => (0..3).for_each(|at| world.check(&format!("b{at}"), CheckResult::Passed)),
                }
            }
            for _ in 0..idle {
                let [sleeps, awake] = &mut worlds;
                sleeps.ticks(1);
                awake.service.locked(|ledger| ledger.wake());
                awake.ticks(1);
                rested += u32::from(sleeps.rests());
            }
            let [one, other] = worlds.each_ref().map(|world| {
                let mut seen = world.service.snapshot(world.now);
                // How much of ten seconds without anything is known of moves within a bucket.
                seen.backends
                    .iter_mut()
                    .for_each(|one| one.window_length = Duration::ZERO);
                format!("{seen:?}")
            });
            assert_eq!(one, other, "seed {seed}, step {step}, after {kind}");
        }
        assert!(rested > 1_000, "seed {seed}: it rested for {rested} ticks");
    }
}
