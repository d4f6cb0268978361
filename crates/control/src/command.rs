//! Owns what may be asked of the one writer, the line in which it waits, and what it comes to.
//!
//! A closed list: whoever asks can ask for nothing else. The writer is told, and answers all that wait in one turn, one after another.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use evenkeel_balance::backend::Admin;
use evenkeel_config::limits::{CHANGES, CHANGES_BYTES};
use tokio::sync::{Notify, mpsc, oneshot};

pub use crate::monitor::Quiet;
pub use crate::revisions::{Tag, Words};
pub use crate::texts::{Change, Fault};

/// Commands that wait; who comes later is told to come back.
const LINE: usize = 64;

/// A change that an operator asks for. It holds over reloads, and over a new start that is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// What is wanted of a backend, until its entry in the configuration changes or goes.
    Backend {
        /// Its service.
        service: String,
        /// Its identity.
        backend: String,
        /// What is wanted.
        admin: Admin,
    },
    /// Whether all backends of a service drain, those to come too.
    Service {
        /// Its name.
        service: String,
        /// They do, or as each is wanted otherwise.
        drain: bool,
    },
    /// Whether clients are steered away from a listener: it takes no connections, and those that it has end with their exchange.
    Listener {
        /// Its name.
        listener: String,
        /// They are, or it listens.
        drain: bool,
    },
    /// Something of the configuration is changed beside its texts.
    Change(Change),
    /// All is as it was in a revision that is remembered.
    RollBack(u64),
    /// The configuration is read again.
    Reload,
    /// A verdict by hand, held against checks and traffic. No revision: it is a fact, not a configuration.
    Verdict {
        /// The service.
        service: String,
        /// The backend's identity.
        backend: String,
        /// Whether it is well. None: the verdict is withdrawn.
        healthy: Option<bool>,
        /// For so long. None: until another one.
        within: Option<Duration>,
    },
    /// A service's backends are checked now.
    Check(String),
    /// The weights of a service follow what its backends did, now instead of at the end of the interval.
    Adjust(String),
    /// The access log's file is opened anew.
    Rotate,
    /// The clients that a service remembers are forgotten.
    Forget(String),
    /// Somebody has taken note of the alert of this number.
    Acknowledge(u64),
    /// Nobody is called for some alerts, for a while.
    Silence(Quiet),
    /// The silence of this number ends.
    Lift(u64),
    /// The dead letter of this number is told again.
    TellAgain(u64),
}

impl Command {
    /// Whether it replaces something whole: who asks for it must have seen what that is.
    #[must_use]
    pub const fn replaces(&self) -> bool {
        matches!(self, Self::Change(_) | Self::RollBack(_))
    }
}

/// A command, by whom, and what they had seen.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is asked for.
    pub command: Command,
    /// The revisions that it is meant for. None: whichever there is.
    pub seen: Option<Vec<Tag>>,
    /// Who asks, as revisions have it.
    pub by: Arc<str>,
}

impl From<Command> for Asked {
    fn from(command: Command) -> Self {
        Self {
            command,
            seen: None,
            by: "api".into(),
        }
    }
}

/// What came of a command, and the revision that runs then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it came to.
    pub came: Came,
    /// What runs.
    pub revision: Tag,
    /// Where what operators want is kept.
    pub keeping: Keeping,
}

/// Where what operators want is kept over a restart. Nobody waits for a disk, so that it is what was known when the answer was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeping {
    /// Nowhere.
    #[default]
    Memory,
    /// On a disk, soon after an answer.
    Disk,
    /// The disk has not taken what came last; it is tried again.
    Failing,
}

impl Keeping {
    /// As answers have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Failing => "failing",
        }
    }
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// Something is in this state.
    State(Done),
    /// The configuration is another one.
    Taken(Taken),
    /// So many were told.
    Acted(u64),
}

