//! Owns the dashboard's files: what a browser is given that asks for `/`. They hold nothing of the instance, so that nobody is asked who they are
//! for; what the page shows it asks of `/v1`, as any program does.
//!
//! They are the program's own, packed when it was built (`build.rs`, `web/`): nothing is read, packed or made while it runs.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::contract::problem::{Problem, Reason};

include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// One file, packed by gzip (RFC 1952).
struct File {
    path: &'static str,
    packed: &'static [u8],
    /// By which it is known again.
    tag: &'static str,
}

/// The page where it was not built into the program.
const NONE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Evenkeel</title>\n<p>This program was built without its dashboard. <code>cargo xtask setup &amp;&amp; cargo xtask web</code> builds that; then build the program again.\n<p>All that it shows is at <a href=\"/v1/openapi.json\">/v1</a>, and <code>evenkeel status</code> tells it in a terminal.\n";

/// Nothing but its own files and its own API, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is in the name of a file changes with it.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Whether this is one of them: it is open to who may reach the address.
pub(crate) fn has(method: &Method, path: &str) -> bool {
    method.is_safe() && (path == "/" || file(path).is_some())
}

fn file(path: &str) -> Option<&'static File> {
    let path = if path == "/" { "/index.html" } else { path };
    FILES.iter().find(|file| file.path == path)
}

/// A file, or that there is no such page.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if !has(&method, path) {
        let why = "there is no such page; see /v1/openapi.json for those that there are";
        return Problem::new(Reason::NoPage, why).into_response();
    }
    let mut response = match file(path) {
        None => NONE.into_response(),
        Some(file) if asks_for(&headers, header::IF_NONE_MATCH, file.tag) => {
            StatusCode::NOT_MODIFIED.into_response()
        }
        Some(file) if asks_for(&headers, header::ACCEPT_ENCODING, "gzip") => {
            let packed = HeaderValue::from_static("gzip");
            ([(header::CONTENT_ENCODING, packed)], file.packed).into_response()
        }
        Some(_) => {
            let why = "the dashboard is sent packed: ask with `Accept-Encoding: gzip`";
            let problem = Problem::new(Reason::Refused, why);
            return problem
                .with_status(StatusCode::NOT_ACCEPTABLE)
                .into_response();
        }
    };
    let lasting = path.starts_with("/assets/");
    let tag = file(path).map_or("\"none\"", |file| file.tag);
    let cached = if lasting { FOREVER } else { "no-cache" };
    for (name, value) in [
        (header::CONTENT_TYPE, kind(path)),
        (header::CACHE_CONTROL, cached),
        (header::ETAG, tag),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (OPENER, "same-origin"),
        (RESOURCE, "same-origin"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Whether one of the elements of this field is this one, whatever follows it; one of no weight is none (RFC 9110 section 12.4.2).
fn asks_for(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    let all = headers.get_all(name).iter();
    let mut elements = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    elements.any(|element| {
        let (element, weight) = element.split_once(';').unwrap_or((element, ""));
        let element = element.trim().trim_start_matches("W/");
        let weight = weight.trim().strip_prefix("q=");
        let none = weight.is_some_and(|weight| weight.parse() == Ok(0.0));
        element.eq_ignore_ascii_case(wanted) && !none
    })
}

/// What a file is, by its name.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, kind)| kind) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_an_element_of_some_weight() {
        for (fields, expect) in [
            (&[][..], false),
            (&["gzip"], true),
            (&["br, GZIP;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.0"], false),
            (&["gzipped"], false),
            (&["*"], false),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(header::ACCEPT_ENCODING, field.parse().unwrap());
            }
            let asks = asks_for(&headers, header::ACCEPT_ENCODING, "gzip");
            assert_eq!(asks, expect, "{fields:?}");
        }
    }

    #[test]
    fn only_looks_at_its_own_files_are_open() {
        assert!(has(&Method::GET, "/") && has(&Method::HEAD, "/"));
        assert!(!has(&Method::POST, "/"));
        for path in ["", "/v1", "/assets", "/assets/../x", "//", "/metrics"] {
            assert!(!has(&Method::GET, path), "{path}");
        }
    }
}
