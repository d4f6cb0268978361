//! Owns the contract of the API below `/v1`: its resources, each a file with its types, its questions and their paths, and the OpenAPI
//! document that is made of them.
//!
//! A resource is a file below `contract/`, with its types, its functions and a `resource!` of them, and a word in `resources!`; nothing
//! else knows it. Field names are a promise, converted by hand from the control plane's values. Names of types are those of the
//! document's schemas, and unique there. What any operation may be refused with is written down by `document`, not by each.

use std::sync::Arc;

use axum::Router;
use axum::routing::MethodFilter;
use utoipa::openapi::HttpMethod;
use utoipa_axum::PathItemExt;
use utoipa_axum::router::OpenApiRouter;

use crate::pages::Shown;

/// How operations are served, and what the document has of them. Two functions, not one that does both: its schemas would be made at
/// each start (four million instructions) and be a part of the program, for a text that is known when it is built.
macro_rules! resource {
    ($($operation:ident),+ $(,)?) => {
        pub(super) fn served(router: axum::Router<$crate::contract::Asked>) -> axum::Router<$crate::contract::Asked> {
            utoipa_axum::paste! {
                router$(.route(
                    &<[<__path_ $operation>] as utoipa::Path>::path(),
                    axum::routing::on($crate::contract::filter(&<[<__path_ $operation>] as utoipa::Path>::methods()), $operation),
                ))+
            }
        }

        pub(super) fn routes() -> Vec<(&'static str, String)> {
            let mut all = Vec::new();
            utoipa_axum::paste! {
                $(all.extend($crate::contract::each(<[<__path_ $operation>] as utoipa::Path>::methods(), <[<__path_ $operation>] as utoipa::Path>::path()));)+
            }
            all
        }

        pub(super) fn told() -> utoipa_axum::router::OpenApiRouter<$crate::contract::Asked> {
            utoipa_axum::router::OpenApiRouter::default()$(.routes(utoipa_axum::routes!($operation)))+
        }
    };
}

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

/// Who asks.
mod whoami;

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

/// What happened.
mod events;

/// Requests that failed.
mod requests;

/// Requests that were recorded with their decisions.
mod decisions;

/// What would be done with a request.
pub(crate) mod explain;

/// Limits, and how much of them is in use.
mod limits;

/// What it sees of itself over time.
mod monitoring;

/// Weights that follow what backends do.
mod adjustments;

/// What is wrong, and who has taken note.
mod alerts;

/// What to do about what is seen.
mod recommendations;

/// Who is told of them.
mod webhooks;

/// Values that hold, and revisions.
mod configuration;

/// What may be changed.
pub(crate) mod changes;

/// Decisions for other programs.
pub(crate) mod picks;

/// The OpenAPI document.
mod document;

/// What every function here is given.
pub(crate) type Asked = Arc<Shown>;

macro_rules! resources {
    ($($name:ident),+ $(,)?) => {
        /// What may be looked at.
        pub(crate) fn looks() -> Router<Asked> {
            let router = Router::new();
            $(let router = $name::served(router);)+
            router
        }

        /// Each path with its method, those that change something too.
        pub(crate) fn routes() -> Vec<(&'static str, String)> {
            [$($name::routes()),+, changes::all_routes(), picks::routes()].concat()
        }

        /// What the document has of all of them.
        fn told() -> Vec<OpenApiRouter<Asked>> {
            let mut all = vec![$($name::told()),+];
            all.extend(changes::all_told());
            all.push(picks::told());
            all
        }
    };
}

// In the order of the document's tags. Those that change something come apart: not everybody may reach them.
resources![
    problem,
    document,
    version,
    whoami,
    workers,
    listeners,
    rules,
    explain,
    services,
    backends,
    affinity,
    certificates,
    events,
    requests,
    decisions,
    limits,
    monitoring,
    adjustments,
    alerts,
    recommendations,
    webhooks,
    configuration,
    status,
];

/// The OpenAPI document as the code has it: what `docs/openapi.json` is to be, and a program that runs serves of it.
#[must_use]
pub fn openapi() -> String {
    let all = told()
        .into_iter()
        .fold(OpenApiRouter::default(), OpenApiRouter::merge);
    document::text(all.into_openapi())
}

/// A path with each of its methods.
fn each(methods: Vec<HttpMethod>, path: String) -> impl Iterator<Item = (&'static str, String)> {
    methods
        .into_iter()
        .map(move |method| (word(&method), path.clone()))
}

/// As a request has it.
pub(crate) const fn word(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Options => "OPTIONS",
        HttpMethod::Head => "HEAD",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Trace => "TRACE",
    }
}

/// Requests of these methods.
fn filter(methods: &[HttpMethod]) -> MethodFilter {
    let filters = methods.iter().map(PathItemExt::to_method_filter);
    filters
        .reduce(MethodFilter::or)
        .expect("an operation has a method")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The document has a schema once, by its name: of two types of one name it would tell one, and be wrong of the other.
    #[test]
    fn no_two_types_have_one_name() {
        let mut known = BTreeMap::new();
        for resource in told() {
            let components = resource.into_openapi().components.unwrap_or_default();
            for (name, schema) in components.schemas {
                let before = known.insert(name.clone(), schema.clone());
                assert!(before.is_none_or(|before| before == schema), "{name}");
            }
        }
        assert!(known.contains_key("Backend"), "{:?}", known.keys());
    }
}
