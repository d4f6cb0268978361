//! Owns the keys of `health:`.

use evenkeel_balance::settings::ActiveSettings;

use super::{Absent, Key, Keys, Shape, key, written};
use crate::limits;

/// `health:`
pub(crate) static HEALTH: Keys = Keys {
    place: "services.*.health",
    what: "health",
    keys: &[
        key(
            "http",
            Shape::Map(&HTTP_CHECK),
            Absent::Nothing,
            "An answer of HTTP is expected.",
        ),
        key(
            "grpc",
            Shape::Bare(&GRPC_CHECK),
            Absent::Nothing,
            "`SERVING` is expected, by the gRPC health checking protocol.",
        ),
        key(
            "tcp",
            Shape::Bare(&TCP_CHECK),
            Absent::Nothing,
            "A connection is expected.",
        ),
        key(
            "interval",
            Shape::Wait,
            Absent::Is(|| written::duration(limits::CHECK_EVERY)),
            "From one check to the next, 10 ms to a day.",
        ),
        key(
            "interval_unsure",
            Shape::Wait,
            Absent::AtMost("interval", || limits::CHECK_UNSURE),
            "The same while a backend is in doubt.",
        ),
        key(
            "interval_down",
            Shape::Wait,
            Absent::Same("interval"),
            "The same while a backend is down.",
        ),
        key(
            "timeout",
            Shape::Wait,
            Absent::Is(|| written::duration(limits::CHECK_WITHIN)),
            "A check without an end by then has failed.",
        ),
        key(
            "rise",
            Shape::Number(1, 1000),
            Absent::Is(|| ActiveSettings::default().rise.to_string()),
            "Passed checks in a row that bring a backend up.",
        ),
        key(
            "fall",
            Shape::Number(1, 1000),
            Absent::Is(|| ActiveSettings::default().fall.to_string()),
            "Failed checks in a row that bring a backend down.",
        ),
        key(
            "port",
            Shape::Number(1, 65_535),
            Absent::No("the backend's"),
            "Another port.",
        ),
        key(
            "address",
            Shape::Text,
            Absent::No("the backend's"),
            "Another address.",
        ),
    ],
    one_of: &["http", "grpc", "tcp"],
};

/// `http:` of a check.
pub(crate) static HTTP_CHECK: Keys = Keys {
    place: "services.*.health.http",
    what: "http",
    keys: &[
        key(
            "path",
            Shape::Text,
            Absent::Is(|| limits::CHECK_PATH.into()),
            "Path and query.",
        ),
        key(
            "method",
            Shape::Text,
            Absent::Is(|| limits::CHECK_METHOD.into()),
            "Its method.",
        ),
        key(
            "host",
            Shape::Text,
            Absent::No("the backend's address"),
            "Its `Host`.",
        ),
        key(
            "headers",
            Shape::Free(&Shape::Veiled),
            Absent::No("none"),
            "More fields; their values are not shown.",
        ),
        key(
            "expect",
            Shape::List(&Shape::Text),
            Absent::Is(|| {
                let (from, to) = limits::CHECK_EXPECT;
                format!("{from}-{to}")
            }),
            "Statuses that pass, like `200` or `200-299`.",
        ),
        key(
            "body",
            Shape::Short(None, &BODY),
            Absent::No("any body"),
            "A text that the first 64 KiB of the body must hold, or an expression.",
        ),
        key(
            "protocol",
            Shape::Words(&["upstream", "http1", "http2"]),
            Absent::Is(|| "upstream".into()),
            "Which HTTP it speaks: as traffic to the backends, HTTP/1.1, or HTTP/2.",
        ),
        CHECK_TLS,
    ],
    one_of: &[],
};

/// Whether a check follows `upstream.tls`.
const CHECK_TLS: Key = key(
    "tls",
    Shape::Words(&["upstream", "off"]),
    Absent::Is(|| "upstream".into()),
    "As `upstream.tls` has it, or plain text all the same.",
);

/// `grpc:` of a check.
pub(crate) static GRPC_CHECK: Keys = Keys {
    place: "services.*.health.grpc",
    what: "grpc",
    keys: &[
        key(
            "service",
            Shape::Text,
            Absent::No("the backend as a whole"),
            "The service that the backend is asked about.",
        ),
        key(
            "host",
            Shape::Text,
            Absent::No("the backend's address"),
            "Its `:authority`.",
        ),
        CHECK_TLS,
    ],
    one_of: &[],
};

/// What a check's body must be like, but for a text.
pub(crate) static BODY: Keys = Keys {
    place: "services.*.health.http.body",
    what: "body",
    keys: &[key(
        "regex",
        Shape::Text,
        Absent::Never,
        "An expression that must be found in it.",
    )],
    one_of: &["regex"],
};

/// `tcp:` of a check.
pub(crate) static TCP_CHECK: Keys = Keys {
    place: "services.*.health.tcp",
    what: "tcp",
    keys: &[],
    one_of: &[],
};
