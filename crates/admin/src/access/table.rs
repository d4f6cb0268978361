//! Owns the table of who may do what: each page by its method, and what whoever asks for it has to be allowed. One place; a route that has
//! no row here is not served, and the instance does not start with it.

use evenkeel_config::plan::admin::{Area, Verb};

use Area::{Backends, Configuration, Decisions, Health, Performance};
use Verb::{Read, Write};

/// What is asked of who wants a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it says nothing of the instance but that it is there, and which version.
    Open,
    /// That it is known who asks.
    Known,
    /// All of these.
    All(&'static [(Area, Verb)]),
}

/// Everything that there is, seen at once.
const WHOLE: Need = Need::All(&[
    (Backends, Read),
    (Health, Read),
    (Performance, Read),
    (Configuration, Read),
]);

const fn all(scopes: &'static [(Area, Verb)]) -> Need {
    Need::All(scopes)
}

/// Method, path as the router has it, need. `HEAD` is as `GET`.
pub(crate) const TABLE: &[(&str, &str, Need)] = &[
    ("GET", "/livez", Need::Open),
    ("GET", "/readyz", Need::Open),
    ("GET", "/metrics", all(&[(Performance, Read)])),
    // The contract is that of the program, and refusals lead there.
    ("GET", "/v1/openapi.json", Need::Open),
    ("GET", "/v1/problems", Need::Open),
    ("GET", "/v1/problems/{reason}", Need::Open),
    ("GET", "/v1/version", all(&[(Configuration, Read)])),
    ("GET", "/v1/whoami", Need::Known),
    ("GET", "/v1/workers", all(&[(Performance, Read)])),
    ("GET", "/v1/limits", all(&[(Performance, Read)])),
    ("GET", "/v1/listeners", all(&[(Configuration, Read)])),
    ("GET", "/v1/certificates", all(&[(Configuration, Read)])),
    ("GET", "/v1/rules", all(&[(Configuration, Read)])),
    ("GET", "/v1/services", all(&[(Backends, Read)])),
    ("GET", "/v1/services/{service}", all(&[(Backends, Read)])),
    (
        "GET",
        "/v1/services/{service}/backends",
        all(&[(Backends, Read)]),
    ),
    (
        "GET",
        "/v1/services/{service}/backends/{backend}",
        all(&[(Backends, Read)]),
    ),
    ("GET", "/v1/affinity", all(&[(Performance, Read)])),
    ("GET", "/v1/health", all(&[(Health, Read)])),
    (
        "GET",
        "/v1/services/{service}/health",
        all(&[(Health, Read)]),
    ),
    ("GET", "/v1/performance", all(&[(Performance, Read)])),
    (
        "GET",
        "/v1/services/{service}/performance",
        all(&[(Performance, Read)]),
    ),
    (
        "GET",
        "/v1/services/{service}/distribution",
        all(&[(Performance, Read)]),
    ),
    (
        "GET",
        "/v1/services/{service}/adjustments",
        all(&[(Performance, Read)]),
    ),
    (
        "POST",
        "/v1/services/{service}/adjustments",
        all(&[(Performance, Write)]),
    ),
    ("GET", "/v1/alerts", all(&[(Health, Read)])),
    (
        "GET",
        "/v1/recommendations",
        all(&[(Performance, Read), (Configuration, Read)]),
    ),
    (
        "GET",
        "/v1/services/{service}/recommendations",
        all(&[(Performance, Read), (Configuration, Read)]),
    ),
    (
        "POST",
        "/v1/alerts/{alert}/acknowledge",
        all(&[(Health, Write)]),
    ),
    ("GET", "/v1/silences", all(&[(Health, Read)])),
    ("POST", "/v1/silences", all(&[(Health, Write)])),
    ("DELETE", "/v1/silences/{silence}", all(&[(Health, Write)])),
    ("GET", "/v1/webhooks", all(&[(Health, Read)])),
    (
        "POST",
        "/v1/webhooks/dead/{letter}/again",
        all(&[(Health, Write)]),
    ),
    ("GET", "/v1/status", WHOLE),
    (
        "POST",
        "/v1/services/{service}/backends/{backend}/drain",
        all(&[(Backends, Write)]),
    ),
    (
        "POST",
        "/v1/services/{service}/backends/{backend}/enable",
        all(&[(Backends, Write)]),
    ),
    (
        "POST",
        "/v1/services/{service}/backends/{backend}/disable",
        all(&[(Backends, Write)]),
    ),
    (
        "POST",
        "/v1/services/{service}/drain",
        all(&[(Backends, Write)]),
    ),
    (
        "POST",
        "/v1/services/{service}/enable",
        all(&[(Backends, Write)]),
    ),
    (
        "POST",
        "/v1/listeners/{listener}/drain",
        all(&[(Configuration, Write)]),
    ),
    (
        "POST",
        "/v1/listeners/{listener}/enable",
        all(&[(Configuration, Write)]),
    ),
    ("GET", "/v1/configuration", all(&[(Configuration, Read)])),
    ("GET", "/v1/revisions", all(&[(Configuration, Read)])),
    (
        "GET",
        "/v1/revisions/{revision}",
        all(&[(Configuration, Read)]),
    ),
    (
        "GET",
        "/v1/revisions/{revision}/diff",
        all(&[(Configuration, Read)]),
    ),
    ("GET", "/v1/events", all(&[(Health, Read)])),
    ("GET", "/v1/requests", all(&[(Performance, Read)])),
    ("GET", "/v1/requests/{request}", all(&[(Performance, Read)])),
    ("GET", "/v1/decisions", all(&[(Decisions, Read)])),
    ("GET", "/v1/decisions/{request}", all(&[(Decisions, Read)])),
    ("POST", "/v1/explain", all(&[(Decisions, Read)])),
    (
        "GET",
        "/v1/services/{service}/picks",
        all(&[(Decisions, Read)]),
    ),
    (
        "POST",
        "/v1/services/{service}/picks",
        all(&[(Decisions, Write)]),
    ),
    (
        "POST",
        "/v1/picks/{pick}/outcome",
        all(&[(Decisions, Write)]),
    ),
    ("POST", "/v1/picks/outcomes", all(&[(Decisions, Write)])),
    (
        "PUT",
        "/v1/services/{service}/backends/{backend}",
        all(&[(Backends, Write)]),
    ),
    (
        "PATCH",
        "/v1/services/{service}/backends/{backend}",
        all(&[(Backends, Write)]),
    ),
    (
        "DELETE",
        "/v1/services/{service}/backends/{backend}",
        all(&[(Backends, Write)]),
    ),
    (
        "POST",
        "/v1/services/{service}/backends/{backend}/verdict",
        all(&[(Health, Write)]),
    ),
    (
        "POST",
        "/v1/services/{service}/check",
        all(&[(Health, Write)]),
    ),
    (
        "PATCH",
        "/v1/services/{service}",
        all(&[
            (Backends, Write),
            (Health, Write),
            (Performance, Write),
            (Configuration, Write),
        ]),
    ),
    (
        "PUT",
        "/v1/services/{service}/policy",
        all(&[(Performance, Write)]),
    ),
    (
        "DELETE",
        "/v1/services/{service}/policy",
        all(&[(Performance, Write)]),
    ),
    (
        "POST",
        "/v1/services/{service}/affinity/clear",
        all(&[(Backends, Write)]),
    ),
    ("PUT", "/v1/rules/{rule}", all(&[(Configuration, Write)])),
    ("DELETE", "/v1/rules/{rule}", all(&[(Configuration, Write)])),
    ("PUT", "/v1/rule-order", all(&[(Configuration, Write)])),
    ("POST", "/v1/reload", all(&[(Configuration, Write)])),
    (
        "POST",
        "/v1/revisions/{revision}/rollback",
        all(&[(Configuration, Write)]),
    ),
    (
        "POST",
        "/v1/access-log/rotate",
        all(&[(Configuration, Write)]),
    ),
];

