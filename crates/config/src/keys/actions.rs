//! Owns the keys of what a rule does.

use super::{Absent, Keys, Shape, key, written};
use crate::limits;

/// `redirect:`
pub(crate) static REDIRECT: Keys = Keys {
    place: "rules.*.redirect",
    what: "redirect",
    keys: &[
        key(
            "status",
            Shape::Number(300, 399),
            Absent::Is(|| limits::REDIRECT_STATUS.to_string()),
            "301, 302, 303, 307 or 308.",
        ),
        key(
            "scheme",
            Shape::Words(&["http", "https", "#{protocol}"]),
            Absent::No("the request's"),
            "Another scheme.",
        ),
        key(
            "host",
            Shape::Text,
            Absent::No("the request's"),
            "Another host; `#{host}` and the like, and `$1` of the rule's path expression, may stand in it, in path and in query.",
        ),
        key(
            "port",
            Shape::NumberOr("#{port}", 1, 65_535),
            Absent::No("the request's, or the scheme's"),
            "Another port, or the request's whatever the scheme.",
        ),
        key(
            "path",
            Shape::Text,
            Absent::No("the request's"),
            "Another path; the request's has no leading slash in it: `/new/#{path}`.",
        ),
        key(
            "query",
            Shape::Text,
            Absent::No("the request's"),
            "Another query; empty removes it.",
        ),
    ],
    one_of: &[],
};

/// `respond:`
pub(crate) static RESPOND: Keys = Keys {
    place: "rules.*.respond",
    what: "respond",
    keys: &[
        key(
            "status",
            Shape::Number(200, 599),
            Absent::Is(|| limits::RESPOND_STATUS.to_string()),
            "Its status.",
        ),
        key(
            "content_type",
            Shape::Text,
            Absent::Is(|| limits::RESPOND_TYPE.into()),
            "Its media type.",
        ),
        key(
            "body",
            Shape::Text,
            Absent::No("empty"),
            "Its body, at most 64 KiB.",
        ),
    ],
    one_of: &[],
};

/// `deny:`
pub(crate) static DENY: Keys = Keys {
    place: "rules.*.deny",
    what: "deny",
    keys: &[key(
        "status",
        Shape::Number(400, 599),
        Absent::Is(|| limits::DENY_STATUS.to_string()),
        "Its status.",
    )],
    one_of: &[],
};

/// `forward:` that says more than weights.
pub(crate) static SPLIT: Keys = Keys {
    place: "rules.*.forward",
    what: "forward",
    keys: &[
        key(
            "to",
            Shape::Free(&Shape::Number(0, limits::SPLIT_WEIGHT as u64)),
            Absent::Never,
            "Services with their weights.",
        ),
        key(
            "affinity",
            Shape::Map(&SPLIT_AFFINITY),
            Absent::No("each exchange is drawn by itself"),
            "What keeps a client with its service.",
        ),
    ],
    one_of: &[],
};

/// `affinity:` of a split.
pub(crate) static SPLIT_AFFINITY: Keys = Keys {
    place: "rules.*.forward.affinity",
    what: "affinity",
    keys: &[
        key(
            "cookie",
            Shape::Map(&SPLIT_COOKIE),
            Absent::Nothing,
            "A cookie, set anew with each answer.",
        ),
        key(
            "source",
            Shape::Boolean,
            Absent::Nothing,
            "The client's address.",
        ),
    ],
    one_of: &["cookie", "source"],
};

/// `cookie:` of a split.
pub(crate) static SPLIT_COOKIE: Keys = Keys {
    place: "rules.*.forward.affinity.cookie",
    what: "cookie",
    keys: &[
        key(
            "name",
            Shape::Text,
            Absent::Is(|| limits::SPLIT_COOKIE.into()),
            "Its name; of its own where one client meets several splits.",
        ),
        key(
            "ttl",
            Shape::Wait,
            Absent::Is(|| written::duration(limits::SPLIT_TTL)),
            "How long it lasts, 1s to 7d.",
        ),
    ],
    one_of: &[],
};

