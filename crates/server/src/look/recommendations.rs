//! Owns `recommendations`: what a running instance would have changed, and the changing.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::history::taken;
use super::rows;
use crate::client::{Admin, At, part};
use crate::operate::exit;
use crate::table::{cell, table};
use crate::{json, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only those of this service
    #[arg(long, value_name = "NAME", conflicts_with = "apply")]
    service: Option<String>,
    /// Do what the one with this id says, as a revision that can be rolled back
    #[arg(long, value_name = "ID", conflicts_with = "json")]
    apply: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) fn recommendations(arguments: &Arguments) -> ExitCode {
    let admin = arguments.at.admin();
    exit(match &arguments.apply {
        Some(id) => applied(&admin, id),
        None => told(&admin, arguments),
    })
}

fn told(admin: &Admin, arguments: &Arguments) -> Result<ExitCode, String> {
    let path = match &arguments.service {
        Some(service) => format!("/v1/services/{}/recommendations", part(service)),
        None => "/v1/recommendations".to_owned(),
    };
    let seen = admin.ask("GET", &path)?;
    if arguments.json {
        json::out(&seen["items"]);
        return Ok(ExitCode::SUCCESS);
    }
    say::out(&shown(&seen));
    Ok(ExitCode::SUCCESS)
}

fn applied(admin: &Admin, id: &str) -> Result<ExitCode, String> {
    let seen = admin.ask("GET", "/v1/recommendations")?;
    let mut all = rows(&seen["items"]);
    let one = all.find(|one| one["id"] == id).ok_or_else(|| {
        let id = cell(&Value::from(id));
        format!(
            "nothing of the id {id} is recommended now: `evenkeel recommendations` shows what is"
        )
    })?;
    let write = &one["apply"];
    match (write["method"].as_str(), write["path"].as_str()) {
        (Some(method), Some(path)) => {
            let done = admin.change(method, path, Some(&write["body"]))?;
            Ok(taken(&done))
        }
        _ => Err("this is not done by a change of a running configuration: see its reason, and what `would say` shows is for its texts".to_owned()),
    }
}

fn shown(seen: &Value) -> String {
    let mut out = String::new();
    for one in rows(&seen["items"]) {
        let [severity, id, reason] = ["severity", "id", "reason"].map(|key| cell(&one[key]));
        let sure = one["confidence"].as_f64().unwrap_or_default() * 100.0;
        out.push_str(&format!(
            "{severity}: {id}\n  {reason} ({sure:.0} % sure)\n"
        ));
        let figures = rows(&one["figures"]).map(|figure| {
            let value = figure["value"].as_f64().unwrap_or_default();
            [
                format!("  {}", cell(&figure["name"])),
                measured(value, figure["unit"].as_str()),
            ]
        });
        out.push_str(&table(&figures.collect::<Vec<_>>()));
        for patch in rows(&one["patch"]) {
            let value = match &patch["value"] {
                Value::Null => "nothing".to_owned(),
                value => cell(value),
            };
            out.push_str(&format!("  would say: {}: {value}\n", cell(&patch["path"])));
        }
        if let Some(command) = one["apply"]["command"].as_str() {
            out.push_str(&format!("  {}\n", cell(&Value::from(command))));
        }
    }
    match out.is_empty() {
        true => "nothing is recommended\n".to_owned(),
        false => out,
    }
}

/// Three figures are more than anybody goes by.
fn measured(value: f64, unit: Option<&str>) -> String {
    let number = match value.abs() {
        large if large >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        middle if middle >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    };
    match unit {
        Some("seconds") => format!("{number} s"),
        Some("share") => format!("{:.1} %", value * 100.0),
        Some("per_second") => format!("{number}/s"),
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_recommended_is_shown_with_its_figures_and_how_it_is_done() {
        let late = json!({
            "id": "deadline_too_long:services.api", "severity": "info", "reason": "99 of 100 answers come 500 times as soon", "confidence": 0.912,
            "figures": [{ "name": "per_try", "value": 10.0, "unit": "seconds" }, { "name": "p99", "value": 0.02, "unit": "seconds" }, { "name": "missed", "value": 0.001, "unit": "share" }],
            "patch": [{ "path": "services.api.timeouts.per_try", "value": "200ms" }],
            "apply": { "command": "evenkeel recommendations --apply 'deadline_too_long:services.api'" },
        });
        let single = json!({
            "id": "single_point_of_failure:services.b\u{1b}", "severity": "warning", "reason": "one backend serves all of it", "confidence": 1.0,
            "figures": [{ "name": "serving", "value": 1.0 }], "patch": [],
        });
        let expect = "info: deadline_too_long:services.api
  99 of 100 answers come 500 times as soon (91 % sure)
  per_try  10 s
  p99      0.0200 s
  missed   0.1 %
  would say: services.api.timeouts.per_try: 200ms
  evenkeel recommendations --apply 'deadline_too_long:services.api'
warning: single_point_of_failure:services.b\\u{1b}
  one backend serves all of it (100 % sure)
  serving  1
";
        assert_eq!(shown(&json!({ "items": [late, single] })), expect);
        assert_eq!(shown(&json!({ "items": [] })), "nothing is recommended\n");
    }
}
