//! Owns the closed list of reasons: why an answer is what it is. The same words stand in logs, metrics and documentation.

use evenkeel_balance::pick::Refusal;
use evenkeel_wire::Malformed;

/// Why an answer is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The backend's own answer.
    Served,
    /// A rule's answer or redirect.
    Rule,
    /// No rule matches.
    NoRule,
    /// The request was refused for what it is.
    Malformed(Malformed),
    /// The head did not come in time.
    HeadTimeout,
    /// The body did not come in time.
    BodyTimeout,
    /// The body is over its limit.
    BodyTooLarge,
    /// The core gave no pick.
    Refused(Refusal),
    /// All sockets that the backend may have are in use.
    MaxConnections,
    /// No connection to the backend.
    ConnectFailed,
    /// A connection that had been used before ended under a request that must not be sent twice.
    StaleConnection,
    /// The backend ended the connection before its response head.
    BackendReset,
    /// No response head in time.
    BackendTimeout,
    /// What the backend sent is no response.
    BackendMalformed(Malformed),
    /// The backend broke off within its response.
    BodyBroken,
    /// The client went away.
    ClientLeft,
}

impl Reason {
    /// The status that answers it, where an answer is made here.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Served | Self::Rule => 200,
            Self::NoRule => 404,
            Self::Malformed(malformed) => malformed.status(),
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::Refused(_) | Self::MaxConnections => 503,
            Self::ConnectFailed
            | Self::StaleConnection
            | Self::BackendReset
            | Self::BackendMalformed(_)
            | Self::BodyBroken => 502,
            Self::BackendTimeout => 504,
            Self::ClientLeft => 499,
        }
    }

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Rule => "rule",
            Self::NoRule => "no_rule",
            Self::Malformed(malformed) => malformed.word(),
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::Refused(refusal) => refusal.word(),
            Self::MaxConnections => "max_connections",
            Self::ConnectFailed => "connect_failed",
            Self::StaleConnection => "stale_connection",
            Self::BackendReset => "backend_reset",
            Self::BackendTimeout => "backend_timeout",
            Self::BackendMalformed(_) => "backend_malformed",
            Self::BodyBroken => "body_broken",
            Self::ClientLeft => "client_left",
        }
    }
}

/// The phrase of a status that is answered here.
pub(crate) const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        // RFC 9112 section 4: the phrase may be absent.
        _ => "",
    }
}