/// `fallback:`
pub(crate) static FALLBACK: Keys = Keys {
    place: "rules.*.fallback",
    what: "fallback",
    keys: &[
        key(
            "forward",
            Shape::Text,
            Absent::Nothing,
            "Another service; what it refuses is answered.",
        ),
        key(
            "redirect",
            Shape::Map(&REDIRECT),
            Absent::Nothing,
            "Sends the client elsewhere.",
        ),
        key(
            "respond",
            Shape::Map(&RESPOND),
            Absent::Nothing,
            "Answers here.",
        ),
    ],
    one_of: &["forward", "redirect", "respond"],
};

/// `rewrite:`
pub(crate) static REWRITE: Keys = Keys {
    place: "rules.*.rewrite",
    what: "rewrite",
    keys: &[
        key(
            "prefix",
            Shape::Map(&REWRITE_PREFIX),
            Absent::Nothing,
            "Another begin of the path.",
        ),
        key(
            "regex",
            Shape::Map(&REWRITE_REGEX),
            Absent::Nothing,
            "Another path, by an expression.",
        ),
        key(
            "host",
            Shape::Short(None, &REWRITE_HOST),
            Absent::No("the request's"),
            "Another `Host`, perhaps with a port. `X-Forwarded-Host` keeps the client's.",
        ),
        key(
            "request_headers",
            Shape::Map(&REQUEST_EDITS),
            Absent::Nothing,
            "Fields that the backend gets.",
        ),
        key(
            "response_headers",
            Shape::Map(&RESPONSE_EDITS),
            Absent::Nothing,
            "Fields that the client gets, with every answer that follows this rule.",
        ),
    ],
    one_of: &[],
};

/// `prefix:` of a rewrite.
pub(crate) static REWRITE_PREFIX: Keys = Keys {
    place: "rules.*.rewrite.prefix",
    what: "prefix",
    keys: &[
        key(
            "from",
            Shape::Text,
            Absent::Never,
            "Such paths and those below, by whole segments; others stay.",
        ),
        key(
            "to",
            Shape::Text,
            Absent::Never,
            "What stands in its place.",
        ),
    ],
    one_of: &[],
};

/// `regex:` of a rewrite.
pub(crate) static REWRITE_REGEX: Keys = Keys {
    place: "rules.*.rewrite.regex",
    what: "regex",
    keys: &[
        key(
            "match",
            Shape::Text,
            Absent::Never,
            "An expression, searched in the path: anchor it yourself. No match: the path stays.",
        ),
        key(
            "to",
            Shape::Text,
            Absent::Never,
            "What stands in the place of what matched, with `$1` and the like; behind a `?` the new query.",
        ),
    ],
    one_of: &[],
};

/// `host:` of a rewrite that is a map.
pub(crate) static REWRITE_HOST: Keys = Keys {
    place: "rules.*.rewrite.host",
    what: "host",
    keys: &[
        key(
            "match",
            Shape::Text,
            Absent::Never,
            "An expression, searched in the host, in lower case and without port. No match: the host stays.",
        ),
        key(
            "to",
            Shape::Text,
            Absent::Never,
            "What stands in the place of what matched, with `$1` and the like.",
        ),
    ],
    one_of: &[],
};

/// Fields of requests that are changed; their values may be credentials.
pub(crate) static REQUEST_EDITS: Keys = Keys {
    place: "rules.*.rewrite.request_headers",
    what: "request_headers",
    keys: &[
        key(
            "set",
            Shape::Free(&Shape::Veiled),
            Absent::Nothing,
            "In the place of whatever has the name; `#{client}` and the like may stand in the value.",
        ),
        key(
            "add",
            Shape::Free(&Shape::Veiled),
            Absent::Nothing,
            "Beside whatever has the name.",
        ),
        key(
            "remove",
            Shape::List(&Shape::Text),
            Absent::Nothing,
            "Whatever has one of these names.",
        ),
    ],
    one_of: &[],
};

/// Fields of answers that are changed.
pub(crate) static RESPONSE_EDITS: Keys = Keys {
    place: "rules.*.rewrite.response_headers",
    what: "response_headers",
    keys: &[
        key(
            "set",
            Shape::Free(&Shape::Text),
            Absent::Nothing,
            "In the place of whatever has the name; `#{host}` and the like may stand in the value.",
        ),
        key(
            "add",
            Shape::Free(&Shape::Text),
            Absent::Nothing,
            "Beside whatever has the name.",
        ),
        key(
            "remove",
            Shape::List(&Shape::Text),
            Absent::Nothing,
            "Whatever has one of these names.",
        ),
    ],
    one_of: &[],
};
