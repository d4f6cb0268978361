//! Owns what is wrong with a configuration: where, which case, what to do about it; and how that is shown.

use std::borrow::Cow;
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
        let name = plainly(name_of(problem.at, sources));
        let At { line, column, .. } = problem.at;
        // Writing to a text does not fail.
        let _ = writeln!(
            out,
            "{name}:{line}:{column}: {severity}: {} [{}]",
            plainly(&problem.message),
            problem.word
        );
        show_line(&mut out, problem.at, &lines);
        if let Some(also) = problem.also {
            let name = plainly(name_of(also, sources));
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
    // Columns count characters; one that is escaped is shown as several.
    let (mut shown, mut width, mut before, mut carets) = (String::new(), 0, 0, 0);
    let begin = at.column.saturating_sub(1);
    let meant = begin..begin.saturating_add(at.length.max(1));
    for (number, char) in line.chars().enumerate() {
        let wide = match char {
            '\t' => push(&mut shown, " "),
            char if steers(char) => push(&mut shown, &char.escape_unicode().to_string()),
            char => {
                shown.push(char);
                1
            }
        };
        width += wide;
        if number < meant.start {
            before += wide;
        } else if meant.contains(&number) {
            carets += wide;
        }
        if width >= WIDTH {
            break;
        }
    }
    let carets = carets.clamp(1, WIDTH);
    let _ = writeln!(out, "{:5} | {shown}", at.line);
    let _ = writeln!(out, "      | {}{}", " ".repeat(before), "^".repeat(carets));
}

/// How many characters it was.
fn push(shown: &mut String, text: &str) -> usize {
    shown.push_str(text);
    text.chars().count()
}

/// Whether a terminal takes a character as an order: control characters, and those that turn the direction of what follows.
#[must_use]
pub fn steers(char: char) -> bool {
    let turns = matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || turns
}

/// A text as a terminal may be given it, on one line: what would steer it stands as an escape, like `\u{1b}`. Who wrote a
/// configuration or named a file need not be who reads what is said of it.
#[must_use]
pub fn plainly(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if steers(char) {
            out.extend(char.escape_unicode());
        } else {
            out.push(char);
        }
    }
    out.into()
}

/// So many characters of a value are shown in a message.
const CLIPPED_AT: usize = 200;

/// A value for a message: plain, and its begin where it is long.
pub(crate) fn clipped(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(CLIPPED_AT) {
        None => plainly(text),
        Some((end, _)) => format!("{}...", plainly(&text[..end])).into(),
    }
}
