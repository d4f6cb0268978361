//! Owns the list of what can go wrong between a caller and its balancer.

use std::fmt;

use evenkeel_balance::membership::MembershipError;
use evenkeel_balance::pick::Refusal;

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No service has this name; register it first. The caller's mistake, or the service was unregistered meanwhile.
    UnknownService(Box<str>),
    /// The service has nobody for this ask now.
    Refused(Refusal),
    /// The members cannot be so; nothing was changed.
    Membership(MembershipError),
    /// The balancer was stopped for good.
    Stopped,
    /// The ticker needs a tokio runtime, and this thread is in none.
    NoRuntime,
    /// The ticker needs timers, and the tokio runtime of this thread was built without them.
    NoTimers,
    /// As many listeners as a balancer may have: [`MOST_LISTENERS`](crate::events::MOST_LISTENERS).
    TooManyListeners,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownService(name) => write!(f, "no service is named {name:?}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Membership(error) => error.fmt(f),
            Self::Stopped => f.write_str("the load balancer was stopped; make another"),
            Self::NoTimers => f.write_str(
                "this tokio runtime has no timers: build it with enable_time() or enable_all()",
            ),
            Self::TooManyListeners => {
                f.write_str("1024 listeners are on already: take some off, or read the stream of events")
            }
            Self::NoRuntime => f.write_str(
                "no tokio runtime here: start the load balancer inside one, or call tick() every 100 ms",
            ),
        }
    }
}

impl std::error::Error for Error {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<MembershipError> for Error {
    fn from(error: MembershipError) -> Self {
        Self::Membership(error)
    }
}