/// What is asked of who asks so for this path, as the router has it. None: there is no row.
pub(crate) fn need(method: &str, path: &str) -> Option<Need> {
    let method = if method == "HEAD" { "GET" } else { method };
    let row = TABLE.iter().find(|row| (row.0, row.1) == (method, path));
    row.map(|row| row.2)
}

/// The methods that a path takes, as `Allow` has them.
pub(crate) fn methods(path: &str) -> String {
    let of_it = TABLE.iter().filter(|row| row.1 == path);
    let words = of_it.map(|row| if row.0 == "GET" { "GET,HEAD" } else { row.0 });
    words.collect::<Vec<_>>().join(",")
}

/// The first of these routes that has no row.
pub(crate) fn unlisted(routes: &[(&'static str, String)]) -> Option<String> {
    let strange = |(method, path): &&(&'static str, String)| need(method, path).is_none();
    let route = routes.iter().find(strange);
    route.map(|(method, path)| {
        format!("{method} {path} has no row in the table of who may do what (`access/table.rs`)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::routes;

    #[test]
    fn every_route_has_a_row_and_every_row_a_route() {
        let routes = routes();
        assert_eq!(unlisted(&routes), None);
        let strange = [
            ("GET", "/v1/version".to_owned()),
            ("PUT", "/v1/version".to_owned()),
        ];
        let said = unlisted(&strange).unwrap();
        assert!(said.starts_with("PUT /v1/version has no row"), "{said}");
        for (at, (method, path, _)) in TABLE.iter().enumerate() {
            let is = |route: &&(&str, String)| (route.0, &*route.1) == (*method, *path);
            assert_eq!(routes.iter().filter(is).count(), 1, "{method} {path}");
            let again = TABLE.iter().skip(at + 1);
            assert!(
                again.clone().all(|row| (row.0, row.1) != (*method, *path)),
                "{path}"
            );
        }
    }

    /// Nothing but looks is open, and no look takes a scope to write.
    #[test]
    fn only_looks_are_open() {
        for (method, path, need) in TABLE {
            let writes = match need {
                Need::Open | Need::Known => false,
                Need::All(scopes) => {
                    assert!(!scopes.is_empty(), "{path}");
                    scopes.iter().any(|(_, verb)| *verb == Write)
                }
            };
            let looks = *method == "GET";
            assert!(looks || *need != Need::Open, "{method} {path}");
            assert!(!(looks && writes), "{method} {path}");
        }
    }
}
