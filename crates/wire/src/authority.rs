//! Owns the reading of `host[:port]` (RFC 9110 section 4.2, RFC 3986 section 3.2), without userinfo, lists or escapes.

use std::net::Ipv6Addr;

use crate::bytes::host_length;
use crate::malformed::Malformed;

/// Host and port, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// A name, an IPv4 address, or an IPv6 address in its brackets; as written.
    pub host: &'a [u8],
    /// 1 to 65,535, where one is named. A colon without digits names none.
    pub port: Option<u16>,
}

/// The IPv6 address that a host in brackets is. One address has many spellings; the one of RFC 5952 is how it is displayed.
#[must_use]
pub fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    address(inner)
}

/// Apart, for few hosts are addresses of IPv6 and all pass by here.
#[cold]
fn address(text: &[u8]) -> Option<Ipv6Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads an authority.
///
/// # Errors
/// [`Malformed::Host`] for anything else than one host, with or without a port. A name with an empty label is none, but for
/// the one dot at its end: RFC 3986 has it, DNS has not (RFC 1035 section 3.1); nginx 1.22 refuses `a..b`, HAProxy 2.6 takes it. No rule
/// could name it, and to a backend that finds folders by host it may mean another folder.
pub fn parse(text: &[u8]) -> Result<Authority<'_>, Malformed> {
    scan(text).map(|(authority, _)| authority)
}

/// The same, and whether no letter of the host is in upper case.
pub(crate) fn scan(text: &[u8]) -> Result<(Authority<'_>, bool), Malformed> {
    let (length, lower) = match text.first() {
        Some(b'[') => {
            let end = text.iter().position(|&byte| byte == b']');
            let end = end.ok_or(Malformed::Host)?;
            address(&text[1..end]).ok_or(Malformed::Host)?;
            (end + 1, !text[..end].iter().any(u8::is_ascii_uppercase))
        }
        _ => match host_length(text) {
            Some((length @ 1..=255, lower)) => (length, lower),
            _ => return Err(Malformed::Host),
        },
    };
    let (host, rest) = text.split_at(length);
    let port = match rest {
        [] | [b':'] => None,
        [b':', digits @ ..] => Some(port(digits)?),
        _ => return Err(Malformed::Host),
    };
    Ok((Authority { host, port }, lower))
}

fn port(digits: &[u8]) -> Result<u16, Malformed> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Host);
    }
    let number = digits
        .iter()
        .fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Malformed::Host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(&str, Option<u16>), Malformed>) {
        let got = parse(text.as_bytes());
        let expect = expect.map(|(host, port)| Authority {
            host: host.as_bytes(),
            port,
        });
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn one_host() {
        check("example.com", Ok(("example.com", None)));
        check("Example.com.:8080", Ok(("Example.com.", Some(8080))));
        check("a_b:", Ok(("a_b", None)));
        check("a.b.", Ok(("a.b.", None)));
        check("10.0.0.1:1", Ok(("10.0.0.1", Some(1))));
        check("[::1]", Ok(("[::1]", None)));
        check("[2001:db8::7]:65535", Ok(("[2001:db8::7]", Some(65535))));
    }

    #[test]
    fn anything_else() {
        let long = "a".repeat(256);
        for text in [
            "",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            "a..:80",
            ":80",
            "user@host",
            "a b",
            "a,b",
            "a/b",
            "a?b",
            "a:b",
            "a:0",
            "a:65536",
            "a:+1",
            "a:80:80",
            "a:000001",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[1.2.3.4]",
            "[fe80::1%eth0]",
            "::1",
            "a%2eb",
            "ü",
            "a\\b",
            "a#b",
            &long,
        ] {
            check(text, Err(Malformed::Host));
        }
    }
}
