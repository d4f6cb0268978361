//! Owns explanations for people.

use std::fmt::Write as _;
use std::net::IpAddr;

use evenkeel_balance::eligibility::Bar;
use evenkeel_balance::explain::{Candidate, Explanation};
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::spill::Spill;
use evenkeel_balance::time::Instant;
use evenkeel_config::problem::plainly;
use evenkeel_proxy::explain::{
    Affinity, Done, Edited, Explained, Forwarded, Hedge, Instead, Routed,
};
use evenkeel_proxy::live::Live;
use evenkeel_proxy::reason::Reason;

use super::{CHANCE, Passed, zone_name};

/// The most characters of a cell, and values in it.
const CELL: (usize, usize) = (60, 3);

/// What was asked beside the request.
pub(super) struct Asked {
    /// Who connects.
    pub(super) from: IpAddr,
    /// So many candidates of a service.
    pub(super) most: usize,
    /// The values of fields too.
    pub(super) values: bool,
}

/// An explanation, in lines.
pub(super) fn text(
    live: &Live,
    explained: &Explained<'_>,
    passed: &Passed,
    asked: &Asked,
) -> String {
    let mut out = String::new();
    heading(&mut out, live, explained, &asked.from);
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
    limits(&mut out, explained);
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
        Done::Forward(forwarded) => forward(&mut out, live, &forwarded, asked),
    }
    edited(&mut out, "answer", &explained.answer_fields(), true);
    out
}

/// The rate limits that it meets.
fn limits(out: &mut String, explained: &Explained<'_>) {
    for limited in explained.limited(Instant::ZERO) {
        let plan = limited.plan;
        let (of, name) = limited.owner.words();
        let (by, name) = (plainly(&plan.name), plainly(name));
        let (allow, burst, left) = (plan.allowance(), plan.settings.burst, limited.room.left);
        let (passes, shadow) = match (limited.room.left > 0, plan.shadow) {
            (true, false) => ("passes", ""),
            (true, true) => ("passes", ", shadow"),
            (false, true) => ("would be refused", ", shadow"),
            (false, false) => ("refused with 429, rate_limited", ""),
        };
        let _ = writeln!(
            out,
            "rate limit {by} of {of} {name}, {allow}, burst {burst}{shadow}: {passes}, {left} left"
        );
    }
}

fn forward(out: &mut String, live: &Live, forwarded: &Forwarded<'_>, asked: &Asked) {
    let target = target(&forwarded.path, forwarded.query.as_deref());
    let _ = writeln!(out, "the backend gets {}", plainly(&target));
    if let Some(host) = &forwarded.host {
        let _ = writeln!(out, "as host {}", plainly(&String::from_utf8_lossy(host)));
    }
    edited(out, "request", &forwarded.fields, asked.values);
    match forwarded.affinity {
        Some(Affinity::Cookie { name, kept: true }) => {
            let _ = writeln!(out, "kept on its service by the cookie {}", plainly(name));
        }
        Some(Affinity::Cookie { name, kept: false }) => {
            let name = plainly(name);
            let _ = writeln!(
                out,
                "drawn by weight; the answer sets the cookie {name}, which keeps the client there"
            );
        }
        Some(Affinity::Source) => {
            let _ = writeln!(out, "kept on its service by the client's address");
        }
        None if forwarded.services.len() > 1 => {
            let _ = writeln!(out, "drawn by weight, each request anew");
        }
        None => {}
    }
    let split = forwarded.services.len() > 1;
    for routed in &forwarded.services {
        let share = match split {
            true => format!(", {:.1} % of such requests", routed.share * 100.0),
            false => String::new(),
        };
        let to = format!(
            "forwarded to service {}{share}",
            plainly(&routed.service.plan.name)
        );
        let follows = forwarded.instead(routed).is_some();
        service(out, live, (routed, &to), follows, asked.most);
    }
    if let Some(instead) = &forwarded.fallback {
        fallback(out, live, instead, asked.most);
    }
    let _ = writeln!(
        out,
        "every backend is taken as it is at the start: nothing is in flight, nothing was learned, no check was made"
    );
}

