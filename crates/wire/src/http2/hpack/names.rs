//! Owns the names that the encoder knows, how it says their fields, and how it finds them.

use super::fixed::ALL;

/// How a field is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http2) enum Way {
    /// Put into the table: its next is one byte.
    Index,
    /// Said each time: it is hardly the same twice, and would push out what is.
    Literal,
    /// Said so that nobody puts it into a table.
    Never,
    /// Never, if it is so short that it could be guessed.
    Cookie,
    /// `host`, which is a pseudo-field here.
    Host,
    /// Not said in HTTP/2: it is of one connection. Who says it all the same gets it indexed.
    Hop,
}

/// One name.
pub(super) struct Named {
    /// In lower case.
    pub(super) name: &'static [u8],
    ends: Ends,
    /// In the table that both ends have; 0: it is not in there.
    pub(super) index: u8,
    /// Not 0, but for the name that stands for all others.
    pub(super) id: u8,
    pub(super) way: Way,
}

/// What a text begins and ends with: of up to 16 bytes all that it is, its length given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Ends {
    #[inline]
    pub(super) const fn of(text: &[u8]) -> Self {
        if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
            return Self {
                first: u64::from_le_bytes(*first),
                last: u64::from_le_bytes(*last),
            };
        }
        if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
            return Self {
                first: u32::from_le_bytes(*first) as u64,
                last: u32::from_le_bytes(*last) as u64,
            };
        }
        match *text {
            [] => Self { first: 0, last: 0 },
            [a, ..] => Self {
                first: (a as u64) << 8 | text[text.len() / 2] as u64,
                last: text[text.len() - 1] as u64,
            },
        }
    }

    /// Letters in lower case.
    #[inline]
    const fn lower(self) -> Self {
        Self {
            first: lower(self.first),
            last: lower(self.last),
        }
    }
}

/// Eight bytes with their letters in lower case, at once: what is added carries into the high bit of those from `A` on, and of those
/// behind `Z`.
#[inline]
const fn lower(eight: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = eight & (0x7f * EACH);
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let behind_z = low + (0x7f - b'Z' as u64) * EACH;
    let upper = (from_a ^ behind_z) & !eight & (0x80 * EACH);
    eight | upper >> 2
}

/// Whether a text in any case is this one in lower case.
fn is_lower_of(text: &[u8], low: &[u8]) -> bool {
    let (eights, rest) = text.as_chunks::<8>();
    let (low_eights, low_rest) = low.as_chunks::<8>();
    let same =
        |one: &[u8; 8], low: &[u8; 8]| lower(u64::from_le_bytes(*one)) == u64::from_le_bytes(*low);
    text.len() == low.len()
        && eights
            .iter()
            .zip(low_eights)
            .all(|(one, low)| same(one, low))
        && Ends::of(rest).lower() == Ends::of(low_rest)
}

const fn named(name: &'static str, way: Way) -> Named {
    let name = name.as_bytes();
    // The first of its name, as everybody names it.
    let mut index = ALL.len() - 1;
    while index > 0 && !same(ALL[index].name(), name) {
        index -= 1;
    }
    while index > 1 && same(ALL[index - 1].name(), name) {
        index -= 1;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 62")]
    let index = index as u8;
    Named {
        name,
        ends: Ends::of(name),
        index,
        id: 0,
        way,
    }
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

macro_rules! names {
    ($($way:ident: $($name:literal)*;)*) => {
        [$($(named($name, Way::$way),)*)*]
    };
}

const COUNT: usize = NAMES.len();

/// By their ids: any other name, then pseudo-fields, then what is said often or in a way of its own.
static TABLE: [Named; COUNT] = NAMES;
const NAMES: [Named; 83] = {
    let mut names = names! {
        Index: "" ":authority" ":method";
        Literal: ":path";
        Index: ":scheme" ":status" ":protocol"
            "accept-charset" "accept-encoding" "accept-language" "accept-ranges" "accept"
            "access-control-allow-origin" "allow" "cache-control" "content-disposition" "content-encoding"
            "content-language" "content-location" "content-type" "date" "expect" "expires" "from" "link"
            "max-forwards" "proxy-authenticate" "referer" "refresh" "retry-after" "server"
            "strict-transport-security" "user-agent" "vary" "via" "www-authenticate";
        Literal: "age" "content-length" "content-range" "etag" "if-match" "if-modified-since" "if-none-match"
            "if-range" "if-unmodified-since" "last-modified" "location" "range"
            "x-request-id" "x-correlation-id" "x-trace-id" "traceparent" "tracestate" "x-b3-traceid" "x-b3-spanid"
            "x-amz-request-id" "x-amz-id-2" "cf-ray" "grpc-timeout" "server-timing" "x-runtime" "x-response-time"
            "sec-websocket-key" "sec-websocket-accept" "x-envoy-upstream-service-time" "content-md5"
            "content-digest" "x-amzn-trace-id" "x-forwarded-for" "x-real-ip" "forwarded";
        Never: "authorization" "proxy-authorization" "set-cookie";
        Cookie: "cookie";
        Host: "host";
        Hop: "connection" "keep-alive" "proxy-connection" "te" "transfer-encoding" "upgrade" "http2-settings";
    };
    let mut id = 0;
    while id < names.len() {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let number = id as u8;
        names[id].id = number;
        id += 1;
    }
    names
};

/// Slots of the index of names.
const SLOTS: usize = 1024;

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "10 bits are left")]
const fn slot(ends: Ends, length: usize, factor: u64) -> usize {
    let mixed = ends.first ^ ends.last.rotate_left(29) ^ length as u64;
    (mixed.wrapping_mul(factor) >> (64 - SLOTS.ilog2())) as usize
}

/// Ids by slots and the factor by which no two names have the same: found by the compiler.
static INDEX: ([u8; SLOTS], u64) = {
    let mut factor = 0x9e37_79b9_7f4a_7c15_u64;
    loop {
        let mut slots = [0; SLOTS];
        let mut id = 1;
        while id < COUNT {
            let at = slot(NAMES[id].ends, NAMES[id].name.len(), factor);
            if slots[at] != 0 {
                break;
            }
            slots[at] = NAMES[id].id;
            id += 1;
        }
        if id == COUNT {
            break (slots, factor);
        }
        factor = factor
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f)
            | 1;
    }
};

/// The name of all names that are not known here.
const OTHER: u8 = 0;

/// A name, in any case.
#[derive(Clone, Copy)]
pub(in crate::http2) struct Name<'a> {
    pub(super) text: &'a [u8],
    /// In lower case.
    pub(super) ends: Ends,
    pub(super) named: &'static Named,
}

impl<'a> Name<'a> {
    /// How its field is said.
    #[inline]
    pub(in crate::http2) const fn way(self) -> Way {
        self.named.way
    }

    /// Whether it is one of those that are known here, of which nothing needs to be checked.
    #[inline]
    pub(super) const fn is_known(self) -> bool {
        self.named.id != OTHER
    }

    #[inline]
    pub(in crate::http2) fn of(text: &'a [u8]) -> Self {
        let ends = Ends::of(text).lower();
        let (slots, factor) = &INDEX;
        let named = &TABLE[usize::from(slots[slot(ends, text.len(), *factor)])];
        let is = named.ends == ends
            && named.name.len() == text.len()
            && (text.len() <= 16 || is_lower_of(text, named.name));
        Self {
            text,
            ends,
            named: if is {
                named
            } else {
                &TABLE[usize::from(OTHER)]
            },
        }
    }
}
