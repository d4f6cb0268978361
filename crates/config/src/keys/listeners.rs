//! Owns the keys of `listeners:`.

use super::{Absent, Keys, LISTENER_PROXY, PAGES, RATE, Shape, TLS, key, written};
use crate::limits::{self, ListenerLimits};

/// One listener.
pub(crate) static LISTENER: Keys = Keys {
    place: "listeners.*",
    what: "a listener",
    keys: &[
        key(
            "bind",
            Shape::List(&Shape::Text),
            Absent::Never,
            "Addresses like `0.0.0.0:8080`, `[::]:8080` or `unix:/run/x.sock`.",
        ),
        key(
            "protocol",
            Shape::Words(&["http", "tcp"]),
            Absent::Is(|| "http".into()),
            "What is spoken; `tcp`: bytes are passed on as they come, and rules are not asked.",
        ),
        key(
            "forward",
            Shape::ShortFree(&WEIGHT),
            Absent::Nothing,
            "With `protocol: tcp`, where each connection goes: a service, or services with their weights.",
        ),
        key(
            "sni",
            Shape::Free(&Shape::Short(Some("forward"), &SNI)),
            Absent::Nothing,
            "With `protocol: tcp`, where TLS goes that is not ended here: by the name that a client asks for, `*.` for one label, `default` for the rest.",
        ),
        key(
            "proxy_protocol",
            Shape::Map(&LISTENER_PROXY),
            Absent::No("each connection is its peer's own"),
            "Who says with a PROXY header whose connections these are.",
        ),
        key(
            "tls",
            Shape::Map(&TLS),
            Absent::No("not encrypted"),
            "TLS, ended here.",
        ),
        key(
            "path",
            Shape::Words(&["normalize", "refuse", "as_is"]),
            Absent::Is(|| "normalize".into()),
            "What is done with a path before rules see it; `refuse`: 400 unless it is in normal form.",
        ),
        key(
            "via",
            Shape::Text,
            Absent::No("no `Via`"),
            "Adds `Via` to requests and responses, under this name.",
        ),
        key(
            "real_ip",
            Shape::Boolean,
            Absent::Is(|| "false".into()),
            "Adds `X-Real-IP` to requests.",
        ),
        key(
            "attempts_header",
            Shape::Text,
            Absent::No("answers do not say it"),
            "Adds a field of this name to answers that backends were asked for, with the number of attempts.",
        ),
        key(
            "http2",
            Shape::Boolean,
            Absent::Is(|| "true".into()),
            "Whether HTTP/2 is spoken too: over TLS with clients that offer it, else with those that begin so.",
        ),
        key(
            "error_pages",
            Shape::Map(&PAGES),
            Absent::No("those of all listeners"),
            "What the proxy's own answers say here, by status; a status that is not here is that of all.",
        ),
        key(
            "half_close",
            Shape::Boolean,
            Absent::Is(|| "false".into()),
            "Whether a client that ends its side while it waits still gets its answer; otherwise it has left.",
        ),
        key(
            "limits",
            Shape::Map(&LISTENER_LIMITS),
            Absent::Defaults,
            "What clients may send.",
        ),
        key(
            "timeouts",
            Shape::Map(&LISTENER_TIMEOUTS),
            Absent::Defaults,
            "How long clients may take.",
        ),
    ],
    one_of: &[],
};

/// Weights as those of rules.
const WEIGHT: Shape = Shape::Number(0, limits::SPLIT_WEIGHT as u64);

/// What stands at a name of `sni:`.
pub(crate) static SNI: Keys = Keys {
    place: "listeners.*.sni.*",
    what: "a name's services",
    keys: &[
        key(
            "alpn",
            Shape::Free(&Shape::ShortFree(&WEIGHT)),
            Absent::Nothing,
            "Services by the protocol that a client offers, like `h2`; of several the one that it likes best.",
        ),
        key(
            "forward",
            Shape::ShortFree(&WEIGHT),
            Absent::No("who offers none of these protocols is refused"),
            "The service, or services with their weights.",
        ),
    ],
    one_of: &[],
};

