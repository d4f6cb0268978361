//! Owns the keys of `rate:`, of a rule and of a listener.

use super::{Absent, Keys, Shape, key};
use crate::limits;

/// What each of `per` may be in a word; of a rule the second is none, of a listener the third.
pub(crate) const RATE_WORDS: &[&str] = &["client", "listener", "rule", "path"];

/// One rate limit.
pub(crate) static RATE: Keys = Keys {
    place: "rules.*.limits.rate",
    what: "a rate limit",
    keys: &[
        key(
            "per",
            Shape::List(&Shape::WordOr(RATE_WORDS, "", &RATE_PER)),
            Absent::These(&["client"]),
            "Whom it counts; of several all together. `rule` (of a listener: `listener`): everybody as one.",
        ),
        key(
            "allow",
            Shape::Allowance,
            Absent::Never,
            "How many pass, evenly, of each of those.",
        ),
        key(
            "burst",
            Shape::Number(1, limits::RATE_BURST as u64),
            Absent::No("what `allow` lets pass in a second, at least 1"),
            "How many pass at once behind a rest.",
        ),
        key(
            "keys",
            Shape::Number(1, limits::RATE_KEYS_MOST as u64),
            Absent::Is(|| limits::RATE_KEYS.to_string()),
            "So many are told apart, some 40 bytes each; beyond, who has asked least is forgotten.",
        ),
        key(
            "ipv6_prefix",
            Shape::Number(1, 128),
            Absent::Is(|| limits::RATE_IPV6_PREFIX.to_string()),
            "Clients of IPv6 whose addresses begin with the same bits are one.",
        ),
        key(
            "shadow",
            Shape::Boolean,
            Absent::Is(|| "false".into()),
            "Only counts what it would refuse.",
        ),
        key(
            "fields",
            Shape::Boolean,
            Absent::Is(|| "false".into()),
            "Whether answers of requests that pass have `RateLimit` and `RateLimit-Policy` too; those that are refused always have them.",
        ),
    ],
    one_of: &[],
};

/// One of `per` that is a map.
pub(crate) static RATE_PER: Keys = Keys {
    place: "rules.*.limits.rate.per.*",
    what: "per",
    keys: &[
        key(
            "header",
            Shape::Text,
            Absent::Nothing,
            "By the value of the field of this name, `host` as rules see it; requests with none, or with several, are one.",
        ),
        key(
            "cookie",
            Shape::Text,
            Absent::Nothing,
            "By the value of the cookie of this name; requests with none, or with several, are one.",
        ),
        key(
            "path",
            Shape::Number(1, limits::RATE_SEGMENTS as u64),
            Absent::Nothing,
            "By so many segments that the path begins with; the word `path`: by all of it.",
        ),
    ],
    one_of: &["header", "cookie", "path"],
};
