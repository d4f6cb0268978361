//! Owns `/v1/rules`.

use axum::Json;
use axum::extract::State;
use evenkeel_control::snapshot::RulePart;
use serde::Serialize;
use utoipa::ToSchema;

use super::Asked;
use super::asked::{Page, Paging};
use super::problem::Problem;

/// A rule.
#[derive(Serialize, ToSchema)]
struct Rule {
    name: String,
    /// Lowest first; ties in the order of the configuration.
    priority: u32,
    /// It holds on these listeners only; empty: on all.
    listeners: Vec<String>,
    /// All must hold.
    conditions: Vec<Condition>,
    action: Action,
    /// Requests that met it, since it is there.
    hits: u64,
}

/// A condition of a rule.
#[derive(Serialize, ToSchema)]
struct Condition {
    /// Its key, as in the configuration.
    #[schema(example = "host")]
    key: String,
    /// One of them is enough; of `not`, none may hold. `(not shown)` where the name of a field, a cookie or a key of the query sounds
    /// like a secret's, where a value looks like one, and where nobody can tell.
    values: Vec<String>,
}

/// What a rule does.
#[derive(Serialize, ToSchema)]
struct Action {
    /// `forward`, `split`, `map`, `redirect`, `respond` or `deny`.
    #[schema(example = "forward")]
    action: &'static str,
    /// Where to: one, or those of a split or of a map of hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    services: Vec<Side>,
    /// Of an answer that is made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

/// A service that a rule names.
#[derive(Serialize, ToSchema)]
struct Side {
    service: String,
    /// In a split, beside those of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
}

fn row(seen: RulePart) -> Rule {
    let conditions = seen.conditions.into_iter();
    let services = seen.action.services.into_iter();
    Rule {
        name: seen.name.to_string(),
        priority: seen.priority,
        listeners: seen.listeners.iter().map(ToString::to_string).collect(),
        conditions: conditions
            .map(|(key, values)| Condition { key, values })
            .collect(),
        action: Action {
            action: seen.action.word,
            services: services
                .map(|(service, weight)| Side {
                    service: service.to_string(),
                    weight,
                })
                .collect(),
            status: seen.action.status,
        },
        hits: seen.hits,
    }
}

/// Rules, in the order in which they are tried.
#[utoipa::path(get, path = "/v1/rules", tag = "rules", params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<Rule>)))]
async fn rules(State(shown): State<Asked>, paging: Paging) -> Result<Json<Page<Rule>>, Problem> {
    let seen = shown.watch.rules(&paging.span())?;
    Ok(Json(Page::of(seen, row)))
}

resource![rules];