/// `limits:` of a listener.
pub(crate) static LISTENER_LIMITS: Keys = Keys {
    place: "listeners.*.limits",
    what: "limits",
    keys: &[
        key(
            "connections",
            Shape::Number(1, 10_000_000),
            Absent::Is(|| ListenerLimits::default().connections.to_string()),
            "Connections at once; who comes later waits in the kernel's queue.",
        ),
        key(
            "connections_per_address",
            Shape::Number(1, 10_000_000),
            Absent::No("no limit"),
            "Connections at once of one client's address, of IPv6 its /64; who comes later is cut.",
        ),
        key(
            "handshakes",
            Shape::Number(1, 1_000_000),
            Absent::Is(|| ListenerLimits::default().handshakes.to_string()),
            "TLS handshakes at once, from the first byte on; the slowest goes for who comes later.",
        ),
        key(
            "streams",
            Shape::Number(1, 10_000),
            Absent::Is(|| ListenerLimits::default().streams.to_string()),
            "Requests at once on one connection of HTTP/2.",
        ),
        key(
            "head",
            Shape::Size,
            Absent::Is(|| written::size(ListenerLimits::default().head as u64)),
            "Bytes of a request's head, 256 B to 32 KiB.",
        ),
        key(
            "target",
            Shape::Size,
            Absent::Is(|| written::size(ListenerLimits::default().target as u64)),
            "Bytes of a request's target, 256 B to 16 KiB.",
        ),
        key(
            "fields",
            Shape::Number(1, 256),
            Absent::Is(|| ListenerLimits::default().fields.to_string()),
            "Fields of a request's head.",
        ),
        key(
            "body",
            Shape::Size,
            Absent::No("no limit"),
            "Bytes of a request's body.",
        ),
        key(
            "requests",
            Shape::Number(1, u64::MAX),
            Absent::No("no limit"),
            "Requests on one connection.",
        ),
        key(
            "rate",
            Shape::List(&Shape::Map(&RATE)),
            Absent::No("no limit"),
            "How many requests pass that meet no rule with a `rate` of its own; with `protocol: tcp`, how many connections.",
        ),
    ],
    one_of: &[],
};

/// `timeouts:` of a listener.
pub(crate) static LISTENER_TIMEOUTS: Keys = Keys {
    place: "listeners.*.timeouts",
    what: "timeouts",
    keys: &[
        key(
            "handshake",
            Shape::Wait,
            Absent::Is(|| written::duration(ListenerLimits::default().handshake_within)),
            "From accepting to the end of a TLS handshake, or of the hello where TLS is passed on, and of a PROXY header before it.",
        ),
        key(
            "head",
            Shape::Wait,
            Absent::Is(|| written::duration(ListenerLimits::default().head_within)),
            "From the first byte of a request's head to its last.",
        ),
        key(
            "idle_body",
            Shape::Wait,
            Absent::Is(|| written::duration(ListenerLimits::default().idle_body)),
            "Between two bytes of a body, and for a write that does not move, with `protocol: tcp` too.",
        ),
        key(
            "tunnel",
            Shape::Wait,
            Absent::Is(|| written::duration(ListenerLimits::default().tunnel)),
            "The longest rest of a tunnel, a WebSocket for one: no byte either way.",
        ),
        key(
            "idle",
            Shape::Wait,
            Absent::Is(|| written::duration(ListenerLimits::default().idle)),
            "With `protocol: tcp`: without a byte either way, also once one direction has ended.",
        ),
        key(
            "keep_alive",
            Shape::Wait,
            Absent::Is(|| written::duration(ListenerLimits::default().keep_alive)),
            "A connection without a request.",
        ),
    ],
    one_of: &[],
};
