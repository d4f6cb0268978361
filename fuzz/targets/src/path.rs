//! Owns the laws of paths: one form for all spellings. The input is a path, with or without its first slash.

use evenkeel_balance::hashing;
use evenkeel_wire::http1::request::{self, PathForm};
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use evenkeel_wire::path::{check_escapes, is_normal, normalize};
use evenkeel_wire::{Malformed, RequestHead};

use crate::show;

/// Compares with a plain reading; the normal form is its own, holds no second spelling of anything, and every other
/// spelling of it comes back to it, so that no spelling passes by a rule.
pub fn check(input: &[u8]) -> bool {
    let path = match input.first() {
        Some(b'/') => input.to_vec(),
        _ => [b"/", input].concat(),
    };
    let normal = normal(&path);
    assert_eq!(normal, plainly_normal(&path), "{}", show(&path));
    if is_normal(&path) {
        assert_eq!(normal.as_deref(), Some(&path[..]));
    }
    let Some(normal) = normal else {
        return false;
    };
    assert_eq!(check_escapes(&path), Ok(()));
    assert_eq!(self::normal(&normal).as_ref(), Some(&normal));
    holds_one_spelling(&normal);
    let mut chance = fastrand::Rng::with_seed(hashing::key(&path));
    for _ in 0..4 {
        let other = respelled(&normal, &mut chance);
        assert_eq!(
            self::normal(&other).as_deref(),
            Some(&normal[..]),
            "{}",
            show(&other)
        );
        in_a_head(&other, &normal);
    }
    true
}

fn normal(path: &[u8]) -> Option<Vec<u8>> {
    let mut normal = b"what stood there".to_vec();
    let before = normal.len();
    normalize(path, &mut normal).ok()?;
    assert!(normal.starts_with(b"what stood there"));
    Some(normal.split_off(before))
}

/// RFC 3986 section 6.2.2 by the book: decode, split, resolve, join.
fn plainly_normal(path: &[u8]) -> Option<Vec<u8>> {
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < path.len() {
        if path[at] != b'%' {
            decoded.push(path[at]);
            at += 1;
            continue;
        }
        let digits = std::str::from_utf8(path.get(at + 1..at + 3)?).ok()?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match u8::from_str_radix(digits, 16).ok()? {
            0 => return None,
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => decoded.push(byte),
            _ => decoded.extend_from_slice(format!("%{}", digits.to_ascii_uppercase()).as_bytes()),
        }
        at += 3;
    }
    let segments: Vec<&[u8]> = decoded[1..].split(|&byte| byte == b'/').collect();
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in &segments {
        match *segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()?),
            other => kept.push(other),
        }
    }
    let mut out: Vec<u8> = kept
        .iter()
        .flat_map(|part| [b"/", *part].concat())
        .collect();
    // What ends in a slash or in dots names a folder.
    if matches!(segments.last(), Some(&(b"" | b"." | b".."))) || out.is_empty() {
        out.push(b'/');
    }
    Some(out)
}

fn holds_one_spelling(normal: &[u8]) {
    assert_eq!(normal.first(), Some(&b'/'));
    let twice = normal.windows(2).any(|pair| pair == b"//");
    assert!(!twice, "{}", show(normal));
    for segment in normal.split(|&byte| byte == b'/') {
        assert!(segment != b"." && segment != b"..", "{}", show(normal));
    }
    for (at, _) in normal.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let digits = std::str::from_utf8(&normal[at + 1..at + 3]).unwrap_or_default();
        let byte = u8::from_str_radix(digits, 16).unwrap_or(b'a');
        let upper = !digits.bytes().any(|digit| digit.is_ascii_lowercase());
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        assert!(upper && !plain && byte != 0, "{}", show(normal));
    }
}

/// Another spelling of the same path: letters escaped, escapes in either case, slashes repeated, detours taken.
fn respelled(normal: &[u8], chance: &mut fastrand::Rng) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < normal.len() {
        let byte = normal[at];
        at += 1;
        match byte {
            b'%' => {
                out.push(b'%');
                for &digit in &normal[at..at + 2] {
                    out.push(either_case(digit, chance));
                }
                at += 2;
            }
            b'/' => out.extend_from_slice(slash(chance)),
            _ if (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) && chance.bool() => {
                for char in format!("%{byte:02x}").into_bytes() {
                    out.push(either_case(char, chance));
                }
            }
            _ => out.push(byte),
        }
    }
    if normal.ends_with(b"/") {
        out.extend_from_slice(
            chance
                .choice([&b""[..], b".", b"%2e", b"b/..", b"b/%2E."])
                .unwrap_or(b""),
        );
    }
    out
}

fn slash(chance: &mut fastrand::Rng) -> &'static [u8] {
    let all: [&[u8]; 8] = [
        b"/",
        b"/",
        b"//",
        b"/./",
        b"/%2e/",
        b"/a/../",
        b"/a/%2E%2e/",
        b"///././b//c/../../",
    ];
    chance.choice(all).unwrap_or(b"/")
}

fn either_case(digit: u8, chance: &mut fastrand::Rng) -> u8 {
    match chance.bool() {
        true => digit.to_ascii_lowercase(),
        false => digit.to_ascii_uppercase(),
    }
}

/// What a rule sees of a request with this spelling, and what a listener does that asks for the normal one.
fn in_a_head(spelling: &[u8], normal: &[u8]) {
    let target = |&byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\');
    if !spelling.iter().all(target) || spelling.len() > 8000 {
        return;
    }
    let head = ask(spelling, PathForm::Normalize).unwrap_or_else(|_| panic!("{}", show(spelling)));
    assert_eq!(head.path(), normal, "{}", show(spelling));
    match ask(spelling, PathForm::Refuse) {
        Ok(_) => assert_eq!(spelling, normal),
        Err(error) => {
            assert_eq!(error, Malformed::PathForm);
            assert_ne!(spelling, normal);
        }
    }
}

fn ask(path: &[u8], form: PathForm) -> Result<RequestHead, Malformed> {
    let text = [b"GET ", path, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
    request::parse(&text, &mut end, &HeadLimits::default(), form, &mut head).map(|_| head)
}
