//! Owns the meaning of a request's head.

use std::io::Write as _;
use std::net::Ipv6Addr;

use httparse::Status;

use super::{HeadEnd, HeadLimits, raw_fields, refused, span_in, take_fields};
use crate::authority;
use crate::bytes::{is_target, is_token, list};
use crate::framing::Framing;
use crate::head::{RequestHead, Span, Table, Version};
use crate::known::Known;
use crate::malformed::Malformed;
use crate::path;

/// The longest method.
pub(crate) const METHOD_MOST: usize = 32;

/// What is done with a path before rules see it and it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathForm {
    /// It is brought into normal form.
    #[default]
    Normalize,
    /// It is refused unless it has normal form.
    Refuse,
    /// It stays as it came, but for what no backend could mean.
    AsIs,
}

/// Reads the head of a request from the begin of `input`, which may hold less than the head and more. `end` belongs to this
/// head and is fresh for each. Some: the head was filled, and took so many bytes. None: more is needed.
///
/// # Errors
/// What is malformed, as soon as it is seen. The connection cannot be read on.
pub fn parse(
    input: &[u8],
    end: &mut HeadEnd,
    limits: &HeadLimits,
    form: PathForm,
    head: &mut RequestHead,
) -> Result<Option<usize>, Malformed> {
    let Some(whole) = end.find(input)? else {
        return too_much(input, end, limits).map_or(Ok(None), Err);
    };
    let text = &input[whole.clone()];
    if text.len() > limits.bytes {
        return Err(too_much(text, &HeadEnd::default(), limits).unwrap_or(Malformed::HeadTooLarge));
    }
    read(text, limits, form, head)?;
    Ok(Some(whole.end))
}

/// What is over its limit in a head that is not whole.
fn too_much(input: &[u8], end: &HeadEnd, limits: &HeadLimits) -> Option<Malformed> {
    // A method, two spaces and the version stand around the target.
    let line_most = limits.target + METHOD_MOST + 12;
    let first_line = memchr::memchr(b'\r', &input[end.start..]);
    let length = first_line.unwrap_or(input.len() - end.start);
    if length > line_most && (first_line.is_some() || end.in_first_line()) {
        return Some(Malformed::TargetTooLong);
    }
    (input.len() - end.start > limits.bytes).then_some(Malformed::HeadTooLarge)
}

fn read(
    text: &[u8],
    limits: &HeadLimits,
    form: PathForm,
    head: &mut RequestHead,
) -> Result<(), Malformed> {
    head.clear();
    let mut fields = raw_fields();
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(text, &mut fields) {
        Ok(Status::Complete(length)) if length == text.len() => {}
        Ok(_) => return Err(start_line(text).unwrap_or(Malformed::LineEnd)),
        Err(error) => return Err(start_line(text).unwrap_or_else(|| refused(error, text))),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Malformed::StartLine);
    };
    if method.len() > METHOD_MOST {
        return Err(Malformed::Method);
    }
    if target.len() > limits.target {
        return Err(Malformed::TargetTooLong);
    }
    let table = &mut head.table;
    table.bytes.extend_from_slice(text);
    table.version = match version {
        0 => Version::Old,
        _ => Version::Current,
    };
    let declared = take_fields(table, request.headers, limits.fields, text)?;
    table.framing = declared.framing()?.unwrap_or(Framing::Empty);
    head.method = span_in(text, method.as_bytes());
    head.target = span_in(text, target.as_bytes());
    if method == "CONNECT" {
        return Err(Malformed::Connect);
    }
    read_target(head, target.as_bytes(), form)?;
    expectation(head)?;
    upgrade(head);
    Ok(())
}

