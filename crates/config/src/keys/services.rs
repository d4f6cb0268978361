//! Owns the keys of `services:`.

use evenkeel_balance::settings::{BreakerSettings, MinHealthy, ServiceSettings};

use super::{
    ADJUST, AFFINITY, Absent, BACKEND, HEALTH, HEDGE, Key, Keys, LOAD, MONITORING, RETRY,
    SERVICE_LIMITS, Shape, UPSTREAM_PROXY, UPSTREAM_TLS, ZONES, key, written,
};
use crate::limits::ServiceLimits;
use crate::plan::UpstreamPlan;

/// One service.
pub(crate) static SERVICE: Keys = Keys {
    place: "services.*",
    what: "a service",
    keys: &[
        key(
            "policy",
            Shape::NameOr(
                &[
                    "adaptive",
                    "peak_ewma",
                    "least_time",
                    "least_connections",
                    "power_of_two",
                    "round_robin",
                    "random",
                    "health_based",
                    "weighted_by_load",
                    "hash",
                ],
                "hash",
                &POLICY,
            ),
            Absent::Is(|| ServiceSettings::default().policy.name().into()),
            "Which backend is chosen. Names of other systems are read too, in any case, with `-` or `_`: `RoundRobin`, `ip-hash`, `leastconn`.",
        ),
        key(
            "backends",
            Shape::List(&Shape::Short(Some("address"), &BACKEND)),
            Absent::Never,
            "Its members: addresses, or maps; names whose addresses DNS tells, too.",
        ),
        key(
            "upstream",
            Shape::Map(&UPSTREAM),
            Absent::Defaults,
            "How backends are connected to.",
        ),
        key(
            "health",
            Shape::Map(&HEALTH),
            Absent::No("backends are not checked"),
            "How backends are checked.",
        ),
        key(
            "breaker",
            Shape::WordOr(&["on", "off"], "on", &BREAKER),
            Absent::Defaults,
            "When live traffic ejects a backend.",
        ),
        key(
            "retry",
            Shape::WordOr(&["on", "off"], "on", &RETRY),
            Absent::Defaults,
            "Which requests are tried again, how often and how fast.",
        ),
        key(
            "load",
            Shape::Map(&LOAD),
            Absent::No("with that policy, the field, and the defaults of all its keys"),
            "With `weighted_by_load`: where backends report their load, and what follows.",
        ),
        key(
            "hedge",
            Shape::WordOr(&["off"], "", &HEDGE),
            Absent::Is(|| "off".into()),
            "Whether a slow attempt gets a second one beside it, on another backend: whoever answers first is heard.",
        ),
        key(
            "timeouts",
            Shape::Map(&SERVICE_TIMEOUTS),
            Absent::Defaults,
            "How long backends may take.",
        ),
        key(
            "limits",
            Shape::Map(&SERVICE_LIMITS),
            Absent::No("no limit"),
            "How much it takes at once, and who waits beyond.",
        ),
        key(
            "slow_start",
            Shape::Duration,
            Absent::Is(|| written::duration(ServiceSettings::default().slow_start)),
            "A backend that joins or returns reaches its weight over this time.",
        ),
        key(
            "drain",
            Shape::Duration,
            Absent::Is(|| written::duration(ServiceLimits::default().drain)),
            "What is under way on a backend that drains, or that left the file, may take so long; then it is cut.",
        ),
        key(
            "on_all_down",
            Shape::Words(&["fail_open", "fail_closed"]),
            Absent::Is(|| "fail_open".into()),
            "When no backend is healthy, or fewer are than `min_healthy` says: serve through all, or refuse.",
        ),
        key(
            "min_healthy",
            Shape::Map(&MIN_HEALTHY),
            Absent::Defaults,
            "With fewer healthy backends it is as when none is.",
        ),
        key(
            "overprovision",
            Shape::Times(1, 1_000),
            Absent::Is(|| {
                let default = ServiceSettings::default();
                default.overprovision.factor().to_string()
            }),
            "How many times its healthy weight a tier, or a preferred zone, is taken to carry: with 1.4, all of it while 72 % is healthy. The rest goes to the next tier, or the other zones.",
        ),
        key(
            "tiers",
            Shape::Words(&["all", "first"]),
            Absent::Is(|| "all".into()),
            "Which tiers serve: each when those above lack healthy capacity, or the first alone, the others disabled.",
        ),
        key(
            "zones",
            Shape::WordOr(&["off", "local", "client"], "local", &ZONES),
            Absent::Is(|| "off".into()),
            "Whether backends near by come first, within each tier.",
        ),
        key(
            "affinity",
            Shape::WordOr(&["off"], "", &AFFINITY),
            Absent::Is(|| "off".into()),
            "What keeps a client on its backend.",
        ),
        key(
            "monitoring",
            Shape::WordOr(&["on", "off"], "on", &MONITORING),
            Absent::Defaults,
            "What is watched of it, and told.",
        ),
        key(
            "adjust",
            Shape::WordOr(&["on", "off"], "on", &ADJUST),
            Absent::Is(|| "off".into()),
            "Whether weights follow how long backends take and how often they fail.",
        ),
    ],
    one_of: &[],
};

