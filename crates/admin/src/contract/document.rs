//! Owns the OpenAPI document beside what the resources say of themselves: what it is, its tags, and what any operation may be refused
//! with. That follows from an operation's method, path and query; so none can forget to say it.
//!
//! Served is the file as it was when the program was built; a test holds it to the code.

use std::collections::BTreeMap;

use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AdditionalProperties, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{
    ContentBuilder, Info, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi, OpenApiVersion,
    Paths, Ref, RefOr, Required, Response, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use evenkeel_config::plan::admin::{Area, Scopes, Verb};

use super::asked::Plain;
use super::problem::{MEDIA_TYPE, Reason, Told};
use crate::access::table::{Need, need};

/// [`crate::openapi`], as the tests hold it to be.
const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

const ABOUT: &str = "What a running instance tells of itself, and what may be changed of it. \
Refusals are RFC 9457 problems: programs go by `reason`, a word of one closed list (`/v1/problems`). Keys of a query that are not \
known are refused. Lists that can be long come in pages: `next` of one is `after` of the next. Before the first, or while sixty-four others are \
connected to the address, a connection may be answered with 503 as plain text.";

const TAGS: [(&str, &str); 11] = [
    ("contract", "This document, and kinds of problems."),
    ("instance", "The process, its threads and limits."),
    ("listeners", "Where connections are taken, and what with."),
    ("rules", "What is done with requests."),
    ("services", "Who can serve the same requests."),
    ("backends", "Members of services."),
    (
        "decisions",
        "Whom requests went to, and why; and for programs that send theirs themselves: whom to, and how it went.",
    ),
    ("configuration", "What holds, and what ran before."),
    ("events", "What happened, and requests that failed."),
    (
        "monitoring",
        "What the instance sees of itself over time, and what is wrong.",
    ),
    ("status", "The whole at once."),
];

/// The document, as JSON that people can read too.
///
/// # Panics
/// Never: all keys of it are texts.
pub(super) fn text(mut document: OpenApi) -> String {
    let license = LicenseBuilder::new()
        .name("MIT OR Apache-2.0")
        .identifier(Some("MIT OR Apache-2.0"));
    document.info = InfoBuilder::new()
        .title("Evenkeel")
        .description(Some(ABOUT))
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(license.build()))
        .build();
    let tag = |(name, about): &(&str, &str)| {
        let tag = TagBuilder::new().name(*name).description(Some(*about));
        tag.build()
    };
    document.tags = Some(TAGS.iter().map(tag).collect());
    let mut schemas = vec![(Told::name().into_owned(), Told::schema())];
    Told::schemas(&mut schemas);
    let components = document.components.get_or_insert_default();
    components.schemas.extend(schemas);
    for (name, scheme) in schemes() {
        components.add_security_scheme(name, scheme);
    }
    for (path, item) in &mut document.paths.paths {
        let all = [
            ("GET", &mut item.get),
            ("POST", &mut item.post),
            ("PUT", &mut item.put),
            ("PATCH", &mut item.patch),
            ("DELETE", &mut item.delete),
        ];
        for (method, operation) in all {
            let Some(operation) = operation else { continue };
            let (need, changes) = (need(method, path), method != "GET" && changing(path));
            let mut reasons = reasons(path, operation, changes);
            let asks = match need {
                Some(Need::All(scopes)) => Some(scopes),
                Some(Need::Known) => Some(&[][..]),
                Some(Need::Open) | None => None,
            };
            if let Some(scopes) = asks {
                reasons.extend(Reason::OF_THE_GATE);
                operation.security = Some(asked(scopes));
            }
            describe(operation, &reasons);
            if changes {
                let body = operation
                    .request_body
                    .get_or_insert_with(|| RefOr::T(no_body()));
                if let RefOr::T(body) = body {
                    body.required.get_or_insert(Required::True);
                }
                let fields = operation.parameters.get_or_insert_default();
                fields.extend(FIELDS.map(|field| RefOr::T(parameter(field))));
            }
        }
    }
    let mut text = serde_json::to_string_pretty(&Whole::of(&document)).expect("all keys are texts");
    text.push('\n');
    text
}

