//! Owns the checks that neither the compiler nor clippy makes: what `tidy.toml` says of this repository.
//!
//! This file reads the tree once and prints what the checks find; each check is a plain function over what was
//! read and knows no file system. Every exemption is a row with a reason, and a row that exempts nothing fails:
//! the table can only hold what is true. Read `tidy.toml` first, then the checks in the order of `CHECKS`.

mod boundaries;
mod glob;
mod manifests;
mod proofs;
mod rules;
mod shape;
mod sizes;
mod source;
mod words;

use std::fmt;
use std::path::Path;

use crate::run::Done;
use rules::Rules;
use source::File;

const TABLE: &str = "tidy.toml";

/// Folders that hold what was built or fetched, never what was written.
const NOT_OURS: &[&str] = &[".git", "target", "node_modules"];

/// What a check found, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    path: String,
    /// From 1; 0 when it concerns the file as a whole.
    line: usize,
    message: String,
}

impl Problem {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}", self.path, self.message),
            line => write!(out, "{}:{line}: {}", self.path, self.message),
        }
    }
}

type Check = fn(&Rules, &[File]) -> Vec<Problem>;

/// Everything that is checked, over the whole tree.
const CHECKS: &[Check] = &[
    rules::check,
    boundaries::check,
    words::check,
    sizes::check,
    shape::check,
    manifests::check,
    proofs::check,
];

/// Checks the whole tree and prints every problem in one go.
pub(crate) fn tidy(root: &Path) -> Done {
    let files = read_tree(root)?;
    let table = files
        .iter()
        .find(|file| file.path == TABLE)
        .ok_or("tidy.toml is missing")?;
    let rules: Rules = toml::from_str(&table.text).map_err(|error| format!("{TABLE}: {error}"))?;
    let problems = all_problems(&rules, &files);
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        1 => Err("tidy: 1 problem".to_owned()),
        many => Err(format!("tidy: {many} problems")),
    }
}

fn all_problems(rules: &Rules, files: &[File]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = CHECKS
        .iter()
        .flat_map(|check| check(rules, files))
        .collect();
    problems.sort();
    problems.dedup();
    problems
}

/// Every text file below the root, by its path from there, sorted.
fn read_tree(root: &Path) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let fail = |error| format!("{}: {error}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().map_err(fail)?;
            if NOT_OURS.iter().any(|ours| name == *ours) || kind.is_symlink() {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes =
                std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            // What is not text (an image, a font) has no words.
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            let inside = path.strip_prefix(root).unwrap_or(&path);
            files.push(File::new(
                &inside.to_string_lossy().replace('\\', "/"),
                text,
            ));
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}
