//! Weights that follow what backends do: the controller above the real core, with queues behind it. Ten seeds, minutes of virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::{BackendId, BackendSpec};
use evenkeel_balance::pick::Pick;
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{PolicyChoice, ServiceSettings};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault, Outcome, Verdict};
use evenkeel_sim::chance::Chance;
use evenkeel_watch::controller::{Controller, ControllerSettings, LEAST_FACTOR, Report, Seen};
use evenkeel_watch::latencies::Latencies;

const SEEDS: u64 = 10;
const COUNT: usize = 5;
const MINUTE: u64 = 60_000_000_000;
/// An exchange's work in seconds, exponential; each server does four at once.
const WORK: f64 = 0.02;
const AT_ONCE: usize = 4;
/// So much of what all servers can do is asked for.
const LOAD: f64 = 0.2;

/// A server: how many times as long it takes, and of how much it fails.
#[derive(Clone, Copy)]
struct Is {
    slow: f64,
    fails: f64,
}

const FINE: Is = Is {
    slow: 1.0,
    fails: 0.001,
};

/// What ended on a server within the interval.
#[derive(Clone, Default)]
struct Ended {
    requests: u64,
    errors: u64,
    latencies: Latencies,
}

/// Five servers, the core that picks among them, and the controller above.
struct World {
    service: Service,
    controller: Controller,
    settings: ControllerSettings,
    ended: Vec<Ended>,
    /// When each place of each server is free.
    places: Vec<BinaryHeap<Reverse<u64>>>,
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    under_way: Vec<Option<(Pick, usize, u64, bool)>>,
    free: Vec<usize>,
    now: u64,
    chance: Chance,
}

fn id(at: usize) -> BackendId {
    format!("s{at}").into()
}

impl World {
    fn new(seed: u64, policy: PolicyChoice) -> Self {
        let settings = ServiceSettings::with_policy(policy)
            .breaker(None)
            .slow_start(Duration::ZERO);
        let specs = (0..COUNT).map(|at| BackendSpec::new(id(at))).collect();
        let service = Service::new("world", settings, specs, Arc::new(()), Instant::ZERO)
            .expect("five members");
        Self {
            service,
            controller: Controller::default(),
            settings: ControllerSettings::default(),
            ended: vec![Ended::default(); COUNT],
            places: vec![(0..AT_ONCE).map(|_| Reverse(0)).collect(); COUNT],
            ends: BinaryHeap::new(),
            under_way: Vec::new(),
            free: Vec::new(),
            now: 0,
            chance: Chance::new(seed, 1),
        }
    }

    fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    /// Ends what is over until then.
    fn end_until(&mut self, until: u64) {
        while let Some(Reverse((at, slot))) = self.ends.peek().copied() {
            if at > until {
                break;
            }
            self.ends.pop();
            self.now = at;
            let Some((mut pick, server, began, fails)) = self.under_way[slot].take() else {
                continue;
            };
            self.free.push(slot);
            let ended = &mut self.ended[server];
            ended.requests += 1;
            ended.latencies.add(at - began, 1);
            let verdict = if fails {
                ended.errors += 1;
                Verdict::Failure(Fault::Status(500))
            } else {
                Verdict::Success
            };
            pick.answered(verdict, self.instant());
            pick.finish(Outcome::Completed, self.instant());
        }
        self.now = until;
    }

