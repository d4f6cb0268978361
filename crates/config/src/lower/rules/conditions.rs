//! Owns `when:` of a rule.

use std::net::Ipv6Addr;
use std::sync::Arc;

use super::values;
use crate::lower::paths::{self, Unusual, wildcard};
use crate::plan::{Conditions, HostPattern};
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// The longest host that a request may name.
const HOST_MOST: usize = 255;

/// The conditions, and whether all that stand there could be read.
pub(super) fn conditions(map: Fields<'_>, unusual: &Unusual) -> (Conditions, bool) {
    let reading = map.reading;
    fn each<T>(
        map: &Fields<'_>,
        key: &'static str,
        read: impl Fn(&Reading, &Node) -> Option<T>,
    ) -> Vec<T> {
        let reading = map.reading;
        map.get(key).map_or_else(Vec::new, |node| {
            values(reading, node, key)
                .iter()
                .filter_map(|node| read(reading, node))
                .collect()
        })
    }
    let when = Conditions {
        hosts: each(&map, "host", |reading, node| {
            reading.parsed(node, "host", host)
        }),
        paths: each(&map, "path", |reading, node| {
            paths::path(reading, node, unusual)
        }),
        methods: each(&map, "method", |reading, node| {
            reading.parsed(node, "method", method)
        }),
    };
    for key in ["host", "path", "method"] {
        if let Some(node) = map.get(key)
            && matches!(&node.value, Value::List(items) if items.is_empty())
        {
            reading.error(
                node.at,
                "empty",
                format!("an empty list of `{key}` holds for nothing; leave it out or fill it"),
            );
        }
    }
    let count = |key| map.get(key).map_or(0, |node| reading.items(node).len());
    let stands = count("host") + count("path") + count("method");
    let whole = when.hosts.len() + when.paths.len() + when.methods.len() == stands;
    map.done();
    (when, whole)
}

fn method(written: &Scalar) -> Result<Arc<str>, String> {
    let text = written.value();
    let token = !text.is_empty()
        && text.len() <= 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !token {
        return Err(format!("`{written}` is no method"));
    }
    if text != text.to_ascii_uppercase() {
        return Err(format!(
            "methods are case-sensitive; did you mean `{}`?",
            written.spelled(str::to_ascii_uppercase)
        ));
    }
    Ok(text.into())
}

pub(super) fn host(written: &Scalar) -> Result<HostPattern, String> {
    let text = written.value();
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    if name.contains("://") || name.contains('/') {
        return Err(format!("a host has no scheme and no path: `{written}`"));
    }
    let bracketed = name.starts_with('[');
    if !bracketed && name.contains(':') {
        return Err(format!("a host is matched without its port: `{written}`"));
    }
    // What the wire takes as a host, and no label of it empty.
    let label = |label: &str| {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.bytes().all(sound)
    };
    let plain = |text: &str| text.len() <= HOST_MOST && text.split('.').all(label);
    if let Some(suffix) = name.strip_prefix('*')
        && suffix.starts_with('.')
        && plain(&suffix[1..])
    {
        return Ok(HostPattern::Suffix(suffix.into()));
    }
    if name.contains(['*', '?']) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*?".contains(&byte);
        // An address in brackets holds colons; it can be meant by what begins so, or by a wildcard there.
        let letters = match bracketed {
            true => name
                .bytes()
                .all(|byte| plain(byte) || b"[:]".contains(&byte)),
            false => name.bytes().all(plain),
        };
        if !letters {
            return Err(format!(
                "`{written}` can be no request's host: names beyond ASCII are written in their `xn--` form"
            ));
        }
        return wildcard(name).map(HostPattern::Wildcard);
    }
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .and_then(|name| name.parse::<Ipv6Addr>().ok());
    // Rules see addresses in one spelling (RFC 5952).
    if let Some(address) = address {
        return Ok(HostPattern::Exact(format!("[{address}]").into()));
    }
    if name.len() > HOST_MOST {
        return Err(format!(
            "`{written}` can be no request's host: it has more than {HOST_MOST} characters"
        ));
    }
    if !plain(name) {
        return Err(format!(
            "`{written}` is no host; names beyond ASCII are written in their `xn--` form"
        ));
    }
    Ok(HostPattern::Exact(name.into()))
}
