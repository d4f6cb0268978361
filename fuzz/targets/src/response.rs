//! Owns the laws of response heads. The input is what a backend sends, from its first byte.

use std::time::Duration;

use evenkeel_wire::forward::{self, Reply};
use evenkeel_wire::http1::response::parse;
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use evenkeel_wire::known::{Kind, Known};
use evenkeel_wire::{Framing, Malformed, ResponseHead, Version, retry_after, set_cookie};

use crate::plainly::{self, Length};
use crate::show;

const TIGHT: HeadLimits = HeadLimits {
    bytes: 96,
    fields: 3,
    target: 0,
};

/// Reads one head, as the answer to a HEAD and to anything else, whole and byte by byte; what was taken is compared with a
/// plain reading, written for a client of either version, and read again.
pub fn check(input: &[u8]) -> bool {
    let mut taken = false;
    for to_head in [false, true] {
        let wide = under(input, &HeadLimits::default(), to_head);
        let tight = under(input, &TIGHT, to_head);
        if let Some(head) = &tight {
            let other = wide
                .as_ref()
                .unwrap_or_else(|| panic!("tighter limits take more: {}", show(input)));
            assert_eq!(format!("{head:?}"), format!("{other:?}"));
        }
        taken |= wide.is_some();
    }
    taken
}

type Read = Result<Option<usize>, Malformed>;

fn whole(input: &[u8], limits: &HeadLimits, to_head: bool) -> (Read, ResponseHead) {
    let (mut head, mut end) = (ResponseHead::new(), HeadEnd::default());
    (parse(input, &mut end, limits, to_head, &mut head), head)
}

/// Byte by byte, into a head that held another response before.
fn bytewise(input: &[u8], limits: &HeadLimits, to_head: bool) -> (Read, ResponseHead) {
    const EARLIER: &[u8] = b"HTTP/1.0 404 Old\r\nConnection: x, close\r\nContent-Length: 7\r\n\r\n";
    let (_, mut head) = whole(EARLIER, &HeadLimits::default(), false);
    let mut end = HeadEnd::default();
    for length in 1..=input.len() {
        let read = parse(&input[..length], &mut end, limits, to_head, &mut head);
        if read != Ok(None) {
            return (read, head);
        }
    }
    (Ok(None), head)
}

fn under(input: &[u8], limits: &HeadLimits, to_head: bool) -> Option<ResponseHead> {
    let (read, head) = whole(input, limits, to_head);
    let (piecewise, other) = bytewise(input, limits, to_head);
    let Ok(Some(length)) = read else {
        // In pieces, a fault may be seen before a worse one has come.
        assert_eq!(piecewise.is_err(), read.is_err(), "{}", show(input));
        return None;
    };
    assert_eq!(piecewise, read, "cut into bytes: {}", show(input));
    assert_eq!(format!("{head:?}"), format!("{other:?}"));
    let text = &input[..length];
    let (short, _) = whole(&input[..length - 1], limits, to_head);
    assert_eq!(short, Ok(None), "{}", show(input));
    assert_eq!(whole(text, limits, to_head).0, read, "{}", show(input));
    assert!(length <= limits.bytes && head.fields().count() <= limits.fields);
    says_what_stands_there(&head, text, to_head);
    rests_are_bounded(&head);
    for version in [Version::Old, Version::Current] {
        for keep in [false, true] {
            says_the_same_again(&head, version, keep, to_head);
        }
    }
    Some(head)
}

