//! Owns heads as they go on to the next hop: hop-by-hop fields gone, framing written anew, forwarding fields ours.
//!
//! A [`Forwardable`](crate::forward::Forwardable) is the only head that the upstream side accepts, and only [`request`](crate::forward::request) makes one.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use crate::altered::Altered;
use crate::base64;
use crate::client::{is_request_id, is_traceparent, single};
use crate::framing::Framing;
use crate::grpc::timeout;
use crate::head::{Field, RequestHead, ResponseHead, Version};
use crate::known::{Kind, Known, is_disguised};

/// Parts of heads as they are written.
mod put;

use put::{put, put_address, put_field, put_fields, put_hex, put_number};

/// What is said of a request to the backend beside what the client wrote.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether the peer's own forwarding fields are believed.
    pub trusted: bool,
    /// The client, as [`client::address`](crate::client::address) finds it.
    pub client: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The listener's port; 0 where it has none, and then none is said.
    pub port: u16,
    /// Adds `Via` under this name.
    pub via: Option<&'a str>,
    /// Who the client has shown to be by its certificate: whole field lines. What it wrote itself of that never goes on.
    pub identity: &'a [u8],
    /// Adds `X-Real-IP`.
    pub real_ip: bool,
    /// Chance for the ids that are made here: of the request, of the trace, of the span.
    pub chance: [u64; 4],
    /// The span that is recorded of this exchange, and that those of the backend are to hang below. None: none is.
    pub span: Option<Span>,
    /// What a rule makes of it.
    pub altered: Option<&'a Altered>,
}

/// A span that is recorded, as others are told of it (W3C Trace Context section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace's id, from its first byte on; not 0.
    pub trace: u128,
    /// Its own; not 0.
    pub id: u64,
}

/// A request's head, ready for a backend. The bytes live in a recycled buffer.
#[derive(Clone, Debug, Default)]
pub struct Forwardable {
    bytes: Vec<u8>,
    /// Where the request's id stands.
    request_id: Range<usize>,
    /// Where the trace's id stands.
    trace_id: Range<usize>,
    takes_trailers: bool,
    /// Where a call's time is said, once it was.
    timeout: Option<usize>,
}

impl Forwardable {
    /// An empty one: a buffer for [`request`] to fill.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The text: request line, fields, empty line.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value of its `X-Request-Id`.
    #[must_use]
    pub fn request_id(&self) -> &[u8] {
        self.bytes.get(self.request_id.clone()).unwrap_or_default()
    }

    /// Whether the client takes the trailers of an answer (RFC 9110 section 10.1.4): of interest to one hop, and so said anew
    /// where the next hop takes it from a head.
    #[must_use]
    pub fn takes_trailers(&self) -> bool {
        self.takes_trailers
    }

    /// Says in the last field how much time is left of a call of gRPC, over what was said of it before. What the client said of it
    /// is for the caller to have left out ([`Altered`]).
    pub fn set_timeout(&mut self, left: Duration) {
        let before_end = self.bytes.len().saturating_sub(2);
        self.bytes.truncate(*self.timeout.get_or_insert(before_end));
        put(&mut self.bytes, &[timeout::FIELD.as_bytes(), b": "]);
        timeout::write(left, &mut self.bytes);
        put(&mut self.bytes, &[b"\r\n\r\n"]);
    }

    /// Says that another span is whose this is, over the one that was said; for a head that was written with one.
    pub fn set_span(&mut self, id: u64) {
        let begin = self.trace_id.end + 1;
        let mut text = Vec::with_capacity(16);
        put_hex(&mut text, id);
        if let Some(place) = self.bytes.get_mut(begin..begin + 16) {
            place.copy_from_slice(&text);
        }
    }

    /// The trace's id within its `traceparent`: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &[u8] {
        self.bytes.get(self.trace_id.clone()).unwrap_or_default()
    }
}

