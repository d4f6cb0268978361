//! Owns what one check of one backend is: the trait, its target and its finding.
//!
//! A probe never decides when it runs, how long it may take, or what its finding means for standing: `sweep` runs it
//! under a timeout, the core counts. Next: `probe/tcp.rs`, `probe/http.rs`.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::health::{CheckFault, CheckResult};

use crate::address::{Address, AddressError};

/// A connection can be made.
pub mod tcp;

/// An answer comes back, and is the one expected.
pub mod http;

pub use http::{BodyTest, HttpCheck, HttpCheckError, HttpProbe, Judge, StatusRanges};
pub use tcp::{Link, TcpProbe, connect};

/// Whom a probe checks. Clones share the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name of its service.
    pub service: Arc<str>,
    /// Its identity.
    pub backend: BackendId,
    /// The text of its address: the label [`ADDRESS_LABEL`](crate::address::ADDRESS_LABEL), else the identity.
    pub address: Arc<str>,
}

impl Target {
    /// Its address, parsed. A probe that needs none (a closure with ways of its own) need not ask.
    ///
    /// # Errors
    /// [`AddressError`] when the text is no address.
    pub fn address(&self) -> Result<Address, AddressError> {
        self.address.parse()
    }
}

/// What a probe found.
#[derive(Debug)]
pub struct Finding {
    /// None: as expected.
    pub error: Option<ProbeError>,
    /// The status it saw, where it saw one.
    pub status: Option<u16>,
}

impl Finding {
    /// As expected, by this status where there is one.
    #[must_use]
    pub const fn passed(status: Option<u16>) -> Self {
        Self {
            error: None,
            status,
        }
    }

    /// Not as expected.
    #[must_use]
    pub const fn failed(error: ProbeError) -> Self {
        let status = match error {
            ProbeError::Status(status) => Some(status),
            _ => None,
        };
        Self {
            error: Some(error),
            status,
        }
    }

    /// The same in the core's words.
    #[must_use]
    pub fn result(&self) -> CheckResult {
        match &self.error {
            None => CheckResult::Passed,
            Some(error) => CheckResult::Failed(error.fault()),
        }
    }
}

impl From<ProbeError> for Finding {
    fn from(error: ProbeError) -> Self {
        Self::failed(error)
    }
}

impl From<CheckResult> for Finding {
    fn from(result: CheckResult) -> Self {
        match result {
            CheckResult::Passed => Self::passed(None),
            CheckResult::Failed(fault) => Self::failed(fault.into()),
        }
    }
}

impl<E: Into<ProbeError>> From<Result<(), E>> for Finding {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::passed(None),
            Err(error) => Self::failed(error.into()),
        }
    }
}

/// Why a check failed, with what an operator needs to act on it. [`fault`](Self::fault) is the core's shorter word.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProbeError {
    /// No answer in time.
    Timeout,
    /// The connection was refused or found no way.
    Refused(io::Error),
    /// The connection was taken, and reset or ended before an answer.
    Reset(io::Error),
    /// Another status than expected.
    Status(u16),
    /// The body does not hold the text expected.
    Mismatch,
    /// The answer is none of the protocol's; says what was wrong with it.
    Malformed(&'static str),
    /// A protocol below or above HTTP says no: which one, and its own word for it. For probes of a program's own.
    Protocol(&'static str, &'static str),
    /// The backend's text is no address. Give it the label `address`.
    Address(AddressError),
    /// The address wants TLS, which this version does not speak: check another port or path over plain HTTP, or use a
    /// probe of your own.
    TlsNotYet,
    /// A Unix socket on a system without them.
    NoUnixSockets,
    /// The host's name could not be resolved.
    Unresolved(io::Error),
    /// The check could not be made for want of something here: files, ports, memory, network.
    Io(io::Error),
    /// The probe panicked.
    Panicked,
    /// What a probe of the program's own says; says nothing certain of the backend.
    Other(String),
}

