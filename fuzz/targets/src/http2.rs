//! Owns the laws of HTTP/2's heads. The input is lines: `METHOD authority path` (`-`: no authority), with `open` if a body follows and
//! the protocol of a tunnel behind it, then fields like `name: value`, then an empty line and trailers.

use evenkeel_wire::forward::{self, Forwardable, Forwarding};
use evenkeel_wire::http1::HeadEnd;
use evenkeel_wire::http1::HeadLimits;
use evenkeel_wire::http1::request::{PathForm, parse};
use evenkeel_wire::http2::fields;
use evenkeel_wire::http2::hpack::{Decoder, Encoder, Pseudo};
use evenkeel_wire::known::is_forbidden_in_trailers;
use evenkeel_wire::{Framing, Malformed, RequestHead, Version};

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
    let (mut encoder, mut block) = (Encoder::new(), Vec::new());
    encoder.begin(&mut block);
    encoder.pseudo(Pseudo::Method, method, &mut block);
    if authority != b"-" {
        encoder.pseudo(Pseudo::Authority, authority, &mut block);
    }
    encoder.pseudo(Pseudo::Scheme, b"https", &mut block);
    encoder.pseudo(Pseudo::Path, path, &mut block);
    if let Some(protocol) = protocol {
        encoder.pseudo(Pseudo::Protocol, protocol, &mut block);
    }
    let own = lines.by_ref().take_while(|line| !line.is_empty());
    put_fields(own, &mut encoder, &mut block);
    let trailers_taken = trailers_say_the_same_again(lines);
    let mut head = RequestHead::new();
    let read = request(&mut Decoder::new(4096), &block, !open, &LIMITS, &mut head);
    if read.is_err() {
        return trailers_taken;
    }
    let sums = [&head.path().len(), &head.target().len()];
    assert!(sums.into_iter().all(|length| *length <= 3 * LIMITS.bytes));
    assert!(head.fields().count() <= LIMITS.fields);
    assert_eq!(head.version(), Version::Two);
    assert_eq!(head.upgrade(), protocol.filter(|_| method == b"CONNECT"));
    goes_on(&head);
    true
}

/// What our own encoder wrote is a block, whatever it says.
fn request(
    decoder: &mut Decoder,
    block: &[u8],
    ended: bool,
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<(), Malformed> {
    fields::request(decoder, block, ended, limits, PathForm::Normalize, head)
        .unwrap_or_else(|_| panic!("{}", show(block)))
}

fn put_fields<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    encoder: &mut Encoder,
    block: &mut Vec<u8>,
) {
    for line in lines.filter(|line| !line.is_empty()).take(100) {
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        encoder.field(name, value.strip_prefix(b" ").unwrap_or(value), block);
    }
}

/// A head goes on as one sound head of HTTP/1.1 that means the same, and as HTTP/2 that does.
pub(crate) fn goes_on(head: &RequestHead) {
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
        span: None,
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
    let mut block = Vec::new();
    if fields::put_request(&mut Encoder::new(), &on, true, None, &mut block).is_err() {
        return;
    }
    let mut third = RequestHead::new();
    let read = request(&mut Decoder::new(4096), &block, false, &ROOMY, &mut third);
    assert_eq!(read, Ok(()), "{}", show(text));
    assert_eq!(third.method(), head.method());
    assert_eq!((third.path(), third.query()), (head.path(), head.query()));
    assert_eq!((third.host(), third.port()), (head.host(), head.port()));
    assert_eq!(third.upgrade(), None);
}

fn trailers_say_the_same_again<'a>(came: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut encoder, mut block) = (Encoder::new(), Vec::new());
    encoder.begin(&mut block);
    put_fields(came, &mut encoder, &mut block);
    let taken = |block: &[u8], limits: &HeadLimits| {
        let mut lines = Vec::new();
        let taken = fields::trailers_of(&mut Decoder::new(4096), block, limits, &mut lines);
        let taken = taken.unwrap_or_else(|_| panic!("{}", show(block)));
        taken.map(|()| lines)
    };
    let Ok(lines) = taken(&block, &LIMITS) else {
        return false;
    };
    for line in lines
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        assert!(!is_forbidden_in_trailers(name), "{}", show(line));
    }
    let mut again = Vec::new();
    let put = fields::put_trailers(&mut Encoder::new(), &lines, &mut again);
    assert_eq!(put, Ok(()), "{}", show(&lines));
    assert_eq!(taken(&again, &ROOMY), Ok(lines.clone()), "{}", show(&lines));
    !lines.is_empty()
}