fn fallback(out: &mut String, live: &Live, instead: &Instead<'_>, most: usize) {
    match instead {
        Instead::Forward(routed) => {
            let name = plainly(&routed.service.plan.name);
            let to = format!("when a service refuses: forwarded to service {name}");
            service(out, live, (routed, &to), false, most);
        }
        Instead::Respond(answer) => {
            let status = answer.status;
            let _ = writeln!(out, "when a service refuses: answered with {status}");
        }
        Instead::Redirect { status, location } => {
            let location = String::from_utf8_lossy(location);
            let location = plainly(&location);
            let _ = writeln!(
                out,
                "when a service refuses: redirected with {status} to {location}"
            );
        }
        Instead::Refused(reason) => {
            let (status, word) = (reason.status(), reason.word());
            let _ = writeln!(
                out,
                "when a service refuses: answered with {status}, {word}"
            );
        }
    }
}

/// The fields of a head that the rule changes; values that nobody asked for are veiled.
fn edited(out: &mut String, head: &str, fields: &Edited, values: bool) {
    let rows = [("set", &fields.set), ("added", &fields.add)];
    for (done, list) in rows {
        for (name, value) in list {
            let value = if values { value } else { VEIL };
            let _ = writeln!(out, "{head} field {done}: {name}: {}", plainly(value));
        }
    }
    for name in &fields.remove {
        let _ = writeln!(out, "{head} field removed: {name}");
    }
}

/// Stands for what `--values` shows.
const VEIL: &str = "(shown by --values)";

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
    if let Some(certificate) = explained.certificate() {
        let _ = writeln!(
            out,
            "with a certificate of {}",
            plainly(&certificate.subject)
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

/// Where its client is kept.
fn stays(out: &mut String, routed: &Routed<'_>, explanation: &Explanation) {
    let Some(affinity) = &routed.service.affinity else {
        return;
    };
    let by = match affinity.plan.by.cookie() {
        Some(name) => format!("the cookie {}", plainly(name)),
        None => "the client's address".into(),
    };
    let _ = match explanation.kept {
        Some(Ok(())) => writeln!(out, "kept on its backend by {by}"),
        Some(Err(lost)) => {
            let lost = lost.word();
            writeln!(
                out,
                "moved: the backend that {by} says is lost to it ({lost})"
            )
        }
        None => writeln!(out, "kept by {by} on the backend that answers"),
    };
}

/// Which tier and zone it comes to, and why there.
fn placed(out: &mut String, live: &Live, routed: &Routed<'_>, explanation: &Explanation) {
    let Some(place) = &explanation.place else {
        return;
    };
    if explanation.tiers.len() > 1 {
        let share = |(tier, share): &(u16, f64)| format!("tier {tier} {:.1} %", share * 100.0);
        let shares: Vec<_> = explanation.tiers.iter().map(share).collect();
        let why = match place.tier_spill {
            None => "",
            Some(Spill::TierHealth) => ", as those before it lack healthy capacity",
            Some(_) => ", as nobody of those before it can be had",
        };
        let (tier, shares) = (place.tier, shares.join(", "));
        let _ = writeln!(out, "tier {tier}{why}; of all requests get {shares}");
    }
    let Some(zone) = place.preferred else {
        if routed.service.plan.settings.zones.is_some() {
            let _ = writeln!(out, "no zone is preferred");
        }
        return;
    };
    let name = plainly(zone_name(&live.plan, zone).unwrap_or("?")).into_owned();
    let whose = match routed.zone {
        Some(_) => "the client's",
        None => "the instance's own",
    };
    let keeps = place.keeps.unwrap_or_default() * 100.0;
    let said = match place.zone_spill {
        Some(Spill::ZoneShare) => {
            format!("it keeps {keeps:.1} % of its requests, and this one goes elsewhere")
        }
        Some(Spill::ZoneFull) => "nobody there can be had".into(),
        Some(Spill::ZoneFew) => "it has too few backends to be preferred".into(),
        Some(Spill::ZoneNobody) => "it has no backend that serves in this tier".into(),
        _ => format!("it serves, and keeps {keeps:.1} % of its requests"),
    };
    let _ = writeln!(out, "zone {name}, {whose}, is preferred: {said}");
}

/// One service and its backends; `follows`: something is done when it refuses.
fn service(
    out: &mut String,
    live: &Live,
    (routed, to): (&Routed<'_>, &str),
    follows: bool,
    most: usize,
) {
    let explanation = routed.explanation(CHANCE, Instant::ZERO);
    let key = routed.key.map(|key| format!(", key {key:016x}"));
    let key = key.unwrap_or_default();
    let _ = writeln!(out, "{to}, by {}{key}", explanation.policy);
    stays(out, routed, &explanation);
    placed(out, live, routed, &explanation);
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
            share(one),
            excluded(one),
        ]);
    }
    table(out, &rows);
    let hidden = explanation.candidates.len() + 1 - rows.len();
    if hidden > 0 {
        let _ = writeln!(out, "  and {hidden} more; --all shows them");
    }
    winner(out, routed, &explanation, follows);
    hedge(out, routed);
}

