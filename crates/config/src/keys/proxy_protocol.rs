//! Owns the keys of `proxy_protocol:`, of a listener and of `upstream:`.

use super::{Absent, Keys, Shape, key};

/// `proxy_protocol:` of a listener.
pub(crate) static LISTENER_PROXY: Keys = Keys {
    place: "listeners.*.proxy_protocol",
    what: "proxy_protocol",
    keys: &[key(
        "from",
        Shape::List(&Shape::Text),
        Absent::Never,
        "Networks of the proxies that connect, and `unix` for all over Unix sockets: a header is required of them, and nobody else is served.",
    )],
    one_of: &[],
};

/// `proxy_protocol:` of `upstream:`
pub(crate) static UPSTREAM_PROXY: Keys = Keys {
    place: "services.*.upstream.proxy_protocol",
    what: "proxy_protocol",
    keys: &[
        key(
            "version",
            Shape::Words(&["v1", "v2"]),
            Absent::Is(|| "v2".into()),
            "Of the header: text or binary.",
        ),
        key(
            "tlvs",
            Shape::List(&Shape::Words(TLVS)),
            Absent::No("addresses only"),
            "What a header of version 2 says beside the addresses, where there is something to say.",
        ),
    ],
    one_of: &[],
};

/// What a header may say beside the addresses.
pub(crate) const TLVS: &[&str] = &["alpn", "authority", "ssl", "unique_id", "crc32c"];
