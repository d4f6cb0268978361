//! Owns the JSON of the command line: problems, changes, effective values. Field names are a promise; values are converted by hand.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use evenkeel_config::effective::{Difference, Entry, Kind, Leaf, Origin};
use evenkeel_config::problem::{At, steers};
use evenkeel_config::{Problem, Severity, Source};
use evenkeel_control::Changes;
use evenkeel_control::changes::Change;
use serde_json::{Value, json};

use crate::say;

/// Says it, in lines that people can read too.
pub(crate) fn out(value: &Value) {
    // Numbers in brackets and texts have no form that cannot be written.
    let text = format!("{value:#}\n");
    say::out(&escaped(&text));
}

/// JSON that a terminal can be given: what would steer it stands in texts only, where it may be escaped. JSON itself asks
/// that of fewer characters.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if char != '\n' && steers(char) {
            let _ = write!(out, "\\u{:04x}", u32::from(char));
        } else {
            out.push(char);
        }
    }
    out
}

/// What is wrong, in the order of the texts.
pub(crate) fn problems(problems: &[Problem], sources: &[Source]) -> Value {
    let place = |at: At| {
        let file = sources.get(at.file).map(|source| &source.name);
        json!({ "file": file, "line": at.line, "column": at.column, "length": at.length })
    };
    let one = |problem: &Problem| {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut row = place(problem.at);
        row["severity"] = severity.into();
        row["code"] = problem.word.into();
        row["message"] = (&*problem.message).into();
        if let Some(also) = problem.also {
            row["also"] = place(also);
        }
        row
    };
    problems.iter().map(one).collect()
}

/// What could not even be read.
pub(crate) fn unreadable(message: &str) -> Value {
    json!([{ "severity": "error", "code": "unreadable", "message": message }])
}

/// Every value, its path and where it comes from.
pub(crate) fn effective(entry: &Entry, sources: &[Source]) -> Value {
    let rows = entry.rows();
    rows.iter()
        .map(|row| {
            json!({
                "path": row.path,
                "value": value(row.leaf),
                "veiled": row.leaf.kind == Kind::Veiled,
                "origin": origin(&row.leaf.origin, sources),
            })
        })
        .collect()
}

fn value(leaf: &Leaf) -> Value {
    match leaf.kind {
        Kind::No | Kind::Veiled => Value::Null,
        // Where the environment decides, the name of its variable stands instead.
        Kind::Number => leaf
            .text()
            .parse::<u64>()
            .map_or_else(|_| leaf.text().into(), Value::from),
        Kind::Boolean => leaf
            .text()
            .parse::<bool>()
            .map_or_else(|_| leaf.text().into(), Value::from),
        Kind::Text | Kind::Remark => leaf.text().into(),
    }
}

fn origin(origin: &Origin, sources: &[Source]) -> Value {
    match origin {
        Origin::Default => json!({ "from": "default" }),
        Origin::Operator(place) => json!({ "from": "operator", "file": place }),
        Origin::Text(at, names) => {
            let from = if names.is_empty() {
                "file"
            } else {
                "environment"
            };
            let file = sources.get(at.file).map(|source| &source.name);
            json!({ "from": from, "file": file, "line": at.line, "column": at.column, "environment": names })
        }
    }
}

/// Differences by the part that they are in.
pub(crate) type ByPart<'d> = HashMap<&'d [String], Vec<&'d Difference>>;

pub(crate) fn by_part(differences: &[Difference]) -> ByPart<'_> {
    let mut parts = ByPart::new();
    for one in differences {
        parts.entry(&one.part).or_default().push(one);
    }
    parts
}

/// Names of parts as they may be shown, by those that they are.
pub(crate) type Shown = BTreeMap<Vec<String>, Vec<String>>;

/// A part as it may be shown. One whose every value is gone is a key, which is shown.
pub(crate) fn shown<'s>(all: &'s Shown, part: &'s [String]) -> &'s [String] {
    all.get(part).map_or(part, |shown| shown)
}

/// A row for each value of each part that changes.
pub(crate) fn changes(changes: &Changes, differences: &ByPart<'_>, all: &Shown) -> Value {
    let mut rows = Vec::new();
    for change in &changes.all {
        let whole = change.part();
        let (before, part) = (rows.len(), shown(all, &whole));
        for one in differences.get(&*whole).into_iter().flatten() {
            rows.push(row(
                change,
                part,
                &one.path,
                one.from.as_deref(),
                one.to.as_deref(),
            ));
        }
        if rows.len() == before {
            rows.push(row(change, part, &part.join("."), None, None));
        }
    }
    rows.into()
}

fn row(
    change: &Change,
    part: &[String],
    path: &str,
    from: Option<&str>,
    to: Option<&str>,
) -> Value {
    let takes_effect = match change.at_reload {
        true => "reload",
        false => "start",
    };
    json!({
        "path": path,
        "from": from,
        "to": to,
        "effect": change.effect.word(),
        "at": takes_effect,
        "part": part,
    })
}
