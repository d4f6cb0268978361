//! Owns one run: a fleet, a balancer, load; a fault that comes and goes; figures read ten times a second.
//!
//! It decides nothing: what it saw is a `Run`, which `judge.rs` reads.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::balancer::{Balancer, Figures, Held};
use crate::clock::Start;
use crate::faults::{Act, Fault};
use crate::fleet::{Backend, Said};
use crate::isolation;
use crate::load::{Load, Mix, Record, Terms};
use crate::names::Names;
use crate::setup::Who;

/// Between two readings.
const TICK: Duration = Duration::from_millis(100);

/// Until connections that a balancer kept to backends have ended: above the idle times of all of them but nginx, which keeps its
/// own for a minute.
const REST: Duration = Duration::from_secs(8);

/// So long a flood may take to be there, and a page while it is.
const FLOOD: Duration = Duration::from_secs(1);

/// So long the laws may take to hold.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a run goes on from warm to fault to healed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// After so much time each.
    Times([Duration; 3]),
    /// After so many exchanges each: no clock decides.
    Counts([u64; 3]),
}

/// One reading.
pub(crate) struct Sample {
    pub(crate) at: Duration,
    /// Picks of each backend, where the balancer says them; else what each was asked.
    pub(crate) picks: Vec<u64>,
    pub(crate) backends: Vec<Said>,
}

/// What was seen.
pub(crate) struct Run {
    pub(crate) records: Vec<Record>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) injected: Duration,
    pub(crate) healed: Duration,
    pub(crate) before: Held,
    pub(crate) after: Held,
    pub(crate) figures: Figures,
    /// Attempts beyond the first, where the balancer says.
    pub(crate) retried: Option<u64>,
    /// How it ended; None: it did not.
    pub(crate) exit: Option<i32>,
    /// How the instance ended that was told to within the run, or was followed by another.
    pub(crate) exit_within: Option<Option<i32>>,
    pub(crate) broken_laws: Vec<String>,
}

/// Who is tried, and how.
pub(crate) struct Stage {
    pub(crate) who: Who,
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) pace: Pace,
    pub(crate) rate: f64,
    pub(crate) deadline: Duration,
}

struct Bench {
    folder: PathBuf,
    fleet: Vec<Backend>,
    service_ms: u64,
    balancer: Balancer,
    second: Option<Balancer>,
    names: Names,
    flood: Vec<TcpStream>,
    start: Start,
    samples: Vec<Sample>,
    exit_within: Option<Option<i32>>,
}

/// Runs one fault against one balancer.
pub(crate) async fn run(fault: &Fault, terms: &Stage) -> Result<Run, String> {
    let small = terms.folder.join("small");
    if fault.wants.log {
        isolation::small(&small, 64, true)?;
    }
    std::fs::write(terms.folder.join("clock"), "+0").map_err(|error| error.to_string())?;
    let mut bench = Bench::start(fault, terms).await?;
    let run = bench.go(fault, terms).await;
    if fault.wants.log {
        isolation::unmount(&small);
    }
    if run.is_err() {
        // What is left of packets' rules would be the next fault's.
        let _ = isolation::lose_none(terms.who.word());
    }
    run
}

