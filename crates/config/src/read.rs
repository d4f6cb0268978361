//! Owns the reading of a tree: keys that are known, keys whose feature comes later, values with their units. Every problem is
//! noted and reading goes on, so that all come out in one go.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::problem::{At, Problem, Severity};
use crate::tree::{Key, Node, Value};

/// Values with units.
mod units;

/// Where problems are noted, and what `${NAME}` reads.
pub(crate) struct Reading {
    problems: RefCell<Vec<Problem>>,
    environment: BTreeMap<String, String>,
    /// What was read of it: value and name. No value may stand in a message.
    taken: RefCell<BTreeMap<String, String>>,
}

impl Reading {
    pub(crate) fn new(problems: Vec<Problem>, environment: BTreeMap<String, String>) -> Self {
        Self {
            problems: RefCell::new(problems),
            environment,
            taken: RefCell::default(),
        }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        let mut taken: Vec<_> = self.taken.into_inner().into_iter().collect();
        // The longest first: one value may stand within another.
        taken.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        for problem in &mut problems {
            problem.message = veiled(&problem.message, &taken);
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
        self.problems.borrow_mut().push(Problem {
            at,
            severity,
            word,
            message,
            also,
        });
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

    /// The entries of a map. None: it is none, which is noted.
    pub(crate) fn map<'t>(&'t self, node: &'t Node, what: &'static str) -> Option<Fields<'t>> {
        if let Value::Map(entries) = &node.value {
            return Some(Fields {
                reading: self,
                at: node.at,
                entries,
                known: RefCell::default(),
                used: RefCell::default(),
                closed: Cell::new(false),
            });
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
    pub(crate) fn text(&self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Scalar { .. } if node.is_null() => {
                self.error(node.at, "type", "a value is missing here");
                None
            }
            Value::Scalar { text, plain: false } => Some(text.clone()),
            Value::Scalar { text, plain: true } => self.interpolated(node.at, text),
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

    fn interpolated(&self, at: At, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find("${") {
            out.push_str(&rest[..begin]);
            let inner = &rest[begin + 2..];
            let Some(end) = inner.find('}') else {
                self.error(at, "environment", "`${` without its `}`");
                return None;
            };
            let (name, default) = match inner[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (&inner[..end], None),
            };
            match (self.environment.get(name), default) {
                (Some(value), _) => {
                    let taken = &mut *self.taken.borrow_mut();
                    // Messages show some values in one case only.
                    for shown in [value.clone(), value.to_lowercase(), value.to_uppercase()] {
                        taken.entry(shown).or_insert_with(|| name.to_owned());
                    }
                    out.push_str(value);
                }
                (None, Some(default)) => out.push_str(default),
                (None, None) => {
                    self.error(
                        at,
                        "environment",
                        format!("`{name}` is not set; set it, or write `${{{name}:-default}}`"),
                    );
                    return None;
                }
            }
            rest = &inner[end + 1..];
        }
        out.push_str(rest);
        Some(out)
    }

    /// A value that `parse` understands; else its message is noted.
    pub(crate) fn parsed<T>(
        &self,
        node: &Node,
        word: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
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

    pub(crate) fn boolean(&self, node: &Node) -> Option<bool> {
        self.parsed(node, "type", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("`true` or `false` is expected, not `{text}`")),
        })
    }

    /// A whole number within a range.
    pub(crate) fn number(&self, node: &Node, least: u64, most: u64) -> Option<u64> {
        let number = self.parsed(node, "number", |text| {
            text.parse::<u64>()
                .map_err(|_| format!("a whole number is expected, not `{text}`"))
        })?;
        if !(least..=most).contains(&number) {
            self.error(
                node.at,
                "range",
                format!("{number} is out of range: it must lie between {least} and {most}"),
            );
            return None;
        }
        Some(number)
    }

    pub(crate) fn count(&self, node: &Node, least: usize, most: usize) -> Option<usize> {
        let number = self.number(node, least as u64, most as u64)?;
        usize::try_from(number).ok()
    }
}

/// The keys of one map. Keys that were never asked for are unknown.
pub(crate) struct Fields<'t> {
    pub(crate) reading: &'t Reading,
    pub(crate) at: At,
    entries: &'t [(Key, Node)],
    known: RefCell<Vec<&'static str>>,
    used: RefCell<HashSet<usize>>,
    closed: Cell<bool>,
}

impl<'t> Fields<'t> {
    /// The value of a key, if it stands there.
    pub(crate) fn get(&self, key: &'static str) -> Option<&'t Node> {
        self.entry(key).map(|(_, node)| node)
    }

    pub(crate) fn entry(&self, key: &'static str) -> Option<(&'t Key, &'t Node)> {
        self.known.borrow_mut().push(key);
        let at = self
            .entries
            .iter()
            .position(|(entry, _)| entry.text == key)?;
        self.used.borrow_mut().insert(at);
        let (key, node) = &self.entries[at];
        Some((key, node))
    }

    /// The value of a key as a text.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.reading.text(self.get(key)?)
    }

