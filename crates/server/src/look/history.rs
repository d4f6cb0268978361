//! Owns `config history`, `config rollback` and `config reload`, and `config diff` of revisions: which configuration runs, which ran
//! before, and going back.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use evenkeel_control::date;
use serde_json::Value;

use super::rows;
use crate::client::{Admin, At};
use crate::operate::exit;
use crate::table::{cell, table};
use crate::{json, say};

#[derive(Args)]
pub(crate) struct History {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Args)]
pub(crate) struct Rollback {
    /// The number of a revision, as `config history` shows it
    revision: u64,
    #[command(flatten)]
    at: At,
}

#[derive(Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    at: At,
}

pub(crate) fn history(arguments: &History) -> ExitCode {
    exit(listed(&arguments.at.admin(), arguments.json))
}

fn listed(admin: &Admin, as_json: bool) -> Result<ExitCode, String> {
    let all = admin.all("/v1/revisions")?;
    if as_json {
        json::out(&Value::Array(all));
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = vec![["", "revision", "since", "by", "changes"].map(String::from)];
    shown.extend(all.iter().map(row));
    say::out(&table(&shown));
    Ok(ExitCode::SUCCESS)
}

fn row(revision: &Value) -> [String; 5] {
    let at = revision["at_seconds"].as_f64().unwrap_or_default();
    let at = Duration::try_from_secs_f64(at).unwrap_or_default();
    let runs = if revision["runs"] == true { "*" } else { "" };
    let mut changes: Vec<_> = rows(&revision["changes"]).map(cell).collect();
    if let Some(more @ 1..) = revision["more"].as_u64() {
        changes.push(format!("and {more} more"));
    }
    [
        runs.into(),
        cell(&revision["number"]),
        date::rfc3339(at),
        cell(&revision["by"]),
        changes.join("; "),
    ]
}

/// What lies between two revisions.
pub(crate) fn diff(admin: &Admin, from: u64, to: Option<u64>, as_json: bool) -> ExitCode {
    exit(differs(admin, from, to, as_json))
}

fn differs(admin: &Admin, from: u64, to: Option<u64>, as_json: bool) -> Result<ExitCode, String> {
    let runs = || -> Result<u64, String> {
        let all = admin.all("/v1/revisions")?;
        let runs = all.iter().find(|one| one["runs"] == true);
        let number = runs.and_then(|one| one["number"].as_u64());
        number.ok_or_else(|| format!("{admin} does not say which revision runs"))
    };
    let to = to.map_or_else(runs, Ok)?;
    let between = admin.ask("GET", &format!("/v1/revisions/{to}/diff?from={from}"))?;
    if as_json {
        json::out(&between);
        return Ok(ExitCode::SUCCESS);
    }
    for one in rows(&between["differences"]) {
        let value = |key: &str| match one[key].as_str() {
            Some(_) => cell(&one[key]),
            None => "(not shown)".into(),
        };
        let path = cell(&one["path"]);
        say::out(&match one["effect"].as_str() {
            Some("added") => format!("+ {path}: {}\n", value("to")),
            Some("removed") => format!("- {path}: {}\n", value("from")),
            _ => format!("~ {path}: {} -> {}\n", value("from"), value("to")),
        });
    }
    if let Some(more @ 1..) = between["more"].as_u64() {
        say::out(&format!("and {more} more\n"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn rollback(arguments: &Rollback) -> ExitCode {
    let path = format!("/v1/revisions/{}/rollback", arguments.revision);
    let done = arguments.at.admin().change("POST", &path, None);
    exit(done.map(|done| taken(&done)))
}

pub(crate) fn reload(arguments: &Reload) -> ExitCode {
    let done = arguments.at.admin().ask("POST", "/v1/reload");
    exit(done.map(|done| taken(&done)))
}

/// Says what came of a change of the configuration.
pub(crate) fn taken(done: &Value) -> ExitCode {
    let changes: Vec<_> = rows(&done["changes"]).map(cell).collect();
    let mut words = match changes.is_empty() {
        true => "nothing changed".to_owned(),
        false => changes.join("; "),
    };
    if let Some(more @ 1..) = done["more"].as_u64() {
        words.push_str(&format!("; and {more} more"));
    }
    say::out(&format!("revision {}: {words}\n", cell(&done["revision"])));
    for warning in rows(&done["warnings"]) {
        let [text, line, column, message] =
            ["text", "line", "column", "message"].map(|key| cell(&warning[key]));
        say::log(&format!("warning: {text}:{line}:{column}: {message}"));
    }
    if done["until_reload"] == true {
        say::out("the files say something else: the next reload or start brings that back\n");
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_revision_is_a_row_and_the_one_that_runs_is_marked() {
        let revision = json!({
            "number": 17, "at_seconds": 1, "by": "ops\u{1b}", "changes": ["backend two of api changes", "rule a comes"], "more": 3, "runs": true,
        });
        let expect = [
            "*",
            "17",
            "1970-01-01T00:00:01.000Z",
            "ops\\u{1b}",
            "backend two of api changes; rule a comes; and 3 more",
        ];
        assert_eq!(row(&revision), expect);
    }
}
