//! Owns what is wrong with a configuration: where, which case, what to do about it; and how that is shown.

use std::fmt::Write;

/// A place in one of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Which of the files that were given.
    pub file: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// How many characters are meant; at least 1.
    pub length: usize,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// There is no plan.
    Error,
    /// There is one, but it may not be what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub at: At,
    /// How bad.
    pub severity: Severity,
    /// Which case: a stable word.
    pub word: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// The other place that it is about.
    pub also: Option<At>,
}

/// A named text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How people call it: its path.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// Shows problems as people read them: position, case, the line, a caret under what is meant.
#[must_use]
pub fn render(problems: &[Problem], sources: &[Source]) -> String {
    let mut out = String::new();
    // Split once: a file of many lines can have many problems.
    let lines: Vec<Vec<&str>> = sources
        .iter()
        .map(|source| source.text.lines().collect())
        .collect();
    for problem in problems {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let name = name_of(problem.at, sources);
        let At { line, column, .. } = problem.at;
        // Writing to a text does not fail.
        let _ = writeln!(
            out,
            "{name}:{line}:{column}: {severity}: {} [{}]",
            problem.message, problem.word
        );
        show_line(&mut out, problem.at, &lines);
        if let Some(also) = problem.also {
            let name = name_of(also, sources);
            let _ = writeln!(
                out,
                "  the other one is {name}:{}:{}",
                also.line, also.column
            );
            show_line(&mut out, also, &lines);
        }
    }
    out
}

fn name_of(at: At, sources: &[Source]) -> &str {
    sources.get(at.file).map_or("?", |source| &source.name)
}

/// The longest part of a line that is shown.
const WIDTH: usize = 120;

fn show_line(out: &mut String, at: At, lines: &[Vec<&str>]) {
    let line = lines
        .get(at.file)
        .and_then(|lines| lines.get(at.line.saturating_sub(1)));
    let Some(line) = line else { return };
    let shown: String = line
        .chars()
        .take(WIDTH)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    let before = at.column.saturating_sub(1).min(WIDTH);
    let carets = at.length.clamp(1, WIDTH);
    let _ = writeln!(out, "{:5} | {shown}", at.line);
    let _ = writeln!(out, "      | {}{}", " ".repeat(before), "^".repeat(carets));
}
