//! Owns the tables that say what shows a promise (`docs/coverage-*.md`): a test that they name exists, and is one.
//!
//! In the last cell of a row of a table that ends with `shown by`, what stands in backquotes and looks like a test's name (lower case,
//! with `_`) must be a test of this tree: a function alone shows nothing. Other words in backquotes are left alone.

use std::collections::BTreeSet;

use super::Problem;
use super::rules::Rules;
use super::source::File;

pub(super) fn check(_: &Rules, files: &[File]) -> Vec<Problem> {
    let tests: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .flat_map(|file| tests(&file.text))
        .collect();
    files
        .iter()
        .filter(|file| file.path.starts_with("docs/coverage-") && file.path.ends_with(".md"))
        .flat_map(|file| {
            let rows = shown(&file.text);
            rows.flat_map(|(line, row)| named(row).map(move |name| (line, name)))
                .filter(|(_, name)| !tests.contains(name))
                .map(|(line, name)| {
                    let message =
                        format!("`{name}` is no test of this tree; name the one that shows it");
                    Problem::new(&file.path, line, message)
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The names of the tests of a file: functions below an attribute that makes one a test, whatever else stands between.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        let name = function(line);
        let is_test = name.filter(|_| marked);
        marked = match name {
            Some(_) => false,
            None if line.starts_with("#[") => marked || is_mark(line),
            None => marked && !line.is_empty() && !line.starts_with('}'),
        };
        is_test
    })
}

/// `#[test]`, `#[tokio::test]`, `#[tokio::test(start_paused = true)]`.
fn is_mark(attribute: &str) -> bool {
    let path = attribute.trim_start_matches("#[");
    let end = path.find(['(', ']']).unwrap_or(path.len());
    path[..end].rsplit("::").next() == Some("test")
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ").unwrap_or(line);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let rest = rest.strip_prefix("fn ")?;
    let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))?;
    Some(&rest[..end])
}

/// The rows of tables that say what shows something, by their lines.
fn shown(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut shows = false;
    (1..).zip(page.lines()).filter(move |(_, row)| {
        shows = row.starts_with('|') && (shows || last(row) == "shown by");
        shows
    })
}

fn last(row: &str) -> &str {
    let cells = row
        .strip_prefix('|')
        .and_then(|row| row.trim_end().strip_suffix('|'));
    let last = cells.and_then(|cells| cells.rsplit('|').next());
    last.unwrap_or_default().trim()
}

/// The tests that a row's last cell names.
fn named(row: &str) -> impl Iterator<Item = &str> {
    last(row).split('`').skip(1).step_by(2).filter(|name| {
        name.contains('_')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_test_exists() {
        let page = "| promise | shown by |\n|---|---|\n| one | `it_holds`, `Word`, `key` |\n| two | `it_does_not` |\n| `not_last` | - |\n\n\
                    | theirs | from ours |\n|---|---|\n| one | `a_method` |\n\n| theirs | shown by |\n|---|---|\n| three | `it_only_helps` |\n| four | `it_waits` |\n";
        let code = "#[test]\nfn it_holds() {}\n\n#[tokio::test(start_paused = true)]\n#[expect(\n    clippy::panic,\n    reason = \"it is\"\n)]\nasync fn it_waits() {}\n\n\
                    #[cfg(test)]\nfn it_only_helps() {}\n";
        let files = [
            File::new("docs/coverage-x.md", page.to_owned()),
            File::new("docs/other.md", page.to_owned()),
            File::new("crates/a/tests/b.rs", code.to_owned()),
        ];
        let rules: Rules = toml::from_str("").unwrap();
        let problems = check(&rules, &files);
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (&*problem.path, problem.line))
            .collect();
        assert_eq!(
            found,
            [("docs/coverage-x.md", 4), ("docs/coverage-x.md", 13)]
        );
    }
}
