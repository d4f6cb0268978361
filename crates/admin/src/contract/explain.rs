//! Owns `/v1/explain`: what a running instance would do with a request. Nothing is done, nothing is counted.

use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Asked;
use super::asked::Plain;
use super::problem::{Problem, Reason};
use crate::pages::Ask;

/// Bytes of a body: a head of a request, as JSON.
pub(crate) const BODY_MOST: usize = 64 * 1024;

/// Fields of a request.
const FIELDS: usize = 1_000;

/// A request, as `evenkeel explain` takes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExplainRequest {
    /// As on the wire; `GET` unless it is said.
    #[serde(default)]
    method: Option<String>,
    /// `http://host/path?query`; or a path, or `*`, with a field `Host`.
    #[schema(example = "http://api.example.com/v1/x")]
    url: String,
    /// Fields of the request.
    #[serde(default)]
    headers: Vec<ExplainField>,
    /// The address that connects; `127.0.0.1` unless it is said.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    from: Option<IpAddr>,
    /// The listener that it connects to; else the one with the URL's port, or each in turn.
    #[serde(default)]
    listener: Option<String>,
}

/// A field of a request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExplainField {
    name: String,
    value: String,
}

/// What would be done.
#[derive(Serialize, ToSchema)]
struct Explanations {
    /// One for each listener that the request may come in by, with the keys that docs/explain.md has. What conditions want and values
    /// that rules give are null.
    explanations: Vec<serde_json::Value>,
}

/// What would be done with a request now, by the rules and backends of the running instance: which rule, which backends, and why.
#[utoipa::path(post, path = "/v1/explain", tag = "rules", request_body = ExplainRequest,
    responses((status = 200, description = "An explanation for each listener.", body = Explanations)))]
async fn explain(
    State(shown): State<Asked>,
    _: Plain,
    body: Bytes,
) -> Result<Json<Explanations>, Problem> {
    let refused = |why: String| Problem::new(Reason::Body, why);
    let read: ExplainRequest = serde_json::from_slice(&body)
        .map_err(|error| refused(format!("the body is to be a request as JSON: {error}")))?;
    if read.headers.len() > FIELDS {
        return Err(refused(format!("a request has at most {FIELDS} fields")));
    }
    let ask = Ask {
        method: read.method.unwrap_or_else(|| "GET".into()),
        url: read.url,
        headers: read
            .headers
            .into_iter()
            .map(|one| (one.name, one.value))
            .collect(),
        from: read.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        listener: read.listener,
    };
    let explanations = (shown.words.explain)(&shown.watch, &ask).map_err(refused)?;
    Ok(Json(Explanations { explanations }))
}

resource![explain];
