//! Owns `when:` of a rule.

use std::net::Ipv6Addr;
use std::sync::Arc;

use super::further::{Shared, further};
use super::values;
use crate::lower::paths::{self, wildcard};
use crate::plan::{Conditions, HostPattern};
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// The longest host that a request may name.
const HOST_MOST: usize = 255;

/// The conditions of a map. `depth`: in how many `not` they stand.
pub(super) fn conditions(map: &Fields<'_>, depth: usize, shared: &Shared<'_>) -> Conditions {
    if !map.all_known() {
        shared.whole.set(false);
    }
    Conditions {
        hosts: each(map, "host", depth, shared, |reading, node| {
            reading.parsed(node, "host", host)
        }),
        paths: each(map, "path", depth, shared, |reading, node| {
            paths::path(reading, node, shared.unusual)
        }),
        methods: each(map, "method", depth, shared, |reading, node| {
            reading.parsed(node, "method", method)
        }),
        further: further(map, depth, shared),
    }
}

/// The values of one key.
fn each<T>(
    map: &Fields<'_>,
    key: &'static str,
    depth: usize,
    shared: &Shared<'_>,
    read: impl Fn(&Reading, &Node) -> Option<T>,
) -> Vec<T> {
    let (reading, Some(node)) = (map.reading, map.get(key)) else {
        return Vec::new();
    };
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        shared.whole.set(false);
        reading.error(
            node.at,
            "empty",
            format!("an empty list of `{key}` holds for nothing; leave it out or fill it"),
        );
    }
    let nodes = match depth {
        0 => values(reading, node, key),
        // Not in the index of rules.
        _ => shared.tried(reading, reading.items(node), |node| node.at),
    };
    if nodes.len() < reading.items(node).len() {
        shared.whole.set(false);
    }
    let read = |node| shared.noted(read(reading, node));
    nodes.iter().filter_map(read).collect()
}

/// A list or a map with nothing in it.
pub(super) fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Scalar { .. } => false,
    }
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

pub(in crate::lower) fn host(written: &Scalar) -> Result<HostPattern, String> {
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
