//! Owns `rewrite:` of a rule.

use std::sync::Arc;

use super::edits::edits;
use super::template::{self, Part, template};
use crate::keys::{
    REQUEST_EDITS, RESPONSE_EDITS, REWRITE, REWRITE_HOST, REWRITE_PREFIX, REWRITE_REGEX,
};
use crate::lower::paths::exact;
use crate::lower::rules::conditions::host;
use crate::plan::{Expression, HostPattern, HostRewrite, PathRewrite, RewritePlan, Side, Template};
use crate::read::{Reading, Scalar};
use crate::tree::Node;

pub(super) fn rewrite(reading: &Reading, node: &Node, forwards: bool) -> Option<RewritePlan> {
    let map = reading.map(node, &REWRITE)?;
    let prefixed = map.with("prefix", prefix);
    let replaced = map.with("regex", regex);
    let host = map.with("host", to_host);
    let request = map.with("request_headers", |reading, node| {
        edits(reading, node, &REQUEST_EDITS, Side::Request)
    });
    let response = map.with("response_headers", |reading, node| {
        edits(reading, node, &RESPONSE_EDITS, Side::Response)
    });
    if let (Some(_), Some((key, _))) = (map.stands("prefix"), map.stands("regex")) {
        let message = "a path is rewritten by one of `prefix` and `regex`";
        reading.error(key.at, "two_rewrites", message);
    }
    for key in ["prefix", "regex", "host", "request_headers"] {
        if let (false, Some((key, _))) = (forwards, map.stands(key)) {
            let message = format!(
                "`{}` changes what a backend gets, and this rule forwards to none",
                key.text
            );
            reading.error(key.at, "no_effect", message);
        }
    }
    map.done();
    Some(RewritePlan {
        path: prefixed.or(replaced),
        host,
        request: request.unwrap_or_default(),
        response: response.unwrap_or_default(),
    })
}

fn prefix(reading: &Reading, node: &Node) -> Option<PathRewrite> {
    let map = reading.map(node, &REWRITE_PREFIX)?;
    let side = |key: &'static str| {
        if map.stands(key).is_none() {
            let message = format!("a prefix is rewritten with `{key}`, which is absent");
            reading.error(map.at, "missing", message);
        }
        map.with(key, |reading, node| {
            reading.parsed(node, "path", |text| {
                let path = exact(text)?;
                Ok(Arc::from(path.strip_suffix('/').unwrap_or(&path)))
            })
        })
    };
    let (from, to) = (side("from"), side("to"));
    map.done();
    Some(PathRewrite::Prefix {
        from: from?,
        to: to?,
    })
}

fn regex(reading: &Reading, node: &Node) -> Option<PathRewrite> {
    let map = reading.map(node, &REWRITE_REGEX)?;
    let from = map.with("match", Reading::expression);
    // What could not be read may have any number of groups.
    let groups = from
        .as_ref()
        .map_or(usize::MAX, |from| from.captures_len() - 1);
    let to = map.with("to", |reading, node| {
        reading.parsed(node, "path", |text| to_target(text, groups))
    });
    both(reading, &map, "regex");
    map.done();
    let (path, query) = to?;
    Some(PathRewrite::Regex {
        from: Expression(from?),
        path,
        query,
    })
}

/// A path, and behind a `?` a query.
fn to_target(text: &Scalar, groups: usize) -> Result<(Template, Option<Template>), String> {
    // Messages show the whole text.
    let part = |value: &str| text.part(value);
    match text.value().split_once('?') {
        None => Ok((template(text, Part::Path, Some(groups))?, None)),
        Some((path, query)) => Ok((
            template(&part(path), Part::Path, Some(groups))?,
            Some(template(&part(query), Part::Query, Some(groups))?),
        )),
    }
}

fn to_host(reading: &Reading, node: &Node) -> Option<HostRewrite> {
    if node.is_scalar() {
        let to = reading.parsed(node, "host", |text| {
            if text.value().contains(['#', '$']) {
                return template(text, Part::Host, None);
            }
            authority(text)
        });
        return to.map(HostRewrite::To);
    }
    let map = reading.map(node, &REWRITE_HOST)?;
    let from = map.with("match", Reading::expression);
    let groups = from
        .as_ref()
        .map_or(usize::MAX, |from| from.captures_len() - 1);
    let to = map.with("to", |reading, node| {
        template::read(reading, node, Part::Host, Some(groups))
    });
    both(reading, &map, "host");
    map.done();
    Some(HostRewrite::Regex(Expression(from?), to?))
}

/// A host, perhaps with a port.
fn authority(text: &Scalar) -> Result<Template, String> {
    let written = text.value();
    let port = match written.rsplit_once(':') {
        // Colons stand in an address of IPv6 too.
        Some((_, port)) if !port.contains(']') => Some(port),
        _ => None,
    };
    let name = match port {
        Some(port) => {
            let sound = port.bytes().all(|byte| byte.is_ascii_digit());
            if !sound || !port.parse::<u16>().is_ok_and(|port| port > 0) {
                return Err(format!("`{text}`: a port lies between 1 and 65535"));
            }
            &written[..written.len() - port.len() - 1]
        }
        None => written,
    };
    match host(&text.part(name))? {
        HostPattern::Exact(name) => Ok(Template::plain(&match port {
            Some(port) => format!("{name}:{port}"),
            None => name.to_string(),
        })),
        _ => Err("a request goes on with one host".into()),
    }
}

/// Both keys stand there.
fn both(reading: &Reading, map: &crate::read::Fields<'_>, what: &str) {
    for key in ["match", "to"] {
        if map.stands(key).is_none() {
            let message = format!("`{what}` is rewritten with `{key}`, which is absent");
            reading.error(map.at, "missing", message);
        }
    }
}
