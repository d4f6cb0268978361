//! Owns `requests`: those that failed, and what became of their attempts.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use evenkeel_control::date;
use serde_json::Value;

use super::{flat, rows};
use crate::client::{Admin, At, part};
use crate::operate::exit;
use crate::table::{cell, table};
use crate::{json, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// One of them: its id, or the `X-Request-Id` that its backends know
    request: Option<String>,
    /// Those that failed, which are all that an instance remembers
    #[arg(long)]
    failed: bool,
    /// Only those of this service
    #[arg(long, value_name = "NAME", conflicts_with = "request")]
    service: Option<String>,
    /// Only those that ended for this reason, such as `backend_timeout`
    #[arg(long, value_name = "REASON", conflicts_with = "request")]
    reason: Option<String>,
    /// So many at most, the last
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    lines: u16,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) fn requests(arguments: &Arguments) -> ExitCode {
    let admin = &arguments.at.admin();
    exit(match &arguments.request {
        Some(id) => one(admin, id, arguments.json),
        None => list(admin, arguments),
    })
}

fn list(admin: &Admin, arguments: &Arguments) -> Result<ExitCode, String> {
    let mut path = format!("/v1/requests?failed=true&limit={}", arguments.lines);
    for (key, value) in [
        ("service", &arguments.service),
        ("reason", &arguments.reason),
    ] {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={}", part(value)));
        }
    }
    let page = admin.ask("GET", &path)?;
    if arguments.json {
        json::out(&page);
        return Ok(ExitCode::SUCCESS);
    }
    let heads = [
        "began", "id", "service", "request", "status", "reason", "attempts", "ms",
    ];
    let mut shown = vec![heads.map(String::from)];
    shown.extend(rows(&page["items"]).map(row));
    say::out(&table(&shown));
    Ok(ExitCode::SUCCESS)
}

fn began(request: &Value) -> String {
    let at = request["began_seconds"].as_f64().unwrap_or_default();
    date::rfc3339(Duration::try_from_secs_f64(at).unwrap_or_default())
}

fn row(request: &Value) -> [String; 8] {
    let text = |key: &str| request[key].as_str().unwrap_or_default();
    let asked = format!("{} {}{}", text("method"), text("host"), text("path"));
    let [id, service, status, reason, attempts, total] =
        ["id", "service", "status", "reason", "attempts", "total_ms"]
            .map(|key| cell(&request[key]));
    let asked = cell(&asked.trim().into());
    [
        began(request),
        id,
        service,
        asked,
        status,
        reason,
        attempts,
        total,
    ]
}

fn one(admin: &Admin, id: &str, as_json: bool) -> Result<ExitCode, String> {
    let mut request = admin.ask("GET", &format!("/v1/requests/{}", part(id)))?;
    if as_json {
        json::out(&request);
        return Ok(ExitCode::SUCCESS);
    }
    let began = began(&request);
    let tries = request["tries"].take();
    if let Some(keys) = request.as_object_mut() {
        keys.remove("tries");
        keys.insert("began_seconds".into(), began.into());
    }
    let mut shown = Vec::new();
    flat("", &request, &mut shown);
    say::out(&table(&shown));
    let mut attempts = vec![["backend", "status", "reason", "after ms"].map(String::from)];
    let keys = ["backend", "status", "reason", "after_ms"];
    attempts.extend(rows(&tries).map(|one| keys.map(|key| cell(&one[key]))));
    if attempts.len() > 1 {
        say::out(&format!("\n{}", table(&attempts)));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_a_row_for_people() {
        let request = json!({
            "id": "0-7", "began_seconds": 1, "service": "api", "method": "GET", "host": "a.test", "path": "/x\u{9b}", "status": 503,
            "reason": "backend_reset", "attempts": 2, "total_ms": 12.34,
        });
        let expect = [
            "1970-01-01T00:00:01.000Z",
            "0-7",
            "api",
            "GET a.test/x\\u{9b}",
            "503",
            "backend_reset",
            "2",
            "12.3",
        ];
        assert_eq!(row(&request), expect);
        // A flow has neither method nor path.
        assert_eq!(row(&json!({ "id": "1" }))[3], "");
    }
}
