//! Owns explanations for programs. Field names are a promise; `docs/explain.md` has them.

use std::time::Duration;

use evenkeel_balance::affinity::Lost;
use evenkeel_balance::explain::{Candidate, Explanation};
use evenkeel_balance::pick::Refusal;
use evenkeel_balance::spill::Spill;
use evenkeel_balance::time::Instant;
use evenkeel_balance::zone::Zone;
use evenkeel_proxy::explain::{
    Affinity, Done, Edited, Explained, Forwarded, Hedge, Instead, Limited, Routed,
};
use evenkeel_proxy::live::Live;
use evenkeel_proxy::reason::Reason;
use evenkeel_proxy::recorded::{Decision, Ended};
use serde_json::{Value, json};

use super::{CHANCE, Passed, zone_name};

/// How an explanation is told.
#[derive(Clone, Copy)]
pub(super) struct Telling {
    /// The values of fields that a rule gives a request.
    pub(super) values: bool,
    /// What conditions want: whoever has the file may see it.
    pub(super) wants: bool,
    /// What time it is for backends.
    pub(super) now: Instant,
}

/// An explanation.
pub(super) fn row(
    live: &Live,
    explained: &Explained<'_>,
    passed: &Passed,
    telling: Telling,
) -> Value {
    let listener = live.plan.listeners.get(explained.listener());
    let mut row = json!({
        "listener": listener.map(|listener| &*listener.name),
        "client": explained.client().to_string(),
        "client_certificate": explained.certificate().map(|shown| json!({
            "subject": &*shown.subject,
            "fingerprint": &*shown.fingerprint,
            "san": shown.names().collect::<Vec<_>>(),
        })),
        "request": explained.head().map(|head| json!({
            "method": lossy(head.method()),
            "host": head.host(),
            "path": lossy(head.path()),
            "query": head.query().map(lossy),
        })),
        "rule": explained.rule().map(|at| named(live, at)),
        "passed": passed.rules.iter().map(|&at| passed_over(live, explained, at, telling.wants)).collect::<Vec<_>>(),
        "passed_all": passed.all,
        "limits": explained.limited(telling.now).iter().map(limited).collect::<Vec<_>>(),
        "answer_fields": edited(&explained.answer_fields(), true),
    });
    let done = match explained.done() {
        Done::Refused { status, reason } => {
            json!({ "action": "refuse", "status": status, "reason": reason.word() })
        }
        Done::Respond(answer) => json!({
            "action": "respond", "status": answer.status, "reason": Reason::Rule.word(),
            "content_type": &*answer.content_type, "body": lossy(&answer.body),
        }),
        Done::Redirect { status, location } => json!({
            "action": "redirect", "status": status, "reason": Reason::Rule.word(), "location": lossy(&location),
        }),
        Done::Forward(forwarded) => forward(live, &forwarded, telling),
    };
    if let (Value::Object(row), Value::Object(done)) = (&mut row, done) {
        row.extend(done);
    }
    row
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn named(live: &Live, at: usize) -> Value {
    let rule = live.plan.rules.get(at);
    json!({
        "name": rule.map(|rule| &*rule.name),
        "priority": rule.map(|rule| rule.priority),
        "place": at + 1,
    })
}

fn limited(limited: &Limited<'_>) -> Value {
    let (plan, (of, name)) = (limited.plan, limited.owner.words());
    json!({
        "of": of,
        "name": name,
        "limit": &*plan.name,
        "allow": plan.allowance(),
        "burst": plan.settings.burst,
        "shadow": plan.shadow,
        "left": limited.room.left,
        "passes": limited.passes(),
    })
}

fn passed_over(live: &Live, explained: &Explained<'_>, at: usize, wants: bool) -> Value {
    let mut row = named(live, at);
    if let Some(unmet) = explained.unmet(at) {
        row["condition"] = unmet.condition.into();
        row["wants"] = wants.then_some(unmet.wants).into();
        row["has"] = unmet.has.into();
    }
    row
}

fn forward(live: &Live, forwarded: &Forwarded<'_>, telling: Telling) -> Value {
    let affinity = forwarded.affinity.map(|affinity| match affinity {
        Affinity::Cookie { name, kept } => json!({ "by": "cookie", "name": name, "kept": kept }),
        Affinity::Source => json!({ "by": "source", "name": null, "kept": true }),
    });
    let services = forwarded.services.iter().map(|routed| {
        let mut row = service(live, routed, telling.now);
        row["falls_back"] = forwarded.instead(routed).is_some().into();
        row
    });
    json!({
        "action": "forward",
        "forwarded": {
            "path": lossy(&forwarded.path),
            "query": forwarded.query.as_deref().map(lossy),
            "host": forwarded.host.as_deref().map(lossy),
            "fields": edited(&forwarded.fields, telling.values),
        },
        "affinity": affinity,
        "services": services.collect::<Vec<_>>(),
        "fallback": forwarded.fallback.as_ref().map(|one| instead(live, one, telling.now)),
    })
}

fn instead(live: &Live, instead: &Instead<'_>, now: Instant) -> Value {
    match instead {
        Instead::Forward(routed) => {
            json!({ "action": "forward", "service": service(live, routed, now) })
        }
        Instead::Respond(answer) => json!({ "action": "respond", "status": answer.status }),
        Instead::Redirect { status, location } => {
            json!({ "action": "redirect", "status": status, "location": lossy(location) })
        }
        Instead::Refused(reason) => {
            json!({ "action": "refuse", "status": reason.status(), "reason": reason.word() })
        }
    }
}

/// Values that nobody asked for are left out.
fn edited(fields: &Edited, values: bool) -> Value {
    let rows = |list: &[(String, String)]| -> Value {
        let rows = list
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": values.then_some(value) }));
        rows.collect()
    };
    json!({ "set": rows(&fields.set), "add": rows(&fields.add), "remove": fields.remove })
}

fn service(live: &Live, routed: &Routed<'_>, now: Instant) -> Value {
    let affinity = routed.service.affinity.as_ref();
    let by = affinity.map(|affinity| (affinity.plan.by.word(), affinity.plan.by.cookie()));
    let of = (&*routed.service.plan.name, routed.key, by);
    let mut row = chosen(live, of, &routed.explanation(CHANCE, now));
    row["share"] = routed.share.into();
    row["hedge"] = routed.hedge.map(hedge).into();
    row
}

/// A decision of a request that was recorded: what it found, in the same form, and what came of it.
pub(super) fn recorded(live: &Live, decision: &Decision) -> Value {
    let affinity = decision.affinity.as_ref();
    let by = affinity.map(|(by, cookie)| (*by, cookie.as_deref()));
    let of = (&*decision.service, decision.key, by);
    let found = decision.explanation.as_ref();
    let mut row = found.map_or_else(|| json!({}), |found| chosen(live, of, found));
    let picked = decision.picked.as_ref();
    let refusal = picked.and_then(|picked| picked.as_ref().err());
    let backend = picked.and_then(|picked| picked.as_ref().ok());
    // Who was picked, whatever was found a moment before.
    row["backend"] = backend.map(|id| id.as_str()).into();
    row["refusal"] = refusal.map(|refusal| refusal.word()).into();
    row["after_ms"] = ms(decision.after).into();
    row["waited_ms"] = ms(decision.waited).into();
    row["beside"] = decision.beside.into();
    let timers = decision.timers;
    row["timers"] = json!({
        "connect_ms": ms(timers.connect),
        "per_try_ms": ms(timers.per_try),
        "exchange_ms": ms(timers.exchange),
    });
    row["attempt"] = decision.ended.as_ref().map(attempt).into();
    row
}

fn attempt(ended: &Ended) -> Value {
    json!({
        "ended_ms": ms(ended.after),
        "connect_ms": ended.connect.map(ms),
        "head_ms": ended.head.map(ms),
        "status": ended.how.status(),
        "reason": ended.how.word(),
    })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What a service is asked, and what it would answer or was about to: its name, the key of its policy, and what keeps its clients.
type Of<'a> = (&'a str, Option<u64>, Option<(&'a str, Option<&'a str>)>);

fn chosen(live: &Live, (name, key, by): Of<'_>, found: &Explanation) -> Value {
    let Explanation {
        policy,
        rung,
        tier,
        tiers,
        place,
        result,
        queue,
        trial,
        kept,
        candidates,
        members,
    } = found;
    json!({
        "service": name,
        "policy": &**policy,
        // JavaScript has no whole numbers of 64 bits.
        "key": key.map(|key| format!("{key:016x}")),
        "rung": rung.word(),
        "tier": tier,
        "tiers": tiers.iter().map(|(tier, share)| json!({ "tier": tier, "share": share })).collect::<Vec<_>>(),
        "place": place.as_ref().map(|place| json!({
            "tier": place.tier,
            "tier_spilled": place.tier_spill.map(Spill::word),
            "zone": place.preferred.and_then(|zone| zone_name(&live.plan, zone)),
            "zone_keeps": place.keeps,
            "zone_served": place.zone_spill.map(Spill::word),
        })),
        "backend": result.as_ref().ok().map(|id| id.as_str()),
        "refusal": result.as_ref().err().map(|refusal| refusal.word()),
        "waits": queue.is_some() && *result == Err(Refusal::AllFull),
        "trial": trial,
        "affinity": by.map(|(by, cookie)| json!({
            "by": by,
            "cookie": cookie,
            "kept": *kept == Some(Ok(())),
            "lost": kept.and_then(Result::err).map(Lost::word),
        })),
        "candidates": candidates.iter().map(candidate).collect::<Vec<_>>(),
        "candidates_all": members,
    })
}

fn hedge(hedge: Hedge) -> Value {
    let (after, at, refused) = match hedge {
        Hedge::After(after) => (Some(after.as_secs_f64()), None, None),
        Hedge::Unmeasured(quantile) => (None, Some(quantile.to_string()), None),
        Hedge::No(no) => (None, None, Some(no.word())),
    };
    json!({ "after_s": after, "at": at, "refused": refused })
}

fn candidate(one: &Candidate) -> Value {
    let mut row = json!({
        "backend": one.id.as_str(),
        "standing": one.standing.word(),
        "tier": one.tier,
        "zone": one.zone.as_ref().map(Zone::name),
        "excluded": one.bar.map(|bar| bar.word()),
        "score": one.score,
        "share": one.share,
        "in_flight": one.in_flight,
        "adaptive_limit": one.adaptive_limit,
    });
    if let Some(load) = one.load {
        row["load"] = json!({ "factor": load.factor, "reason": load.reason.word() });
    }
    row
}
