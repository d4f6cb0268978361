//! Owns the laws of HTTP/2's heads. The input is lines: `METHOD authority path` (`-`: no authority), with `open` if a body follows and
//! the protocol of a tunnel behind it, then fields like `name: value`, then an empty line and trailers. What the `http` crate
//! would not hold never reaches us.

use evenkeel_wire::forward::{self, Forwardable, Forwarding};
use evenkeel_wire::http1::HeadEnd;
use evenkeel_wire::http1::HeadLimits;
use evenkeel_wire::http1::request::{PathForm, parse};
use evenkeel_wire::{Framing, RequestHead, Version, http2};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};

use crate::show;

/// Small enough to be reached.
const LIMITS: HeadLimits = HeadLimits {
    bytes: 512,
    fields: 8,
    target: 128,
};

const ROOMY: HeadLimits = HeadLimits {
    bytes: 1 << 20,
    fields: 256,
    target: 1 << 16,
};

/// What is taken goes on as one sound head of HTTP/1.1 that means the same, and as HTTP/2 that does.
pub fn check(input: &[u8]) -> bool {
    let mut lines = input.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(|&byte| byte == b' ');
    let (Some(method), Some(authority), Some(path)) = (words.next(), words.next(), words.next())
    else {
        return false;
    };
    let open = words.next() == Some(b"open");
    let protocol = words.next();
    let fields = fields(&mut lines);
    let trailers = fields_of(lines);
    let trailers_taken = trailers.is_some_and(|trailers| trailers_say_the_same_again(&trailers));
    let (Some(fields), Some(parts)) = (fields, parts(method, authority, path)) else {
        return trailers_taken;
    };
    let mut parts = parts;
    parts.headers = fields;
    let mut head = RequestHead::new();
    let form = PathForm::Normalize;
    let read = http2::request(&parts, protocol, !open, &LIMITS, form, &mut head);
    if read.is_err() {
        return false;
    }
    let sums = [&head.path().len(), &head.target().len()];
    assert!(sums.into_iter().all(|length| *length <= 3 * LIMITS.bytes));
    assert!(head.fields().count() <= LIMITS.fields);
    assert_eq!(head.version(), Version::Two);
    assert_eq!(head.upgrade(), protocol.filter(|_| method == b"CONNECT"));
    goes_on(&head);
    true
}

fn parts(method: &[u8], authority: &[u8], path: &[u8]) -> Option<http::request::Parts> {
    let mut uri = http::uri::Parts::default();
    if authority != b"-" {
        uri.scheme = Some(http::uri::Scheme::HTTPS);
        uri.authority = Some(authority.try_into().ok()?);
    }
    uri.path_and_query = Some(path.try_into().ok()?);
    let uri = Uri::from_parts(uri).ok()?;
    let request = Request::builder().method(method).uri(uri).body(()).ok()?;
    Some(request.into_parts().0)
}

/// Fields up to an empty line. None: one is none.
fn fields<'a>(lines: &mut impl Iterator<Item = &'a [u8]>) -> Option<HeaderMap> {
    fields_of(lines.take_while(|line| !line.is_empty()))
}

fn fields_of<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()).take(100) {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let value = line[colon + 1..].strip_prefix(b" ");
        let value = value.unwrap_or(&line[colon + 1..]);
        let name = HeaderName::from_lowercase(&line[..colon]).ok()?;
        fields.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(fields)
}

fn goes_on(head: &RequestHead) {
    let mut on = Forwardable::empty();
    let forwarding = Forwarding {
        peer: [10, 0, 0, 1].into(),
        trusted: false,
        client: [10, 0, 0, 2].into(),
        scheme: "https",
        port: 443,
        identity: b"",
        via: Some("keel"),
        real_ip: true,
        chance: [1, 2, 3, 4],
        altered: None,
    };
    forward::request(head, &forwarding, &mut on);
    let text = on.as_bytes();
    let mut again = RequestHead::new();
    let mut end = HeadEnd::default();
    let read = parse(text, &mut end, &ROOMY, PathForm::Normalize, &mut again);
    assert_eq!(read, Ok(Some(text.len())), "{}", show(text));
    assert_eq!(again.method(), head.method());
    assert_eq!((again.path(), again.query()), (head.path(), head.query()));
    assert_eq!((again.host(), again.port()), (head.host(), head.port()));
    assert_eq!(again.upgrade(), head.upgrade());
    let framing = match head.framing() {
        Framing::UntilClose => Framing::Chunked,
        framing => framing,
    };
    assert_eq!(again.framing(), framing, "{}", show(text));
    // What HTTP/1.1 can say and HTTP/2 cannot is refused, and never said otherwise.
    let Ok(request) = http2::request_for(&on, true, false) else {
        return;
    };
    let (parts, ()) = request.into_parts();
    let mut third = RequestHead::new();
    let read = http2::request(&parts, None, false, &ROOMY, PathForm::Normalize, &mut third);
    assert_eq!(read, Ok(()), "{}", show(text));
    assert_eq!(third.method(), head.method());
    assert_eq!((third.path(), third.query()), (head.path(), head.query()));
    assert_eq!((third.host(), third.port()), (head.host(), head.port()));
    assert_eq!(third.upgrade(), None);
}

fn trailers_say_the_same_again(came: &HeaderMap) -> bool {
    let mut lines = Vec::new();
    if http2::trailers(came, &LIMITS, &mut lines).is_err() {
        return false;
    }
    let again = http2::trailers_for(&lines).unwrap_or_else(|_| panic!("{}", show(&lines)));
    for (name, value) in &again {
        assert!(came.get_all(name).iter().any(|one| one == value));
        assert!(!evenkeel_wire::known::is_forbidden_in_trailers(
            name.as_str().as_bytes()
        ));
    }
    let mut twice = Vec::new();
    assert_eq!(http2::trailers(&again, &LIMITS, &mut twice), Ok(()));
    assert_eq!(twice.len(), lines.len());
    !again.is_empty()
}
