//! Owns heads out of blocks and blocks out of heads (RFC 9113 section 8), with no step between.
//!
//! What is refused of a head does not touch its connection, so a block is decoded to its end all the same.

use http::StatusCode;

use super::hpack::{Broken, Decoded, Decoder, Pseudo};
use crate::bytes::{is_target, is_token};
use crate::framing::{Declared, Framing};
use crate::head::{Entry, RequestHead, ResponseHead, Span, Table, Version};
use crate::http1::HeadLimits;
use crate::http1::request::{
    METHOD_MOST, PathForm, expectation, may_be_tunnel, set_authority, take_authority, take_path,
};
use crate::known::{Kind, Known, is_forbidden_in_trailers};
use crate::malformed::Malformed;

/// What goes on.
mod said;

pub use said::{put_request, put_response, put_trailers};

/// Fields of a cookie's crumbs per field that a head may have: browsers send each cookie as one of its own (RFC 9113 section
/// 8.2.3).
const CRUMBS: usize = 4;

/// Takes a request's head in, over what stood there. `ended`: no body follows. The protocol of an extended CONNECT (RFC 8441) becomes
/// the `Upgrade` that HTTP/1.1 has for it.
///
/// # Errors
/// The outer one ends the connection. The inner one is what is malformed, and leaves the connection's other streams alone.
pub fn request(
    decoder: &mut Decoder,
    block: &[u8],
    ended: bool,
    limits: &HeadLimits,
    form: PathForm,
    head: &mut RequestHead,
) -> Result<Result<(), Malformed>, Broken> {
    head.clear();
    head.table.version = Version::Two;
    let mut taking = Taking::new(&mut head.table, limits, Some(form));
    let taken = taking.all(decoder, block)?;
    let came = taking.came;
    Ok(taken.and_then(|()| settle(head, &came, ended)))
}

/// Makes a request of what came.
fn settle(head: &mut RequestHead, came: &Came, ended: bool) -> Result<(), Malformed> {
    let method = came.method.ok_or(Malformed::Http2)?;
    head.method = match (head.table.at(method), came.protocol) {
        (b"CONNECT", None) => return Err(Malformed::Connect),
        // What it was before HTTP/2 (RFC 8441 section 5).
        (b"CONNECT", Some(_)) => head.table.append(*b"GET"),
        (_, Some(_)) => return Err(Malformed::Http2),
        (_, None) => method,
    };
    let path = came.path.filter(|_| came.scheme);
    (head.target, head.path, head.query) = path.ok_or(Malformed::Http2)?;
    if head.target() == b"*" && head.method() != b"OPTIONS" {
        return Err(Malformed::Target);
    }
    if ended && promises(came.declared)? {
        return Err(Malformed::Http2);
    }
    head.table.framing = framing(came.declared, ended)?;
    match came.authority {
        Some(authority) if !came.hosts => set_authority(head, authority)?,
        authority => take_authority(head, authority)?,
    }
    if came.expects {
        expectation(head)?;
    }
    if let Some(protocol) = came.protocol {
        if !may_be_tunnel(head.table.at(protocol)) {
            return Err(Malformed::Http2);
        }
        // Its body is the tunnel.
        head.table.framing = Framing::Empty;
        head.upgrade = Some(protocol);
    }
    Ok(())
}

/// Takes a response's head in, over what stood there. `ended`: no body follows. `to_head`: it answers a HEAD.
///
/// # Errors
/// The outer one ends the connection. The inner one is what is malformed: the backend's fault.
pub fn response(
    decoder: &mut Decoder,
    block: &[u8],
    ended: bool,
    limits: &HeadLimits,
    to_head: bool,
    head: &mut ResponseHead,
) -> Result<Result<(), Malformed>, Broken> {
    head.clear();
    head.table.version = Version::Two;
    let mut taking = Taking::new(&mut head.table, limits, None);
    let taken = taking.all(decoder, block)?;
    let came = taking.came;
    let settled = taken.and_then(|()| {
        head.status = came.status.ok_or(Malformed::Http2)?;
        settle_response(head, came.declared, ended, to_head)
    });
    Ok(settled)
}

fn settle_response(
    head: &mut ResponseHead,
    declared: Declared,
    ended: bool,
    to_head: bool,
) -> Result<(), Malformed> {
    // A change of protocol is not in HTTP/2 (RFC 9113 section 8.6).
    let status = StatusCode::from_u16(head.status).map_err(|_| Malformed::Status)?;
    if head.status > 599 || head.status == 101 {
        return Err(Malformed::Status);
    }
    let phrase = status.canonical_reason().unwrap_or_default();
    head.reason = head.table.append(phrase.bytes());
    if ended && !to_head && head.status != 304 && promises(declared)? {
        return Err(Malformed::Http2);
    }
    head.table.framing = framing_of_response(head.status, declared, ended || to_head)?;
    Ok(())
}

