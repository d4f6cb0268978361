//! Owns the keys of `access_log:`.

use super::{Absent, Keys, Shape, key};

/// `access_log:`
pub(crate) static ACCESS_LOG: Keys = Keys {
    place: "access_log",
    what: "access_log",
    keys: &[
        key(
            "to",
            Shape::Text,
            Absent::Is(|| "stdout".into()),
            "`stdout`, `stderr`, or a file: a path with a slash, which begins beside this file if it is relative. SIGUSR1 opens it anew.",
        ),
        key(
            "format",
            Shape::Words(&["json", "common", "combined"]),
            Absent::Is(|| "json".into()),
            "An object per line, or the formats that Apache calls so.",
        ),
        key(
            "query",
            Shape::Words(&["redacted", "full", "none"]),
            Absent::Is(|| "redacted".into()),
            "What is written of queries: without the values of keys that sound like secrets, as they came, or nothing.",
        ),
        key(
            "client",
            Shape::Words(&["full", "truncated"]),
            Absent::Is(|| "full".into()),
            "Addresses of clients and peers: whole, or cut to their first 24 (IPv4) or 48 (IPv6) bits.",
        ),
    ],
    one_of: &[],
};