/// `min_healthy:`
pub(crate) static MIN_HEALTHY: Keys = Keys {
    place: "services.*.min_healthy",
    what: "`min_healthy`",
    keys: &[
        key(
            "count",
            Shape::Number(1, 1_000_000),
            Absent::Is(|| MinHealthy::default().count.to_string()),
            "So many, of all tiers together.",
        ),
        key(
            "share",
            Shape::Share,
            Absent::Is(|| written::share(MinHealthy::default().share)),
            "Such a part, of one tier at least.",
        ),
    ],
    one_of: &[],
};

/// A policy with settings.
pub(crate) static POLICY: Keys = Keys {
    place: "services.*.policy",
    what: "policy",
    keys: &[
        key(
            "hash",
            Shape::Map(&HASH),
            Absent::Nothing,
            "By a key of the request.",
        ),
        key(
            "custom",
            Shape::Text,
            Absent::Nothing,
            "A policy that the program registered under this name; `evenkeel` itself has none.",
        ),
    ],
    one_of: &["hash", "custom"],
};

/// `hash:`
pub(crate) static HASH: Keys = Keys {
    place: "services.*.policy.hash",
    what: "hash",
    keys: &[
        key(
            "key",
            Shape::WordOr(&["source", "path", "uri"], "", &HASH_KEY),
            Absent::Is(|| "source".into()),
            "What is hashed.",
        ),
        key(
            "method",
            Shape::Words(&["maglev", "ring", "rendezvous"]),
            Absent::Is(|| "maglev".into()),
            "How a key finds its backend.",
        ),
        key(
            "bounded",
            Shape::Factor(&["on", "off"]),
            Absent::Is(|| "off".into()),
            "A backend with so many times its part of all that is in flight gets no more; those keys go on meanwhile. `on` is 1.25.",
        ),
    ],
    one_of: &[],
};

/// A key that is a field or a cookie.
pub(crate) static HASH_KEY: Keys = Keys {
    place: "services.*.policy.hash.key",
    what: "key",
    keys: &[
        key(
            "header",
            Shape::Text,
            Absent::Nothing,
            "A field of this name; the client's address when it is absent.",
        ),
        key(
            "cookie",
            Shape::Text,
            Absent::Nothing,
            "A cookie of this name; the client's address when it is absent.",
        ),
    ],
    one_of: &["header", "cookie"],
};

/// `upstream:`
pub(crate) static UPSTREAM: Keys = Keys {
    place: "services.*.upstream",
    what: "upstream",
    keys: &[
        key(
            "protocol",
            Shape::Words(&["http1", "http2", "auto"]),
            Absent::Is(|| "http1".into()),
            "What is spoken; `http2` without TLS by prior knowledge, `auto`: what the backend agrees to in the TLS handshake.",
        ),
        key(
            "streams",
            Shape::Number(1, 10_000),
            Absent::Is(|| UpstreamPlan::default().streams.to_string()),
            "Requests at once on one connection of HTTP/2; a backend may allow fewer.",
        ),
        key(
            "tls",
            Shape::WordOr(&["off", "on"], "on", &UPSTREAM_TLS),
            Absent::Is(|| "off".into()),
            "Whether it is encrypted; `on`: under the name that the backend is reached by, for the system's issuers.",
        ),
        key(
            "proxy_protocol",
            Shape::WordOr(&["off", "v1", "v2"], "v2", &UPSTREAM_PROXY),
            Absent::Is(|| "off".into()),
            "Whether a PROXY header tells backends who connects; each connection then carries one exchange.",
        ),
        key(
            "idle",
            Shape::Duration,
            Absent::Is(|| written::duration(UpstreamPlan::default().idle)),
            "An idle connection is not used after so long, and closed.",
        ),
        key(
            "requests",
            Shape::Number(1, u64::MAX),
            Absent::No("no limit"),
            "Requests on one connection.",
        ),
        key(
            "age",
            Shape::Wait,
            Absent::No("no limit"),
            "A connection is not used again after so long.",
        ),
        key(
            "idle_most",
            Shape::Number(0, 1_000_000),
            Absent::Is(|| UpstreamPlan::default().idle_most.to_string()),
            "Idle connections per backend and worker.",
        ),
        key(
            "source",
            Shape::Text,
            Absent::No("the system's choice"),
            "Connects from this address.",
        ),
        key(
            "keepalive",
            Shape::Wait,
            Absent::No("the system's setting"),
            "TCP keep-alive probes after so long without traffic.",
        ),
    ],
    one_of: &[],
};

