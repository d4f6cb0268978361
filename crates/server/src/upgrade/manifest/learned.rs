//! Owns what was learned, as lines of JSON: the keys of tickets and cookies, then services and their backends, those first whose standing somebody
//! or something has changed. Each line is understood on its own.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use evenkeel_balance::breaker::Gate;
use evenkeel_balance::carried::{CarriedBackend, CarriedLimit, CarriedService};
use evenkeel_balance::health::{Active, CheckFault};
use evenkeel_balance::learn::speed::Learned;
use evenkeel_balance::load::CarriedLoad;
use evenkeel_balance::standing::Reason;
use evenkeel_control::control::handover::{CarriedClient, CarriedState, CarriedTickets};
use serde::{Deserialize, Serialize};

/// Bytes of all lines: 100,000 backends take some 30 MiB.
const LEARNED_MOST: usize = 64 * 1024 * 1024;

/// Bytes of one line: a backend with the longest of identities, or the latencies of all classes.
const LINE_MOST: usize = 1024 * 1024;

/// Clients of one line.
const CLIENTS: usize = 1000;

/// One of them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    then_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tickets: Option<Tickets>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes_s: Option<Vec<Option<f32>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hedges_s: Vec<Option<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_classes_s: Option<Vec<Option<f32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<Backend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity: Option<Vec<u8>>,
    /// Who in hexadecimal, the identity of the backend, and milliseconds that are left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clients: Vec<(String, u64, u64)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Tickets {
    listener: String,
    secrets: Vec<Vec<u8>>,
    sealed_s: f64,
}

/// Words are those of logs and metrics.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Backend {
    id: String,
    checked: String,
    hand: Option<bool>,
    hand_left_s: Option<f64>,
    gate: String,
    next_s: f64,
    openings: u32,
    consecutive: u32,
    latency_s: Option<f32>,
    slowness: Option<f32>,
    failing: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_ease: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trust: Option<f32>,
    warming_s: Option<f64>,
    load: Option<Load>,
    reason: String,
    fault: Option<String>,
    since_s: f64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Load {
    capacity: Option<f32>,
    factor: f32,
    reporting_s: f64,
    age_s: f64,
}

impl From<CarriedLoad> for Load {
    fn from(carried: CarriedLoad) -> Self {
        Self {
            capacity: carried.capacity,
            factor: carried.factor,
            reporting_s: carried.reporting.as_secs_f64(),
            age_s: carried.age.as_secs_f64(),
        }
    }
}

impl Load {
    fn carried(&self) -> Option<CarriedLoad> {
        Some(CarriedLoad {
            capacity: self.capacity,
            factor: self.factor,
            reporting: length(self.reporting_s)?,
            age: length(self.age_s)?,
        })
    }
}

/// Writes as much as there is room for, and an end. Says how many backends and services were left out.
///
/// # Errors
/// The other end does not take it.
pub(crate) fn write(to: &mut impl Write, state: &CarriedState) -> io::Result<usize> {
    write_within(LEARNED_MOST, to, state)
}

fn write_within(most: usize, to: &mut impl Write, state: &CarriedState) -> io::Result<usize> {
    let (mut left, mut out) = (most, 0);
    let mut line = |line: &Line| -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        if text.len() > left.min(LINE_MOST) {
            out += 1;
            return Ok(());
        }
        left -= text.len();
        to.write_all(&text)
    };
    line(&Line {
        then_ns: u64::try_from(state.then.as_nanos()).ok(),
        ..Line::default()
    })?;
    for (listener, carried) in &state.tickets {
        line(&Line {
            tickets: Some(Tickets {
                listener: listener.clone(),
                secrets: carried.all.iter().map(|secret| secret.to_vec()).collect(),
                sealed_s: carried.sealed.as_secs_f64(),
            }),
            ..Line::default()
        })?;
    }
    if let Some(key) = &state.affinity {
        line(&Line {
            affinity: Some(key.to_vec()),
            ..Line::default()
        })?;
    }
    for (service, learned) in &state.services {
        line(&Line {
            service: Some(service.clone()),
            classes_s: Some(learned.classes.clone()),
            first_classes_s: Some(learned.first_classes.clone()),
            hedges_s: learned.hedges.clone(),
            ..Line::default()
        })?;
    }
    for marked in [true, false] {
        for (service, learned) in &state.services {
            let backends = learned.backends.iter();
            for one in backends.filter(|one| is_marked(one) == marked) {
                line(&Line {
                    service: Some(service.clone()),
                    backend: Some(one.into()),
                    ..Line::default()
                })?;
            }
        }
    }
    for (service, clients) in &state.clients {
        for some in clients.chunks(CLIENTS) {
            line(&Line {
                service: Some(service.clone()),
                clients: some.iter().map(client_text).collect(),
                ..Line::default()
            })?;
        }
    }
    to.write_all(b"\n")?;
    to.flush()?;
    Ok(out)
}

