//! What `cargo xtask counts` weighs: picks that are answered and finished, or checks, or ticks, so many of one kind, and nothing else.
//!
//! `count --list` names the rows; `count <name> <repetitions>` runs one of them.
#![expect(clippy::print_stdout, reason = "the rows are its output")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::ask::{Ask, Tried};
use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::health::{CheckReport, CheckResult};
use evenkeel_balance::hedge::{HedgeAt, HedgeSettings, Quantile};
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::service::{Service, TICK};
use evenkeel_balance::settings::{ActiveSettings, PolicyChoice, ServiceSettings, ZoneSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Outcome, Verdict};
use evenkeel_balance::zone::Zone;

/// By whom a pick is asked for.
#[derive(Clone, Copy)]
enum Way {
    /// [`Service::pick`], as a program does.
    Service,
    /// `Handle::pick`, as a worker does.
    Handle,
    /// As a worker does after a failed attempt.
    Again,
    /// As a worker does when every backend has as many in flight as it may.
    Refused,
}

/// What nobody picks for.
#[derive(Clone, Copy)]
enum Beside {
    /// A check of a backend that stays up.
    Check,
    /// A tick of a service that is at rest.
    Rest,
    /// A tick behind one pick.
    Tick,
}

/// What service it is asked of.
#[derive(Clone, Copy)]
enum Shape {
    /// All alike, every setting at its default.
    Plain,
    /// Half of its backends stand by in a second tier.
    Tiers,
    /// Its backends are of two zones, and it is in one of them.
    Zones,
    /// What an attempt would be hedged by is learned.
    Hedged,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "handle",
            Self::Tiers => "tiers",
            Self::Zones => "zones",
            Self::Hedged => "hedged",
        }
    }

    fn settings(self, policy: PolicyChoice) -> ServiceSettings {
        let settings = ServiceSettings::with_policy(policy);
        match self {
            Self::Plain | Self::Tiers => settings,
            Self::Zones => settings.zones(ZoneSettings::default().local(Some(Zone::from("near")))),
            Self::Hedged => settings.hedge(
                Quantile::new(990)
                    .map(HedgeAt::Quantile)
                    .map(HedgeSettings::at),
            ),
        }
    }

    fn backend(self, at: usize, backends: usize) -> BackendSpec {
        let backend = BackendSpec::new(format!("backend-{at}"));
        match self {
            Self::Plain | Self::Hedged => backend,
            Self::Tiers => backend.tier(u16::from(at >= backends / 2)),
            Self::Zones => backend.zone(["near", "far"][at % 2]),
        }
    }
}

/// `2^64 / golden ratio`: multiples of it are spread evenly, and cost one instruction.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

struct Row {
    name: String,
    what: What,
    backends: usize,
}

enum What {
    Pick(Asked),
    Beside(Beside),
}

struct Asked {
    way: Way,
    shape: Shape,
    policy: PolicyChoice,
}

fn rows() -> Vec<Row> {
    use PolicyChoice::{Adaptive, RoundRobin};
    let mut rows: Vec<Row> = plain_rows()
        .into_iter()
        .map(|(name, way, policy, backends)| pick(name, way, Shape::Plain, policy, backends))
        .collect();
    for shape in [Shape::Tiers, Shape::Zones, Shape::Hedged] {
        for policy in [Adaptive, RoundRobin] {
            let name = format!("{}/{}/20", shape.name(), policy.name());
            rows.push(pick(name, Way::Handle, shape, policy, 20));
        }
    }
    let beside = |name: &str, beside, backends| Row {
        name: name.to_owned(),
        what: What::Beside(beside),
        backends,
    };
    // The first two are to cost the same however many backends there are.
    rows.push(beside("check/10000", Beside::Check, 10_000));
    rows.push(beside("rest/10000", Beside::Rest, 10_000));
    rows.push(beside("tick/100", Beside::Tick, 100));
    rows
}

fn pick(name: String, way: Way, shape: Shape, policy: PolicyChoice, backends: usize) -> Row {
    Row {
        name,
        what: What::Pick(Asked { way, shape, policy }),
        backends,
    }
}