    /// A value that a reader understands.
    pub(crate) fn with<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Reading, &Node) -> Option<T>,
    ) -> Option<T> {
        read(self.reading, self.get(key)?)
    }

    /// Puts a value in its place, if it stands there.
    pub(crate) fn set<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Reading, &Node) -> Option<T>,
        place: &mut T,
    ) {
        if let Some(value) = self.with(key, read) {
            *place = value;
        }
    }

    /// Refuses keys whose feature comes later.
    pub(crate) fn later(&self, keys: &[&'static str]) {
        for key in keys {
            if let Some((entry, _)) = self.entry(key) {
                self.reading.error(
                    entry.at,
                    "not_yet",
                    format!("`{key}` is not built yet; leave it out"),
                );
            }
        }
    }

    /// All entries, for a map of names.
    pub(crate) fn all(&self) -> &'t [(Key, Node)] {
        self.closed.set(true);
        self.entries
    }

    /// Notes every key that was not asked for, with the nearest that was.
    pub(crate) fn done(self) {
        if self.closed.get() {
            return;
        }
        let (known, used) = (self.known.borrow(), self.used.borrow());
        for (at, (key, _)) in self.entries.iter().enumerate() {
            if used.contains(&at) {
                continue;
            }
            let nearest = known
                .iter()
                .map(|known| (distance(known, &key.text), known))
                .min()
                .filter(|(distance, _)| *distance <= 1 + key.text.len() / 4);
            let hint = match nearest {
                Some((_, nearest)) => format!("did you mean `{nearest}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.reading.error(
                key.at,
                "unknown_key",
                format!("`{}` is not a key here; {hint}", key.text),
            );
        }
    }
}

/// A message with the names of variables where their values stood. One pass, so that no name is taken for a value.
fn veiled(message: &str, taken: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = message;
    while let Some(next) = rest.chars().next() {
        let found = taken
            .iter()
            .find(|(value, _)| !value.is_empty() && rest.starts_with(value.as_str()));
        if let Some((value, name)) = found {
            out.push_str("${");
            out.push_str(name);
            out.push('}');
            rest = &rest[value.len()..];
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// Edits from one word to another: insertions, deletions, replacements, swaps of neighbours (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) =
        (one.chars().collect(), other.chars().take(64).collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for at in 1..=one.len() {
        let mut row = vec![at];
        for to in 1..=other.len() {
            let same = usize::from(one[at - 1] != other[to - 1]);
            let mut best = (rows[at - 1][to] + 1)
                .min(row[to - 1] + 1)
                .min(rows[at - 1][to - 1] + same);
            if at > 1 && to > 1 && one[at - 1] == other[to - 2] && one[at - 2] == other[to - 1] {
                best = best.min(rows[at - 2][to - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}
