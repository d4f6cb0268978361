//! Owns `top`: a running instance, looked at again and again.
//!
//! Rates are differences of two looks by the instance's own time, so a look that comes late distorts nothing.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Admin, At};
use crate::demo::screen::Screen;
use crate::demo::view::Line;
use crate::look::rows;
use crate::operate::exit;
use crate::say;
use crate::table::{cell, table};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Seconds from one look to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Show one table of two looks, and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) fn top(arguments: &Arguments) -> ExitCode {
    exit(watched(arguments))
}

fn watched(arguments: &Arguments) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("cannot wait: {error}"))?;
    runtime.block_on(async {
        tokio::select! {
            ended = watch(arguments) => ended,
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
        }
    })
}

async fn watch(arguments: &Arguments) -> Result<ExitCode, String> {
    let admin = &arguments.at.admin();
    let mut looks = interval(Duration::from_secs(arguments.every));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.tick().await;
    let mut before = look(admin)?;
    // Not before it answers: who misspells the address reads why.
    let mut screen = match arguments.once {
        true => None,
        false => Screen::take(None),
    };
    loop {
        looks.tick().await;
        let now = look(admin)?;
        let shown = between(&before, &now);
        match &mut screen {
            Some(screen) => {
                let lines: Vec<_> = shown.lines().map(Line::plain).collect();
                let size = screen.size();
                screen.draw(&lines, size);
            }
            None => say::out(&shown),
        }
        if arguments.once {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
    }
}

fn look(admin: &Admin) -> Result<Value, String> {
    admin.ask("GET", "/v1/status")
}

/// How much more of this there is, per second.
fn rate(before: Option<&Value>, now: &Value, key: &str, seconds: f64) -> String {
    let count = |value: &Value| value[key].as_f64();
    // What was not there before, or began anew, has no rate yet.
    let more = before.and_then(count).zip(count(now));
    match more.map(|(before, now)| now - before) {
        Some(more) if more >= 0.0 && seconds > 0.0 => format!("{:.1}", more / seconds),
        _ => "-".into(),
    }
}

/// What happened between two looks: a table of services, and one of backends, the busiest first.
fn between(before: &Value, now: &Value) -> String {
    let time = |status: &Value| status["uptime_seconds"].as_f64().unwrap_or_default();
    let same = before["process"] == now["process"];
    let seconds = time(now) - time(before);
    let mut known = HashMap::new();
    for service in rows(&before["services"]).filter(|_| same) {
        let name = service["name"].as_str();
        known.insert((name, None), service);
        for one in rows(&service["backends"]) {
            known.insert((name, one["id"].as_str()), one);
        }
    }
    let heads = ["service", "policy", "rung", "requests/s", "attempts/s"];
    let mut services = vec![heads.map(String::from)];
    let mut backends = Vec::new();
    for service in rows(&now["services"]) {
        let name = service["name"].as_str();
        let was = known.get(&(name, None)).copied();
        let [shown, policy, rung] = ["name", "policy", "rung"].map(|key| cell(&service[key]));
        let [requests, attempts] =
            ["requests", "attempts"].map(|key| rate(was, service, key, seconds));
        services.push([shown.clone(), policy, rung, requests, attempts]);
        for one in rows(&service["backends"]) {
            let was = known.get(&(name, one["id"].as_str())).copied();
            let [picked, failed] = ["picked", "failed"].map(|key| rate(was, one, key, seconds));
            let [id, standing, weight, in_flight, latency] =
                ["id", "standing", "weight", "in_flight", "latency_ms"].map(|key| cell(&one[key]));
            backends.push([
                shown.clone(),
                id,
                standing,
                weight,
                in_flight,
                picked,
                failed,
                latency,
            ]);
        }
    }
    let busy = |row: &[String; 8]| row[5].parse::<f64>().unwrap_or(-1.0);
    // Of those that are alike the order of the configuration stays.
    backends.sort_by(|one, other| busy(other).total_cmp(&busy(one)));
    let heads = [
        "service",
        "backend",
        "standing",
        "weight",
        "in flight",
        "picks/s",
        "failed/s",
        "ms",
    ];
    backends.insert(0, heads.map(String::from));
    format!("{}\n{}", table(&services), table(&backends))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_what_came_between_two_looks() {
        let status = |seconds: f64, process: u32, requests: u64, picked: [u64; 2]| {
            let one = |id: &str, picked| json!({ "id": id, "standing": "serving", "weight": 1, "in_flight": 0, "picked": picked, "failed": 1, "latency_ms": null });
            json!({ "uptime_seconds": seconds, "process": process, "services": [{
                "name": "api", "policy": "adaptive", "rung": "proven", "requests": requests, "attempts": requests,
                "backends": [one("a", picked[0]), one("b", picked[1])] }] })
        };
        let before = status(10.0, 1, 100, [10, 10]);
        let expect = "service  policy    rung    requests/s  attempts/s
api      adaptive  proven  5.0         5.0

service  backend  standing  weight  in flight  picks/s  failed/s  ms
api      b        serving   1       0          4.5      0.0       -
api      a        serving   1       0          0.5      0.0       -
";
        assert_eq!(between(&before, &status(12.0, 1, 110, [11, 19])), expect);
        // Another process has counts of its own.
        let other = between(&before, &status(1.0, 2, 500, [9, 9]));
        assert!(other.contains("proven  -           -\n"), "{other}");
    }
}
