//! Owns what of the configuration is changed beside its texts: backends, the policy of a service, rules.
//!
//! What is sent is JSON of the configuration's own shape, and goes to whoever reads configurations as it is: what is wrong with it is told
//! with its place in it.

use axum::body::Bytes;
use axum::extract::State;
use evenkeel_control::Command;
use evenkeel_control::command::{Answer, Came, Change};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::empty;
use super::seen::{Seen, Written, give};
use crate::contract::Asked;
use crate::contract::asked::{Name, Names, Plain, part};
use crate::contract::problem::{Misfit, Problem, Reason};
use crate::pages::Shown;

/// Bytes of a body: a rule with an answer of its own.
pub(super) const BODY_MOST: usize = 256 * 1024;

/// What became of the configuration.
#[derive(Serialize, ToSchema)]
pub(super) struct Configured {
    /// The revision that runs then.
    #[schema(example = "17-9f3c2a1b")]
    revision: String,
    /// What changed, in words; of more than fifty the first.
    changes: Vec<String>,
    /// How much more changed.
    more: usize,
    /// What may not have been meant.
    warnings: Vec<Misfit>,
    /// The texts are not those of before: the next reload or start brings back what stands in the files.
    until_reload: bool,
    /// Where it is kept over a restart: `disk`, soon after this answer; `memory`, so nowhere; or `failing`: the disk did not take what
    /// came before, and is tried again.
    #[schema(example = "disk")]
    kept: &'static str,
}

/// In which order rules are tried.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RuleOrder {
    /// The names of all of them, the first first.
    rules: Vec<String>,
}

/// The answer to a change of the configuration. `at`: where that is which may have come with it.
pub(super) fn configured(
    answer: Answer,
    at: Option<String>,
) -> Result<Written<Configured>, Problem> {
    let Came::Taken(taken) = answer.came else {
        return Err(Problem::new(
            Reason::Refused,
            "this changes no configuration",
        ));
    };
    let written = Written::of(
        answer.revision,
        Configured {
            revision: answer.revision.to_string(),
            changes: taken.words.what,
            more: taken.words.more,
            warnings: taken.warnings.into_iter().map(Misfit::from).collect(),
            until_reload: taken.other_texts,
            kept: answer.keeping.word(),
        },
    );
    Ok(match at.filter(|_| taken.created) {
        Some(at) => written.created(at),
        None => written,
    })
}

async fn change(
    shown: &Shown,
    seen: Seen,
    change: Change,
    at: Option<String>,
) -> Result<Written<Configured>, Problem> {
    configured(give(shown, seen, Command::Change(change)).await?, at)
}

fn text(body: &Bytes) -> Result<String, Problem> {
    let text = String::from_utf8(body.to_vec());
    text.map_err(|_| Problem::new(Reason::Body, "the body is no text: write it in UTF-8"))
}

/// Adds a backend, or puts another entry in the place of one.
#[utoipa::path(put, path = "/v1/services/{service}/backends/{backend}", tag = "backends",
    params(("service" = String, Path, description = "The service's name."), ("backend" = String, Path, description = "Its id.")),
    request_body(content = ref("#/components/schemas/BackendEntry"), description = "Its entry, as `backends:` of the configuration has it.", content_type = "application/json"),
    responses((status = 200, description = "It has this entry now.", body = Configured), (status = 201, description = "It has come.", body = Configured)))]
async fn put_backend(
    State(shown): State<Asked>,
    Names(service, id): Names,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    let at = format!("/v1/services/{}/backends/{}", part(&service), part(&id));
    let text = text(&body)?;
    let put = Change::PutBackend { service, id, text };
    change(&shown, seen, put, Some(at)).await
}

/// Changes some keys of a backend's entry, such as its weight.
#[utoipa::path(patch, path = "/v1/services/{service}/backends/{backend}", tag = "backends",
    params(("service" = String, Path, description = "The service's name."), ("backend" = String, Path, description = "Its id.")),
    request_body(content = ref("#/components/schemas/BackendChanges"), description = "Keys of its entry with what they are to say; `null` takes one away.", content_type = "application/json"),
    responses((status = 200, description = "It is so now.", body = Configured)))]
