//! Random operations against a plain model, and many threads against the laws.
#![cfg(not(shuttle))]
#![expect(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel_balance::ask::{Ask, Tried};
use evenkeel_balance::backend::{Admin, BackendId, BackendSpec, Weight};
use evenkeel_balance::eligibility::Rung;
use evenkeel_balance::hashing::mix;
use evenkeel_balance::health::{CheckFault, CheckReport, CheckResult};
use evenkeel_balance::pick::{Pick, Refusal};
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{
    ActiveSettings, MinHealthy, OnAllDown, PolicyChoice, ServiceSettings, ZoneSettings,
};
use evenkeel_balance::snapshot::{BackendSnapshot, ServiceSnapshot};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_balance::zone::Zone;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

#[derive(Clone, Debug)]
enum Operation {
    Pick {
        subset: Option<Vec<u8>>,
        tried: usize,
    },
    Answer {
        which: usize,
        success: bool,
    },
    Finish {
        which: usize,
        broken: bool,
    },
    Drop {
        which: usize,
    },
    Pass {
        millis: u64,
    },
    Add {
        name: u8,
        weight: u32,
        limit: u32,
    },
    Remove {
        name: u8,
    },
    Replace {
        names: Vec<u8>,
    },
    Weigh {
        name: u8,
        weight: u32,
    },
    Govern {
        name: u8,
        admin: Admin,
    },
    Mark {
        name: u8,
        healthy: Option<bool>,
    },
    Check {
        name: u8,
        result: CheckResult,
    },
    Policy {
        which: usize,
        fail_open: bool,
        checks: bool,
        zoned: bool,
    },
}

fn name() -> impl Strategy<Value = u8> {
    0_u8..8
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::{
        Add, Answer, Check, Drop, Finish, Govern, Mark, Pass, Pick, Policy, Remove, Replace, Weigh,
    };
    let admin = prop_oneof![3 => Just(Admin::Enabled), 1 => Just(Admin::Draining), 1 => Just(Admin::Disabled)];
    let result = prop_oneof![
        3 => Just(CheckResult::Passed),
        1 => Just(CheckResult::Failed(CheckFault::Timeout)),
        1 => Just(CheckResult::Failed(CheckFault::Refused)),
    ];
    let subset =
        prop_oneof![4 => Just(None), 1 => prop::collection::vec(name(), 0..4).prop_map(Some)];
    prop_oneof![
        12 => (subset, 0_usize..3).prop_map(|(subset, tried)| Pick { subset, tried }),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(which, success)| Answer { which, success }),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(which, broken)| Finish { which, broken }),
        2 => any::<usize>().prop_map(|which| Drop { which }),
        4 => (0_u64..4000).prop_map(|millis| Pass { millis }),
        2 => (name(), 0_u32..4, 0_u32..4).prop_map(|(name, weight, limit)| Add { name, weight, limit }),
        1 => name().prop_map(|name| Remove { name }),
        1 => prop::collection::vec(name(), 0..8).prop_map(|names| Replace { names }),
        1 => (name(), 0_u32..4).prop_map(|(name, weight)| Weigh { name, weight }),
        1 => (name(), admin).prop_map(|(name, admin)| Govern { name, admin }),
        1 => (name(), any::<Option<bool>>()).prop_map(|(name, healthy)| Mark { name, healthy }),
        3 => (name(), result).prop_map(|(name, result)| Check { name, result }),
        1 => (0..PolicyChoice::BUILT_IN.len(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(which, fail_open, checks, zoned)| Policy { which, fail_open, checks, zoned }),
    ]
}

fn id(name: u8) -> BackendId {
    format!("backend-{name}").into()
}

/// Of those that join; the first ones are all of tier 0.
fn tier(name: u8) -> u16 {
    (u16::from(name) % 4).saturating_sub(1)
}