/// Appends trailers as lines of text, those that may go on (RFC 9110 section 6.5.1), each with its line end.
///
/// # Errors
/// The outer one ends the connection. The inner one: they are over the limits, or no fields.
pub fn trailers_of(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &HeadLimits,
    into: &mut Vec<u8>,
) -> Result<Result<(), Malformed>, Broken> {
    let (mut count, mut taken) = (0, Ok(()));
    let listed = decoder.decode(block, most_listed(limits), |field| {
        if taken.is_ok() {
            count += 1;
            taken = trailer(&field, count, limits, into);
        }
    })?;
    if listed.over {
        taken = taken.and(Err(Malformed::TrailersTooLarge));
    }
    Ok(taken)
}

fn trailer(
    field: &Decoded<'_>,
    count: usize,
    limits: &HeadLimits,
    into: &mut Vec<u8>,
) -> Result<(), Malformed> {
    // None has a meaning behind a body (RFC 9113 section 8.1), nor has what concerns one connection.
    if field.pseudo.is_some() || field.wrong == Some(Malformed::Http2) {
        return Err(Malformed::Http2);
    }
    if field.wrong.is_some() {
        return Err(Malformed::Trailer);
    }
    of_one_connection(field)?;
    if count > limits.fields {
        return Err(Malformed::TrailersTooLarge);
    }
    if is_forbidden_in_trailers(field.name) {
        return Ok(());
    }
    if into.len() + field.name.len() + field.value.len() + 4 > limits.bytes {
        return Err(Malformed::TrailersTooLarge);
    }
    for part in [field.name, b": ", field.value, b"\r\n"] {
        into.extend_from_slice(part);
    }
    Ok(())
}

/// Refuses what concerns one connection only (RFC 9113 section 8.2.2).
#[inline]
fn of_one_connection(field: &Decoded<'_>) -> Result<(), Malformed> {
    match field.known {
        Known::Other => Ok(()),
        Known::Te if field.value.eq_ignore_ascii_case(b"trailers") => Ok(()),
        Known::TransferEncoding => Err(Malformed::Http2),
        known if known.kind() == Kind::HopByHop => Err(Malformed::Http2),
        _ => Ok(()),
    }
}

/// Whether a field asks for more than to be taken.
#[inline]
const fn says_something(known: Known) -> bool {
    matches!(known.kind(), Kind::HopByHop | Kind::Framing)
        || matches!(known, Known::Cookie | Known::Expect)
}

/// What a head within its limits may list: its bytes, and the overhead of its fields and of a cookie's crumbs.
const fn most_listed(limits: &HeadLimits) -> usize {
    let fields = limits.fields.saturating_mul(1 + CRUMBS).saturating_add(16);
    limits.bytes.saturating_add(fields.saturating_mul(40))
}

/// What came beside plain fields.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    method: Option<Span>,
    /// One of HTTP's.
    scheme: bool,
    authority: Option<Span>,
    /// As it came, then path and query apart.
    path: Option<(Span, Span, Option<Span>)>,
    protocol: Option<Span>,
    status: Option<u16>,
    declared: Declared,
    /// A `host`, an `expect`.
    hosts: bool,
    expects: bool,
}

/// A head on its way into a table.
struct Taking<'h> {
    table: &'h mut Table,
    limits: &'h HeadLimits,
    /// What is done with its path; a response has none.
    form: Option<PathForm>,
    came: Came,
    /// A field came, and no pseudo-field may any more.
    began: bool,
    /// Crumbs of a cookie, and where their field stands.
    crumbs: usize,
    cookie: usize,
}

impl<'h> Taking<'h> {
    fn new(table: &'h mut Table, limits: &'h HeadLimits, form: Option<PathForm>) -> Self {
        Self {
            table,
            limits,
            form,
            came: Came::default(),
            began: false,
            crumbs: 0,
            cookie: 0,
        }
    }

    /// Takes a whole block; what is behind the first fault is only decoded.
    fn all(
        &mut self,
        decoder: &mut Decoder,
        block: &[u8],
    ) -> Result<Result<(), Malformed>, Broken> {
        let mut taken = Ok(());
        let listed = decoder.decode(block, most_listed(self.limits), |field| {
            if taken.is_ok() {
                taken = self.take(&field);
            }
        })?;
        if listed.over {
            taken = taken.and(Err(Malformed::HeadTooLarge));
        }
        Ok(taken)
    }

    #[inline]
    fn take(&mut self, field: &Decoded<'_>) -> Result<(), Malformed> {
        if field.pseudo.is_some() || field.wrong.is_some() || says_something(field.known) {
            return self.take_unusual(field);
        }
        self.put(field)
    }

    /// What is no plain field; apart, so that those are quick.
    #[inline(never)]
    fn take_unusual(&mut self, field: &Decoded<'_>) -> Result<(), Malformed> {
        if let Some(which) = field.pseudo {
            return self.pseudo(which, field.value);
        }
        if let Some(wrong) = field.wrong {
            return Err(wrong);
        }
        of_one_connection(field)?;
        match field.known {
            Known::ContentLength => self.came.declared.length(field.value)?,
            Known::Host => self.came.hosts = true,
            Known::Expect => self.came.expects = true,
            Known::Cookie => {
                self.crumbs += 1;
                if self.crumbs > 1 {
                    return self.crumb(field.value);
                }
                self.cookie = self.table.fields.len();
            }
            _ => {}
        }
        self.put(field)
    }

