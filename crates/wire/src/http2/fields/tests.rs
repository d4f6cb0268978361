use proptest::prelude::*;

use super::*;
use crate::forward::{self, Forwardable, Forwarding, Reply};
use crate::http2::hpack::Encoder;

type Fields<'a> = &'a [(&'a str, &'a [u8])];

const LIMITS: HeadLimits = HeadLimits {
    bytes: 1024,
    fields: 10,
    target: 100,
};

/// As plain as a block can be: names as they are written here.
fn block(fields: Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            if text.len() < 0x7f {
                block.push(u8::try_from(text.len()).unwrap());
            } else {
                let rest = text.len() - 0x7f;
                let low = u8::try_from(rest & 0x7f).unwrap();
                block.extend_from_slice(&[0x7f, 0x80 | low, u8::try_from(rest >> 7).unwrap()]);
            }
            block.extend_from_slice(text);
        }
    }
    block
}

fn read_with(fields: Fields<'_>, ended: bool) -> Result<RequestHead, Malformed> {
    let mut head = RequestHead::new();
    let mut decoder = Decoder::new(4096);
    let form = PathForm::Normalize;
    request(
        &mut decoder,
        &block(fields),
        ended,
        &LIMITS,
        form,
        &mut head,
    )
    .unwrap()?;
    Ok(head)
}

/// A request with these pseudo-fields, a dash for none, and these fields.
fn read(
    method: &str,
    authority: &str,
    path: &str,
    fields: Fields<'_>,
    ended: bool,
) -> Result<RequestHead, Malformed> {
    let mut all = vec![(":method", method.as_bytes()), (":scheme", b"https")];
    let pseudo = [(":authority", authority), (":path", path)];
    let said = pseudo.into_iter().filter(|(_, value)| *value != "-");
    all.extend(said.map(|(name, value)| (name, value.as_bytes())));
    all.extend_from_slice(fields);
    read_with(&all, ended)
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
        span: None,
        altered: None,
    };
    forward::request(head, &forwarding, &mut out);
    out
}

#[test]
fn a_request_is_the_same_head_that_http_1_has() {
    let fields: Fields<'_> = &[
        ("cookie", b"a=1"),
        ("x-a", b"one"),
        ("cookie", b"b=2"),
        ("cookie", b""),
        ("te", b"trailers"),
        ("content-length", b"7"),
        ("cookie", b"c=3"),
    ];
    let head = read("POST", "A.Example:8443", "/x/../y?q", fields, false).unwrap();
    assert_eq!(head.host(), "a.example");
    assert_eq!((head.port(), head.path()), (Some(8443), &b"/y"[..]));
    assert_eq!(
        (head.target(), head.query()),
        (&b"/x/../y?q"[..], Some(&b"q"[..]))
    );
    assert_eq!(head.framing(), Framing::Exact(7));
    assert_eq!(head.field(b"Cookie"), Some(&b"a=1; b=2; c=3"[..]));
    assert_eq!(head.version(), Version::Two);
    let on = forwarded(&head);
    let text = String::from_utf8_lossy(on.as_bytes()).into_owned();
    assert!(text.starts_with("POST /y?q HTTP/1.1\r\nHost: A.Example:8443\r\n"));
    assert_eq!(text.matches("cookie: a=1; b=2; c=3\r\n").count(), 1);
    assert!(text.contains("\r\nContent-Length: 7\r\n") && text.contains("\r\nVia: 2.0 keel\r\n"));
}

#[test]
fn a_cookie_in_crumbs_is_one() {
    for (crumbs, whole) in [
        (&["a=1"][..], "a=1"),
        (&["a=1", "b=2"], "a=1; b=2"),
        (&["", "b=2", "", "c"], "b=2; c"),
        (&["", ""], ""),
    ] {
        let fields: Vec<_> = crumbs
            .iter()
            .map(|crumb| ("cookie", crumb.as_bytes()))
            .collect();
        let head = read("GET", "a", "/", &fields, true).unwrap();
        assert_eq!(head.field(b"cookie"), Some(whole.as_bytes()));
        assert_eq!(head.fields().count(), 1);
    }
}

#[test]
fn where_a_body_ends() {
    let length: Fields<'_> = &[("content-length", b"0")];
    for (fields, ended, framing) in [
        (&[][..], true, Framing::Empty),
        (&[], false, Framing::UntilClose),
        (length, false, Framing::Empty),
        (&[("content-length", b"5")], false, Framing::Exact(5)),
    ] {
        let head = read("POST", "a", "/", fields, ended).unwrap();
        assert_eq!(head.framing(), framing);
    }
    let short = read("POST", "a", "/", &[("content-length", b"5")], true);
    assert_eq!(short.err(), Some(Malformed::Http2), "nothing follows");
}

