//! Owns the laws of request heads. The input is what a client sends, from its first byte.

use evenkeel_wire::forward::{self, Forwardable, Forwarding};
use evenkeel_wire::http1::request::{PathForm, parse};
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use evenkeel_wire::known::{Kind, Known, is_disguised};
use evenkeel_wire::{Framing, Malformed, RequestHead, Version, authority, path};

use crate::plainly::{self, Length, Plainly};
use crate::show;

const FORMS: [PathForm; 3] = [PathForm::Normalize, PathForm::Refuse, PathForm::AsIs];

/// Limits that small inputs reach.
const TIGHT: HeadLimits = HeadLimits {
    bytes: 160,
    fields: 4,
    target: 24,
};

/// Reads one head under each form of paths and each set of limits, whole and byte by byte; what was taken is compared with a
/// plain reading, written for a backend, and read again.
pub fn check(input: &[u8]) -> bool {
    let mut taken = false;
    for form in FORMS {
        let wide = under(input, &HeadLimits::default(), form);
        let tight = under(input, &TIGHT, form);
        if let Some((head, length)) = &tight {
            let (other, same) = wide
                .as_ref()
                .unwrap_or_else(|| panic!("tighter limits take more: {}", show(input)));
            assert_eq!((length, same_text(head)), (same, same_text(other)));
        }
        taken |= wide.is_some();
    }
    forms_agree(input);
    taken
}

type Read = Result<Option<usize>, Malformed>;

fn whole(input: &[u8], limits: &HeadLimits, form: PathForm) -> (Read, RequestHead) {
    let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
    (parse(input, &mut end, limits, form, &mut head), head)
}

/// Byte by byte, into a head that held another request before.
fn bytewise(input: &[u8], limits: &HeadLimits, form: PathForm) -> (Read, RequestHead) {
    const EARLIER: &[u8] =
        b"POST http://Old:1/%61?b HTTP/1.0\r\nConnection: x\r\nHost: old:1\r\n\r\n";
    let (_, mut head) = whole(EARLIER, &HeadLimits::default(), PathForm::Normalize);
    let mut end = HeadEnd::default();
    for length in 1..=input.len() {
        let read = parse(&input[..length], &mut end, limits, form, &mut head);
        if read != Ok(None) {
            return (read, head);
        }
    }
    (Ok(None), head)
}

/// All that a head says of itself.
fn same_text(head: &RequestHead) -> String {
    format!("{head:?}")
}

/// The head and its length, if one was taken.
fn under(input: &[u8], limits: &HeadLimits, form: PathForm) -> Option<(RequestHead, usize)> {
    let (read, head) = whole(input, limits, form);
    let (piecewise, other) = bytewise(input, limits, form);
    match read {
        Ok(Some(length)) => {
            assert_eq!(piecewise, read, "cut into bytes: {}", show(input));
            assert_eq!(same_text(&head), same_text(&other), "{}", show(input));
            nothing_beyond(input, length, limits, form);
            keeps_limits(&head, &input[..length], limits);
            says_what_stands_there(&head, &input[..length], form);
            for trusted in [false, true] {
                says_the_same_again(&head, trusted, form);
            }
            Some((head, length))
        }
        // In pieces, a fault may be seen before a worse one has come: some fault, not the same one.
        Err(_) => {
            assert!(piecewise.is_err(), "cut into bytes: {}", show(input));
            None
        }
        Ok(None) => {
            assert_eq!(piecewise, Ok(None), "cut into bytes: {}", show(input));
            None
        }
    }
}

/// What follows a head changes nothing, and a head without its last byte is none.
fn nothing_beyond(input: &[u8], length: usize, limits: &HeadLimits, form: PathForm) {
    assert!(length <= input.len());
    let (short, _) = whole(&input[..length - 1], limits, form);
    assert_eq!(short, Ok(None), "{}", show(input));
    let more = [&input[..length], b"\0\n\r\nGET / HTTP/1.1\r\n\r\n"].concat();
    let (long, _) = whole(&more, limits, form);
    assert_eq!(long, Ok(Some(length)), "{}", show(input));
}

fn keeps_limits(head: &RequestHead, text: &[u8], limits: &HeadLimits) {
    let empty_line = if text.starts_with(b"\r\n") { 2 } else { 0 };
    assert!(text.len() - empty_line <= limits.bytes);
    assert!(head.fields().count() <= limits.fields);
    assert!(head.target().len() <= limits.target);
    assert!(head.method().len() <= 32);
}

/// Compares a head with the plain reading of its text.
fn says_what_stands_there(head: &RequestHead, text: &[u8], form: PathForm) {
    // One empty line before a request is forgiven.
    let plain = plainly::read(text.strip_prefix(b"\r\n").unwrap_or(text));
    let fields: Vec<_> = head
        .fields()
        .map(|field| (field.name, field.value))
        .collect();
    assert_eq!(fields, plain.fields, "{}", show(text));
    let version: &[u8] = match head.version() {
        Version::Old => b"HTTP/1.0",
        Version::Current => b"HTTP/1.1",
        Version::Two => unreachable!("text is never HTTP/2"),
    };
    let line = [head.method(), head.target(), version].join(&b' ');
    assert_eq!(line, plain.line, "{}", show(text));
    let framing = match plain.length() {
        Length::Unsaid | Length::Bytes(0) => Framing::Empty,
        Length::Bytes(length) => Framing::Exact(length),
        Length::Chunks => Framing::Chunked,
    };
    assert_eq!(head.framing(), framing, "{}", show(text));
    let options = plain.connection();
    let says = |option: &[u8]| options.iter().any(|said| said == option);
    let keeps = !says(b"close") && (head.version() == Version::Current || says(b"keep-alive"));
    assert_eq!(head.keeps_connection(), keeps, "{}", show(text));
    if head.upgrade().is_some() {
        assert!(
            says(b"upgrade") && head.version() == Version::Current && framing == Framing::Empty
        );
    }
    host_and_path(head, &plain, form);
}

