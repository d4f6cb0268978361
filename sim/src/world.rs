//! Owns the running world: virtual time, the queue of what happens next, and the one loop that lets it happen.
//!
//! The balancers in it are the real core. At every step the world holds the core to its laws: what is in flight on a
//! backend is what the world sent there and has not ended.

use std::collections::BinaryHeap;
use std::time::Duration;

use evenkeel_balance::ask::{Ask, ClassId, Tried};
use evenkeel_balance::hashing::mix;
use evenkeel_balance::pick::Pick;
use evenkeel_balance::service::TICK;
use evenkeel_balance::settings::{PolicyChoice, ServiceSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Fault as Failure, Outcome, Verdict};

use crate::arrivals::{APART, arrivals_per_second, demand};
use crate::balancer::Balancer;
use crate::chance::Chance;
use crate::happening::{Happening, Next};
use crate::report::{Picked, Recorder, Report};
use crate::scenario::{Fault, Scenario};
use crate::server::{AttemptId, Server, Work};

/// What goes wrong with servers.
mod faults;

/// A second attempt beside one that is slow.
mod hedging;

/// What a failing server takes to fail, and what it says.
const FAST: Duration = Duration::from_micros(500);
const SECOND: u64 = 1_000_000_000;
const ERROR: Verdict = Verdict::Failure(Failure::Status(500));

/// One exchange, as far as its present attempt.
#[derive(Debug)]
struct Exchange {
    began: u64,
    counted: bool,
    instance: usize,
    class: u16,
    seconds: f64,
    tried: Tried,
    made: u32,
    /// Of them, those that reached nobody and do not count.
    excused: u32,
    /// None while it waits for its next attempt.
    pick: Option<Pick>,
    server: usize,
    /// It has, or had, a second attempt; and where that is while both are under way.
    hedged: bool,
    twin: Option<usize>,
}

struct Streams {
    arrivals: Chance,
    demands: Chance,
    neighbours: Chance,
    picks: Chance,
}

/// A world under one policy.
pub struct World<'a> {
    scenario: &'a Scenario,
    balancers: Vec<Balancer>,
    servers: Vec<Server>,
    exchanges: Vec<(u32, Option<Exchange>)>,
    free: Vec<usize>,
    queue: BinaryHeap<Next>,
    order: u64,
    now: u64,
    gap: f64,
    arrived: usize,
    live: u64,
    closed: u64,
    streams: Streams,
    recorder: Recorder,
    trace: u64,
}

