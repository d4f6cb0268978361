//! Owns the keys of a file of cases, which is no part of a configuration: requests, and what each is to meet.

use super::{Absent, Keys, Shape, key};

/// One case.
pub(crate) static CASE: Keys = Keys {
    place: "cases.*",
    what: "a case",
    keys: &[
        key(
            "request",
            Shape::Text,
            Absent::Never,
            "Method and URL: `GET https://api.example.com/v1/x`.",
        ),
        key(
            "headers",
            Shape::Free(&Shape::List(&Shape::Text)),
            Absent::Nothing,
            "Its fields.",
        ),
        key(
            "from",
            Shape::Text,
            Absent::Is(|| "127.0.0.1".into()),
            "The address that connects.",
        ),
        key(
            "listener",
            Shape::Text,
            Absent::No("each that has the URL's port; each, if none has"),
            "The listener that it connects to.",
        ),
        key(
            "cert",
            Shape::Text,
            Absent::No("none"),
            "A PEM file with the certificate that it shows, where the listener asks for one; a relative name begins beside this file.",
        ),
        key(
            "rule",
            Shape::Text,
            Absent::Nothing,
            "The rule that it meets.",
        ),
        key(
            "service",
            Shape::List(&Shape::Text),
            Absent::Nothing,
            "The service that its rule sends it to; of a split, all that it may go to.",
        ),
        key(
            "share",
            Shape::Free(&Shape::Share),
            Absent::Nothing,
            "The services that it may go to, and the part of such requests that each gets.",
        ),
        key(
            "fallback",
            Shape::Text,
            Absent::Nothing,
            "The service that takes it when that one refuses.",
        ),
        key(
            "backend",
            Shape::Text,
            Absent::Nothing,
            "The backend that it goes to, where only one may be picked.",
        ),
        key(
            "status",
            Shape::Number(100, 599),
            Absent::Nothing,
            "The status of an answer that is made here.",
        ),
        key(
            "reason",
            Shape::Text,
            Absent::Nothing,
            "Why an answer is made here: a word, like `no_rule`.",
        ),
        key(
            "location",
            Shape::Text,
            Absent::Nothing,
            "Where a redirect leads.",
        ),
        key(
            "path",
            Shape::Text,
            Absent::Nothing,
            "The path that the backend gets, without query.",
        ),
        key(
            "query",
            Shape::Text,
            Absent::Nothing,
            "The query that the backend gets; empty: none.",
        ),
        key(
            "host",
            Shape::Text,
            Absent::Nothing,
            "The `Host` that the backend gets.",
        ),
    ],
    one_of: &[],
};
