//! Owns which cookies of a request go no further: those that are ours to read.
//!
//! Read more liberally than ours are elsewhere: a backend that takes `name =value` for a cookie of this name is not to see it either.

use super::Altered;
use crate::RequestHead;
use crate::known::Known;

const NAME: &[u8] = b"cookie";

impl Altered {
    /// The backend does not get the cookies whose names are `ours`, neither those of the request nor what a rule wrote of them; the
    /// request's others it gets in one line. Nothing is altered where there is none. Cost: a look at each cookie.
    pub fn leave_out_cookies(&mut self, head: &RequestHead, ours: impl Fn(&[u8]) -> bool) {
        if self.request.lines.split(|&byte| byte == b'\n').any(|line| {
            let value = value_of(line);
            value.is_some_and(|value| holds(value, &ours))
        }) {
            self.rewrite(&ours);
        }
        // A rule took the field: what it put in its place has been looked at.
        if self.takes_from_request(NAME) {
            return;
        }
        let fields = || head.fields().filter(|field| field.known == Known::Cookie);
        if !fields().any(|field| holds(field.value, &ours)) {
            return;
        }
        self.touched = true;
        self.request.gone.extend_from_slice(b"cookie:");
        put_line(
            b"Cookie",
            fields().map(|field| field.value),
            &ours,
            &mut self.request.lines,
        );
    }

    /// Lines of a rule, without what is ours.
    #[cold]
    fn rewrite(&mut self, ours: &impl Fn(&[u8]) -> bool) {
        let lines = std::mem::take(&mut self.request.lines);
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            match value_of(line).filter(|value| holds(value, ours)) {
                Some(value) => {
                    let one = std::iter::once(value);
                    put_line(b"Cookie", one, ours, &mut self.request.lines);
                }
                None => self.request.lines.extend_from_slice(line),
            }
        }
    }
}

/// The value of a line that is one of cookies.
fn value_of(line: &[u8]) -> Option<&[u8]> {
    let (name, rest) = line.split_at_checked(NAME.len())?;
    let value = rest.strip_prefix(b":")?;
    name.eq_ignore_ascii_case(NAME).then(|| value.trim_ascii())
}

fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pairs = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty())
}

fn is_ours(pair: &[u8], ours: &impl Fn(&[u8]) -> bool) -> bool {
    let at = pair.iter().position(|&byte| byte == b'=');
    at.is_some_and(|at| ours(pair[..at].trim_ascii_end()))
}

fn holds(value: &[u8], ours: &impl Fn(&[u8]) -> bool) -> bool {
    pairs(value).any(|pair| is_ours(pair, ours))
}

/// Appends one line of what is not ours, if there is any.
fn put_line<'v>(
    name: &[u8],
    values: impl Iterator<Item = &'v [u8]>,
    ours: &impl Fn(&[u8]) -> bool,
    lines: &mut Vec<u8>,
) {
    let mut begun = false;
    for pair in values.flat_map(pairs).filter(|pair| !is_ours(pair, ours)) {
        match std::mem::replace(&mut begun, true) {
            true => lines.extend_from_slice(b"; "),
            false => {
                lines.extend_from_slice(name);
                lines.extend_from_slice(b": ");
            }
        }
        lines.extend_from_slice(pair);
    }
    if begun {
        lines.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::request::{PathForm, parse};
    use crate::http1::{HeadEnd, HeadLimits};

    fn head(fields: &str) -> RequestHead {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let bounds = HeadLimits {
            bytes: 1000,
            fields: 100,
            target: 100,
        };
        let (mut head, mut end) = (RequestHead::new(), HeadEnd::default());
        let read = parse(
            text.as_bytes(),
            &mut end,
            &bounds,
            PathForm::Normalize,
            &mut head,
        );
        assert_eq!(read, Ok(Some(text.len())));
        head
    }

    /// What a backend gets of cookies where those named a and b are ours. None: what the client wrote.
    #[test]
    fn cookies_that_stay_here() {
        let check = |fields: &str, expect: Option<&str>| {
            let head = head(fields);
            let mut altered = Altered::default();
            altered.request().add(b"x-rule", b"a=1").unwrap();
            let line = match expect {
                None | Some("") => String::new(),
                Some(left) => format!("Cookie: {left}\r\n"),
            };
            let lines = format!("x-rule: a=1\r\n{line}");
            // Once more for another service changes nothing.
            for _ in 0..2 {
                altered.leave_out_cookies(&head, |name| matches!(name, b"a" | b"b"));
                let got = String::from_utf8_lossy(altered.request_lines());
                assert_eq!(got, lines, "{fields}");
                assert_eq!(altered.takes_from_request(b"Cookie"), expect.is_some());
            }
        };
        check("", None);
        check("Cookie: c=1\r\n", None);
        check("Cookie: aa=1; ba=2; A=3; a; =a; c=a=1\r\n", None);
        check("Cookie: a=1\r\n", Some(""));
        check("Cookie: a=1; b=2\r\n", Some(""));
        check("Cookie: a=1; c=2\r\n", Some("c=2"));
        check("Cookie: c=1; a=2;b=3 ;;d\r\n", Some("c=1; d"));
        check("Cookie: a =1; c=2;\tb\t= 3\r\n", Some("c=2"));
        let three = "Cookie: a=\r\ncookie: c=1; a==\r\nCookie: e=\u{fc}\r\n";
        check(three, Some("c=1; e=\u{fc}"));
    }

    /// A rule may say again what the client said.
    #[test]
    fn cookies_that_a_rule_writes() {
        let check = |value: &str, expect: &str| {
            let head = head("Cookie: a=1; c=1\r\n");
            let mut altered = Altered::default();
            let mut request = altered.request();
            request.set(b"x-one", b"1").unwrap();
            request.set(b"COOKIE", value.as_bytes()).unwrap();
            request.add(b"x-two", b"a=2").unwrap();
            altered.leave_out_cookies(&head, |name| name == b"a");
            let lines = format!("x-one: 1\r\n{expect}x-two: a=2\r\n");
            assert_eq!(altered.request_lines(), lines.as_bytes(), "{value}");
            assert!(altered.takes_from_request(b"cookie"));
        };
        check("a=1", "");
        check("a=1; c=1", "Cookie: c=1\r\n");
        check("c=1;d=2", "COOKIE: c=1;d=2\r\n");
        // Added beside the request's.
        let mut altered = Altered::default();
        altered.request().add(b"cookie", b"d=1; a=2").unwrap();
        altered.leave_out_cookies(&head("Cookie: a=1; c=1\r\n"), |name| name == b"a");
        let lines = b"Cookie: d=1\r\nCookie: c=1\r\n";
        assert_eq!(altered.request_lines(), lines);
    }
}
