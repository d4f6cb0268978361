//! The real engine of `evenkeel-proxy` in a virtual world: clients, backends and the network between are made up, in one thread and
//! in virtual time; accepting, parsing, rules, picks, attempts, relaying and draining are the engine's own.
//!
//! A seed makes a world. What must hold is checked at every exchange and at the end (`ledger`, `audit`); what does not is a
//! finding, and the seed repeats it to the last poll.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_balance::event::Listener;
use evenkeel_balance::service::TICK;
use evenkeel_proxy::connection::{Admitted, Door, serve, slots};
use evenkeel_proxy::deadline::SWEEP_EVERY;
use evenkeel_proxy::live::{Live, Published};
use evenkeel_proxy::sock::pipe::Pipe;
use evenkeel_proxy::worker::Worker;

use crate::chance::Chance;

/// Virtual time and tasks.
mod stage;

/// What lies between two ends.
mod link;

/// Requests, answers, and bodies that know whose they are.
mod spoken;

/// Reading heads and bodies.
mod reader;

/// What was asked, seen and found.
mod ledger;

/// Clients.
mod client;

/// Backends, and what they do instead of answering.
mod backend;

/// The engine's way to the backends.
mod network;

/// What a seed makes of a world.
mod setting;

/// What changes while a world runs.
mod weather;

/// What must hold at the end.
mod audit;

use backend::Backend;
use client::{Client, State};
use ledger::{Ledger, Outcome};
use link::Link;
use network::Network;
use spoken::Asked;
use stage::Stage;

/// What may happen in a world, and what is promised in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No faults: every request is answered by a backend with 200.
    Calm,
    /// Safe requests, one good backend, and faults of others that show before the first byte of an answer: every request is
    /// answered by a backend with 200 all the same.
    Hidden,
    /// Everything: bodies, malformed requests, clients that leave, any fault, partitions, reloads, draining. Requests may fail,
    /// visibly.
    Wild,
}

impl Kind {
    /// The kind of world that a seed makes.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        match seed % 4 {
            0 => Self::Calm,
            1 => Self::Hidden,
            _ => Self::Wild,
        }
    }
}

/// What became of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The hash of everything that happened, in its order.
    pub trace: u64,
    /// Requests that were to be asked.
    pub requests: u64,
    /// Whole answers of backends.
    pub served: u64,
    /// Whole answers of the proxy, by the word of their reason.
    pub refused: BTreeMap<String, u64>,
    /// Answers that were visibly cut.
    pub cut: u64,
    /// Requests without a byte of an answer: cut off, behind an announced end, or never begun.
    pub unanswered: u64,
    /// Faults that were done, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// What must not be.
    pub findings: Vec<String>,
    /// Virtual time, in nanoseconds.
    pub nanos: u64,
    /// How often a task went on.
    pub polls: u64,
}

impl Report {
    /// Adds another world's.
    pub fn add(&mut self, other: &Self) {
        self.trace = evenkeel_balance::hashing::mix(self.trace, other.trace);
        self.requests += other.requests;
        self.served += other.served;
        self.cut += other.cut;
        self.unanswered += other.unanswered;
        for (reason, count) in &other.refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.findings.extend(other.findings.iter().cloned());
        self.nanos += other.nanos;
        self.polls += other.polls;
    }
}

/// Runs the world of a seed, with about so many requests. A panic of the engine is a finding.
#[must_use]
pub fn run(seed: u64, requests: usize) -> Report {
    catch_unwind(AssertUnwindSafe(|| World::new(seed, requests).run())).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Report {
            findings: vec![format!("panic: {}", text.unwrap_or_default())],
            ..Report::default()
        }
    })
}

