//! Owns the closed list of reasons: why an answer is what it is. The same words stand in logs, metrics, answers and
//! `docs/reasons.md`, which `cargo xtask reasons` writes from here. A reason that holds nothing is one row of the table below.

use evenkeel_balance::pick::Refusal;
use evenkeel_wire::Malformed;
use evenkeel_wire::grpc::Status;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Nothing went wrong, or nobody could help it.
    Nobody,
    /// Who sent the request.
    Client,
    /// Who was to answer it.
    Backend,
    /// Who configured this instance, or gave its services too little.
    Operator,
    /// The machine that this instance runs on.
    Machine,
}

impl Blame {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Operator => "operator",
            Self::Machine => "machine",
        }
    }
}

/// The reasons that hold nothing: name, word, the status that answers it where an answer is made here, the one that answers a call of
/// gRPC, whose fault, meaning.
macro_rules! reasons {
    ($($case:ident $word:literal $status:literal $grpc:ident $blame:ident $meaning:literal,)*) => {
        /// Why an answer is what it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $case,)*
            /// The core gave no pick.
            Refused(Refusal),
            /// The request was refused for what it is.
            Malformed(Malformed),
            /// What the backend sent is no response.
            BackendMalformed(Malformed),
        }

        /// The reasons that hold nothing, in the order of their numbers.
        const PLAIN: &[Reason] = &[$(Reason::$case),*];

        /// Their numbers.
        enum Number {
            $($case,)*
        }

        impl Reason {
            /// Its number, below [`REASONS`]: where it is counted.
            #[must_use]
            pub const fn number(self) -> usize {
                const REFUSED: usize = PLAIN.len();
                const MALFORMED: usize = REFUSED + Refusal::ALL.len();
                const BACKEND: usize = MALFORMED + Malformed::ALL.len();
                match self {
                    $(Self::$case => Number::$case as usize,)*
                    Self::Refused(refusal) => REFUSED + refusal as usize,
                    Self::Malformed(malformed) => MALFORMED + malformed as usize,
                    Self::BackendMalformed(malformed) => BACKEND + malformed as usize,
                }
            }

            /// The status that answers it, where an answer is made here.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$case => $status,)*
                    Self::Refused(_) => 503,
                    Self::Malformed(malformed) => malformed.status(),
                    Self::BackendMalformed(_) => 502,
                }
            }

            /// The status that answers a call of gRPC, where an answer is made here: as gRPC's `statuscodes.md` has it. To be out
            /// of something is no invitation to try again at once, as `UNAVAILABLE` would be.
            #[must_use]
            pub const fn grpc(self) -> Status {
                match self {
                    $(Self::$case => Status::$grpc,)*
                    Self::Refused(
                        Refusal::AllFull | Refusal::QueueFull | Refusal::QueueTimeout,
                    ) => Status::ResourceExhausted,
                    Self::Refused(_) => Status::Unavailable,
                    Self::Malformed(_) | Self::BackendMalformed(_) => Status::Internal,
                }
            }

            /// The word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$case => $word,)*
                    Self::Refused(refusal) => refusal.word(),
                    Self::Malformed(malformed) => malformed.word(),
                    Self::BackendMalformed(malformed) => malformed.backend_word(),
                }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self {
                    $(Self::$case => Blame::$blame,)*
                    Self::Refused(Refusal::AllDown | Refusal::AllTried) => Blame::Backend,
                    Self::Refused(_) => Blame::Operator,
                    Self::Malformed(_) => Blame::Client,
                    Self::BackendMalformed(_) => Blame::Backend,
                }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$case => $meaning,)*
                    Self::Refused(refusal) => refusal.meaning(),
                    Self::Malformed(malformed) | Self::BackendMalformed(malformed) => {
                        malformed.meaning()
                    }
                }
            }
        }
    };
}

