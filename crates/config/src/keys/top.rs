//! Owns the keys at the top, of `drain:` and `resolver:`.

use super::{
    ACCESS_LOG, ADMIN, ALERTS, Absent, Key, Keys, LISTENER, LOAD_BALANCER, PAGES, RULE, SERVICE,
    Shape, TRACES, key, written,
};
use crate::limits;
use crate::plan::{DrainPlan, ResolverPlan};

/// A whole configuration. What is missing shows only when all files are read.
pub(crate) static TOP: Keys = Keys {
    place: "",
    what: "a configuration",
    keys: TOP_KEYS,
    one_of: &[],
};

static TOP_KEYS: &[Key] = &[
    key(
        "admin",
        Shape::Map(&ADMIN),
        Absent::Defaults,
        "Where the instance is asked about itself.",
    ),
    key(
        "trusted_proxies",
        Shape::List(&Shape::Text),
        Absent::No("nobody is trusted"),
        "Networks of peers whose forwarding fields are believed, like `10.0.0.0/8`.",
    ),
    key(
        "access_log",
        Shape::Short(Some("to"), &ACCESS_LOG),
        Absent::No("no access log"),
        "Writes a row for each exchange.",
    ),
    key(
        "traces",
        Shape::Map(&TRACES),
        Absent::No("no exchange is traced"),
        "Tells a collector of exchanges as spans of traces (OpenTelemetry).",
    ),
    key(
        "alerts",
        Shape::Map(&ALERTS),
        Absent::No("nobody is told"),
        "Who is told of alerts.",
    ),
    key(
        "workers",
        Shape::NumberOr("auto", 1, 1024),
        Absent::Is(|| "auto".into()),
        "How many data-plane threads; `auto`: one per core that the process may use.",
    ),
    key(
        "drain",
        Shape::Short(Some("within"), &DRAIN),
        Absent::Defaults,
        "How the instance ends on SIGTERM, and how listeners do.",
    ),
    key(
        "user",
        Shape::Text,
        Absent::No("who starts it"),
        "Whom the process becomes when everything is bound: a name of `/etc/passwd`, or a number. Needs root.",
    ),
    key(
        "group",
        Shape::Text,
        Absent::No("the user's own"),
        "The only group that it is in then: a name of `/etc/group`, or a number.",
    ),
    key(
        "resolver",
        Shape::Map(&RESOLVER),
        Absent::Defaults,
        "How names of backends with `dns` and `srv` are looked up.",
    ),
    key(
        "affinity_keys",
        Shape::Text,
        Absent::No(
            "a key of chance, which reloads and upgrades keep, and restarts with a state directory",
        ),
        "A file of 1 to 3 keys of 32 bytes for the cookies of `affinity`, so that instances agree; the first signs, all verify.",
    ),
    key(
        "zone",
        Shape::Text,
        Absent::No("none"),
        "Where this instance stands, for services with `zones`; like `${ZONE}`, which the environment names.",
    ),
    key(
        "regions",
        Shape::Free(&Shape::List(&Shape::Text)),
        Absent::No("no client is near any zone"),
        "Networks of clients by the zone that they are nearest to, like `eu: [10.0.0.0/8]`; the longest network wins. For services with `zones: client`.",
    ),
    key(
        "error_pages",
        Shape::Map(&PAGES),
        Absent::No("a line with the status and the reason's word"),
        "What the proxy's own answers say, by status.",
    ),
    key(
        "max_listeners",
        Shape::Number(1, 10_000),
        Absent::Is(|| limits::LISTENERS.to_string()),
        "The most listeners that this configuration may have.",
    ),
    key(
        "listeners",
        Shape::Named(&LISTENER),
        Absent::Never,
        "Addresses that accept connections, by name.",
    ),
    key(
        "rules",
        Shape::List(&Shape::Map(&RULE)),
        Absent::Nothing,
        "Conditions and one action each; the lowest priority is tried first. None: everything goes to the only service.",
    ),
    key(
        "load_balancer",
        Shape::Map(&LOAD_BALANCER),
        Absent::Nothing,
        "What services do that say nothing else, in the words of the message balancer of kOS.",
    ),
    key(
        "services",
        Shape::Named(&SERVICE),
        Absent::Nothing,
        "Groups of backends that serve the same requests, by name.",
    ),
];

/// `drain:`
pub(crate) static DRAIN: Keys = Keys {
    place: "drain",
    what: "drain",
    keys: &[
        key(
            "within",
            Shape::Duration,
            Absent::Is(|| written::duration(DrainPlan::default().within)),
            "Exchanges in flight get so long; then they are cut.",
        ),
        key(
            "delay",
            Shape::Duration,
            Absent::Is(|| written::duration(DrainPlan::default().delay)),
            "Before that: `/readyz` says 503, and everything is served as ever, until balancers in front have seen it.",
        ),
        key(
            "idle",
            Shape::Duration,
            Absent::Is(|| written::duration(DrainPlan::default().idle)),
            "Connections that wait for a request may begin one so long, at most half of `within`. Of listeners that close while the instance goes on, it is that half.",
        ),
    ],
    one_of: &[],
};

/// `resolver:`
pub(crate) static RESOLVER: Keys = Keys {
    place: "resolver",
    what: "resolver",
    keys: &[
        key(
            "servers",
            Shape::List(&Shape::Text),
            Absent::No("those of /etc/resolv.conf"),
            "Whom to ask, like `10.0.0.53` or `127.0.0.1:5353`; names are then whole, and no search list is tried.",
        ),
        key(
            "timeout",
            Shape::Wait,
            Absent::Is(|| written::duration(ResolverPlan::default().timeout)),
            "A question without an answer by then is asked again, or has failed.",
        ),
        key(
            "attempts",
            Shape::Number(1, limits::LOOKUP_ATTEMPTS as u64),
            Absent::Is(|| ResolverPlan::default().attempts.to_string()),
            "Tries of one question in all.",
        ),
        key(
            "ttl_floor",
            Shape::Wait,
            Absent::Is(|| written::duration(ResolverPlan::default().ttl_floor)),
            "A name is asked for no more often, whatever its records say.",
        ),
        key(
            "ttl_ceiling",
            Shape::Wait,
            Absent::Is(|| written::duration(ResolverPlan::default().ttl_ceiling)),
            "A name is asked for no less often, whatever its records and `refresh` say.",
        ),
    ],
    one_of: &[],
};