/// Runs so many seeds from `first` on, on `threads` threads: all of it added up in the order of seeds, and the findings by seed.
#[must_use]
pub fn run_many(
    first: u64,
    seeds: u64,
    requests: usize,
    threads: usize,
) -> (Report, Vec<(u64, Vec<String>)>) {
    let next = AtomicU64::new(0);
    let done: Mutex<BTreeMap<u64, Report>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds {
                        break;
                    }
                    let report = run(first.saturating_add(at), requests);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(at, report);
                }
            });
        }
    });
    let mut all = Report::default();
    let mut found = Vec::new();
    for (at, report) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        all.add(&report);
        if !report.findings.is_empty() {
            found.push((first.saturating_add(at), report.findings));
        }
    }
    (all, found)
}

/// So long a world may take, in virtual time: whatever waits longer waits for ever.
const LONGEST: Duration = Duration::from_secs(1_200);

/// After the last client: idle connections to backends end, and what lingers.
const AFTERWARDS: Duration = Duration::from_secs(40);

/// A world of one worker.
struct World {
    kind: Kind,
    stage: Stage,
    ledger: Rc<Ledger>,
    backends: Vec<Rc<Backend>>,
    published: Arc<Published>,
    worker: Rc<Worker<Network>>,
    door: Rc<Door>,
    /// The proxy takes its leave.
    closing: Rc<Cell<bool>>,
    reloaded: Rc<Cell<bool>>,
    /// No body has chunks.
    plain: bool,
    clients: Rc<Cell<usize>>,
    chance: RefCell<Chance>,
    requests: usize,
}

/// A connection on its way to being served.
type Arrive = Rc<dyn Fn(Pipe, usize)>;

impl World {
    fn new(seed: u64, requests: usize) -> Self {
        let kind = Kind::of(seed);
        let mut chance = Chance::new(seed, 20);
        let stage = Stage::new(seed);
        let ledger = Rc::new(Ledger::default());
        let backends = setting::backends(kind, &stage, &ledger, &mut chance);
        let plan = setting::plan(kind, backends.len(), None, &mut chance);
        ledger
            .attempts
            .set(plan.services[0].settings.retry.attempts);
        let events: Arc<dyn Listener> = Arc::new(());
        let live = Live::join(plan, None, 1, &events, stage.now());
        let state = live.doors[0].clone();
        let published = Arc::new(Published::new(live));
        let network = Network {
            stage: stage.clone(),
            backends: backends.clone(),
            chance: RefCell::new(Chance::new(seed, 21)),
        };
        Self {
            kind,
            worker: Rc::new(Worker::new(network, 0, published.clone(), seed)),
            door: Rc::new(Door::new("web".into(), 80, state)),
            stage,
            ledger,
            backends,
            published,
            closing: Rc::default(),
            reloaded: Rc::default(),
            plain: kind == Kind::Calm && seed.is_multiple_of(8),
            clients: Rc::default(),
            chance: RefCell::new(chance),
            requests,
        }
    }

    fn run(self) -> Report {
        self.housekeeping();
        let arrive = self.arrive();
        let mut left = self.requests;
        let mut number = 0;
        while left > 0 {
            let several = 1 + self.chance.borrow_mut().below(8.min(left));
            left -= several;
            self.client(number, several, arrive.clone());
            number += 1;
        }
        if self.kind != Kind::Calm {
            weather::begin(&self);
        }
        let until = self.stage.now() + LONGEST;
        let over = || self.clients.get() == 0 || self.stage.now() >= until;
        self.stage.run(over);
        if self.clients.get() > 0 {
            self.ledger
                .finding(format!("{} clients wait for ever", self.clients.get()));
        }
        let until = self.stage.now() + AFTERWARDS;
        self.stage.run(|| self.stage.now() >= until);
        audit::audit(&self);
        let report = self.report();
        self.stage.clear();
        report
    }

    /// What the worker's thread and the control plane do beside serving.
    fn housekeeping(&self) {
        let (stage, worker) = (self.stage.clone(), self.worker.clone());
        self.stage.spawn(async move {
            loop {
                stage.sleep(SWEEP_EVERY).await;
                worker.sweep();
            }
        });
        let (stage, worker) = (self.stage.clone(), self.worker.clone());
        self.stage.spawn(async move {
            worker.keep_ringing(|wait| stage.sleep(wait)).await;
        });
        let (stage, published) = (self.stage.clone(), self.published.clone());
        let (ledger, worker) = (self.ledger.clone(), self.worker.clone());
        self.stage.spawn(async move {
            loop {
                for service in &published.load().services {
                    let core = &service.state.service;
                    core.tick(stage.now());
                    audit::at_a_tick(core, stage.now(), worker.connections(), &ledger);
                }
                stage.sleep(TICK).await;
            }
        });
    }

