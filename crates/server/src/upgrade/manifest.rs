//! Owns what goes over, as text: JSON whose unknown fields are passed over and whose missing ones have a meaning, so that an older
//! and a newer process understand each other. Sockets must be understood; what was learned may be lost.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use evenkeel_balance::backend::Admin;
use evenkeel_balance::breaker::Gate;
use evenkeel_balance::carried::{CarriedBackend, CarriedService};
use evenkeel_balance::health::{Active, CheckFault};
use evenkeel_balance::learn::speed::Learned;
use evenkeel_balance::standing::Reason;
use evenkeel_config::plan::Bind;
use evenkeel_control::control::handover::{
    CarriedState, CarriedTickets, Heritage, Inherited, Known,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::passing::TEXT_MOST;

/// What a process is given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) heritage: Heritage,
    /// Admin addresses, by what is served there.
    pub(crate) admin: Vec<Inherited>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Manifest {
    /// In the order of the sockets that come with it.
    listeners: Vec<Group>,
    admin: Vec<Group>,
    state: Value,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Group {
    name: Option<String>,
    /// `192.0.2.1:80` or `unix:/path`.
    bind: String,
    sockets: usize,
    file: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    services: BTreeMap<String, Service>,
    tickets: BTreeMap<String, Tickets>,
    away: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Tickets {
    secrets: Vec<Vec<u8>>,
    sealed_s: f64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Service {
    classes_s: Vec<Option<f32>>,
    wanted: BTreeMap<String, String>,
    drains: bool,
    backends: Vec<Backend>,
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
    warming_s: Option<f64>,
    reason: String,
    fault: Option<String>,
    since_s: f64,
}

/// What goes over, as text, and the sockets that go with it.
pub(crate) fn write(
    listeners: Vec<Inherited>,
    admin: Vec<Inherited>,
    state: &CarriedState,
) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut sockets = Vec::new();
    let mut groups = |all: Vec<Inherited>| -> Vec<Group> {
        let group = |one: Inherited| {
            let group = Group {
                name: one.listener.map(Into::into),
                bind: shown(&one.bind),
                sockets: one.sockets.len(),
                file: one.file,
            };
            sockets.extend(one.sockets);
            group
        };
        all.into_iter().map(group).collect()
    };
    let mut manifest = Manifest {
        listeners: groups(listeners),
        admin: groups(admin),
        state: serde_json::to_value(State::from(state)).unwrap_or_default(),
    };
    let mut text = serde_json::to_vec(&manifest).unwrap_or_default();
    if text.len() > TEXT_MOST {
        // Sockets are worth more.
        manifest.state = Value::Null;
        text = serde_json::to_vec(&manifest).unwrap_or_default();
    }
    (text, sockets)
}

/// Reads it. A state that is not understood is none.
///
/// # Errors
/// It does not say which sockets are which, in words.
pub(super) fn read(text: &[u8], sockets: Vec<OwnedFd>) -> Result<Given, String> {
    let manifest: Manifest = serde_json::from_slice(text)
        .map_err(|error| format!("what is handed over is not understood: {error}"))?;
    let mut sockets = sockets.into_iter();
    let mut inherited = |groups: Vec<Group>| -> Result<Vec<Inherited>, String> {
        let one = |group: Group| {
            let mine: Vec<_> = sockets.by_ref().take(group.sockets).collect();
            if mine.len() != group.sockets || mine.is_empty() {
                return Err(format!("sockets of {} are missing", group.bind));
            }
            Ok(Inherited {
                listener: group.name.map(Into::into),
                bind: bind(&group.bind).ok_or_else(|| format!("{} is no address", group.bind))?,
                sockets: mine,
                file: group.file,
            })
        };
        groups.into_iter().map(one).collect()
    };
    let listeners = inherited(manifest.listeners)?;
    let admin = inherited(manifest.admin)?;
    let state: State = serde_json::from_value(manifest.state).unwrap_or_default();
    Ok(Given {
        heritage: Heritage {
            listeners,
            state: state.into(),
        },
        admin,
    })
}

fn shown(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn bind(text: &str) -> Option<Bind> {
    match text.strip_prefix("unix:") {
        Some(path) => Some(Bind::Unix(path.into())),
        None => text.parse().ok().map(Bind::Tcp),
    }
}

impl From<&CarriedState> for State {
    fn from(state: &CarriedState) -> Self {
        let service = |(name, known): &(String, Known)| {
            let wanted = known.wanted.iter();
            let service = Service {
                classes_s: known.learned.classes.clone(),
                wanted: wanted
                    .map(|(id, admin)| (id.clone(), admin_word(*admin).into()))
                    .collect(),
                drains: known.drains,
                backends: known.learned.backends.iter().map(Backend::from).collect(),
            };
            (name.clone(), service)
        };
        let tickets = |(name, carried): &(String, CarriedTickets)| {
            let tickets = Tickets {
                secrets: carried.all.iter().map(|secret| secret.to_vec()).collect(),
                sealed_s: carried.sealed.as_secs_f64(),
            };
            (name.clone(), tickets)
        };
        Self {
            services: state.services.iter().map(service).collect(),
            tickets: state.tickets.iter().map(tickets).collect(),
            away: state.away.clone(),
        }
    }
}

impl From<State> for CarriedState {
    fn from(state: State) -> Self {
        let service = |(name, service): (String, Service)| {
            let wanted = service.wanted.into_iter();
            let known = Known {
                learned: CarriedService {
                    classes: service.classes_s,
                    backends: service
                        .backends
                        .into_iter()
                        .filter_map(Backend::carried)
                        .collect(),
                },
                wanted: wanted
                    .filter_map(|(id, word)| Some((id, admin(&word)?)))
                    .collect(),
                drains: service.drains,
            };
            (name, known)
        };
        let tickets = |(name, tickets): (String, Tickets)| {
            let secrets = tickets.secrets.into_iter();
            let carried = CarriedTickets {
                all: secrets
                    .filter_map(|secret| secret.try_into().ok())
                    .collect(),
                sealed: length(tickets.sealed_s)?,
            };
            Some((name, carried))
        };
        Self {
            services: state.services.into_iter().map(service).collect(),
            tickets: state.tickets.into_iter().filter_map(tickets).collect(),
            away: state.away,
        }
    }
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
            warming_s: one.warming.map(|passed| passed.as_secs_f64()),
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
            warming: self.warming_s.and_then(length),
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

fn admin_word(admin: Admin) -> &'static str {
    match admin {
        Admin::Enabled => "enabled",
        Admin::Draining => "draining",
        Admin::Disabled => "disabled",
    }
}

fn admin(word: &str) -> Option<Admin> {
    let all = [Admin::Enabled, Admin::Draining, Admin::Disabled];
    all.into_iter().find(|one| admin_word(*one) == word)
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