/// `breaker:`
pub(crate) static BREAKER: Keys = Keys {
    place: "services.*.breaker",
    what: "breaker",
    keys: BREAKER_KEYS,
    one_of: &[],
};

static BREAKER_KEYS: &[Key] = &[
    key(
        "consecutive",
        Shape::Number(0, 1_000_000),
        Absent::Is(|| BreakerSettings::default().consecutive.to_string()),
        "So many failures in a row open it; 0 never does.",
    ),
    key(
        "failure_rate",
        Shape::Share,
        Absent::Is(|| written::share(BreakerSettings::default().failure_rate)),
        "This share of failures in the window opens it.",
    ),
    key(
        "slow",
        Shape::Wait,
        Absent::No("nothing is slow"),
        "A success later than this is slow.",
    ),
    key(
        "slow_rate",
        Shape::Share,
        Absent::Is(|| written::share(BreakerSettings::default().slow_rate)),
        "This share of slow successes in the window opens it.",
    ),
    key(
        "least",
        Shape::Number(0, 1_000_000),
        Absent::Is(|| BreakerSettings::default().least.to_string()),
        "Rates are judged from so many verdicts in the window.",
    ),
    key(
        "window",
        Shape::Wait,
        Absent::Is(|| written::duration(BreakerSettings::default().window)),
        "Length of the window.",
    ),
    key(
        "open",
        Shape::Wait,
        Absent::Is(|| written::duration(BreakerSettings::default().open)),
        "How long it stays open the first time; twice as long each time it opens again.",
    ),
    key(
        "open_max",
        Shape::Wait,
        Absent::Is(|| written::duration(BreakerSettings::default().open_max)),
        "The longest that it stays open; no shorter than `open` where only that is given.",
    ),
    key(
        "trials",
        Shape::Number(1, 32_767),
        Absent::Is(|| BreakerSettings::default().trials.to_string()),
        "So many trials run when half-open, and all must pass.",
    ),
    key(
        "cap",
        Shape::Share,
        Absent::Is(|| written::share(BreakerSettings::default().cap)),
        "The largest share of backends that are out at once.",
    ),
];

/// `timeouts:` of a service.
pub(crate) static SERVICE_TIMEOUTS: Keys = Keys {
    place: "services.*.timeouts",
    what: "timeouts",
    keys: &[
        key(
            "connect",
            Shape::Wait,
            Absent::Is(|| written::duration(ServiceLimits::default().connect)),
            "Until a connection is made.",
        ),
        key(
            "per_try",
            Shape::Wait,
            Absent::No("10s; of a call whose client gives it a time (gRPC), that time"),
            "One attempt until its response head, its connection included.",
        ),
        key(
            "exchange",
            Shape::Wait,
            Absent::Is(|| written::duration(ServiceLimits::default().exchange)),
            "All attempts until the response head.",
        ),
        key(
            "idle_body",
            Shape::Wait,
            Absent::Is(|| written::duration(ServiceLimits::default().idle_body)),
            "Between two bytes of a response's body. Of a flow of TCP, for a write that does not move: the shorter one holds, the listener's or this.",
        ),
        key(
            "tunnel",
            Shape::Wait,
            Absent::Is(|| written::duration(ServiceLimits::default().tunnel)),
            "The longest rest of a tunnel, a WebSocket for one: no byte either way. The shorter one holds, the listener's or this.",
        ),
    ],
    one_of: &[],
};
