//! Owns what a `Set-Cookie` of a backend says of one cookie: its value and its attributes, or that it is taken back.
//!
//! Read as browsers do (RFC 6265 section 5.2): what is malformed in an attribute says nothing, `Max-Age` outdoes `Expires`, and of
//! several of one name the last counts. Knows no time: it is an argument.

use std::time::Duration;

use crate::date;

/// What a line says of the cookie that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetCookie<'a> {
    /// Its value, quotes left on. None: clients are to forget it.
    pub value: Option<&'a [u8]>,
    /// What stands behind name and value, from the first `;` on.
    pub attributes: &'a [u8],
}

/// What the value of a `Set-Cookie` says of the cookie of this name. None: it is of another one.
///
/// A cookie is taken back by an empty value, by `deleted`, which PHP writes, by a `Max-Age` of 0 or below, and by an `Expires` that is
/// over at `now`, since 1970.
#[must_use]
pub fn of<'a>(line: &'a [u8], name: &[u8], now: Duration) -> Option<SetCookie<'a>> {
    let end = line.iter().position(|&byte| byte == b';');
    let (pair, attributes) = line.split_at(end.unwrap_or(line.len()));
    let at = pair.iter().position(|&byte| byte == b'=')?;
    if pair[..at].trim_ascii() != name {
        return None;
    }
    let value = pair[at + 1..].trim_ascii();
    let gone = matches!(value, b"" | b"\"\"" | b"deleted") || is_over(attributes, now);
    Some(SetCookie {
        value: (!gone).then_some(value),
        attributes,
    })
}

fn is_over(attributes: &[u8], now: Duration) -> bool {
    let (mut age, mut expires) = (None, None);
    for attribute in attributes.split(|&byte| byte == b';') {
        let Some(at) = attribute.iter().position(|&byte| byte == b'=') else {
            continue;
        };
        let (name, value) = (
            attribute[..at].trim_ascii(),
            attribute[at + 1..].trim_ascii(),
        );
        if name.eq_ignore_ascii_case(b"max-age") {
            age = no_time(value).or(age);
        } else if name.eq_ignore_ascii_case(b"expires") {
            expires = date_of(value, now).or(expires);
        }
    }
    age.unwrap_or_else(|| expires.is_some_and(|expires| expires <= now))
}

/// Whether a `Max-Age` leaves no time. None: it is none.
fn no_time(value: &[u8]) -> Option<bool> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let negative = digits.len() < value.len();
    sound.then(|| negative || digits.iter().all(|&digit| digit == b'0'))
}

/// Dates of cookies have dashes beside years of four digits, too.
fn date_of(value: &[u8], now: Duration) -> Option<Duration> {
    let undashed = || -> Vec<u8> {
        let plain = value
            .iter()
            .map(|&byte| if byte == b'-' { b' ' } else { byte });
        plain.collect()
    };
    date::read(value, now).or_else(|| date::read(&undashed(), now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let now = Duration::from_secs(1_795_219_200);
        let check = |line: &str, expect: Option<Option<&str>>| {
            let said = of(line.as_bytes(), b"SID", now);
            let value = said.map(|said| said.value.map(|value| str::from_utf8(value).unwrap()));
            assert_eq!(value, expect, "{line}");
        };
        let (kept, gone, other) = (Some(Some("a")), Some(None), None);
        check("SID=a", kept);
        check(" SID = a ; Path=/", kept);
        check("SID=a=b", Some(Some("a=b")));
        check("SID=\"a\"", Some(Some("\"a\"")));
        for line in [
            "",
            "SID",
            "=a",
            "sid=a",
            "SIDE=a",
            "a=1; SID=a",
            "Path=/; SID",
        ] {
            check(line, other);
        }
        for line in [
            "SID=",
            "SID=; Path=/",
            "SID=\"\"",
            "SID=deleted",
            "SID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0",
            "SID=a; Max-Age=0",
            "SID=a; max-age=00",
            "SID=a; Max-Age=-1",
            "SID=a; MAX-AGE = 0 ; Path=/",
            "SID=a; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "SID=a; Expires=Thu, 01-Jan-1970 00:00:00 GMT",
            "SID=a; Expires=Saturday, 21-Nov-26 00:00:00 GMT",
            "SID=a; expires=Sat, 21 Nov 2026 00:00:00 GMT",
            "SID=a; Max-Age=5; Max-Age=0",
            "SID=a; Max-Age=0; Expires=Thu, 01 Jan 2099 00:00:00 GMT",
            "SID=a; Max-Age=soon; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ] {
            check(line, gone);
        }
        for line in [
            "SID=a; Max-Age=1",
            "SID=a; Max-Age",
            "SID=a; Max-Age=",
            "SID=a; Max-Age=-",
            "SID=a; Max-Age=+0",
            "SID=a; Max-Age=0; Max-Age=9",
            "SID=a; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "SID=a; Expires=Sat, 21 Nov 2026 00:00:01 GMT",
            "SID=a; Expires=Thu, 01-Jan-2099 00:00:00 GMT",
            "SID=a; Expires=never",
            "SID=a; X-Max-Age=0",
        ] {
            check(line, kept);
        }
        let said = of(b"SID=a; Path=/; Secure", b"SID", now).unwrap();
        assert_eq!(said.attributes, b"; Path=/; Secure");
        assert_eq!(of(b"SID=a", b"SID", now).unwrap().attributes, b"");
    }
}
