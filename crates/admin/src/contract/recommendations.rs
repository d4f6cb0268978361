//! Owns `/v1/recommendations` and `/v1/services/{service}/recommendations`: what to do about what was seen within an hour, and by which
//! write that is done.

use axum::Json;
use axum::extract::State;
use evenkeel_config::edits::is_changeable;
use evenkeel_control::sight::{Figure, Patch, Recommendation, Value};
use serde::Serialize;
use serde_json::{Map, json};
use utoipa::ToSchema;

use crate::contract::Asked;
use crate::contract::alerts::unit;
use crate::contract::asked::{Name, Plain, part};
use crate::contract::problem::Problem;

/// Something to do.
#[derive(Serialize, ToSchema)]
struct Advice {
    /// The code and of whom: what it is known by as long as it is told.
    #[schema(example = "deadline_too_long:services.api")]
    id: String,
    /// `wrong_weights`, `pool_too_small`, `deadline_too_short`, `deadline_too_long`, `checks_too_slow`, `check_timeout_too_short`, `flapping`,
    /// `single_point_of_failure`, `retry_budget_spent`, `worker_skew`, `affinity_unbalances`, `certificate_expires` or `limit_near`.
    #[schema(example = "deadline_too_long")]
    code: &'static str,
    /// `info`, `warning` or `critical`.
    #[schema(example = "info")]
    severity: &'static str,
    /// Of whom, as a place in the configuration; empty: of the instance.
    #[schema(example = "services.api")]
    subject: String,
    /// The service that it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// The backend that it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    /// Why, in a sentence.
    reason: String,
    /// How sure that is, 0 to 1.
    confidence: f64,
    /// What it rests on.
    figures: Vec<AdviceFigure>,
    /// What the configuration would say; empty where only somebody can do it, as add a backend.
    patch: Vec<AdvicePatch>,
    /// The write that does it, as a revision that can be rolled back. Absent where there is none: the configuration's texts say it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    apply: Option<Apply>,
}

/// A figure.
#[derive(Serialize, ToSchema)]
struct AdviceFigure {
    /// What it is.
    #[schema(example = "p99")]
    name: &'static str,
    value: f64,
    /// `seconds`, `per_second` or `share`; absent: a plain number.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
}

/// What would stand at a place of the configuration.
#[derive(Serialize, ToSchema)]
struct AdvicePatch {
    #[schema(example = "services.api.timeouts.per_try")]
    path: String,
    /// A number or a text; absent: nothing would stand there.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<serde_json::Value>,
}

/// A write.
#[derive(Serialize, ToSchema)]
struct Apply {
    #[schema(example = "PATCH")]
    method: &'static str,
    #[schema(example = "/v1/services/api")]
    path: String,
    /// What is sent.
    body: serde_json::Value,
    /// The same from a shell.
    #[schema(example = "evenkeel recommendations --apply 'deadline_too_long:services.api'")]
    command: String,
}

/// All that is to be done.
#[derive(Serialize, ToSchema)]
struct AdviceList {
    /// What matters most first.
    items: Vec<Advice>,
}

/// As `evenkeel config show` has a place.
fn place(keys: &[String]) -> String {
    let mut out = String::new();
    for (at, key) in keys.iter().enumerate() {
        match keys[..at].last().map(String::as_str) {
            Some("backends") => out.push_str(&format!("[{key}]")),
            Some(_) => out.push_str(&format!(".{key}")),
            None => out.push_str(key),
        }
    }
    out
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Count(count) => json!(count),
        Value::Text(text) => json!(text),
    }
}

/// All of it as one change of one service. None: it is none, or of something that is not changed so.
fn body(patch: &[Patch]) -> Option<(&str, serde_json::Value)> {
    let (mut service, mut whole) = (None, Map::new());
    for one in patch {
        let [services, name, keys @ ..] = &one.path[..] else {
            return None;
        };
        let known = *service.get_or_insert(name);
        let (last, way) = keys.split_last()?;
        if services != "services" || known != name || !is_changeable(keys.first()?) {
            return None;
        }
        let mut at = &mut whole;
        for key in way {
            let below = at.entry(key.clone()).or_insert_with(|| json!({}));
            at = below.as_object_mut()?;
        }
        let value = one.value.as_ref().map_or(json!(null), json_of);
        at.insert(last.clone(), value);
    }
    Some((service?, whole.into()))
}