/// The document with schemas that utoipa has no type for.
#[derive(Serialize)]
struct Whole<'a> {
    openapi: &'a OpenApiVersion,
    info: &'a Info,
    paths: &'a Paths,
    components: Schemas<'a>,
    tags: &'a Option<Vec<Tag>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Schemas<'a> {
    schemas: BTreeMap<String, Schema<'a>>,
    security_schemes: Option<&'a BTreeMap<String, RefOr<SecurityScheme>>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Schema<'a> {
    /// Of a type here.
    Typed(&'a RefOr<utoipa::openapi::Schema>),
    /// Of the table of the configuration's keys.
    Configured(Value),
}

impl<'a> Whole<'a> {
    fn of(document: &'a OpenApi) -> Self {
        let components = document.components.as_ref();
        let typed = components.into_iter().flat_map(|all| &all.schemas);
        let mut schemas: BTreeMap<_, _> = typed
            .map(|(name, schema)| (name.clone(), Schema::Typed(schema)))
            .collect();
        let configured = evenkeel_config::entries("#/components/schemas/");
        schemas.extend(
            configured
                .into_iter()
                .map(|(name, schema)| (name, Schema::Configured(schema))),
        );
        Self {
            openapi: &document.openapi,
            info: &document.info,
            paths: &document.paths,
            components: Schemas {
                schemas,
                security_schemes: components.map(|all| &all.security_schemes),
            },
            tags: &document.tags,
        }
    }
}

/// This API as OpenAPI 3.1.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "contract",
    responses((status = 200, description = "The document.", body = serde_json::Value)))]
async fn openapi_page(_: Plain) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

resource![openapi_page];

/// How who asks says who it is.
fn schemes() -> [(&'static str, SecurityScheme); 2] {
    let mut token = Http::new(HttpAuthScheme::Bearer);
    token.description = Some("A token of `evenkeel token create`. Without `tokens` and `identities` in the configuration nobody on the machine itself is asked, nor is ever who comes through a Unix socket.".into());
    let certificate = SecurityScheme::MutualTls {
        description: Some("A certificate by which `identities` know who shows it.".into()),
        deprecated: None,
        extensions: None,
    };
    [
        ("token", SecurityScheme::Http(token)),
        ("certificate", certificate),
    ]
}

/// Either of them, with these scopes.
fn asked(scopes: &[(Area, Verb)]) -> Vec<SecurityRequirement> {
    let words: Vec<_> = scopes
        .iter()
        .map(|(area, verb)| Scopes::word(*area, *verb))
        .collect();
    let names = ["token", "certificate"];
    names
        .map(|name| SecurityRequirement::new(name, words.clone()))
        .to_vec()
}

/// Fields of a write: name, whether it must be there, what it is.
const FIELDS: [(&str, bool, &str); 2] = [
    (
        "If-Match",
        true,
        "The revision that was seen, in double quotes, as the `ETag` of an answer has it; or several. `*` is whichever runs, for what replaces nothing.",
    ),
    (
        "Idempotency-Key",
        false,
        "What is sent again with the same key within five minutes is answered as it was, and not done again.",
    ),
];

fn parameter((name, required, about): (&str, bool, &str)) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(if required {
            Required::True
        } else {
            Required::False
        })
        .description(Some(about))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .build()
}

/// Whether what is sent there changes what runs: the others ask, in a body, or take part in what runs.
fn changing(path: &str) -> bool {
    path != "/v1/explain" && !path.contains("/picks")
}

/// What whatever changes something may be refused with.
const OF_CHANGES: [Reason; 20] = [
    Reason::NoRevision,
    Reason::Stale,
    Reason::IfMatch,
    Reason::Configuration,
    Reason::Unread,
    Reason::NotTaken,
    Reason::NotOfThese,
    Reason::TooManyChanges,
    Reason::IdempotencyKey,
    Reason::KeyInUse,
    Reason::KeyReused,
    Reason::TooManyKeys,
    Reason::Body,
    Reason::BodyTooLarge,
    Reason::NotMeant,
    Reason::Busy,
    Reason::Draining,
    Reason::Upgrading,
    Reason::TooMany,
    Reason::Bind,
];