impl ProbeError {
    /// The core's word for it.
    #[must_use]
    pub fn fault(&self) -> CheckFault {
        match self {
            Self::Timeout => CheckFault::Timeout,
            Self::Refused(_) => CheckFault::Refused,
            Self::Reset(_) => CheckFault::Reset,
            Self::Status(status) => CheckFault::Status(*status),
            Self::Mismatch => CheckFault::Mismatch,
            Self::Malformed(_) => CheckFault::Malformed,
            Self::Protocol(which, word) => CheckFault::Protocol(which, word),
            Self::Address(_)
            | Self::TlsNotYet
            | Self::NoUnixSockets
            | Self::Unresolved(_)
            | Self::Io(_)
            | Self::Panicked
            | Self::Other(_) => CheckFault::Other,
        }
    }
}

impl From<CheckFault> for ProbeError {
    fn from(fault: CheckFault) -> Self {
        match fault {
            CheckFault::Timeout => Self::Timeout,
            CheckFault::Refused => Self::Refused(io::ErrorKind::ConnectionRefused.into()),
            CheckFault::Reset => Self::Reset(io::ErrorKind::ConnectionReset.into()),
            CheckFault::Status(status) => Self::Status(status),
            CheckFault::Mismatch => Self::Mismatch,
            CheckFault::Malformed => Self::Malformed("not an answer of the protocol"),
            CheckFault::Protocol(which, word) => Self::Protocol(which, word),
            CheckFault::Other => Self::Other("the check itself failed".into()),
        }
    }
}

impl From<AddressError> for ProbeError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

impl From<io::Error> for ProbeError {
    /// Sorts by whose fault it is: the backend's ([`Refused`](Self::Refused), [`Reset`](Self::Reset), [`Timeout`](Self::Timeout))
    /// or ours.
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::TimedOut => Self::Timeout,
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::BrokenPipe
            | Kind::UnexpectedEof => Self::Reset(error),
            Kind::ConnectionRefused
            | Kind::HostUnreachable
            // A Unix socket that nobody has made.
            | Kind::NotFound => Self::Refused(error),
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Refused(error) => write!(f, "the backend took no connection: {error}"),
            Self::Reset(error) => write!(f, "the backend took the connection and ended it: {error}"),
            Self::Status(status) => write!(f, "status {status} is not among those expected"),
            Self::Mismatch => f.write_str("the body does not hold the text expected"),
            Self::Malformed(what) => write!(f, "the answer is malformed: {what}"),
            Self::Protocol(which, word) => write!(f, "{which}: {word}"),
            Self::Address(error) => write!(f, "{error}; the label `address` can give another"),
            Self::TlsNotYet => f.write_str(
                "https is not checked yet, TLS comes later; check a plain HTTP port, or connect with the TCP probe",
            ),
            Self::NoUnixSockets => f.write_str("this system has no Unix sockets"),
            Self::Unresolved(error) => write!(f, "the name could not be resolved: {error}"),
            Self::Io(error) => write!(f, "the check could not be made: {error}"),
            Self::Panicked => f.write_str("the probe panicked"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(error)
            | Self::Reset(error)
            | Self::Unresolved(error)
            | Self::Io(error) => Some(error),
            Self::Address(error) => Some(error),
            _ => None,
        }
    }
}

/// A check under way.
pub type Checking = Pin<Box<dyn Future<Output = Finding> + Send>>;

/// One way to check a backend. A closure that returns a future will do:
///
/// ```
/// use evenkeel::probe::{Probe, ProbeError, Target};
///
/// let probe = |target: Target| async move {
///     if target.backend.as_str() == "b" {
///         return Err(ProbeError::Other("b is being repaired".into()));
///     }
///     Ok(())
/// };
/// fn takes(_: impl Probe) {}
/// takes(probe);
/// ```
pub trait Probe: Send + Sync {
    /// Begins one check. Called on a task of its own and dropped at the timeout, so what it holds must be given back
    /// by drop. A panic, here or in the future, counts as [`ProbeError::Panicked`] and goes no further.
    fn check(&self, target: Target) -> Checking;
}

impl<F, Reply> Probe for F
where
    F: Fn(Target) -> Reply + Send + Sync,
    Reply: Future<Output: Into<Finding>> + Send + 'static,
{
    fn check(&self, target: Target) -> Checking {
        let reply = self(target);
        Box::pin(async move { reply.await.into() })
    }
}
