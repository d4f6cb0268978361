//! Owns what there is to tell of an instance: the core's events and the control plane's own, each with its kind in one word, how bad it is,
//! and its facts as plain values.
//!
//! Events of single exchanges are none: they are counted, and stand in the access log.

use std::sync::Arc;

use evenkeel_balance::event::{Event, EventKind, LimitEnd, Withheld};
use evenkeel_balance::standing::Standing;

use crate::certificates::{End, Kind as Ends};
use crate::command::{Came, Command, word};
use crate::names::{News, What as OfName};
use crate::snapshot::{fault_word, reason};

/// All kinds. Their words are a promise.
pub const KINDS: [&str; 36] = [
    "started",
    "draining",
    "reloaded",
    "reload_refused",
    "configuration_changed",
    "upgrade_begun",
    "upgrade_refused",
    "upgraded",
    "worker_replaced",
    "service_started",
    "service_stopped",
    "settings_changed",
    "all_down",
    "recovered",
    "tier_changed",
    "policy_failed",
    "retry_budget_spent",
    "backend_added",
    "backend_removed",
    "backend_updated",
    "standing_changed",
    "check_failed",
    "breaker_opened",
    "breaker_half_opened",
    "breaker_closed",
    "breaker_withheld",
    "limit_reached",
    "drained",
    "drain_cut",
    "commanded",
    "certificate_ends",
    "revocations_late",
    "name_moved",
    "name_failed",
    "name_mended",
    "more_happened",
];

/// Characters of a text in words, at most.
const DETAIL_MOST: usize = 2048;

/// How bad it is, as in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It is as it should be.
    Info,
    /// Somebody should look.
    Warning,
    /// Requests are lost, or will be.
    Error,
}

impl Level {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// To a service, as the core tells it.
    Core(Arc<str>, EventKind),
    /// The process takes connections.
    Started,
    /// The process ends: it is not ready any more.
    Draining,
    /// Another configuration was taken; what changed, in words.
    Reloaded(String),
    /// One was not, and why.
    ReloadRefused(String),
    /// Something of the configuration was changed beside its texts, or all is as it was once: what changed, in words.
    Changed(String),
    /// Another process is started to take over.
    UpgradeBegun,
    /// It did not take over, and why.
    UpgradeRefused(String),
    /// It did, with this id.
    Upgraded(u32),
    /// A worker died, and another one of its number took its place.
    WorkerReplaced(usize),
    /// An operator's command was obeyed: what it is about, and what is wanted now.
    Commanded(Wanted, &'static str),
    /// A drain took too long: so many connections to a backend of a service were cut.
    DrainCut(Arc<str>, Arc<str>, usize),
    /// A certificate comes nearer to its end, or a list of revoked ones is late: the listener, the file, the seconds that are left.
    CertificateEnds(Arc<str>, Box<str>, i64),
    /// A list of revoked certificates was to be replaced by now.
    RevocationsLate(Arc<str>, Box<str>),
    /// More came about within a second, to single backends and none of it trouble, than is told.
    MoreHappened,
    /// Something happened to a name that stands for backends.
    Name(Arc<str>, NameNews),
}

/// Of what an operator wants something.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    service: Option<Arc<str>>,
    backend: Option<Arc<str>>,
    listener: Option<Arc<str>>,
}

/// The word for what is wanted.
const fn wanted(command: &Command, came: &Came) -> &'static str {
    match (command, came) {
        (_, Came::State(done)) => done.state,
        (Command::Verdict { healthy, .. }, _) => match healthy {
            Some(true) => "healthy",
            Some(false) => "unhealthy",
            None => "no_verdict",
        },
        (Command::Check(_), _) => "checked",
        (Command::Forget(_), _) => "clients_forgotten",
        _ => "log_reopened",
    }
}

