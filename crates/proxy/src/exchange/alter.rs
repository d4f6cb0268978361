//! Owns what a rule makes of a request for its backend, and of the fields of either.

use evenkeel_config::plan::{EditsPlan, HostRewrite, PathRewrite, RewritePlan};
use evenkeel_wire::altered::{Altered, Editing, Unfit};
use evenkeel_wire::http1::request::PathForm;

use super::fill::Source;

/// Puts another target, another host and other fields beside a request that stays what it was: rules and hash policies see that.
pub(super) fn request(
    rewrite: &RewritePlan,
    source: &Source<'_>,
    (form, most): (PathForm, usize),
    altered: &mut Altered,
) -> Result<(), Unfit> {
    // `OPTIONS *` has no path.
    if let Some(path) = &rewrite.path
        && source.request.path() != b"*"
        && let Some((path, query)) = target(path, source)
    {
        let query = query.as_deref().or(source.request.query());
        // An empty one that the rule wrote removes it.
        altered.set_target(&path, query.filter(|query| !query.is_empty()), form, most)?;
    }
    if let Some(host) = &rewrite.host
        && let Some(host) = host_of(host, source)
    {
        altered.set_host(&host)?;
    }
    if rewrite.request.is_empty() {
        return Ok(());
    }
    edit(&rewrite.request, source, &mut altered.request())
}

/// Another path, and the query if the rule has one. None: they stay.
fn target(rewrite: &PathRewrite, source: &Source<'_>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let path = source.request.path();
    match rewrite {
        PathRewrite::Prefix { from, to } => {
            let rest = path.strip_prefix(from.as_bytes())?;
            if !matches!(rest, [] | [b'/', ..]) {
                return None;
            }
            let mut path = [to.as_bytes(), rest].concat();
            if path.is_empty() {
                path.push(b'/');
            }
            Some((path, None))
        }
        PathRewrite::Regex {
            from,
            path: to,
            query,
        } => {
            let captures = from.0.captures(path)?;
            let matched = captures.get(0)?.range();
            let mut new = path[..matched.start].to_vec();
            source.fill(to, Some(&captures), &mut new);
            new.extend_from_slice(&path[matched.end..]);
            let query = query.as_ref();
            Some((new, query.map(|to| source.filled(to, Some(&captures)))))
        }
    }
}

/// Another host. None: it stays.
fn host_of(rewrite: &HostRewrite, source: &Source<'_>) -> Option<Vec<u8>> {
    match rewrite {
        HostRewrite::To(to) => Some(source.filled(to, None)),
        HostRewrite::Regex(from, to) => {
            let host = source.request.host().as_bytes();
            let captures = from.0.captures(host)?;
            let matched = captures.get(0)?.range();
            let mut new = host[..matched.start].to_vec();
            source.fill(to, Some(&captures), &mut new);
            new.extend_from_slice(&host[matched.end..]);
            Some(new)
        }
    }
}

/// Changes the fields of one head.
pub(super) fn edit(
    plan: &EditsPlan,
    source: &Source<'_>,
    fields: &mut Editing<'_>,
) -> Result<(), Unfit> {
    for name in &plan.remove {
        fields.remove(name.as_str().as_bytes())?;
    }
    let mut value = Vec::new();
    for (name, template) in &plan.set {
        value.clear();
        source.fill(template, None, &mut value);
        fields.set(name.as_str().as_bytes(), &value)?;
    }
    for (name, template) in &plan.add {
        value.clear();
        source.fill(template, None, &mut value);
        fields.add(name.as_str().as_bytes(), &value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use evenkeel_config::plan::{FieldName, Side};
    use evenkeel_wire::altered::may_change;
    use evenkeel_wire::known::Known;

    /// The plan refuses every field that the wire would refuse, so that an edit never fails while it is served.
    #[test]
    fn plan_and_wire_agree_on_fields() {
        let others = [
            "cache-control",
            "content-type",
            "content-range",
            "range",
            "date",
            "X_Forwarded_For",
            "x_request-id",
            "x_client-cert-subject",
            "content_length",
            "x-tier",
            "a b",
            "",
        ];
        for &name in Known::NAMES.iter().chain(&others) {
            for side in [Side::Request, Side::Response] {
                let wire = may_change(name.as_bytes(), side == Side::Response);
                // `Content_Length` is nobody's framing here, and refused all the same: a backend may think otherwise. `Date` is of
                // whoever made the message.
                let plan = FieldName::new(name, side).is_ok();
                let stricter = matches!(name, "content_length" | "date");
                assert!(plan == wire || (stricter && !plan), "{name} {side:?}");
            }
        }
    }
}