/// Two zones, and those that have none.
fn zone(name: u8) -> Option<Zone> {
    [None, Some("east"), Some("west")][usize::from(name) % 3].map(Zone::from)
}

fn spec(name: u8) -> BackendSpec {
    let spec = BackendSpec::new(id(name)).tier(tier(name));
    match zone(name) {
        Some(zone) => spec.zone(zone),
        None => spec,
    }
}

fn settings(which: usize, fail_open: bool, checks: bool, zoned: bool) -> ServiceSettings {
    let zones = ZoneSettings::default().local(Zone::from("east"));
    ServiceSettings::default()
        .zones(zoned.then(|| zones.min_backends(2)))
        .min_healthy(match which % 3 {
            0 => MinHealthy::default(),
            1 => MinHealthy::default().count(3),
            _ => MinHealthy::default().share(0.6),
        })
        .policy(PolicyChoice::BUILT_IN[which].clone())
        .on_all_down(if fail_open {
            OnAllDown::FailOpen
        } else {
            OnAllDown::FailClosed
        })
        .health(checks.then(ActiveSettings::default))
}

/// The service and, beside it, what anybody could keep with a pencil.
struct Model {
    service: Service,
    now: Instant,
    chance: u64,
    picks: Vec<Pick>,
    answered: Vec<bool>,
    in_flight: BTreeMap<BackendId, u32>,
}

impl Model {
    fn new() -> Self {
        let backends = (0..3).map(|name| BackendSpec::new(id(name))).collect();
        let now = Instant::from_nanos(1_000_000_000);
        let service = Service::new(
            "model",
            ServiceSettings::default(),
            backends,
            Arc::new(()),
            now,
        )
        .unwrap();
        Self {
            service,
            now,
            chance: 1,
            picks: Vec::new(),
            answered: Vec::new(),
            in_flight: BTreeMap::new(),
        }
    }

