//! Owns what a receiver is told of an alert, and how that is signed: ids, times and signatures as Standard Webhooks 1.0 has them, so that
//! receivers find a library that checks them.

use std::time::Duration;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use bytes::Bytes;
use evenkeel_watch::alert::Alert;
use evenkeel_watch::metric::{Metric, Unit};
use evenkeel_watch::threshold::Evidence;
use evenkeel_watch::time::Moment;
use evenkeel_wire::base64;
use serde_json::{Value, json};

/// The same over all attempts of a message, and when it is sent again by hand: who has had it drops it.
const ID: &str = "webhook-id";
/// When the attempt began, in seconds since 1970: an old one that somebody recorded is not taken.
const TIMESTAMP: &str = "webhook-timestamp";
/// `v1,` and the signature in base64.
const SIGNATURE: &str = "webhook-signature";

/// One turn of an alert, as it is told.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    /// `alert_raised` or `alert_cleared`.
    pub(super) kind: &'static str,
    /// The alert's number.
    pub(super) alert: u64,
    pub(super) service: String,
    pub(super) backend: Option<String>,
    pub(super) text: Bytes,
}

impl Message {
    /// `id` is of this turn and no other.
    pub(super) fn of(alert: &Alert, silenced: bool, id: String, at: Duration) -> Self {
        let kind = match alert.cleared {
            None => "alert_raised",
            Some(_) => "alert_cleared",
        };
        let text = json!({
            "type": kind,
            "id": id,
            "at_seconds": at.as_secs_f64(),
            "alert": row(alert, silenced),
        });
        Self {
            id,
            kind,
            alert: alert.number,
            service: alert.service.clone(),
            backend: alert.backend.clone(),
            text: text.to_string().into(),
        }
    }

    /// The fields of an attempt at this time.
    pub(super) fn fields(&self, key: Option<&[u8]>, now: Duration) -> Vec<(&'static str, String)> {
        let time = now.as_secs().to_string();
        let signature = key.map(|key| {
            let signed = [self.id.as_bytes(), b".", time.as_bytes(), b".", &self.text].concat();
            let tag = sign(&Key::new(HMAC_SHA256, key), &signed);
            (SIGNATURE, format!("v1,{}", base64::text(tag.as_ref())))
        });
        let mut fields = vec![(ID, self.id.clone()), (TIMESTAMP, time)];
        fields.extend(signature);
        fields
    }
}

/// As `/v1/alerts` has it; what is not there is left out.
fn row(alert: &Alert, silenced: bool) -> Value {
    let mut row = json!({
        "number": alert.number,
        "service": alert.service,
        "kind": alert.kind.name(),
        "severity": alert.severity.name(),
        "state": if alert.cleared.is_some() { "cleared" } else { "open" },
        "since_seconds": seconds(alert.since),
        "flapping": alert.flapping,
        "silenced": silenced,
    });
    let noted = alert.acknowledged.as_ref();
    for (key, value) in [
        ("backend", alert.backend.as_deref().map(Value::from)),
        (
            "metric",
            alert.kind.metric().map(|one| Metric::name(one).into()),
        ),
        (
            "cleared_seconds",
            alert.cleared.map(|at| seconds(at).into()),
        ),
        (
            "acknowledged",
            noted.map(|(by, at)| json!({ "by": by, "at_seconds": seconds(*at) })),
        ),
        ("evidence", alert.evidence.as_ref().map(evidence)),
    ] {
        if let Some(value) = value {
            row[key] = value;
        }
    }
    row
}

fn evidence(seen: &Evidence) -> Value {
    json!({
        "value": seen.value,
        "limit": seen.limit,
        "unit": match seen.unit {
            Unit::Seconds => "seconds",
            Unit::PerSecond => "per_second",
            Unit::Share => "share",
        },
        "requests": seen.requests,
        "over_seconds": seen.seconds,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a date are far below 2^53"
)]
const fn seconds(at: Moment) -> f64 {
    at.as_millis() as f64 / 1e3
}
