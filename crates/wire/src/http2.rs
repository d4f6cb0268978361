//! Owns HTTP/2's messages (RFC 9113 section 8): into the heads that every protocol has here, and out of the texts that go on.
//!
//! Frames and their compression are read before, by the `h2` crate; what it hands over is checked all the same, because what
//! stands in a head here may be written to a backend as HTTP/1.1. What goes out is made of the same text that HTTP/1.1 gets, so that
//! what is left out for the next hop is decided in one place ([`forward`](crate::forward)).

use http::header::{COOKIE, HeaderMap};

use crate::bytes::is_token;
use crate::framing::{Declared, Framing};
use crate::head::{Entry, RequestHead, ResponseHead, Span, Table, Version};
use crate::http1::HeadLimits;
use crate::http1::request::{
    METHOD_MOST, PathForm, expectation, may_be_tunnel, take_authority, take_path,
};
use crate::known::{Kind, Known, is_forbidden_in_trailers};
use crate::malformed::Malformed;

use hpack::is_field;

/// What goes on, as HTTP/2.
mod out;

/// Frames.
pub mod frame;

/// Fields, out of blocks into heads, and out of lines into blocks.
pub mod fields;

/// Fields, compressed.
pub mod hpack;

pub use out::{request_for, response_for, trailers_for};

/// Fields of a cookie's crumbs per field that a head may have: browsers send each cookie as one of its own (RFC 9113 section
/// 8.2.3).
const CRUMBS: usize = 4;

/// Takes a request's head in. `protocol` is the one of an extended CONNECT (RFC 8441); it becomes the `Upgrade` that HTTP/1.1 has
/// for it. `ended`: no body follows.
///
/// # Errors
/// What is malformed. The other streams of its connection are not touched by it.
pub fn request(
    parts: &http::request::Parts,
    protocol: Option<&[u8]>,
    ended: bool,
    limits: &HeadLimits,
    form: PathForm,
    head: &mut RequestHead,
) -> Result<(), Malformed> {
    head.clear();
    head.table.version = Version::Two;
    let method = match (parts.method.as_str(), protocol) {
        ("CONNECT", None) => return Err(Malformed::Connect),
        // What it was before HTTP/2 (RFC 8441 section 5).
        ("CONNECT", Some(_)) => "GET",
        (_, Some(_)) => return Err(Malformed::Http2),
        (method, None) => method,
    };
    if method.len() > METHOD_MOST {
        return Err(Malformed::Method);
    }
    let path = parts
        .uri
        .path_and_query()
        .map_or("", http::uri::PathAndQuery::as_str)
        .as_bytes();
    if path.len() > limits.target {
        return Err(Malformed::TargetTooLong);
    }
    if !crate::bytes::is_target(path) || path == b"*" && method != "OPTIONS" {
        return Err(Malformed::Target);
    }
    let table = &mut head.table;
    head.method = table.append(method.bytes());
    head.target = table.append(path.iter().copied());
    let declared = take_fields(table, &parts.headers, limits)?;
    table.framing = framing(declared, ended)?;
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let authority = authority.map(|stated| head.table.append(stated.bytes()));
    take_authority(head, authority)?;
    let start = head.target_start();
    // Without a path, as `OPTIONS *` is here, or with a query alone.
    let root = match path.is_empty() && method == "OPTIONS" {
        true => b'*',
        false => b'/',
    };
    (head.path, head.query) = take_path(&mut head.table, path, start, form, root)?;
    expectation(head)?;
    if let Some(protocol) = protocol {
        if !may_be_tunnel(protocol) {
            return Err(Malformed::Http2);
        }
        // Its body is the tunnel.
        head.table.framing = Framing::Empty;
        head.upgrade = Some(head.table.append(protocol.iter().copied()));
    }
    Ok(())
}

/// Takes a response's head in. `to_head`: it answers a HEAD. `ended`: no body follows.
///
/// # Errors
/// What is malformed: the backend's fault.
pub fn response(
    parts: &http::response::Parts,
    ended: bool,
    limits: &HeadLimits,
    to_head: bool,
    head: &mut ResponseHead,
) -> Result<(), Malformed> {
    head.clear();
    let table = &mut head.table;
    table.version = Version::Two;
    head.status = parts.status.as_u16();
    // A change of protocol is not in HTTP/2 (RFC 9113 section 8.6).
    if head.status > 599 || head.status == 101 {
        return Err(Malformed::Status);
    }
    let phrase = parts.status.canonical_reason().unwrap_or_default();
    head.reason = table.append(phrase.bytes());
    let declared = take_fields(table, &parts.headers, limits)?;
    table.framing = framing_of_response(head.status, declared, ended || to_head)?;
    Ok(())
}