fn plain_rows() -> Vec<(String, Way, PolicyChoice, usize)> {
    use PolicyChoice::{Adaptive, RoundRobin};
    let mut rows = Vec::new();
    for policy in PolicyChoice::BUILT_IN {
        rows.push((
            format!("{}/{}/20", Shape::Plain.name(), policy.name()),
            Way::Handle,
            policy,
            20,
        ));
    }
    for backends in [3, 100, 1000] {
        rows.push((
            format!("handle/adaptive/{backends}"),
            Way::Handle,
            Adaptive,
            backends,
        ));
    }
    rows.push((
        "handle/round_robin/1000".to_owned(),
        Way::Handle,
        RoundRobin,
        1000,
    ));
    rows.push(("service/adaptive/20".to_owned(), Way::Service, Adaptive, 20));
    rows.push((
        "service/round_robin/20".to_owned(),
        Way::Service,
        RoundRobin,
        20,
    ));
    rows.push(("again/adaptive/20".to_owned(), Way::Again, Adaptive, 20));
    for policy in [Adaptive, RoundRobin] {
        rows.push((
            format!("refused/{}/1000", policy.name()),
            Way::Refused,
            policy,
            1000,
        ));
    }
    rows
}

/// Ticks as far apart as this find nothing that the one before left.
const LONG: Duration = Duration::from_secs(20);

/// Checks of members in turn, or ticks.
fn run_beside(beside: Beside, backends: usize, repetitions: u64) -> Result<(), Box<dyn Error>> {
    let names = (0..backends).map(|at| format!("backend-{at}"));
    let specs: Vec<_> = names.map(BackendSpec::new).collect();
    let ids: Vec<_> = specs.iter().map(|spec| spec.id.clone()).collect();
    let settings = ServiceSettings::default().health(ActiveSettings::default());
    let service = Service::new("count", settings, specs, Arc::new(()), Instant::ZERO)?;
    let passed = |at| CheckReport::new(CheckResult::Passed, at);
    let mut now = Instant::ZERO + LONG;
    service.check_many(ids.iter().map(|id| (id, passed(now))), now);
    for _ in 0..10 {
        now = now + LONG;
        service.tick(now);
    }
    for id in ids.iter().cycle().take(usize::try_from(repetitions)?) {
        now = now + TICK;
        match beside {
            Beside::Check => service.check(id, passed(now), now)?,
            Beside::Tick => {
                service
                    .pick(&Ask::new(0), now)?
                    .finish(Outcome::Completed, now);
                service.tick(now);
            }
            Beside::Rest => service.tick(now),
        }
    }
    Ok(())
}

fn run(asked: &Asked, backends: usize, repetitions: u64) -> Result<(), Box<dyn Error>> {
    let way = asked.way;
    let one = u32::from(matches!(way, Way::Refused));
    let backends = (0..backends)
        .map(|at| asked.shape.backend(at, backends).max_in_flight(one))
        .collect();
    let service = Service::new(
        "count",
        asked.shape.settings(asked.policy.clone()),
        backends,
        Arc::new(()),
        Instant::ZERO,
    )?;
    let handle = service.handle(1);
    let mut tried = Tried::default();
    let first = service.pick(&Ask::new(0), Instant::ZERO)?;
    tried.insert(first.backend());
    first.finish(
        Outcome::Completed,
        Instant::ZERO + Duration::from_micros(500),
    );
    service.tick(Instant::from_nanos(1));
    let mut held = Vec::new();
    while one > 0
        && let Ok(pick) = service.pick(&Ask::new(0), Instant::ZERO)
    {
        held.push(pick);
    }
    for exchange in 1..=repetitions {
        let now = Instant::from_nanos(exchange * 1_000);
        let (head, end) = (
            now + Duration::from_nanos(500),
            now + Duration::from_nanos(700),
        );
        let ask = Ask::new(exchange.wrapping_mul(SPREAD)).key(exchange);
        match way {
            Way::Service => {
                let mut pick = service.pick(&ask, now)?;
                pick.answered(Verdict::Success, head);
                pick.finish(Outcome::Completed, end);
            }
            Way::Handle | Way::Again | Way::Refused => {
                let ask = if matches!(way, Way::Again) {
                    ask.tried(&tried)
                } else {
                    ask
                };
                let mut pick = match handle.pick(&ask, now) {
                    Err(Refusal::AllFull) if matches!(way, Way::Refused) => continue,
                    other => other?,
                };
                pick.answered(Verdict::Success, head);
                pick.finish(Outcome::Completed, end);
            }
        }
    }
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => rows().iter().for_each(|row| println!("{}", row.name)),
        [name, repetitions] => {
            let row = rows().into_iter().find(|row| row.name == name);
            let row = row.ok_or_else(|| format!("there is no row `{name}`"))?;
            let repetitions = repetitions.parse()?;
            match &row.what {
                What::Pick(asked) => run(asked, row.backends, repetitions)?,
                What::Beside(beside) => run_beside(*beside, row.backends, repetitions)?,
            }
        }
        _ => {
            println!("usage: count --list | count <name> <repetitions>");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
