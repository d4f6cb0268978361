//! Owns what a rule makes of heads: another target, another host, other fields, another place to go.
//!
//! What is put together here comes from a configuration and from what clients wrote. Every byte of it is looked at once
//! more, so that whatever comes out holds no line end and is one path, one host, one value: splitting a message is not for
//! callers to avoid, it cannot be written down. Buffers are recycled; nothing here allocates once they have grown.

use crate::authority;
use crate::bytes::{is_target, is_token};
use crate::http1::request::PathForm;
use crate::known::{Kind, Known, is_disguised};
use crate::path;

/// Cookies that go no further.
mod cookies;

/// Why what a rule makes of a request cannot be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is no path, no host, no field.
    Form,
    /// It is over its limit.
    Long,
}

/// What a rule makes of a request and its answer; begins as nothing.
#[derive(Debug, Default)]
pub struct Altered {
    touched: bool,
    target: Vec<u8>,
    host: Vec<u8>,
    request: Edits,
    response: Edits,
    /// Beside the fields of a backend's answer.
    cookie: Vec<u8>,
}

impl Altered {
    /// Nothing is altered. Cost where nothing was: one look.
    #[inline]
    pub fn clear(&mut self) {
        if self.touched {
            self.forget();
        }
    }

    #[cold]
    fn forget(&mut self) {
        self.touched = false;
        self.target.clear();
        self.host.clear();
        self.request.clear();
        self.response.clear();
        self.cookie.clear();
    }

    /// Whether anything is altered.
    #[must_use]
    #[inline]
    pub const fn is_touched(&self) -> bool {
        self.touched
    }

    /// The backend gets this path and query. In every form but [`PathForm::AsIs`] repeated slashes become one, and what is
    /// not in normal form then is unfit: no `..` comes into being that no rule saw. `most`: bytes of the target.
    ///
    /// # Errors
    /// [`Unfit`]; the target is as it was.
    pub fn set_target(
        &mut self,
        path: &[u8],
        query: Option<&[u8]>,
        form: PathForm,
        most: usize,
    ) -> Result<(), Unfit> {
        self.touched = true;
        let start = self.target.len();
        let set = self.put_target(path, query, form, most);
        match set {
            // What stood before it goes.
            Ok(()) => drop(self.target.drain(..start)),
            Err(_) => self.target.truncate(start),
        }
        set
    }

    fn put_target(
        &mut self,
        path: &[u8],
        query: Option<&[u8]>,
        form: PathForm,
        most: usize,
    ) -> Result<(), Unfit> {
        if path.len() + query.map_or(0, |query| query.len() + 1) > most {
            return Err(Unfit::Long);
        }
        let sound = path.first() == Some(&b'/') && is_target(path) && !path.contains(&b'?');
        if !sound || !query.is_none_or(is_target) {
            return Err(Unfit::Form);
        }
        let target = &mut self.target;
        if form == PathForm::AsIs {
            path::check_escapes(path).map_err(|_| Unfit::Form)?;
            target.extend_from_slice(path);
        } else {
            let start = target.len();
            for &byte in path {
                if byte != b'/' || target.len() == start || target.last() != Some(&b'/') {
                    target.push(byte);
                }
            }
            let end = target.len();
            if !path::is_normal(&target[start..]) {
                let merged = target[start..].to_vec();
                path::normalize(&merged, target).map_err(|_| Unfit::Form)?;
                let normal = target[end..] == *merged;
                target.truncate(end);
                if !normal {
                    return Err(Unfit::Form);
                }
            }
        }
        if let Some(query) = query {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        Ok(())
    }

    /// The backend gets this `Host`, perhaps with a port.
    ///
    /// # Errors
    /// [`Unfit`]; the host is as it was.
    pub fn set_host(&mut self, host: &[u8]) -> Result<(), Unfit> {
        authority::parse(host).map_err(|_| Unfit::Form)?;
        self.touched = true;
        self.host.clear();
        self.host.extend_from_slice(host);
        Ok(())
    }

    /// Fields of the request.
    pub const fn request(&mut self) -> Editing<'_> {
        self.touched = true;
        Editing {
            edits: &mut self.request,
            response: false,
        }
    }