reasons! {
    Served "served" 200 Ok Nobody "The backend's own answer.",
    Rule "rule" 200 Ok Nobody "A rule's answer or redirect.",
    NoRule "no_rule" 404 Unimplemented Operator "No rule matches.",
    HeadTimeout "head_timeout" 408 DeadlineExceeded Client "The head did not come in time.",
    BodyTimeout "body_timeout" 408 DeadlineExceeded Client "The body did not come in time.",
    BodyTooLarge "body_too_large" 413 ResourceExhausted Client "The body is over its limit.",
    MaxConnections "max_connections" 503 ResourceExhausted Operator "All sockets that the backend may have are in use.",
    ConnectFailed "connect_failed" 502 Unavailable Backend "No connection to the backend.",
    StaleConnection "stale_connection" 502 Unavailable Nobody "A connection that had been used before ended under a request that must not be sent twice.",
    BackendReset "backend_reset" 502 Unavailable Backend "The backend ended the connection before its response head.",
    BackendTimeout "backend_timeout" 504 DeadlineExceeded Backend "No response head in time.",
    CallTimeout "call_timeout" 504 DeadlineExceeded Nobody "The time that a gRPC client gives its call was over.",
    BodyBroken "body_broken" 502 Unavailable Backend "The backend broke off within its response.",
    ClientLeft "client_left" 499 Cancelled Client "The client went away while it sent its request or was sent its answer.",
    ClientGone "client_gone" 499 Cancelled Client "The client went away while it waited for its answer.",
    ClientStalled "client_stalled" 499 Cancelled Client "The client took nothing of its answer for too long.",
    BackendDrained "backend_drained" 503 Unavailable Operator "The drain of the backend, or of its service, took too long: what was left there was cut.",
    InstanceDrained "instance_drained" 503 Unavailable Nobody "The instance ended: when the drain's deadline had passed, no backend had answered.",
    Drained "drained" 499 Cancelled Nobody "The instance ended: what was left when the drain's deadline had passed was cut.",
    LocalResources "local_resources" 503 ResourceExhausted Machine "This machine lacks what a connection takes: descriptors, ports, memory.",
    BackendTls "backend_tls" 502 Unavailable Backend "Who answers is not the backend, or nothing was agreed on with it: its TLS handshake failed.",
    Misdirected "misdirected" 421 Unknown Client "The host is not one that the certificate of this connection is for.",
    ListenerGone "listener_gone" 503 Unavailable Operator "The listener has left the configuration, and with it where its flows go.",
    IdleTimeout "idle_timeout" 408 DeadlineExceeded Nobody "No byte went either way of a flow or a tunnel for too long, or one end took none.",
    BadHello "bad_hello" 400 Internal Client "What a client began with is no TLS hello, or none that can be read, or one of more than 64 KiB.",
    HelloTimeout "hello_timeout" 408 DeadlineExceeded Client "The TLS hello did not come in time.",
    TooManyHellos "too_many_hellos" 503 ResourceExhausted Operator "As many TLS hellos are waited for as may be.",
    UnknownName "unknown_name" 421 Unknown Client "The name that a client asks for in its TLS hello has no service here.",
    UnknownProtocol "unknown_protocol" 421 Unknown Client "What stands at the name of a TLS hello is for none of the protocols that the client offers.",
    RateLimited "rate_limited" 429 ResourceExhausted Client "The client, or all together, asked more often than a rate limit allows.",
    Denied "denied" 403 PermissionDenied Client "A rule denies it.",
    RewriteFailed "rewrite_failed" 500 Internal Operator "What a rule makes of the path or the host is none, or is too long.",
    RedirectFailed "redirect_failed" 500 Internal Operator "What a rule makes of the host is none.",
    RedirectTooLong "redirect_too_long" 500 Internal Operator "Where a rule sends the client is longer than a URL may be.",
}

/// How many reasons there are.
pub const REASONS: usize = PLAIN.len() + Refusal::ALL.len() + 2 * Malformed::ALL.len();

impl Reason {
    /// All of them; each stands at its number.
    pub fn all() -> impl Iterator<Item = Self> {
        let malformed = || Malformed::ALL.iter().copied();
        let plain = PLAIN.iter().copied();
        plain
            .chain(Refusal::ALL.into_iter().map(Self::Refused))
            .chain(malformed().map(Self::Malformed))
            .chain(malformed().map(Self::BackendMalformed))
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

    /// What a client would make of the status of HTTP (`http-grpc-status-mapping.md`), and where we know more.
    #[test]
    fn calls_are_told_no_less_than_http_would() {
        for reason in Reason::all() {
            let (status, grpc) = (reason.status(), reason.grpc());
            let derived = Status::of_http(status);
            let more = match (status, grpc) {
                (200, Status::Ok) | (499, Status::Cancelled) => true,
                // Somebody's time.
                (408 | 504, Status::DeadlineExceeded) => true,
                // Out of something.
                (413 | 429 | 503, Status::ResourceExhausted) => true,
                // Messages and settings that are none (`statuscodes.md`: errors in parsing).
                (400..=599, Status::Internal) => true,
                _ => false,
            };
            assert!(more || grpc == derived, "{reason:?}: {status} {grpc:?}");
        }
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
