//! Owns how templates are read: what may stand in a path, a query, a host, a field.

use crate::limits;
use crate::plan::Template;
use crate::plan::{Conditions, PathPattern, Piece};
use crate::read::{Reading, Scalar};
use crate::tree::Node;

/// What a text is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Path,
    Query,
    Host,
    /// A dollar is one here.
    Field,
}

impl Part {
    const fn word(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Host => "host",
            Self::Field => "value",
        }
    }

    fn plain(self, byte: u8) -> bool {
        match self {
            Self::Path => byte.is_ascii_graphic() && !b"?#\\".contains(&byte),
            Self::Query => byte.is_ascii_graphic() && !b"#\\".contains(&byte),
            Self::Host => byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte),
            Self::Field => byte.is_ascii_graphic() || byte == b' ' || byte == b'\t',
        }
    }

    const fn allowed(self) -> &'static str {
        match self {
            Self::Path => {
                "a path holds visible ASCII without `?`, `#` and `\\`; others are written in their `%XX` form"
            }
            Self::Query => "a query holds visible ASCII without `#` and `\\`",
            Self::Host => "a host holds letters, digits, `-`, `_`, `.` and perhaps a port",
            Self::Field => "a value holds visible ASCII and spaces, none at its ends",
        }
    }
}

/// A text with places. `groups`: as many as the expression has whose captures it may name; none: no expression.
pub(super) fn template(
    text: &Scalar,
    part: Part,
    groups: Option<usize>,
) -> Result<Template, String> {
    let written = text.value();
    if written.len() > limits::TEMPLATE_BYTES {
        let most = limits::TEMPLATE_BYTES / 1024;
        return Err(format!("a text of a rule has at most {most} KiB"));
    }
    let captures = part != Part::Field;
    let read = Template::read(written, captures, |byte| part.plain(byte));
    let template = read.map_err(|why| match why {
        "a character may not stand here" => format!("`{text}`: {}", part.allowed()),
        why => format!("`{text}`: {why}"),
    })?;
    let whole = |piece: &Piece| match piece {
        Piece::Text(text) => escapes(text),
        _ => true,
    };
    if matches!(part, Part::Path) && !template.pieces().iter().all(whole) {
        return Err(format!(
            "`{text}`: an escape is `%` and two hexadecimal digits, not `%00`"
        ));
    }
    if part == Part::Field && written.trim() != written {
        return Err(format!("`{text}`: {}", part.allowed()));
    }
    match (template.last_capture(), groups) {
        (Some(number), None) => Err(format!(
            "`${number}` is what a group of an expression found, and there is none: each `path` of the rule must be a `regex`"
        )),
        (Some(number), Some(groups)) if usize::from(number) > groups => Err(format!(
            "`${number}` is no group of the expression, which has {groups}"
        )),
        _ => Ok(template),
    }
}

/// The same for a value, where an error is noted.
pub(super) fn read(
    reading: &Reading,
    node: &Node,
    part: Part,
    groups: Option<usize>,
) -> Option<Template> {
    reading.parsed(node, part.word(), |text| template(text, part, groups))
}

/// Groups that every path of a rule has, if all are expressions.
pub(super) fn groups_of(when: &Conditions) -> Option<usize> {
    let groups = |path: &PathPattern| match path {
        PathPattern::Regex(regex) => Some(regex.captures_len() - 1),
        _ => None,
    };
    let each: Option<Vec<usize>> = when.paths.iter().map(groups).collect();
    each?.into_iter().min()
}

/// Whether every `%` begins an escape, and none of a zero byte.
fn escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.get(..2).unwrap_or_default();
        digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && digits != "00"
    })
}