    /// Fields of the answer, whoever makes it.
    pub const fn response(&mut self) -> Editing<'_> {
        self.touched = true;
        Editing {
            edits: &mut self.response,
            response: true,
        }
    }

    /// A backend's answer sets a cookie of this name and value, with these attributes (`; Path=/` and such), beside those that it was
    /// told to.
    ///
    /// # Errors
    /// [`Unfit`]: a name that is no token, or what may not stand in a value.
    pub fn set_cookie(
        &mut self,
        name: &[u8],
        value: &[u8],
        attributes: &[u8],
    ) -> Result<(), Unfit> {
        let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\",;\\".contains(byte);
        if !is_token(name) || !value.iter().all(plain) || !is_value(attributes) {
            return Err(Unfit::Form);
        }
        self.touched = true;
        for part in [b"Set-Cookie: ", name, b"=", value, attributes, b"\r\n"] {
            self.cookie.extend_from_slice(part);
        }
        Ok(())
    }

    /// No cookie is set.
    pub fn clear_cookie(&mut self) {
        self.cookie.clear();
    }

    /// The target that a backend gets in the place of the request's.
    #[must_use]
    pub fn target(&self) -> Option<&[u8]> {
        some(&self.target)
    }

    /// The host that a backend gets in the place of the request's.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        some(&self.host)
    }

    /// Whether a field of the request is left out.
    pub(crate) fn takes_from_request(&self, name: &[u8]) -> bool {
        self.request.takes(name, is_same_variable)
    }

    /// The names of the request's fields that are left out.
    pub fn request_gone(&self) -> impl Iterator<Item = &[u8]> {
        self.request.gone()
    }

    /// The fields that the request gets, each with its line end.
    #[must_use]
    pub fn request_lines(&self) -> &[u8] {
        &self.request.lines
    }

    /// The names of the answer's fields that are left out.
    pub fn response_gone(&self) -> impl Iterator<Item = &[u8]> {
        self.response.gone()
    }

    /// Whether a field of an answer is left out.
    #[must_use]
    pub fn takes_from_response(&self, name: &[u8]) -> bool {
        self.response.takes(name, <[u8]>::eq_ignore_ascii_case)
    }

    /// The fields that an answer gets, each with its line end.
    #[must_use]
    pub fn response_lines(&self) -> &[u8] {
        &self.response.lines
    }

    /// The cookies that an answer sets beside its own, each a whole line.
    #[must_use]
    pub fn cookie_line(&self) -> &[u8] {
        &self.cookie
    }
}

fn some(bytes: &[u8]) -> Option<&[u8]> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

/// Fields that go, and fields that come.
#[derive(Debug, Default)]
struct Edits {
    /// Names, each with a colon behind it.
    gone: Vec<u8>,
    lines: Vec<u8>,
}

impl Edits {
    fn clear(&mut self) {
        self.gone.clear();
        self.lines.clear();
    }

    fn takes(&self, name: &[u8], same: fn(&[u8], &[u8]) -> bool) -> bool {
        !self.gone.is_empty() && self.gone().any(|gone| same(gone, name))
    }

    fn gone(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.gone.split(|&byte| byte == b':');
        names.filter(|name| !name.is_empty())
    }
}

/// Whether two names are one to a server that maps `-` and `_` to the same variable (CGI, WSGI): what a rule sets or removes, a
/// client must not say beside it in another spelling.
fn is_same_variable(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &u8| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    one.len() == other.len() && one.iter().map(plain).eq(other.iter().map(plain))
}

/// The fields of one head, being changed.
#[derive(Debug)]
pub struct Editing<'a> {
    edits: &'a mut Edits,
    response: bool,
}

impl Editing<'_> {
    /// Whatever has this name goes.
    ///
    /// # Errors
    /// [`Unfit`]: not a name, or one that is not for rules to change ([`may_change`]).
    pub fn remove(&mut self, name: &[u8]) -> Result<(), Unfit> {
        if !may_change(name, self.response) {
            return Err(Unfit::Form);
        }
        self.edits.gone.extend_from_slice(name);
        self.edits.gone.push(b':');
        Ok(())
    }

    /// This comes, beside whatever has its name.
    ///
    /// # Errors
    /// [`Unfit`]: as [`remove`](Self::remove), or a value that is none.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unfit> {
        if !may_change(name, self.response) || !is_value(value) {
            return Err(Unfit::Form);
        }
        for part in [name, b": ", value, b"\r\n"] {
            self.edits.lines.extend_from_slice(part);
        }
        Ok(())
    }

    /// This comes in the place of whatever has its name.
    ///
    /// # Errors
    /// [`Unfit`]: as [`add`](Self::add).
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unfit> {
        self.add(name, value)?;
        self.remove(name)
    }
}

