//! Owns the keys of `rules:`.

use super::{Absent, Keys, Shape, key};
use crate::limits;

/// One rule.
pub(crate) static RULE: Keys = Keys {
    place: "rules.*",
    what: "a rule",
    keys: &[
        key(
            "name",
            Shape::Text,
            Absent::Numbered("rule-"),
            "Its name, unique.",
        ),
        key(
            "priority",
            Shape::Number(1, limits::PRIORITY as u64),
            Absent::Is(|| limits::PRIORITY.to_string()),
            "Lowest first; ties in the order of the text.",
        ),
        key(
            "listeners",
            Shape::List(&Shape::Text),
            Absent::No("all listeners"),
            "Only on these listeners.",
        ),
        key(
            "when",
            Shape::Map(&WHEN),
            Absent::No("always"),
            "Conditions; all must hold, within a list one is enough.",
        ),
        key(
            "forward",
            Shape::Forward,
            Absent::Nothing,
            "The service that serves it.",
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
        key(
            "timeouts",
            Shape::Map(&RULE_TIMEOUTS),
            Absent::Defaults,
            "How long it may take.",
        ),
        key(
            "limits",
            Shape::Map(&RULE_LIMITS),
            Absent::Defaults,
            "What clients may send.",
        ),
    ],
    one_of: &["forward", "redirect", "respond"],
};

/// `when:`
pub(crate) static WHEN: Keys = Keys {
    place: "rules.*.when",
    what: "when",
    keys: &[
        key(
            "host",
            Shape::List(&Shape::Text),
            Absent::Nothing,
            "Hosts without port: a name, `*.example.com`, or a pattern with `*` and `?`.",
        ),
        key(
            "path",
            Shape::List(&Shape::Short(None, &PATH)),
            Absent::Nothing,
            "Paths without query: a path, a pattern with `*` and `?`, or a map.",
        ),
        key(
            "method",
            Shape::List(&Shape::Text),
            Absent::Nothing,
            "Methods, in upper case.",
        ),
    ],
    one_of: &[],
};

/// A path that is a map.
pub(crate) static PATH: Keys = Keys {
    place: "rules.*.when.path.*",
    what: "path",
    keys: &[
        key("exact", Shape::Text, Absent::Nothing, "This path."),
        key(
            "prefix",
            Shape::Text,
            Absent::Nothing,
            "This path and all below it, by whole segments.",
        ),
        key(
            "regex",
            Shape::Text,
            Absent::Nothing,
            "An expression, searched as written: anchor it yourself.",
        ),
    ],
    one_of: &["exact", "prefix", "regex"],
};

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
            Shape::Words(&["http", "https"]),
            Absent::No("the request's"),
            "Another scheme.",
        ),
        key(
            "host",
            Shape::Text,
            Absent::No("the request's"),
            "Another host.",
        ),
        key(
            "port",
            Shape::Number(1, 65_535),
            Absent::No("the request's, or the scheme's"),
            "Another port.",
        ),
        key(
            "path",
            Shape::Text,
            Absent::No("the request's"),
            "Another path.",
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

/// `timeouts:` of a rule.
pub(crate) static RULE_TIMEOUTS: Keys = Keys {
    place: "rules.*.timeouts",
    what: "timeouts",
    keys: &[
        key(
            "exchange",
            Shape::Wait,
            Absent::No("the service's"),
            "The whole exchange until the response head.",
        ),
        key(
            "idle_body",
            Shape::Wait,
            Absent::No("the listener's and the service's"),
            "The longest pause within a body, or within a tunnel: raised for long polls, event streams and WebSockets.",
        ),
    ],
    one_of: &[],
};

/// `limits:` of a rule.
pub(crate) static RULE_LIMITS: Keys = Keys {
    place: "rules.*.limits",
    what: "limits",
    keys: &[key(
        "body",
        Shape::Size,
        Absent::No("the listener's"),
        "Bytes of a request's body.",
    )],
    one_of: &[],
};
