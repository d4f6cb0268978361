//! Owns what a refusal says: RFC 9457 problems, whose kinds are one closed table.
//!
//! A kind is a word, which programs go by; its URI leads to its row of the table, `/v1/problems/{reason}`. A new one is a variant and a
//! row; `contract::document` says which operations answer with it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use evenkeel_control::command::{Fault, Refused, Tag};
use serde::Serialize;
use utoipa::ToSchema;

use super::asked::{Name, Plain};

/// The media type of what RFC 9457 calls a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

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
    IdempotencyKey,
    KeyInUse,
    KeyReused,
    TooManyKeys,
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
const TABLE: [(Reason, &str, StatusCode, &str); 54] = [
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

    const fn row(self) -> (&'static str, StatusCode, &'static str) {
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
    const fn challenge(self) -> Option<&'static str> {
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

    fn of_word(word: &str) -> Option<Self> {
        Self::all().find(|one| one.word() == word)
    }

    fn uri(self) -> String {
        format!("/v1/problems/{}", self.word())
    }
}

/// Why nothing else is answered, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    #[serde(skip)]
    code: StatusCode,
    /// Where its kind is told, relative to this address.
    #[serde(rename = "type")]
    kind: String,
    /// What its kind is.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// Its kind in one word.
    pub(crate) reason: Reason,
    /// What it is this time, and what to do.
    detail: String,
    /// A name that there is, near to one that there is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    did_you_mean: Option<String>,
    /// What who asks would have to be allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// In seconds.
    #[serde(skip)]
    again_after: Option<u64>,
    /// The revision that runs, where it is another than the one that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    /// What is wrong with a configuration, each where it stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    problems: Vec<Misfit>,
}

/// What is wrong with a configuration, or may not have been meant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Misfit {
    /// In which text: `body`, or a file of the configuration.
    #[schema(example = "body")]
    text: String,
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    /// How many characters are meant.
    length: usize,
    /// `error` or `warning`.
    severity: &'static str,
    /// Which case, in a word.
    #[schema(example = "unknown_key")]
    code: &'static str,
    /// What is wrong and what to do.
    message: String,
}

impl From<Fault> for Misfit {
    fn from(fault: Fault) -> Self {
        Self {
            text: fault.text,
            line: fault.at.line,
            column: fault.at.column,
            length: fault.at.length,
            severity: if fault.error { "error" } else { "warning" },
            code: fault.word,
            message: fault.message,
        }
    }
}

impl Problem {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let (_, code, title) = reason.row();
        Self {
            code,
            kind: reason.uri(),
            title,
            status: code.as_u16(),
            reason,
            detail: detail.into(),
            did_you_mean: None,
            scope: None,
            again_after: None,
            revision: None,
            problems: Vec::new(),
        }
    }

    /// The same, for want of this scope.
    pub(crate) fn lacking(self, scope: String) -> Self {
        let scope = Some(scope);
        Self { scope, ..self }
    }

    /// The same, which may be otherwise in so many seconds.
    pub(crate) fn again_after(self, seconds: u64) -> Self {
        let again_after = Some(seconds);
        Self {
            again_after,
            ..self
        }
    }

    /// The same with the revision that runs.
    pub(crate) fn at(self, revision: Tag) -> Self {
        Self {
            revision: Some(revision.to_string()),
            ..self
        }
    }

    #[cfg(test)]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same with the status of an answer that others made.
    pub(crate) fn with_status(self, code: StatusCode) -> Self {
        Self {
            code,
            status: code.as_u16(),
            ..self
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let reason = match &refused {
            Refused::Unknown { what, .. } => match *what {
                "service" => Reason::UnknownService,
                "backend" => Reason::UnknownBackend,
                "rule" => Reason::UnknownRule,
                _ => Reason::UnknownListener,
            },
            Refused::Busy => Reason::Busy,
            Refused::Draining => Reason::Draining,
            Refused::Upgrading => Reason::Upgrading,
            Refused::TooMany => Reason::TooMany,
            Refused::Bind(_) => Reason::Bind,
            Refused::Stale(_) => Reason::Stale,
            Refused::Faults(_) => Reason::Configuration,
            Refused::Unread(_) => Reason::Unread,
            Refused::NotTaken(_) => Reason::NotTaken,
            Refused::Forgotten(_) => Reason::UnknownRevision,
            Refused::NotOfThese(_) => Reason::NotOfThese,
            Refused::TooManyEdits => Reason::TooManyChanges,
        };
        let mut problem = Self::new(reason, refused.to_string());
        match refused {
            Refused::Unknown { near, .. } => problem.did_you_mean = near,
            Refused::Stale(now) => problem.revision = Some(now.to_string()),
            Refused::Faults(faults) => {
                problem.problems = faults.into_iter().map(Misfit::from).collect();
            }
            _ => {}
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, MEDIA_TYPE)];
        let (reason, again_after) = (self.reason, self.again_after);
        let challenge = reason.challenge().map(|challenge| match &self.scope {
            Some(scope) => format!("{challenge}, scope=\"{scope}\""),
            None => challenge.to_owned(),
        });
        let tag = self.revision.as_ref().map(|tag| format!("\"{tag}\""));
        let mut response = (self.code, kind, Json(self)).into_response();
        response.extensions_mut().insert(reason);
        let headers = response.headers_mut();
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = again_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(tag) = tag.and_then(|tag| tag.parse().ok()) {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

/// A kind of problem.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemKind {
    /// Its URI, as problems have it, relative to this address.
    #[serde(rename = "type")]
    kind: String,
    reason: Reason,
    title: &'static str,
    /// The status that comes with it.
    status: u16,
}

impl From<Reason> for ProblemKind {
    fn from(reason: Reason) -> Self {
        let (_, status, title) = reason.row();
        Self {
            kind: reason.uri(),
            reason,
            title,
            status: status.as_u16(),
        }
    }
}

/// All kinds of problems.
#[utoipa::path(get, path = "/v1/problems", tag = "contract", responses((status = 200, description = "All that there are.", body = Vec<ProblemKind>)))]
async fn problems(_: Plain) -> Json<Vec<ProblemKind>> {
    Json(Reason::all().map(ProblemKind::from).collect())
}

/// One kind of problem: where its URI leads.
#[utoipa::path(get, path = "/v1/problems/{reason}", tag = "contract",
    params(("reason" = String, Path, description = "Its word.")),
    responses((status = 200, description = "What it means.", body = ProblemKind)))]
async fn problem_kind(Name(word): Name, _: Plain) -> Result<Json<ProblemKind>, Problem> {
    match Reason::of_word(&word) {
        Some(reason) => Ok(Json(reason.into())),
        None => {
            let why = "there is no such kind of problem; see /v1/problems";
            Err(Problem::new(Reason::UnknownProblem, why))
        }
    }
}

resource![problems, problem_kind];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_by_its_word() {
        for (at, reason) in Reason::all().enumerate() {
            assert_eq!(reason as usize, at);
            let word = reason.word();
            assert_eq!(serde_json::to_value(reason).unwrap(), word);
            assert_eq!(Reason::of_word(word), Some(reason));
        }
    }
}