/// Appends trailers as lines of text, those that may go on (RFC 9110 section 6.5.1), each with its line end.
///
/// # Errors
/// They are over the limits, or no fields.
pub fn trailers(map: &HeaderMap, limits: &HeadLimits, into: &mut Vec<u8>) -> Result<(), Malformed> {
    if map.len() > limits.fields {
        return Err(Malformed::TrailersTooLarge);
    }
    for (name, value) in map {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        if !is_token(name) || !is_field(value) {
            return Err(Malformed::Trailer);
        }
        if is_forbidden_in_trailers(name) {
            continue;
        }
        for part in [name, b": ", value, b"\r\n"] {
            into.extend_from_slice(part);
        }
        if into.len() > limits.bytes {
            return Err(Malformed::TrailersTooLarge);
        }
    }
    Ok(())
}

fn framing(declared: Declared, ended: bool) -> Result<Framing, Malformed> {
    Ok(match (declared.framing()?, ended) {
        (_, true) | (Some(Framing::Empty), _) => Framing::Empty,
        (Some(framing), false) => framing,
        (None, false) => Framing::UntilClose,
    })
}

/// `ended`: no body follows, or none may.
fn framing_of_response(status: u16, declared: Declared, ended: bool) -> Result<Framing, Malformed> {
    let bodyless = matches!(status, 100..=199 | 204);
    Ok(match framing(declared, ended || status == 304)? {
        Framing::Empty => Framing::Empty,
        // Its end may still be said by a frame of its own, but no length.
        Framing::Exact(_) if bodyless => return Err(Malformed::BodyForbidden),
        _ if bodyless => Framing::Empty,
        framing => framing,
    })
}

/// Copies fields into the table; a cookie's crumbs become one again.
fn take_fields(
    table: &mut Table,
    fields: &HeaderMap,
    limits: &HeadLimits,
) -> Result<Declared, Malformed> {
    let mut declared = Declared::default();
    let mut crumbs = 0;
    for (name, value) in fields {
        let (text, value) = (name.as_str().as_bytes(), value.as_bytes());
        let known = Known::of(text);
        // The crate takes quotes in names that come by HTTP/2.
        if !is_token(text) {
            return Err(Malformed::FieldName);
        }
        if !is_field(value) {
            return Err(Malformed::FieldValue);
        }
        match known {
            Known::ContentLength => declared.length(value)?,
            Known::TransferEncoding => return Err(Malformed::Http2),
            Known::Te if !value.eq_ignore_ascii_case(b"trailers") => return Err(Malformed::Http2),
            Known::Te => {}
            // What concerns one connection only (RFC 9113 section 8.2.2).
            _ if known.kind() == Kind::HopByHop => return Err(Malformed::Http2),
            _ => {}
        }
        if table.bytes.len() + text.len() + value.len() > limits.bytes {
            return Err(Malformed::HeadTooLarge);
        }
        if known == Known::Cookie {
            crumbs += 1;
            if crumbs > 1 {
                continue;
            }
        }
        if table.fields.len() == limits.fields {
            return Err(Malformed::TooManyFields);
        }
        let name = table.append(text.iter().copied());
        let value = table.append(value.iter().copied());
        table.fields.push(Entry { name, value, known });
    }
    if crumbs > 1 {
        join_crumbs(table, fields, crumbs, limits)?;
    }
    Ok(declared)
}

/// Puts all crumbs behind the head's bytes, in their order, and has the one field mean them.
#[cold]
fn join_crumbs(
    table: &mut Table,
    fields: &HeaderMap,
    crumbs: usize,
    limits: &HeadLimits,
) -> Result<(), Malformed> {
    if crumbs > limits.fields.saturating_mul(CRUMBS) {
        return Err(Malformed::TooManyFields);
    }
    let start = table.bytes.len();
    // An empty one says nothing.
    let crumbs = fields.get_all(COOKIE).iter();
    for crumb in crumbs.filter(|crumb| !crumb.is_empty()) {
        if table.bytes.len() > start {
            table.bytes.extend_from_slice(b"; ");
        }
        table.bytes.extend_from_slice(crumb.as_bytes());
        if table.bytes.len() > limits.bytes {
            return Err(Malformed::HeadTooLarge);
        }
    }
    let whole = Span::new(start..table.bytes.len());
    let one = table
        .fields
        .iter_mut()
        .find(|one| one.known == Known::Cookie);
    if let Some(one) = one {
        one.value = whole;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
