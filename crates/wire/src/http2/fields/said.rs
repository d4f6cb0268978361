//! Owns blocks, made of the text that HTTP/1.1 would get.

use crate::authority;
use crate::bytes::{is_target, is_token};
use crate::forward::Forwardable;
use crate::http2::hpack::{Encoder, Name, Pseudo, Way};
use crate::malformed::Malformed;

/// Appends a block of a response's head, the text with its empty line. `101` becomes what HTTP/2 has for it. Returns the status that
/// was said.
///
/// # Errors
/// It is no head. Then nothing was appended, and the encoder begins anew with its next block.
pub fn put_response(
    encoder: &mut Encoder,
    head: &[u8],
    out: &mut Vec<u8>,
) -> Result<u16, Malformed> {
    let (&first, rest) = head.split_first_chunk().ok_or(Malformed::StartLine)?;
    let [_, _, _, _, _, _, _, _, _, a, b, c] = first;
    // The phrase is not said in HTTP/2.
    let phrase = find::<b'\r'>(rest).ok_or(Malformed::StartLine)?;
    let lines = rest.get(phrase + 2..).unwrap_or_default();
    if ![a, b, c].iter().all(u8::is_ascii_digit) || a == b'0' {
        return Err(Malformed::Status);
    }
    let digit = |byte: u8| u16::from(byte - b'0');
    let status = digit(a) * 100 + digit(b) * 10 + digit(c);
    let switches = status == 101;
    let status = if switches { 200 } else { status };
    // Nobody sent the key that this answers (RFC 8441 section 5).
    let out_of_place: &[u8] = if switches {
        b"sec-websocket-accept"
    } else {
        b""
    };
    whole(encoder, out, |encoder, out| {
        encoder.status(status, out);
        put_lines(encoder, lines, out_of_place, out)
    })?;
    Ok(status)
}

/// Appends a block of trailers, of their lines.
///
/// # Errors
/// They are no fields. Then nothing was appended, and the encoder begins anew with its next block.
pub fn put_trailers(
    encoder: &mut Encoder,
    lines: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    whole(encoder, out, |encoder, out| {
        put_lines(encoder, lines, b"", out)
    })
}

/// Appends a block of a request's head for a backend. `secure`: over TLS. `tunnel`: its upgrade to this protocol is asked for as an
/// extended CONNECT (RFC 8441).
///
/// # Errors
/// HTTP/2 cannot say it: a target or a host that it has no form for. Then nothing was appended, and the encoder begins anew with its
/// next block.
pub fn put_request(
    encoder: &mut Encoder,
    head: &Forwardable,
    secure: bool,
    tunnel: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let (first, lines) = split_line(head.as_bytes()).ok_or(Malformed::StartLine)?;
    let mut parts = first.split(|&byte| byte == b' ');
    let (method, target) = (parts.next(), parts.next());
    let method = method.filter(|method| is_token(method));
    let method = method.ok_or(Malformed::Method)?;
    let of_form = |target: &&[u8]| target.first() == Some(&b'/') || target == b"*";
    let target = target.filter(|target| of_form(target) && is_target(target));
    let target = target.ok_or(Malformed::Target)?;
    let host = host(lines).ok_or(Malformed::HostMissing)?;
    authority::parse(host).map_err(|_| Malformed::HostMissing)?;
    if !tunnel.unwrap_or_default().iter().all(u8::is_ascii_graphic) {
        return Err(Malformed::Http2);
    }
    // What HTTP/1.1 shows of having understood, HTTP/2 has no use for (RFC 8441 section 5).
    let out_of_place: &[u8] = if tunnel.is_some() {
        b"sec-websocket-key"
    } else {
        b""
    };
    let method = if tunnel.is_some() { b"CONNECT" } else { method };
    let scheme: &[u8] = if secure { b"https" } else { b"http" };
    whole(encoder, out, |encoder, out| {
        encoder.pseudo(Pseudo::Method, method, out);
        encoder.pseudo(Pseudo::Scheme, scheme, out);
        encoder.pseudo(Pseudo::Authority, host, out);
        encoder.pseudo(Pseudo::Path, target, out);
        if let Some(protocol) = tunnel {
            encoder.pseudo(Pseudo::Protocol, protocol, out);
        }
        put_lines(encoder, lines, out_of_place, out)?;
        if head.takes_trailers() {
            encoder.field(b"te", b"trailers", out);
        }
        Ok(())
    })
}

/// One whole block, or nothing of it: what it put into the encoder's table the peer would not know of.
#[inline]
fn whole(
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
    put: impl FnOnce(&mut Encoder, &mut Vec<u8>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let start = out.len();
    encoder.begin(out);
    let said = put(encoder, out);
    if said.is_err() {
        out.truncate(start);
        encoder.forget();
    }
    said
}

/// A line without its end, and what is behind. None: an empty one, or what is no line.
#[inline]
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = find::<b'\r'>(text).filter(|&end| end > 0)?;
    let (line, rest) = text.split_at(end);
    Some((line, rest.get(2..).unwrap_or_default()))
}

/// Name and value of a line.
#[inline]
fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = find::<b':'>(line)?;
    // A space is behind the colon, unless nothing is.
    Some((&line[..colon], line.get(colon + 2..).unwrap_or_default()))
}

/// Where a byte stands first. What is looked for here is 5 to 50 bytes away: eight bytes at a time cost less than a call of `memchr`.
#[inline]
fn find<const BYTE: u8>(text: &[u8]) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let (eights, rest) = text.as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        // A zero where it stands; what is behind the first one does not matter.
        let zero = u64::from_le_bytes(*eight) ^ (EACH * BYTE as u64);
        let borrows = zero.wrapping_sub(EACH) & !zero & (0x80 * EACH);
        if borrows != 0 {
            return Some(at * 8 + borrows.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|&byte| byte == BYTE)?;
    Some(text.len() - rest.len() + place)
}

fn host(mut lines: &[u8]) -> Option<&[u8]> {
    while let Some((line, rest)) = split_line(lines) {
        let (name, value) = split_field(line)?;
        if Name::of(name).way() == Way::Host {
            return Some(value);
        }
        lines = rest;
    }
    None
}

/// Says lines, up to an empty one, without what HTTP/2 says otherwise.
fn put_lines(
    encoder: &mut Encoder,
    mut lines: &[u8],
    out_of_place: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut place = 0;
    loop {
        if let Some(rest) = encoder.expected(place, lines, out) {
            lines = rest;
        } else {
            let Some((line, rest)) = split_line(lines) else {
                return Ok(());
            };
            lines = rest;
            if !encoder.line(place, line, out) {
                put_line(encoder, place, line, out_of_place, out)?;
            }
        }
        place += 1;
    }
}

/// Says a line that was not said before, or is said each time.
#[inline(never)]
fn put_line(
    encoder: &mut Encoder,
    place: usize,
    line: &[u8],
    out_of_place: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let (text, value) = split_field(line).ok_or(Malformed::FieldName)?;
    let name = Name::of(text);
    let of_http_1 = matches!(name.way(), Way::Hop | Way::Host);
    if of_http_1 || !out_of_place.is_empty() && text.eq_ignore_ascii_case(out_of_place) {
        return Ok(());
    }
    encoder.checked(place, line, name, value, out)
}
