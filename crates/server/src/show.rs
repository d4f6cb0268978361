//! Owns `config show` and `schema`: what may be written, and what holds.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use evenkeel_config::effective::effective;
use evenkeel_config::{render, schema};

use crate::{inputs, json, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files, or directories of *.yaml files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// As JSON: a list of path, value and origin
    #[arg(long)]
    json: bool,
}

/// Every value that holds. A configuration with errors has none.
pub(crate) fn show(arguments: &Arguments) -> ExitCode {
    let sources = match inputs::sources(&arguments.paths) {
        Ok(sources) => sources,
        Err(error) => {
            say::log(&error);
            return ExitCode::FAILURE;
        }
    };
    match effective(&sources, &inputs::environment()) {
        Ok(entry) if arguments.json => json::out(&json::effective(&entry, &sources)),
        Ok(entry) => say::out(&entry.text(&sources)),
        Err(problems) => {
            say::problems(&render(&problems, &sources));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

pub(crate) fn print_schema() -> ExitCode {
    json::out(&schema());
    ExitCode::SUCCESS
}
