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
    /// A rule denies it.
    Denied,
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
    /// What a rule makes of the path or the host is none, or is too long.
    RewriteFailed,
    /// What a rule makes of the host is none.
    RedirectFailed,
    /// Where a rule sends the client is longer than a URL may be.
    RedirectTooLong,
    /// The core gave no pick.
    Refused(Refusal),
    /// All sockets that the backend may have are in use.
    MaxConnections,
    /// No connection to the backend.
    ConnectFailed,
    /// This machine lacks what a connection takes: descriptors, ports, memory.
    LocalResources,
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
    /// The client went away while it sent its request or was sent its answer.
    ClientLeft,
    /// The client went away while it waited for its answer.
    ClientGone,
    /// The client took nothing of its answer for too long.
    ClientStalled,
}

/// The reasons that hold nothing, in the order of their numbers.
const PLAIN: [Reason; 20] = [
    Reason::Served,
    Reason::Rule,
    Reason::NoRule,
    Reason::HeadTimeout,
    Reason::BodyTimeout,
    Reason::BodyTooLarge,
    Reason::MaxConnections,
    Reason::ConnectFailed,
    Reason::StaleConnection,
    Reason::BackendReset,
    Reason::BackendTimeout,
    Reason::BodyBroken,
    Reason::ClientLeft,
    Reason::ClientGone,
    Reason::ClientStalled,
    Reason::LocalResources,
    Reason::Denied,
    Reason::RewriteFailed,
    Reason::RedirectFailed,
    Reason::RedirectTooLong,
];

/// How many reasons there are.
pub const REASONS: usize = PLAIN.len() + Refusal::ALL.len() + 2 * Malformed::ALL.len();

impl Reason {
    /// All of them; each stands at its number.
    pub fn all() -> impl Iterator<Item = Self> {
        let malformed = || Malformed::ALL.iter().copied();
        PLAIN
            .into_iter()
            .chain(Refusal::ALL.into_iter().map(Self::Refused))
            .chain(malformed().map(Self::Malformed))
            .chain(malformed().map(Self::BackendMalformed))
    }

    /// Its number, below [`REASONS`]: where it is counted.
    #[must_use]
    pub const fn number(self) -> usize {
        const REFUSED: usize = PLAIN.len();
        const MALFORMED: usize = REFUSED + Refusal::ALL.len();
        const BACKEND: usize = MALFORMED + Malformed::ALL.len();
        match self {
            Self::Served => 0,
            Self::Rule => 1,
            Self::NoRule => 2,
            Self::HeadTimeout => 3,
            Self::BodyTimeout => 4,
            Self::BodyTooLarge => 5,
            Self::MaxConnections => 6,
            Self::ConnectFailed => 7,
            Self::StaleConnection => 8,
            Self::BackendReset => 9,
            Self::BackendTimeout => 10,
            Self::BodyBroken => 11,
            Self::ClientLeft => 12,
            Self::ClientGone => 13,
            Self::ClientStalled => 14,
            Self::LocalResources => 15,
            Self::Denied => 16,
            Self::RewriteFailed => 17,
            Self::RedirectFailed => 18,
            Self::RedirectTooLong => 19,
            Self::Refused(refusal) => REFUSED + refusal as usize,
            Self::Malformed(malformed) => MALFORMED + malformed as usize,
            Self::BackendMalformed(malformed) => BACKEND + malformed as usize,
        }
    }

    /// The status that answers it, where an answer is made here.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Served | Self::Rule => 200,
            Self::Denied => 403,
            Self::NoRule => 404,
            Self::RewriteFailed | Self::RedirectFailed | Self::RedirectTooLong => 500,
            Self::Malformed(malformed) => malformed.status(),
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::Refused(_) | Self::MaxConnections | Self::LocalResources => 503,
            Self::ConnectFailed
            | Self::StaleConnection
            | Self::BackendReset
            | Self::BackendMalformed(_)
            | Self::BodyBroken => 502,
            Self::BackendTimeout => 504,
            Self::ClientLeft | Self::ClientGone | Self::ClientStalled => 499,
        }
    }

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Rule => "rule",
            Self::Denied => "denied",
            Self::NoRule => "no_rule",
            Self::RewriteFailed => "rewrite_failed",
            Self::RedirectFailed => "redirect_failed",
            Self::RedirectTooLong => "redirect_too_long",
            Self::Malformed(malformed) => malformed.word(),
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::Refused(refusal) => refusal.word(),
            Self::MaxConnections => "max_connections",
            Self::ConnectFailed => "connect_failed",
            Self::LocalResources => "local_resources",
            Self::StaleConnection => "stale_connection",
            Self::BackendReset => "backend_reset",
            Self::BackendTimeout => "backend_timeout",
            Self::BackendMalformed(malformed) => malformed.backend_word(),
            Self::BodyBroken => "body_broken",
            Self::ClientLeft => "client_left",
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
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
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use evenkeel_config::plan::ERROR_STATUSES;

    use super::*;

    #[test]
    fn every_reason_has_a_number_and_a_word_of_its_own() {
        let all: Vec<_> = Reason::all().collect();
        assert_eq!(all.len(), REASONS);
        for (number, reason) in all.iter().enumerate() {
            assert_eq!(reason.number(), number, "{reason:?}");
        }
        let words: BTreeSet<_> = all.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), REASONS, "two share a word");
    }

    #[test]
    fn every_status_that_is_answered_here_has_a_phrase_and_may_have_a_page() {
        for reason in Reason::all().filter(|reason| reason.status() != 499) {
            assert_ne!(phrase(reason.status()), "", "{reason:?}");
            let pages = reason.status() == 200 || ERROR_STATUSES.contains(&reason.status());
            assert!(pages, "{reason:?} has no page");
        }
    }
}
