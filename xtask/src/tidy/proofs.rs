//! Owns the tables that say what shows a promise (`docs/coverage-*.md`): a test that they name exists.
//!
//! In the last cell of a row, what stands in backquotes and looks like a test's name (lower case, with `_`) must be a
//! function of this tree. Other words in backquotes are left alone.

use std::collections::BTreeSet;

use super::Problem;
use super::rules::Rules;
use super::source::File;

pub(super) fn check(_: &Rules, files: &[File]) -> Vec<Problem> {
    let functions: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .flat_map(|file| file.text.lines().filter_map(function))
        .collect();
    files
        .iter()
        .filter(|file| file.path.starts_with("docs/coverage-") && file.path.ends_with(".md"))
        .flat_map(|file| {
            let rows = (1..).zip(file.text.lines());
            rows.flat_map(|(line, row)| named(row).map(move |name| (line, name)))
                .filter(|(_, name)| !functions.contains(name))
                .map(|(line, name)| {
                    let message =
                        format!("`{name}` is no test of this tree; name the one that shows it");
                    Problem::new(&file.path, line, message)
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let rest = rest.strip_prefix("pub ").unwrap_or(rest);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let rest = rest.strip_prefix("fn ")?;
    let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))?;
    Some(&rest[..end])
}

/// The tests that a row's last cell names.
fn named(row: &str) -> impl Iterator<Item = &str> {
    let last = row
        .strip_prefix('|')
        .and_then(|row| row.trim_end().strip_suffix('|'))
        .and_then(|row| row.rsplit('|').next())
        .unwrap_or_default();
    last.split('`').skip(1).step_by(2).filter(|name| {
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
        let page = "| promise | shown by |\n|---|---|\n| one | `it_holds`, `Word`, `key` |\n| two | `it_does_not` |\n| `not_last` | - |\n";
        let files = [
            File::new("docs/coverage-x.md", page.to_owned()),
            File::new("docs/other.md", page.to_owned()),
            File::new(
                "crates/a/tests/b.rs",
                "#[test]\nfn it_holds() {}\n".to_owned(),
            ),
        ];
        let rules: Rules = toml::from_str("").unwrap();
        let problems = check(&rules, &files);
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (&*problem.path, problem.line))
            .collect();
        assert_eq!(found, [("docs/coverage-x.md", 4)]);
    }
}
