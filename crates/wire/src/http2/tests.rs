use http::header::HeaderName;
use http::{Request, Response};

use super::*;
use crate::forward::{self, Forwardable, Forwarding, Reply};

/// A request with these fields; `authority` and `path` as its pseudo-fields.
fn asked(method: &str, uri: &str, fields: &[(&str, &[u8])]) -> http::request::Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        let value = http::HeaderValue::from_bytes(value).unwrap();
        // As the crate reads them off the wire.
        let name = HeaderName::from_lowercase(name.to_ascii_lowercase().as_bytes()).unwrap();
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

fn read(parts: &http::request::Parts, ended: bool) -> Result<RequestHead, Malformed> {
    let mut head = RequestHead::new();
    let limits = HeadLimits {
        bytes: 1024,
        fields: 10,
        target: 100,
    };
    request(parts, None, ended, &limits, PathForm::Normalize, &mut head)?;
    Ok(head)
}

fn forwarded(head: &RequestHead) -> Forwardable {
    let mut out = Forwardable::empty();
    let forwarding = Forwarding {
        peer: [10, 0, 0, 1].into(),
        trusted: false,
        client: [10, 0, 0, 1].into(),
        scheme: "https",
        port: 443,
        via: Some("keel"),
        identity: b"",
        real_ip: false,
        chance: [1, 2, 3, 4],
        altered: None,
    };
    forward::request(head, &forwarding, &mut out);
    out
}

fn text(head: &Forwardable) -> String {
    String::from_utf8_lossy(head.as_bytes()).into_owned()
}

#[test]
fn a_request_is_the_same_head_that_http_1_has() {
    let fields: &[(&str, &[u8])] = &[
        ("cookie", b"a=1"),
        ("x-a", b"one"),
        ("cookie", b"b=2"),
        ("te", b"trailers"),
        ("content-length", b"7"),
        ("cookie", b"c=3"),
    ];
    let head = read(
        &asked("POST", "https://A.Example:8443/x/../y?q", fields),
        false,
    )
    .unwrap();
    assert_eq!(head.host(), "a.example");
    assert_eq!((head.port(), head.path()), (Some(8443), &b"/y"[..]));
    assert_eq!(head.query(), Some(&b"q"[..]));
    assert_eq!(head.framing(), Framing::Exact(7));
    assert_eq!(head.field(b"Cookie"), Some(&b"a=1; b=2; c=3"[..]));
    assert_eq!(head.version(), Version::Two);
    let on = forwarded(&head);
    assert!(on.takes_trailers());
    let text = text(&on);
    assert!(text.starts_with("POST /y?q HTTP/1.1\r\nHost: A.Example:8443\r\n"));
    assert_eq!(text.matches("cookie: a=1; b=2; c=3\r\n").count(), 1);
    assert!(text.contains("\r\nContent-Length: 7\r\n") && text.contains("\r\nVia: 2.0 keel\r\n"));
    // As HTTP/1.1 says it, to one hop.
    assert!(!text.contains("te: "), "{text}");
    assert_eq!(
        text.matches("\r\nTE: trailers\r\nConnection: te\r\n")
            .count(),
        1
    );
}

#[test]
fn where_a_body_ends() {
    let length: &[(&str, &[u8])] = &[("content-length", b"0")];
    for (fields, ended, framing, said) in [
        (&[][..], true, Framing::Empty, None),
        (
            &[],
            false,
            Framing::UntilClose,
            Some("Transfer-Encoding: chunked\r\n"),
        ),
        (length, false, Framing::Empty, Some("Content-Length: 0\r\n")),
    ] {
        let head = read(&asked("POST", "http://a/", fields), ended).unwrap();
        assert_eq!(head.framing(), framing);
        let text = text(&forwarded(&head));
        assert!(said.is_none_or(|said| text.contains(said)), "{text}");
        assert_eq!(
            said.is_none(),
            !text.contains("\r\nTransfer") && !text.contains("Length")
        );
    }
}