/// What was taken of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What changed.
    pub words: Words,
    /// What may not have been meant.
    pub warnings: Vec<Fault>,
    /// It was not there before.
    pub created: bool,
    /// The texts are not those of before: the next reload or start brings them back.
    pub other_texts: bool,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// It was otherwise before.
    pub changed: bool,
    /// What is wanted now: `enabled`, `draining` or `disabled`.
    pub state: &'static str,
    /// Attempts on the backend or service, or connections of the listener, that are under way in this process.
    pub in_flight: u64,
    /// Processes before this one that still drain, and may have more of them under way.
    pub predecessors: usize,
    /// What is under way is cut after so long. None: never.
    pub within: Option<Duration>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is none of this name.
    Unknown {
        /// Of what: `service`, `backend`, `listener`, `alert` or `silence`.
        what: &'static str,
        /// The name.
        name: String,
        /// The one that may be meant.
        near: Option<String>,
    },
    /// Too many commands wait.
    Busy,
    /// The instance drains: it takes no more commands.
    Draining,
    /// Another process is about to take over with what it was told at the begin: it would not know of this.
    Upgrading,
    /// More backends than may be are wanted otherwise than the configuration says.
    TooMany,
    /// The listener cannot be bound again.
    Bind(String),
    /// Another revision runs than those that it is meant for.
    Stale(Tag),
    /// Something is wrong with what it would make of the configuration.
    Faults(Vec<Fault>),
    /// The configuration cannot be read again, in words.
    Unread(String),
    /// It was read, and cannot be taken, in words.
    NotTaken(String),
    /// No revision of this number is remembered.
    Forgotten(u64),
    /// It is not of those that may be changed, in words.
    NotOfThese(String),
    /// Too much is changed beside the texts already.
    TooManyEdits,
    /// It was done ahead of its time already: not again before so long.
    TooSoon(Duration),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { what, name, near } => {
                write!(f, "there is no {what} `{name}`")?;
                match near {
                    Some(near) => write!(f, "; did you mean `{near}`?"),
                    None => Ok(()),
                }
            }
            Self::Busy => f.write_str("too many commands wait; try again"),
            Self::Draining => f.write_str("the instance drains, and takes no more commands"),
            Self::Upgrading => f.write_str(
                "an upgrade is under way, of which the new process would not know; try again",
            ),
            Self::TooMany => f.write_str("too many backends are wanted otherwise already"),
            Self::Bind(why) | Self::Unread(why) | Self::NotTaken(why) | Self::NotOfThese(why) => {
                f.write_str(why)
            }
            Self::TooSoon(wait) => write!(
                f,
                "weights were looked at ahead of their time already: again in {} s at the earliest",
                wait.as_secs_f64().ceil()
            ),
            Self::Stale(now) => write!(
                f,
                "revision {now} runs, which is none of those that this is meant for: look at it, and ask again"
            ),
            Self::Faults(faults) => match faults.iter().find(|one| one.error) {
                Some(first) => {
                    let (at, text) = (first.at, &first.text);
                    write!(f, "{text}:{}:{}: {}", at.line, at.column, first.message)
                }
                None => f.write_str("nothing comes of it"),
            },
            Self::Forgotten(number) => write!(f, "no revision {number} is remembered"),
            Self::TooManyEdits => write!(
                f,
                "at most {CHANGES} entries, and {} MiB, are changed beside the texts: have the configuration say some of it",
                CHANGES_BYTES / 1024 / 1024
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// The word of what is wanted, in answers, logs and what is kept.
#[must_use]
pub const fn word(admin: Admin) -> &'static str {
    match admin {
        Admin::Enabled => "enabled",
        Admin::Draining => "draining",
        Admin::Disabled => "disabled",
    }
}

/// A command with where its answer goes.
pub(crate) struct Order(pub(crate) Asked, oneshot::Sender<Result<Answer, Refused>>);

impl Order {
    /// Nobody may wait for the answer any more.
    pub(crate) fn answer(self, answer: Result<Answer, Refused>) {
        let _ = self.1.send(answer);
    }
}

/// Where commands are given.
#[derive(Clone)]
pub(crate) struct Orders(mpsc::Sender<Order>, Arc<Notify>);

/// Where they are taken.
pub(crate) type Line = mpsc::Receiver<Order>;

pub(crate) fn line() -> (Orders, Line) {
    let (sender, line) = mpsc::channel(LINE);
    (Orders(sender, Arc::default()), line)
}

impl Orders {
    /// Told when a command waits.
    pub(crate) fn told(&self) -> Arc<Notify> {
        self.1.clone()
    }

    pub(crate) async fn give(&self, asked: Asked) -> Result<Answer, Refused> {
        let (answer, answered) = oneshot::channel();
        let order = Order(asked, answer);
        self.0.try_send(order).map_err(|full| match full {
            mpsc::error::TrySendError::Full(_) => Refused::Busy,
            mpsc::error::TrySendError::Closed(_) => Refused::Draining,
        })?;
        self.1.notify_one();
        answered.await.unwrap_or(Err(Refused::Draining))
    }
}
