//! Owns `check` and `config diff`: what is said of configurations without running them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use evenkeel_config::Severity;
use evenkeel_control::Changes;

use crate::{inputs, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files, or directories of *.yaml files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct DiffArguments {
    /// The file or directory before
    before: PathBuf,
    /// The file or directory after
    after: PathBuf,
}

pub(crate) fn check(arguments: &Arguments) -> ExitCode {
    let read = match inputs::read(&arguments.paths) {
        Ok(read) => read,
        Err(error) => {
            say::log(&error);
            return ExitCode::FAILURE;
        }
    };
    say::problems(&read.shown);
    let errors = read
        .loaded
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    let warnings = read.loaded.problems.len() - errors;
    let Some(plan) = read.loaded.plan else {
        say::out(&format!("{errors} errors, {warnings} warnings\n"));
        return ExitCode::FAILURE;
    };
    say::out(&format!(
        "fine: {} listeners, {} rules, {} services, {warnings} warnings\n",
        plan.listeners.len(),
        plan.rules.len(),
        plan.services.len()
    ));
    ExitCode::SUCCESS
}

pub(crate) fn diff(arguments: &DiffArguments) -> ExitCode {
    let mut plans = Vec::new();
    for path in [&arguments.before, &arguments.after] {
        match inputs::read(std::slice::from_ref(path)) {
            Ok(read) => {
                say::problems(&read.shown);
                plans.extend(read.loaded.plan);
            }
            Err(error) => say::log(&error),
        }
    }
    let [before, after] = &plans[..] else {
        return ExitCode::FAILURE;
    };
    say::out(&format!("{}\n", Changes::between(before, after)));
    ExitCode::SUCCESS
}
