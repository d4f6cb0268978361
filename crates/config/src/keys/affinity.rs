//! Owns the keys of `affinity:` of a service.

use evenkeel_balance::affinity::ClientsSettings;

use super::{Absent, Key, Keys, Shape, key, written};
use crate::limits;

/// `affinity:` of a service.
pub(crate) static AFFINITY: Keys = Keys {
    place: "services.*.affinity",
    what: "affinity",
    keys: &[
        key(
            "cookie",
            Shape::Map(&AFFINITY_COOKIE),
            Absent::Nothing,
            "A cookie of ours, which says where the client is kept; signed, and opaque.",
        ),
        key(
            "app_cookie",
            Shape::Short(Some("name"), &APP_COOKIE),
            Absent::Nothing,
            "A cookie that the application sets: who shows it again is kept where it was set. Beside it stands one of ours, which says where that is.",
        ),
        key(
            "source",
            Shape::TrueOr(&AFFINITY_SOURCE),
            Absent::Nothing,
            "The client's address.",
        ),
        key(
            "draining",
            Shape::Words(&["keep", "move"]),
            Absent::Is(|| "keep".into()),
            "Clients of a backend that drains: kept for as long as `drain` says, or moved at once.",
        ),
    ],
    one_of: &["cookie", "app_cookie", "source"],
};

/// `cookie:` of it.
pub(crate) static AFFINITY_COOKIE: Keys = Keys {
    place: "services.*.affinity.cookie",
    what: "cookie",
    keys: &[
        key(
            "name",
            Shape::Text,
            Absent::No("`keel-` and eight digits that the service's name gives"),
            "Its name; of its own where one client meets several services.",
        ),
        key(
            "ttl",
            Shape::Duration,
            Absent::Is(|| written::duration(limits::AFFINITY_TTL)),
            "How long it lasts, 10s to 7d, renewed on the way; `0s`: until the browser is closed.",
        ),
        key(
            "path",
            Shape::Text,
            Absent::Is(|| "/".into()),
            "Its `Path`.",
        ),
        key(
            "domain",
            Shape::Text,
            Absent::No("the host that was asked, and no other"),
            "Its `Domain`.",
        ),
        key(
            "same_site",
            Shape::Words(&["lax", "strict", "none"]),
            Absent::Is(|| "lax".into()),
            "Its `SameSite`; `none` is for clients that come by TLS only.",
        ),
        key(
            "http_only",
            Shape::Boolean,
            Absent::Is(|| "true".into()),
            "Whether it has `HttpOnly`: scripts do not see it.",
        ),
    ],
    one_of: &[],
};

const TTL: Key = key(
    "ttl",
    Shape::Wait,
    Absent::Is(|| written::duration(ClientsSettings::default().ttl)),
    "A client that was not seen for so long is forgotten.",
);

const CLIENTS: Key = key(
    "clients",
    Shape::Number(1_000, limits::AFFINITY_CLIENTS as u64),
    Absent::Is(|| ClientsSettings::default().most.to_string()),
    "The most that are remembered, some 100 bytes each; beyond, the one goes that was not seen for longest.",
);

/// `app_cookie:` of it.
pub(crate) static APP_COOKIE: Keys = Keys {
    place: "services.*.affinity.app_cookie",
    what: "app_cookie",
    keys: &[
        key("name", Shape::Text, Absent::Never, "Its name."),
        TTL,
        CLIENTS,
    ],
    one_of: &[],
};

/// `source:` of it.
pub(crate) static AFFINITY_SOURCE: Keys = Keys {
    place: "services.*.affinity.source",
    what: "source",
    keys: &[
        TTL,
        CLIENTS,
        key(
            "ipv6_prefix",
            Shape::Number(32, 128),
            Absent::Is(|| limits::AFFINITY_IPV6_PREFIX.to_string()),
            "So many bits of an address of IPv6 are one client; 128: each address is one.",
        ),
    ],
    one_of: &[],
};