/// Runs `scenario` under `policy` to its end.
///
/// # Panics
/// When the core breaks one of its laws, with the seed.
#[must_use]
pub fn run(scenario: &Scenario, policy: &PolicyChoice, seed: u64) -> Report {
    let mut world = World::new(scenario, policy, seed);
    while let Some(next) = world.queue.pop() {
        world.now = next.at;
        world.trace = mix(world.trace, mix(next.at, next.what.word()));
        world.happen(next.what);
        for balancer in &world.balancers {
            balancer.prompt_tick(world.instant());
        }
        if world.over() {
            break;
        }
    }
    world.end(seed)
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, policy: &PolicyChoice, seed: u64) -> Self {
        let mut settings =
            ServiceSettings::with_policy(policy.clone()).overprovision(scenario.overprovision);
        if !scenario.breaker {
            settings.breaker = None;
        }
        settings.adaptive_limit = scenario.limit;
        settings.hedge = scenario.hedge;
        let slow = scenario.servers_of(scenario.slow_share);
        let servers: Vec<Server> = (0..scenario.servers)
            .map(|at| {
                Server::new(
                    scenario.slots,
                    scenario.crowding,
                    if at < slow { scenario.slow_speed } else { 1.0 },
                )
            })
            .collect();
        let balancers = (0..scenario.instances)
            .map(|instance| Balancer::new(scenario, &settings, instance))
            .collect();
        let mut world = Self {
            scenario,
            balancers,
            servers,
            exchanges: Vec::new(),
            free: Vec::new(),
            queue: BinaryHeap::new(),
            order: 0,
            now: 0,
            gap: 1.0 / arrivals_per_second(scenario),
            arrived: 0,
            live: 0,
            closed: 0,
            streams: Streams {
                arrivals: Chance::new(seed, 1),
                demands: Chance::new(seed, 2),
                neighbours: Chance::new(seed, 3),
                picks: Chance::new(seed, 4),
            },
            recorder: Recorder::new(scenario),
            trace: seed,
        };
        world.after(Duration::ZERO, Happening::Arrive);
        world.after(TICK, Happening::Tick);
        for (which, strike) in scenario.strikes.iter().enumerate() {
            world.after(strike.at, Happening::Strike(which));
        }
        if scenario.antagonists {
            for server in 0..scenario.servers {
                let first = Duration::from_secs_f64(world.streams.neighbours.exponential(APART));
                world.after(first, Happening::Crowd(server));
            }
        }
        world
    }

    fn after(&mut self, wait: Duration, what: Happening) {
        let at = (self.instant() + wait).as_nanos();
        self.order += 1;
        self.queue.push(Next {
            at,
            order: self.order,
            what,
        });
    }

    const fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    fn over(&self) -> bool {
        self.arrived == self.scenario.exchanges && self.live == 0
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrive => self.arrive(),
            Happening::Reach(id) => self.reach(id),
            Happening::Done(server, id) => self.done(server, id),
            Happening::Return(id, verdict) => self.conclude(id, verdict),
            Happening::Deadline(id) => self.conclude(id, Verdict::Failure(Failure::Timeout)),
            Happening::Again(id) => self.attempt(id),
            Happening::Hedge(id) => self.hedge(id),
            Happening::Tick => self.tick(),
            Happening::Crowd(server) => self.crowd(server),
            Happening::Strike(which) => self.strike(which),
        }
    }

    fn arrive(&mut self) {
        let route = self.streams.demands.below(self.scenario.routes.len());
        let seconds = demand(self.scenario.routes[route], &mut self.streams.demands);
        let instance = self.streams.arrivals.below(self.scenario.instances);
        let counted = self.arrived >= self.scenario.exchanges / 5;
        self.arrived += 1;
        self.live += 1;
        let exchange = Exchange {
            began: self.now,
            counted,
            instance,
            class: u16::try_from(route).unwrap_or(u16::MAX),
            seconds,
            tried: Tried::default(),
            made: 0,
            excused: 0,
            pick: None,
            server: 0,
            hedged: false,
            twin: None,
        };
        let id = self.keep(exchange);
        self.attempt(id);
        if self.arrived < self.scenario.exchanges {
            let gap = Duration::from_secs_f64(self.streams.arrivals.exponential(self.gap));
            self.after(gap, Happening::Arrive);
        }
    }

    fn keep(&mut self, exchange: Exchange) -> AttemptId {
        if let Some(at) = self.free.pop() {
            let slot = &mut self.exchanges[at];
            slot.1 = Some(exchange);
            return AttemptId {
                at,
                generation: slot.0,
            };
        }
        self.exchanges.push((0, Some(exchange)));
        AttemptId {
            at: self.exchanges.len() - 1,
            generation: 0,
        }
    }

    /// The exchange whose present attempt this is; none when that attempt has ended.
    fn of(&mut self, id: AttemptId) -> Option<&mut Exchange> {
        let slot = &mut self.exchanges[id.at];
        if slot.0 == id.generation {
            slot.1.as_mut()
        } else {
            None
        }
    }

    fn attempt(&mut self, id: AttemptId) {
        let (chance, key, now) = (
            self.streams.picks.word(),
            self.streams.picks.word(),
            self.instant(),
        );
        let Some(exchange) = self.exchanges[id.at].1.as_mut() else {
            return;
        };
        let (instance, tried) = (exchange.instance, exchange.tried);
        let ask = Ask::new(chance)
            .key(key)
            .class(ClassId(exchange.class))
            .tried(&tried);
        let balancer = &mut self.balancers[instance];
        balancer.asked += 1;
        let Ok(pick) = balancer.service.pick(&ask, now) else {
            balancer.refused += 1;
            self.close(id, false);
            return;
        };
        let server = usize::try_from(pick.backend().serial()).unwrap_or(0) - 1;
        balancer.in_flight[server] += 1;
        balancer.sent[server] += 1;
        assert_eq!(
            balancer.in_flight[server],
            pick.backend().in_flight(),
            "a charge was lost at a pick"
        );
        exchange.tried.insert(pick.backend());
        exchange.made += 1;
        (exchange.pick, exchange.server) = (Some(pick), server);
        let counted = exchange.counted;
        self.trace = mix(self.trace, server as u64);
        let picked = Picked {
            server,
            spills: self.scenario.spills(instance, server),
            counted,
            now: self.now,
        };
        self.recorder
            .picked(&picked, &self.balancers[instance].in_flight);
        self.after(self.scenario.way(instance, server), Happening::Reach(id));
        if let Some(deadline) = self.scenario.deadline {
            self.after(deadline, Happening::Deadline(id));
        }
        self.may_hedge(id);
    }

    fn reach(&mut self, id: AttemptId) {
        let Some((server, seconds)) = self
            .of(id)
            .map(|exchange| (exchange.server, exchange.seconds))
        else {
            return;
        };
        match self.servers[server].fault {
            Some(Fault::Kill) => {
                self.answer(id, Duration::ZERO, Verdict::Failure(Failure::Connect));
            }
            Some(Fault::FastErrors) => self.answer(id, FAST, ERROR),
            Some(Fault::BlackHole) => {}
            _ => {
                let work = Work {
                    attempt: id,
                    seconds,
                };
                if self.servers[server].accept(work) {
                    self.begin(server, work);
                }
            }
        }
    }

    fn answer(&mut self, id: AttemptId, wait: Duration, verdict: Verdict) {
        // Who was given up is waited for by nobody.
        let way = |exchange: &mut Exchange| (exchange.instance, exchange.server);
        let (instance, server) = self.of(id).map(way).unwrap_or_default();
        let back = self.scenario.way(instance, server);
        self.after(wait + back, Happening::Return(id, verdict));
    }

    fn begin(&mut self, server: usize, work: Work) {
        let seconds = work.seconds / self.servers[server].pace();
        self.servers[server].works(seconds);
        self.after(
            Duration::from_secs_f64(seconds),
            Happening::Done(server, work.attempt),
        );
    }

    fn done(&mut self, server: usize, id: AttemptId) {
        let until = self.servers[server].stalled_until;
        if until > self.now {
            let wait = Duration::from_nanos(until - self.now);
            self.after(wait, Happening::Done(server, id));
            return;
        }
        if self.servers[server].done(id) {
            let fails = self.streams.demands.meets(self.scenario.errors);
            let verdict = if fails { ERROR } else { Verdict::Success };
            self.answer(id, Duration::ZERO, verdict);
            self.resume(server);
        }
    }

    fn resume(&mut self, server: usize) {
        while let Some(work) = self.servers[server].begin_next() {
            self.begin(server, work);
        }
    }

    fn conclude(&mut self, id: AttemptId, verdict: Verdict) {
        let now = self.instant();
        let Some(exchange) = self.of(id) else { return };
        let Some(mut pick) = exchange.pick.take() else {
            return;
        };
        let (instance, server) = (exchange.instance, exchange.server);
        let made = (exchange.made, exchange.excused);
        let answered = matches!(verdict, Verdict::Success) || verdict == ERROR;
        if answered && self.scenario.reports {
            let lie = self.scenario.lie_of(server, now);
            self.servers[server].reports(lie, pick.backend(), now);
        }
        pick.answered(verdict, now);
        let backend = pick.backend().counts().in_flight;
        let failure = match verdict {
            Verdict::Failure(failure) => Some(failure),
            Verdict::Success | Verdict::Neutral => None,
        };
        let outcome = match failure {
            Some(failure @ (Failure::Connect | Failure::Reset | Failure::Timeout)) => {
                Outcome::Broken(failure)
            }
            _ => Outcome::Completed,
        };
        pick.finish(outcome, now);
        let balancer = &mut self.balancers[instance];
        assert_eq!(
            balancer.in_flight[server], backend,
            "a charge was lost before a finish"
        );
        balancer.in_flight[server] -= 1;
        // Whatever still comes back of this attempt comes too late.
        let slot = &mut self.exchanges[id.at];
        slot.0 = slot.0.wrapping_add(1);
        let id = AttemptId {
            generation: slot.0,
            ..id
        };
        if let Some(twin) = self.parted(id) {
            match failure {
                None => self.outrun(twin),
                // The other is the exchange from here on.
                Some(_) => return self.release(id.at),
            }
        }
        let chance = self.scenario.retries.then_some(&mut self.streams.picks);
        let again = failure.zip(chance).and_then(|(failure, chance)| {
            self.balancers[instance].again(failure, made, chance.word())
        });
        match again {
            Some((wait, excused)) => {
                if let Some(exchange) = self.of(id) {
                    exchange.excused += u32::from(excused);
                }
                self.after(wait, Happening::Again(id));
            }
            None => self.close(id, failure.is_none()),
        }
    }

    fn close(&mut self, id: AttemptId, succeeded: bool) {
        let slot = &mut self.exchanges[id.at];
        slot.0 = slot.0.wrapping_add(1);
        if let Some(exchange) = slot.1.take() {
            self.live -= 1;
            self.closed += 1;
            self.free.push(id.at);
            self.recorder.served(self.now, succeeded);
            if exchange.counted {
                self.recorder.closed(self.now - exchange.began, succeeded);
            }
        }
    }

    fn tick(&mut self) {
        let now = self.instant();
        for balancer in &self.balancers {
            balancer.service.tick(now);
            assert!(
                balancer.holds(now),
                "picks = finished + abandoned + in flight"
            );
        }
        self.servers_agree();
        if self.now.is_multiple_of(SECOND) {
            self.servers.iter_mut().for_each(Server::second);
        }
        if self.scenario.limit.is_some() {
            let seen = self.balancers[0].service.snapshot(now);
            let limit = seen.backends[0].limit.map_or(0, |limit| limit.in_use);
            self.recorder.limited(limit);
        }
        assert_eq!(
            self.arrived as u64,
            self.live + self.closed,
            "accepted = live + closed"
        );
        self.after(TICK, Happening::Tick);
    }

    /// With one balancer, no network and nobody who gives up, what a server holds is what the core has in flight there.
    fn servers_agree(&self) {
        let [balancer] = &self.balancers[..] else {
            return;
        };
        if self.scenario.network.is_zero() && self.scenario.deadline.is_none() {
            for (server, in_flight) in self.servers.iter().zip(&balancer.in_flight) {
                assert_eq!(
                    server.holds(),
                    *in_flight as usize,
                    "a server and the core disagree"
                );
            }
        }
    }

    fn end(self, seed: u64) -> Report {
        for balancer in &self.balancers {
            assert!(
                balancer.holds(self.instant()),
                "seed {seed}: a law is broken at the end"
            );
            assert!(
                balancer.in_flight.iter().all(|&count| count == 0),
                "seed {seed}: charges are left at the end"
            );
        }
        assert_eq!(
            (self.arrived as u64, self.live),
            (self.closed, 0),
            "seed {seed}: exchanges are left at the end"
        );
        self.recorder.report(self.trace)
    }
}
