//! Owns `status`: what a running instance says of itself.

use std::process::ExitCode;

use clap::Args;

use crate::client::Admin;
use crate::{json, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Its admin address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    admin: Admin,
}

pub(crate) fn status(arguments: &Arguments) -> ExitCode {
    match arguments.admin.ask_for_text("GET", "/v1/status") {
        Ok(body) => {
            say::out(&json::escaped(&body));
            say::out("\n");
            ExitCode::SUCCESS
        }
        Err(why) => {
            say::log(&why);
            ExitCode::FAILURE
        }
    }
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
