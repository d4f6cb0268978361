//! Owns the words for how an attempt went: at its response head, and at its end.
//!
//! Knows nothing about who reacts: latency means, the breaker and retries each draw their own conclusion.

use std::fmt;
use std::time::Duration;

/// What the response head said about the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The backend did its work, whatever the application answered.
    Success,
    /// The backend did not do its work.
    Failure(Fault),
    /// Says nothing about the backend: a client's error, a status that the settings leave out.
    Neutral,
}

impl Verdict {
    /// What the status of an HTTP answer says: 5xx is a failure, but for what it does not know how to do; 4xx is the client's. Of 503, how long the
    /// backend asks to be left alone is asked where that is wanted.
    #[must_use]
    #[inline]
    pub const fn of_status(status: u16) -> Self {
        match status {
            501 | 505 | 400..=499 => Self::Neutral,
            503 => Self::Failure(Fault::Overloaded { retry_after: None }),
            500..=599 => Self::Failure(Fault::Status(status)),
            _ => Self::Success,
        }
    }
}

/// How the attempt ended, after the last byte or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The response was carried to its last byte.
    Completed,
    /// The backend broke off. Before a verdict this is the failure of the attempt; after one, a broken body.
    Broken(Fault),
    /// The client went away. Nothing is held against the backend.
    ClientLeft,
    /// Another attempt of the same exchange was answered first, and this one is given up. No failure, and no success: of the backend it
    /// says that it takes at least so long.
    Outrun,
}

/// What the backend did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection: refused, unreachable, TLS handshake failed, connect timeout. No request byte was written.
    Connect,
    /// The connection ended or was reset before the response was whole.
    Reset,
    /// Connected, but no response head within the time of one attempt.
    Timeout,
    /// What came back was not the protocol.
    Protocol,
    /// An HTTP status that the settings call a failure, 100..=999.
    Status(u16),
    /// A gRPC status that the settings call a failure, 1..=16.
    Grpc(u8),
    /// The backend says that it has too much to do (HTTP 429 or 503, gRPC `RESOURCE_EXHAUSTED`).
    Overloaded {
        /// How long it asks to be left alone (RFC 9110 section 10.2.3), if it says.
        retry_after: Option<Duration>,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Reset => f.write_str("the connection broke"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Protocol => f.write_str("the answer was not the protocol"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Grpc(status) => write!(f, "gRPC status {status}"),
            Self::Overloaded { .. } => f.write_str("too much to do"),
        }
    }
}

impl std::error::Error for Fault {}
