//! Owns where a redirect leads.

use evenkeel_config::limits;
use evenkeel_config::plan::{PathPattern, RedirectPlan, RedirectPort, RulePlan, Template};
use evenkeel_wire::altered::{Location, Unfit};

use super::fill::Source;
use crate::reason::Reason;

/// The place, or why there is none.
pub(super) fn location(
    to: &RedirectPlan,
    rule: &RulePlan,
    source: &Source<'_>,
) -> Result<Location, Reason> {
    let request = source.request;
    let templates = [&to.host, &to.path, &to.query];
    let captured = |template: &Option<Template>| {
        let last = template.as_ref().and_then(Template::last_capture);
        last.is_some()
    };
    // What the rule's expression found, found once more: to remember it would cost every match.
    let captures = templates.into_iter().any(captured).then(|| {
        rule.when.paths.iter().find_map(|pattern| match pattern {
            PathPattern::Regex(regex) => regex.captures(request.path()),
            _ => None,
        })
    });
    let captures = captures.flatten();
    let fill = |template: &Template| source.filled(template, captures.as_ref());
    let host = to.host.as_ref().map(fill);
    let host = host.as_deref().unwrap_or(request.host().as_bytes());
    let https = to.scheme.as_deref().unwrap_or(source.scheme) == "https";
    let port = match (to.port, &to.scheme) {
        (Some(RedirectPort::Number(port)), _) => Some(port.get()),
        (Some(RedirectPort::Request), _) => Some(source.port()),
        // Another scheme means another port, unless one is named.
        (None, Some(_)) => None,
        (None, None) => request.port(),
    };
    let path = to.path.as_ref().map(fill);
    let path = match (&path, request.path()) {
        (Some(path), _) => path,
        (None, b"*") => &b"/"[..],
        (None, path) => path,
    };
    let query = to.query.as_ref().map(fill);
    let query = match &query {
        Some(query) => Some(&**query).filter(|query| !query.is_empty()),
        None => request.query(),
    };
    Location::new(https, host, port, path, query, limits::REDIRECT_BYTES).map_err(|unfit| {
        match unfit {
            Unfit::Form => Reason::RedirectFailed,
            Unfit::Long => Reason::RedirectTooLong,
        }
    })
}
