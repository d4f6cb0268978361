use super::*;
use crate::latencies::nanos;

/// A backend of a small world: how slow it is beside 20 ms, how far its latency follows its load, how much of it fails.
#[derive(Clone, Copy, Debug)]
struct Backend {
    slow: f64,
    queues: f64,
    fails: f64,
}

const FINE: Backend = Backend {
    slow: 1.0,
    queues: 0.0,
    fails: 0.001,
};
const QUEUE: Backend = Backend {
    queues: 1.0,
    ..FINE
};

/// Backends that share 2000 requests an interval by weight, as round robin has it; a latency is drawn for each.
struct World {
    controller: Controller,
    settings: ControllerSettings,
    chance: fastrand::Rng,
    requests: f64,
}

impl World {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self {
            controller: Controller::default(),
            settings: ControllerSettings::default(),
            chance: fastrand::Rng::with_seed(seed),
            requests: 2000.0,
        }
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.chance.f64()).sum::<f64>() - 6.0
    }

    fn step(&mut self, backends: &[Backend]) -> Report {
        let ids: Vec<String> = (0..backends.len()).map(|at| format!("b{at}")).collect();
        let factors: Vec<f64> = ids.iter().map(|id| self.controller.factor(id)).collect();
        let total: f64 = factors.iter().sum();
        let mut all = Vec::new();
        for (backend, factor) in backends.iter().zip(&factors) {
            let share = factor / total * crate::number::length(backends.len());
            let seconds = 0.02 * backend.slow * share.powf(backend.queues);
            let requests = crate::number::whole(self.requests * factor / total);
            let (mut latencies, mut errors) = (Latencies::default(), 0);
            for _ in 0..requests {
                if self.chance.f64() < backend.fails {
                    errors += 1;
                } else {
                    latencies.add(nanos(seconds * (0.5 * self.normal()).exp()), 1);
                }
            }
            all.push((requests, errors, latencies));
        }
        let seen: Vec<Seen<'_>> = ids
            .iter()
            .zip(&all)
            .map(|(id, (requests, errors, latencies))| Seen {
                id,
                weight: 1.0,
                serving: true,
                requests: *requests,
                errors: *errors,
                latencies,
            })
            .collect();
        self.controller.step(&seen, &self.settings)
    }

    /// The factor of `b0` after each of so many intervals.
    fn run(&mut self, intervals: usize, backends: &[Backend]) -> Vec<f64> {
        (0..intervals)
            .map(|_| {
                let before: Vec<f64> = (0..backends.len())
                    .map(|at| self.controller.factor(&format!("b{at}")))
                    .collect();
                self.step(backends);
                for (at, before) in before.iter().enumerate() {
                    let after = self.controller.factor(&format!("b{at}"));
                    assert!((LEAST_FACTOR..=MOST_FACTOR).contains(&after), "{after}");
                    assert!(
                        (0.899..=1.12).contains(&(after / before)),
                        "{before} to {after} in one step"
                    );
                }
                self.controller.factor("b0")
            })
            .collect()
    }
}

fn with_first(first: Backend, others: Backend, count: usize) -> Vec<Backend> {
    let mut all = vec![others; count];
    all[0] = first;
    all
}

/// Where it ends up, checked to be there from the eighth interval on, with no more than a tenth beyond and no swinging.
fn settled(factors: &[f64]) -> f64 {
    let end = factors[20..].iter().sum::<f64>() / crate::number::length(factors.len() - 20);
    for (at, factor) in factors.iter().enumerate().skip(7) {
        assert!(
            (factor / end - 1.0).abs() <= 0.1,
            "{factor} after interval {}, {end} in the end: {factors:?}",
            at + 1
        );
    }
    let least = factors.iter().copied().fold(f64::MAX, f64::min);
    assert!(least >= 0.9 * end, "beyond: {least} for {end}");
    let turns = factors[8..]
        .windows(3)
        .filter(|three| (three[1] - three[0]) * (three[2] - three[1]) < -1e-6)
        .count();
    assert!(turns <= 4, "{turns} turns: {factors:?}");
    end
}

