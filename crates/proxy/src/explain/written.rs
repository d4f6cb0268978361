//! Owns a request as people write it (a method, a URL, fields) as the bytes that a client would send for it.
//!
//! Checks only that it is one request: whether it is well-formed, the parser says when it reads the bytes.

use std::fmt;

/// A request as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its head, with the empty line.
    pub bytes: Vec<u8>,
    /// The port that the URL leads to, by itself or by its scheme; none: it names no host.
    pub port: Option<u16>,
    /// What stands behind `#` and no client sends; none: nothing.
    pub fragment: Option<String>,
}

/// Why what is written is not one request that a client would send. Holds nothing of it: a URL may carry secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOne {
    /// The method, the URL or a field holds CR or LF: it would be several lines.
    LineBreak(&'static str),
    /// The method or a field's name is missing.
    Missing(&'static str),
    /// The URL names a user: clients send that as `Authorization`.
    User,
    /// The URL has no scheme, or one that is not served here, and is no path.
    NoUrl,
}

impl fmt::Display for NotOne {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineBreak(what) => write!(f, "{what} holds a line break; a client cannot send it"),
            Self::Missing(what) => write!(f, "{what} is missing"),
            Self::User => f.write_str(
                "a client does not send the user of a URL; leave it out, and give the field `Authorization` if it matters",
            ),
            Self::NoUrl => {
                f.write_str("a URL begins with `http://` or `https://`, a path with a slash")
            }
        }
    }
}

impl std::error::Error for NotOne {}

/// The bytes of a request. `url` is absolute, and then says `Host` unless a field does, or a target as it is sent: a path, `*`, or
/// whatever `CONNECT` has.
///
/// # Errors
/// What cannot be one request.
pub fn bytes(method: &str, url: &str, fields: &[(String, String)]) -> Result<Written, NotOne> {
    one_line("the method", method)?;
    one_line("the URL", url)?;
    if method.is_empty() {
        return Err(NotOne::Missing("the method"));
    }
    let (url, fragment) = match url.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment.to_owned())),
        None => (url, None),
    };
    let Parts { host, port, target } = parts(method, url)?;
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    let named = |(name, _): &(String, String)| name.eq_ignore_ascii_case("host");
    if let Some(host) = host.filter(|_| !fields.iter().any(named)) {
        push(&mut bytes, "Host", host);
    }
    for (name, value) in fields {
        one_line("a field", name)?;
        one_line("a field", value)?;
        if name.is_empty() {
            return Err(NotOne::Missing("the name of a field"));
        }
        push(&mut bytes, name, value);
    }
    bytes.extend_from_slice(b"\r\n");
    Ok(Written {
        bytes,
        port,
        fragment,
    })
}

fn push(bytes: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
}

fn one_line(what: &'static str, text: &str) -> Result<(), NotOne> {
    match text.contains(['\r', '\n']) {
        true => Err(NotOne::LineBreak(what)),
        false => Ok(()),
    }
}

struct Parts<'u> {
    host: Option<&'u str>,
    port: Option<u16>,
    target: String,
}

fn parts<'u>(method: &str, url: &'u str) -> Result<Parts<'u>, NotOne> {
    let as_it_is = |host| Parts {
        host,
        port: None,
        target: url.to_owned(),
    };
    if url.starts_with('/') || url == "*" {
        return Ok(as_it_is(None));
    }
    if method == "CONNECT" {
        return Ok(as_it_is(Some(url)));
    }
    if url.is_empty() {
        return Err(NotOne::Missing("the URL"));
    }
    let (scheme, rest) = url.split_once("://").ok_or(NotOne::NoUrl)?;
    let standard = match () {
        () if scheme.eq_ignore_ascii_case("http") => 80,
        () if scheme.eq_ignore_ascii_case("https") => 443,
        () => return Err(NotOne::NoUrl),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    if host.contains('@') {
        return Err(NotOne::User);
    }
    // An address of IPv6 holds colons, and ends with its bracket.
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    let named = behind
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    let target = match rest.starts_with('/') {
        true => rest.to_owned(),
        false => format!("/{rest}"),
    };
    Ok(Parts {
        host: Some(host),
        port: Some(named.unwrap_or(standard)),
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, url: &str, fields: &[(&str, &str)], expect: &Result<&str, NotOne>) {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let fields: Vec<_> = fields.iter().map(owned).collect();
        let got = bytes(method, url, &fields);
        let got = got.map(|written| String::from_utf8(written.bytes).unwrap());
        assert_eq!(got.as_deref(), expect.as_ref().copied(), "{url}");
    }

    #[test]
    fn what_a_client_would_send() {
        let get = |url, expect| check("GET", url, &[], &Ok(expect));
        get("http://a", "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        get(
            "HTTPS://A:1/b?c=d",
            "GET /b?c=d HTTP/1.1\r\nHost: A:1\r\n\r\n",
        );
        get("http://a?b", "GET /?b HTTP/1.1\r\nHost: a\r\n\r\n");
        get(
            "http://[::1]:8080/x#y",
            "GET /x HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        );
        get("http:///x", "GET /x HTTP/1.1\r\nHost: \r\n\r\n");
        get("/x//../y", "GET /x//../y HTTP/1.1\r\n\r\n");
        let star = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
        check("OPTIONS", "*", &[("Host", "a")], &Ok(star));
        let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
        check("CONNECT", "a:443", &[], &Ok(connect));
        // A field's host stands in the place of the URL's, as with curl; two are two.
        let fields = [("HOST", "b"), ("Host", "c"), ("X", "")];
        let expect = "GET / HTTP/1.1\r\nHOST: b\r\nHost: c\r\nX: \r\n\r\n";
        check("GET", "http://a/", &fields, &Ok(expect));
    }

    #[test]
    fn what_would_be_more_than_one() {
        let line = |what| Err(NotOne::LineBreak(what));
        check("GET\r\n", "/", &[], &line("the method"));
        check(
            "GET",
            "/ HTTP/1.1\r\nHost: a\r\n\r\nGET /",
            &[],
            &line("the URL"),
        );
        check("GET", "http://a\n/", &[], &line("the URL"));
        check("GET", "/", &[("A\rB", "c")], &line("a field"));
        check("GET", "/", &[("A", "b\r\nC: d")], &line("a field"));
        check(
            "GET",
            "/",
            &[("", "b")],
            &Err(NotOne::Missing("the name of a field")),
        );
        check("", "/", &[], &Err(NotOne::Missing("the method")));
        check("GET", "", &[], &Err(NotOne::Missing("the URL")));
        check("GET", "#x", &[], &Err(NotOne::Missing("the URL")));
        check("GET", "a/b", &[], &Err(NotOne::NoUrl));
        check("GET", "ftp://a/b", &[], &Err(NotOne::NoUrl));
        check("GET", "http://me:secret@a/", &[], &Err(NotOne::User));
    }

    #[test]
    fn which_port_it_leads_to() {
        for (url, port) in [
            ("http://a/:7", Some(80)),
            ("https://a", Some(443)),
            ("http://a:81", Some(81)),
            ("http://[::1]", Some(80)),
            ("http://[::1]:82/", Some(82)),
            ("http://a:x/", Some(80)),
            ("/a", None),
        ] {
            assert_eq!(bytes("GET", url, &[]).unwrap().port, port, "{url}");
        }
    }
}