#[test]
fn what_is_refused() {
    use Malformed as M;
    let many: Vec<_> = (0..11).map(|at| format!("x-{at}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (&**name, &b"1"[..])).collect();
    let long = [b'a'; 1000];
    let crumbs = [("cookie", &b"a=1"[..]); 41];
    let target = format!("/{}", "a".repeat(100));
    let method = "A".repeat(33);
    let rows: &[(&str, &str, &str, Fields<'_>, Malformed)] = &[
        ("CONNECT", "a:1", "-", &[], M::Connect),
        ("GET", "-", "/", &[], M::HostMissing),
        ("GET", "a", "-", &[], M::Http2),
        ("GET", "a", "", &[], M::Http2),
        ("GET", "", "/", &[], M::Host),
        ("GET", "u@a", "/", &[], M::Host),
        ("GET", "a", "b", &[], M::Target),
        ("GET", "a", "http://b/", &[], M::Target),
        ("GET", "a", "/a b", &[], M::Target),
        ("GET", "a", "*", &[], M::Target),
        ("GET", "a", "/", &[("host", b"b")], M::AuthorityDiffers),
        ("GET", "a:1", "/", &[("host", b"a:2")], M::AuthorityDiffers),
        (
            "GET",
            "a",
            "/",
            &[("host", b"a"), ("host", b"a")],
            M::HostRepeated,
        ),
        ("GET", "a", "/%00", &[], M::Path),
        ("GET", "a", "/..", &[], M::Path),
        ("GET", "a", "/", &[("connection", b"close")], M::Http2),
        ("GET", "a", "/", &[("keep-alive", b"5")], M::Http2),
        ("GET", "a", "/", &[("proxy-connection", b"5")], M::Http2),
        ("GET", "a", "/", &[("upgrade", b"websocket")], M::Http2),
        (
            "GET",
            "a",
            "/",
            &[("transfer-encoding", b"chunked")],
            M::Http2,
        ),
        ("GET", "a", "/", &[("te", b"gzip")], M::Http2),
        ("GET", "a", "/", &[("x\"y", b"a")], M::FieldName),
        ("GET", "a", "/", &[("x y", b"a")], M::FieldName),
        ("GET", "a", "/", &[("X-A", b"a")], M::Http2),
        ("GET", "a", "/", &[("", b"a")], M::Http2),
        ("GET", "a", "/", &[("x", b" a")], M::FieldValue),
        ("GET", "a", "/", &[("x", b"a\t")], M::FieldValue),
        ("GET", "a", "/", &[("x", b"a\nb")], M::FieldValue),
        ("GET", "a", "/", &[(":path", b"/")], M::Http2),
        ("GET", "a", "/", &[(":method", b"GET")], M::Http2),
        ("GET", "a", "/", &[(":authority", b"a")], M::Http2),
        ("GET", "a", "/", &[(":scheme", b"https")], M::Http2),
        ("GET", "a", "/", &[(":status", b"200")], M::Http2),
        ("GET", "a", "/", &[(":other", b"")], M::Http2),
        ("GET", "a", "/", &[(":protocol", b"websocket")], M::Http2),
        ("GET", "a", "-", &[("x", b"a"), (":path", b"/")], M::Http2),
        (
            "POST",
            "a",
            "/",
            &[("content-length", b"5, 5")],
            M::ContentLengthRepeated,
        ),
        (
            "POST",
            "a",
            "/",
            &[("content-length", b"+5")],
            M::ContentLength,
        ),
        (
            "GET",
            "a",
            "/",
            &[("expect", b"y 100-continue")],
            M::Expectation,
        ),
        ("GET", "a", "/", &many, M::TooManyFields),
        ("GET", "a", "/", &crumbs, M::TooManyFields),
        (
            "GET",
            "a",
            "/",
            &[("x", &long), ("y", &long)],
            M::HeadTooLarge,
        ),
        (
            "GET",
            "a",
            "/",
            &[("x", &long), ("y", &long), ("z", &long), ("z", &long)],
            M::HeadTooLarge,
        ),
        (
            "GET",
            "a",
            "/",
            &[("cookie", &long), ("cookie", &long)],
            M::HeadTooLarge,
        ),
        (&method, "a", "/", &[], M::Method),
        ("G T", "a", "/", &[], M::Method),
        ("", "a", "/", &[], M::Method),
        ("GET", "a", &target, &[], M::TargetTooLong),
    ];
    for &(method, authority, path, fields, why) in rows {
        let refused = read(method, authority, path, fields, false).map(|_| ());
        assert_eq!(refused, Err(why), "{method} {authority} {path} {fields:?}");
    }
    let get = (":method", &b"GET"[..]);
    let rest = [(":authority", &b"a"[..]), (":path", b"/")];
    for schemes in [&[][..], &[(":scheme", &b"ftp"[..])]] {
        let fields = [&[get][..], schemes, &rest].concat();
        assert_eq!(read_with(&fields, true).map(|_| ()), Err(M::Http2));
    }
    let fields = [&[(":scheme", &b"HTTP"[..])][..], &rest].concat();
    assert_eq!(read_with(&fields, true).map(|_| ()), Err(M::Http2));
    let fields = [&[get][..], &fields].concat();
    assert_eq!(read_with(&fields, true).unwrap().path(), b"/");
}

#[test]
fn a_tunnel_is_an_upgrade() {
    let take = |protocol: &[u8]| {
        let fields: Fields<'_> = &[
            (":method", b"CONNECT"),
            (":protocol", protocol),
            (":scheme", b"https"),
            (":path", b"/chat"),
            (":authority", b"a"),
            ("sec-websocket-version", b"13"),
        ];
        read_with(fields, false)
    };
    let head = take(b"websocket").unwrap();
    assert_eq!(
        (head.method(), head.framing()),
        (&b"GET"[..], Framing::Empty)
    );
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
    let on = forwarded(&head);
    let text = String::from_utf8_lossy(on.as_bytes()).into_owned();
    assert!(text.starts_with("GET /chat HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"));
    for barred in [&b"h2c"[..], b"HTTP/2.0", b"TLS/1.0", b"a b", b"a, b"] {
        assert_eq!(take(barred).map(|_| ()), Err(Malformed::Http2));
    }
}

/// What the other end reads of a block, as lines.
fn said(decoder: &mut Decoder, block: &[u8]) -> String {
    let mut text = String::new();
    let each = |field: Decoded<'_>| {
        text += &format!(
            "{}: {}\n",
            field.name.escape_ascii(),
            field.value.escape_ascii()
        );
    };
    decoder.decode(block, usize::MAX, each).unwrap();
    text
}

#[test]
fn a_request_goes_on() {
    let fields: Fields<'_> = &[
        ("x-a", b"\xff"),
        ("te", b"trailers"),
        ("sec-websocket-key", b"k"),
    ];
    let head = read("POST", "a.example:1", "/y?q=%20", fields, false).unwrap();
    let on = forwarded(&head);
    for (secure, tunnel) in [(true, None), (false, Some(&b"websocket"[..]))] {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        let mut out = Vec::new();
        put_request(&mut encoder, &on, secure, tunnel, &mut out).unwrap();
        let text = said(&mut decoder, &out);
        let begin = match tunnel {
            None => {
                ":method: POST\n:scheme: https\n:authority: a.example:1\n:path: /y?q=%20\nx-a: \\xff\n"
            }
            Some(_) => {
                ":method: CONNECT\n:scheme: http\n:authority: a.example:1\n:path: /y?q=%20\n\
                 :protocol: websocket\nx-a: \\xff\n"
            }
        };
        assert!(text.starts_with(begin), "{text}");
        assert!(text.ends_with("\nte: trailers\n"), "{text}");
        assert!(text.contains("\nx-forwarded-for: 10.0.0.1\n"), "{text}");
        assert_eq!(text.contains("\nsec-websocket-key: k\n"), tunnel.is_none());
        for gone in ["\nhost:", "\ntransfer-encoding:", "\nconnection:"] {
            assert!(!text.contains(gone), "{gone} {text}");
        }
        // It comes back as what it was.
        let mut again = RequestHead::new();
        let (form, mut decoder) = (PathForm::Normalize, Decoder::new(4096));
        let limits = HeadLimits::default();
        let read = request(&mut decoder, &out, true, &limits, form, &mut again);
        assert_eq!(read, Ok(Ok(())));
        assert_eq!(
            (again.target(), again.authority()),
            (&b"/y?q=%20"[..], &b"a.example:1"[..])
        );
    }
}