#[test]
fn a_backend_twice_as_slow_is_settled_within_eight_intervals_and_returns() {
    for seed in 1..=10 {
        for (others, count, expect) in [
            (FINE, 4, 0.45..0.56),
            (FINE, 10, 0.45..0.56),
            (
                Backend {
                    queues: 3.0,
                    ..FINE
                },
                4,
                0.76..0.95,
            ),
            (QUEUE, 4, 0.62..0.8),
            (FINE, 3, 0.45..0.56),
        ] {
            let mut world = World::new(seed);
            let fine = vec![others; count];
            assert!(
                world
                    .run(10, &fine)
                    .iter()
                    .all(|factor| (factor - 1.0).abs() < 0.001),
                "nothing is wrong"
            );
            let end = settled(&world.run(
                40,
                &with_first(
                    Backend {
                        slow: 2.0,
                        ..others
                    },
                    others,
                    count,
                ),
            ));
            assert!(expect.contains(&end), "{end}, not {expect:?}");
            let back = world.run(20, &fine);
            assert!((back[19] - 1.0).abs() < 0.08, "it returns: {back:?}");
            assert!(
                back.iter().all(|factor| *factor < 1.1),
                "and no further: {back:?}"
            );
        }
    }
}

#[test]
fn of_two_the_faster_gains_what_the_slower_loses() {
    for seed in 1..=10 {
        let mut world = World::new(seed);
        world.run(30, &with_first(Backend { slow: 2.0, ..FINE }, FINE, 2));
        let ratio = world.controller.factor("b0") / world.controller.factor("b1");
        assert!((0.45..0.56).contains(&ratio), "{ratio}");
    }
}

#[test]
fn who_fails_more_loses_to_the_least_and_regains_slowly() {
    for seed in 1..=10 {
        let mut world = World::new(seed);
        world.run(5, &[FINE; 4]);
        let down = world.run(30, &with_first(Backend { fails: 0.2, ..FINE }, FINE, 4));
        assert!(
            down.windows(2).all(|two| two[1] <= two[0] + 1e-9),
            "stepwise: {down:?}"
        );
        assert!((down[29] - LEAST_FACTOR).abs() < 0.02, "{down:?}");
        let up = world.run(60, &[FINE; 4]);
        assert!(
            up.windows(2).all(|two| two[1] / two[0] <= REGAIN + 1e-9),
            "slowly: {up:?}"
        );
        assert!(up[59] > 0.9, "{up:?}");
    }
}

#[test]
fn little_and_everything_bad_move_nothing() {
    let check = |backends: &[Backend], requests: f64, expect: Frozen| {
        let mut world = World::new(1);
        world.requests = requests;
        world.step(backends);
        for _ in 0..5 {
            let report = world.step(backends);
            assert_eq!(
                (report.frozen, report.adjustments.len()),
                (Some(expect), 0),
                "{backends:?}"
            );
        }
    };
    check(
        &with_first(Backend { slow: 3.0, ..FINE }, FINE, 4),
        150.0,
        Frozen::Thin,
    );
    check(&[Backend { slow: 3.0, ..FINE }], 2000.0, Frozen::Thin);
    let failing = Backend { fails: 0.3, ..FINE };
    check(
        &with_first(
            Backend {
                slow: 3.0,
                ..failing
            },
            failing,
            4,
        ),
        2000.0,
        Frozen::EverythingBad,
    );
}

#[test]
fn members_that_change_are_waited_for() {
    let mut world = World::new(1);
    world.run(3, &[FINE; 4]);
    assert_eq!(world.step(&[FINE; 5]).frozen, Some(Frozen::Membership));
    assert_eq!(world.step(&[FINE; 5]).frozen, None);
    assert_eq!(world.step(&[FINE; 4]).frozen, Some(Frozen::Membership));
}

