//! Owns the keys of `traces:`.

use super::{Absent, Keys, Shape, key};
use crate::plan::traces::SERVICE;

/// `traces:`
pub(crate) static TRACES: Keys = Keys {
    place: "traces",
    what: "traces",
    keys: &[
        key(
            "to",
            Shape::Text,
            Absent::Never,
            "The collector, which takes OTLP over HTTP as JSON, like `http://127.0.0.1:4318`; its path is `/v1/traces` unless another one is said.",
        ),
        key(
            "share",
            Shape::Share,
            Absent::Is(|| "0%".into()),
            "So many of the exchanges of which no trusted peer has decided by its `traceparent`, drawn by chance.",
        ),
        key(
            "service",
            Shape::Text,
            Absent::Is(|| SERVICE.into()),
            "What the instance is called there, `service.name`.",
        ),
        key(
            "headers",
            Shape::Free(&Shape::Veiled),
            Absent::No("none"),
            "Fields that the collector wants, a token for one; their values are not shown.",
        ),
        key(
            "ca",
            Shape::Text,
            Absent::No("the system's"),
            "A PEM file with the issuers that are trusted to name an `https://` collector.",
        ),
    ],
    one_of: &[],
};