#[test]
fn responses_in_and_out() {
    let limits = HeadLimits::default();
    let mut head = ResponseHead::new();
    let mut take = |status: &str, length: Option<&str>, ended: bool, to_head: bool| {
        let mut fields = vec![(":status", status.as_bytes()), ("x-a", b"1")];
        fields.extend(length.map(|length| ("content-length", length.as_bytes())));
        let mut decoder = Decoder::new(4096);
        let block = block(&fields);
        let taken = response(&mut decoder, &block, ended, &limits, to_head, &mut head);
        taken.unwrap().map(|()| head.framing())
    };
    use Framing as F;
    for (status, length, ended, to_head, expect) in [
        ("200", None, false, false, Ok(F::UntilClose)),
        ("200", Some("3"), false, false, Ok(F::Exact(3))),
        ("200", Some("3"), false, true, Ok(F::Empty)),
        ("304", Some("3"), false, false, Ok(F::Empty)),
        ("200", None, true, false, Ok(F::Empty)),
        ("200", Some("0"), true, false, Ok(F::Empty)),
        ("200", Some("3"), true, true, Ok(F::Empty)),
        ("304", Some("3"), true, false, Ok(F::Empty)),
        // Whoever reads it by HTTP/1.1 would wait for three bytes of what follows.
        ("200", Some("3"), true, false, Err(Malformed::Http2)),
        ("404", Some("3"), true, false, Err(Malformed::Http2)),
        ("204", None, false, false, Ok(F::Empty)),
        (
            "204",
            Some("3"),
            false,
            false,
            Err(Malformed::BodyForbidden),
        ),
        ("101", None, false, false, Err(Malformed::Status)),
        ("600", None, false, false, Err(Malformed::Status)),
        ("099", None, false, false, Err(Malformed::Status)),
        ("20", None, false, false, Err(Malformed::Status)),
        ("200", None, false, false, Ok(F::UntilClose)),
    ] {
        assert_eq!(
            take(status, length, ended, to_head),
            expect,
            "{status} {length:?}"
        );
    }
    let mut out = Vec::new();
    let reply = Reply {
        framing: forward::framing_for(Version::Two, &head),
        version: Version::Two,
        keep: false,
        to_head: false,
    };
    forward::response(&head, &reply, None, None, &mut out);
    assert_eq!(out, b"HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\n");
    let status = [(":status", &b"200"[..])];
    let twice = [status[0], status[0]];
    let late = [("x", &b"a"[..]), status[0]];
    let of_request = [status[0], (":path", b"/")];
    let of_connection = [status[0], ("connection", b"close")];
    for fields in [&[][..], &twice, &late, &of_request, &of_connection] {
        let (mut decoder, block) = (Decoder::new(4096), block(fields));
        let taken = response(&mut decoder, &block, false, &limits, false, &mut head);
        assert_eq!(taken, Ok(Err(Malformed::Http2)), "{fields:?}");
    }
}

