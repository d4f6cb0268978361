//! Owns looks at a running instance for people: what `status`, `services list`, `backends show` and `certs` show of the API's answers.

/// What happened, and what happens.
pub(crate) mod events;

/// What is wrong.
pub(crate) mod alerts;

/// What to do about it.
pub(crate) mod recommendations;

/// Requests that failed.
pub(crate) mod requests;

/// Revisions of the configuration.
pub(crate) mod history;

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::client::{Admin, At};
use crate::operate::exit;
use crate::table::{cell, lasting, table};
use crate::{json, say};

#[derive(Args)]
pub(crate) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// Rows of a list.
pub(crate) fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// What of the instance as a whole somebody should look at.
fn amiss(status: &Value) -> impl Iterator<Item = &'static str> {
    let all = [
        (
            status["reload_refused"] == true,
            "the last reload was refused: what runs is not what the configuration says",
        ),
        (
            status["files_refused"] == true,
            "a certificate or the tokens were refused as they stand now: those of before go on",
        ),
        (
            status["kept"] == "failing",
            "what was changed here is lost by a restart: the disk does not take it",
        ),
    ];
    all.into_iter().filter_map(|(is, line)| is.then_some(line))
}

/// The status: the process, then listeners, then services, then who does not serve.
pub(crate) fn status(status: &Value) -> String {
    let uptime = status["uptime_seconds"].as_f64().unwrap_or_default();
    let mut out = format!(
        "evenkeel {}, process {}, up {}{}\n",
        cell(&status["version"]),
        cell(&status["process"]),
        lasting(uptime),
        if status["draining"] == true {
            ", draining"
        } else {
            ""
        },
    );
    if let Some(before @ 1..) = status["predecessors"].as_u64() {
        out.push_str(&format!("{before} before it drain since upgrades\n"));
    }
    out.extend(amiss(status).flat_map(|line| [line, "\n"]));
    let mut listeners = vec![["listener", "connections", "accepted", ""].map(String::from)];
    for one in rows(&status["listeners"]) {
        let [name, connections, accepted] =
            ["name", "connections", "accepted"].map(|key| cell(&one[key]));
        let draining = if one["draining"] == true {
            "draining"
        } else {
            ""
        };
        listeners.push([name, connections, accepted, draining.into()]);
    }
    let heads = [
        "service",
        "policy",
        "rung",
        "serving",
        "in flight",
        "requests",
        "attempts",
    ];
    let mut services = vec![heads.map(String::from)];
    let mut others = vec![["service", "backend", "standing", "for", "why"].map(String::from)];
    for service in rows(&status["services"]) {
        let (mut all, mut serving, mut in_flight) = (0, 0, 0);
        for one in rows(&service["backends"]) {
            all += 1;
            in_flight += one["in_flight"].as_u64().unwrap_or_default();
            if one["standing"] == "serving" {
                serving += 1;
                continue;
            }
            let since = one["since_seconds"].as_f64().unwrap_or_default();
            let [id, standing, why] = ["id", "standing", "reason"].map(|key| cell(&one[key]));
            let name = cell(&service["name"]);
            others.push([name, id, standing, lasting(since), why]);
        }
        let [name, policy, rung, requests, attempts] =
            ["name", "policy", "rung", "requests", "attempts"].map(|key| cell(&service[key]));
        let serving = format!("{serving}/{all}");
        let in_flight = in_flight.to_string();
        services.push([name, policy, rung, serving, in_flight, requests, attempts]);
    }
    for part in [table(&listeners), table(&services)] {
        out.push('\n');
        out.push_str(&part);
    }
    if others.len() > 1 {
        out.push('\n');
        out.push_str(&table(&others));
    }
    out
}

