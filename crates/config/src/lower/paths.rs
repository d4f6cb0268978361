//! Owns the paths of conditions: which there are, and which no request can have.

use std::cell::RefCell;
use std::sync::Arc;

use crate::keys::PATH;
use crate::plan::{PathPattern, Wildcard};
use crate::problem::At;
use crate::read::{Reading, Scalar};
use crate::tree::{Node, Value};

/// The most characters of a pattern with wildcards, and of wildcards in it (ALB's limits).
const WILDCARD_MOST: (usize, usize) = (128, 5);

/// Paths that only listeners with `path: as_is` can see, and why.
pub(super) type Unusual = RefCell<Vec<(At, String)>>;

/// Why no request can have a path, or only one that is left as it came.
enum Never {
    Ever(String),
    Normal(String),
}

/// A path, a pattern, or a map of one. What is not in normal form goes to `unusual`, for who knows the listeners.
pub(super) fn path(reading: &Reading, node: &Node, unusual: &Unusual) -> Option<PathPattern> {
    let text_of = |node: &Node, possible: &dyn Fn(&Scalar) -> Result<(), Never>| {
        let text = reading.text(node)?;
        match possible(&text) {
            Ok(()) => Some(text),
            Err(Never::Normal(why)) => {
                unusual.borrow_mut().push((node.at, why));
                Some(text)
            }
            Err(Never::Ever(why)) => {
                reading.error(node.at, "path", why);
                None
            }
        }
    };
    if !matches!(node.value, Value::Map(_)) {
        let text = text_of(node, &|text| match text.value().contains(['*', '?']) {
            true => pattern(text),
            false => literal(text),
        })?;
        let text = text.value();
        return Some(match text.contains(['*', '?']) {
            true => PathPattern::Wildcard(Wildcard::new(text)),
            false => PathPattern::Exact(text.into()),
        });
    }
    let map = reading.map(node, &PATH)?;
    let exact = map.get("exact").and_then(|node| text_of(node, &literal));
    let exact = exact.map(|text| PathPattern::Exact(text.value().into()));
    let prefix = map.get("prefix").and_then(|node| text_of(node, &literal));
    let prefix = prefix.map(|text| {
        let text = text.value();
        PathPattern::Prefix(text.strip_suffix('/').unwrap_or(text).into())
    });
    let regex = map.with("regex", Reading::expression);
    let regex = regex.map(PathPattern::Regex);
    let given = PATH.one_of.iter().filter(|key| map.stands(key).is_some());
    if given.count() != 1 {
        let message = "a path is one of `exact`, `prefix` and `regex`";
        reading.error(map.at, "one_pattern", message);
    }
    map.done();
    exact.or(prefix).or(regex)
}

/// A path in the form in which rules see it: for what leads somewhere.
pub(super) fn exact(text: &Scalar) -> Result<Arc<str>, String> {
    match literal(text) {
        Ok(()) => Ok(text.value().into()),
        Err(Never::Ever(why) | Never::Normal(why)) => Err(why),
    }
}

pub(super) fn wildcard(pattern: &str) -> Result<Wildcard, String> {
    let stars = pattern
        .bytes()
        .filter(|byte| matches!(byte, b'*' | b'?'))
        .count();
    if pattern.len() > WILDCARD_MOST.0 || stars > WILDCARD_MOST.1 {
        return Err(format!(
            "a pattern has at most {} characters and {} of `*` and `?`",
            WILDCARD_MOST.0, WILDCARD_MOST.1
        ));
    }
    Ok(Wildcard::new(pattern))
}

/// Whether a request can have this path.
fn literal(text: &Scalar) -> Result<(), Never> {
    if text.value().contains('?') {
        return Err(Never::Ever(format!(
            "`{text}`: a path has no query and, as `exact` or `prefix`, no `?`"
        )));
    }
    possible(text, &[text.value()])
}

/// Whether a request can have a path of this pattern. Looks at the text between wildcards only.
fn pattern(text: &Scalar) -> Result<(), Never> {
    wildcard(text.value()).map_err(Never::Ever)?;
    // Every path begins with a slash: that is what a first `?` stands for.
    let slash = text
        .value()
        .strip_prefix('?')
        .map(|rest| format!("/{rest}"));
    let seen = slash.as_deref().unwrap_or(text.value());
    let runs: Vec<&str> = seen.split(['*', '?']).collect();
    possible(text, &runs)
}

/// Whether a request can have a path in which these runs of characters stand, with anything between them.
fn possible(text: &Scalar, runs: &[&str]) -> Result<(), Never> {
    let never = |why: &str| {
        Err(Never::Ever(format!(
            "`{text}` can be no request's path: {why}"
        )))
    };
    if runs.iter().all(|run| run.is_empty()) && !text.value().is_empty() {
        return Ok(());
    }
    if runs[0].is_empty() && runs.len() == 1 || !runs[0].is_empty() && !runs[0].starts_with('/') {
        return Err(Never::Ever(format!(
            "a path begins with a slash: `/{text}`"
        )));
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\';
    if !runs.iter().all(|run| run.bytes().all(plain)) {
        return never("what is not plain ASCII, `#` or `\\` is written in its `%XX` form");
    }
    let last = runs.len() - 1;
    let mut normal = true;
    for (number, run) in runs.iter().enumerate() {
        for rest in run.split('%').skip(1) {
            // At a wildcard an escape may go on in what the wildcard stands for.
            let cut = rest.len() < 2 && number < last && run.ends_with(rest);
            match escape(rest, cut) {
                Some(is_normal) => normal &= is_normal,
                None => return never("an escape is `%` and two hexadecimal digits, not `%00`"),
            }
        }
    }
    if !normal {
        return Err(Never::Normal(format!(
            "`{text}` can be no request's path: rules see escapes in upper case, and letters, digits, `-`, `.`, `_` and `~` plain"
        )));
    }
    let dots = |run: &str, end: bool| {
        run.contains("/./")
            || run.contains("/../")
            || (end && (run.ends_with("/.") || run.ends_with("/..")))
    };
    let folded = runs
        .iter()
        .enumerate()
        .any(|(number, run)| run.contains("//") || dots(run, number == last));
    if folded {
        return Err(Never::Normal(format!(
            "`{text}` can be no request's path: rules see paths without `//`, `.` and `..`"
        )));
    }
    Ok(())
}

/// Whether what stands behind a `%` is an escape, and one that the normal form has. `cut`: it may go on elsewhere.
fn escape(rest: &str, cut: bool) -> Option<bool> {
    if cut {
        let lower = rest.bytes().any(|byte| byte.is_ascii_lowercase());
        let digits = rest.bytes().all(|byte| byte.is_ascii_hexdigit());
        return digits.then_some(!lower);
    }
    let digits = rest.get(..2)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = u8::from_str_radix(digits, 16)
        .ok()
        .filter(|&byte| byte != 0)?;
    let lower = digits.bytes().any(|byte| byte.is_ascii_lowercase());
    Some(!lower && !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte))
}