#[test]
fn answers_as_blocks() {
    for (head, expect) in [
        (
            "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n",
            Ok(":status: 200\nx-a: 1\n"),
        ),
        (
            "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: a\r\nSec-WebSocket-Accept: s3pP\r\n\r\n",
            Ok(":status: 200\n"),
        ),
        (
            "HTTP/1.1 302 \r\nx:\r\ny: \r\nLocation: /\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\nx: 2\r\n",
            Ok(":status: 302\nx: \ny: \nlocation: /\n"),
        ),
        ("HTTP/1.1 200 OK\r\nX-A\r\n\r\n", Err(Malformed::FieldName)),
        (
            "HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n",
            Err(Malformed::FieldName),
        ),
        (
            "HTTP/1.1 200 OK\r\nx: \x01\r\n\r\n",
            Err(Malformed::FieldValue),
        ),
        ("HTTP/1.1 20\r\n\r\n", Err(Malformed::Status)),
        ("HTTP/1.1 20", Err(Malformed::StartLine)),
        ("HTTP/1.1 204\r\n\r\n", Ok(":status: 204\n")),
        ("HTTP/1.1 204", Err(Malformed::StartLine)),
        ("HTTP/1.1 099 A\r\n\r\n", Err(Malformed::Status)),
        ("HTTP/1.1 2x0 A\r\n\r\n", Err(Malformed::Status)),
        ("", Err(Malformed::StartLine)),
    ] {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new(4096);
        // In step whatever came before, and what was refused.
        for _ in 0..3 {
            let mut out = b"before".to_vec();
            let put = put_response(&mut encoder, head.as_bytes(), &mut out);
            let text = put.map(|_| said(&mut decoder, &out[6..]));
            assert_eq!(text.as_deref(), expect.as_ref().map(|text| *text));
            out.truncate(6);
            let good = b"HTTP/1.1 200 OK\r\nX-Of-Ours: 1\r\n\r\n";
            assert_eq!(put_response(&mut encoder, good, &mut out), Ok(200));
            assert_eq!(
                said(&mut decoder, &out[6..]),
                ":status: 200\nx-of-ours: 1\n"
            );
        }
    }
}