    fn snapshot(&self) -> ServiceSnapshot {
        self.service.snapshot(self.now)
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Pick { subset, tried } => self.pick(subset, tried),
            Operation::Answer { which, success } => self.answer(which, success),
            Operation::Finish { which, broken } => self.finish(which, broken),
            Operation::Drop { which } => {
                if let Some(pick) = self.take(which) {
                    drop(pick);
                }
            }
            Operation::Pass { millis } => {
                for _ in 0..=millis / 100 {
                    self.tick();
                }
            }
            Operation::Add {
                name,
                weight,
                limit,
            } => {
                let spec = spec(name)
                    .weight(Weight::new(weight).unwrap())
                    .max_in_flight(limit);
                let known = self.snapshot().backend(id(name).as_str()).is_some();
                assert_eq!(self.service.add(spec, self.now).is_err(), known);
            }
            Operation::Remove { name } => {
                let known = self.snapshot().backend(id(name).as_str()).is_some();
                assert_eq!(self.service.remove(&id(name), self.now).is_ok(), known);
            }
            Operation::Replace { names } => self.replace(&names),
            Operation::Weigh { name, weight } => {
                let _ = self
                    .service
                    .set_weight(&id(name), Weight::new(weight).unwrap(), self.now);
            }
            Operation::Govern { name, admin } => {
                let _ = self.service.set_admin(&id(name), admin, self.now);
            }
            Operation::Mark { name, healthy } => {
                let _ = self.service.mark(&id(name), healthy, None, self.now);
            }
            Operation::Check { name, result } => {
                let report = CheckReport::new(result, self.now);
                let _ = self.service.check(&id(name), report, self.now);
            }
            Operation::Policy {
                which,
                fail_open,
                checks,
                zoned,
            } => {
                self.service
                    .set_settings(settings(which, fail_open, checks, zoned), self.now);
            }
        }
    }

    /// A tick may eject, but never past the cap: half of the enabled are out, or one of two.
    fn tick(&mut self) {
        let count = |model: &Self| {
            let snapshot = model.snapshot();
            let enabled = snapshot
                .backends
                .iter()
                .filter(|backend| backend.spec.admin == Admin::Enabled);
            let enabled: Vec<_> = enabled.map(|backend| backend.standing).collect();
            let out = enabled
                .iter()
                .filter(|standing| **standing < Standing::Unproven)
                .count();
            let ejected = enabled
                .iter()
                .filter(|standing| **standing == Standing::Ejected)
                .count();
            let cap = if enabled.len() < 2 {
                0
            } else {
                (enabled.len() / 2).max(1)
            };
            (ejected, out, cap)
        };
        let (before, _, _) = count(self);
        let probing = self
            .snapshot()
            .backends
            .iter()
            .filter(|backend| backend.standing == Standing::Probing)
            .count();
        self.now = self.now + Duration::from_millis(100);
        self.service.tick(self.now);
        let (ejected, out, cap) = count(self);
        // A failed trial re-opens what was out already.
        assert!(
            ejected <= before + probing || out <= cap,
            "{out} out, {cap} may be"
        );
    }

    fn replace(&mut self, names: &[u8]) {
        let specs: Vec<_> = names.iter().map(|&name| spec(name)).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        let before: Vec<_> = self
            .snapshot()
            .backends
            .into_iter()
            .map(|backend| backend.id)
            .collect();
        let result = self.service.replace(specs, self.now);
        let after: Vec<_> = self
            .snapshot()
            .backends
            .into_iter()
            .map(|backend| backend.id)
            .collect();
        if distinct.len() == names.len() {
            assert_eq!(
                after,
                names.iter().map(|&name| id(name)).collect::<Vec<_>>()
            );
        } else {
            assert!(result.is_err());
            assert_eq!(after, before, "nothing changes on error");
        }
    }

    /// Who may be picked, by the plain reading of the snapshot; and who might, but for this ask.
    fn eligible(
        &self,
        subset: Option<&[BackendId]>,
        tried: &Tried,
    ) -> (usize, Vec<BackendId>, Vec<BackendId>) {
        let snapshot = self.snapshot();
        let asked = |id: &BackendId| subset.is_none_or(|subset| subset.contains(id));
        let members = snapshot
            .backends
            .iter()
            .filter(|backend| asked(&backend.id))
            .count();
        let admitted = |backend: &&BackendSnapshot| {
            let standing = match backend.standing {
                Standing::Probing => true,
                Standing::Serving => snapshot.rung != Rung::AllDown,
                Standing::Unproven => {
                    snapshot.rung >= Rung::Unproven && snapshot.rung != Rung::AllDown
                }
                Standing::Down | Standing::Ejected => snapshot.rung == Rung::FailOpen,
                Standing::Draining | Standing::Disabled => false,
            };
            // Who stands by is come to where nobody else can be had, but for trials.
            let waits = snapshot
                .last_tier
                .is_some_and(|last| backend.spec.tier > last);
            let waits = waits && backend.standing == Standing::Probing;
            standing && !waits && backend.spec.weight != Weight::ZERO && asked(&backend.id)
        };
        let full = |backend: &&BackendSnapshot| {
            backend
                .spec
                .max_in_flight
                .is_some_and(|limit| backend.counts.in_flight >= limit.get())
        };
        let was_tried = |id: &BackendId| {
            self.picks
                .iter()
                .any(|pick| pick.backend().id() == id && tried.contains(pick.backend()))
        };
        let all: Vec<_> = snapshot.backends.iter().filter(admitted).collect();
        let may = all
            .iter()
            .filter(|backend| !full(backend) && !was_tried(&backend.id))
            .map(|backend| backend.id.clone())
            .collect();
        (
            members,
            all.iter().map(|backend| backend.id.clone()).collect(),
            may,
        )
    }

    fn pick(&mut self, subset: Option<Vec<u8>>, tries: usize) {
        self.chance = mix(self.chance, 5);
        let subset: Option<Vec<BackendId>> =
            subset.map(|names| names.into_iter().map(id).collect());
        let mut tried = Tried::default();
        self.picks
            .iter()
            .rev()
            .take(tries)
            .for_each(|pick| tried.insert(pick.backend()));
        let (members, admitted, may) = self.eligible(subset.as_deref(), &tried);
        let mut ask = Ask::new(self.chance).key(self.chance).tried(&tried);
        ask.zone = zone(u8::try_from(self.chance % 3).unwrap()).map(|zone| zone.id());
        if let Some(subset) = &subset {
            ask = ask.subset(subset);
        }
        match self.service.pick(&ask, self.now) {
            Ok(pick) => {
                let chosen = pick.backend().id().clone();
                assert!(
                    may.contains(&chosen),
                    "{chosen} may not be picked; {may:?} may"
                );
                *self.in_flight.entry(chosen).or_default() += 1;
                self.picks.push(pick);
                self.answered.push(false);
            }
            Err(Refusal::NoBackends) => assert_eq!(members, 0),
            Err(Refusal::Declined) => unreachable!("the policy is not the program's own"),
            Err(Refusal::QueueFull | Refusal::QueueTimeout) => unreachable!("nobody waits"),
            Err(Refusal::AllDown) => {
                let probing = |id: &BackendId| {
                    self.snapshot().backend(id.as_str()).unwrap().standing == Standing::Probing
                };
                assert!(
                    members > 0 && admitted.iter().all(probing),
                    "{admitted:?} could be picked"
                );
            }
            Err(Refusal::AllFull | Refusal::AllTried) => {
                let serving: Vec<_> = may
                    .iter()
                    .filter(|id| {
                        self.snapshot().backend(id.as_str()).unwrap().standing != Standing::Probing
                    })
                    .collect();
                assert!(
                    !admitted.is_empty() && serving.is_empty(),
                    "{serving:?} may be picked"
                );
            }
        }
    }

    fn take(&mut self, which: usize) -> Option<Pick> {
        if self.picks.is_empty() {
            return None;
        }
        let which = which % self.picks.len();
        self.answered.remove(which);
        let pick = self.picks.remove(which);
        *self.in_flight.get_mut(pick.backend().id()).unwrap() -= 1;
        Some(pick)
    }

    fn answer(&mut self, which: usize, success: bool) {
        if let Some(which) = which.checked_rem(self.picks.len()) {
            let verdict = if success {
                Verdict::Success
            } else {
                Verdict::Failure(Fault::Reset)
            };
            self.picks[which].answered(verdict, self.now);
            self.answered[which] = true;
        }
    }

    fn finish(&mut self, which: usize, broken: bool) {
        let outcome = if broken {
            Outcome::Broken(Fault::Reset)
        } else {
            Outcome::Completed
        };
        if let Some(pick) = self.take(which) {
            pick.finish(outcome, self.now);
        }
    }

    /// What must hold after every step.
    fn holds(&self) {
        self.service.laws().unwrap();
        let snapshot = self.snapshot();
        for backend in &snapshot.backends {
            let kept = self.in_flight.get(&backend.id).copied().unwrap_or(0);
            assert_eq!(
                backend.counts.in_flight, kept,
                "in flight on {}",
                backend.id
            );
        }
        let wanted: f64 = snapshot
            .backends
            .iter()
            .map(|backend| backend.share_wanted)
            .sum();
        assert!(
            wanted.abs() < 1e-9 || (wanted - 1.0).abs() < 1e-9,
            "shares sum to {wanted}"
        );
        self.tiers_hold(&snapshot);
    }

    /// The first tier with anybody healthy has a share, none has one that has nobody, and all are 1 together.
    fn tiers_hold(&self, snapshot: &ServiceSnapshot) {
        let least = match snapshot.rung {
            Rung::Proven => Standing::Serving,
            Rung::Unproven => Standing::Unproven,
            Rung::FailOpen | Rung::AllDown => return,
        };
        let healthy = |tier: u16| {
            let of_tier = |one: &&BackendSnapshot| one.spec.tier == tier;
            let all = snapshot.backends.iter().filter(of_tier);
            let weighed = all.filter(|one| one.spec.weight != Weight::ZERO);
            weighed.filter(|one| one.standing == least).count()
        };
        assert!(snapshot.tier.is_some_and(|tier| healthy(tier) > 0));
        assert!(snapshot.last_tier >= snapshot.tier);
        let explained = self.service.explain(&Ask::new(self.chance), self.now);
        let sum: f64 = explained.tiers.iter().map(|(_, share)| share).sum();
        let parted = !explained.tiers.is_empty();
        assert!(!parted || (sum - 1.0).abs() < 1e-9, "{:?}", explained.tiers);
        for (tier, share) in explained.tiers {
            assert!(healthy(tier) > 0, "tier {tier} has nobody");
            let serves = Some(tier) >= snapshot.tier && Some(tier) <= snapshot.last_tier;
            assert!(serves || share <= 0.0, "tier {tier} stands by");
            assert!(Some(tier) != snapshot.tier || share > 0.0, "nobody starves");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, rng_seed: RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

    #[test]
    fn the_core_agrees_with_a_pencil(operations in prop::collection::vec(operation(), 1..200)) {
        let mut model = Model::new();
        for operation in operations {
            model.apply(operation);
            model.holds();
        }
        model.picks.clear();
        model.in_flight.clear();
        model.holds();
    }
}

/// Threads pick, finish, drop and panic while another changes the membership; at the end every charge is back.
#[test]
fn threads_lose_no_charge_and_pass_no_limit() {
    threads_lose_nothing(|name| BackendSpec::new(id(name)).max_in_flight(3), false);
}

/// The same while tiers and zones come and go.
#[test]
fn threads_lose_no_charge_between_tiers_and_zones() {
    threads_lose_nothing(|name| spec(name).max_in_flight(3), true);
}

fn threads_lose_nothing(spec: impl Fn(u8) -> BackendSpec + Sync, zoned: bool) {
    let now = Instant::from_nanos(1_000_000_000);
    let service = Service::new(
        "threads",
        settings(0, true, false, zoned),
        (0..4).map(&spec).collect(),
        Arc::new(()),
        now,
    )
    .unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let work = |thread: u64| {
            let service = &service;
            scope.spawn(move || {
                let handle = service.handle(thread);
                for round in 0..20_000 {
                    let ask = Ask::new(mix(thread, round)).key(round);
                    let Ok(pick) = service.pick(&ask, now) else {
                        continue;
                    };
                    assert!(pick.backend().in_flight() <= 3, "past the limit");
                    match round % 4 {
                        0 => drop(pick),
                        1 => pick.finish(Outcome::Broken(Fault::Connect), now),
                        2 => {
                            let held = std::panic::AssertUnwindSafe(pick);
                            let thrown = std::panic::catch_unwind(move || {
                                let _held = held;
                                std::panic::resume_unwind(Box::new("on purpose"));
                            });
                            assert!(thrown.is_err());
                        }
                        _ => {
                            let other = handle.pick(&ask, now);
                            pick.finish(Outcome::Completed, now);
                            drop(other);
                        }
                    }
                }
            })
        };
        let workers: Vec<_> = (1..=3).map(work).collect();
        let writer = scope.spawn(|| {
            let mut round = 0_u8;
            while !over.load(Ordering::Relaxed) {
                round = round.wrapping_add(1);
                let gone = round % 4;
                service.remove(&id(gone), now).unwrap();
                service.tick(now + Duration::from_millis(u64::from(round)));
                service.add(spec(gone), now).unwrap();
            }
        });
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    service.laws().unwrap();
    for backend in service.snapshot(now).backends {
        assert_eq!(backend.counts.in_flight, 0, "{}", backend.id);
    }
}