    fn arrive(&mut self, servers: &[Is]) {
        let ask = Ask::new(self.chance.word());
        let pick = self.service.pick(&ask, self.instant()).expect("all serve");
        let server = (0..COUNT)
            .find(|at| *pick.backend().id() == id(*at))
            .expect("one of ours");
        let is = servers[server];
        let work = nanos(self.chance.exponential(WORK * is.slow));
        let place = self.places[server].pop().map_or(0, |Reverse(free)| free);
        let end = place.max(self.now) + work;
        self.places[server].push(Reverse(end));
        let fails = self.chance.unit() < is.fails;
        let one = Some((pick, server, self.now, fails));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.under_way[slot] = one;
                slot
            }
            None => {
                self.under_way.push(one);
                self.under_way.len() - 1
            }
        };
        self.ends.push(Reverse((end, slot)));
    }

    /// A minute, and what the controller made of it.
    fn minute(&mut self, servers: &[Is]) -> Report {
        let end = self.now + MINUTE;
        let gap = WORK / (LOAD * count(COUNT * AT_ONCE));
        loop {
            let next = self.now + nanos(self.chance.exponential(gap));
            if next >= end {
                break;
            }
            self.end_until(next);
            self.arrive(servers);
        }
        self.end_until(end);
        self.service.tick(self.instant());
        let ended = std::mem::replace(&mut self.ended, vec![Ended::default(); COUNT]);
        let members = self.service.snapshot(self.instant()).backends;
        let seen: Vec<Seen<'_>> = members
            .iter()
            .zip(&ended)
            .map(|(member, ended)| Seen {
                id: member.id.as_str(),
                weight: f64::from(member.spec.weight.get()),
                serving: member.standing == Standing::Serving,
                requests: ended.requests,
                errors: ended.errors,
                latencies: &ended.latencies,
            })
            .collect();
        let report = self.controller.step(&seen, &self.settings);
        let models = self.controller.models();
        let factors: Vec<_> = models
            .map(|(id, model)| (id.into(), single(model.factor)))
            .collect();
        self.service.adjust(&factors, self.instant());
        report
    }

    /// The factor of the first after each of so many minutes, as the core has it.
    fn minutes(&mut self, minutes: usize, first: Is) -> Vec<f64> {
        let mut servers = [FINE; COUNT];
        servers[0] = first;
        let each = |_| {
            self.minute(&servers);
            let seen = self.service.snapshot(self.instant());
            f64::from(seen.backends[0].factor)
        };
        (0..minutes).map(each).collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of a simulation"
)]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[expect(clippy::cast_precision_loss, reason = "some dozens")]
fn count(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a factor")]
fn single(factor: f64) -> f32 {
    factor as f32
}

/// Where it ends up, checked to be there from the eighth minute on, no more than a tenth beyond it, and not to swing.
fn settled(factors: &[f64], at: &str) -> f64 {
    let tail = &factors[factors.len() - 15..];
    let end = tail.iter().sum::<f64>() / count(tail.len());
    for (minute, factor) in (1..).zip(factors).skip(7) {
        let off = factor / end - 1.0;
        assert!(
            off.abs() <= 0.1,
            "{at}: {factor} after {minute}, {end} in the end: {factors:?}"
        );
    }
    let least = factors.iter().copied().fold(f64::MAX, f64::min);
    assert!(least >= 0.9 * end, "{at}: {least} is beyond {end}");
    let turns = factors[8..]
        .windows(3)
        .filter(|three| (three[1] - three[0]) * (three[2] - three[1]) < -1e-6)
        .count();
    assert!(turns <= 4, "{at}: {turns} turns: {factors:?}");
    end
}

/// Under round robin and random alike, as neither looks at latency.
#[test]
fn twice_as_slow_settles_within_eight_intervals_and_heals() {
    for policy in [PolicyChoice::RoundRobin, PolicyChoice::Random] {
        for seed in 1..=SEEDS {
            let at = format!("{} seed {seed}", policy.name());
            let mut world = World::new(seed, policy.clone());
            let calm = world.minutes(6, FINE);
            assert!(
                calm.iter().all(|one| (one - 1.0).abs() < 1e-6),
                "{at}: {calm:?}"
            );
            let slow = Is { slow: 2.0, ..FINE };
            let factors = world.minutes(30, slow);
            let end = settled(&factors, &at);
            assert!((0.42..0.62).contains(&end), "{at}: {end}");
            let back = world.minutes(25, FINE);
            let last = back[24];
            println!("{at}: {end:.3} while it is slow, {last:.3} once it is well");
            assert!((last - 1.0).abs() < 0.08, "{at}: {back:?}");
            assert!(back.iter().all(|one| *one <= 1.1), "{at}: {back:?}");
        }
    }
}

/// Alive, and worse than its peers: stepwise to the least, and slowly back.
#[test]
fn gray_failures_go_to_the_floor_and_come_back_slowly() {
    for seed in 1..=SEEDS {
        let mut world = World::new(seed, PolicyChoice::RoundRobin);
        world.minutes(4, FINE);
        let gray = Is { fails: 0.2, ..FINE };
        let down = world.minutes(25, gray);
        let steps = |two: &[f64]| two[1] <= two[0] + 1e-6 && two[1] >= two[0] * 0.899;
        assert!(down.windows(2).all(steps), "seed {seed}: {down:?}");
        assert!(
            (down[24] - LEAST_FACTOR).abs() < 0.01,
            "seed {seed}: {down:?}"
        );
        let up = world.minutes(45, FINE);
        println!("seed {seed}: {:.3}, then {:.3}", down[24], up[44]);
        // Once it is back, but for what counts as nothing, it is one like the others.
        let slowly = |two: &[f64]| two[0] >= 0.95 || two[1] <= two[0] * 1.051;
        assert!(up.windows(2).all(slowly), "seed {seed}: {up:?}");
        assert!(up[44] > 0.9, "seed {seed}: {up:?}");
    }
}
