//! Owns `events`: what happened to a running instance, and what happens.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use evenkeel_control::date;
use serde_json::Value;

use super::rows;
use crate::client::{Admin, At, part};
use crate::operate::exit;
use crate::table::{cell, lasting, table};
use crate::{json, say};

/// How long an instance that ended the stream is left alone: another one takes its place at an upgrade.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Go on with what happens, until Ctrl-C; what was missed while nobody answered is said
    #[arg(short, long)]
    follow: bool,
    /// Only those of this kind, such as `standing_changed`; may be several
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only those about this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Those behind this number, instead of the last ones
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// So many at most
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    lines: u16,
    /// As JSON: a list; with `--follow` an object in each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) fn events(arguments: &Arguments) -> ExitCode {
    exit(told(arguments))
}

fn told(arguments: &Arguments) -> Result<ExitCode, String> {
    let admin = &arguments.at.admin();
    let mut which = String::new();
    if !arguments.kind.is_empty() {
        which.push_str(&format!("&kind={}", part(&arguments.kind.join(","))));
    }
    if let Some(service) = &arguments.service {
        which.push_str(&format!("&service={}", part(service)));
    }
    let after = arguments.after;
    let after = after.map_or_else(String::new, |after| format!("&after={after}"));
    let page = format!("/v1/events?limit={}{after}{which}", arguments.lines);
    let page = admin.ask("GET", &page)?;
    let all: Vec<_> = rows(&page["items"]).collect();
    match (arguments.json, arguments.follow) {
        (true, false) => json::out(&page["items"]),
        (true, true) => all.iter().for_each(|one| line(one)),
        (false, _) => {
            say::out(&gap(&page["gap"]));
            let cells: Vec<_> = all.iter().map(|one| shown(one)).collect();
            say::out(&table(&cells));
        }
    }
    if !arguments.follow {
        return Ok(ExitCode::SUCCESS);
    }
    follow(admin, &which, page["next"].as_u64(), arguments.json)
}

fn line(event: &Value) {
    say::out(&format!("{}\n", json::escaped(&event.to_string())));
}

/// Reads along for ever: an instance that ends the stream is asked again, by the number of the last event.
fn follow(
    admin: &Admin,
    which: &str,
    mut last: Option<u64>,
    as_json: bool,
) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.map_err(|error| format!("cannot wait: {error}"))?;
    let path = format!("/v1/events?{}", which.trim_start_matches('&'));
    let (mut known, mut silent) = (false, false);
    loop {
        let (mut is_gap, from) = (false, last);
        let mut tell = |text: &str| {
            (known, silent) = (true, false);
            match text.split_once(": ") {
                Some(("id", number)) => last = number.parse().ok().or(last),
                Some(("event", kind)) => is_gap = kind == "gap",
                Some(("data", data)) => {
                    let told: Value = serde_json::from_str(data).unwrap_or_default();
                    match (std::mem::take(&mut is_gap), as_json) {
                        (gap, true) => line(&match gap {
                            true => serde_json::json!({ "gap": told }),
                            false => told,
                        }),
                        (true, false) => say::out(&gap(&told)),
                        (false, false) => say::out(&table(&[shown(&told)])),
                    }
                }
                _ => {}
            }
            true
        };
        match admin.follow(&path, from, &mut tell) {
            Ok(()) => {}
            // Who misspells the address, or may not ask, reads why at once.
            Err(why) if !known => return Err(why),
            Err(why) => {
                if !std::mem::replace(&mut silent, true) {
                    say::log(&format!("{why}; asked again until it answers"));
                }
            }
        }
        runtime.block_on(tokio::time::sleep(AGAIN));
    }
}

/// That some of what was asked for is forgotten.
fn gap(gap: &Value) -> String {
    if gap.is_null() {
        return String::new();
    }
    match gap["events"].as_u64() {
        Some(events) => format!("({events} events are forgotten)\n"),
        None => "(what another process has seen is not known here)\n".into(),
    }
}

/// When, how bad, what, of what, and the rest in words.
fn shown(event: &Value) -> [String; 5] {
    let at = event["at_seconds"].as_f64().unwrap_or_default();
    let at = Duration::try_from_secs_f64(at).unwrap_or_default();
    let text = |key: &str| event[key].as_str();
    let of = ["service", "backend", "listener", "subject"];
    let of: Vec<_> = of.into_iter().filter_map(text).collect();
    let mut words = Vec::new();
    match (text("from"), text("to")) {
        (Some(from), Some(to)) => words.push(format!("{from} -> {to}")),
        (None, Some(one)) | (Some(one), None) => words.push(one.to_owned()),
        (None, None) => {}
    }
    words.extend(
        ["reason", "detail"]
            .into_iter()
            .filter_map(text)
            .map(str::to_owned),
    );
    if let Some(seconds) = event["seconds"].as_f64() {
        words.push(lasting(seconds));
    }
    for (what, count) in event["counts"].as_object().into_iter().flatten() {
        words.push(format!("{what} {count}"));
    }
    [
        date::rfc3339(at),
        cell(&event["level"]),
        cell(&event["kind"]),
        cell(&of.join(" ").into()),
        cell(&words.join(", ").into()),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line_for_people() {
        let event = json!({
            "number": 7, "at_seconds": 0.5, "kind": "standing_changed", "level": "warning", "service": "api", "backend": "one\u{1b}",
            "from": "serving", "to": "down", "reason": "check", "seconds": 61, "counts": { "failures": 3 },
        });
        let expect = [
            "1970-01-01T00:00:00.500Z",
            "warning",
            "standing_changed",
            "api one\\u{1b}",
            "serving -> down, check, 1m 1s, failures 3",
        ];
        assert_eq!(shown(&event), expect);
    }

    #[test]
    fn what_is_forgotten_is_said() {
        assert_eq!(gap(&Value::Null), "");
        assert_eq!(
            gap(&json!({ "after": 1, "first": 5, "events": 3 })),
            "(3 events are forgotten)\n"
        );
        assert!(gap(&json!({ "after": 1, "first": 5 })).contains("another process"));
    }
}