/// Whether a slow attempt has another beside it.
fn hedge(out: &mut String, routed: &Routed<'_>) {
    let _ = match routed.hedge {
        None => Ok(()),
        Some(Hedge::After(after)) => {
            let millis = after.as_secs_f64() * 1000.0;
            writeln!(out, "hedged on another after {millis} ms without an answer")
        }
        Some(Hedge::Unmeasured(quantile)) => writeln!(
            out,
            "hedged on another at the {quantile} of the rule's answers, once enough are measured"
        ),
        Some(Hedge::No(no)) => writeln!(out, "not hedged: {}", no.word()),
    };
}

/// Weight times ramp; where reports have a part in it, why it is so.
fn share(one: &Candidate) -> String {
    match one.load {
        Some(load) => format!("{} ({})", one.share, load.reason.word()),
        None => one.share.to_string(),
    }
}

/// Why it may not be picked.
fn excluded(one: &Candidate) -> String {
    match (one.bar, one.adaptive_limit) {
        (Some(bar @ Bar::Standby), _) => format!("{}, tier {}", bar.word(), one.tier),
        (Some(bar @ Bar::Full), Some(limit)) => {
            format!("{} (adaptive limit {limit})", bar.word())
        }
        (Some(bar), _) => bar.word().into(),
        (None, _) => String::new(),
    }
}

fn winner(out: &mut String, routed: &Routed<'_>, explanation: &Explanation, follows: bool) {
    let backend = match &explanation.result {
        Ok(id) => plainly(id.as_str()).into_owned(),
        Err(refusal) => {
            let reason = Reason::Refused(*refusal);
            let (status, word) = (reason.status(), reason.word());
            let waits = explanation.queue.is_some() && *refusal == Refusal::AllFull;
            let _ = match follows {
                _ if waits => writeln!(out, "nobody is picked, {word}: it waits in the queue"),
                true => writeln!(out, "nobody is picked, {word}: the fallback follows"),
                false => writeln!(out, "nobody is picked: answered with {status}, {word}"),
            };
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use evenkeel_balance::ask::Ask;
    use evenkeel_balance::backend::BackendSpec;
    use evenkeel_balance::service::Service;
    use evenkeel_balance::settings::{AdaptiveLimit, ServiceSettings};
    use evenkeel_balance::time::Instant;

    use super::*;

    /// Which limit it is that holds: the one that was found, or the backend's own.
    #[test]
    fn who_is_full_has_the_limit_beside_it() {
        let check = |own: u32, expect: &str| {
            let two = AdaptiveLimit::DEFAULT.max(NonZeroU32::new(2).unwrap());
            let two = two.min(NonZeroU32::MIN);
            let service = Service::new(
                "api",
                ServiceSettings::default().adaptive_limit(two),
                vec![BackendSpec::new("a").max_in_flight(own)],
                Arc::new(()),
                Instant::ZERO,
            )
            .unwrap();
            let pick = || service.pick(&Ask::new(1), Instant::ZERO);
            let held: Vec<_> = std::iter::from_fn(|| pick().ok()).collect();
            let explanation = service.explain(&Ask::new(1), Instant::ZERO);
            assert_eq!(excluded(&explanation.candidates[0]), expect);
            drop(held);
        };
        check(0, "full (adaptive limit 2)");
        check(5, "full (adaptive limit 2)");
        check(1, "full");
    }
}