async fn patch_backend(
    State(shown): State<Asked>,
    Names(service, id): Names,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    let text = text(&body)?;
    let patch = Change::PatchBackend { service, id, text };
    change(&shown, seen, patch, None).await
}

/// Takes a backend away: what it has in flight ends within the service's `drain`.
#[utoipa::path(delete, path = "/v1/services/{service}/backends/{backend}", tag = "backends",
    params(("service" = String, Path, description = "The service's name."), ("backend" = String, Path, description = "Its id.")),
    responses((status = 200, description = "It is gone.", body = Configured)))]
async fn remove_backend(
    State(shown): State<Asked>,
    Names(service, id): Names,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    empty(&body)?;
    change(&shown, seen, Change::RemoveBackend { service, id }, None).await
}

/// Changes some keys of a service, and of its backends' entries, as one revision: what is within a map may be told alone (RFC 7396).
#[utoipa::path(patch, path = "/v1/services/{service}", tag = "services",
    params(("service" = String, Path, description = "Its name.")),
    request_body(content = ref("#/components/schemas/ServiceChanges"), description = "Keys of it with what they are to say; `null` takes one away. `backends` is a map by id.", content_type = "application/json"),
    responses((status = 200, description = "It is so now.", body = Configured)))]
async fn patch_service(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    let text = text(&body)?;
    change(&shown, seen, Change::PatchService { service, text }, None).await
}

/// Has another policy choose among a service's backends.
#[utoipa::path(put, path = "/v1/services/{service}/policy", tag = "services",
    params(("service" = String, Path, description = "Its name.")),
    request_body(content = ref("#/components/schemas/PolicyEntry"), description = "The policy, as `policy:` of the configuration has it: a text, or a map.", content_type = "application/json"),
    responses((status = 200, description = "It chooses now.", body = Configured)))]
async fn put_policy(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    let text = Some(text(&body)?);
    change(&shown, seen, Change::Policy { service, text }, None).await
}

/// Has the policy choose that the configuration's texts say.
#[utoipa::path(delete, path = "/v1/services/{service}/policy", tag = "services",
    params(("service" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It chooses now.", body = Configured)))]
async fn remove_policy(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    empty(&body)?;
    let text = None;
    change(&shown, seen, Change::Policy { service, text }, None).await
}

/// Adds a rule, or puts another one in its place.
#[utoipa::path(put, path = "/v1/rules/{rule}", tag = "rules",
    params(("rule" = String, Path, description = "Its name.")),
    request_body(content = ref("#/components/schemas/RuleEntry"), description = "The rule, as `rules:` of the configuration has it.", content_type = "application/json"),
    responses((status = 200, description = "It is so now.", body = Configured), (status = 201, description = "It has come.", body = Configured)))]
async fn put_rule(
    State(shown): State<Asked>,
    Name(name): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    let at = format!("/v1/rules/{}", part(&name));
    let text = text(&body)?;
    change(&shown, seen, Change::PutRule { name, text }, Some(at)).await
}

/// Takes a rule away.
#[utoipa::path(delete, path = "/v1/rules/{rule}", tag = "rules",
    params(("rule" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It is gone.", body = Configured)))]
async fn remove_rule(
    State(shown): State<Asked>,
    Name(name): Name,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    empty(&body)?;
    change(&shown, seen, Change::RemoveRule { name }, None).await
}

/// Has rules tried in another order: their priorities become 10, 20 and so on.
#[utoipa::path(put, path = "/v1/rule-order", tag = "rules",
    request_body(content = RuleOrder, content_type = "application/json"),
    responses((status = 200, description = "They are tried so.", body = Configured)))]
async fn order_rules(
    State(shown): State<Asked>,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Configured>, Problem> {
    let order: RuleOrder = serde_json::from_slice(&body).map_err(|error| {
        Problem::new(Reason::Body, format!("the body is not understood: {error}"))
    })?;
    let names = order.rules;
    change(&shown, seen, Change::OrderRules { names }, None).await
}

resource![
    put_backend,
    patch_backend,
    remove_backend,
    patch_service,
    put_policy,
    remove_policy,
    put_rule,
    remove_rule,
    order_rules,
];
