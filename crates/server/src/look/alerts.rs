//! Owns `alerts`: what a running instance sees that is wrong with it, or was.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::rows;
use crate::client::{Admin, At, part};
use crate::operate::exit;
use crate::table::{cell, lasting, table};
use crate::{json, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Those too that are right again, a week back
    #[arg(short, long)]
    all: bool,
    /// Only those of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) fn alerts(arguments: &Arguments) -> ExitCode {
    exit(told(&arguments.at.admin(), arguments))
}

fn told(admin: &Admin, arguments: &Arguments) -> Result<ExitCode, String> {
    let mut path = "/v1/alerts?".to_owned();
    if !arguments.all {
        path.push_str("state=open");
    }
    if let Some(service) = &arguments.service {
        path.push_str(&format!("&service={}", part(service)));
    }
    let seen = admin.ask("GET", &path)?;
    if arguments.json {
        json::out(&seen["items"]);
        return Ok(ExitCode::SUCCESS);
    }
    let now = evenkeel_control::since_1970().as_secs_f64();
    say::out(&shown(&seen, now));
    Ok(ExitCode::SUCCESS)
}

fn shown(seen: &Value, now: f64) -> String {
    let heads = [
        "alert", "severity", "service", "backend", "what", "for", "state", "noted by",
    ];
    let mut lines = vec![heads.map(String::from)];
    for one in rows(&seen["items"]) {
        let [number, severity, service, backend, kind] =
            ["number", "severity", "service", "backend", "kind"].map(|key| cell(&one[key]));
        let what = match one["metric"].as_str() {
            Some(metric) => format!("{kind} {metric}"),
            None => kind,
        };
        let since = one["since_seconds"].as_f64().unwrap_or(now);
        let until = one["cleared_seconds"].as_f64().unwrap_or(now);
        let mut state = cell(&one["state"]);
        for word in ["flapping", "silenced"] {
            if one[word] == true {
                state.push_str(&format!(", {word}"));
            }
        }
        let noted = cell(&one["acknowledged"]["by"]);
        let lasted = lasting((until - since).max(0.0));
        lines.push([
            number, severity, service, backend, what, lasted, state, noted,
        ]);
    }
    match lines.len() {
        1 => "nothing is wrong that is seen\n".to_owned(),
        _ => table(&lines),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn alerts_are_shown_with_how_long_and_who_knows() {
        let open = json!({ "number": 7, "severity": "critical", "service": "api", "kind": "threshold", "metric": "p95", "state": "open", "since_seconds": 100.0, "flapping": true, "silenced": false, "acknowledged": { "by": "anna" } });
        let past = json!({ "number": 3, "severity": "warning", "service": "api\u{1b}", "backend": "one", "kind": "down", "state": "cleared", "since_seconds": 10.0, "cleared_seconds": 40.0, "flapping": false, "silenced": true });
        let expect =
            "alert  severity  service    backend  what           for    state              noted by
7      critical  api        -        threshold p95  1m 1s  open, flapping     anna
3      warning   api\\u{1b}  one      down           30s    cleared, silenced  -
";
        assert_eq!(shown(&json!({ "items": [open, past] }), 161.0), expect);
        assert_eq!(
            shown(&json!({ "items": [] }), 0.0),
            "nothing is wrong that is seen\n"
        );
    }
}