fn host_and_path(head: &RequestHead, plain: &Plainly<'_>, form: PathForm) {
    let hosts = plain.all("host");
    assert!(hosts.len() <= 1);
    if let [host] = hosts[..] {
        assert_eq!(head.authority(), host);
    }
    assert_eq!(head.authority().is_empty(), head.host().is_empty());
    if !head.authority().is_empty() {
        let parsed = authority::parse(head.authority())
            .unwrap_or_else(|_| panic!("{}", show(head.authority())));
        let bare = parsed.host.strip_suffix(b".").unwrap_or(parsed.host);
        match authority::ipv6(bare) {
            Some(address) => assert_eq!(head.host(), format!("[{address}]")),
            None => assert_eq!(head.host().as_bytes(), bare.to_ascii_lowercase()),
        }
        assert_eq!(head.port(), parsed.port);
    }
    assert!(matches!(head.path(), [b'/', ..] | b"*"));
    assert!(!head.path().contains(&b'?'));
    if let Some(query) = head.query() {
        assert!(head.target().ends_with(&[b"?", query].concat()));
    }
    if form != PathForm::AsIs && head.path() != b"*" {
        let mut again = Vec::new();
        assert_eq!(path::normalize(head.path(), &mut again), Ok(()));
        assert_eq!(again, head.path());
    }
}

/// What is taken in one form of paths is in the weaker ones, and a path that need not be mended is not.
fn forms_agree(input: &[u8]) {
    let limits = HeadLimits::default();
    let [mended, strict, raw] = FORMS.map(|form| whole(input, &limits, form));
    if let Ok(Some(_)) = strict.0 {
        assert_eq!(mended.0, strict.0);
        assert_eq!(mended.1.path(), strict.1.path());
        assert_eq!(mended.1.path(), raw.1.path());
    }
    if let Ok(Some(_)) = mended.0 {
        assert_eq!(raw.0, mended.0, "{}", show(input));
        assert_eq!(raw.1.host(), mended.1.host());
        assert_eq!(raw.1.query(), mended.1.query());
    }
}

/// Written for a backend and read again, a head says the same, and is one head.
fn says_the_same_again(head: &RequestHead, trusted: bool, form: PathForm) {
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
    // HTTP/1.0 may come without a host, which a strict reader of HTTP/1.1 refuses.
    if head.authority().is_empty() {
        return;
    }
    let mut written = Forwardable::empty();
    forward::request(head, &forwarding, &mut written);
    let text = written.as_bytes();
    let roomy = HeadLimits {
        bytes: 1 << 20,
        fields: 256,
        target: 1 << 16,
    };
    let (read, again) = whole(text, &roomy, form);
    assert_eq!(read, Ok(Some(text.len())), "{}", show(text));
    assert_eq!(again.method(), head.method());
    assert_eq!((again.path(), again.query()), (head.path(), head.query()));
    assert_eq!((again.host(), again.port()), (head.host(), head.port()));
    assert_eq!(again.framing(), head.framing());
    assert_eq!(again.version(), Version::Current);
    assert_eq!(again.upgrade(), head.upgrade());
    assert_eq!(again.expects_continue(), head.expects_continue());
    only_what_may_go_on(head, &again, trusted);
}

fn only_what_may_go_on(head: &RequestHead, again: &RequestHead, trusted: bool) {
    let named: Vec<Vec<u8>> = head
        .fields()
        .filter(|field| field.known == Known::Connection)
        .flat_map(|field| field.value.split(|&byte| byte == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
        .collect();
    for field in again.fields() {
        assert!(!is_disguised(field.name), "{}", show(field.name));
        if field.known.kind() == Kind::HopByHop {
            let upgrades = matches!(field.known, Known::Connection | Known::Upgrade);
            // What we say ourselves: that trailers are taken (RFC 9110 section 6.5.1).
            let taken = match field.known {
                Known::Te => field.value == b"trailers",
                Known::Connection => field.value == b"te",
                _ => false,
            };
            let fine = taken || upgrades && head.upgrade().is_some();
            assert!(fine, "{}: {}", show(field.name), show(field.value));
        }
        let name = field.name.to_ascii_lowercase();
        if field.known.kind() == Kind::EndToEnd {
            assert!(!named.contains(&name), "{}", show(field.name));
        }
    }
    for once in [
        Known::Host,
        Known::ForwardedFor,
        Known::ForwardedProto,
        Known::ForwardedPort,
        Known::RequestId,
        Known::Traceparent,
        Known::RealIp,
    ] {
        let count = again.fields().filter(|field| field.known == once).count();
        assert_eq!(count, 1, "{once:?}");
    }
    let own = again.first(Known::ForwardedFor).unwrap_or_default();
    if trusted {
        assert!(own.ends_with(b"10.0.0.1"));
    } else {
        assert_eq!(own, b"10.0.0.1");
        assert_eq!(again.first(Known::Forwarded), None);
        assert_eq!(again.first(Known::Tracestate), None);
    }
}