    /// What the accepting loop does with a connection.
    fn arrive(&self) -> Arrive {
        let (stage, worker, door) = (self.stage.clone(), self.worker.clone(), self.door.clone());
        let published = self.published.clone();
        let slots = slots(&worker);
        Rc::new(move |sock, number| {
            let (stage, worker, door) = (stage.clone(), worker.clone(), door.clone());
            let (published, slots) = (published.clone(), slots.clone());
            let peer = IpAddr::V4(Ipv4Addr::from(
                0x0a01_0000 + u32::try_from(number).unwrap_or(0),
            ));
            stage.clone().spawn(async move {
                let admitted = loop {
                    let most = published.load().plan.listeners[0].limits.connections;
                    if let Some(admitted) = Admitted::take(&door.state(), most) {
                        break admitted;
                    }
                    stage.sleep(Duration::from_millis(20)).await;
                };
                serve(worker, door, sock, peer, admitted, slots).await;
            });
        })
    }

    fn client(&self, number: usize, several: usize, arrive: Arrive) {
        let mut chance = Chance::new(self.chance.borrow_mut().word(), 22);
        let asked = |chance: &mut Chance| match self.kind {
            Kind::Calm if self.plain => Asked::well_formed(chance).plain(),
            Kind::Calm => Asked::well_formed(chance),
            Kind::Hidden => Asked::safe(chance),
            Kind::Wild => Asked::any(chance),
        };
        let mut asks: Vec<usize> = (0..several)
            .map(|_| self.ledger.asks(asked(&mut chance)))
            .collect();
        let mut habits = setting::habits(self.kind, &mut chance);
        let way = setting::way(&mut chance);
        let (stage, ledger) = (self.stage.clone(), self.ledger.clone());
        let (closing, clients) = (self.closing.clone(), self.clients.clone());
        clients.set(clients.get() + 1);
        self.stage.spawn(async move {
            // What one connection did not come to is asked over the next.
            while !asks.is_empty() && !closing.get() {
                let wait = Duration::from_secs(2).mul_f64(chance.unit());
                stage.sleep(wait).await;
                let (ours, theirs, link) = Link::new(&stage, &way, &mut chance);
                stage.sleep(way.latency).await;
                if closing.get() {
                    // Nobody listens any more.
                    link.tear();
                } else {
                    arrive(theirs, number);
                }
                let client = Client {
                    stage: stage.clone(),
                    ledger: ledger.clone(),
                    end: Rc::new(RefCell::new(Some(ours))),
                    link,
                    asks,
                    habits,
                    closing: closing.clone(),
                    keep_alive: setting::KEEP_ALIVE,
                    state: State::default(),
                };
                asks = client.run(&mut chance).await;
                // Who leaves before asking anything would never come to an end.
                habits.leaves = None;
            }
            clients.set(clients.get() - 1);
        });
    }

    fn report(&self) -> Report {
        let mut report = Report {
            trace: self.stage.trace(),
            refused: self.ledger.reasons(),
            faults: self.ledger.faults(),
            findings: self.ledger.findings(),
            nanos: self.stage.now().as_nanos(),
            polls: self.stage.polls(),
            ..Report::default()
        };
        for (_, outcome) in self.ledger.outcomes() {
            report.requests += 1;
            match outcome {
                Outcome::Answered { here: false, .. } => report.served += 1,
                Outcome::Answered { here: true, .. } => {}
                Outcome::Cut => report.cut += 1,
                Outcome::Nothing | Outcome::Pending => report.unanswered += 1,
            }
        }
        report
    }
}