impl Bench {
    async fn start(fault: &Fault, terms: &Stage) -> Result<Self, String> {
        let mut fleet: Vec<Backend> = Vec::new();
        for number in 0..fault.backends {
            let port = fleet.first().map_or(0, |first| first.address.port());
            fleet.push(Backend::start(terms.who as usize, number, port, fault.service_ms).await?);
        }
        let addresses: Vec<SocketAddr> = fleet.iter().map(|backend| backend.address).collect();
        let hosts = addresses.iter().filter_map(|at| match at.ip() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        let names = Names::start(hosts.collect()).await?;
        let begin = || {
            let (who, program, folder) = (terms.who, &terms.program, &terms.folder);
            Balancer::start(who, program, fault.wants, folder, &addresses, names.address)
        };
        let balancer = begin().await?;
        let two = fault.acts.iter().any(|(_, act)| matches!(act, Act::Term));
        let second = if two { Some(begin().await?) } else { None };
        Ok(Self {
            folder: terms.folder.clone(),
            fleet,
            service_ms: fault.service_ms,
            balancer,
            second,
            names,
            flood: Vec::new(),
            start: Start::now(),
            samples: Vec::new(),
            exit_within: None,
        })
    }

    async fn go(&mut self, fault: &Fault, terms: &Stage) -> Result<Run, String> {
        let mut addresses = vec![self.balancer.listen];
        addresses.extend(self.second.as_ref().map(|second| second.listen));
        let load = Terms {
            addresses,
            rate: terms.rate,
            deadline: terms.deadline,
            seed: 11,
            mix: Mix::Faults,
        };
        let before = self.settled().await;
        self.start = Start::now();
        let load = Load::start(load, self.start);
        self.phase(&load, terms.pace, 0, &[]).await?;
        let injected = self.start.passed();
        self.phase(&load, terms.pace, 1, fault.acts).await?;
        let healed = self.start.passed();
        for act in fault.heals {
            self.act(*act).await?;
        }
        self.phase(&load, terms.pace, 2, &[]).await?;
        let records = load.end().await;
        self.flood.clear();
        let after = self.rest(before, terms.pace).await;
        let (figures, broken_laws) = self.lawful(records.len()).await?;
        let retried = self.retried(&figures);
        let exit = self.balancer.end().await;
        Ok(Run {
            records,
            samples: std::mem::take(&mut self.samples),
            injected,
            healed,
            before,
            after,
            figures,
            retried,
            exit,
            exit_within: self.exit_within,
            broken_laws,
        })
    }

    /// What it holds once nothing more is added: it listens before all of its threads stand.
    async fn settled(&self) -> Held {
        let mut before = self.balancer.held();
        let mut same = 0;
        while same < 5 {
            tokio::time::sleep(TICK).await;
            let held = self.balancer.held();
            same = if held.descriptors == before.descriptors {
                same + 1
            } else {
                0
            };
            before = held;
        }
        before
    }

    /// Until its time or count is over, with what is done in it.
    async fn phase(
        &mut self,
        load: &Load,
        pace: Pace,
        which: usize,
        acts: &[(u64, Act)],
    ) -> Result<(), String> {
        let (began, done) = (self.start.passed(), load.done());
        let mut left = acts.iter();
        let mut next = left.next();
        loop {
            while let Some((after, act)) = next {
                if self.start.passed() - began < Duration::from_millis(*after) {
                    break;
                }
                self.act(*act).await?;
                next = left.next();
            }
            self.sample().await?;
            let over = match pace {
                Pace::Times(lengths) => self.start.passed() - began >= lengths[which],
                Pace::Counts(counts) => load.done() - done >= counts[which],
            };
            if over && next.is_none() {
                return Ok(());
            }
            let due = self.samples.last().map_or(began, |sample| sample.at) + TICK;
            self.start.until(due).await;
        }
    }

    async fn sample(&mut self) -> Result<(), String> {
        let at = self.start.passed();
        // A page may have to wait for a place like any other connection; a reading does not wait for it.
        let figures = tokio::time::timeout(FLOOD, self.balancer.figures()).await;
        let figures = figures.ok().and_then(Result::ok).unwrap_or_default();
        let mut backends = Vec::new();
        for backend in &mut self.fleet {
            backends.push(backend.read().await);
        }
        let picks = match self.balancer.picks(&figures, &self.addresses()) {
            Some(picks) if !figures.is_empty() => picks,
            // Its page did not come, as with no descriptor left: what it said last.
            Some(_) => match self.samples.last() {
                Some(last) => last.picks.clone(),
                None => return Err("it says nothing of itself".to_owned()),
            },
            None => backends.iter().map(|said| said.asked).collect(),
        };
        self.samples.push(Sample {
            at,
            picks,
            backends,
        });
        Ok(())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.fleet.iter().map(|backend| backend.address).collect()
    }

    fn backend(&mut self, number: usize) -> Result<&mut Backend, String> {
        let backend = self.fleet.get_mut(number);
        backend.ok_or_else(|| format!("there is no backend {number}"))
    }

    async fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Kill(number) => self.backend(number)?.kill().await?,
            Act::Revive(number) => self.backend(number)?.revive().await?,
            Act::Freeze(number) => self.backend(number)?.freeze(true)?,
            Act::Thaw(number) => self.backend(number)?.freeze(false)?,
            Act::Tell(number, line) => {
                self.backend(number)?.tell(line).await?;
            }
            Act::TellAll(line) => {
                for backend in &mut self.fleet {
                    backend.tell(line).await?;
                }
            }
            Act::Lose(number, percent) => {
                let address = self.backend(number)?.address.ip();
                isolation::lose(self.balancer.who.word(), address, percent)?;
            }
            Act::LoseNone => isolation::lose_none(self.balancer.who.word())?,
            Act::Reloads(times) => {
                let addresses = self.addresses();
                for _ in 0..times {
                    self.balancer.reload(&addresses).await?;
                }
            }
            Act::Upgrade => self.exit_within = Some(self.balancer.upgrade().await?),
            Act::Term => {
                self.exit_within = Some(self.balancer.end().await);
                let second = self.second.take().ok_or("there is no second instance")?;
                self.balancer = second;
            }
            Act::Join => {
                let (number, port) = (self.fleet.len(), self.fleet[0].address.port());
                let backend =
                    Backend::start(self.balancer.who as usize, number, port, self.service_ms)
                        .await?;
                self.fleet.push(backend);
                let addresses = self.addresses();
                self.balancer.reload(&addresses).await?;
            }
            Act::Names(mood) => self.names.be(mood),
            Act::Flood(count) => {
                let mut opening = tokio::task::JoinSet::new();
                for _ in 0..count {
                    opening.spawn(TcpStream::connect(self.balancer.listen));
                }
                // Those for which the kernel has no place wait; so long they are waited for.
                let all = tokio::time::timeout(FLOOD, async {
                    while let Some(opened) = opening.join_next().await {
                        self.flood.extend(opened.ok().and_then(Result::ok));
                    }
                });
                let _ = all.await;
            }
            Act::Unflood => self.flood.clear(),
            Act::Clock(text) => {
                let clock = self.folder.join("clock");
                std::fs::write(clock, text).map_err(|error| error.to_string())?;
            }
            Act::Room => isolation::small(&self.folder.join("small"), 64 * 1024, false)?,
        }
        Ok(())
    }

    /// Waits until it holds no more than before, or for long enough. Where counts pace a run, nobody waits.
    async fn rest(&self, before: Held, pace: Pace) -> Held {
        let began = self.start.passed();
        loop {
            let held = self.balancer.held();
            // Others keep theirs for a minute and more.
            let long = self.start.passed() - began >= REST || self.balancer.who != Who::Evenkeel;
            if held.descriptors <= before.descriptors || long || matches!(pace, Pace::Counts(_)) {
                return held;
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// What it tells of itself at rest. It may see the clients' ends a little later than they.
    async fn lawful(&self, offered: usize) -> Result<(Figures, Vec<String>), String> {
        let began = self.start.passed();
        loop {
            let figures = self.balancer.figures().await?;
            let broken = self.laws(&figures, offered);
            if broken.is_empty() || self.start.passed() - began > PATIENCE {
                return Ok((figures, broken));
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// What does not hold at rest of what is told. Evenkeel alone tells enough.
    fn laws(&self, figures: &Figures, offered: usize) -> Vec<String> {
        let mut broken = Vec::new();
        if self.balancer.who != Who::Evenkeel {
            return broken;
        }
        let sum = |name: &str| -> f64 {
            let of = figures.iter().filter(|(key, _)| {
                key.strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
            });
            of.map(|(_, value)| value).sum()
        };
        let in_flight = sum("evenkeel_backend_in_flight");
        if in_flight != 0.0 {
            broken.push(format!(
                "{in_flight} picks neither finished nor were abandoned"
            ));
        }
        let (picks, attempts) = (
            sum("evenkeel_backend_picks_total"),
            sum("evenkeel_attempts_total"),
        );
        if picks != attempts {
            broken.push(format!("{picks} picks, but {attempts} attempts"));
        }
        let (finished, abandoned) = (
            sum("evenkeel_backend_finished_total"),
            sum("evenkeel_backend_abandoned_total"),
        );
        if picks != finished + abandoned + in_flight {
            broken.push(format!(
                "{picks} picks, but {finished} finished, {abandoned} abandoned and {in_flight} in flight"
            ));
        }
        let live = sum("evenkeel_listener_connections");
        let accepted = sum("evenkeel_listener_connections_accepted_total");
        let admitted = sum("evenkeel_listener_connections_admitted_total");
        let closed = sum("evenkeel_listener_connections_closed_total");
        if accepted != admitted || admitted != live + closed {
            broken.push(format!(
                "{accepted} accepted and {admitted} admitted, but {live} live and {closed} closed"
            ));
        }
        if live != 0.0 {
            broken.push(format!("{live} connections live on that have closed"));
        }
        if sum("evenkeel_contained_panics_total") != 0.0 {
            broken.push("it panicked".to_owned());
        }
        let ended = sum("evenkeel_exchanges_total");
        if self.exit_within.is_none() && ended < offered as f64 * 0.5 {
            broken.push(format!("{ended} exchanges of {offered} offered"));
        }
        broken
    }

    fn retried(&self, figures: &Figures) -> Option<u64> {
        let sum = |name: &str| -> f64 {
            let of = figures.iter().filter(|(key, _)| key.starts_with(name));
            of.map(|(_, value)| value).sum()
        };
        match self.balancer.who {
            Who::Evenkeel => {
                let requests = sum("evenkeel_exchanges_total");
                Some((sum("evenkeel_attempts_total") - requests).max(0.0) as u64)
            }
            Who::Haproxy => Some(sum("retries 127.") as u64),
            _ => None,
        }
    }
}