/// What happened to a name.
#[derive(Clone, Copy, Debug)]
pub enum NameNews {
    /// It stands for so many addresses, of which so many are new, and so many left.
    Moved(usize, usize, usize),
    /// It cannot be looked up, for this reason; so many addresses stay.
    Failed(&'static str, usize),
    /// It can again.
    Mended,
}

/// An event in plain values. What has no meaning for its kind is left out.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The service that it is about.
    pub service: Option<String>,
    /// The backend.
    pub backend: Option<String>,
    /// The listener.
    pub listener: Option<String>,
    /// A certificate's file, or a name that stands for backends.
    pub subject: Option<String>,
    /// What was before: a standing, a tier.
    pub from: Option<String>,
    /// What is now: a standing, a tier, a policy, what an operator wants.
    pub to: Option<String>,
    /// Why, in one of our words.
    pub reason: Option<String>,
    /// In words, for people.
    pub detail: Option<String>,
    /// How long: what was, or until something is over.
    pub seconds: Option<f64>,
    /// How many of what.
    pub counts: Vec<(&'static str, u64)>,
}

impl What {
    /// What is to be told of a core's event. None: it is one of exchanges, or a check that tells nothing new.
    pub(super) fn of_core(event: &Event) -> Option<Self> {
        let told = match &event.kind {
            // Of failures in a row, the first: the others would have all else forgotten.
            EventKind::Checked { failures, .. } => *failures == 1,
            EventKind::Picked { .. }
            | EventKind::Refused { .. }
            | EventKind::Answered { .. }
            | EventKind::Finished { .. }
            | EventKind::Abandoned { .. } => false,
            _ => true,
        };
        told.then(|| Self::Core(event.service.clone(), event.kind.clone()))
    }

    /// What is to be told of a command that was obeyed. None: a reload, which tells of itself.
    pub(crate) fn of_command(command: &Command, came: &Came) -> Option<Self> {
        let shared = |name: &String| Some(Arc::from(name.as_str()));
        let of = Wanted::default();
        let (of, state) = match (command, came) {
            (Command::Reload, _) => return None,
            (_, Came::Taken(taken)) => return Some(Self::Changed(taken.words.what.join("; "))),
            (
                Command::Backend {
                    service, backend, ..
                }
                | Command::Verdict {
                    service, backend, ..
                },
                _,
            ) => {
                let (service, backend) = (shared(service), shared(backend));
                (
                    Wanted {
                        service,
                        backend,
                        ..of
                    },
                    wanted(command, came),
                )
            }
            (
                Command::Service { service, .. }
                | Command::Check(service)
                | Command::Forget(service),
                _,
            ) => {
                let service = shared(service);
                (Wanted { service, ..of }, wanted(command, came))
            }
            (Command::Listener { listener, .. }, _) => {
                let listener = shared(listener);
                (Wanted { listener, ..of }, wanted(command, came))
            }
            _ => (of, wanted(command, came)),
        };
        Some(Self::Commanded(of, state))
    }

    pub(crate) fn of_end(end: &End) -> Self {
        let (listener, file) = (end.listener.clone(), end.file.clone());
        match end.kind {
            Ends::Certificate => Self::CertificateEnds(listener, file, end.seconds_left),
            Ends::List => Self::RevocationsLate(listener, file),
        }
    }