/// Whether a rule may change a field: one that frames or belongs to a connection is written here, and so is one that tells a
/// backend who the client is.
#[must_use]
pub fn may_change(name: &[u8], response: bool) -> bool {
    let known = Known::of(name);
    is_token(name)
        && !matches!(known, Known::Expect | Known::Trailer)
        && match known.kind() {
            Kind::EndToEnd => response || !is_disguised(name),
            Kind::Protected => true,
            Kind::Forwarding => response,
            Kind::HopByHop | Kind::Framing => false,
        }
}

/// What may stand behind a name and a colon, on one line: visible ASCII, spaces and tabs.
fn is_value(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    text.iter().all(plain)
}

/// Where a client is sent: an absolute URL of visible ASCII.
#[derive(Debug)]
pub struct Location(Vec<u8>);

impl Location {
    /// A URL of these parts. What may not stand in a path or a query is written as an escape. A port is told unless it is the
    /// scheme's own; `most`: bytes of the whole.
    ///
    /// # Errors
    /// [`Unfit`]: a host that is none or has a port of its own, a path without its slash, or too long.
    pub fn new(
        https: bool,
        host: &[u8],
        port: Option<u16>,
        path: &[u8],
        query: Option<&[u8]>,
        most: usize,
    ) -> Result<Self, Unfit> {
        let alone = authority::parse(host).is_ok_and(|parsed| parsed.host == host);
        if !alone || path.first() != Some(&b'/') {
            return Err(Unfit::Form);
        }
        let (scheme, standard): (&[u8], _) = match https {
            true => (b"https://", 443),
            false => (b"http://", 80),
        };
        let mut url = [scheme, host].concat();
        if let Some(port) = port.filter(|&port| port != standard) {
            url.push(b':');
            url.extend_from_slice(port.to_string().as_bytes());
        }
        put_escaped(path, b"?", &mut url);
        if let Some(query) = query {
            url.push(b'?');
            put_escaped(query, b"", &mut url);
        }
        match url.len() > most {
            true => Err(Unfit::Long),
            false => Ok(Self(url)),
        }
    }