#[test]
fn a_step_that_made_it_worse_is_undone_and_waited_after() {
    for seed in 1..=10 {
        let mut world = World::new(seed);
        let slow = |others| with_first(Backend { slow: 2.0, ..FINE }, others, 4);
        world.run(3, &[FINE; 4]);
        let step = world.step(&slow(FINE));
        assert!(
            matches!(step.adjustments[..], [Adjustment { applied: true, .. }]),
            "{step:?}"
        );
        // Those who get more cannot bear it.
        let undone = world.step(&slow(Backend { slow: 1.9, ..FINE }));
        assert_eq!(
            (undone.adjustments[0].why, undone.adjustments[0].new),
            (Why::Undone, 1.0),
            "{undone:?}"
        );
        assert_eq!(undone.effect.map(|effect| effect.kept), Some(false));
        for _ in 0..2 {
            assert_eq!(world.step(&slow(FINE)).frozen, Some(Frozen::Undone));
        }
        assert!(
            !world.step(&slow(FINE)).adjustments.is_empty(),
            "then it tries again"
        );
        // That more fail is as bad.
        let undone = world.step(&slow(Backend {
            fails: 0.04,
            ..FINE
        }));
        assert_eq!(undone.adjustments[0].why, Why::Undone);
    }
}

#[test]
fn a_step_that_helps_is_kept_and_its_effect_is_told() {
    let mut world = World::new(1);
    world.run(3, &[FINE; 4]);
    let slow = with_first(Backend { slow: 2.0, ..FINE }, FINE, 4);
    world.step(&slow);
    let effect = world.step(&slow).effect.unwrap();
    assert!(
        effect.kept && effect.p99_before.is_some() && effect.p99_after.is_some(),
        "{effect:?}"
    );
    let learning = world.controller.learning();
    assert_eq!(learning.version, 1);
    assert!(
        learning.samples > 5000 && learning.confidence > 0.2,
        "{learning:?}"
    );
}

#[test]
fn what_serves_keeps_its_capacity() {
    let mut world = World::new(1);
    world.settings.capacity_floor = 0.9;
    world.run(3, &[FINE; 4]);
    let slow = with_first(Backend { slow: 4.0, ..FINE }, FINE, 4);
    let factors = world.run(20, &slow);
    assert!((0.6..0.7).contains(&factors[19]), "{factors:?}");
    assert_eq!(world.step(&slow).frozen, Some(Frozen::CapacityFloor));
}

#[test]
fn who_only_looks_moves_nothing() {
    let mut world = World::new(1);
    world.settings.acts = false;
    world.run(3, &[FINE; 4]);
    let slow = with_first(Backend { slow: 2.0, ..FINE }, FINE, 4);
    for _ in 0..5 {
        let report = world.step(&slow);
        assert!(
            matches!(report.adjustments[..], [Adjustment { applied: false, .. }]),
            "{report:?}"
        );
        assert_eq!(world.controller.factor("b0"), 1.0);
    }
}

#[test]
fn whose_latency_follows_its_load_is_learned() {
    for seed in 1..=10 {
        let elasticity = |others: Backend| {
            let mut world = World::new(seed);
            world.run(3, &[others; 4]);
            world.run(
                12,
                &with_first(
                    Backend {
                        slow: 2.5,
                        ..others
                    },
                    others,
                    4,
                ),
            );
            world.controller.models().next().unwrap().1.elasticity()
        };
        let (flat, queue) = (
            elasticity(FINE),
            elasticity(Backend {
                queues: 2.0,
                ..FINE
            }),
        );
        assert!(flat < 0.5 && queue > flat + 0.4, "{flat} and {queue}");
    }
}

#[test]
fn it_comes_back_as_it_was() {
    let mut world = World::new(1);
    world.run(3, &[FINE; 4]);
    world.run(6, &with_first(Backend { slow: 2.0, ..FINE }, FINE, 4));
    let bytes = world.controller.to_bytes();
    let again = Controller::from_bytes(&bytes).unwrap();
    assert_eq!(again.to_bytes(), bytes);
    assert_eq!(again.factor("b0"), world.controller.factor("b0"));
    for cut in 0..bytes.len() {
        assert!(Controller::from_bytes(&bytes[..cut]).is_err());
    }
    world.controller.reset();
    assert_eq!(world.controller.factor("b0"), 1.0);
}
