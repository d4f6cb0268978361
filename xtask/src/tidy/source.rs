//! Owns what the checks see of a file: its text, and, of Rust, the code without comments, strings and tests.
//!
//! This is not a parser. It knows Rust's tokens well enough to blank what is not code, and trusts rustfmt, which
//! the gate runs first, for the rest: an item that begins at some indentation ends at the first `}` there.

/// One file of the tree.
#[derive(Debug)]
pub(super) struct File {
    /// From the root of the workspace, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// Rust only: comments and the insides of literals blanked, line for line.
    pub(super) code: String,
    /// `code` with test modules blanked too; nothing at all of a file that is a test.
    pub(super) production: String,
}

impl File {
    pub(super) fn new(path: &str, text: String) -> Self {
        let code = if path.ends_with(".rs") {
            without_comments(&text)
        } else {
            String::new()
        };
        let production = if is_test(path) {
            String::new()
        } else {
            without_tests(&code)
        };
        Self {
            path: path.to_owned(),
            text,
            code,
            production,
        }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Tests, benches and examples: known by where they stand.
pub(super) fn is_test(path: &str) -> bool {
    let mut names = path.rsplit('/');
    let file = names.next().unwrap_or_default();
    file == "tests.rs"
        || names.any(|folder| matches!(folder, "tests" | "benches" | "examples" | "fuzz"))
}

/// Blanks comments and the insides of string and character literals; keeps every line where it is.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = token(rest, code.chars().next_back());
        let (token, after) = rest.split_at(length.unwrap_or(first.len_utf8()));
        if length.is_some() {
            code.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push_str(token);
        }
        rest = after;
    }
    code
}

/// The length of the comment or literal that `rest` begins with, if it begins with one.
fn token(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return Some(1 + quoted(inside, '"'));
    }
    // `r` begins a raw string only where it does not end a name; `br` and `cr` reach this at their `r`.
    let alone = !before.is_some_and(is_name) || matches!(before, Some('b' | 'c'));
    if alone && rest.starts_with('r') {
        let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
        let open = 1 + hashes;
        if rest[open..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = &rest[open + 1..];
            return Some(
                body.find(&close)
                    .map_or(rest.len(), |at| open + 1 + at + close.len()),
            );
        }
    }
    if let Some(inside) = rest.strip_prefix('\'') {
        let mut chars = inside.chars();
        // A lifetime has no closing quote right after its first character.
        return match (chars.next(), chars.next()) {
            (Some('\\'), _) | (Some(_), Some('\'')) => Some(1 + quoted(inside, '\'')),
            _ => None,
        };
    }
    None
}

/// The length of a literal's inside and its closing quote; backslashes escape.
fn quoted(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    inside.len()
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let lines: Vec<&str> = code.lines().collect();
    let mut kept = String::with_capacity(code.len());
    let mut at = 0;
    while at < lines.len() {
        let trimmed = lines[at].trim_start();
        if trimmed.starts_with("#[cfg(test)]") || trimmed.starts_with("#[cfg(all(test") {
            let mut item = at;
            while item + 1 < lines.len() && is_attribute_or_blank(lines[item]) {
                item += 1;
            }
            let end = item_end(&lines, item).max(item);
            kept.push_str(&"\n".repeat(end + 1 - at));
            at = end + 1;
        } else {
            kept.push_str(lines[at]);
            kept.push('\n');
            at += 1;
        }
    }
    kept
}

fn is_attribute_or_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with("#[")
}

/// The line on which the item that begins on line `start` ends. `start` itself when it is one line long.
pub(super) fn item_end(lines: &[&str], start: usize) -> usize {
    let indent = lines[start].len() - lines[start].trim_start().len();
    let first = lines[start].trim_end();
    if first.ends_with(';') || first.ends_with('}') {
        return start;
    }
    let rest = lines.iter().enumerate().skip(start + 1);
    for (at, line) in rest {
        let here = line.len() - line.trim_start().len();
        let line = line.trim();
        // The end of a body, or, of a signature without one, its semicolon.
        if here == indent && (line.starts_with('}') || (line.ends_with(';') && !line.is_empty())) {
            return at;
        }
    }
    lines.len() - 1
}