    pub(crate) fn of_name(news: &News) -> Self {
        let what = match news.what {
            OfName::Moved { all, joined, left } => NameNews::Moved(all, joined, left),
            OfName::Failed { fault, kept } => NameNews::Failed(fault.word(), kept),
            OfName::Mended => NameNews::Mended,
        };
        Self::Name(news.question.to_string().into(), what)
    }

    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Core(_, kind) => core_kind(kind),
            Self::Started => "started",
            Self::Draining => "draining",
            Self::MoreHappened => "more_happened",
            Self::Reloaded(_) => "reloaded",
            Self::ReloadRefused(_) => "reload_refused",
            Self::Changed(_) => "configuration_changed",
            Self::UpgradeBegun => "upgrade_begun",
            Self::UpgradeRefused(_) => "upgrade_refused",
            Self::Upgraded(_) => "upgraded",
            Self::WorkerReplaced(_) => "worker_replaced",
            Self::Commanded(..) => "commanded",
            Self::DrainCut(..) => "drain_cut",
            Self::CertificateEnds(..) => "certificate_ends",
            Self::RevocationsLate(..) => "revocations_late",
            Self::Name(_, NameNews::Moved(..)) => "name_moved",
            Self::Name(_, NameNews::Failed(..)) => "name_failed",
            Self::Name(_, NameNews::Mended) => "name_mended",
        }
    }

    pub(super) fn service(&self) -> Option<&str> {
        match self {
            Self::Core(service, _) | Self::DrainCut(service, ..) => Some(service),
            Self::Commanded(of, _) => of.service.as_deref(),
            _ => None,
        }
    }

    /// How bad it is.
    #[must_use]
    pub(super) const fn level(&self) -> Level {
        match self {
            Self::Core(_, kind) => core_level(kind),
            Self::CertificateEnds(_, _, ..=0) | Self::WorkerReplaced(_) => Level::Error,
            Self::ReloadRefused(_) | Self::UpgradeRefused(_) => Level::Error,
            Self::DrainCut(..)
            | Self::CertificateEnds(..)
            | Self::RevocationsLate(..)
            | Self::Name(_, NameNews::Failed(..)) => Level::Warning,
            _ => Level::Info,
        }
    }

    pub(super) fn facts(&self) -> Facts {
        let text = |text: &str| Some(text.to_owned());
        let facts = Facts {
            service: self.service().map(str::to_owned),
            ..Facts::default()
        };
        match self {
            Self::Core(_, kind) => core_facts(kind, facts),
            Self::Started | Self::Draining | Self::UpgradeBegun | Self::MoreHappened => facts,
            Self::Reloaded(words) | Self::ReloadRefused(words) | Self::Changed(words) | Self::UpgradeRefused(words) => {
                Facts {
                    detail: Some(words.chars().take(DETAIL_MOST).collect()),
                    ..facts
                }
            }
            Self::Upgraded(process) => facts.counting([("process", u64::from(*process))]),
            Self::WorkerReplaced(worker) => facts.counting([("worker", *worker as u64)]),
            Self::Commanded(of, state) => Facts {
                backend: of.backend.as_deref().map(str::to_owned),
                listener: of.listener.as_deref().map(str::to_owned),
                to: text(state),
                ..facts
            },
            Self::DrainCut(_, backend, connections) => Facts {
                backend: text(backend),
                ..facts.counting([("connections", *connections as u64)])
            },
            Self::CertificateEnds(listener, file, left) => Facts {
                listener: text(listener),
                subject: text(file),
                seconds: Some(precise(*left)),
                ..facts
            },
            Self::RevocationsLate(listener, file) => Facts {
                listener: text(listener),
                subject: text(file),
                ..facts
            },
            Self::Name(name, news) => {
                let facts = Facts {
                    subject: text(name),
                    ..facts
                };
                match *news {
                    NameNews::Moved(all, joined, left) => facts.counting([
                        ("addresses", all as u64),
                        ("joined", joined as u64),
                        ("left", left as u64),
                    ]),
                    NameNews::Failed(reason, kept) => Facts {
                        reason: text(reason),
                        ..facts.counting([("addresses", kept as u64)])
                    },
                    NameNews::Mended => facts,
                }
            }
        }
    }
}

impl super::Happened {
    /// How bad it is.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.what.level()
    }
}

