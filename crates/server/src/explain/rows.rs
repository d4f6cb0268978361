//! Owns explanations for programs. Field names are a promise; `docs/explain.md` has them.

use evenkeel_balance::explain::{Candidate, Explanation};
use evenkeel_balance::time::Instant;
use evenkeel_proxy::explain::{Done, Explained, Routed};
use evenkeel_proxy::live::Live;
use evenkeel_proxy::reason::Reason;
use serde_json::{Value, json};

use super::{CHANCE, Passed};

/// An explanation.
pub(super) fn row(live: &Live, explained: &Explained<'_>, passed: &Passed) -> Value {
    let listener = live.plan.listeners.get(explained.listener());
    let mut row = json!({
        "listener": listener.map(|listener| &*listener.name),
        "client": explained.client().to_string(),
        "request": explained.head().map(|head| json!({
            "method": lossy(head.method()),
            "host": head.host(),
            "path": lossy(head.path()),
            "query": head.query().map(lossy),
        })),
        "rule": explained.rule().map(|at| named(live, at)),
        "passed": passed.rules.iter().map(|&at| passed_over(live, explained, at)).collect::<Vec<_>>(),
        "passed_all": passed.all,
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
        Done::Forward(forwarded) => json!({
            "action": "forward",
            "forwarded": { "path": lossy(&forwarded.path), "query": forwarded.query.as_deref().map(lossy),
                "host": forwarded.host.as_deref().map(lossy) },
            "fallback": forwarded.fallback.map(|fallback| super::fallback(live, fallback)),
            "services": forwarded.services.iter().map(service).collect::<Vec<_>>(),
        }),
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

fn passed_over(live: &Live, explained: &Explained<'_>, at: usize) -> Value {
    let mut row = named(live, at);
    if let Some(unmet) = explained.unmet(at) {
        row["condition"] = unmet.condition.into();
        row["wants"] = unmet.wants.into();
        row["has"] = unmet.has.into();
    }
    row
}

fn service(routed: &Routed<'_>) -> Value {
    let Explanation {
        policy,
        rung,
        result,
        trial,
        candidates,
    } = routed.explanation(CHANCE, Instant::ZERO);
    json!({
        "service": &*routed.service.plan.name,
        "share": routed.share,
        "policy": &*policy,
        // JavaScript has no whole numbers of 64 bits.
        "key": routed.key.map(|key| format!("{key:016x}")),
        "rung": rung.word(),
        "backend": result.as_ref().ok().map(|id| id.as_str()),
        "refusal": result.as_ref().err().map(|refusal| refusal.word()),
        "trial": trial,
        "candidates": candidates.iter().map(candidate).collect::<Vec<_>>(),
    })
}

fn candidate(one: &Candidate) -> Value {
    json!({
        "backend": one.id.as_str(),
        "standing": one.standing.word(),
        "excluded": one.bar.map(|bar| bar.word()),
        "score": one.score,
        "share": one.share,
        "in_flight": one.in_flight,
    })
}