fn row(one: Recommendation) -> Advice {
    let subject = place(&one.subject);
    let id = format!("{}:{subject}", one.code.name());
    let named = |at: usize, list: &str| {
        let is = one.subject.get(at).is_some_and(|key| key == list);
        one.subject.get(at + 1).filter(|_| is).cloned()
    };
    let apply = body(&one.patch).map(|(service, body)| Apply {
        method: "PATCH",
        path: format!("/v1/services/{}", part(service)),
        body,
        command: format!("evenkeel recommendations --apply {}", quoted(&id)),
    });
    let service = named(0, "services");
    Advice {
        code: one.code.name(),
        severity: one.severity.name(),
        backend: service.as_ref().and_then(|_| named(2, "backends")),
        service,
        reason: one.reason,
        confidence: one.confidence,
        figures: one.figures.iter().map(figure).collect(),
        patch: (one.patch.iter())
            .map(|patch| AdvicePatch {
                path: place(&patch.path),
                value: patch.value.as_ref().map(json_of),
            })
            .collect(),
        apply,
        id,
        subject,
    }
}

/// As a shell reads it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn figure(one: &Figure) -> AdviceFigure {
    AdviceFigure {
        name: one.name,
        value: one.value,
        unit: one.unit.map(unit),
    }
}

/// What to do about what was seen within an hour, of all services and of the instance.
#[utoipa::path(get, path = "/v1/recommendations", tag = "monitoring",
    responses((status = 200, description = "All that is clear.", body = AdviceList)))]
async fn recommendations(
    State(shown): State<Asked>,
    _: Plain,
) -> Result<Json<AdviceList>, Problem> {
    let all = shown.watch.advice(None)?;
    let items = all.into_iter().map(row).collect();
    Ok(Json(AdviceList { items }))
}

/// What to do about what was seen of a service within an hour.
#[utoipa::path(get, path = "/v1/services/{service}/recommendations", tag = "monitoring",
    params(("service" = String, Path, description = "Its name.")),
    responses((status = 200, description = "All that is clear.", body = AdviceList)))]
async fn service_recommendations(
    State(shown): State<Asked>,
    Name(service): Name,
    _: Plain,
) -> Result<Json<AdviceList>, Problem> {
    let all = shown.watch.advice(Some(&service))?;
    let items = all.into_iter().map(row).collect();
    Ok(Json(AdviceList { items }))
}

resource![recommendations, service_recommendations];

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(path: &[&str], value: Value) -> Patch {
        Patch {
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            value: Some(value),
        }
    }

    #[test]
    fn a_patch_is_one_write_of_one_service() {
        let weights = [
            patch(
                &["services", "a b", "backends", "10.0.0.1:80", "weight"],
                Value::Count(100),
            ),
            patch(
                &["services", "a b", "backends", "two", "weight"],
                Value::Count(50),
            ),
        ];
        let expect =
            json!({ "backends": { "10.0.0.1:80": { "weight": 100 }, "two": { "weight": 50 } } });
        assert_eq!(body(&weights), Some(("a b", expect)));
        let deep = [patch(
            &["services", "api", "retry", "budget", "ratio"],
            Value::Text("30%".into()),
        )];
        let expect = json!({ "retry": { "budget": { "ratio": "30%" } } });
        assert_eq!(body(&deep), Some(("api", expect)));
        assert_eq!(place(&deep[0].path), "services.api.retry.budget.ratio");
        assert_eq!(
            place(&weights[0].path),
            "services.a b.backends[10.0.0.1:80].weight"
        );
        // What the API does not change is said alone.
        let listener = [patch(
            &["listeners", "web", "limits", "connections"],
            Value::Count(9),
        )];
        let file = [patch(
            &["services", "api", "upstream", "tls", "ca"],
            Value::Text("x".into()),
        )];
        let two = [weights[0].clone(), deep[0].clone()];
        for none in [&listener[..], &file, &two, &[]] {
            assert_eq!(body(none), None);
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
