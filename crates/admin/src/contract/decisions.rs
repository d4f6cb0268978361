//! Owns `/v1/decisions`: the last requests that were recorded with their decisions, and one of them.
//!
//! What a decision found is told in the form in which `explain` tells it, by the room that has the words for that.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use evenkeel_control::snapshot::DecisionPart;
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Name, Plain, ROWS, limit_of, values};
use super::problem::{Problem, Reason};
use super::requests::{Request, row};

/// The words for why a request was recorded.
const BECAUSE: [&str; 2] = ["share", "header"];

/// A request that was recorded.
#[derive(Serialize, ToSchema)]
struct DecisionRecord {
    /// The request, with its attempts.
    request: Request,
    /// Why it was recorded: `share`, it was drawn, or `header`, it was asked for.
    #[schema(example = "header")]
    because: &'static str,
    /// Who asked for that: the name of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_by: Option<String>,
    /// The revision that ran when it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "3-1f0c9a2b")]
    revision: Option<String>,
    /// The first sixteen decisions, in their order: each with the service, who was picked or why nobody, the candidates as they were found,
    /// what bounded the attempt and how that ended, with the keys that docs/explain.md has. Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<Vec<serde_json::Value>>,
    /// How many more there were. Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions_more: Option<u32>,
}

/// Requests that were recorded.
#[derive(Serialize, ToSchema)]
struct Decisions {
    /// In the order in which they began.
    items: Vec<DecisionRecord>,
    /// How many were recorded since the process began.
    recorded: u64,
    /// Of them, those that newer ones have taken the place of.
    overwritten: u64,
    /// How many were to be recorded and are not: too many in a second, or that have not ended, or somebody looked when they ended; those with a token that nobody has
    /// who may ask are counted too.
    missed: u64,
    /// How many are remembered of each kind, at most; of large ones fewer.
    most: usize,
}

impl From<DecisionPart> for DecisionRecord {
    fn from(one: DecisionPart) -> Self {
        Self {
            request: row(one.request),
            because: one.because,
            asked_by: one.asked_by,
            revision: one.revision,
            decisions: None,
            decisions_more: None,
        }
    }
}

/// Which requests.
#[derive(Debug, Default, PartialEq, Eq, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Recorded {
    /// So many rows at most, the last; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Recorded for this: `share` or `header`.
    because: Option<String>,
    /// Of this service, which was asked last.
    service: Option<String>,
}

impl Recorded {
    fn of(query: Option<&str>) -> Result<Self, Problem> {
        let [limit, because, service] = values(query, ["limit", "because", "service"])?;
        if because
            .as_deref()
            .is_some_and(|word| !BECAUSE.contains(&word))
        {
            let why = "`because` takes `share` or `header`";
            return Err(Problem::new(Reason::Query, why));
        }
        Ok(Self {
            limit: limit.as_deref().map(limit_of).transpose()?,
            because,
            service,
        })
    }

    fn wants(&self, one: &DecisionPart) -> bool {
        let because = |word: &String| one.because == word;
        let service = |name: &String| one.request.service.as_ref() == Some(name);
        self.because.as_ref().is_none_or(because) && self.service.as_ref().is_none_or(service)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Recorded {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts.uri.query())
    }
}

/// The last requests that were recorded: a share of them, and those that showed the token of somebody who may ask. Each worker remembers
/// 64 of each kind, 1 MiB at most.
#[utoipa::path(get, path = "/v1/decisions", tag = "decisions", params(Recorded),
    responses((status = 200, description = "Those that are remembered.", body = Decisions)))]
async fn decisions(State(shown): State<Asked>, which: Recorded) -> Json<Decisions> {
    let most = which.limit.unwrap_or(ROWS).into();
    let items = shown.watch.decisions(most, |one| which.wants(one));
    let (counts, most) = shown.watch.record_counts();
    let sum = |counts: &[(&str, u64)]| counts.iter().map(|(_, count)| count).sum();
    Json(Decisions {
        items: items.into_iter().map(DecisionRecord::from).collect(),
        recorded: sum(&counts.kept),
        overwritten: counts.overwritten,
        missed: sum(&counts.missed),
        most,
    })
}

/// One request with its decisions: whom each attempt could have gone to, why it went where it did, and how it ended.
#[utoipa::path(get, path = "/v1/decisions/{request}", tag = "decisions",
    params(("request" = String, Path, description = "Its id, or what its backends know it by.")),
    responses((status = 200, description = "The record.", body = DecisionRecord)))]
async fn decision(
    State(shown): State<Asked>,
    Name(id): Name,
    _: Plain,
) -> Result<Json<DecisionRecord>, Problem> {
    let Some(one) = shown.watch.decisions_of(&id) else {
        let why = "no record of this name is remembered: it was not recorded, or others have taken its place";
        return Err(Problem::new(Reason::UnknownDecision, why));
    };
    Ok(Json(DecisionRecord {
        decisions: Some((shown.words.recorded)(&shown.watch, &one)),
        decisions_more: Some(one.unwritten),
        ..one.into()
    }))
}

resource![decisions, decision];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_decisions_is_taken_or_refused_by_name() {
        let recorded =
            |query| Recorded::of(Some(query)).map_err(|problem| problem.detail().to_owned());
        assert_eq!(recorded(""), Ok(Recorded::default()));
        let all = Recorded {
            limit: Some(5),
            because: Some("header".into()),
            service: Some("api".into()),
        };
        assert_eq!(recorded("because=header&limit=5&service=api"), Ok(all));
        assert!(recorded("because=chance").unwrap_err().contains("`share`"));
        assert!(recorded("limit=1001").unwrap_err().contains("1 to 1000"));
        assert!(
            recorded("failed=true")
                .unwrap_err()
                .contains("no key `failed`")
        );
    }
}
