//! Owns the kinds of refusals: each with its word, its status and its title.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    NoPage,
    Method,
    Path,
    Query,
    Body,
    BodyTooLarge,
    NotYourHost,
    NotLocal,
    CrossSite,
    NotMeant,
    UnknownService,
    UnknownBackend,
    UnknownListener,
    UnknownRule,
    UnknownProblem,
    Busy,
    Draining,
    Upgrading,
    TooMany,
    Bind,
    TooManyReaders,
    UnknownRequest,
    UnknownDecision,
    Refused,
    NoCredentials,
    MalformedToken,
    UnknownToken,
    UnknownCertificate,
    Expired,
    NotAllowed,
    TooManyFailures,
    NoRevision,
    Stale,
    IfMatch,
    Configuration,
    Unread,
    NotTaken,
    NotOfThese,
    TooManyChanges,
    UnknownRevision,
    UnknownValue,
    UnknownAlert,
    UnknownSilence,
    UnknownLetter,
    IdempotencyKey,
    KeyInUse,
    KeyReused,
    TooManyKeys,
    TooSoon,
    UnknownPick,
    PickOver,
    PicksFull,
    NoBackends,
    AllDown,
    AllFull,
    AllTried,
    Declined,
    QueueFull,
    QueueTimeout,
}

/// Each kind with its word, its status and its title, in the order of [`Reason`].
pub(super) const TABLE: [(Reason, &str, StatusCode, &str); 59] = [
    (
        Reason::NoPage,
        "no_page",
        StatusCode::NOT_FOUND,
        "There is no such page",
    ),
    (
        Reason::Method,
        "method",
        StatusCode::METHOD_NOT_ALLOWED,
        "This address takes another method",
    ),
    (
        Reason::Path,
        "path",
        StatusCode::BAD_REQUEST,
        "A part of the path is no text",
    ),
    (
        Reason::Query,
        "query",
        StatusCode::BAD_REQUEST,
        "The query has a key or a value that is not taken",
    ),
    (
        Reason::Body,
        "body",
        StatusCode::BAD_REQUEST,
        "The body is not taken",
    ),
    (
        Reason::BodyTooLarge,
        "body_too_large",
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body is larger than any that is asked for",
    ),
    (
        Reason::NotYourHost,
        "not_your_host",
        StatusCode::MISDIRECTED_REQUEST,
        "The address does not answer to this name",
    ),
    (
        Reason::NotLocal,
        "not_local",
        StatusCode::FORBIDDEN,
        "Nothing is told beyond loopback to who need not say who it is",
    ),
    (
        Reason::CrossSite,
        "cross_site",
        StatusCode::FORBIDDEN,
        "A page of another origin asks",
    ),
    (
        Reason::NotMeant,
        "not_meant",
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "A form of a page could have sent this",
    ),
    (
        Reason::UnknownService,
        "unknown_service",
        StatusCode::NOT_FOUND,
        "There is no service of this name",
    ),
    (
        Reason::UnknownBackend,
        "unknown_backend",
        StatusCode::NOT_FOUND,
        "The service has no backend of this id",
    ),
    (
        Reason::UnknownListener,
        "unknown_listener",
        StatusCode::NOT_FOUND,
        "There is no listener of this name",
    ),
    (
        Reason::UnknownRule,
        "unknown_rule",
        StatusCode::NOT_FOUND,
        "There is no rule of this name",
    ),
    (
        Reason::UnknownProblem,
        "unknown_problem",
        StatusCode::NOT_FOUND,
        "There is no kind of problem of this name",
    ),
    (
        Reason::Busy,
        "busy",
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many changes wait",
    ),
    (
        Reason::Draining,
        "draining",
        StatusCode::SERVICE_UNAVAILABLE,
        "The instance drains",
    ),
    (
        Reason::Upgrading,
        "upgrading",
        StatusCode::SERVICE_UNAVAILABLE,
        "Another process is about to take over",
    ),
    (
        Reason::TooMany,
        "too_many",
        StatusCode::CONFLICT,
        "Too many backends are wanted otherwise already",
    ),
    (
        Reason::Bind,
        "bind",
        StatusCode::CONFLICT,
        "The listener cannot be bound again",
    ),
    (
        Reason::TooManyReaders,
        "too_many_readers",
        StatusCode::SERVICE_UNAVAILABLE,
        "As many read events along as may",
    ),
    (
        Reason::UnknownRequest,
        "unknown_request",
        StatusCode::NOT_FOUND,
        "No request of this name is remembered",
    ),
    (
        Reason::UnknownDecision,
        "unknown_decision",
        StatusCode::NOT_FOUND,
        "No request of this name was recorded, or it is forgotten",
    ),
    (
        Reason::Refused,
        "refused",
        StatusCode::BAD_REQUEST,
        "The request is not taken",
    ),
    (
        Reason::NoCredentials,
        "no_credentials",
        StatusCode::UNAUTHORIZED,
        "Nobody has said who asks",
    ),
    (
        Reason::MalformedToken,
        "malformed_token",
        StatusCode::UNAUTHORIZED,
        "What was shown is no token",
    ),
    (
        Reason::UnknownToken,
        "unknown_token",
        StatusCode::UNAUTHORIZED,
        "Nobody has this token",
    ),
    (
        Reason::UnknownCertificate,
        "unknown_certificate",
        StatusCode::UNAUTHORIZED,
        "Nobody is known by this certificate",
    ),
    (
        Reason::Expired,
        "expired",
        StatusCode::UNAUTHORIZED,
        "The time of who asks is over",
    ),
    (
        Reason::NotAllowed,
        "not_allowed",
        StatusCode::FORBIDDEN,
        "Who asks may not do this",
    ),
    (
        Reason::TooManyFailures,
        "too_many_failures",
        StatusCode::TOO_MANY_REQUESTS,
        "Too many requests have not said who asks",
    ),
    (
        Reason::NoRevision,
        "no_revision",
        StatusCode::PRECONDITION_REQUIRED,
        "A write says which revision it has seen",
    ),
    (
        Reason::Stale,
        "stale",
        StatusCode::PRECONDITION_FAILED,
        "Another revision runs than the one that was seen",
    ),
    (
        Reason::IfMatch,
        "if_match",
        StatusCode::BAD_REQUEST,
        "If-Match is not understood",
    ),
    (
        Reason::Configuration,
        "configuration",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The configuration would have errors",
    ),
    (
        Reason::Unread,
        "unread",
        StatusCode::CONFLICT,
        "The configuration cannot be read",
    ),
    (
        Reason::NotTaken,
        "not_taken",
        StatusCode::CONFLICT,
        "The configuration cannot be taken",
    ),
    (
        Reason::NotOfThese,
        "not_of_these",
        StatusCode::CONFLICT,
        "This is not possible as things are",
    ),
    (
        Reason::TooManyChanges,
        "too_many_changes",
        StatusCode::CONFLICT,
        "Too much is changed beside the configuration",
    ),
    (
        Reason::UnknownRevision,
        "unknown_revision",
        StatusCode::NOT_FOUND,
        "No revision of this number is remembered",
    ),
    (
        Reason::UnknownValue,
        "unknown_value",
        StatusCode::NOT_FOUND,
        "There is no value at this path",
    ),
    (
        Reason::UnknownAlert,
        "unknown_alert",
        StatusCode::NOT_FOUND,
        "No alert of this number is kept",
    ),
    (
        Reason::UnknownSilence,
        "unknown_silence",
        StatusCode::NOT_FOUND,
        "There is no silence of this number",
    ),
    (
        Reason::UnknownLetter,
        "unknown_letter",
        StatusCode::NOT_FOUND,
        "There is no dead letter of this number",
    ),
    (
        Reason::IdempotencyKey,
        "idempotency_key",
        StatusCode::BAD_REQUEST,
        "Idempotency-Key is not taken",
    ),
    (
        Reason::KeyInUse,
        "key_in_use",
        StatusCode::CONFLICT,
        "What was asked with this key is not over",
    ),
    (
        Reason::KeyReused,
        "key_reused",
        StatusCode::UNPROCESSABLE_ENTITY,
        "Something else was asked with this key",
    ),
    (
        Reason::TooManyKeys,
        "too_many_keys",
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many answers are remembered by their key",
    ),
    (
        Reason::TooSoon,
        "too_soon",
        StatusCode::CONFLICT,
        "It was done ahead of its time already",
    ),
    (
        Reason::UnknownPick,
        "unknown_pick",
        StatusCode::NOT_FOUND,
        "This process has given no pick of this id",
    ),
    (
        Reason::PickOver,
        "pick_over",
        StatusCode::GONE,
        "The pick was reported before, or its time is over",
    ),
    (
        Reason::PicksFull,
        "picks_full",
        StatusCode::TOO_MANY_REQUESTS,
        "As many picks are out as may be",
    ),
    (
        Reason::NoBackends,
        "no_backends",
        StatusCode::SERVICE_UNAVAILABLE,
        "The service has no backends",
    ),
    (
        Reason::AllDown,
        "all_down",
        StatusCode::SERVICE_UNAVAILABLE,
        "No backend of the service may be picked",
    ),
    (
        Reason::AllFull,
        "all_full",
        StatusCode::TOO_MANY_REQUESTS,
        "The service, or each backend that may be picked, is full",
    ),
    (
        Reason::AllTried,
        "all_tried",
        StatusCode::SERVICE_UNAVAILABLE,
        "Each backend that may be picked was tried",
    ),
    (
        Reason::Declined,
        "declined",
        StatusCode::SERVICE_UNAVAILABLE,
        "The policy chose nobody",
    ),
    (
        Reason::QueueFull,
        "queue_full",
        StatusCode::TOO_MANY_REQUESTS,
        "The service is full, and so is its queue",
    ),
    (
        Reason::QueueTimeout,
        "queue_timeout",
        StatusCode::TOO_MANY_REQUESTS,
        "The service was full for as long as was to be waited",
    ),
];