/// Writes a request's head for a backend into `out`, over what stood there.
pub fn request(head: &RequestHead, forwarding: &Forwarding<'_>, out: &mut Forwardable) {
    out.timeout = None;
    let bytes = &mut out.bytes;
    bytes.clear();
    bytes.reserve(head.table.bytes.len() + 384);
    put(bytes, &[head.method(), b" "]);
    let altered = forwarding.altered;
    match altered.and_then(Altered::target) {
        Some(target) => put(bytes, &[target]),
        None => {
            put(bytes, &[head.path()]);
            if let Some(query) = head.query() {
                put(bytes, &[b"?", query]);
            }
        }
    }
    let host = altered.and_then(Altered::host).unwrap_or(head.authority());
    put(bytes, &[b" HTTP/1.1\r\nHost: ", host, b"\r\n"]);
    let taken = |name: &[u8]| altered.is_some_and(|altered| altered.takes_from_request(name));
    put_fields(bytes, &head.table, |field| {
        goes_on(field, |name| head.connection_names(name)) && !taken(field.name)
    });
    if let Some(altered) = altered {
        put(bytes, &[altered.request_lines()]);
    }
    match head.framing() {
        // Said once more: there are servers that want a length of 0 said.
        Framing::Empty if head.first(Known::ContentLength).is_some() => {
            put(bytes, &[b"Content-Length: 0\r\n"]);
        }
        // A stream's end is not HTTP/1.1's to say.
        Framing::UntilClose => put_framing(bytes, Framing::Chunked),
        framing => put_framing(bytes, framing),
    }
    out.takes_trailers = head.takes_trailers();
    if let Some(protocol) = head.upgrade() {
        put(
            bytes,
            &[b"Connection: upgrade\r\nUpgrade: ", protocol, b"\r\n"],
        );
        // HTTP/2 has no use for the key, HTTP/1.1 asks for one (RFC 8441 section 5.1).
        let keyless = head.field(b"sec-websocket-key").is_none();
        if keyless && protocol.eq_ignore_ascii_case(b"websocket") && head.version() == Version::Two
        {
            let [one, two, ..] = forwarding.chance.map(u64::to_be_bytes);
            let key = base64::text(&[one, two].concat());
            put_field(bytes, b"Sec-WebSocket-Key", key.as_bytes());
        }
    } else if out.takes_trailers {
        put(bytes, &[b"TE: trailers\r\nConnection: te\r\n"]);
    }
    put_forwarding(bytes, head, forwarding);
    (out.request_id, out.trace_id) = put_ids(&mut out.bytes, head, forwarding);
    if let Some(name) = forwarding.via {
        put_via(&mut out.bytes, head.version(), name);
    }
    put(&mut out.bytes, &[b"\r\n"]);
}

/// Whether a field goes on as it came. What frames and what says who the client is are written anew.
fn goes_on(field: &Field<'_>, named: impl Fn(&[u8]) -> bool) -> bool {
    match field.known.kind() {
        Kind::Protected => true,
        Kind::HopByHop | Kind::Framing | Kind::Forwarding => false,
        Kind::EndToEnd => !named(field.name) && !is_disguised(field.name),
    }
}

