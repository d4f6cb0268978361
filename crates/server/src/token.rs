//! Owns `token`: credentials for the admin address. A token is shown once, to whom it is made for; what is kept of it is its digest.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use evenkeel_admin::access::Token as Secret;
use evenkeel_config::plan::admin::Scopes;
use evenkeel_control::{date, since_1970};

use crate::{json, say};

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Make a token: it is printed once, and below it the line for the file of `admin: { tokens }`
    ///
    /// The instance knows it once it has reloaded. Keep the token where a password would be; the line is no secret, but who may write its
    /// file may do everything.
    ///
    /// Exit code: 0, 1 the system has no randomness to give, 2 wrong usage.
    Create(Create),
}

#[derive(Args)]
pub(crate) struct Create {
    /// The name that logs have of who has it: letters, digits, `-`, `_` and `.`
    #[arg(long, value_parser = name)]
    name: String,
    /// What it may do: `viewer`, `operator`, `admin`, or a scope like `backends:write`; may be several
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scope)]
    scopes: Vec<String>,
    /// How long it holds from now on, like `90d`; without it, for ever
    #[arg(long = "for", value_name = "DURATION", value_parser = evenkeel_config::duration)]
    within: Option<Duration>,
    /// As JSON: `token`, `sha256` and `line`
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 64 letters, digits, `-`, `_` and `.`".into()),
    }
}

fn scope(text: &str) -> Result<String, String> {
    match Scopes::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!("the scopes are {}", Scopes::words().join(", "))),
    }
}

pub(crate) fn token(command: &Token) -> ExitCode {
    let Token::Create(wanted) = command;
    let Some(secret) = Secret::make() else {
        say::log("no token: the system has no randomness to give");
        return ExitCode::FAILURE;
    };
    let digest = secret.digest().to_string();
    let line = line(wanted, &digest, since_1970());
    let secret = secret.shown();
    if wanted.json {
        json::out(&serde_json::json!({ "token": secret, "sha256": digest, "line": line }));
    } else {
        say::out(&format!("{secret}\n{line}\n"));
    }
    ExitCode::SUCCESS
}

/// As the file has it; `now` is since 1970.
fn line(wanted: &Create, digest: &str, now: Duration) -> String {
    // In quotes: it may look like a number.
    let name = serde_json::Value::from(&*wanted.name);
    let scopes = wanted.scopes.join(", ");
    let mut line = format!("- {{ name: {name}, sha256: \"{digest}\", scopes: [{scopes}]");
    if let Some(within) = wanted.within {
        let until = date::rfc3339(Duration::from_secs((now + within).as_secs()));
        // Whole seconds.
        let until = until.split('.').next().unwrap_or(&until);
        let until = until.trim_end_matches('Z');
        // Writing to a text does not fail.
        let _ = write!(line, ", until: {until}Z");
    }
    line.push_str(" }");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_as_the_file_has_it() {
        let mut wanted = Create {
            name: "ci".into(),
            scopes: vec!["viewer".into(), "backends:write".into()],
            within: None,
            json: false,
        };
        let now = Duration::from_millis(1_795_378_530_700);
        assert_eq!(
            line(&wanted, "ab", now),
            "- { name: \"ci\", sha256: \"ab\", scopes: [viewer, backends:write] }"
        );
        wanted.within = Some(Duration::from_secs(86_400));
        assert_eq!(
            line(&wanted, "ab", now),
            "- { name: \"ci\", sha256: \"ab\", scopes: [viewer, backends:write], until: 2026-11-23T20:15:30Z }"
        );
    }
}