fn says_what_stands_there(head: &ResponseHead, text: &[u8], to_head: bool) {
    let plain = plainly::read(text);
    let fields: Vec<_> = head
        .fields()
        .map(|field| (field.name, field.value))
        .collect();
    assert_eq!(fields, plain.fields, "{}", show(text));
    let version = match head.version() {
        Version::Old => "HTTP/1.0",
        Version::Current => "HTTP/1.1",
        Version::Two => unreachable!("text is never HTTP/2"),
    };
    let status = format!("{version} {}", head.status());
    assert!((100..=599).contains(&head.status()));
    assert!(plain.line.starts_with(status.as_bytes()), "{}", show(text));
    let phrase = &plain.line[status.len()..];
    assert_eq!(phrase.trim_ascii(), head.reason().trim_ascii());
    let none = to_head || matches!(head.status(), 100..=199 | 204 | 304);
    let framing = match plain.length() {
        _ if none => Framing::Empty,
        Length::Unsaid => Framing::UntilClose,
        Length::Bytes(0) => Framing::Empty,
        Length::Bytes(length) => Framing::Exact(length),
        Length::Chunks => Framing::Chunked,
    };
    assert_eq!(head.framing(), framing, "{}", show(text));
    let options = plain.connection();
    let says = |option: &[u8]| options.iter().any(|said| said == option);
    let keeps = !says(b"close")
        && (head.version() == Version::Current || says(b"keep-alive"))
        && framing != Framing::UntilClose;
    assert_eq!(head.keeps_connection(), keeps, "{}", show(text));
}

/// Of the cookie that a line names, whatever that is, it says a value that stands there, or that it is gone; of another nothing.
fn says_one_cookie(line: &[u8]) {
    let now = Duration::from_secs(1_795_219_200);
    let pair = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let mut parts = pair.splitn(2, |&byte| byte == b'=');
    let (name, value) = (parts.next().unwrap_or_default(), parts.next());
    let said = set_cookie::of(line, name.trim_ascii(), now);
    assert_eq!(said.is_some(), value.is_some(), "{}", show(line));
    if let Some((said, value)) = said.zip(value) {
        assert!(said.value.is_none_or(|said| said == value.trim_ascii()));
        assert_eq!([pair, said.attributes].concat(), line, "{}", show(line));
    }
    let other = [name.trim_ascii(), b"x"].concat();
    assert_eq!(set_cookie::of(line, &other, now), None);
}

/// Any value is read as what `Retry-After` may say: nothing that was said is longer than the longest, and a date is no less than nothing.
fn rests_are_bounded(head: &ResponseHead) {
    for now in [0, 784_111_777, u64::MAX] {
        let now = Duration::from_secs(now);
        let rests = head
            .fields()
            .map(|field| retry_after::read(field.value, || now));
        assert!(rests.flatten().all(|rest| rest <= retry_after::LONGEST));
    }
}

/// Written for a client and read again, a head says the same, and is one head.
fn says_the_same_again(head: &ResponseHead, version: Version, keep: bool, to_head: bool) {
    let mut written = Vec::new();
    if head.status() < 200 {
        match head.status() {
            101 => forward::switching(head, None, None, &mut written),
            _ => forward::interim(head, |_| false, &mut written),
        }
    } else {
        let framing = forward::framing_for(version, head);
        let reply = Reply {
            framing,
            version,
            keep,
            to_head,
        };
        forward::response(head, &reply, Some("keel"), None, &mut written);
    }
    let roomy = HeadLimits {
        bytes: 1 << 20,
        fields: 256,
        target: 0,
    };
    let (read, again) = whole(&written, &roomy, to_head);
    assert_eq!(read, Ok(Some(written.len())), "{}", show(&written));
    assert_eq!(
        (again.status(), again.reason()),
        (head.status(), head.reason()),
        "{}",
        show(&written)
    );
    for field in again.fields() {
        let ours = field.known == Known::Connection
            || (field.known == Known::Upgrade && head.status() == 101);
        assert!(
            field.known.kind() != Kind::HopByHop || ours,
            "{}",
            show(&written)
        );
    }
    let cookies = |head: &ResponseHead| {
        let all = head
            .fields()
            .filter(|field| field.known == Known::SetCookie);
        all.map(|field| field.value.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(cookies(&again), cookies(head));
    for line in cookies(head) {
        says_one_cookie(&line);
    }
    if head.status() < 200 {
        return;
    }
    let framing = forward::framing_for(version, head);
    assert!(version == Version::Current || framing != Framing::Chunked);
    if framing != Framing::Empty {
        assert_eq!(again.framing(), framing, "{}", show(&written));
    } else if !to_head && !matches!(head.status(), 204 | 304) {
        assert!(
            matches!(again.framing(), Framing::Empty),
            "a client would wait for a body: {}",
            show(&written)
        );
    }
    if !keep {
        assert!(!again.keeps_connection());
    }
}
