//! Owns what is done about alerts: somebody takes note of one, or has nobody called for a while, or has a
//! receiver told again. None of it changes what is looked for.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use evenkeel_control::Command;
use evenkeel_control::command::{Came, Quiet};
use evenkeel_control::sight::{Kind, Metric};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::acts::Acted;
use super::empty;
use super::seen::{Seen, Written, give};
use crate::contract::Asked;
use crate::contract::asked::{Number, Plain};
use crate::contract::problem::{Problem, Reason};

/// The longest silence, in seconds: a month. None is without an end: who forgets one would never be called again.
const LONGEST: f64 = 31.0 * 24.0 * 3600.0;

/// Characters of why, and of names.
const TEXT_MOST: usize = 256;

/// Whom not to call, for what and how long. What is absent is any.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wish {
    service: Option<String>,
    backend: Option<String>,
    /// As an alert has it.
    #[schema(example = "down")]
    kind: Option<String>,
    /// The figure, of a `threshold`.
    metric: Option<String>,
    /// For so long: above 0, at most a month.
    #[schema(exclusive_minimum = 0.0, maximum = 2_678_400.0)]
    for_seconds: f64,
    /// Why, for who reads it later.
    #[schema(example = "planned work")]
    why: String,
}

/// A silence that has begun.
#[derive(Serialize, ToSchema)]
struct Silenced {
    /// Its number.
    number: u64,
}

/// Takes note of an alert: it stays until it is right again, and who asks sees that somebody knows.
#[utoipa::path(post, path = "/v1/alerts/{alert}/acknowledge", tag = "monitoring",
    params(("alert" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "It is noted who knows.", body = Acted)))]
async fn acknowledge(
    State(shown): State<Asked>,
    Number(alert): Number,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Acted>, Problem> {
    empty(&body)?;
    let answer = give(&shown, seen, Command::Acknowledge(alert)).await?;
    Ok(Written::of(answer.revision, Acted { count: 1 }))
}

/// Has nobody called for some alerts for a while. They are raised and told as ever, and marked.
#[utoipa::path(post, path = "/v1/silences", tag = "monitoring",
    request_body(content = Wish, content_type = "application/json", example = json!({ "service": "api", "for_seconds": 3600, "why": "planned work" })),
    responses((status = 200, description = "It has begun.", body = Silenced)))]
async fn silence(
    State(shown): State<Asked>,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Silenced>, Problem> {
    let quiet = read(&body)?;
    let answer = give(&shown, seen, Command::Silence(quiet)).await?;
    let number = match answer.came {
        Came::Acted(number) => number,
        _ => 0,
    };
    Ok(Written::of(answer.revision, Silenced { number }))
}

/// Ends a silence.
#[utoipa::path(delete, path = "/v1/silences/{silence}", tag = "monitoring",
    params(("silence" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "It has ended.", body = Acted)))]
async fn lift(
    State(shown): State<Asked>,
    Number(silence): Number,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Acted>, Problem> {
    empty(&body)?;
    let answer = give(&shown, seen, Command::Lift(silence)).await?;
    Ok(Written::of(answer.revision, Acted { count: 1 }))
}

/// Tells a receiver again what it could not be told: behind what waits, by the same id.
#[utoipa::path(post, path = "/v1/webhooks/dead/{letter}/again", tag = "monitoring",
    params(("letter" = u64, Path, description = "The dead letter's number.")),
    responses((status = 200, description = "It waits to be told.", body = Acted)))]
async fn tell_again(
    State(shown): State<Asked>,
    Number(letter): Number,
    _: Plain,
    seen: Seen,
    body: Bytes,
) -> Result<Written<Acted>, Problem> {
    empty(&body)?;
    let answer = give(&shown, seen, Command::TellAgain(letter)).await?;
    Ok(Written::of(answer.revision, Acted { count: 1 }))
}

fn read(body: &[u8]) -> Result<Quiet, Problem> {
    let wrong = |why: String| Problem::new(Reason::Body, why);
    let wish: Wish = serde_json::from_slice(body)
        .map_err(|error| wrong(format!("the body is not understood: {error}")))?;
    if !(wish.for_seconds > 0.0 && wish.for_seconds <= LONGEST) {
        let why = format!("`for_seconds` is above 0 and at most {LONGEST}");
        return Err(wrong(why));
    }
    let texts = [
        Some(&wish.why),
        wish.service.as_ref(),
        wish.backend.as_ref(),
    ];
    let long = |text: &&String| text.chars().count() > TEXT_MOST;
    if texts.into_iter().flatten().any(|text| long(&text)) {
        let why = format!("`why`, `service` and `backend` have at most {TEXT_MOST} characters");
        return Err(wrong(why));
    }
    let kind = kind(wish.kind.as_deref(), wish.metric.as_deref()).map_err(wrong)?;
    Ok(Quiet {
        service: wish.service,
        backend: wish.backend,
        kind,
        within: Duration::from_secs_f64(wish.for_seconds),
        why: wish.why,
    })
}

fn kind(word: Option<&str>, metric: Option<&str>) -> Result<Option<Kind>, String> {
    let Some(word) = word else {
        return match metric {
            None => Ok(None),
            Some(_) => Err("`metric` goes with `kind: threshold`".to_owned()),
        };
    };
    let known =
        Kind::all().find(|one| one.name() == word && one.metric().map(Metric::name) == metric);
    known.map(Some).ok_or_else(|| {
        "there is no such kind of alert; a `threshold` takes the `metric` that it is of".to_owned()
    })
}

resource![acknowledge, silence, lift, tell_again];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_says_how_long_and_of_what() {
        let check = |body: &str, expect: Option<Option<Kind>>| {
            let got = read(body.as_bytes()).map(|quiet| quiet.kind);
            let got = got.map_err(|problem| assert_eq!(problem.reason(), Reason::Body));
            assert_eq!(got.ok(), expect, "{body}");
        };
        let with = |more: &str| format!("{{\"for_seconds\": 60, \"why\": \"work\"{more}}}");
        check(&with(""), Some(None));
        check(&with(", \"kind\": \"down\""), Some(Some(Kind::Down)));
        let p95 = Some(Some(Kind::Threshold(Metric::P95)));
        check(&with(", \"kind\": \"threshold\", \"metric\": \"p95\""), p95);
        check(&with(", \"kind\": \"threshold\""), None);
        check(&with(", \"kind\": \"down\", \"metric\": \"p95\""), None);
        check(&with(", \"metric\": \"p95\""), None);
        check(&with(", \"kind\": \"late\""), None);
        check(&with(", \"until\": 3"), None);
        check("{\"why\": \"work\"}", None);
        for seconds in ["0", "-1", "2678401", "1e999"] {
            check(
                &format!("{{\"for_seconds\": {seconds}, \"why\": \"\"}}"),
                None,
            );
        }
        let long = "x".repeat(TEXT_MOST + 1);
        check(
            &format!("{{\"for_seconds\": 1, \"why\": \"{long}\"}}"),
            None,
        );
    }
}
