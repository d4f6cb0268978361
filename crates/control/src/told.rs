//! Owns what is logged of the core's events: what an operator wants to read, with its fields.

use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_balance::event::{Event, EventKind, LimitEnd, Listener, Withheld};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use evenkeel_watch::alert::Alert;
use evenkeel_watch::metric::Metric;
use evenkeel_watch::threshold::Severity;
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

use crate::certificates::{End, Kind};
use crate::command::{Came, Command, Done};
use crate::drains::Cut;
use crate::events::{Chronicle, What};
use crate::names::{News, What as OfName};
use crate::snapshot::{fault_word, reason};

/// Lines about single backends that mean no trouble, in a second: a zone may change a thousand members with each answer.
const CROWD_MOST: u32 = 100;

/// Logs each event, and passes the wish for a tick on.
#[derive(Debug, Default)]
pub struct Told {
    crowd: Mutex<Crowd>,
    wanted: Arc<Notify>,
}

/// How much was said in the second that runs.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    second: u64,
    said: u32,
}

/// Whether a line of many is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    It,
    /// That there are more.
    More,
    Nothing,
}

impl Crowd {
    /// Of one more, of which `most` are said in a second.
    pub(crate) fn says(&mut self, at: Instant, most: u32) -> Says {
        let second = at.as_nanos() / 1_000_000_000;
        if second != self.second {
            *self = Self { second, said: 0 };
        }
        self.said = self.said.saturating_add(1);
        match self.said {
            said if said <= most => Says::It,
            said if said == most + 1 => Says::More,
            _ => Says::Nothing,
        }
    }
}

impl Told {
    /// Notified when a tick before its time would help: a breaker is to open, and until then every pick of its backend costs a retry.
    #[must_use]
    pub fn wanted(&self) -> Arc<Notify> {
        self.wanted.clone()
    }

    /// Whether there is room for one more line of what comes in crowds.
    fn is_said(&self, at: Instant) -> bool {
        let mut crowd = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        let says = crowd.says(at, CROWD_MOST);
        drop(crowd);
        if says == Says::More {
            info!("more happens to backends within a second than is said");
        }
        says == Says::It
    }
}

impl Listener for Told {
    fn tick_wanted(&self) {
        self.wanted.notify_one();
    }

    fn hear(&self, event: &Event) {
        let service = &*event.service;
        if is_of_many(&event.kind) && !self.is_said(event.at) {
            return;
        }
        match &event.kind {
            EventKind::StandingChanged {
                backend,
                from,
                to,
                reason: why,
            } => {
                let (backend, from, reason) = (backend.as_str(), from.word(), reason(*why));
                let standing = to.word();
                if matches!(to, Standing::Down | Standing::Ejected) {
                    warn!(service, backend, from, standing, reason, "backend is out");
                } else {
                    info!(
                        service,
                        backend, from, standing, reason, "backend's standing changed"
                    );
                }
            }
            EventKind::AllDown {
                fail_open,
                healthy,
                members,
            } => all_down(service, *fail_open, (*healthy, *members)),
            EventKind::Recovered { after } => {
                info!(
                    service,
                    after_s = after.as_secs_f64(),
                    "backends of the service are healthy again"
                );
            }
            EventKind::RetryBudgetSpent { refused } => {
                warn!(
                    service,
                    refused, "retries are refused: their budget is spent"
                );
            }
            EventKind::BreakerWithheld { backend, why } => {
                let why = match why {
                    Withheld::Cap => "cap",
                    Withheld::MedianFails => "median_fails",
                };
                warn!(
                    service,
                    backend = backend.as_str(),
                    why,
                    "backend fails and stays in"
                );
            }
            EventKind::PolicyFailed { policy } => {
                error!(
                    service,
                    policy = &**policy,
                    "the policy failed: round robin stands in"
                );
            }
            kind => lesser(service, kind),
        }
    }
}

/// So many are healthy, of so many.
fn all_down(service: &str, fail_open: bool, (healthy, members): (usize, usize)) {
    match healthy {
        0 => error!(
            service,
            fail_open, members, "no backend of the service is healthy"
        ),
        _ => error!(
            service,
            fail_open, healthy, members, "too few backends of the service are healthy"
        ),
    }
}

/// What comes once per backend and is no trouble.
pub(crate) fn is_of_many(kind: &EventKind) -> bool {
    match kind {
        EventKind::BackendAdded { .. }
        | EventKind::BackendRemoved { .. }
        | EventKind::BackendUpdated { .. }
        | EventKind::Drained { .. } => true,
        EventKind::StandingChanged { to, .. } => !matches!(to, Standing::Down | Standing::Ejected),
        _ => false,
    }
}

