//! Owns the keys of `rules:`.

use super::{Absent, DENY, FALLBACK, Keys, RATE, REDIRECT, RESPOND, REWRITE, SPLIT, Shape, key};
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
            Shape::Forward(&SPLIT),
            Absent::Nothing,
            "The service that serves it, or several with their weights (0 to 999).",
        ),
        key(
            "host_map",
            Shape::Map(&HOST_MAP),
            Absent::Nothing,
            "The services that serve it, by host; a host that is not there goes on to later rules.",
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
        key("deny", Shape::TrueOr(&DENY), Absent::Nothing, "Refuses it."),
        key(
            "rewrite",
            Shape::Map(&REWRITE),
            Absent::Nothing,
            "What the backend and the client see otherwise; rules and hash policies see what came.",
        ),
        key(
            "fallback",
            Shape::Map(&FALLBACK),
            Absent::Nothing,
            "What is done when the service refuses and no backend has seen the request.",
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
    one_of: &["forward", "host_map", "redirect", "respond", "deny"],
};

/// `host_map:`
pub(crate) static HOST_MAP: Keys = Keys {
    place: "rules.*.host_map",
    what: "host_map",
    keys: &[key(
        "file",
        Shape::Text,
        Absent::Never,
        "A file of lines with a host (`www.example.com`, `*.example.com`) and a service, read when the configuration is; a relative name begins beside this file.",
    )],
    one_of: &[],
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
        key(
            "header",
            Shape::Free(&VALUES),
            Absent::Nothing,
            "Values by name of field, both in any case; a text may have `*` and `?`. All names, one value of each.",
        ),
        key(
            "cookie",
            Shape::Free(&VALUES),
            Absent::Nothing,
            "Values by name of cookie, as written; a text may have `*` and `?`. All names, one value of each.",
        ),
        key(
            "query",
            Shape::List(&Shape::ShortFree(&VALUES)),
            Absent::Nothing,
            "Values by key of the query, decoded, in any case; a text may have `*` and `?`. All keys of a map, one value of each; of several maps one. A text: a value at any key.",
        ),
        key(
            "source",
            Shape::ShortList("peer", &Shape::Text, &SOURCE),
            Absent::Nothing,
            "Networks of the connection's peer, or a map.",
        ),
        key(
            "client_certificate",
            Shape::WordOr(&["any", "none"], "", &CLIENT_CERTIFICATE),
            Absent::Nothing,
            "Whether the client has shown a certificate, or what stands in it: all keys, one value of each.",
        ),
        key(
            "not",
            Shape::List(&Shape::Again("when", &WHEN)),
            Absent::Nothing,
            "Conditions that do not all hold; of several maps none.",
        ),
    ],
    one_of: &[],
};

/// Values of a field, a cookie, a key of the query, or in a certificate.
const VALUES: Shape = Shape::List(&Shape::Short(None, &VALUE));

/// A value that is a map.
pub(crate) static VALUE: Keys = Keys {
    place: "rules.*.when.header.*.*",
    what: "a value",
    keys: &[
        key(
            "exact",
            Shape::Text,
            Absent::Nothing,
            "This text, as written.",
        ),
        key(
            "regex",
            Shape::Text,
            Absent::Nothing,
            "An expression, searched as written: anchor it yourself.",
        ),
        key(
            "present",
            Shape::Boolean,
            Absent::Nothing,
            "Whether there is one, whatever it is.",
        ),
    ],
    one_of: &["exact", "regex", "present"],
};

/// A source that is a map.
pub(crate) static SOURCE: Keys = Keys {
    place: "rules.*.when.source",
    what: "source",
    keys: &[
        key(
            "peer",
            Shape::List(&Shape::Text),
            Absent::Nothing,
            "Networks of the connection's peer.",
        ),
        key(
            "client",
            Shape::List(&Shape::Text),
            Absent::Nothing,
            "Networks of the client: the peer, or whom `trusted_proxies` name in `X-Forwarded-For`.",
        ),
    ],
    one_of: &[],
};

/// A `client_certificate` that is a map.
pub(crate) static CLIENT_CERTIFICATE: Keys = Keys {
    place: "rules.*.when.client_certificate",
    what: "client_certificate",
    keys: &[
        key(
            "subject",
            VALUES,
            Absent::Nothing,
            "Its subject as backends are told it (`CN=bob,O=Keel`), as written; a text may have `*` and `?`.",
        ),
        key(
            "fingerprint",
            Shape::List(&Shape::Text),
            Absent::Nothing,
            "Its SHA-256 in hexadecimal, with or without colons.",
        ),
        key(
            "san",
            VALUES,
            Absent::Nothing,
            "One of its alternative names (`DNS:bob.example`, `URI:spiffe://keel/bob`), of `DNS:` in any case, else as written; a text may have `*` and `?`.",
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

/// `timeouts:` of a rule.
pub(crate) static RULE_TIMEOUTS: Keys = Keys {
    place: "rules.*.timeouts",
    what: "timeouts",
    keys: &[
        key(
            "connect",
            Shape::Wait,
            Absent::No("the service's"),
            "Until a connection to a backend is made.",
        ),
        key(
            "per_try",
            Shape::Wait,
            Absent::No("the service's"),
            "One attempt until its response head, its connection included.",
        ),
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
            "The longest pause within a body: raised for long polls and event streams.",
        ),
        key(
            "tunnel",
            Shape::Wait,
            Absent::No("the listener's or the service's, whichever is shorter"),
            "The longest rest of a tunnel, a WebSocket for one: no byte either way.",
        ),
    ],
    one_of: &[],
};

/// `limits:` of a rule.
pub(crate) static RULE_LIMITS: Keys = Keys {
    place: "rules.*.limits",
    what: "limits",
    keys: &[
        key(
            "body",
            Shape::Size,
            Absent::No("the listener's"),
            "Bytes of a request's body.",
        ),
        key(
            "class",
            Shape::Number(0, u16::MAX as u64),
            Absent::Is(|| evenkeel_balance::ask::QUEUE_CLASS.to_string()),
            "Its requests' class in the queue of a full service: lower goes first.",
        ),
        key(
            "rate",
            Shape::List(&Shape::Map(&RATE)),
            Absent::No("the listener's"),
            "How many requests pass; of several limits all must let them. `[]`: no limit, whatever the listener's.",
        ),
    ],
    one_of: &[],
};
