//! Owns `check` and `config diff`: what is said of configurations without running them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use evenkeel_config::effective::{Entry, differences, parts};
use evenkeel_config::problem::plainly;
use evenkeel_config::{Plan, Severity};
use evenkeel_control::Changes;
use evenkeel_control::changes::Effect;
use serde_json::{Value, json};

use crate::client::At;
use crate::look::history;
use crate::{explain, inputs, json, overlay, say, warned};

/// `--expect`
mod expect;

use expect::Tried;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files, or directories of *.yaml files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also try the cases of this file: requests, and what each is to meet; may be several
    #[arg(long, value_name = "FILE")]
    expect: Vec<PathBuf>,
    /// With what the API changed beside them, as it is kept in this directory
    #[arg(long, value_name = "PATH")]
    state_dir: Option<PathBuf>,
    /// As JSON: errors, warnings and problems with file, line, column, code and message
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct DiffArguments {
    /// The file or directory before
    #[arg(required_unless_present = "from", requires = "after")]
    before: Option<PathBuf>,
    /// The file or directory after
    after: Option<PathBuf>,
    /// The number of a revision of a running instance, as `config history` shows it, instead of files
    #[arg(long, value_name = "REVISION", conflicts_with = "before")]
    from: Option<u64>,
    /// The number of another one; without it the one that runs
    #[arg(long, value_name = "REVISION", requires = "from")]
    to: Option<u64>,
    /// As JSON: a row for each value, with path, from, to and effect
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) fn check(arguments: &Arguments) -> ExitCode {
    let kept = arguments.state_dir.as_deref().map(overlay::kept_in);
    let read = kept.transpose().and_then(|kept| {
        let edits = kept.map(|(wanted, _)| wanted.edits).unwrap_or_default();
        inputs::read_over(&arguments.paths, &edits)
    });
    let read = match read {
        Ok(read) => read,
        Err(error) => return unreadable(&error, arguments.json),
    };
    let loaded = &read.loaded;
    let errors = loaded
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    let warnings = loaded.problems.len() - errors;
    let counts = loaded
        .plan
        .as_ref()
        .map(|plan| (plan.listeners.len(), plan.rules.len(), plan.services.len()));
    let plan = loaded.plan.as_ref();
    let here = plan.and_then(warned::of_asked_files);
    let mut answer = json!({
        "errors": errors,
        "warnings": warnings,
        "listeners": counts.map(|(listeners, _, _)| listeners),
        "rules": counts.map(|(_, rules, _)| rules),
        "services": counts.map(|(_, _, services)| services),
        "problems": json::problems(&loaded.problems, &read.sources),
    });
    if let Some(here) = &here {
        answer["here"] = here.as_str().into();
    }
    if !arguments.json {
        say::problems(&read.shown);
        // The same text is without it where the limit is another one: it is no warning of the configuration.
        if let Some(here) = here {
            say::log(&format!("started as this was: {here}"));
        }
        say::out(&match counts {
            Some((listeners, rules, services)) => format!(
                "fine: {listeners} listeners, {rules} rules, {services} services, {warnings} warnings\n"
            ),
            None => format!("{errors} errors, {warnings} warnings\n"),
        });
    }
    let mut fine = counts.is_some();
    // A configuration with errors meets nothing.
    if let Some(plan) = read.loaded.plan.filter(|_| !arguments.expect.is_empty()) {
        let live = explain::live(plan);
        let tried = Tried::of(&live, &arguments.expect, arguments.json);
        fine = tried.is_fine();
        if !arguments.json {
            say::out(&tried.line());
        }
        answer["cases"] = tried.json();
    }
    if arguments.json {
        json::out(&answer);
    }
    match fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn unreadable(error: &str, as_json: bool) -> ExitCode {
    if as_json {
        json::out(&json!({ "errors": 1, "warnings": 0, "problems": json::unreadable(error) }));
    } else {
        say::log(error);
    }
    ExitCode::FAILURE
}

pub(crate) fn diff(arguments: &DiffArguments) -> ExitCode {
    if let Some(from) = arguments.from {
        return history::diff(&arguments.at.admin(), from, arguments.to, arguments.json);
    }
    let mut problems = Vec::new();
    let mut read = |path: &Option<PathBuf>| side(path.as_ref()?, arguments.json, &mut problems);
    let sides = (read(&arguments.before), read(&arguments.after));
    let (Some(before), Some(after)) = sides else {
        if arguments.json {
            json::out(&json!({ "problems": problems }));
        }
        return ExitCode::FAILURE;
    };
    let changes = Changes::between(&before.plan, &after.plan);
    let differences = differences(&before.effective, &after.effective);
    let mut shown = parts(&before.effective);
    shown.extend(parts(&after.effective));
    let differences = json::by_part(&differences);
    if arguments.json {
        let changes = json::changes(&changes, &differences, &shown);
        json::out(&json!({ "changes": changes, "problems": problems }));
        return ExitCode::SUCCESS;
    }
    for change in &changes.all {
        let whole = change.part();
        let part = json::shown(&shown, &whole);
        let words = change.words_of(part.last().map_or("", |name| name));
        say::out(&format!("{}\n", plainly(&words)));
        let values = differences.get(&*whole).into_iter().flatten();
        // What comes or goes whole is named, not spread out.
        for one in values.filter(|_| change.effect == Effect::Changed) {
            let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".into());
            let (from, to) = (side(&one.from), side(&one.to));
            let line = format!("{}: {from} -> {to}", one.path);
            say::out(&format!("  {}\n", plainly(&line)));
        }
    }
    if changes.is_empty() {
        say::out(&format!("{changes}\n"));
    }
    ExitCode::SUCCESS
}

/// One side of a comparison.
struct Side {
    plan: Plan,
    effective: Entry,
}

/// Reads one side. None: it has errors. What is wrong is said, or kept for programs.
fn side(path: &PathBuf, as_json: bool, problems: &mut Vec<Value>) -> Option<Side> {
    let read = match inputs::read(std::slice::from_ref(path)) {
        Ok(read) => read,
        Err(error) if as_json => {
            problems.extend(all(json::unreadable(&error)));
            return None;
        }
        Err(error) => {
            say::log(&error);
            return None;
        }
    };
    if !as_json {
        say::problems(&read.shown);
    }
    problems.extend(all(json::problems(&read.loaded.problems, &read.sources)));
    Some(Side {
        effective: read.effective?,
        plan: read.loaded.plan?,
    })
}

fn all(list: Value) -> Vec<Value> {
    match list {
        Value::Array(rows) => rows,
        other => vec![other],
    }
}