/// What is no trouble.
fn lesser(service: &str, kind: &EventKind) {
    match kind {
        EventKind::BackendAdded { backend, standing } => {
            let standing = standing.word();
            info!(
                service,
                backend = backend.as_str(),
                standing,
                "backend joins"
            );
        }
        EventKind::BackendRemoved { backend, in_flight } => {
            info!(
                service,
                backend = backend.as_str(),
                in_flight,
                "backend leaves"
            );
        }
        EventKind::BackendUpdated {
            backend, weight, ..
        } => {
            info!(
                service,
                backend = backend.as_str(),
                weight,
                "backend changes"
            );
        }
        EventKind::TierChanged { from, to } => {
            info!(
                service,
                from,
                tier = to,
                "another tier of the service serves"
            );
        }
        EventKind::SettingsChanged { policy } => {
            info!(service, policy = &**policy, "service's settings change");
        }
        EventKind::Drained { backend } => {
            info!(service, backend = backend.as_str(), "backend is drained");
        }
        EventKind::LimitReached {
            backend,
            end: LimitEnd::Least,
            limit,
        } => warn!(
            service,
            backend = backend.as_str(),
            limit,
            "backend is slow with as few attempts as its adaptive limit goes down to"
        ),
        EventKind::LimitReached { backend, limit, .. } => info!(
            service,
            backend = backend.as_str(),
            limit,
            "backend has as many attempts as its adaptive limit goes up to"
        ),
        kind => detail(service, kind),
    }
}

/// What only who looks for something wants to read.
fn detail(service: &str, kind: &EventKind) {
    match kind {
        EventKind::ServiceStarted { members } => debug!(service, members, "service begins"),
        EventKind::ServiceStopped { members, in_flight } => {
            debug!(service, members, in_flight, "service ends");
        }
        EventKind::BreakerOpened {
            backend, failures, ..
        } => debug!(
            service,
            backend = backend.as_str(),
            failures,
            "breaker opens"
        ),
        EventKind::BreakerHalfOpened { backend, trials } => {
            debug!(
                service,
                backend = backend.as_str(),
                trials,
                "breaker admits trials"
            );
        }
        EventKind::BreakerClosed { backend } => {
            debug!(service, backend = backend.as_str(), "breaker closes");
        }
        EventKind::Checked {
            backend,
            latency,
            fault,
            failures,
            ..
        } => {
            let fault = fault.map_or_else(|| "none".into(), fault_word);
            let latency_ms = latency.as_secs_f64() * 1000.0;
            debug!(
                service,
                backend = backend.as_str(),
                latency_ms,
                fault,
                failures,
                "check ended"
            );
        }
        // Those of single attempts are not asked for; exchanges stand in the access log.
        _ => {}
    }
}

/// Logs what happened to a name that stands for backends.
pub fn name(news: &News) {
    let name = news.question.to_string();
    match news.what {
        OfName::Moved { all, joined, left } => {
            info!(name, all, joined, left, "name has other addresses");
        }
        OfName::Failed { fault, kept } => warn!(
            name,
            reason = fault.word(),
            kept,
            "name cannot be looked up; its last addresses stay"
        ),
        OfName::Mended => info!(name, "name is looked up again"),
    }
}