impl Reason {
    /// Why the gate lets nobody pass.
    pub(crate) const OF_THE_GATE: [Self; 10] = [
        Self::NotYourHost,
        Self::CrossSite,
        Self::NotLocal,
        Self::NoCredentials,
        Self::MalformedToken,
        Self::UnknownToken,
        Self::UnknownCertificate,
        Self::Expired,
        Self::NotAllowed,
        Self::TooManyFailures,
    ];

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    pub(super) const fn row(self) -> (&'static str, StatusCode, &'static str) {
        let (_, word, status, title) = TABLE[self as usize];
        (word, status, title)
    }

    pub(crate) const fn word(self) -> &'static str {
        self.row().0
    }

    pub(crate) const fn status(self) -> StatusCode {
        self.row().1
    }

    /// What RFC 6750 section 3.1 calls it. None: it is not about who asks.
    pub(super) const fn challenge(self) -> Option<&'static str> {
        match self {
            Self::NoCredentials => Some("Bearer realm=\"evenkeel\""),
            Self::MalformedToken => Some("Bearer realm=\"evenkeel\", error=\"invalid_request\""),
            Self::UnknownToken | Self::UnknownCertificate | Self::Expired => {
                Some("Bearer realm=\"evenkeel\", error=\"invalid_token\"")
            }
            Self::NotAllowed => Some("Bearer realm=\"evenkeel\", error=\"insufficient_scope\""),
            _ => None,
        }
    }

    pub(super) fn of_word(word: &str) -> Option<Self> {
        Self::all().find(|one| one.word() == word)
    }

    pub(super) fn uri(self) -> String {
        format!("/v1/problems/{}", self.word())
    }
}
