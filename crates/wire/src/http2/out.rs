//! Owns what goes on as HTTP/2, made of the text that HTTP/1.1 would get.

use std::ops::Range;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};

use crate::forward::Forwardable;
use crate::known::{Kind, Known};
use crate::malformed::Malformed;

/// A request for a backend. `secure`: over TLS. `tunnel`: its upgrade is asked for as an extended CONNECT (RFC 8441), of which the
/// caller adds the protocol.
///
/// # Errors
/// HTTP/2 cannot say it: a target or a host that it has no form for.
pub fn request_for(
    head: &Forwardable,
    secure: bool,
    tunnel: bool,
) -> Result<Request<()>, Malformed> {
    let mut lines = Lines::of(head.as_bytes());
    let first = lines.next().ok_or(Malformed::StartLine)?;
    let mut parts = lines.text[first].split(|&byte| byte == b' ');
    let (method, target) = (parts.next(), parts.next());
    let method = method.and_then(|method| Method::from_bytes(method).ok());
    let target = target.and_then(|target| PathAndQuery::try_from(target).ok());
    let mut fields = HeaderMap::with_capacity(ROOM);
    let mut host = None;
    put_lines(&mut lines, &mut fields, &mut host)?;
    if tunnel {
        // What HTTP/1.1 shows of having understood, HTTP/2 has no use for (RFC 8441 section 5).
        fields.remove("sec-websocket-key");
    }
    if head.takes_trailers() {
        let name = HeaderName::from_static("te");
        fields.insert(name, HeaderValue::from_static("trailers"));
    }
    let authority = host.and_then(|host| Authority::from_maybe_shared(host).ok());
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(authority.ok_or(Malformed::HostMissing)?);
    uri.path_and_query = Some(target.ok_or(Malformed::Target)?);
    let mut request = Request::new(());
    *request.method_mut() = match tunnel {
        true => Method::CONNECT,
        false => method.ok_or(Malformed::Method)?,
    };
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Malformed::Target)?;
    *request.headers_mut() = fields;
    Ok(request)
}

/// A response for a client, of a head with its empty line. `101` becomes what HTTP/2 has for it.
///
/// # Errors
/// It is no head.
pub fn response_for(head: &[u8]) -> Result<Response<()>, Malformed> {
    let mut lines = Lines::of(head);
    let first = lines.next().ok_or(Malformed::StartLine)?;
    let status = lines.text[first].get(9..12).ok_or(Malformed::StartLine)?;
    let status = StatusCode::from_bytes(status).map_err(|_| Malformed::Status)?;
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    let mut response = Response::new(());
    *response.status_mut() = if switches { StatusCode::OK } else { status };
    let fields = response.headers_mut();
    *fields = HeaderMap::with_capacity(ROOM);
    put_lines(&mut lines, fields, &mut None)?;
    if switches {
        // Nobody sent the key that this answers (RFC 8441 section 5).
        fields.remove(http::header::SEC_WEBSOCKET_ACCEPT);
    }
    Ok(response)
}

/// Trailers, of their lines.
///
/// # Errors
/// They are no fields.
pub fn trailers_for(lines: &[u8]) -> Result<HeaderMap, Malformed> {
    let mut fields = HeaderMap::new();
    put_lines(&mut Lines::of(lines), &mut fields, &mut None)?;
    Ok(fields)
}

/// Fields that a map has room for at once: it takes a power of two, and leaves a quarter of it free.
const ROOM: usize = 12;

/// Where the lines of a text stand, up to an empty one, without their ends.
struct Lines {
    text: Bytes,
    at: usize,
}

impl Lines {
    fn of(text: &[u8]) -> Self {
        Self {
            text: Bytes::copy_from_slice(text),
            at: 0,
        }
    }
}

impl Iterator for Lines {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let from = self.at;
        let rest = self.text.get(from..)?;
        let end = memchr::memchr(b'\r', rest).filter(|&end| end > 0)?;
        self.at += end + 2;
        Some(from..from + end)
    }
}

/// Puts lines into a map, without what HTTP/2 says otherwise.
fn put_lines(
    lines: &mut Lines,
    fields: &mut HeaderMap,
    host: &mut Option<Bytes>,
) -> Result<(), Malformed> {
    while let Some(line) = lines.next() {
        let (text, end) = (&lines.text, line.end);
        let colon = memchr::memchr(b':', &text[line.clone()]).ok_or(Malformed::FieldName)?;
        let name = &text[line.start..line.start + colon];
        let value = (line.start + colon + 2).min(end)..end;
        let known = Known::of(name);
        if known == Known::Host {
            *host = Some(text.slice(value));
            continue;
        }
        if known == Known::TransferEncoding || known.kind() == Kind::HopByHop {
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Malformed::FieldName)?;
        let value =
            HeaderValue::from_maybe_shared(text.slice(value)).map_err(|_| Malformed::FieldValue)?;
        let put = fields.try_append(name, value);
        put.map_err(|_| Malformed::TooManyFields)?;
    }
    Ok(())
}