/// What an operation may be refused with.
fn reasons(path: &str, operation: &Operation, changes: bool) -> Vec<Reason> {
    let mut reasons = vec![Reason::NotYourHost, Reason::Query, Reason::Refused];
    if operation.request_body.is_some() {
        reasons.extend([Reason::Body, Reason::BodyTooLarge]);
    }
    if path.contains('{') {
        reasons.push(Reason::Path);
    }
    for (part, reason) in [
        ("{service}", Reason::UnknownService),
        ("{backend}", Reason::UnknownBackend),
        ("{listener}", Reason::UnknownListener),
        ("{reason}", Reason::UnknownProblem),
        ("{rule}", Reason::UnknownRule),
        ("{revision}", Reason::UnknownRevision),
        ("{alert}", Reason::UnknownAlert),
        ("{silence}", Reason::UnknownSilence),
        ("{letter}", Reason::UnknownLetter),
        ("requests/{request}", Reason::UnknownRequest),
        ("decisions/{request}", Reason::UnknownDecision),
    ] {
        if path.contains(part) {
            reasons.push(reason);
        }
    }
    // The row that a page begins behind may have gone.
    let parameters = operation.parameters.iter().flatten();
    let is_after = |one: &RefOr<Parameter>| match one {
        RefOr::T(one) => one.parameter_in == ParameterIn::Query && one.name == "after",
        RefOr::Ref(_) => false,
    };
    if parameters.into_iter().any(is_after) {
        reasons.push(match path.rsplit('/').next() {
            Some("listeners") => Reason::UnknownListener,
            Some("rules") => Reason::UnknownRule,
            Some("backends") => Reason::UnknownBackend,
            Some("health" | "performance" | "adjustments") if path.contains("{service}") => {
                Reason::UnknownBackend
            }
            Some("revisions") => Reason::UnknownRevision,
            Some("configuration") => Reason::UnknownValue,
            // Of what is forgotten a page tells.
            Some("events") => Reason::TooManyReaders,
            _ => Reason::UnknownService,
        });
    }
    if path.contains("/picks") {
        reasons.extend(super::picks::reasons(path));
    }
    if path.ends_with("/diff") || path == "/v1/configuration" {
        reasons.extend([Reason::Unread, Reason::Busy]);
    }
    if changes {
        if path == "/v1/rule-order" {
            reasons.push(Reason::UnknownRule);
        }
        if path == "/v1/silences" {
            reasons.extend([Reason::UnknownService, Reason::UnknownBackend]);
        }
        if path.ends_with("/adjustments") {
            reasons.push(Reason::TooSoon);
        }
        reasons.extend(OF_CHANGES);
    }
    reasons
}

/// Writes the refusals of an operation down, by status.
fn describe(operation: &mut Operation, reasons: &[Reason]) {
    let mut by_status = BTreeMap::<u16, Vec<&str>>::new();
    for reason in reasons {
        let words = by_status.entry(reason.status().as_u16()).or_default();
        if !words.contains(&reason.word()) {
            words.push(reason.word());
        }
    }
    for (status, words) in by_status {
        let response = RefOr::T(refusal(&words));
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_string()).or_insert(response);
    }
}

/// The media type says that it is meant; a field `X-Evenkeel` would too.
fn no_body() -> RequestBody {
    let nothing =
        ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let content = ContentBuilder::new().schema(Some(nothing.build()));
    RequestBodyBuilder::new()
        .description(Some(
            "Nothing is asked for: `{}`, or nothing beside a field `X-Evenkeel`.",
        ))
        .content("application/json", content.build())
        .required(Some(Required::False))
        .build()
}

fn refusal(words: &[&str]) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Told::name())));
    ResponseBuilder::new()
        .description(format!("`{}`.", words.join("`, `")))
        .content(MEDIA_TYPE, content.build())
        .build()
}

#[cfg(test)]
mod tests {
    use super::{Need, Value, changing, need};
    use crate::contract::openapi;

    /// Every operation says what it may be refused with, and every reference of the document leads somewhere.
    #[test]
    fn the_document_is_whole() {
        let document: Value = serde_json::from_str(&openapi()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().unwrap();
        let tags: Vec<_> = document["tags"].as_array().unwrap().iter().collect();
        let mut ids = Vec::new();
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                let answers = &operation["responses"];
                for status in ["200", "400", "421"] {
                    assert!(answers[status].is_object(), "{method} {path} {status}");
                }
                let changes = method != "get" && changing(path);
                let asks = need(&method.to_uppercase(), path).unwrap() != Need::Open;
                for status in ["401", "403", "429"] {
                    assert_eq!(answers[status].is_object(), asks, "{path} {status}");
                }
                assert_eq!(operation["security"].is_array(), asks, "{path}");
                assert_eq!(answers["428"].is_object(), changes, "{path}");
                let named = path == "/v1/rule-order" || path == "/v1/silences" && changes;
                let names = path.contains('{') || named;
                assert_eq!(
                    answers["404"].is_object(),
                    names || path != "/v1/events" && operation.to_string().contains("\"after\""),
                    "{path}"
                );
                let tag = &operation["tags"][0];
                assert!(
                    tags.iter().any(|known| known["name"] == *tag),
                    "{path}: {tag}"
                );
                ids.push(operation["operationId"].as_str().unwrap());
            }
        }
        assert!(paths.len() > 20, "{paths:?}");
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(
            ids.len(),
            count,
            "an operation's name stands twice: {ids:?}"
        );
        let text = document.to_string();
        let references: Vec<_> = text.split("\"$ref\":\"#").skip(1).collect();
        assert!(references.len() > 50);
        for reference in references {
            let (place, _) = reference.split_once('"').unwrap();
            assert!(document.pointer(place).is_some(), "{place}");
        }
    }
}
