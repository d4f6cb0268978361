//! Owns the table that both ends have from the start (RFC 7541 appendix A).

use super::Pseudo;
use crate::known::Known;

/// One field of it.
pub(super) struct Fixed {
    pub(super) name: &'static [u8],
    pub(super) value: &'static [u8],
    pub(super) known: Known,
    pub(super) pseudo: Option<Pseudo>,
}

/// The first index of the other table.
pub(super) const BEHIND: usize = ALL.len();

const fn field(name: &'static str, value: &'static str) -> Fixed {
    let name = name.as_bytes();
    Fixed {
        name,
        value: value.as_bytes(),
        known: Known::of(name),
        pseudo: Pseudo::of(name),
    }
}

/// By their indexes; 0 is none.
pub(super) static FIELDS: [Fixed; BEHIND] = ALL;

/// The same, for what the compiler makes of it.
pub(super) const ALL: [Fixed; 62] = [
    field("", ""),
    field(":authority", ""),
    field(":method", "GET"),
    field(":method", "POST"),
    field(":path", "/"),
    field(":path", "/index.html"),
    field(":scheme", "http"),
    field(":scheme", "https"),
    field(":status", "200"),
    field(":status", "204"),
    field(":status", "206"),
    field(":status", "304"),
    field(":status", "400"),
    field(":status", "404"),
    field(":status", "500"),
    field("accept-charset", ""),
    field("accept-encoding", "gzip, deflate"),
    field("accept-language", ""),
    field("accept-ranges", ""),
    field("accept", ""),
    field("access-control-allow-origin", ""),
    field("age", ""),
    field("allow", ""),
    field("authorization", ""),
    field("cache-control", ""),
    field("content-disposition", ""),
    field("content-encoding", ""),
    field("content-language", ""),
    field("content-length", ""),
    field("content-location", ""),
    field("content-range", ""),
    field("content-type", ""),
    field("cookie", ""),
    field("date", ""),
    field("etag", ""),
    field("expect", ""),
    field("expires", ""),
    field("from", ""),
    field("host", ""),
    field("if-match", ""),
    field("if-modified-since", ""),
    field("if-none-match", ""),
    field("if-range", ""),
    field("if-unmodified-since", ""),
    field("last-modified", ""),
    field("link", ""),
    field("location", ""),
    field("max-forwards", ""),
    field("proxy-authenticate", ""),
    field("proxy-authorization", ""),
    field("range", ""),
    field("referer", ""),
    field("refresh", ""),
    field("retry-after", ""),
    field("server", ""),
    field("set-cookie", ""),
    field("strict-transport-security", ""),
    field("transfer-encoding", ""),
    field("user-agent", ""),
    field("vary", ""),
    field("via", ""),
    field("www-authenticate", ""),
];
