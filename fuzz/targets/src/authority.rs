//! Owns the laws of hosts and ports. The input is what stands in `Host`, or between `http://` and the path.

use std::net::Ipv6Addr;

use evenkeel_wire::authority::parse;
use evenkeel_wire::http1::request::{self, PathForm};
use evenkeel_wire::http1::{HeadEnd, HeadLimits};
use evenkeel_wire::{Malformed, RequestHead};

use crate::show;

/// Compares with a plain reading; a taken authority is one in `Host` and in a target too, in any case of letters, and no
/// other one agrees with it.
pub fn check(input: &[u8]) -> bool {
    let read = parse(input);
    let plain = plainly_read(input);
    let both = read.map(|read| (read.host, read.port)).ok();
    assert_eq!(both, plain, "{}", show(input));
    in_a_head(input, plain.is_some());
    let Some((host, port)) = plain else {
        return false;
    };
    let mut again = host.to_vec();
    if let Some(port) = port {
        again.extend_from_slice(format!(":{port}").as_bytes());
    }
    let again = parse(&again).map(|read| (read.host.to_vec(), read.port));
    assert_eq!(again, Ok((host.to_vec(), port)));
    true
}

fn plainly_read(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let text = std::str::from_utf8(text).ok()?;
    let (host, rest) = if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        (&text[..address.len() + 2], rest)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (host, rest) = text.split_at(end);
        let name = |char: char| char.is_ascii_alphanumeric() || "-._".contains(char);
        let sound = !host.is_empty() && host.len() <= 255 && host.chars().all(name);
        let named = host.strip_suffix('.').unwrap_or(host);
        let sound = sound && named.split('.').all(|label| !label.is_empty());
        (sound.then_some(host)?, rest)
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return None,
        Some("") => None,
        Some(digits) => {
            let sound = digits.len() <= 5 && digits.chars().all(|char| char.is_ascii_digit());
            let port = sound.then(|| digits.parse::<u16>().ok())?;
            Some(port.filter(|&port| port > 0)?)
        }
    };
    Some((host.as_bytes(), port))
}

fn ask(target: &[u8], host: &[u8]) -> Result<RequestHead, Malformed> {
    let text = [b"GET ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
    let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
    let limits = HeadLimits::default();
    request::parse(&text, &mut end, &limits, PathForm::Normalize, &mut head).map(|_| head)
}

fn in_a_head(text: &[u8], sound: bool) {
    let plain = |&byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'\\');
    if !text.iter().all(plain) || text.len() > 1024 {
        return;
    }
    let head = ask(b"/", text);
    assert_eq!(head.is_ok(), sound, "{}", show(text));
    let target = [b"HTTP://", text, b"/a"].concat();
    let other = text.to_ascii_uppercase();
    let absolute = ask(&target, &other);
    assert_eq!(absolute.is_ok(), sound, "{}", show(text));
    let (Ok(head), Ok(absolute)) = (head, absolute) else {
        return;
    };
    assert_eq!(head.authority(), text);
    assert_eq!(
        (head.host(), head.port()),
        (absolute.host(), absolute.port())
    );
    assert!(!head.host().is_empty());
    assert!(!head.host().bytes().any(|byte| byte.is_ascii_uppercase()));
    // What is asked for in the spelling that rules see is the same host.
    let spelled = ask(b"/", head.host().as_bytes());
    assert_eq!(
        spelled.map(|head| head.host().to_owned()),
        Ok(head.host().to_owned())
    );
    for (before, behind) in [(&b"a"[..], &b""[..]), (b"", b"1"), (b"", b"a")] {
        let different = [before, text, behind].concat();
        let read = ask(&target, &different);
        let agrees =
            read.is_ok_and(|read| (read.host(), read.port()) != (head.host(), head.port()));
        assert!(!agrees, "{} beside {}", show(text), show(&different));
    }
}
