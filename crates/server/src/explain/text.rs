//! Owns explanations for people.

use std::fmt::Write as _;
use std::net::IpAddr;

use evenkeel_balance::explain::{Candidate, Explanation};
use evenkeel_balance::time::Instant;
use evenkeel_config::problem::plainly;
use evenkeel_proxy::explain::{Done, Explained, Routed};
use evenkeel_proxy::live::Live;
use evenkeel_proxy::reason::Reason;

use super::{CHANCE, Passed};

/// The most characters of a cell, and values in it.
const CELL: (usize, usize) = (60, 3);

/// An explanation, in lines, with so many candidates of a service.
pub(super) fn text(
    live: &Live,
    explained: &Explained<'_>,
    passed: &Passed,
    from: &IpAddr,
    most: usize,
) -> String {
    let mut out = String::new();
    heading(&mut out, live, explained, from);
    if passed.all > 0 {
        rules_passed(&mut out, live, explained, passed);
    }
    if let Some(at) = explained.rule()
        && let Some(rule) = live.plan.rules.get(at)
    {
        let (name, all) = (plainly(&rule.name), live.plan.rules.len());
        let (priority, place) = (rule.priority, at + 1);
        let _ = writeln!(
            out,
            "rule {name} holds: priority {priority}, number {place} of {all}"
        );
    }
    match explained.done() {
        Done::Refused { status, reason } => {
            let why = match reason {
                Reason::NoRule => "no rule holds\n",
                Reason::Denied => "",
                _ => "refused: ",
            };
            let _ = writeln!(out, "{why}answered with {status}, {}", reason.word());
        }
        Done::Respond(answer) => {
            let (kind, length) = (plainly(&answer.content_type), answer.body.len());
            let _ = writeln!(
                out,
                "answered here with {}: {length} bytes of {kind}",
                answer.status
            );
        }
        Done::Redirect { status, location } => {
            let location = String::from_utf8_lossy(&location);
            let _ = writeln!(
                out,
                "redirected with {status}\nLocation: {}",
                plainly(&location)
            );
        }
        Done::Forward(forwarded) => {
            let target = target(&forwarded.path, forwarded.query.as_deref());
            let _ = writeln!(out, "the backend gets {}", plainly(&target));
            if let Some(host) = &forwarded.host {
                let _ = writeln!(out, "as host {}", plainly(&String::from_utf8_lossy(host)));
            }
            let how = (forwarded.services.len() > 1, forwarded.fallback.is_some());
            for routed in &forwarded.services {
                service(&mut out, routed, how, most);
            }
            if let Some(fallback) = forwarded.fallback {
                let instead = super::fallback(live, fallback);
                let instead = plainly(&instead);
                let _ = writeln!(out, "when the service refuses: {instead}");
            }
        }
    }
    out
}

fn heading(out: &mut String, live: &Live, explained: &Explained<'_>, from: &IpAddr) {
    let listener = live.plan.listeners.get(explained.listener());
    let listener = listener.map_or("", |listener| &*listener.name);
    let line = match explained.head() {
        Some(head) => {
            let method = String::from_utf8_lossy(head.method());
            let (target, host) = (target(head.path(), head.query()), head.host());
            format!("{method} {target} of host {host}, from {from}, at listener {listener}")
        }
        None => format!("a malformed request, from {from}, at listener {listener}"),
    };
    let _ = writeln!(out, "{}", plainly(&line));
    if explained.client() != *from {
        let _ = writeln!(
            out,
            "the client is {}, as the trusted peer says",
            explained.client()
        );
    }
}

fn target(path: &[u8], query: Option<&[u8]>) -> String {
    let lossy = String::from_utf8_lossy;
    let query = query.map(|query| format!("?{}", lossy(query)));
    format!("{}{}", lossy(path), query.unwrap_or_default())
}