#[test]
fn trailers_there_and_back() {
    let limits = HeadLimits::default();
    let few = HeadLimits {
        fields: 1,
        ..limits
    };
    let short = HeadLimits { bytes: 8, ..limits };
    for (fields, limits, expect) in [
        (
            &[("grpc-status", &b"0"[..]), ("grpc-message", b"a b")][..],
            &limits,
            Ok("grpc-status: 0\r\ngrpc-message: a b\r\n"),
        ),
        (
            &[
                ("x", b"1"),
                ("content-length", b"3"),
                ("x_forwarded_for", b"me"),
            ],
            &limits,
            Ok("x: 1\r\n"),
        ),
        (&[("y", b" a")], &limits, Err(Malformed::Trailer)),
        (&[("y\"z", b"a")], &limits, Err(Malformed::Trailer)),
        (&[("Y", b"a")], &limits, Err(Malformed::Http2)),
        (&[("connection", b"a")], &limits, Err(Malformed::Http2)),
        (&[(":status", b"200")], &limits, Err(Malformed::Http2)),
        (&[(":path", b"/")], &limits, Err(Malformed::Http2)),
        (
            &[("x", b"1"), ("y", b"1")],
            &few,
            Err(Malformed::TrailersTooLarge),
        ),
        (
            &[("x", b"123456")],
            &short,
            Err(Malformed::TrailersTooLarge),
        ),
    ] {
        let mut lines = Vec::new();
        let mut decoder = Decoder::new(4096);
        let taken = trailers_of(&mut decoder, &block(fields), limits, &mut lines).unwrap();
        let taken = taken.map(|()| str::from_utf8(&lines).unwrap());
        assert_eq!(taken, expect, "{fields:?}");
        if taken.is_ok() {
            let mut out = Vec::new();
            put_trailers(&mut Encoder::new(), &lines, &mut out).unwrap();
            let mut again = Vec::new();
            let mut decoder = Decoder::new(4096);
            trailers_of(&mut decoder, &out, limits, &mut again)
                .unwrap()
                .unwrap();
            assert_eq!(again, lines);
        }
    }
}

/// Lines of answers: what is indexed, what is not, what is not said, and what is no field.
const LINES: [&str; 17] = [
    "Content-Type: text/html",
    "content-type: text/html",
    "Date: Sat, 21 Nov 2026 20:08:16 GMT",
    "Date: Sat, 21 Nov 2026 20:08:17 GMT",
    "Server: x",
    "Content-Length: 7",
    "Content-Length: 1024",
    "ETag: \"a\"",
    "Set-Cookie: a=0123456789012345678901234567890",
    "X-Request-Id: 0123456789",
    "X-Empty: ",
    "X: y",
    "X: yesterday",
    "Connection: close",
    "Transfer-Encoding: chunked",
    "X-Large: ...............................................................................................",
    "no field: y",
];

proptest! {
    #[test]
    fn lines_are_said_as_they_stand(
        heads in proptest::collection::vec((proptest::collection::vec(0..LINES.len(), 0..20), 0..8_u32), 1..20),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        for (lines, size) in heads {
            let mut head = String::from("HTTP/1.1 200 OK\r\n");
            let mut expect = String::from(":status: 200\n");
            let mut refused = false;
            for line in lines.into_iter().map(|at| LINES[at]) {
                head += &format!("{line}\r\n");
                refused |= line.starts_with("no field");
                let (name, value) = line.split_once(": ").unwrap();
                let name = name.to_ascii_lowercase();
                if !["connection", "transfer-encoding"].contains(&&*name) {
                    expect += &format!("{name}: {}\n", value.as_bytes().escape_ascii());
                }
            }
            head += "\r\n";
            if size < 3 {
                encoder.resize(size * 150);
            }
            let mut out = Vec::new();
            let put = put_response(&mut encoder, head.as_bytes(), &mut out);
            prop_assert_eq!(put.is_err(), refused);
            if !refused {
                prop_assert_eq!(said(&mut decoder, &out), expect);
            }
            prop_assert!(!refused || out.is_empty());
        }
    }
}