/// What is wrong with a first line that is none. None: nothing, the fault lies behind it.
fn start_line(text: &[u8]) -> Option<Malformed> {
    let line = text.split(|&byte| byte == b'\r').next().unwrap_or(text);
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Some(Malformed::StartLine);
    };
    if !is_token(method) || method.len() > METHOD_MOST {
        return Some(Malformed::Method);
    }
    if target.is_empty() || !is_target(target) {
        return Some(Malformed::Target);
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => None,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1' =>
        {
            Some(Malformed::Version)
        }
        _ => Some(Malformed::StartLine),
    }
}

/// Takes the target apart: its form, its authority against `Host`, its path and query.
fn read_target(head: &mut RequestHead, target: &[u8], form: PathForm) -> Result<(), Malformed> {
    if !is_target(target) {
        return Err(Malformed::Target);
    }
    let (stated, rest) = split_target(target, head.method())?;
    let behind = head.target_start() + (target.len() - rest.len());
    take_authority(
        head,
        stated.map(|stated| Span::new(behind - stated.len()..behind)),
    )?;
    // `http://host` and `http://host?query` mean the root, but for OPTIONS, where nothing means the server as such.
    let root = match rest.is_empty() && head.method() == b"OPTIONS" {
        true => b'*',
        false => b'/',
    };
    (head.path, head.query) = take_path(&mut head.table, rest, behind, form, root)?;
    Ok(())
}

/// Path and query of what stands at `behind` in the head's buffer. `root` is the path where there is none.
pub(crate) fn take_path(
    table: &mut Table,
    rest: &[u8],
    behind: usize,
    form: PathForm,
    root: u8,
) -> Result<(Span, Option<Span>), Malformed> {
    let length = memchr::memchr(b'?', rest).unwrap_or(rest.len());
    let query = (length < rest.len()).then(|| Span::new(behind + length + 1..behind + rest.len()));
    let raw = &rest[..length];
    if raw.is_empty() {
        return Ok((table.append([root]), query));
    }
    let as_it_came = Span::new(behind..behind + length);
    if raw == b"*" || path::is_normal(raw) {
        return Ok((as_it_came, query));
    }
    if form == PathForm::AsIs {
        path::check_escapes(raw)?;
        return Ok((as_it_came, query));
    }
    let start = table.bytes.len();
    path::normalize(raw, &mut table.bytes)?;
    let normal = start..table.bytes.len();
    if form == PathForm::Refuse && table.bytes[normal.clone()] != *raw {
        return Err(Malformed::PathForm);
    }
    Ok((Span::new(normal), query))
}

/// The authority that a target states, if its form has one, and the rest: path and query.
fn split_target<'a>(
    target: &'a [u8],
    method: &[u8],
) -> Result<(Option<&'a [u8]>, &'a [u8]), Malformed> {
    if target.first() == Some(&b'/') {
        return Ok((None, target));
    }
    if target == b"*" {
        return match method {
            b"OPTIONS" => Ok((None, target)),
            _ => Err(Malformed::Target),
        };
    }
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target
            .get(..scheme.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    });
    let rest = &target[scheme.ok_or(Malformed::Target)?.len()..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    Ok((Some(&rest[..end]), &rest[end..]))
}

/// Settles which host is meant: the target's authority and `Host` must agree where both stand.
pub(crate) fn take_authority(
    head: &mut RequestHead,
    stated: Option<Span>,
) -> Result<(), Malformed> {
    let mut hosts = head
        .table
        .fields
        .iter()
        .filter(|field| field.known == Known::Host);
    let field = hosts.next().map(|entry| entry.value);
    if hosts.next().is_some() {
        return Err(Malformed::HostRepeated);
    }
    let Some(span) = field else {
        return match (stated, head.table.version) {
            (_, Version::Current) | (None, Version::Two) => Err(Malformed::HostMissing),
            // The target's authority is the only one, if it has any.
            (None, Version::Old) => Ok(()),
            (Some(stated), Version::Old | Version::Two) => set_authority(head, stated),
        };
    };
    set_authority(head, span)?;
    let Some(stated) = stated else { return Ok(()) };
    let other = authority::parse(head.table.at(stated))?;
    let host = head.host().as_bytes();
    let same_host = match authority::ipv6(other.host) {
        Some(address) => authority::ipv6(host) == Some(address),
        None => strip_dot(other.host).eq_ignore_ascii_case(host),
    };
    // The scheme's own port and none are the same, but which scheme was meant is the listener's to know: refuse.
    if !same_host || other.port != head.port {
        return Err(Malformed::AuthorityDiffers);
    }
    Ok(())
}

