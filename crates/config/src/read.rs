//! Owns the reading of a tree: keys that are known, keys whose feature comes later, values with their units. Every problem is
//! noted and reading goes on, so that all come out in one go.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use evenkeel_balance::policy::named::Policies;
use regex::bytes::{Regex, RegexBuilder};

use crate::keys::Keys;
use crate::limits;
use crate::problem::{At, Problem, Severity};
use crate::tree::{Key, Node, Value};

/// Files that are named.
mod files;

/// The keys of one map.
mod fields;

/// One value.
mod scalar;

/// Values with units.
pub(crate) mod units;

pub(crate) use fields::Fields;
use files::Content;
pub use files::Files;
pub(crate) use files::{Ask, UNREAD};
pub(crate) use scalar::Scalar;

/// A duration as configurations write it: `250ms`, `30s`, `1m30s`; for flags that take one too.
///
/// # Errors
/// What is wrong with it, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    units::duration(&Scalar::plain(text))
}

/// Where problems are noted, and what `${NAME}` and file names read.
pub(crate) struct Reading {
    problems: RefCell<Vec<Problem>>,
    /// Those that are not told: the first one's place, the worst severity, how many.
    untold: Cell<Option<(At, Severity, usize)>>,
    /// Warnings among those that are told.
    warnings: Cell<usize>,
    /// Bytes left for compiled expressions.
    expressions: Cell<usize>,
    /// Backends left.
    backends: Cell<usize>,
    environment: BTreeMap<String, String>,
    /// Where each text stands: what file names in it begin at.
    folders: Vec<PathBuf>,
    ask: Ask,
    /// What was asked for: a file that is named twice holds the same both times.
    files: RefCell<BTreeMap<PathBuf, Content>>,
    /// Those of the program's own.
    policies: Policies,
}

impl Reading {
    pub(crate) fn new(problems: Vec<Problem>, environment: BTreeMap<String, String>) -> Self {
        Self {
            problems: RefCell::new(problems),
            untold: Cell::new(None),
            warnings: Cell::new(0),
            expressions: Cell::new(limits::EXPRESSIONS_BYTES),
            backends: Cell::new(limits::BACKENDS),
            environment,
            folders: Vec::new(),
            ask: Box::new(|_| Err(UNREAD.to_owned())),
            files: RefCell::default(),
            policies: Policies::default(),
        }
    }

    /// The same for texts in these folders, with whom to ask for the files that they name.
    pub(crate) fn over(self, folders: Vec<PathBuf>, ask: Ask) -> Self {
        Self {
            folders,
            ask,
            ..self
        }
    }

    /// The same in a program with policies of its own.
    pub(crate) fn knowing(self, policies: Policies) -> Self {
        Self { policies, ..self }
    }

    /// For a text of another file, whose `problems` stand first.
    pub(crate) fn of_another(&self, problems: Vec<Problem>) -> Self {
        Self::new(problems, self.environment.clone())
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        if let Some((at, severity, count)) = self.untold.get() {
            problems.push(Problem {
                at,
                severity,
                word: "more",
                message: format!("and {count} more problems, of which this is the place of one"),
                also: None,
            });
        }
        problems.sort_by_key(|problem| problem.at);
        problems
    }

    fn note(
        &self,
        severity: Severity,
        at: At,
        word: &'static str,
        message: String,
        also: Option<At>,
    ) {
        let mut problems = self.problems.borrow_mut();
        let mut left_out = None;
        if problems.len() >= limits::PROBLEMS {
            // An error takes the place of a warning.
            let warning = match (severity, self.warnings.get()) {
                (Severity::Error, 1..) => problems
                    .iter()
                    .rposition(|told| told.severity == Severity::Warning),
                _ => None,
            };
            let Some(warning) = warning else {
                return self.leave_out(at, severity);
            };
            left_out = Some(problems.swap_remove(warning).at);
        }
        problems.push(Problem {
            at,
            severity,
            word,
            message,
            also,
        });
        if severity == Severity::Warning {
            self.warnings.update(|warnings| warnings + 1);
        }
        if let Some(at) = left_out {
            self.warnings.update(|warnings| warnings - 1);
            self.leave_out(at, Severity::Warning);
        }
    }

    /// Counts one that is not told.
    fn leave_out(&self, at: At, severity: Severity) {
        let (first, worst, count) = self.untold.get().unwrap_or((at, severity, 0));
        let worst = match severity {
            Severity::Error => severity,
            Severity::Warning => worst,
        };
        self.untold.set(Some((first, worst, count + 1)));
    }