    fn pseudo(&mut self, which: Pseudo, value: &[u8]) -> Result<(), Malformed> {
        // Not behind a field, nor in the other kind of head.
        let form = match (self.form, which) {
            _ if self.began => return Err(Malformed::Http2),
            (None, Pseudo::Status) => return self.status(value),
            (None, _) | (Some(_), Pseudo::Status) => return Err(Malformed::Http2),
            (Some(form), _) => form,
        };
        let place = match which {
            Pseudo::Method if value.len() > METHOD_MOST || !is_token(value) => {
                return Err(Malformed::Method);
            }
            Pseudo::Method => &mut self.came.method,
            Pseudo::Authority => &mut self.came.authority,
            Pseudo::Protocol => &mut self.came.protocol,
            Pseudo::Path => return self.path(value, form),
            Pseudo::Scheme => return self.scheme(value),
            Pseudo::Status | Pseudo::Unknown => return Err(Malformed::Http2),
        };
        if place.is_some() {
            return Err(Malformed::Http2);
        }
        if self.table.bytes.len() + value.len() > self.limits.bytes {
            return Err(Malformed::HeadTooLarge);
        }
        *place = Some(self.table.put(value));
        Ok(())
    }

    fn path(&mut self, value: &[u8], form: PathForm) -> Result<(), Malformed> {
        if self.came.path.is_some() || value.is_empty() {
            return Err(Malformed::Http2);
        }
        if value.len() > self.limits.target {
            return Err(Malformed::TargetTooLong);
        }
        if self.table.bytes.len() + value.len() > self.limits.bytes {
            return Err(Malformed::HeadTooLarge);
        }
        if !is_target(value) || value.first() != Some(&b'/') && value != b"*" {
            return Err(Malformed::Target);
        }
        let target = self.table.put(value);
        let behind = target.range().start;
        let (path, query) = take_path(self.table, value, behind, form, b'/')?;
        self.came.path = Some((target, path, query));
        Ok(())
    }

    fn scheme(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let of_http = value == b"https" || value == b"http";
        // Others stand for what is no HTTP; which of the two it was, the listener knows.
        let other_case =
            || value.eq_ignore_ascii_case(b"https") || value.eq_ignore_ascii_case(b"http");
        if self.came.scheme || !(of_http || other_case()) {
            return Err(Malformed::Http2);
        }
        self.came.scheme = true;
        Ok(())
    }

    fn status(&mut self, value: &[u8]) -> Result<(), Malformed> {
        if self.came.status.is_some() {
            return Err(Malformed::Http2);
        }
        let status = StatusCode::from_bytes(value).map_err(|_| Malformed::Status)?;
        self.came.status = Some(status.as_u16());
        Ok(())
    }

    #[inline]
    fn put(&mut self, field: &Decoded<'_>) -> Result<(), Malformed> {
        let start = self.table.bytes.len();
        let (middle, end) = (start + field.name.len(), start + field.text.len());
        if end > self.limits.bytes {
            return Err(Malformed::HeadTooLarge);
        }
        if self.table.fields.len() >= self.limits.fields {
            return Err(Malformed::TooManyFields);
        }
        self.began = true;
        self.table.bytes.extend_from_slice(field.text);
        self.table.fields.push(Entry {
            name: Span::new(start..middle),
            value: Span::new(middle..end),
            known: field.known,
        });
        Ok(())
    }

    /// Adds a crumb to the cookie (RFC 9113 section 8.2.3). Crumbs come one after the other; where something came between, the
    /// cookie is copied behind it.
    fn crumb(&mut self, value: &[u8]) -> Result<(), Malformed> {
        if self.crumbs > self.limits.fields.saturating_mul(CRUMBS) {
            return Err(Malformed::TooManyFields);
        }
        // An empty one says nothing.
        if value.is_empty() {
            return Ok(());
        }
        let bytes = &mut self.table.bytes;
        let Some(cookie) = self.table.fields.get_mut(self.cookie) else {
            return Ok(());
        };
        let mut whole = cookie.value.range();
        if whole.end != bytes.len() {
            let start = bytes.len();
            bytes.extend_from_within(whole);
            whole = start..bytes.len();
        }
        if !whole.is_empty() {
            bytes.extend_from_slice(b"; ");
        }
        bytes.extend_from_slice(value);
        cookie.value = Span::new(whole.start..bytes.len());
        if bytes.len() > self.limits.bytes {
            return Err(Malformed::HeadTooLarge);
        }
        Ok(())
    }
}

/// Whether a length says that more comes. Where nothing does, the message is malformed (RFC 9113 section 8.1.1): who reads it by
/// HTTP/1.1 would take what follows for its body.
fn promises(declared: Declared) -> Result<bool, Malformed> {
    Ok(matches!(declared.framing()?, Some(Framing::Exact(_))))
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

#[cfg(test)]
mod tests;
