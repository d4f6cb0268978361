//! Owns `/v1/whoami`: who asks, and what it may.

use axum::{Extension, Json};
use evenkeel_config::plan::admin::{Area, Scopes, Verb};
use serde::Serialize;
use utoipa::ToSchema;

use super::asked::Plain;
use crate::gate::Caller;

/// Who asks.
#[derive(Serialize, ToSchema)]
struct Who {
    /// As the log has it.
    #[schema(example = "ci")]
    name: String,
    /// By what it is known: `token`, `certificate`, `socket`, or `loopback` where nobody is asked.
    #[schema(example = "token")]
    by: &'static str,
    /// What it may, each by itself; of roles, what they stand for.
    #[schema(example = json!(["backends:read"]))]
    scopes: Vec<String>,
}

/// Who asks, by the token or the certificate that it shows, and what it may.
#[utoipa::path(get, path = "/v1/whoami", tag = "instance",
    responses((status = 200, description = "The caller.", body = Who)))]
async fn whoami(Extension(caller): Extension<Caller>, _: Plain) -> Json<Who> {
    let all = Area::ALL
        .into_iter()
        .flat_map(|area| Verb::ALL.map(|verb| (area, verb)));
    let has = all.filter(|(area, verb)| caller.scopes.has(*area, *verb));
    Json(Who {
        name: caller.name.to_string(),
        by: caller.by.word(),
        scopes: has.map(|(area, verb)| Scopes::word(area, verb)).collect(),
    })
}

resource![whoami];