impl Facts {
    fn counting<const N: usize>(self, counts: [(&'static str, u64); N]) -> Self {
        Self {
            counts: counts.into(),
            ..self
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds until an end are far below 2^53"
)]
const fn precise(seconds: i64) -> f64 {
    seconds as f64
}

const fn core_kind(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::ServiceStarted { .. } => "service_started",
        EventKind::ServiceStopped { .. } => "service_stopped",
        EventKind::BackendAdded { .. } => "backend_added",
        EventKind::BackendRemoved { .. } => "backend_removed",
        EventKind::BackendUpdated { .. } => "backend_updated",
        EventKind::SettingsChanged { .. } => "settings_changed",
        EventKind::StandingChanged { .. } => "standing_changed",
        EventKind::Checked { .. } => "check_failed",
        EventKind::BreakerOpened { .. } => "breaker_opened",
        EventKind::BreakerHalfOpened { .. } => "breaker_half_opened",
        EventKind::BreakerClosed { .. } => "breaker_closed",
        EventKind::BreakerWithheld { .. } => "breaker_withheld",
        EventKind::AllDown { .. } => "all_down",
        EventKind::Recovered { .. } => "recovered",
        EventKind::TierChanged { .. } => "tier_changed",
        EventKind::Drained { .. } => "drained",
        EventKind::LimitReached { .. } => "limit_reached",
        EventKind::PolicyFailed { .. } => "policy_failed",
        EventKind::RetryBudgetSpent { .. } => "retry_budget_spent",
        EventKind::Picked { .. }
        | EventKind::Refused { .. }
        | EventKind::Answered { .. }
        | EventKind::Finished { .. }
        | EventKind::Abandoned { .. } => "exchange",
    }
}

const fn core_level(kind: &EventKind) -> Level {
    match kind {
        EventKind::AllDown { .. } | EventKind::PolicyFailed { .. } => Level::Error,
        EventKind::StandingChanged {
            to: Standing::Down | Standing::Ejected,
            ..
        }
        | EventKind::LimitReached {
            end: LimitEnd::Least,
            ..
        }
        | EventKind::Checked { .. }
        | EventKind::BreakerOpened { .. }
        | EventKind::BreakerWithheld { .. }
        | EventKind::RetryBudgetSpent { .. } => Level::Warning,
        _ => Level::Info,
    }
}

fn core_facts(kind: &EventKind, facts: Facts) -> Facts {
    let text = |text: &str| Some(text.to_owned());
    match kind {
        EventKind::ServiceStarted { members } => facts.counting([("members", *members as u64)]),
        EventKind::ServiceStopped { members, in_flight } => {
            facts.counting([("members", *members as u64), ("in_flight", *in_flight)])
        }
        EventKind::SettingsChanged { policy } => Facts {
            to: text(policy),
            ..facts
        },
        EventKind::PolicyFailed { policy } => Facts {
            from: text(policy),
            ..facts
        },
        EventKind::AllDown {
            fail_open,
            healthy,
            members,
        } => Facts {
            to: text(if *fail_open {
                "fail_open"
            } else {
                "fail_closed"
            }),
            ..facts.counting([("healthy", *healthy as u64), ("members", *members as u64)])
        },
        EventKind::Recovered { after } => Facts {
            seconds: Some(after.as_secs_f64()),
            ..facts
        },
        EventKind::TierChanged { from, to } => Facts {
            from: Some(from.to_string()),
            to: Some(to.to_string()),
            ..facts
        },
        EventKind::RetryBudgetSpent { refused } => facts.counting([("retries", *refused)]),
        kind => backend_facts(kind, facts),
    }
}

fn backend_facts(kind: &EventKind, facts: Facts) -> Facts {
    let text = |text: &str| Some(text.to_owned());
    let of = |backend: &evenkeel_balance::backend::BackendId| Facts {
        backend: text(backend.as_str()),
        ..facts.clone()
    };
    match kind {
        EventKind::BackendAdded { backend, standing } => Facts {
            to: text(standing.word()),
            ..of(backend)
        },
        EventKind::BackendRemoved { backend, in_flight } => {
            of(backend).counting([("in_flight", u64::from(*in_flight))])
        }
        EventKind::BackendUpdated {
            backend,
            admin,
            weight,
        } => Facts {
            to: text(word(*admin)),
            ..of(backend).counting([("weight", u64::from(*weight))])
        },
        EventKind::StandingChanged {
            backend,
            from,
            to,
            reason: why,
        } => Facts {
            from: text(from.word()),
            to: text(to.word()),
            reason: Some(reason(*why)),
            ..of(backend)
        },
        EventKind::Checked {
            backend,
            latency,
            fault,
            ..
        } => Facts {
            reason: fault.map(fault_word),
            seconds: Some(latency.as_secs_f64()),
            ..of(backend)
        },
        EventKind::BreakerOpened {
            backend,
            reason: why,
            failures,
            ..
        } => Facts {
            reason: Some(reason(*why)),
            ..of(backend).counting([("failures", u64::from(*failures))])
        },
        EventKind::BreakerHalfOpened { backend, trials } => {
            of(backend).counting([("trials", u64::from(*trials))])
        }
        EventKind::BreakerWithheld { backend, why } => Facts {
            reason: text(match why {
                Withheld::Cap => "cap",
                Withheld::MedianFails => "median_fails",
            }),
            ..of(backend)
        },
        EventKind::LimitReached {
            backend,
            end,
            limit,
        } => Facts {
            reason: text(match end {
                LimitEnd::Least => "min",
                LimitEnd::Most => "max",
            }),
            ..of(backend).counting([("limit", u64::from(*limit))])
        },
        EventKind::BreakerClosed { backend } | EventKind::Drained { backend } => of(backend),
        _ => facts,
    }
}