/// Every path that the `use` declarations name, with its line from 1: `use a::{b, c::d};` names `a::b` and `a::c::d`.
pub(super) fn used_paths(code: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let mut offset = 0;
    for (number, line) in code.split_inclusive('\n').enumerate() {
        let begins = offset + (line.len() - line.trim_start().len());
        offset += line.len();
        let Some(tree) = use_tree(&code[begins..]) else {
            continue;
        };
        let flat: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
        expand("", &flat, &mut |path| paths.push((number + 1, path)));
    }
    paths
}

/// What stands between `use` and `;`, when the text begins with a `use` of any visibility.
fn use_tree(text: &str) -> Option<&str> {
    let mut text = text;
    if let Some(after) = text.strip_prefix("pub") {
        text = after.trim_start();
        if text.starts_with('(') {
            text = text.split_once(')')?.1.trim_start();
        }
    }
    let tree = text.strip_prefix("use ")?;
    Some(tree.split_once(';')?.0)
}

fn expand(prefix: &str, tree: &str, found: &mut dyn FnMut(String)) {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let group = group.strip_suffix('}').unwrap_or(group);
        let prefix = format!("{prefix}{}", head.trim());
        for branch in branches(group) {
            expand(&prefix, branch, found);
        }
    } else if !tree.is_empty() {
        let name = tree.split(" as ").next().unwrap_or(tree);
        let name = name.strip_suffix("::self").unwrap_or(name);
        let path = format!("{prefix}{name}");
        found(path.strip_suffix("::self").unwrap_or(&path).to_owned());
    }
}

/// Splits at the commas that stand in no inner group.
fn branches(group: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        for (text, expect) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"a \\\" b\", c)", "f(        , c)"),
            ("f(r#\"a \" b\"#, c)", "f(          , c)"),
            ("f(br\"a\", c)", "f(b    , c)"),
            ("var\"a\"", "var   "),
            ("f('\"', '\\'', 'a')", "f(   ,     ,    )"),
            ("f('\\u{7b}', '\\\\', b)", "f(        ,     , b)"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("\"a\nb\" c", "  \n   c"),
        ] {
            assert_eq!(without_comments(text), expect, "{text}");
        }
    }

    #[test]
    fn tests_are_not_production() {
        for (code, expect) in [
            ("a();\n#[cfg(test)]\nmod tests;\nb();\n", "a();\n\n\nb();\n"),
            (
                "a();\n#[cfg(test)]\nmod tests {\n    x();\n}\nb();\n",
                "a();\n\n\n\n\nb();\n",
            ),
            (
                "#[cfg(test)]\n#[expect(dead)]\nfn f(\n    a: u8,\n) {\n    x();\n}\nb();\n",
                "\n\n\n\n\n\n\nb();\n",
            ),
            (
                "#[cfg(not(test))]\nfn f() {}\n",
                "#[cfg(not(test))]\nfn f() {}\n",
            ),
        ] {
            assert_eq!(without_tests(code), expect, "{code}");
        }
        for (path, expect) in [
            ("crates/balance/src/breaker/tests.rs", true),
            ("crates/balance/tests/laws/model.rs", true),
            ("crates/balance/examples/count.rs", true),
            ("crates/balance/src/latest.rs", false),
        ] {
            assert_eq!(is_test(path), expect, "{path}");
        }
    }

    #[test]
    fn use_declarations() {
        for (code, expect) in [
            ("use std::fs;", &[(1, "std::fs")][..]),
            (
                "use std::{fs, net::{TcpStream, self as n}};",
                &[(1, "std::fs"), (1, "std::net::TcpStream"), (1, "std::net")],
            ),
            ("\n    pub(crate) use a::b as c;", &[(2, "a::b")]),
            (
                "use std::{\n    io,\n    time::{\n        Duration, Instant,\n    },\n};\n",
                &[
                    (1, "std::io"),
                    (1, "std::time::Duration"),
                    (1, "std::time::Instant"),
                ],
            ),
            ("reuse std::fs;\nlet user = 1;", &[]),
        ] {
            let found = used_paths(code);
            let found: Vec<(usize, &str)> = found
                .iter()
                .map(|(line, path)| (*line, path.as_str()))
                .collect();
            assert_eq!(found, expect, "{code}");
        }
    }
}
