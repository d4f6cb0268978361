//! Owns what a write has seen, its `If-Match`, and what it answers: the revision that runs then, as its `ETag`.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use evenkeel_control::Command;
use evenkeel_control::command::{self, Answer, Tag};
use serde::Serialize;

use crate::contract::Asked;
use crate::contract::problem::{Problem, Reason};
use crate::gate::Caller;
use crate::pages::Shown;

/// Revisions in one `If-Match`: more than one is for who does not know which of his writes was taken.
const TAGS: usize = 16;

/// What a write says of itself.
pub(crate) struct Seen {
    /// The revisions that it is meant for. None: whichever runs.
    tags: Option<Vec<Tag>>,
    /// Who sends it.
    by: Option<Arc<str>>,
}

impl FromRequestParts<Asked> for Seen {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shown: &Asked) -> Result<Self, Problem> {
        let fields = parts.headers.get_all(header::IF_MATCH);
        let texts: Option<Vec<&str>> = fields.iter().map(|one| one.to_str().ok()).collect();
        let texts = texts.ok_or_else(not_understood)?;
        if texts.is_empty() {
            return Err(missing(
                "send the revision that you have seen as `If-Match`, as the `ETag` of an answer or `/v1/version` tells it",
                shown,
            ));
        }
        let by = parts.extensions.get::<Caller>();
        let by = by.map(|caller| caller.name.clone());
        read(&texts).map(|tags| Self { tags, by })
    }
}

fn missing(why: &str, shown: &Shown) -> Problem {
    Problem::new(Reason::NoRevision, why).at(shown.watch.revision())
}

fn not_understood() -> Problem {
    let why = format!("`If-Match` takes a revision in double quotes, up to {TAGS} of them, or `*`");
    Problem::new(Reason::IfMatch, why)
}

/// RFC 9110 section 13.1.1. A weak tag matches nothing; one of another kind is none of ours and matches nothing either.
fn read(fields: &[&str]) -> Result<Option<Vec<Tag>>, Problem> {
    let all: Vec<_> = fields
        .iter()
        .flat_map(|one| one.split(','))
        .map(str::trim)
        .collect();
    if all == ["*"] {
        return Ok(None);
    }
    if all.len() > TAGS {
        return Err(not_understood());
    }
    let mut tags = Vec::new();
    for one in all {
        let quoted = one.strip_prefix("W/").unwrap_or(one);
        let inner = quoted
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let inner = inner.ok_or_else(not_understood)?;
        if inner.contains('"') {
            return Err(not_understood());
        }
        if quoted.len() == one.len() {
            tags.extend(inner.parse::<Tag>());
        }
    }
    Ok(Some(tags))
}

/// Gives a command to the one writer.
pub(super) async fn give(shown: &Shown, seen: Seen, command: Command) -> Result<Answer, Problem> {
    if seen.tags.is_none() && command.replaces() {
        let why =
            "this replaces what stands there: `*` is not enough, say which revision you have seen";
        return Err(missing(why, shown));
    }
    let mut asked = command::Asked::from(command);
    asked.seen = seen.tags;
    if let Some(by) = seen.by {
        asked.by = by;
    }
    Ok(shown.watch.order(asked).await?)
}

/// An answer with the revision that runs.
pub(crate) struct Written<T> {
    tag: Tag,
    status: StatusCode,
    location: Option<String>,
    body: T,
}

impl<T> Written<T> {
    pub(crate) const fn of(tag: Tag, body: T) -> Self {
        Self {
            tag,
            status: StatusCode::OK,
            location: None,
            body,
        }
    }

    /// Something came that was not there before, and is here.
    pub(super) fn created(self, at: String) -> Self {
        Self {
            status: StatusCode::CREATED,
            location: Some(at),
            ..self
        }
    }
}

impl<T: Serialize> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        let tag = [(header::ETAG, format!("\"{}\"", self.tag))];
        let mut response = (self.status, tag, Json(self.body)).into_response();
        if let Some(at) = self.location.and_then(|at| at.parse().ok()) {
            response.headers_mut().insert(header::LOCATION, at);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[&str], expect: Result<Option<&[u64]>, ()>) {
        let got = read(fields).map_err(|problem| assert_eq!(problem.reason(), Reason::IfMatch));
        let got =
            got.map(|tags| tags.map(|all| all.iter().map(|one| one.number).collect::<Vec<_>>()));
        assert_eq!(
            got,
            expect.map(|all| all.map(<[u64]>::to_vec)),
            "{fields:?}"
        );
    }

    #[test]
    fn what_was_seen_is_read_as_http_has_it() {
        check(&["*"], Ok(None));
        check(&["\"3-0000000a\""], Ok(Some(&[3])));
        check(
            &["\"3-0000000a\" , \"4-0000000a\"", "\"5-1\""],
            Ok(Some(&[3, 4, 5])),
        );
        // Strong tags alone match, and tags of others match nothing.
        check(&["W/\"3-0000000a\""], Ok(Some(&[])));
        check(&["\"x\"", "\"\""], Ok(Some(&[])));
        for wrong in ["3", "3-0000000a", "\"3-a", "\"a\"b\"", "", "*, \"3-a\""] {
            check(&[wrong], Err(()));
        }
        check(&[&["\"3-a\""; TAGS + 1].join(",")], Err(()));
    }
}
