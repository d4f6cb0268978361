//! Owns the contract of the API below `/v1`: its resources, each a file with its types, its questions and their paths, and the OpenAPI
//! document that is made of them.
//!
//! A resource is a file below `contract/`, with its types, its functions, and `resource()`, and a row in [`RESOURCES`]; nothing else knows
//! it. Field names are a promise, converted by hand from the control plane's values. Names of types are those of the document's
//! schemas, and unique there. What any operation may be refused with is written down by `document`, not by each.

use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::pages::Shown;
use asked::Plain;

/// What is read of a request.
pub(crate) mod asked;

/// What is answered instead.
pub(crate) mod problem;

/// The whole at once, as `evenkeel status` has it.
mod status;

/// Which process answers, and by which configuration.
mod version;

/// Data-plane threads.
mod workers;

/// Listeners.
mod listeners;

/// Rules.
mod rules;

/// Services.
mod services;

/// Backends.
mod backends;

/// Clients that are kept.
mod affinity;

/// Certificates of listeners.
mod certificates;

/// Limits, and how much of them is in use.
mod limits;

/// What may be changed.
pub(crate) mod changes;

/// The OpenAPI document.
mod document;

/// What every function here is given.
pub(crate) type Asked = Arc<Shown>;

/// In the order of the document's tags. Those that change something come apart: not everybody may reach them.
const RESOURCES: &[fn() -> OpenApiRouter<Asked>] = &[
    problem::resource,
    openapi_resource,
    version::resource,
    workers::resource,
    listeners::resource,
    rules::resource,
    services::resource,
    backends::resource,
    affinity::resource,
    certificates::resource,
    limits::resource,
    status::resource,
];

/// What may be looked at.
pub(crate) fn looks() -> OpenApiRouter<Asked> {
    let resources = RESOURCES.iter().map(|resource| resource());
    resources.fold(OpenApiRouter::default(), OpenApiRouter::merge)
}

/// The OpenAPI document, as `docs/openapi.json` has it.
#[must_use]
pub fn openapi() -> String {
    let all = looks().merge(changes::resource()).into_openapi();
    document::text(all)
}

/// This API as OpenAPI 3.1.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "contract",
    responses((status = 200, description = "The document.", body = serde_json::Value)))]
async fn openapi_page(_: Plain) -> impl IntoResponse {
    // Some milliseconds and a hundred kilobytes: not before somebody asks, and once.
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi().into());
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, DOCUMENT.clone())
}

fn openapi_resource() -> OpenApiRouter<Asked> {
    OpenApiRouter::default().routes(routes!(openapi_page))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The document has a schema once, by its name: of two types of one name it would tell one, and be wrong of the other.
    #[test]
    fn no_two_types_have_one_name() {
        let resources = RESOURCES.iter().map(|resource| resource());
        let mut known = BTreeMap::new();
        for resource in resources.chain([changes::resource()]) {
            let components = resource.into_openapi().components.unwrap_or_default();
            for (name, schema) in components.schemas {
                let before = known.insert(name.clone(), schema.clone());
                assert!(before.is_none_or(|before| before == schema), "{name}");
            }
        }
        assert!(known.contains_key("Backend"), "{:?}", known.keys());
    }
}
