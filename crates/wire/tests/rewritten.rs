//! Any bytes: nothing panics, and what is taken and written for the next hop says the same when it is read again.
#![expect(clippy::panic, reason = "a test may fail where it likes")]

use evenkeel_wire::forward::{Forwardable, Forwarding, Reply, framing_for, request, response};
use evenkeel_wire::http1::request::{PathForm, parse};
use evenkeel_wire::http1::{HeadEnd, HeadLimits, response as responses};
use evenkeel_wire::known::Known;
use evenkeel_wire::{Framing, RequestHead, ResponseHead, Version};
use proptest::prelude::*;

/// Pieces that requests are made of, sound and unsound.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"GET ",
        b"POST ",
        b"OPTIONS ",
        b"/",
        b"/a/../b",
        b"/%2e%61",
        b"*",
        b"http://A.b:1/x?y",
        b"?q=%zz",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"Host: a\r\n",
        b"Host: B.c.:80\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close, x-a\r\n",
        b"Connection: upgrade\r\n",
        b"Upgrade: websocket\r\n",
        b"X-A: 1\r\n",
        b"X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n",
        b"X_Forwarded_For: 9\r\n",
        b"traceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\n",
        b"Expect: 100-continue\r\n",
        b"Cookie: a=b\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"\0",
        b"\xff",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 \r\n",
        b"HTTP/1.0 404 No\r\n",
        b"Keep-Alive: timeout=9\r\n",
        b"Via: x\r\n",
    ];
    prop_oneof![
        8 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat())
}

/// Bytes that begin as a request does, and mostly are one.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST /a/./b?c HTTP/1.1\r\nHost: x:1\r\n",
        "PUT /%41 HTTP/1.0\r\n",
    ]);
    (line, bytes()).prop_map(|(line, rest)| [line.as_bytes(), &rest, b"\r\n"].concat())
}

fn read(input: &[u8]) -> Option<RequestHead> {
    let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
    let read = parse(
        input,
        &mut end,
        &HeadLimits::default(),
        PathForm::Normalize,
        &mut head,
    );
    read.ok().flatten().map(|_| head)
}

fn check_request(input: &[u8], trusted: bool) {
    let Some(head) = read(input) else { return };
    let forwarding = Forwarding {
        peer: [10, 0, 0, 1].into(),
        trusted,
        client: [10, 0, 0, 2].into(),
        scheme: "http",
        port: 80,
        identity: b"",
        via: Some("keel"),
        real_ip: true,
        chance: [1, 2, 3, 4],
        span: None,
        altered: None,
    };
    let mut written = Forwardable::empty();
    request(&head, &forwarding, &mut written);
    let again = read(written.as_bytes());
    // HTTP/1.0 may come without a host, which HTTP/1.1 must have: then an empty one goes on, and is refused by a strict reader.
    if head.authority().is_empty() {
        return;
    }
    let again =
        again.unwrap_or_else(|| panic!("{:?} became {:?}", show(input), show(written.as_bytes())));
    assert_eq!(again.method(), head.method());
    assert_eq!((again.path(), again.query()), (head.path(), head.query()));
    assert_eq!((again.host(), again.port()), (head.host(), head.port()));
    assert_eq!(again.framing(), head.framing());
    assert_eq!(again.version(), Version::Current);
    assert_eq!(again.upgrade(), head.upgrade());
    for once in [
        Known::Host,
        Known::ForwardedFor,
        Known::ForwardedProto,
        Known::RequestId,
        Known::Traceparent,
        Known::RealIp,
    ] {
        assert_eq!(
            again.fields().filter(|field| field.known == once).count(),
            1,
            "{once:?} of {:?}",
            show(input)
        );
    }
    if !trusted {
        assert_eq!(again.first(Known::ForwardedFor), Some(&b"10.0.0.1"[..]));
    }
}

fn check_response(input: &[u8], version: Version, to_head: bool) {
    let (mut head, mut end) = (ResponseHead::new(), HeadEnd::default());
    let limits = HeadLimits::default();
    let read = responses::parse(input, &mut end, &limits, to_head, &mut head);
    if !matches!(read, Ok(Some(_))) || head.status() < 200 {
        return;
    }
    let framing = framing_for(version, &head);
    let reply = Reply {
        framing,
        version,
        keep: false,
        to_head,
    };
    let mut written = Vec::new();
    response(&head, &reply, None, None, &mut written);
    let (mut again, mut end) = (ResponseHead::new(), HeadEnd::default());
    let read = responses::parse(&written, &mut end, &limits, to_head, &mut again);
    assert_eq!(
        read,
        Ok(Some(written.len())),
        "{:?} became {:?}",
        show(input),
        show(&written)
    );
    assert_eq!(
        (again.status(), again.reason()),
        (head.status(), head.reason())
    );
    assert!(!again.keeps_connection());
    if framing != Framing::Empty {
        assert_eq!(
            again.framing(),
            framing,
            "{:?} became {:?}",
            show(input),
            show(&written)
        );
    }
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

    #[test]
    fn requests_say_the_same_again(input in prop_oneof![requests(), bytes()], trusted in any::<bool>()) {
        check_request(&input, trusted);
    }

    #[test]
    fn responses_say_the_same_again(
        begin in prop::sample::select(vec!["HTTP/1.1 200 OK\r\n", "HTTP/1.0 304 \r\n", "HTTP/1.1 204 No\r\n", ""]),
        rest in bytes(),
        current in any::<bool>(),
        to_head in any::<bool>(),
    ) {
        let input = [begin.as_bytes(), &rest, b"\r\n"].concat();
        let version = if current { Version::Current } else { Version::Old };
        check_response(&input, version, to_head);
    }
}

/// The strategies above reach what they are about: a good part of them is taken.
#[test]
fn many_are_taken() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let taken = (0..1000)
        .filter_map(|_| requests().new_tree(&mut runner).ok())
        .filter(|tree| read(&tree.current()).is_some())
        .count();
    assert!(taken > 100, "{taken} of 1000");
}