/// Logs that an operator's command was obeyed.
pub(crate) fn command(command: &Command, came: &Came, by: &str) {
    match (command, came) {
        (_, Came::State(done)) => {
            let (state, changed) = (done.state, done.changed);
            match command {
                Command::Backend {
                    service, backend, ..
                } => info!(service, backend, state, changed, by, "operator: backend"),
                Command::Service { service, .. } => {
                    info!(service, state, changed, by, "operator: service");
                }
                Command::Listener { listener, .. } => {
                    info!(listener, state, changed, by, "operator: listener");
                }
                _ => {}
            }
        }
        (_, Came::Taken(taken)) => {
            let (what, more) = (taken.words.what.join("; "), taken.words.more);
            info!(what, more, by, "operator: configuration");
        }
        (
            Command::Verdict {
                service,
                backend,
                healthy,
                within,
            },
            _,
        ) => {
            let verdict = match healthy {
                Some(true) => "up",
                Some(false) => "down",
                None => "withdrawn",
            };
            let for_s = within.map(|within| within.as_secs_f64());
            info!(service, backend, verdict, for_s, by, "operator: verdict");
        }
        (Command::Acknowledge(alert), _) => info!(alert, by, "operator: alert taken note of"),
        (Command::Silence(quiet), Came::Acted(silence)) => {
            let (service, backend) = (quiet.service.as_deref(), quiet.backend.as_deref());
            let (for_s, why) = (quiet.within.as_secs_f64(), &*quiet.why);
            info!(
                silence,
                service, backend, for_s, why, by, "operator: alerts silenced"
            );
        }
        (Command::Lift(silence), _) => info!(silence, by, "operator: silence ended"),
        (Command::TellAgain(letter), _) => {
            info!(
                letter,
                by, "operator: dead letter of a webhook is told again"
            );
        }
        (Command::Check(service), Came::Acted(backends)) => {
            info!(service, backends, by, "operator: checks now");
        }
        (Command::Adjust(service), Came::Acted(weights)) => {
            info!(service, weights, by, "operator: weights are adjusted now");
        }
        (Command::Forget(service), Came::Acted(clients)) => {
            info!(service, clients, by, "operator: clients are forgotten");
        }
        _ => info!(by, "operator: the access log is opened anew"),
    }
}

/// What is wanted by a command, in words of a revision.
pub(crate) fn wish(command: &Command, done: &Done) -> String {
    let state = done.state;
    match command {
        Command::Backend {
            service, backend, ..
        } => format!("service {service}: backend {backend} is {state}"),
        Command::Service { service, .. } => format!("service {service} is {state}"),
        Command::Listener { listener, .. } => format!("listener {listener} is {state}"),
        _ => state.to_owned(),
    }
}

/// Logs and writes down that a drain has taken too long, if anything is left to cut.
pub(crate) fn cut(cut: &Cut, chronicle: &Chronicle) {
    let connections = cut.backend.sockets.open();
    if connections > 0 {
        let backend = cut.backend.id.as_str().into();
        chronicle.write(What::DrainCut(cut.service.clone(), backend, connections));
        warn!(
            service = &*cut.service,
            backend = cut.backend.id.as_str(),
            connections,
            "the drain's deadline has passed: what is left on the backend is cut"
        );
    }
}

/// Logs that something is wrong, or right again, by what the instance sees of itself.
pub(crate) fn alert(alert: &Alert) {
    let (service, backend) = (&*alert.service, alert.backend.as_deref());
    let (kind, metric) = (alert.kind.name(), alert.kind.metric().map(Metric::name));
    let number = alert.number;
    if let Some(cleared) = alert.cleared {
        let after_s = cleared.millis_since(alert.since) / 1000;
        info!(
            service,
            backend, kind, metric, number, after_s, "alert is over"
        );
        return;
    }
    let (value, limit) = alert.evidence.map(|seen| (seen.value, seen.limit)).unzip();
    match alert.severity {
        Severity::Critical => {
            error!(
                service,
                backend, kind, metric, number, value, limit, "alert"
            );
        }
        _ => warn!(
            service,
            backend, kind, metric, number, value, limit, "alert"
        ),
    }
}

/// Logs that a certificate comes nearer to its end, or that a list of revoked ones is late.
pub(crate) fn end(end: &End) {
    if end.kind == Kind::List {
        let (listener, crl) = (&*end.listener, &*end.file);
        warn!(
            listener,
            crl,
            "the list of revoked certificates was to be replaced by now: it holds on, and who was revoked since is let in"
        );
        return;
    }
    let (listener, certificate) = (&*end.listener, &*end.file);
    let days_left = end.seconds_left.div_euclid(24 * 60 * 60);
    match end.seconds_left {
        ..=0 => error!(
            listener,
            certificate, "the certificate has expired: clients refuse it"
        ),
        _ => warn!(
            listener,
            certificate, days_left, "the certificate expires soon and is not renewed"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_many_lines_in_a_second_some_are_said_and_that_there_are_more() {
        let mut crowd = Crowd::default();
        for second in 0..3 {
            let at = Instant::ZERO + Duration::from_secs(second);
            let said: Vec<_> = (0..CROWD_MOST + 3)
                .map(|_| crowd.says(at, CROWD_MOST))
                .collect();
            let all = said.iter().filter(|says| **says == Says::It);
            assert_eq!(all.count(), 100);
            assert_eq!(said[100..], [Says::More, Says::Nothing, Says::Nothing]);
        }
    }
}
