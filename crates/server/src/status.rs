//! Owns `status`: what a running instance says of itself.

use std::process::ExitCode;

use clap::Args;

use crate::client::{Admin, At};
use crate::operate::exit;
use crate::{json, look, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// All of it, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) fn status(arguments: &Arguments) -> ExitCode {
    exit(shown(&arguments.at.admin(), arguments.json))
}

fn shown(admin: &Admin, as_json: bool) -> Result<ExitCode, String> {
    let body = admin.page("/v1/status")?;
    if as_json {
        say::out(&json::escaped(&body));
        say::out("\n");
        return Ok(ExitCode::SUCCESS);
    }
    let status = serde_json::from_str(&body);
    let status = status.map_err(|_| format!("{admin} does not answer as evenkeel does"))?;
    say::out(&look::status(&status));
    Ok(ExitCode::SUCCESS)
}

/// Which process it is.
///
/// # Errors
/// It cannot be asked, or does not say, in words.
pub(crate) fn process(admin: &Admin) -> Result<u32, String> {
    let status = admin.ask("GET", "/v1/status")?;
    let process = status["process"].as_u64();
    process
        .and_then(|process| u32::try_from(process).ok())
        .ok_or_else(|| format!("{admin} does not say which process it is"))
}