    /// The URL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Appends bytes that may stand in a target as they are, others and `also` as escapes.
fn put_escaped(bytes: &[u8], also: &[u8], into: &mut Vec<u8>) {
    for &byte in bytes {
        if is_target(&[byte]) && !also.contains(&byte) {
            into.push(byte);
        } else {
            let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble)];
            into.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn target(path: &str, form: PathForm, expect: Result<&str, Unfit>) {
        let mut altered = Altered::default();
        altered
            .set_target(b"/before", None, PathForm::Normalize, 100)
            .unwrap();
        let set = altered.set_target(path.as_bytes(), Some(b"q"), form, 20);
        let stands = String::from_utf8(altered.target.clone()).unwrap();
        match expect {
            Ok(expect) => assert_eq!((set, stands), (Ok(()), format!("{expect}?q"))),
            Err(unfit) => assert_eq!((set, &*stands), (Err(unfit), "/before"), "{path}"),
        }
    }

    #[test]
    fn targets() {
        let normal = PathForm::Normalize;
        target("/a", normal, Ok("/a"));
        target("//a///b//", normal, Ok("/a/b/"));
        target("/a%2Fb;x/.well", normal, Ok("/a%2Fb;x/.well"));
        for path in [
            "",
            "a",
            "*",
            "/..",
            "/a/../b",
            "/./a",
            "/a/.",
            "//..//a",
            "/%2e%2e/a",
            "/%61",
            "/a%2fb",
            "/%",
            "/%0",
            "/%00",
            "/a?b",
            "/a b",
            "/a\r\nb",
            "/ü",
            "/a#b",
            "/a\\b",
        ] {
            target(path, normal, Err(Unfit::Form));
            target(path, PathForm::Refuse, Err(Unfit::Form));
        }
        target("/a//../%2e", PathForm::AsIs, Ok("/a//../%2e"));
        target("/a%0", PathForm::AsIs, Err(Unfit::Form));
        target("/a\r\nb", PathForm::AsIs, Err(Unfit::Form));
        target("/345678901234567890", normal, Err(Unfit::Long));
    }

    #[test]
    fn fields_that_rules_change() {
        for (name, request, response) in [
            ("x-a", true, true),
            ("Authorization", true, true),
            ("Set-Cookie", true, true),
            ("x-request-id", false, true),
            ("X_Forwarded_For", false, true),
            ("Forwarded", false, true),
            ("Host", false, false),
            ("content-LENGTH", false, false),
            ("Transfer-Encoding", false, false),
            ("connection", false, false),
            ("Upgrade", false, false),
            ("Expect", false, false),
            ("Trailer", false, false),
            ("", false, false),
            ("a b", false, false),
            ("a:b", false, false),
            ("a\r\nb", false, false),
        ] {
            let got = (
                may_change(name.as_bytes(), false),
                may_change(name.as_bytes(), true),
            );
            assert_eq!(got, (request, response), "{name:?}");
        }
    }

    #[test]
    fn locations() {
        let of = |host: &str, port, path: &str, query: Option<&str>| {
            Location::new(
                false,
                host.as_bytes(),
                port,
                path.as_bytes(),
                query.map(str::as_bytes),
                40,
            )
            .map(|url| String::from_utf8(url.0).unwrap())
        };
        assert_eq!(of("a", Some(80), "/", None).as_deref(), Ok("http://a/"));
        assert_eq!(
            of("[::1]", Some(8), "/b?", Some("?")).as_deref(),
            Ok("http://[::1]:8/b%3F??")
        );
        assert_eq!(
            of("a", None, "/\r\n #", Some("\u{e5}")).as_deref(),
            Ok("http://a/%0D%0A%20%23?%C3%A5")
        );
        for host in ["", "a:1", "a\r\nb", "a/b", "a b", "user@a"] {
            assert_eq!(of(host, None, "/", None), Err(Unfit::Form), "{host:?}");
        }
        assert_eq!(of("a", None, "a", None), Err(Unfit::Form));
        assert_eq!(
            of("a", None, &format!("/{}", "a".repeat(40)), None),
            Err(Unfit::Long)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121), ..ProptestConfig::default() })]

        /// Whatever bytes come in, each line that comes out is one line, and a path is in normal form.
        #[test]
        fn nothing_is_split(parts in prop::collection::vec(prop_oneof![
            "[/.a-c%2eE:?#]{0,8}".prop_map(String::into_bytes),
            "[ -~\r\n\t]{0,8}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..8),
        ], 5)) {
            let [name, value, host, path, query] = &parts[..] else { unreachable!("five") };
            let mut altered = Altered::default();
            let _ = altered.request().set(name, value);
            let _ = altered.response().add(name, value);
            let _ = altered.set_cookie(name, value, query);
            let lines = [altered.request_lines(), altered.response_lines(), altered.cookie_line()];
            for lines in lines.into_iter().filter(|lines| !lines.is_empty()) {
                let inner = lines.strip_suffix(b"\r\n").unwrap();
                prop_assert!(!inner.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
                prop_assert!(inner.contains(&b':'));
            }
            if altered.set_host(host).is_ok() {
                prop_assert!(authority::parse(altered.host().unwrap()).is_ok());
            }
            let slashed = [b"/", &path[..]].concat();
            if altered.set_target(&slashed, Some(query), PathForm::Normalize, 1000).is_ok() {
                let target = altered.target().unwrap();
                prop_assert!(is_target(target));
                let end = target.iter().position(|&byte| byte == b'?').unwrap();
                let mut normal = Vec::new();
                prop_assert_eq!(path::normalize(&target[..end], &mut normal), Ok(()));
                prop_assert_eq!(&normal[..], &target[..end]);
            }
            if let Ok(url) = Location::new(true, host, None, &slashed, Some(query), 1000) {
                prop_assert!(url.as_bytes().iter().all(u8::is_ascii_graphic));
            }
        }
    }
}
