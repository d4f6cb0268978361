//! Owns what there is to tell of an instance: the core's events and the control plane's own, each with its kind in one word, how bad it is,
//! and its facts as plain values.
//!
//! Events of single exchanges are none: they are counted, and stand in the access log.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::event::{Event, EventKind};
use evenkeel_watch::alert::Alert;
use evenkeel_watch::threshold::Severity;
use evenkeel_watch::time::Moment;

use crate::adjust;
use crate::certificates::{End, Kind as Ends};
use crate::command::{Came, Command};
use crate::names::{News, What as OfName};
use crate::revisions::Words;

/// The core's.
mod of_core;

/// Of weights that follow what backends do.
mod of_weight;

use of_core::{core_facts, core_kind, core_level};

/// All kinds. Their words are a promise.
pub const KINDS: [&str; 48] = [
    "started",
    "draining",
    "reloaded",
    "reload_refused",
    "configuration_changed",
    "upgrade_begun",
    "upgrade_refused",
    "upgraded",
    "worker_replaced",
    "overlay_failing",
    "overlay_kept",
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
    "alert_raised",
    "alert_cleared",
    "adjusted",
    "adjustment_kept",
    "adjustment_undone",
    "policy_tried",
    "policy_kept",
    "policy_put_back",
    "webhook_failing",
    "webhook_mended",
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
    /// What operators want is kept nowhere: no disk takes it.
    OverlayFailing,
    /// It is kept again.
    OverlayKept,
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
    /// What the instance sees of itself is wrong, or right again.
    Alert(Box<Alert>),
    /// A weight follows what a backend does, or what came of that.
    Weight(Box<adjust::News>),
    /// The webhook of this name does not take alerts, and why.
    WebhookFailing(Arc<str>, String),
    /// It takes them again.
    WebhookMended(Arc<str>),
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
            Some(true) => "up",
            Some(false) => "down",
            None => "withdrawn",
        },
        (Command::Check(_), _) => "checked",
        (Command::Forget(_), _) => "clients_forgotten",
        (Command::Adjust(_), _) => "adjusted",
        (Command::Acknowledge(_), _) => "acknowledged",
        (Command::Silence(_), _) => "silenced",
        (Command::Lift(_), _) => "silence_lifted",
        (Command::TellAgain(_), _) => "told_again",
        _ => "log_reopened",
    }
}

/// What changed, in one line.
fn line(words: &Words) -> String {
    let line = words.what.join("; ");
    match words.more {
        0 => line,
        more => format!("{line}; and {more} more"),
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
    /// A certificate's file, a name that stands for backends, a webhook, or the figure whose limit an alert is of.
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

    /// What is to be told of a command that was obeyed. None: a reload, which tells of itself, or a change that is none.
    pub(crate) fn of_command(command: &Command, came: &Came) -> Option<Self> {
        let shared = |name: &String| Some(Arc::from(name.as_str()));
        let of = Wanted::default();
        let (of, state) = match (command, came) {
            (Command::Reload, _) => return None,
            (_, Came::Taken(taken)) if taken.words.what.is_empty() => return None,
            (_, Came::Taken(taken)) => return Some(Self::Changed(line(&taken.words))),
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
                | Command::Adjust(service)
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

    pub(super) fn kind(&self) -> &'static str {
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
            Self::OverlayFailing => "overlay_failing",
            Self::OverlayKept => "overlay_kept",
            Self::Commanded(..) => "commanded",
            Self::DrainCut(..) => "drain_cut",
            Self::CertificateEnds(..) => "certificate_ends",
            Self::RevocationsLate(..) => "revocations_late",
            Self::Name(_, NameNews::Moved(..)) => "name_moved",
            Self::Name(_, NameNews::Failed(..)) => "name_failed",
            Self::Name(_, NameNews::Mended) => "name_mended",
            Self::Alert(alert) if alert.cleared.is_some() => "alert_cleared",
            Self::Alert(_) => "alert_raised",
            Self::Weight(news) => of_weight::kind(news),
            Self::WebhookFailing(..) => "webhook_failing",
            Self::WebhookMended(_) => "webhook_mended",
        }
    }

    pub(super) fn service(&self) -> Option<&str> {
        match self {
            Self::Core(service, _) | Self::DrainCut(service, ..) => Some(service),
            Self::Commanded(of, _) => of.service.as_deref(),
            Self::Alert(alert) => Some(&alert.service),
            Self::Weight(news) => Some(of_weight::service(news)),
            _ => None,
        }
    }

    /// How bad it is.
    #[must_use]
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Core(_, kind) => core_level(kind),
            Self::CertificateEnds(_, _, ..=0) | Self::WorkerReplaced(_) => Level::Error,
            Self::ReloadRefused(_) | Self::UpgradeRefused(_) | Self::OverlayFailing => Level::Error,
            Self::DrainCut(..)
            | Self::CertificateEnds(..)
            | Self::RevocationsLate(..)
            | Self::WebhookFailing(..)
            | Self::Name(_, NameNews::Failed(..)) => Level::Warning,
            Self::Weight(news) if of_weight::is_undone(news) => Level::Warning,
            Self::Alert(alert) if alert.cleared.is_none() => match alert.severity {
                Severity::Info => Level::Info,
                Severity::Warning => Level::Warning,
                Severity::Critical => Level::Error,
            },
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
            Self::Started
            | Self::Draining
            | Self::UpgradeBegun
            | Self::MoreHappened
            | Self::OverlayFailing
            | Self::OverlayKept => facts,
            Self::Reloaded(words)
            | Self::ReloadRefused(words)
            | Self::Changed(words)
            | Self::UpgradeRefused(words) => Facts {
                detail: Some(words.chars().take(DETAIL_MOST).collect()),
                ..facts
            },
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
            Self::Alert(alert) => of_alert(alert, facts),
            Self::Weight(news) => of_weight::facts(news, facts),
            Self::WebhookFailing(name, why) => Facts {
                subject: text(name),
                detail: text(why),
                ..facts
            },
            Self::WebhookMended(name) => Facts {
                subject: text(name),
                ..facts
            },
            Self::Name(name, news) => of_name(
                *news,
                Facts {
                    subject: text(name),
                    ..facts
                },
            ),
        }
    }
}

/// What happened to a name.
fn of_name(news: NameNews, facts: Facts) -> Facts {
    match news {
        NameNews::Moved(all, joined, left) => facts.counting([
            ("addresses", all as u64),
            ("joined", joined as u64),
            ("left", left as u64),
        ]),
        NameNews::Failed(reason, kept) => Facts {
            reason: Some(reason.to_owned()),
            ..facts.counting([("addresses", kept as u64)])
        },
        NameNews::Mended => facts,
    }
}

/// How long it was wrong, of one that is right again.
fn of_alert(alert: &Alert, facts: Facts) -> Facts {
    let lasted = |cleared: Moment| Duration::from_millis(cleared.millis_since(alert.since));
    Facts {
        backend: alert.backend.clone(),
        subject: alert.kind.metric().map(|metric| metric.name().to_owned()),
        reason: Some(alert.kind.name().to_owned()),
        seconds: alert.cleared.map(|cleared| lasted(cleared).as_secs_f64()),
        ..facts.counting([("alert", alert.number)])
    }
}

impl super::Happened {
    /// How bad it is.
    #[must_use]
    pub fn level(&self) -> Level {
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