    /// How many problems there are so far, told or not.
    pub(crate) fn errors(&self) -> usize {
        let untold = self.untold.get().map_or(0, |(_, _, count)| count);
        self.problems.borrow().len() + untold
    }

    /// Whether an error that is noted now is counted only.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.borrow().len() >= limits::PROBLEMS && self.warnings.get() == 0
    }

    /// The first of several, as many as there may be. One too many is noted.
    pub(crate) fn first<'t, T>(
        &self,
        items: &'t [T],
        most: usize,
        place: impl Fn(&T) -> At,
        what: &str,
    ) -> &'t [T] {
        if let Some(over) = items.get(most) {
            self.error(place(over), "too_many", format!("more than {what}"));
        }
        items.get(..most).unwrap_or(items)
    }

    /// The backends of one service, as many as are left for it.
    pub(crate) fn backends<'t>(&self, node: &'t Node) -> &'t [Node] {
        let what = format!(
            "{} backends, those of all services together",
            limits::BACKENDS
        );
        let (all, left) = (self.items(node), self.backends.get());
        self.backends.set(left.saturating_sub(all.len()));
        self.first(all, left, |node| node.at, &what)
    }

    /// A compiled expression. All of a configuration share their memory: each counts what compiling it was allowed, be it
    /// used up or not, and one that failed for its size what that cost.
    pub(crate) fn expression(&self, node: &Node) -> Option<Regex> {
        let text = self.text(node)?;
        let mut size = limits::EXPRESSION_BYTES_LEAST;
        loop {
            let Some(left) = self.expressions.get().checked_sub(size) else {
                self.error(
                    node.at,
                    "too_many",
                    format!(
                        "all expressions together take more than {} MiB; write fewer or simpler ones, or `prefix`",
                        limits::EXPRESSIONS_BYTES / 1024 / 1024
                    ),
                );
                return None;
            };
            let error = match RegexBuilder::new(text.value()).size_limit(size).build() {
                Ok(regex) => {
                    self.expressions.set(left);
                    return Some(regex);
                }
                Err(regex::Error::CompiledTooBig(_)) if size < limits::EXPRESSION_BYTES => {
                    size *= 2;
                    continue;
                }
                Err(error) => error.to_string(),
            };
            self.expressions.set(left);
            // The last line says what is wrong; those before show the text.
            let why = error.lines().last().unwrap_or(&error);
            self.error(node.at, "regex", format!("not a usable expression: {why}"));
            return None;
        }
    }

    pub(crate) fn error(&self, at: At, word: &'static str, message: impl Into<String>) {
        self.note(Severity::Error, at, word, message.into(), None);
    }

    pub(crate) fn error_with(
        &self,
        at: At,
        word: &'static str,
        message: impl Into<String>,
        also: At,
    ) {
        self.note(Severity::Error, at, word, message.into(), Some(also));
    }

    pub(crate) fn warning(&self, at: At, word: &'static str, message: impl Into<String>) {
        self.note(Severity::Warning, at, word, message.into(), None);
    }

    /// The entries of a map of these keys. None: it is none, which is noted.
    pub(crate) fn map<'t>(&'t self, node: &'t Node, keys: &'static Keys) -> Option<Fields<'t>> {
        self.free(node, keys.what).map(|entries| Fields {
            reading: self,
            at: node.at,
            keys,
            entries,
            asked: RefCell::default(),
        })
    }

    /// The entries of a map whose keys are free. None: it is none, which is noted.
    pub(crate) fn free<'t>(&self, node: &'t Node, what: &str) -> Option<&'t [(Key, Node)]> {
        if let Value::Map(entries) = &node.value {
            return Some(entries);
        }
        self.error(
            node.at,
            "type",
            format!("{what} must be a map of keys, not {}", node.kind()),
        );
        None
    }

    /// The items of a list; a single value is a list of one.
    pub(crate) fn items<'t>(&self, node: &'t Node) -> &'t [Node] {
        match &node.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(node),
        }
    }

    /// A text, with `${NAME}` and `${NAME:-default}` replaced where it is not in quotes.
    pub(crate) fn text(&self, node: &Node) -> Option<Scalar> {
        match &node.value {
            Value::Scalar { .. } if node.is_null() => {
                self.error(node.at, "type", "a value is missing here");
                None
            }
            // Most by far: nothing is copied of them.
            Value::Scalar { text, plain } if !plain || !text.contains('$') => {
                Some(Scalar::whole(text))
            }
            Value::Scalar { text, .. } => self.interpolated(node.at, text),
            _ => {
                self.error(
                    node.at,
                    "type",
                    format!("a single value is expected here, not {}", node.kind()),
                );
                None
            }
        }
    }

    fn interpolated(&self, at: At, text: &str) -> Option<Scalar> {
        let Some(pieces) = pieces(text) else {
            self.error(at, "environment", "`${` without its `}`");
            return None;
        };
        let (mut out, mut shown, mut taken) = (String::new(), String::new(), false);
        for piece in pieces {
            let (name, default) = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    shown.push_str(text);
                    continue;
                }
                Piece::Variable(name, default) => (name, default),
            };
            match (self.environment.get(name), default) {
                (Some(value), _) => {
                    taken = true;
                    out.push_str(value);
                    shown.extend(["${", name, "}"]);
                }
                (None, Some(default)) => {
                    out.push_str(default);
                    shown.push_str(default);
                }
                (None, None) => {
                    self.error(
                        at,
                        "environment",
                        format!("`{name}` is not set; set it, or write `${{{name}:-default}}`"),
                    );
                    return None;
                }
            }
        }
        Some(match taken {
            true => Scalar::veiled(out, shown),
            false => Scalar::plain(&out),
        })
    }

    /// A value that `parse` understands; else its message is noted.
    pub(crate) fn parsed<T>(
        &self,
        node: &Node,
        word: &'static str,
        parse: impl Fn(&Scalar) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(node)?;
        parse(&text)
            .map_err(|message| self.error(node.at, word, message))
            .ok()
    }

    pub(crate) fn duration(&self, node: &Node) -> Option<Duration> {
        self.parsed(node, "duration", units::duration)
    }

    /// A duration that is not zero.
    pub(crate) fn wait(&self, node: &Node) -> Option<Duration> {
        let wait = self.duration(node)?;
        if wait.is_zero() {
            self.error(
                node.at,
                "range",
                "a deadline of zero would refuse everything",
            );
            return None;
        }
        Some(wait)
    }

    pub(crate) fn size(&self, node: &Node) -> Option<u64> {
        self.parsed(node, "size", units::size)
    }

    pub(crate) fn share(&self, node: &Node) -> Option<f64> {
        self.parsed(node, "percentage", units::share)
    }

    pub(crate) fn rate(&self, node: &Node) -> Option<u32> {
        self.parsed(node, "rate", units::rate)
    }

    pub(crate) fn allowance(&self, node: &Node) -> Option<(NonZeroU32, Duration)> {
        self.parsed(node, "rate", units::allowance)
    }

    pub(crate) fn boolean(&self, node: &Node) -> Option<bool> {
        self.parsed(node, "type", |text| match text.value() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("`true` or `false` is expected, not `{text}`")),
        })
    }

    /// A whole number within a range.
    pub(crate) fn number(&self, node: &Node, least: u64, most: u64) -> Option<u64> {
        let (number, shown) = self.parsed(node, "number", |text| {
            let number = text.value().parse::<u64>();
            number
                .map(|number| (number, text.to_string()))
                .map_err(|_| format!("a whole number is expected, not `{text}`"))
        })?;
        if !(least..=most).contains(&number) {
            self.error(
                node.at,
                "range",
                format!("{shown} is out of range: it must lie between {least} and {most}"),
            );
            return None;
        }
        Some(number)
    }

    /// One of these words.
    pub(crate) fn word(
        &self,
        node: &Node,
        case: &'static str,
        words: &[&'static str],
    ) -> Option<&'static str> {
        self.parsed(node, case, |text| {
            words
                .iter()
                .copied()
                .find(|word| *word == text.value())
                .ok_or_else(|| {
                    let all: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                    format!("one of {} is expected, not `{text}`", all.join(", "))
                })
        })
    }
}

/// A part of a plain scalar.
pub(crate) enum Piece<'t> {
    Text(&'t str),
    /// A name, and what holds when it is not set.
    Variable(&'t str, Option<&'t str>),
}

/// A plain scalar at its `${NAME}` and `${NAME:-default}`. None: one of them does not end.
pub(crate) fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        let inner = &rest[begin + 2..];
        let end = inner.find('}')?;
        pieces.push(Piece::Text(&rest[..begin]));
        pieces.push(match inner[..end].split_once(":-") {
            Some((name, default)) => Piece::Variable(name, Some(default)),
            None => Piece::Variable(&inner[..end], None),
        });
        rest = &inner[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    Some(pieces)
}