pub(crate) fn services(admin: &Admin, as_json: bool) -> Result<ExitCode, String> {
    let all = admin.all("/v1/services")?;
    if as_json {
        json::out(&Value::Array(all));
        return Ok(ExitCode::SUCCESS);
    }
    let heads = [
        "service", "policy", "rung", "serving", "2xx", "4xx", "5xx", "none", "retries", "mean ms",
    ];
    let mut shown = vec![heads.map(String::from)];
    let sum = |counts: &Value| -> u64 {
        let counts = counts.as_object().into_iter().flatten();
        counts.filter_map(|(_, count)| count.as_u64()).sum()
    };
    for one in &all {
        let [name, policy, rung] = ["name", "policy", "rung"].map(|key| cell(&one[key]));
        let [well, client, server, none] =
            ["2xx", "4xx", "5xx", "none"].map(|key| cell(&one["answers"][key]));
        let serving = one["backends"]["serving"].as_u64().unwrap_or_default();
        let serving = format!("{serving}/{}", sum(&one["backends"]));
        let retries = sum(&one["retries"]).to_string();
        let mean = cell(&one["mean_latency_ms"]);
        shown.push([
            name, policy, rung, serving, well, client, server, none, retries, mean,
        ]);
    }
    say::out(&table(&shown));
    Ok(ExitCode::SUCCESS)
}

/// One backend, by its path: a row for each key, those within others by both names.
pub(crate) fn backend(admin: &Admin, path: &str, as_json: bool) -> Result<ExitCode, String> {
    let one = admin.ask("GET", path)?;
    if as_json {
        json::out(&one);
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = Vec::new();
    flat("", &one, &mut shown);
    say::out(&table(&shown));
    Ok(ExitCode::SUCCESS)
}

fn flat(name: &str, value: &Value, into: &mut Vec<[String; 2]>) {
    let Some(keys) = value.as_object() else {
        into.push([name.to_owned(), cell(value)]);
        return;
    };
    for (key, value) in keys {
        // Names of labels are the operator's.
        let key = cell(&Value::from(key.as_str()));
        match name {
            "" => flat(&key, value, into),
            name => flat(&format!("{name} {key}"), value, into),
        }
    }
}

pub(crate) fn certs(arguments: &Arguments) -> ExitCode {
    exit(certificates(&arguments.at.admin(), arguments.json))
}

fn certificates(admin: &Admin, as_json: bool) -> Result<ExitCode, String> {
    let all = admin.ask("GET", "/v1/certificates")?;
    if as_json {
        json::out(&all);
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = vec![["listener", "kind", "file", "ends in", "names"].map(String::from)];
    for one in rows(&all) {
        let left = one["seconds_left"].as_f64().unwrap_or_default();
        let ends = match left > 0.0 {
            true => lasting(left),
            false => format!("over for {}", lasting(-left)),
        };
        let names: Vec<_> = rows(&one["names"]).map(cell).collect();
        let [listener, kind, file] = ["listener", "kind", "file"].map(|key| cell(&one[key]));
        shown.push([listener, kind, file, ends, names.join(" ")]);
    }
    say::out(&table(&shown));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_shows_who_does_not_serve() {
        let member = |id: &str, standing: &str| json!({ "id": id, "standing": standing, "reason": "a check failed", "since_seconds": 61, "in_flight": 2 });
        let told = json!({
            "version": "1.0", "process": 7, "uptime_seconds": 90_000.5, "draining": true, "predecessors": 1,
            "listeners": [{ "name": "web", "connections": 3, "accepted": 4 }, { "name": "old", "draining": true, "connections": 0, "accepted": 1 }],
            "services": [{ "name": "api", "policy": "adaptive", "rung": "proven", "requests": 5, "attempts": 6, "backends": [member("one", "serving"), member("two\u{1b}", "down")] }],
        });
        let expect = "evenkeel 1.0, process 7, up 1d 1h, draining
1 before it drain since upgrades

listener  connections  accepted
web       3            4
old       0            1         draining

service  policy    rung    serving  in flight  requests  attempts
api      adaptive  proven  1/2      4          5         6

service  backend    standing  for    why
api      two\\u{1b}  down      1m 1s  a check failed
";
        assert_eq!(status(&told), expect);
    }

    #[test]
    fn keys_within_others_have_both_names() {
        let mut shown = Vec::new();
        let value = json!({ "id": "one", "breaker": { "window": { "failed": 2 } }, "zone": null });
        flat("", &value, &mut shown);
        let row = |cells: [&str; 2]| cells.map(String::from);
        let expect = [
            row(["breaker window failed", "2"]),
            row(["id", "one"]),
            row(["zone", "-"]),
        ];
        assert_eq!(shown, expect);
    }
}