fn rules_passed(out: &mut String, live: &Live, explained: &Explained<'_>, passed: &Passed) {
    let mut rows = vec![["rule", "priority", "does not hold", "wants", "has"].map(String::from)];
    for &at in &passed.rules {
        let Some((rule, unmet)) = live.plan.rules.get(at).zip(explained.unmet(at)) else {
            continue;
        };
        rows.push([
            cell(&rule.name),
            rule.priority.to_string(),
            cell(&unmet.condition),
            several(&unmet.wants),
            cell(&unmet.has),
        ]);
    }
    let _ = writeln!(out, "rules passed over:");
    table(out, &rows);
    let hidden = passed.all - passed.rules.len();
    if hidden > 0 {
        let _ = writeln!(
            out,
            "  and {hidden} more, which failed earlier or stand before; --all shows them"
        );
    }
}

fn service(out: &mut String, routed: &Routed<'_>, (split, falls_back): (bool, bool), most: usize) {
    let explanation = routed.explanation(CHANCE, Instant::ZERO);
    let (name, policy) = (plainly(&routed.service.plan.name), &explanation.policy);
    let share = match split {
        true => format!(", {:.1} % of such requests", routed.share * 100.0),
        false => String::new(),
    };
    let key = routed.key.map(|key| format!(", key {key:016x}"));
    let key = key.unwrap_or_default();
    let _ = writeln!(out, "forwarded to service {name}{share}, by {policy}{key}");
    let mut rows =
        vec![["", "backend", "standing", "score", "share", "excluded"].map(String::from)];
    let picked = |one: &&Candidate| explanation.result.as_ref() == Ok(&one.id);
    let (first, others) = explanation
        .candidates
        .split_at(most.min(explanation.candidates.len()));
    for one in first.iter().chain(others.iter().filter(picked)) {
        let mark = if picked(&one) { ">" } else { "" };
        let score = one
            .score
            .map_or_else(String::new, |score| format!("{score:.3}"));
        rows.push([
            mark.into(),
            cell(one.id.as_str()),
            one.standing.word().into(),
            score,
            one.share.to_string(),
            one.bar.map_or("", |bar| bar.word()).into(),
        ]);
    }
    table(out, &rows);
    let hidden = explanation.candidates.len() + 1 - rows.len();
    if hidden > 0 {
        let _ = writeln!(out, "  and {hidden} more; --all shows them");
    }
    winner(out, routed, &explanation, falls_back);
}

fn winner(out: &mut String, routed: &Routed<'_>, explanation: &Explanation, falls_back: bool) {
    let backend = match &explanation.result {
        Ok(id) => plainly(id.as_str()).into_owned(),
        Err(refusal) => {
            let reason = Reason::Refused(*refusal);
            let (status, word) = (reason.status(), reason.word());
            let follows = match falls_back {
                true => "the fallback follows".to_owned(),
                false => format!("answered with {status}"),
            };
            let _ = writeln!(out, "nobody is picked: {follows}, {word}");
            return;
        }
    };
    let free = explanation
        .candidates
        .iter()
        .filter(|one| one.bar.is_none());
    let why = match (routed.key, free.count()) {
        (_, 1) => "the only one that may be picked",
        (Some(_), _) => "by its key, as long as the same backends serve",
        (None, _) => "this time; the next request may go to another",
    };
    let _ = writeln!(out, "picked: {backend}, {why}");
    let _ = writeln!(
        out,
        "every backend is taken as it is at the start: nothing is in flight, nothing was learned, no check was made"
    );
}

/// Several values, the first of them.
pub(crate) fn several(values: &[String]) -> String {
    let shown: Vec<_> = values.iter().take(CELL.1).map(|value| &**value).collect();
    let mut text = cell(&shown.join(", "));
    if values.len() > CELL.1 {
        let _ = write!(text, " and {} more", values.len() - CELL.1);
    }
    text
}

/// A value as a terminal may be given it; its begin where it is long.
fn cell(value: &str) -> String {
    match value.char_indices().nth(CELL.0) {
        None => plainly(value).into_owned(),
        Some((end, _)) => format!("{}...", plainly(&value[..end])),
    }
}

/// Rows whose columns stand under one another; the first names them.
fn table<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let wide = |column: usize| rows.iter().map(move |row| row[column].chars().count());
    let widths: [usize; N] = std::array::from_fn(|column| wide(column).max().unwrap_or(0));
    for row in rows {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(out, "  {}", cells.join("  ").trim_end());
    }
}
