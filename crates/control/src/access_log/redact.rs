//! Owns what is not written of texts that may hold secrets: values of queries by the sound of their keys, and user information.
//!
//! A key that sounds like a secret and is none costs a value in a log; the other way round costs the secret. So in doubt it goes.

use evenkeel_config::plan::QueryShown;

/// What stands for a value that is not written.
const VEIL: &[u8] = b"***";

/// A key that has one of these in it, letters and digits alone, in lower case.
const WITHIN: [&str; 13] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "credential",
    "signature",
    "cookie",
    "sessi",
    "assertion",
    "samlre",
    "apikey",
    "private",
    "oauth",
];

/// A key that is one of these.
const WHOLE: [&str; 17] = [
    "code", "sig", "sid", "pass", "pwd", "pin", "otp", "jwt", "hmac", "ticket", "bearer", "cred",
    "csrf", "xsrf", "nonce", "state", "hash",
];

/// Appends what is to be seen of a query, without its question mark. False: nothing is.
pub(crate) fn put_query(query: &[u8], shown: QueryShown, out: &mut Vec<u8>) -> bool {
    match shown {
        QueryShown::None => return false,
        QueryShown::Full => out.extend_from_slice(query),
        QueryShown::Redacted => put_redacted(query, out),
    }
    true
}

fn put_redacted(query: &[u8], out: &mut Vec<u8>) {
    let mut left = query;
    loop {
        let end = left.iter().position(|byte| matches!(byte, b'&' | b';'));
        let piece = end.map_or(left, |end| &left[..end]);
        match piece.iter().position(|&byte| byte == b'=') {
            Some(at) if hides(&piece[..at], &piece[at + 1..]) => {
                out.extend_from_slice(&piece[..=at]);
                out.extend_from_slice(VEIL);
            }
            // A value without a key: nobody knows what it is.
            None if holds_secret(piece) => out.extend_from_slice(VEIL),
            _ => out.extend_from_slice(piece),
        }
        let Some(end) = end else { return };
        out.push(left[end]);
        left = &left[end + 1..];
    }
}

/// Whether a value is not to be shown, by the name that it stands under or by itself.
pub(crate) fn hides(key: &[u8], value: &[u8]) -> bool {
    is_secret(key) || holds_secret(value)
}

/// Whether a key sounds like a secret's.
fn is_secret(key: &[u8]) -> bool {
    let once: Vec<u8> = decoded(key).collect();
    // In it a key of PHP's nested form too: `user[password]`.
    let key: String = decoded(&once)
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    let auth = key.contains("auth") && (!key.contains("author") || key.contains("authori"));
    auth || key.ends_with("key")
        || WHOLE.contains(&&*key)
        || WITHIN.iter().any(|word| key.contains(word))
}

/// Whether a value is one whatever its key: a web token, the value of `Authorization`, an address with a query or a user of its
/// own, or what has keys of its own (a form, JSON) that sound like secrets.
fn holds_secret(value: &[u8]) -> bool {
    // Encoded twice is common where addresses are handed from one to the next.
    let once: Vec<u8> = decoded(value).collect();
    let text: Vec<u8> = decoded(&once).collect();
    // In any case: what a rule asks in any case is kept in lower case.
    let begin = text.get(..3).unwrap_or_default();
    let token = begin.eq_ignore_ascii_case(b"eyJ")
        && text.iter().filter(|&&byte| byte == b'.').count() >= 2;
    let address = text.windows(2).any(|two| two == b"//")
        && text
            .iter()
            .any(|byte| matches!(byte, b'?' | b'@' | b'#' | b'='));
    token || address || is_authorization(&text) || has_secrets(&text)
}

/// `Bearer x`, in a query with a plus for the space.
fn is_authorization(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'+'));
    let scheme = end.map_or(&[][..], |end| &text[..end]);
    let schemes = ["bearer", "basic"];
    schemes
        .iter()
        .any(|one| scheme.eq_ignore_ascii_case(one.as_bytes()))
}

/// Whether a text has `key=` or `"key":` with a key that sounds like a secret's.
fn has_secrets(text: &[u8]) -> bool {
    let begins = |byte: &u8| !matches!(byte, b'?' | b'&' | b';' | b'#' | b',' | b'{' | b'=');
    text.iter().enumerate().any(|(at, &byte)| {
        let before = &text[..at];
        let key = match byte {
            b'=' => before,
            b':' if before.ends_with(b"\"") => before,
            _ => return false,
        };
        let length = key.iter().rev().take_while(|byte| begins(byte)).count();
        is_secret(&key[at - length..])
    })
}

