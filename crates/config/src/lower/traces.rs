//! Owns `traces:`.

use std::sync::Arc;

use super::admin::of_a_million;
use super::health::headers;
use super::{address, tls};
use crate::keys::TRACES;
use crate::plan::tls::UpstreamTls;
use crate::plan::traces::{PATH, SERVICE, SERVICE_MOST};
use crate::plan::{BackendAddress, TracesPlan};
use crate::read::{Reading, Scalar};
use crate::tree::Node;

/// Where something goes: encrypted or not, to whom, at which path.
pub(super) type Endpoint = (bool, BackendAddress, Arc<str>);

/// `{ to: http://127.0.0.1:4318, share: 1% }`
pub(super) fn read(reading: &Reading, node: &Node) -> Option<TracesPlan> {
    let fields = reading.map(node, &TRACES)?;
    let to = fields.with("to", |reading, node| {
        reading.parsed(node, "address", collector)
    });
    let share = fields.with("share", Reading::share);
    let service = fields.text("service");
    let sent = fields.with("headers", |reading, node| {
        let entries = reading.free(node, "headers");
        entries.map(|entries| headers(reading, entries))
    });
    let ca = fields.with("ca", tls::material);
    if let (Some((false, ..)), Some(node)) = (&to, fields.get("ca")) {
        let message = "`ca` is for a collector at `https://`";
        reading.error(node.at, "ca", message);
    }
    if let (Some(service), Some(node)) = (&service, fields.get("service"))
        && service.value().len() > SERVICE_MOST
    {
        let most = SERVICE_MOST;
        reading.error(node.at, "name", format!("at most {most} bytes"));
    }
    if fields.get("to").is_none() {
        reading.error(
            fields.at,
            "missing",
            "`to` is missing: where the collector is",
        );
    }
    fields.done();
    let (encrypted, to, path) = to?;
    Some(TracesPlan {
        tls: encrypted.then(|| {
            Arc::new(UpstreamTls {
                ca,
                ..UpstreamTls::default()
            })
        }),
        to,
        path,
        share: share.map_or(0, of_a_million),
        service: Arc::from(service.as_ref().map_or(SERVICE, Scalar::value)),
        headers: sent.unwrap_or_default(),
    })
}

/// `http://127.0.0.1:4318`, `https://collector.example:4318/v1/traces`.
fn collector(written: &Scalar) -> Result<Endpoint, String> {
    let like = "a collector is written like `http://127.0.0.1:4318` or `https://collector.example:4318/v1/traces`";
    endpoint(written, like, PATH)
}

/// Who takes something over HTTP: `http` or `https`, an address with its port, and a path, or this one. Else how it is written.
pub(super) fn endpoint(written: &Scalar, like: &str, absent: &str) -> Result<Endpoint, String> {
    let wrong = || format!("{like}, not `{written}`");
    let (scheme, rest) = written.value().split_once("://").ok_or_else(wrong)?;
    let encrypted = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(wrong()),
    };
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) if !path.is_empty() => (authority, format!("/{path}")),
        Some((authority, _)) => (authority, absent.to_owned()),
        None => (rest, absent.to_owned()),
    };
    let to = address::backend(&written.part(authority)).map_err(|_| wrong())?;
    let visible = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    match to {
        BackendAddress::Unix(_) => Err(wrong()),
        to if visible => Ok((encrypted, to, path.into())),
        _ => Err(wrong()),
    }
}
