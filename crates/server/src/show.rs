//! Owns `config show` and `schema`: what may be written, and what holds.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use evenkeel_config::schema;

use crate::{inputs, json, overlay, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files, or directories of *.yaml files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Mark what operators want (drain, disable) by what the instance keeps in this directory, its `--state-dir`
    #[arg(long, value_name = "PATH")]
    state_dir: Option<PathBuf>,
    /// As JSON: a list of path, value and origin
    #[arg(long)]
    json: bool,
}

/// Every value that holds. A configuration with errors has none.
pub(crate) fn show(arguments: &Arguments) -> ExitCode {
    let kept = arguments.state_dir.as_deref().map(overlay::kept_in);
    let kept = match kept.transpose() {
        Ok(kept) => kept,
        Err(error) => {
            say::log(&error);
            return ExitCode::FAILURE;
        }
    };
    let edits = kept.as_ref().map(|(wanted, _)| wanted.edits.clone());
    let read = match inputs::read_over(&arguments.paths, &edits.unwrap_or_default()) {
        Ok(read) => read,
        Err(error) => {
            say::log(&error);
            return ExitCode::FAILURE;
        }
    };
    let (Some(mut entry), Some(plan)) = (read.effective, &read.loaded.plan) else {
        say::problems(&read.shown);
        return ExitCode::FAILURE;
    };
    if let Some((wanted, place)) = kept {
        overlay::show_over(wanted, &place, plan, &mut entry);
    }
    if arguments.json {
        json::out(&json::effective(&entry, &read.sources));
    } else {
        say::out(&entry.text(&read.sources));
    }
    ExitCode::SUCCESS
}

pub(crate) fn print_schema() -> ExitCode {
    json::out(&schema());
    ExitCode::SUCCESS
}