/// Percent-decoded; what is no escape stays.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let digit = |at: usize| {
        let digit = char::from(*text.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *text.get(at)?;
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            at += 3;
            return Some(high * 16 + low);
        }
        at += 1;
        Some(byte)
    })
}

/// Appends what is to be seen of a `Referer`: never who the user is, and its query as queries are.
pub(super) fn put_referer(referer: &[u8], shown: QueryShown, out: &mut Vec<u8>) {
    let end = referer.iter().position(|&byte| byte == b'#');
    let referer = end.map_or(referer, |end| &referer[..end]);
    let question = referer.iter().position(|&byte| byte == b'?');
    let (address, query) = match question {
        Some(at) => (&referer[..at], Some(&referer[at + 1..])),
        None => (referer, None),
    };
    let authority = address.windows(2).position(|two| two == b"//");
    let authority = authority.map_or(0, |at| at + 2);
    let rest = &address[authority..];
    // A slash in it would be a mistake of whoever wrote it; what stands before an `@` is hidden all the same.
    let user = rest.iter().rposition(|&byte| byte == b'@');
    out.extend_from_slice(&address[..authority]);
    out.extend_from_slice(&rest[user.map_or(0, |at| at + 1)..]);
    if let Some(query) = query {
        let begin = out.len();
        out.push(b'?');
        if !put_query(query, shown, out) {
            out.truncate(begin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expect: &str) {
        let mut out = Vec::new();
        assert!(put_query(query.as_bytes(), QueryShown::Redacted, &mut out));
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn queries() {
        for plain in [
            "",
            "a",
            "a=b&c=d",
            "page=2;sort=name",
            "q=token",
            "author=Le+Guin",
            "keyword=x",
            "path=/a/b",
            "=",
            "&&",
            "%=%zz",
            "next=/home",
            "next=/a%3Fpage%3D2",
            "q=state:open+basics+bearer",
            "data={\"page\":1}",
        ] {
            check(plain, plain);
        }
        for (query, expect) in [
            ("token=abc&page=2", "token=***&page=2"),
            ("a=1&ACCESS_TOKEN=abc", "a=1&ACCESS_TOKEN=***"),
            ("api-key=1;b=2", "api-key=***;b=2"),
            ("key=1", "key=***"),
            ("user%5Bpassword%5D=x", "user%5Bpassword%5D=***"),
            ("p%61ssword=x", "p%61ssword=***"),
            ("code=1&state=2", "code=***&state=***"),
            (
                "X-Amz-Signature=1&X-Amz-Credential=2",
                "X-Amz-Signature=***&X-Amz-Credential=***",
            ),
            ("sig=a=b", "sig=***"),
            ("Authorization=Basic+x", "Authorization=***"),
            ("x=eyJhbGciOi.J9.abc", "x=***"),
            ("eyJhbGciOi.J9.abc", "***"),
            ("x=eyjhbgcioi.j9.abc", "x=***"),
            ("next=https%3A%2F%2Fa%2F%3Ftoken%3Db", "next=***"),
            (
                "next=https%253A%252F%252Fa%252F%253Ftoken%253Db",
                "next=***",
            ),
            ("u=//me:pw@host/", "u=***"),
            ("to%256ben=x", "to%256ben=***"),
            ("token%3Dx&a", "***&a"),
            ("next=/a%3Ftoken%3Db", "next=***"),
            ("form=a%3D1%26pin%3D2", "form=***"),
            ("data={\"user\":1,\"password\":\"x\"}", "data=***"),
            ("data=%7B%22password%22%3A%22x%22%7D", "data=***"),
            ("h=Bearer%20x&g=BASIC+eA", "h=***&g=***"),
        ] {
            check(query, expect);
        }
    }

    #[test]
    fn referers() {
        for (referer, shown, expect) in [
            ("https://a/b", QueryShown::Redacted, "https://a/b"),
            (
                "https://me:pw@a/b?token=c&d=e#f",
                QueryShown::Redacted,
                "https://a/b?token=***&d=e",
            ),
            ("https://me:p/w@a/b?c", QueryShown::Full, "https://a/b?c"),
            (
                "https://a/b?token=c",
                QueryShown::Full,
                "https://a/b?token=c",
            ),
            ("https://a/b?token=c", QueryShown::None, "https://a/b"),
            ("me@a", QueryShown::Full, "a"),
            ("", QueryShown::Full, ""),
        ] {
            let mut out = Vec::new();
            put_referer(referer.as_bytes(), shown, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expect, "{referer}");
        }
    }
}