/// The scheme of a request: what a trusted peer says that it is, else the listener's `own`.
#[must_use]
pub fn scheme(head: &RequestHead, trusted: bool, own: &'static str) -> &'static str {
    let said = || head.first(Known::ForwardedProto).and_then(single);
    match trusted.then(said).flatten() {
        Some(b"http") => "http",
        Some(b"https") => "https",
        _ => own,
    }
}

fn put_forwarding(bytes: &mut Vec<u8>, head: &RequestHead, forwarding: &Forwarding<'_>) {
    let believed = |known| head.first(known).filter(|_| forwarding.trusted);
    put(bytes, &[b"X-Forwarded-For: "]);
    if forwarding.trusted {
        let earlier = head
            .fields()
            .filter(|field| field.known == Known::ForwardedFor && !field.value.is_empty());
        for field in earlier {
            put(bytes, &[field.value, b", "]);
        }
    }
    put_address(bytes, forwarding.peer);
    put(bytes, &[b"\r\nX-Forwarded-Proto: "]);
    let scheme = scheme(head, forwarding.trusted, forwarding.scheme);
    put(bytes, &[scheme.as_bytes(), b"\r\n"]);
    let host = believed(Known::ForwardedHost)
        .and_then(single)
        .filter(|host| crate::authority::parse(host).is_ok());
    let host = host.unwrap_or(head.authority());
    if !host.is_empty() {
        put_field(bytes, b"X-Forwarded-Host", host);
    }
    match believed(Known::ForwardedPort).filter(|port| is_port(port)) {
        Some(port) => put_field(bytes, b"X-Forwarded-Port", port),
        // A Unix socket has none to be told.
        None if forwarding.port == 0 => {}
        None => {
            put(bytes, &[b"X-Forwarded-Port: "]);
            put_number(bytes, forwarding.port);
            put(bytes, &[b"\r\n"]);
        }
    }
    if let Some(value) = believed(Known::Forwarded) {
        put_field(bytes, b"Forwarded", value);
    }
    if forwarding.real_ip {
        put(bytes, &[b"X-Real-IP: "]);
        put_address(bytes, forwarding.client);
        put(bytes, &[b"\r\n"]);
    }
    put(bytes, &[forwarding.identity]);
}

/// Says where the ids of request and trace stand.
fn put_ids(
    bytes: &mut Vec<u8>,
    head: &RequestHead,
    forwarding: &Forwarding<'_>,
) -> (Range<usize>, Range<usize>) {
    let believed = |known| head.first(known).filter(|_| forwarding.trusted);
    let [one, two, three, four] = forwarding.chance;
    let begin = bytes.len();
    match believed(Known::RequestId).filter(|id| is_request_id(id)) {
        Some(id) => put_field(bytes, b"X-Request-Id", id),
        None => {
            put(bytes, &[b"X-Request-Id: "]);
            put_hex(bytes, one);
            put_hex(bytes, two);
            put(bytes, &[b"\r\n"]);
        }
    }
    let request_id = begin + b"X-Request-Id: ".len()..bytes.len() - 2;
    let trace = bytes.len() + b"traceparent: 00-".len();
    let ids = (request_id, trace..trace + 32);
    let parent = believed(Known::Traceparent).filter(|parent| is_traceparent(parent));
    match (forwarding.span, parent) {
        (Some(span), _) => put_span(bytes, span, true),
        (None, Some(parent)) => put_field(bytes, b"traceparent", parent),
        // A trace of its own; no span is recorded here, so nothing says that it was sampled. No id may be all zero.
        (None, None) => {
            let trace = u128::from(three | 1) << 64 | u128::from(one ^ two);
            let id = four | 1;
            put_span(bytes, Span { trace, id }, false);
        }
    }
    if let (Some(_), Some(state)) = (parent, believed(Known::Tracestate)) {
        put_field(bytes, b"tracestate", state);
    }
    ids
}

fn put_span(bytes: &mut Vec<u8>, span: Span, sampled: bool) {
    put(bytes, &[b"traceparent: 00-"]);
    #[expect(clippy::cast_possible_truncation, reason = "its halves")]
    for half in [(span.trace >> 64) as u64, span.trace as u64] {
        put_hex(bytes, half);
    }
    put(bytes, &[b"-"]);
    put_hex(bytes, span.id);
    put(bytes, &[if sampled { b"-01\r\n" } else { b"-00\r\n" }]);
}

fn is_port(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::num::NonZeroU16>().is_ok())
        && text.iter().all(u8::is_ascii_digit)
}

/// How a response's body goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its framing on the client's side.
    pub framing: Framing,
    /// The client's version.
    pub version: Version,
    /// Whether the connection to the client lives on.
    pub keep: bool,
    /// It answers a HEAD: a length it states is told, not sent.
    pub to_head: bool,
}

