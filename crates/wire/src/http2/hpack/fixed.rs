//! Owns the table that both ends have from the start (RFC 7541 appendix A).

use super::Pseudo;
use super::table::Traits;
use crate::known::Known;

/// One field of it.
pub(super) struct Fixed {
    /// Name and value.
    pub(super) text: &'static [u8],
    pub(super) name: usize,
    pub(super) traits: Traits,
}

/// The first index of the other table.
pub(super) const BEHIND: usize = ALL.len();

impl Fixed {
    const fn of(text: &'static str, name: &str) -> Self {
        Self {
            text: text.as_bytes(),
            name: name.len(),
            traits: Traits {
                known: Known::of(name.as_bytes()),
                pseudo: Pseudo::of(name.as_bytes()),
                ..Traits::NONE
            },
        }
    }

    pub(super) const fn name(&self) -> &'static [u8] {
        self.text.split_at(self.name).0
    }

    pub(super) const fn value(&self) -> &'static [u8] {
        self.text.split_at(self.name).1
    }
}

macro_rules! fields {
    ($($name:literal $value:literal,)*) => {
        [$(Fixed::of(concat!($name, $value), $name),)*]
    };
}

/// By their indexes; 0 is none.
pub(super) static FIELDS: [Fixed; BEHIND] = ALL;

/// The same, for what the compiler makes of it.
pub(super) const ALL: [Fixed; 62] = fields! {
    "" "",
    ":authority" "",
    ":method" "GET",
    ":method" "POST",
    ":path" "/",
    ":path" "/index.html",
    ":scheme" "http",
    ":scheme" "https",
    ":status" "200",
    ":status" "204",
    ":status" "206",
    ":status" "304",
    ":status" "400",
    ":status" "404",
    ":status" "500",
    "accept-charset" "",
    "accept-encoding" "gzip, deflate",
    "accept-language" "",
    "accept-ranges" "",
    "accept" "",
    "access-control-allow-origin" "",
    "age" "",
    "allow" "",
    "authorization" "",
    "cache-control" "",
    "content-disposition" "",
    "content-encoding" "",
    "content-language" "",
    "content-length" "",
    "content-location" "",
    "content-range" "",
    "content-type" "",
    "cookie" "",
    "date" "",
    "etag" "",
    "expect" "",
    "expires" "",
    "from" "",
    "host" "",
    "if-match" "",
    "if-modified-since" "",
    "if-none-match" "",
    "if-range" "",
    "if-unmodified-since" "",
    "last-modified" "",
    "link" "",
    "location" "",
    "max-forwards" "",
    "proxy-authenticate" "",
    "proxy-authorization" "",
    "range" "",
    "referer" "",
    "refresh" "",
    "retry-after" "",
    "server" "",
    "set-cookie" "",
    "strict-transport-security" "",
    "transfer-encoding" "",
    "user-agent" "",
    "vary" "",
    "via" "",
    "www-authenticate" "",
};
