//! Owns the keys of one member of `backends:`.

use evenkeel_balance::backend::Weight;

use super::{Absent, Keys, Shape, key};

/// One backend, or a name that stands for several.
pub(crate) static BACKEND: Keys = Keys {
    place: "services.*.backends.*",
    what: "a backend",
    keys: &[
        key(
            "address",
            Shape::Text,
            Absent::Nothing,
            "Like `10.0.0.1:9000`, `name:9000` or `unix:/run/x.sock`. A name here is one backend, looked up at each connect.",
        ),
        key(
            "id",
            Shape::Text,
            Absent::Same("address"),
            "Its identity, which its state is kept by; of a name's backends `id@address`.",
        ),
        key(
            "dns",
            Shape::Text,
            Absent::Nothing,
            "Like `name:9000`: every address of the name (A, AAAA) is a backend of its own.",
        ),
        key(
            "srv",
            Shape::Text,
            Absent::Nothing,
            "Like `_http._tcp.name`: every address of its SRV records is a backend; ports and weights come from the records.",
        ),
        key(
            "refresh",
            Shape::Wait,
            Absent::Nothing,
            "With `dns` or `srv`: asked again at the latest after this, sooner when the records live shorter; absent: `ttl_ceiling` of `resolver`.",
        ),
        key(
            "weight",
            Shape::Number(0, Weight::MOST as u64),
            Absent::Is(|| Weight::ONE.get().to_string()),
            "Its share; 0: nothing new is sent to it. With `srv`, the weight of each record counts so many times.",
        ),
        key(
            "tier",
            Shape::Number(0, u16::MAX as u64),
            Absent::Is(|| "0".into()),
            "Serves what tiers with smaller numbers cannot carry, or have no room for. With `srv`, each further priority of the records counts one more.",
        ),
        key(
            "max_in_flight",
            Shape::Number(1, u32::MAX as u64),
            Absent::No("no limit"),
            "Attempts at once, kept exactly.",
        ),
        key(
            "max_connections",
            Shape::Number(1, 10_000_000),
            Absent::No("no limit"),
            "Sockets of all workers together, idle ones too.",
        ),
        key(
            "zone",
            Shape::Text,
            Absent::No("none"),
            "Where it stands; heeded by `zones` of its service.",
        ),
        key(
            "state",
            Shape::Words(&["enabled", "draining", "disabled"]),
            Absent::Is(|| "enabled".into()),
            "What the operator wants of it.",
        ),
        key(
            "labels",
            Shape::Free(&Shape::Text),
            Absent::No("none"),
            "Free words, kept and shown.",
        ),
    ],
    one_of: &["address", "dns", "srv"],
};