fn client_text(one: &CarriedClient) -> (String, u64, u64) {
    let left = u64::try_from(one.left.as_millis()).unwrap_or(u64::MAX);
    (format!("{:x}", one.client), one.backend, left)
}

fn client((client, backend, left): (String, u64, u64)) -> Option<CarriedClient> {
    Some(CarriedClient {
        client: u128::from_str_radix(&client, 16).ok()?,
        backend,
        left: Duration::from_millis(left),
    })
}

/// Whether more is lost with it than a mean.
fn is_marked(one: &CarriedBackend) -> bool {
    one.hand.is_some() || one.gate != Gate::Closed || one.checked == Active::Down
}

/// What came of reading it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Came {
    /// Lines that were not understood.
    pub(crate) lost: usize,
    /// It came to its end.
    pub(crate) whole: bool,
}

/// Reads it into `state`, as far as it comes: what must be known is known already, and the process before this one may be dead.
pub(crate) fn read(from: &mut impl BufRead, state: &mut CarriedState) -> Came {
    let mut services: BTreeMap<String, CarriedService> = BTreeMap::new();
    let (mut left, mut came) = (LEARNED_MOST + LINE_MOST, Came::default());
    let mut text = Vec::new();
    loop {
        text.clear();
        let most = left.min(LINE_MOST) as u64;
        let Ok(read) = from.by_ref().take(most).read_until(b'\n', &mut text) else {
            break;
        };
        left -= read;
        match &*text {
            b"\n" => {
                came.whole = true;
                break;
            }
            [line @ .., b'\n'] => came.lost += usize::from(!take(line, &mut services, state)),
            _ => break,
        }
    }
    state.services = services.into_iter().collect();
    came
}

/// Takes one in. False: it is not understood.
fn take(
    line: &[u8],
    services: &mut BTreeMap<String, CarriedService>,
    state: &mut CarriedState,
) -> bool {
    let Ok(line) = serde_json::from_slice::<Line>(line) else {
        return false;
    };
    if let Some(then) = line.then_ns {
        state.then = Duration::from_nanos(then);
    }
    if let Some(tickets) = line.tickets {
        let secrets = tickets.secrets.into_iter();
        let Some(sealed) = length(tickets.sealed_s) else {
            return false;
        };
        let carried = CarriedTickets {
            all: secrets
                .filter_map(|secret| secret.try_into().ok())
                .collect(),
            sealed,
        };
        state.tickets.push((tickets.listener, carried));
    }
    if let Some(key) = line.affinity {
        let Ok(key) = key.try_into() else {
            return false;
        };
        state.affinity = Some(key);
    }
    let Some(service) = line.service else {
        return true;
    };
    if !line.clients.is_empty() {
        let clients: Option<Vec<_>> = line.clients.into_iter().map(client).collect();
        let Some(clients) = clients else {
            return false;
        };
        state.clients.push((service, clients));
        return true;
    }
    let service = services.entry(service).or_default();
    if let Some(classes) = line.classes_s {
        service.classes = classes;
        service.hedges = line.hedges_s;
    }
    if let Some(first) = line.first_classes_s {
        service.first_classes = first;
    }
    match line.backend.map(Backend::carried) {
        Some(Some(backend)) => service.backends.push(backend),
        Some(None) => return false,
        None => {}
    }
    true
}

