//! Owns the form of `tidy.toml`, and what must hold of the table itself: reasons given, rows that reach a file.

use serde::Deserialize;

use super::source::File;
use super::{Problem, TABLE, glob};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rules {
    #[serde(rename = "crate")]
    pub(super) crates: Vec<CrateRow>,
    pub(super) word: Vec<WordRow>,
    pub(super) name: Vec<NameRow>,
    pub(super) size: Sizes,
    pub(super) long_file: Vec<LongFile>,
    pub(super) long_function: Vec<LongFunction>,
    pub(super) exemption: Vec<Exemption>,
}

/// A crate of the workspace and the crates of ours that it may import.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CrateRow {
    pub(super) name: String,
    pub(super) imports: Vec<String>,
    /// What its tests may import besides.
    #[serde(default)]
    pub(super) tests_import: Vec<String>,
}

/// A word and where it may stand.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WordRow {
    pub(super) words: Vec<String>,
    pub(super) scope: Scope,
    /// Also as a part of a longer name (`lease_id`, `TcpLease`), in any case.
    pub(super) part: bool,
    /// Where it is looked for; empty: everywhere.
    pub(super) within: Vec<String>,
    /// Where it may stand all the same.
    pub(super) may_stand: Vec<String>,
    /// Looked for in tests too.
    pub(super) tests: bool,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// Rust, without comments and string literals.
    #[default]
    Code,
    /// Every line of every file.
    Text,
}

/// Names that no file or folder of code may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NameRow {
    pub(super) names: Vec<String>,
    pub(super) message: String,
}

/// How long a production file and a function may be without a reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sizes {
    pub(super) file_lines: usize,
    pub(super) function_lines: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            file_lines: 500,
            function_lines: 70,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LongFile {
    pub(super) path: String,
    pub(super) lines: usize,
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LongFunction {
    pub(super) path: String,
    pub(super) function: String,
    pub(super) lines: usize,
    pub(super) reason: String,
}

/// One file in which one word may stand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exemption {
    pub(super) word: String,
    pub(super) path: String,
    pub(super) reason: String,
}

/// The table gives its reasons, and each of its rows can fail.
pub(super) fn check(rules: &Rules, files: &[File]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut say = |message: String| found.push(Problem::new(TABLE, 0, message));
    let reasons = (rules.exemption.iter().map(|row| (&row.path, &row.reason)))
        .chain(rules.long_file.iter().map(|row| (&row.path, &row.reason)))
        .chain(
            rules
                .long_function
                .iter()
                .map(|row| (&row.path, &row.reason)),
        );
    for (path, reason) in reasons {
        if reason.trim().is_empty() {
            say(format!("the row of {path} wants a reason"));
        }
    }
    for row in &rules.word {
        if row.words.is_empty() || row.message.trim().is_empty() {
            say(format!(
                "the row of {:?} wants words and a message that says what to do",
                row.words
            ));
        }
        for pattern in &row.within {
            if !files.iter().any(|file| glob::matches(pattern, &file.path)) {
                say(format!(
                    "{:?} are looked for in `{pattern}`, where there is no file",
                    row.words
                ));
            }
        }
    }
    for row in &rules.exemption {
        if !rules.word.iter().any(|rule| rule.words.contains(&row.word)) {
            say(format!(
                "`{}` is exempted in {}, but no row bans it",
                row.word, row.path
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(table: &str, expect: &[&str]) {
        let files = [File::new("crates/balance/src/lib.rs", String::new())];
        let found = super::check(&toml::from_str(table).unwrap(), &files);
        assert_eq!(found.len(), expect.len(), "{table}\n{found:?}");
        for (problem, part) in found.iter().zip(expect) {
            assert!(problem.message.contains(part), "{table}\n{found:?}");
        }
    }

    #[test]
    fn reasons_are_mandatory() {
        let word =
            "[[word]]\nwords = ['x']\nmessage = 'why'\n[[exemption]]\nword = 'x'\npath = 'a.rs'\n";
        check(&format!("{word}reason = 'because'"), &[]);
        check(&format!("{word}reason = ' '"), &["a.rs wants a reason"]);
        check(
            "[[long_file]]\npath = 'a.rs'\nlines = 900\nreason = ''",
            &["a.rs wants a reason"],
        );
        check(
            "[[long_function]]\npath = 'a.rs'\nfunction = 'f'\nlines = 90\nreason = ''",
            &["a.rs wants a reason"],
        );
        assert!(
            toml::from_str::<Rules>(word).is_err(),
            "a reason left out altogether"
        );
    }

    #[test]
    fn rows_reach_something() {
        check(
            "[[word]]\nwords = ['x']\nmessage = 'm'\nwithin = ['crates/balance/**']",
            &[],
        );
        check(
            "[[word]]\nwords = ['x']\nmessage = 'm'\nwithin = ['crates/gone/**']",
            &["no file"],
        );
        check("[[word]]\nwords = []\nmessage = 'm'", &["wants words"]);
        check("[[word]]\nwords = ['x']\nmessage = ''", &["a message"]);
        check(
            "[[exemption]]\nword = 'x'\npath = 'a.rs'\nreason = 'r'",
            &["no row bans it"],
        );
        assert!(
            toml::from_str::<Rules>("[[wrod]]\nwords = ['x']").is_err(),
            "a mistyped key"
        );
    }
}
