//! Owns `/v1/webhooks`: who is told of alerts over HTTP, how that goes, and what could not be told. How that is told again stands in
//! `changes/notes`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use evenkeel_control::webhooks::{HookPart, LetterPart};
use serde::Serialize;
use utoipa::ToSchema;

use crate::contract::Asked;
use crate::contract::asked::Plain;

/// Who is told of alerts, and what could not be told.
#[derive(Serialize, ToSchema)]
struct Webhooks {
    /// In the order of the configuration.
    receivers: Vec<Webhook>,
    /// What could not be told: at most 64 of each receiver, its oldest first.
    dead: Vec<DeadLetter>,
}

/// A receiver of alerts.
#[derive(Serialize, ToSchema)]
struct Webhook {
    name: String,
    /// Where it is. Its path is not shown: it may be a secret.
    #[schema(example = "https://hooks.example:443")]
    to: String,
    /// Attempts fail one after another.
    failing: bool,
    /// Messages that wait, that which is being told among them: at most 257.
    waiting: usize,
    /// Messages that it took.
    delivered: u64,
    /// Attempts that were not the first of their message.
    again: u64,
    /// Messages that it refused for good.
    refused: u64,
    /// Messages that were tried as often as may be.
    given_up: u64,
    /// Messages that were not tried, as too many waited.
    crowded: u64,
    /// Dead letters that are kept no more, as newer ones took their place.
    forgotten: u64,
    /// Of the last attempt that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<WebhookError>,
}

/// Why an attempt failed.
#[derive(Serialize, ToSchema)]
struct WebhookError {
    #[schema(example = "it answers 503")]
    why: String,
    /// In seconds since 1970.
    at_seconds: f64,
}

/// A message that could not be told.
#[derive(Serialize, ToSchema)]
struct DeadLetter {
    /// Its number; no other of this process has it.
    number: u64,
    /// The receiver's name.
    webhook: String,
    /// The message's id, as the receiver got it in `webhook-id`.
    id: String,
    /// `alert_raised` or `alert_cleared`.
    #[serde(rename = "type")]
    #[schema(example = "alert_raised")]
    kind: &'static str,
    /// The alert's number.
    alert: u64,
    service: String,
    /// Absent where the alert is the service's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    why: String,
    /// How often it was tried.
    attempts: u32,
    /// When it was given up, in seconds since 1970.
    at_seconds: f64,
}

fn receiver(one: HookPart) -> Webhook {
    let error = |(why, at): (String, Duration)| WebhookError {
        why,
        at_seconds: at.as_secs_f64(),
    };
    Webhook {
        name: (*one.name).to_owned(),
        to: one.to,
        failing: one.failing,
        waiting: one.waiting,
        delivered: one.counts.delivered,
        again: one.counts.again,
        refused: one.counts.refused,
        given_up: one.counts.given_up,
        crowded: one.counts.crowded,
        forgotten: one.counts.forgotten,
        last_error: one.last_error.map(error),
    }
}

fn letter(one: LetterPart) -> DeadLetter {
    DeadLetter {
        number: one.number,
        webhook: (*one.webhook).to_owned(),
        id: one.id,
        kind: one.kind,
        alert: one.alert,
        service: one.service,
        backend: one.backend,
        why: one.why,
        attempts: one.attempts,
        at_seconds: one.at.as_secs_f64(),
    }
}

/// Who is told of alerts, how that goes, and what could not be told.
#[utoipa::path(get, path = "/v1/webhooks", tag = "monitoring",
    responses((status = 200, description = "All of them.", body = Webhooks)))]
async fn webhooks(State(shown): State<Asked>, _: Plain) -> Json<Webhooks> {
    let (receivers, dead) = shown.watch.webhooks();
    Json(Webhooks {
        receivers: receivers.into_iter().map(receiver).collect(),
        dead: dead.into_iter().map(letter).collect(),
    })
}

resource![webhooks];