impl From<&CarriedBackend> for Backend {
    fn from(one: &CarriedBackend) -> Self {
        let fault = match one.reason {
            Reason::ChecksFailed(fault) => Some(fault_word(fault)),
            _ => None,
        };
        let (hand, left) = one.hand.unzip();
        Self {
            id: one.id.clone(),
            checked: checked_word(one.checked).into(),
            hand,
            hand_left_s: left.flatten().map(|left| left.as_secs_f64()),
            gate: gate_word(one.gate).into(),
            next_s: one.next.as_secs_f64(),
            openings: one.openings,
            consecutive: one.consecutive,
            latency_s: one.latency,
            slowness: Some(one.learned.slowness),
            failing: Some(one.learned.failing),
            limit: one.limit.map(|limit| limit.wanted),
            limit_ease: one.limit.and_then(|limit| limit.ease),
            trust: one.trust,
            warming_s: one.warming.map(|passed| passed.as_secs_f64()),
            load: one.load.map(Load::from),
            reason: one.reason.word().into(),
            fault,
            since_s: one.since.as_secs_f64(),
        }
    }
}

impl Backend {
    /// None: a word of it is unknown, so that the rest cannot be believed.
    fn carried(self) -> Option<CarriedBackend> {
        let left = self.hand_left_s.map(length);
        let reason = *Reason::ALL
            .iter()
            .find(|reason| reason.word() == self.reason)?;
        Some(CarriedBackend {
            id: self.id,
            checked: [Active::Unproven, Active::Up, Active::Down]
                .into_iter()
                .find(|one| checked_word(*one) == self.checked)?,
            hand: match (self.hand, left) {
                (Some(healthy), None) => Some((healthy, None)),
                (Some(healthy), Some(left)) => Some((healthy, Some(left?))),
                (None, _) => None,
            },
            gate: [Gate::Closed, Gate::Open, Gate::HalfOpen]
                .into_iter()
                .find(|one| gate_word(*one) == self.gate)?,
            next: length(self.next_s)?,
            openings: self.openings,
            consecutive: self.consecutive,
            latency: self.latency_s,
            learned: Learned {
                slowness: self.slowness.unwrap_or(1.0),
                failing: self.failing.unwrap_or(0.0),
            },
            limit: self.limit.map(|wanted| CarriedLimit {
                wanted,
                ease: self.limit_ease,
            }),
            trust: self.trust,
            warming: self.warming_s.and_then(length),
            load: self.load.as_ref().and_then(Load::carried),
            reason: match reason {
                Reason::ChecksFailed(_) => Reason::ChecksFailed(fault(self.fault.as_deref())),
                other => other,
            },
            since: length(self.since_s)?,
        })
    }
}

fn length(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn checked_word(checked: Active) -> &'static str {
    match checked {
        Active::Unproven => "unproven",
        Active::Up => "up",
        Active::Down => "down",
    }
}

fn gate_word(gate: Gate) -> &'static str {
    match gate {
        Gate::Closed => "closed",
        Gate::Open => "open",
        Gate::HalfOpen => "half_open",
    }
}

/// What a check failed by; those of other protocols lose their own word.
const FAULTS: [(&str, CheckFault); 5] = [
    ("timeout", CheckFault::Timeout),
    ("refused", CheckFault::Refused),
    ("reset", CheckFault::Reset),
    ("mismatch", CheckFault::Mismatch),
    ("malformed", CheckFault::Malformed),
];

fn fault_word(fault: CheckFault) -> String {
    match fault {
        CheckFault::Status(status) => format!("status {status}"),
        fault => {
            let known = FAULTS.iter().find(|(_, one)| *one == fault);
            known.map_or("other", |(word, _)| word).into()
        }
    }
}

fn fault(word: Option<&str>) -> CheckFault {
    let word = word.unwrap_or_default();
    let status = word
        .strip_prefix("status ")
        .and_then(|status| status.parse().ok());
    let known = FAULTS.iter().find(|(one, _)| *one == word);
    let known = known.map_or(CheckFault::Other, |(_, fault)| *fault);
    status.map_or(known, CheckFault::Status)
}

#[cfg(test)]
mod tests;