/// Takes this as the one authority.
pub(crate) fn set_authority(head: &mut RequestHead, span: Span) -> Result<(), Malformed> {
    let text = head.table.at(span);
    let (parsed, lower) = authority::scan(text)?;
    let host = strip_dot(parsed.host);
    let (length, port) = (host.len(), parsed.port);
    let address = authority::ipv6(host);
    head.authority = span;
    head.port = port;
    head.host = if let Some(address) = address {
        one_spelling(head, span.first(length), address)
    } else if lower {
        span.first(length)
    } else {
        let start = head.table.bytes.len();
        head.table
            .bytes
            .extend_from_within(span.first(length).range());
        head.table.bytes[start..].make_ascii_lowercase();
        Span::new(start..start + length)
    };
    Ok(())
}

/// Puts the one spelling of an IPv6 address (RFC 5952) behind the head's bytes, unless it stands there already.
#[cold]
fn one_spelling(head: &mut RequestHead, written: Span, address: Ipv6Addr) -> Span {
    let bytes = &mut head.table.bytes;
    let start = bytes.len();
    // Writing to memory does not fail.
    let _ = write!(bytes, "[{address}]");
    if bytes[written.range()] == bytes[start..] {
        bytes.truncate(start);
        return written;
    }
    Span::new(start..bytes.len())
}

fn strip_dot(host: &[u8]) -> &[u8] {
    host.strip_suffix(b".").unwrap_or(host)
}

/// `100-continue`, any number of times, is the one expectation (RFC 9110 section 10.1.1); HTTP/1.0 has none.
pub(crate) fn expectation(head: &mut RequestHead) -> Result<(), Malformed> {
    if head.table.version == Version::Old {
        return Ok(());
    }
    let mut expects = false;
    for field in head.fields().filter(|field| field.known == Known::Expect) {
        if !field.value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Malformed::Expectation);
        }
        expects = true;
    }
    head.expects_continue = expects && head.framing() != Framing::Empty;
    Ok(())
}

/// Protocols that carry requests: a backend that spoke one inside a tunnel would be out of every rule's sight. With TLS it could be any.
const NO_TUNNELS: [&[u8]; 5] = [b"h2c", b"h2", b"h3", b"HTTP", b"TLS"];

/// One protocol, named by one field, asked for by `Connection: upgrade`, in HTTP/1.1, without a body, and none of those.
fn upgrade(head: &mut RequestHead) {
    if !head.table.connection.upgrade
        || head.table.version == Version::Old
        || head.framing() != Framing::Empty
    {
        return;
    }
    let mut upgrades = head
        .table
        .fields
        .iter()
        .filter(|field| field.known == Known::Upgrade);
    let (Some(entry), None) = (upgrades.next(), upgrades.next()) else {
        return;
    };
    if may_be_tunnel(head.table.at(entry.value)) {
        head.upgrade = Some(entry.value);
    }
}

/// Whether a client may ask for a tunnel of this protocol.
pub(crate) fn may_be_tunnel(protocol: &[u8]) -> bool {
    let one = list(protocol).count() == 1;
    let name = protocol.split(|&byte| byte == b'/').next();
    let barred = |name: &[u8]| NO_TUNNELS.iter().any(|no| name.eq_ignore_ascii_case(no));
    one && !name.is_some_and(barred) && is_protocol(protocol)
}

/// `name` or `name/version` (RFC 9110 section 7.8).
fn is_protocol(value: &[u8]) -> bool {
    value.splitn(2, |&byte| byte == b'/').all(is_token)
}