/// How a response's body can go to a client of this version: chunks are HTTP/1.1's alone, and a body that ends with what carries it
/// becomes chunks there, so that its end can be told from a break.
#[must_use]
pub fn framing_for(version: Version, head: &ResponseHead) -> Framing {
    match (head.framing(), version) {
        (Framing::Chunked, Version::Old | Version::Two) => Framing::UntilClose,
        (Framing::UntilClose, Version::Current) => Framing::Chunked,
        (framing, _) => framing,
    }
}

/// Appends a response's head for the client, with what a rule makes of it.
pub fn response(
    head: &ResponseHead,
    reply: &Reply,
    via: Option<&str>,
    altered: Option<&Altered>,
    out: &mut Vec<u8>,
) {
    let taken = |name: &[u8]| altered.is_some_and(|altered| altered.takes_from_response(name));
    out.reserve(head.table.bytes.len() + 64);
    put_status_line(out, head);
    put_fields(out, &head.table, |field| {
        let on = match field.known.kind() {
            Kind::Forwarding => true,
            Kind::Framing => field.known == Known::Host || tells_length(field, head, reply),
            _ => goes_on(field, |name| head.connection_names(name)),
        };
        on && !taken(field.name)
    });
    put_altered(out, altered);
    match reply.framing {
        Framing::Empty => {}
        framing => put_framing(out, framing),
    }
    if let Some(name) = via {
        put_via(out, head.version(), name);
    }
    put_connection(out, reply);
    put(out, &[b"\r\n"]);
}

/// Whether a `Content-Length` is told although no body follows: the answer to a HEAD, a 304, an empty body. Of what else it says,
/// nothing would come, and the next answer would be taken for it.
fn tells_length(field: &Field<'_>, head: &ResponseHead, reply: &Reply) -> bool {
    field.known == Known::ContentLength
        && reply.framing == Framing::Empty
        && (reply.to_head || head.status() == 304 || field.value == b"0" && head.status() != 204)
}

/// Appends the head of an interim response (1xx other than 101) for the client, but for fields that are `hidden`.
pub fn interim(head: &ResponseHead, hidden: impl Fn(&[u8]) -> bool, out: &mut Vec<u8>) {
    put_status_line(out, head);
    for field in head.fields() {
        if goes_on(&field, |name| head.connection_names(name)) && !hidden(field.name) {
            put_field(out, field.name, field.value);
        }
    }
    put(out, &[b"\r\n"]);
}

/// Appends the head of a `101 Switching Protocols` for the client, with what a rule makes of it.
pub fn switching(
    head: &ResponseHead,
    via: Option<&str>,
    altered: Option<&Altered>,
    out: &mut Vec<u8>,
) {
    let taken = |name: &[u8]| altered.is_some_and(|altered| altered.takes_from_response(name));
    out.reserve(head.table.bytes.len() + 64);
    put_status_line(out, head);
    for field in head.fields() {
        let on = goes_on(&field, |name| head.connection_names(name)) && !taken(field.name);
        if on || field.known == Known::Upgrade {
            put_field(out, field.name, field.value);
        }
    }
    put_ours(out, head, via, altered);
    put(out, &[b"Connection: upgrade\r\n\r\n"]);
}

/// The same where the backend opened the tunnel by HTTP/2, whose yes is a 200: what it changes to, and for WebSocket the answer to the
/// client's key (RFC 6455 section 4.2.2), where it sent one.
pub fn opened(
    head: &ResponseHead,
    (protocol, accept): (&[u8], Option<&str>),
    via: Option<&str>,
    altered: Option<&Altered>,
    out: &mut Vec<u8>,
) {
    let taken = |name: &[u8]| altered.is_some_and(|altered| altered.takes_from_response(name));
    put(out, &[b"HTTP/1.1 101 Switching Protocols\r\n"]);
    for field in head.fields() {
        let accepts = field.name.eq_ignore_ascii_case(b"sec-websocket-accept");
        let on = goes_on(&field, |name| head.connection_names(name));
        if on && !accepts && !taken(field.name) {
            put_field(out, field.name, field.value);
        }
    }
    if let Some(accept) = accept {
        put_field(out, b"Sec-WebSocket-Accept", accept.as_bytes());
    }
    put_ours(out, head, via, altered);
    put(
        out,
        &[b"Connection: upgrade\r\nUpgrade: ", protocol, b"\r\n\r\n"],
    );
}