#[test]
fn what_is_refused() {
    let many: Vec<_> = (0..11).map(|at| format!("x-{at}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (&**name, &b"1"[..])).collect();
    let long = [b'a'; 1000];
    let crumbs = [("cookie", &b"a=1"[..]); 41];
    let host = |value: &'static [u8]| vec![("host", value)];
    for (method, uri, fields, why) in [
        ("CONNECT", "a:1", vec![], Malformed::Connect),
        ("GET", "/", vec![], Malformed::HostMissing),
        ("GET", "http://a/", host(b"b"), Malformed::AuthorityDiffers),
        (
            "GET",
            "http://a:1/",
            host(b"a:2"),
            Malformed::AuthorityDiffers,
        ),
        ("GET", "http://a/%00", vec![], Malformed::Path),
        ("GET", "http://a/..", vec![], Malformed::Path),
        (
            "GET",
            "http://a/",
            vec![("connection", b"close")],
            Malformed::Http2,
        ),
        (
            "GET",
            "http://a/",
            vec![("keep-alive", b"5")],
            Malformed::Http2,
        ),
        (
            "GET",
            "http://a/",
            vec![("proxy-connection", b"5")],
            Malformed::Http2,
        ),
        (
            "GET",
            "http://a/",
            vec![("upgrade", b"websocket")],
            Malformed::Http2,
        ),
        (
            "GET",
            "http://a/",
            vec![("transfer-encoding", b"chunked")],
            Malformed::Http2,
        ),
        ("GET", "http://a/", vec![("te", b"gzip")], Malformed::Http2),
        (
            "GET",
            "http://a/",
            vec![("x\"y", b"a")],
            Malformed::FieldName,
        ),
        (
            "GET",
            "http://a/",
            vec![("x", b" a")],
            Malformed::FieldValue,
        ),
        (
            "GET",
            "http://a/",
            vec![("x", b"a\t")],
            Malformed::FieldValue,
        ),
        (
            "POST",
            "http://a/",
            vec![("content-length", b"5, 5")],
            Malformed::ContentLengthRepeated,
        ),
        (
            "POST",
            "http://a/",
            vec![("content-length", b"+5")],
            Malformed::ContentLength,
        ),
        (
            "GET",
            "http://a/",
            vec![("expect", b"y 100-continue")],
            Malformed::Expectation,
        ),
        ("GET", "http://a/", many, Malformed::TooManyFields),
        (
            "GET",
            "http://a/",
            crumbs.to_vec(),
            Malformed::TooManyFields,
        ),
        (
            "GET",
            "http://a/",
            vec![("x", &long), ("y", &long)],
            Malformed::HeadTooLarge,
        ),
        (&"A".repeat(33), "http://a/", vec![], Malformed::Method),
        (
            "GET",
            &format!("http://a/{}", "a".repeat(100)),
            vec![],
            Malformed::TargetTooLong,
        ),
    ] {
        let refused = read(&asked(method, uri, &fields), false).map(|_| ());
        assert_eq!(refused, Err(why), "{method} {uri} {fields:?}");
    }
}

#[test]
fn a_tunnel_is_an_upgrade() {
    let parts = asked(
        "CONNECT",
        "https://a/chat",
        &[("sec-websocket-version", b"13")],
    );
    let limits = HeadLimits::default();
    let take = |protocol: &[u8], head: &mut RequestHead| {
        let form = PathForm::Normalize;
        request(&parts, Some(protocol), false, &limits, form, head)
    };
    let mut head = RequestHead::new();
    take(b"websocket", &mut head).unwrap();
    assert_eq!(
        (head.method(), head.framing()),
        (&b"GET"[..], Framing::Empty)
    );
    let text = text(&forwarded(&head));
    assert!(text.starts_with("GET /chat HTTP/1.1\r\n"), "{text}");
    assert!(
        text.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"),
        "{text}"
    );
    let key = text.split("Sec-WebSocket-Key: ").nth(1).unwrap();
    assert_eq!(key.find('\r'), Some(24), "16 bytes: {key}");
    for barred in [&b"h2c"[..], b"HTTP/2.0", b"TLS/1.0", b"a b", b"a, b"] {
        assert_eq!(take(barred, &mut head), Err(Malformed::Http2));
    }
}

#[test]
fn a_request_goes_on_as_http_2() {
    let fields: &[(&str, &[u8])] = &[("X-A", b"\xff"), ("te", b"trailers")];
    let head = read(&asked("POST", "http://a.example:1/y?q=%20", fields), false).unwrap();
    let on = request_for(&forwarded(&head), true, false).unwrap();
    assert_eq!(on.uri(), "https://a.example:1/y?q=%20");
    assert_eq!(on.method(), "POST");
    let value = |name: &str| on.headers().get(name).map(http::HeaderValue::as_bytes);
    assert_eq!(value("x-a"), Some(&b"\xff"[..]));
    assert_eq!(value("te"), Some(&b"trailers"[..]));
    assert_eq!(value("x-forwarded-for"), Some(&b"10.0.0.1"[..]));
    for gone in ["host", "transfer-encoding", "connection"] {
        assert_eq!(value(gone), None);
    }
}

#[test]
fn responses_in_and_out() {
    let limits = HeadLimits::default();
    let mut head = ResponseHead::new();
    let mut take = |status: u16, length: Option<&str>, ended: bool, to_head: bool| {
        let mut response = Response::builder().status(status).header("x-a", "1");
        if let Some(length) = length {
            response = response.header("content-length", length);
        }
        let (parts, ()) = response.body(()).unwrap().into_parts();
        response_framing(
            super::response(&parts, ended, &limits, to_head, &mut head),
            &head,
        )
    };
    assert_eq!(take(200, None, false, false), Ok(Framing::UntilClose));
    assert_eq!(take(200, Some("3"), false, false), Ok(Framing::Exact(3)));
    assert_eq!(take(200, Some("3"), false, true), Ok(Framing::Empty));
    assert_eq!(take(304, Some("3"), false, false), Ok(Framing::Empty));
    assert_eq!(take(200, None, true, false), Ok(Framing::Empty));
    assert_eq!(take(204, None, false, false), Ok(Framing::Empty));
    assert_eq!(
        take(204, Some("3"), false, false),
        Err(Malformed::BodyForbidden)
    );
    assert_eq!(take(101, None, false, false), Err(Malformed::Status));
    assert_eq!(take(600, None, false, false), Err(Malformed::Status));
    assert_eq!(take(200, None, false, false), Ok(Framing::UntilClose));
    let mut out = Vec::new();
    let reply = Reply {
        framing: forward::framing_for(Version::Two, &head),
        version: Version::Two,
        keep: false,
        to_head: false,
    };
    forward::response(&head, &reply, None, None, &mut out);
    assert_eq!(out, b"HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\n");
    let on = response_for(&out).unwrap();
    assert_eq!((on.status().as_u16(), on.headers().len()), (200, 1));
    let switched = response_for(
        b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: a\r\nSec-WebSocket-Accept: s3pP\r\n\r\n",
    );
    let switched = switched.unwrap();
    assert_eq!(
        (switched.status().as_u16(), switched.headers().len()),
        (200, 0)
    );
    let empty = response_for(b"HTTP/1.1 200 \r\nx:\r\ny: \r\n\r\n").unwrap();
    assert_eq!(empty.headers().len(), 2);
}

fn response_framing(
    taken: Result<(), Malformed>,
    head: &ResponseHead,
) -> Result<Framing, Malformed> {
    taken.map(|()| head.framing())
}

#[test]
fn trailers_there_and_back() {
    let lines = b"grpc-status: 0\r\ngrpc-message: a b\r\n";
    let map = trailers_for(lines).unwrap();
    let limits = HeadLimits::default();
    let mut back = Vec::new();
    trailers(&map, &limits, &mut back).unwrap();
    assert_eq!(back, lines);
    let mut map = trailers_for(b"x: 1\r\ncontent-length: 3\r\nx_forwarded_for: me\r\n").unwrap();
    back.clear();
    trailers(&map, &limits, &mut back).unwrap();
    assert_eq!(back, b"x: 1\r\n");
    map.append("y", http::HeaderValue::from_static(" a"));
    assert_eq!(trailers(&map, &limits, &mut back), Err(Malformed::Trailer));
    map.remove("y");
    let quoted = HeaderName::from_lowercase(b"y\"z").unwrap();
    map.append(&quoted, http::HeaderValue::from_static("a"));
    assert_eq!(trailers(&map, &limits, &mut back), Err(Malformed::Trailer));
    map.remove(quoted);
    let few = HeadLimits {
        fields: 1,
        ..limits
    };
    assert_eq!(
        trailers(&map, &few, &mut back),
        Err(Malformed::TrailersTooLarge)
    );
}
