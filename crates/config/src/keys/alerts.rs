//! Owns the keys of `alerts:`.

use super::{Absent, Keys, Shape, key, written};
use crate::limits;

/// `alerts:`
pub(crate) static ALERTS: Keys = Keys {
    place: "alerts",
    what: "alerts",
    keys: &[key(
        "webhooks",
        Shape::List(&Shape::Map(&WEBHOOK)),
        Absent::Never,
        "Receivers over HTTP.",
    )],
    one_of: &[],
};

/// What becomes of an alert, in the order of the plan's.
const TURNS: &[&str] = &["raised", "cleared"];

/// One webhook.
pub(crate) static WEBHOOK: Keys = Keys {
    place: "alerts.webhooks.*",
    what: "a webhook",
    keys: &[
        key(
            "name",
            Shape::Text,
            Absent::Never,
            "What metrics and logs call it.",
        ),
        key(
            "to",
            Shape::Text,
            Absent::Never,
            "Where it is, like `https://hooks.example:443/alerts`. A path that is a secret is best read from the environment: `https://hooks.example:443/${HOOK}`.",
        ),
        key(
            "secret",
            Shape::Text,
            Absent::No("they are not signed"),
            "A file of 16 to 1024 bytes, a line end behind them aside, by which alerts are signed (HMAC-SHA256).",
        ),
        key(
            "events",
            Shape::List(&Shape::Words(TURNS)),
            Absent::These(TURNS),
            "Of which turns it is told.",
        ),
        key(
            "severity",
            Shape::Words(&["info", "warning", "critical"]),
            Absent::Is(|| "info".into()),
            "How loud an alert is at least that it is told of.",
        ),
        key(
            "headers",
            Shape::Free(&Shape::Veiled),
            Absent::No("none"),
            "Fields that it wants, a token for one; their values are not shown.",
        ),
        key(
            "ca",
            Shape::Text,
            Absent::No("the system's"),
            "A PEM file with the issuers that are trusted to name an `https://` receiver.",
        ),
        key(
            "timeout",
            Shape::Wait,
            Absent::Is(|| written::duration(limits::WEBHOOK_WITHIN)),
            "One attempt, at most a minute.",
        ),
        key(
            "attempts",
            Shape::Number(1, limits::WEBHOOK_ATTEMPTS_MOST as u64),
            Absent::Is(|| limits::WEBHOOK_ATTEMPTS.to_string()),
            "Attempts to tell of one alert; then it is dropped, and counted.",
        ),
    ],
    one_of: &[],
};
