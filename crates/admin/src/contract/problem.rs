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

/// The kinds.
mod reason;

pub(crate) use reason::Reason;

/// Why nothing else is answered.
#[derive(Debug)]
pub(crate) struct Problem(Box<Told>);

/// Why nothing else is answered, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Told {
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
    reason: Reason,
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
        Self(Box::new(Told {
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
        }))
    }

    #[cfg(test)]
    pub(crate) fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The same, for want of this scope.
    pub(crate) fn lacking(mut self, scope: String) -> Self {
        self.0.scope = Some(scope);
        self
    }

    /// The same, which may be otherwise in so many seconds.
    pub(crate) fn again_after(mut self, seconds: u64) -> Self {
        self.0.again_after = Some(seconds);
        self
    }

    /// The same with the revision that runs.
    pub(crate) fn at(mut self, revision: Tag) -> Self {
        self.0.revision = Some(revision.to_string());
        self
    }

    #[cfg(test)]
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The same with the status of an answer that others made.
    pub(crate) fn with_status(mut self, code: StatusCode) -> Self {
        (self.0.code, self.0.status) = (code, code.as_u16());
        self
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let reason = match &refused {
            Refused::Unknown { what, .. } => match *what {
                "service" => Reason::UnknownService,
                "backend" => Reason::UnknownBackend,
                "rule" => Reason::UnknownRule,
                "alert" => Reason::UnknownAlert,
                "silence" => Reason::UnknownSilence,
                "letter" => Reason::UnknownLetter,
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
            Refused::TooSoon(_) => Reason::TooSoon,
        };
        let mut problem = Self::new(reason, refused.to_string());
        match refused {
            Refused::Unknown { near, .. } => problem.0.did_you_mean = near,
            Refused::TooSoon(wait) => {
                let seconds = wait.as_millis().div_ceil(1000);
                problem.0.again_after = Some(u64::try_from(seconds).unwrap_or(u64::MAX));
            }
            Refused::Stale(now) => problem.0.revision = Some(now.to_string()),
            Refused::Faults(faults) => {
                problem.0.problems = faults.into_iter().map(Misfit::from).collect();
            }
            _ => {}
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, MEDIA_TYPE)];
        let (reason, again_after) = (self.0.reason, self.0.again_after);
        let challenge = reason.challenge().map(|challenge| match &self.0.scope {
            Some(scope) => format!("{challenge}, scope=\"{scope}\""),
            None => challenge.to_owned(),
        });
        let tag = self.0.revision.as_ref().map(|tag| format!("\"{tag}\""));
        let mut response = (self.0.code, kind, Json(self.0)).into_response();
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
