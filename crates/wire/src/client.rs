//! Owns who the client is: the peer, or whom trusted peers say that it is (RFC 7239 section 8 and practice).

use std::net::{IpAddr, SocketAddr};

use crate::bytes::list;
use crate::forward::Span;
use crate::head::RequestHead;
use crate::known::Known;

/// The most hops that are read.
const HOPS_MOST: usize = 64;

/// The client's address. A peer that is not trusted is the client. Else `X-Forwarded-For` is read from its last entry to
/// its first while the entries are trusted themselves: the first one that is not is the client. A malformed entry
/// ends the reading: then the entry behind it, which said so, is the client.
#[must_use]
pub fn address(head: &RequestHead, peer: IpAddr, trusted: &dyn Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer;
    let mut hops = 0;
    // Several fields are one list; the last line's last entry is the nearest hop.
    for field in head.table.fields.iter().rev() {
        if field.known != Known::ForwardedFor {
            continue;
        }
        for entry in head.table.at(field.value).rsplit(|&byte| byte == b',') {
            hops += 1;
            if !trusted(client) || hops > HOPS_MOST {
                return client;
            }
            match hop(crate::bytes::trim(entry)) {
                Some(address) => client = address,
                None => return client,
            }
        }
    }
    client
}

/// An address, with a port or without.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address
        .or_else(bracketed)
        .map(|address| address.to_canonical())
}

/// Whether text is one well-formed request id: 1 to 128 visible characters without quotes, commas and such.
#[must_use]
pub fn is_request_id(text: &[u8]) -> bool {
    (1..=128).contains(&text.len())
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:=+/@".contains(byte))
}

/// Whether text is a well-formed `traceparent` (W3C Trace Context section 3.2): lower-case hexadecimal, no field all zero,
/// version not `ff`.
#[must_use]
pub fn is_traceparent(text: &[u8]) -> bool {
    let hex = |part: &[u8]| {
        part.iter()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
    };
    let mut parts = text.splitn(5, |&byte| byte == b'-');
    let (Some(version), Some(trace), Some(parent), Some(flags)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let more = parts.next().is_some();
    let lengths = (version.len(), trace.len(), parent.len(), flags.len()) == (2, 32, 16, 2);
    let zero = |part: &[u8]| part.iter().all(|&byte| byte == b'0');
    // Version 00 has four fields; a later one may have more.
    lengths
        && [version, trace, parent, flags].into_iter().all(hex)
        && version != b"ff"
        && !(version == b"00" && more)
        && !zero(trace)
        && !zero(parent)
}

/// The span that a request hangs below, and whether that is recorded, by its `traceparent`. What peers say who are not trusted is not for
/// the caller to ask.
#[must_use]
pub fn parent(head: &RequestHead) -> Option<(Span, bool)> {
    let text = head.first(Known::Traceparent)?;
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|_| is_traceparent(text))?;
    let trace = u128::from_str_radix(text.get(3..35)?, 16).ok()?;
    let id = u64::from_str_radix(text.get(36..52)?, 16).ok()?;
    let flags = u8::from_str_radix(text.get(53..55)?, 16).ok()?;
    Some((Span { trace, id }, flags & 1 == 1))
}

/// The one value of a list that is to have one; a longer list is nobody's word.
pub(crate) fn single(value: &[u8]) -> Option<&[u8]> {
    let mut elements = list(value);
    let first = elements.next()?;
    elements.next().is_none().then_some(first)
}