/// What a rule adds to a change of protocol, and `Via`.
fn put_ours(out: &mut Vec<u8>, head: &ResponseHead, via: Option<&str>, altered: Option<&Altered>) {
    put_altered(out, altered);
    if let Some(name) = via {
        put_via(out, head.version(), name);
    }
}

/// What a rule adds, and cookies of ours. A shared cache that kept those would have others go where one client is.
fn put_altered(out: &mut Vec<u8>, altered: Option<&Altered>) {
    let Some(altered) = altered else {
        return;
    };
    put(out, &[altered.response_lines(), altered.cookie_line()]);
    if !altered.cookie_line().is_empty() {
        put(out, &[b"Cache-Control: private\r\n"]);
    }
}

/// Appends what the connection does after an answer, where the client's version does not say it.
pub fn put_connection(out: &mut Vec<u8>, reply: &Reply) {
    match (reply.keep, reply.version) {
        (false, Version::Old | Version::Current) => put(out, &[b"Connection: close\r\n"]),
        // A stream says nothing of its connection (RFC 9113 section 8.2.2).
        (_, Version::Two) | (true, Version::Current) => {}
        (true, Version::Old) => put(out, &[b"Connection: keep-alive\r\n"]),
    }
}

fn put_status_line(out: &mut Vec<u8>, head: &ResponseHead) {
    put(out, &[b"HTTP/1.1 "]);
    put_number(out, head.status());
    put(out, &[b" ", head.reason(), b"\r\n"]);
}

fn put_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Empty | Framing::UntilClose => {}
        Framing::Exact(length) => {
            put(out, &[b"Content-Length: "]);
            put_number(out, length);
            put(out, &[b"\r\n"]);
        }
        Framing::Chunked => put(out, &[b"Transfer-Encoding: chunked\r\n"]),
    }
}

fn put_via(out: &mut Vec<u8>, version: Version, name: &str) {
    let version: &[u8] = match version {
        Version::Old => b"1.0",
        Version::Current => b"1.1",
        Version::Two => b"2.0",
    };
    put(out, &[b"Via: ", version, b" ", name.as_bytes(), b"\r\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However often it is said, and however long it was before: once, as the last field.
    #[test]
    fn the_time_that_is_left_is_said_anew() {
        let mut head = Forwardable::empty();
        let nobody = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        let forwarding = Forwarding {
            peer: nobody,
            trusted: false,
            client: nobody,
            scheme: "http",
            port: 80,
            via: None,
            identity: b"",
            real_ip: false,
            chance: [1; 4],
            span: None,
            altered: None,
        };
        request(&RequestHead::new(), &forwarding, &mut head);
        let before = head.as_bytes().to_vec();
        let fields = before.strip_suffix(b"\r\n").unwrap_or_default();
        for (left, value) in [(1_500, "1500000u"), (7, "7000000n"), (0, "0n")] {
            head.set_timeout(Duration::from_millis(left));
            let said = format!("grpc-timeout: {value}\r\n\r\n");
            assert_eq!(head.as_bytes(), [fields, said.as_bytes()].concat());
        }
        request(&RequestHead::new(), &forwarding, &mut head);
        assert_eq!(head.as_bytes(), before);
    }

    #[test]
    fn words_in_hexadecimal() {
        let mut word = 0x0123_4567_89ab_cdef_u64;
        for at in 0..200 {
            word = match at {
                0 => 0,
                1 => u64::MAX,
                2 => 0x0123_4567_89ab_cdef,
                _ => word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17),
            };
            let mut text = Vec::new();
            put_hex(&mut text, word);
            assert_eq!(text, format!("{word:016x}").into_bytes());
        }
    }
}
