//! Owns `redirect:` of a rule or a fallback.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::Around;
use super::template::{self, Part, groups_of, template};
use crate::keys::REDIRECT;
use crate::limits;
use crate::lower::paths::exact;
use crate::lower::rules::conditions::host;
use crate::plan::{HostPattern, Piece, RedirectPlan, RedirectPort, Template};
use crate::read::{Fields, Reading, Scalar};
use crate::tree::Node;

pub(super) fn redirect(reading: &Reading, node: &Node, around: Around<'_>) -> Option<RedirectPlan> {
    let map = reading.map(node, &REDIRECT)?;
    // What could not be read may be the expression that is meant.
    let groups = match around.whole {
        true => groups_of(around.when),
        false => Some(usize::MAX),
    };
    let status = map.number("status");
    if let (Some(status), Some(node)) = (status, map.get("status"))
        && !matches!(status, 301 | 302 | 303 | 307 | 308)
    {
        let message = "a redirect's status is 301, 302, 303, 307 or 308";
        reading.error(node.at, "range", message);
    }
    let problems = reading.errors();
    // What is as the request has it is as if it were absent.
    let scheme = map.word("scheme").filter(|word| *word != "#{protocol}");
    let scheme = scheme.map(Arc::from);
    let host = map.with("host", |reading, node| {
        reading.parsed(node, "host", |text| to_host(text, groups))
    });
    let host = host.filter(|host| host.pieces() != [Piece::Host]);
    let port = port(&map);
    let path = map.with("path", |reading, node| {
        reading.parsed(node, "path", |text| to_path(text, groups))
    });
    let path = path.filter(|path| path.pieces() != [Piece::Text("/".into()), Piece::Path]);
    let query = map.with("query", |reading, node| {
        template::read(reading, node, Part::Query, groups)
    });
    let query = query.filter(|query| query.pieces() != [Piece::Query]);
    let at = map.at;
    map.done();
    let moves = matches!(port, Some(RedirectPort::Number(_)));
    let stays = scheme.is_none() && host.is_none() && !moves && path.is_none();
    if stays && reading.errors() == problems {
        let message =
            "this redirect leads to where it comes from; change its scheme, host, port or path";
        reading.error(at, "redirect_loop", message);
        return None;
    }
    Some(RedirectPlan {
        status: status.unwrap_or(limits::REDIRECT_STATUS),
        scheme,
        host,
        port,
        path,
        query,
    })
}

fn port(map: &Fields<'_>) -> Option<RedirectPort> {
    let word = map.with("port", Reading::text);
    if word.is_some_and(|word| word.value() == "#{port}") {
        return Some(RedirectPort::Request);
    }
    map.number("port")
        .and_then(NonZeroU16::new)
        .map(RedirectPort::Number)
}

/// One host, or a text that becomes one.
fn to_host(text: &Scalar, groups: Option<usize>) -> Result<Template, String> {
    let read = template(text, Part::Host, groups);
    // Whoever writes a name learns what is wrong with a name.
    if !text.value().contains(['#', '$']) {
        return match host(text)? {
            HostPattern::Exact(name) => Ok(Template::plain(&name)),
            _ => Err("a redirect leads to one host".into()),
        };
    }
    read
}

/// A path in normal form, or a text that becomes one.
fn to_path(text: &Scalar, groups: Option<usize>) -> Result<Template, String> {
    if !text.value().starts_with('/') {
        return Err(format!("a path begins with a slash: `/{text}`"));
    }
    let read = template(text, Part::Path, groups);
    if !text.value().contains(['#', '$']) {
        exact(text)?;
    }
    read
}
