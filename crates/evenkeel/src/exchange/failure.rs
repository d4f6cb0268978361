//! Owns what an error says: of the backend, and of whether the attempt may be made again.
//!
//! Never decides whether it is: the service's retry settings do.

use std::fmt;
use std::io;
use std::time::Duration;

use evenkeel_balance::retry::Progress;
use evenkeel_balance::verdict::{Fault, Verdict};

use crate::clock;

/// How long the field `Retry-After` asks for: seconds, or a date by the clock of this machine. Nothing where the date is past, and a year
/// at most; none where it is neither. What comes of it is bounded by `retry_after_max` of the settings.
///
/// ```
/// use evenkeel::{Failure, Fault, retry_after};
/// use std::time::Duration;
///
/// assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
/// assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
/// assert_eq!(retry_after("soon"), None);
///
/// let busy = Failure::new(Fault::Status(503), "busy");
/// let busy = match retry_after("2") {
///     Some(rest) => busy.rest(rest),
///     None => busy,
/// };
/// # let _ = busy;
/// ```
#[must_use]
pub fn retry_after(field: impl AsRef<[u8]>) -> Option<Duration> {
    evenkeel_wire::retry_after::read(field.as_ref(), clock::since_1970)
}

/// What the error of an attempt says. Implement it for the errors of your client, or wrap them in [`Failure`].
///
/// ```
/// use evenkeel::{Failed, Fault, Progress, Verdict};
///
/// enum Broken { NoConnection, Status(u16) }
///
/// impl Failed for Broken {
///     fn verdict(&self) -> Verdict {
///         match self {
///             Self::NoConnection => Verdict::Failure(Fault::Connect),
///             Self::Status(status @ 500..) => Verdict::Failure(Fault::Status(*status)),
///             // What the client did wrong says nothing of the backend.
///             Self::Status(_) => Verdict::Neutral,
///         }
///     }
///     fn progress(&self) -> Progress {
///         match self {
///             Self::NoConnection => Progress::Unsent,
///             Self::Status(_) => Progress::Sent,
///         }
///     }
/// }
/// # let _ = Broken::Status(404).rest();
/// ```
pub trait Failed {
    /// What is held against the backend. Only a [`Verdict::Failure`] is ever tried again.
    fn verdict(&self) -> Verdict;

    /// How far the attempt got. By default the request was sent: only what is idempotent is then tried again.
    fn progress(&self) -> Progress {
        Progress::Sent
    }

    /// How long the backend asked to be left alone ([`retry_after`]), whatever went wrong. It is honoured when the same
    /// backend is tried again; another owes it nothing.
    fn rest(&self) -> Option<Duration> {
        None
    }
}

/// The bare fault: nothing of the request was written where no connection came about.
impl Failed for Fault {
    fn verdict(&self) -> Verdict {
        Verdict::Failure(*self)
    }

    fn progress(&self) -> Progress {
        match self {
            Self::Connect => Progress::Unsent,
            _ => Progress::Sent,
        }
    }
}

/// By its kind: refused and unreachable are [`Fault::Connect`], `TimedOut` is [`Fault::Timeout`], `InvalidData` is
/// [`Fault::Protocol`], anything else [`Fault::Reset`]. The request was sent, for all that is known: Linux says that a host is
/// unreachable to who reads from a connection of long ago, too. Who was connecting says so by [`Failure::connecting`].
impl Failed for io::Error {
    fn verdict(&self) -> Verdict {
        use io::ErrorKind as Kind;
        Verdict::Failure(match self.kind() {
            Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable => {
                Fault::Connect
            }
            Kind::TimedOut => Fault::Timeout,
            Kind::InvalidData => Fault::Protocol,
            _ => Fault::Reset,
        })
    }
}

/// An error of any kind with what it says, for those whose type is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<E> {
    /// What went wrong.
    pub error: E,
    verdict: Verdict,
    progress: Progress,
    rest: Option<Duration>,
}

impl<E> Failure<E> {
    /// A fault of the backend; the request was sent, but with [`Fault::Connect`].
    pub fn new(fault: Fault, error: E) -> Self {
        Self {
            error,
            verdict: fault.verdict(),
            progress: fault.progress(),
            rest: None,
        }
    }

    /// Nobody's fault, or the caller's own: nothing is held against the backend and nothing is tried again.
    pub fn neutral(error: E) -> Self {
        Self {
            error,
            verdict: Verdict::Neutral,
            progress: Progress::Sent,
            rest: None,
        }
    }

    /// The same, but no byte of the request was written: it may be sent again even if it must not be done twice.
    #[must_use]
    pub fn unsent(self) -> Self {
        Self {
            progress: Progress::Unsent,
            ..self
        }
    }

    /// The same, but nobody took the connection: it cost no backend anything, and does not count as an attempt of the settings, unless it
    /// took more than 250 ms.
    #[must_use]
    pub fn unreached(self) -> Self {
        Self {
            progress: Progress::Unreached,
            ..self
        }
    }

    /// The same of another error: that of a program's own type, say, which holds this one.
    pub fn map<T>(self, to: impl FnOnce(E) -> T) -> Failure<T> {
        Failure {
            error: to(self.error),
            verdict: self.verdict,
            progress: self.progress,
            rest: self.rest,
        }
    }

    /// The same, and the backend asks to be left alone for so long.
    #[must_use]
    pub fn rest(self, rest: Duration) -> Self {
        Self {
            rest: Some(rest),
            ..self
        }
    }
}

impl Failure<io::Error> {
    /// The error of connecting, and of nothing later: no byte of the request was written, so it may be sent elsewhere even if it
    /// must not be done twice. Refused, unreachable and a socket that is not there reached nobody.
    ///
    /// ```
    /// use evenkeel::{Failed, Failure, Progress};
    ///
    /// let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    /// assert_eq!(Failure::connecting(refused()).progress(), Progress::Unreached);
    /// assert_eq!(refused().progress(), Progress::Sent); // of a connect or of a later read: who knows
    /// ```
    pub fn connecting(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let unreached = matches!(
            error.kind(),
            Kind::ConnectionRefused
                | Kind::HostUnreachable
                | Kind::NetworkUnreachable
                | Kind::NotFound
        );
        let failure = Self::new(Fault::Connect, error);
        match unreached {
            true => failure.unreached(),
            false => failure,
        }
    }
}

impl<E> Failed for Failure<E> {
    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn rest(&self) -> Option<Duration> {
        self.rest
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Failure<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
