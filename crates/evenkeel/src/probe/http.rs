//! Owns the HTTP probe: one plain HTTP/1.1 request on a connection of its own, and the verdict on its answer.
//!
//! What is sent is checked and written out once, when the probe is made. Never reuses a connection, follows a redirect
//! or speaks TLS; who has a connection over something else may speak over that one, or judge an answer of another version. Next: `http/answer.rs`, which reads what comes back.

use std::fmt;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::address::{Address, Scheme};
use crate::probe::tcp::{Link, connect};
use crate::probe::{Checking, Finding, Probe, ProbeError, Target};

/// The answer, as its bytes arrive.
mod answer;

/// Which statuses are expected.
mod expect;

pub use answer::{BODY_MOST_BYTES, HEAD_MOST_BYTES, Judge};
pub use expect::{StatusRanges, StatusRangesError};

use answer::{Answer, Step};

/// The longest configured text of a check, in bytes, all fields together.
pub const REQUEST_MOST_BYTES: usize = 8 * 1024;

/// The longest text looked for in a body, in bytes.
pub const BODY_TEXT_MOST_BYTES: usize = 1024;

/// Who asks, unless the check says another.
pub const USER_AGENT: &str = concat!("evenkeel-check/", env!("CARGO_PKG_VERSION"));

/// So much is read at once.
const READ_BYTES: usize = 4096;

/// What is asked of a backend, and what must come back. Plain settings; [`HttpProbe::new`] checks them.
///
/// ```
/// use evenkeel::{HttpCheck, HttpProbe};
///
/// let check = HttpCheck::default()
///     .method("POST")
///     .path("/hook?check")
///     .header("x-check", "1")
///     .expect("200-299,405".parse()?);
/// let probe = HttpProbe::new(check)?;
/// assert!(HttpProbe::new(HttpCheck::default().header("x-check", "1\r\nx-other: 2")).is_err());
/// # let _ = probe;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpCheck {
    /// `GET` by default. `HEAD` spares the body, but a backend that knows only other methods answers it with 405, which
    /// is reported as such and fails unless expected: then ask with the method that it knows. `POST`, `PUT` and `PATCH`
    /// are sent with an empty body.
    pub method: String,
    /// Path and query. None: what the backend's address says, else `/`.
    pub path: Option<String>,
    /// The `Host` field. None: host and port of the backend's address.
    pub host: Option<String>,
    /// More fields. Not those that frame the request: `Host`, `Connection`, `Content-Length`, `Transfer-Encoding`, ...
    pub headers: Vec<(String, String)>,
    /// The statuses that pass; 200-299 by default.
    pub expect: StatusRanges,
    /// Text that the first [`BODY_MOST_BYTES`] of the body must hold, compared byte by byte; at most
    /// [`BODY_TEXT_MOST_BYTES`].
    pub body: Option<String>,
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            path: None,
            host: None,
            headers: Vec::new(),
            expect: StatusRanges::default(),
            body: None,
        }
    }
}

impl HttpCheck {
    /// The same by another method.
    #[must_use]
    pub fn method(self, method: impl Into<String>) -> Self {
        let method = method.into();
        Self { method, ..self }
    }

    /// The same of this path and query.
    #[must_use]
    pub fn path(self, path: impl Into<String>) -> Self {
        let path = Some(path.into());
        Self { path, ..self }
    }

    /// The same of this host.
    #[must_use]
    pub fn host(self, host: impl Into<String>) -> Self {
        let host = Some(host.into());
        Self { host, ..self }
    }

    /// The same with one more field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with other statuses that pass.
    #[must_use]
    pub fn expect(self, expect: StatusRanges) -> Self {
        Self { expect, ..self }
    }

    /// The same with a text that the body must hold.
    #[must_use]
    pub fn body(self, body: impl Into<String>) -> Self {
        let body = Some(body.into());
        Self { body, ..self }
    }
}

/// Why a check cannot be made as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpCheckError {
    /// Not a method name of at most 32 letters and marks, or `CONNECT`.
    Method(String),
    /// A path that does not begin with `/`, or holds a blank, a control character, `#` or a character outside ASCII.
    Path(String),
    /// A host that is empty or holds anything but the characters of a name, an address and a port.
    Host(String),
    /// A field name that is none.
    HeaderName(String),
    /// A field value with a line break or another control character, or outside ASCII; names the field.
    HeaderValue(String),
    /// A field that the probe writes itself.
    HeaderOwned(String),
    /// The text for the body is empty or longer than [`BODY_TEXT_MOST_BYTES`].
    Body(usize),
    /// A body is expected of `HEAD`, which has none.
    BodyOfHead,
    /// More than [`REQUEST_MOST_BYTES`] in all.
    TooLong(usize),
}

impl fmt::Display for HttpCheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(f, "{method:?} is not a method that a check can use"),
            Self::Path(path) => write!(
                f,
                "the path {path:?} must begin with / and hold no blank, control character, # or character outside ASCII"
            ),
            Self::Host(host) => write!(f, "{host:?} is not a host, or host and port"),
            Self::HeaderName(name) => write!(f, "{name:?} is not the name of a header field"),
            Self::HeaderValue(name) => write!(
                f,
                "the value of the header field {name:?} holds a control character or one outside ASCII"
            ),
            Self::HeaderOwned(name) => {
                write!(f, "the probe writes the header field {name:?} itself")
            }
            Self::Body(length) => write!(
                f,
                "the text expected in the body must be 1 to {BODY_TEXT_MOST_BYTES} bytes long, not {length}"
            ),
            Self::BodyOfHead => f.write_str("HEAD has no body to expect text in; use GET"),
            Self::TooLong(length) => write!(
                f,
                "the request would be {length} bytes long, at most {REQUEST_MOST_BYTES} are sent"
            ),
        }
    }
}

impl std::error::Error for HttpCheckError {}

/// What decides over a body when a text to be found in it is not enough: an expression, a parser, a program's own rule. It is
/// given the body, or its first [`BODY_MOST_BYTES`], once; an incomplete body never passes for a whole one. It must be quick: it
/// runs where the checks run.
#[derive(Clone)]
pub struct BodyTest(Arc<Test>);

type Test = dyn Fn(&[u8]) -> bool + Send + Sync;

impl BodyTest {
    /// Passes what `test` says yes to.
    pub fn new(test: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(test))
    }

    fn passes(&self, body: &[u8]) -> bool {
        (self.0)(body)
    }
}

impl fmt::Debug for BodyTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyTest")
    }
}

/// Passes when the backend answers one HTTP/1.1 request with an expected status, and an expected body where one is set.
///
/// It asks the backend's own address and nobody else. An address with `https` fails with [`ProbeError::TlsNotYet`].
/// Cost: one connection; at most 16 KiB of head and 64 KiB of body are read. Clones share the settings.
#[derive(Clone, Debug)]
pub struct HttpProbe {
    asked: Arc<Asked>,
}

/// The checked settings, with what can be written beforehand.
#[derive(Debug)]
struct Asked {
    check: HttpCheck,
    test: Option<BodyTest>,
    /// The request from after the `Host` field to its end.
    rest: String,
}

impl HttpProbe {
    /// A probe that asks for what `check` says.
    ///
    /// # Errors
    /// [`HttpCheckError`]: something in it cannot be sent, a line break in a value above all.
    pub fn new(check: HttpCheck) -> Result<Self, HttpCheckError> {
        Self::checked(check, None)
    }

    /// The same with a test of the body, in place of a text to be found in it. The body is read to its end, or to
    /// [`BODY_MOST_BYTES`].
    ///
    /// # Errors
    /// As [`HttpProbe::new`]; [`HttpCheckError::BodyOfHead`] for `HEAD`.
    pub fn testing(check: HttpCheck, test: BodyTest) -> Result<Self, HttpCheckError> {
        if check.method == "HEAD" {
            return Err(HttpCheckError::BodyOfHead);
        }
        Self::checked(check, Some(test))
    }

    fn checked(check: HttpCheck, test: Option<BodyTest>) -> Result<Self, HttpCheckError> {
        validate(&check)?;
        let rest = rest_of_head(&check);
        let texts = [
            Some(check.method.as_str()),
            check.path.as_deref(),
            check.host.as_deref(),
        ];
        let length = rest.len() + texts.iter().flatten().map(|text| text.len()).sum::<usize>();
        if length > REQUEST_MOST_BYTES {
            return Err(HttpCheckError::TooLong(length));
        }
        Ok(Self {
            asked: Arc::new(Asked { check, test, rest }),
        })
    }

    /// A probe that gets `path` and expects 200 to 299.
    ///
    /// # Errors
    /// [`HttpCheckError::Path`].
    pub fn get(path: impl Into<String>) -> Result<Self, HttpCheckError> {
        Self::new(HttpCheck {
            path: Some(path.into()),
            ..HttpCheck::default()
        })
    }
}

impl HttpProbe {
    /// One check over a connection that was made already, whatever it runs on; `address` names the host where the check
    /// does not.
    pub async fn over<S>(&self, address: &Address, stream: S) -> Finding
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = self.asked.request(address);
        let found = self.asked.exchange(stream, &request).await;
        found.unwrap_or_else(Finding::from)
    }

    /// What is asked.
    #[must_use]
    pub fn asked(&self) -> &HttpCheck {
        &self.asked.check
    }

    /// The fields of the request that do not frame it, its own before the configured ones.
    #[must_use]
    pub fn fields(&self) -> Vec<(&str, &str)> {
        fields(&self.asked.check)
    }

    /// Judges an answer that is read elsewhere.
    #[must_use]
    pub fn judge(&self) -> Judge<'_> {
        Judge::new(&self.asked.check, self.asked.test.as_ref())
    }
}

impl Probe for HttpProbe {
    fn check(&self, target: Target) -> Checking {
        let asked = self.asked.clone();
        Box::pin(async move {
            match asked.ask(&target).await {
                Ok(finding) => finding,
                Err(error) => error.into(),
            }
        })
    }
}

impl Asked {
    async fn ask(&self, target: &Target) -> Result<Finding, ProbeError> {
        let address = target.address()?;
        if address.scheme() == Some(Scheme::Https) {
            return Err(ProbeError::TlsNotYet);
        }
        let request = self.request(&address);
        match connect(&address).await? {
            Link::Tcp(stream) => self.exchange(stream, &request).await,
            #[cfg(unix)]
            Link::Unix(stream) => self.exchange(stream, &request).await,
        }
    }

    fn request(&self, address: &Address) -> String {
        let check = &self.check;
        let path = check.path.as_deref().or(address.path()).unwrap_or("/");
        let slash = if path.starts_with('?') { "/" } else { "" };
        let host = check.host.as_deref().unwrap_or(address.authority());
        let (method, rest) = (&check.method, &self.rest);
        format!("{method} {slash}{path} HTTP/1.1\r\nHost: {host}\r\n{rest}")
    }

    async fn exchange<S>(&self, mut stream: S, request: &str) -> Result<Finding, ProbeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Answer::new(&self.check, self.test.as_ref());
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let step = match stream.read(&mut bytes).await? {
                0 => return Ok(answer.ended()),
                length => answer.feed(&bytes[..length]),
            };
            if let Step::Done(finding) = step {
                return Ok(finding);
            }
        }
    }
}

/// Fields whose value the probe alone may say, because the framing of the request hangs on them.
const OWNED: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

fn validate(check: &HttpCheck) -> Result<(), HttpCheckError> {
    let method = &check.method;
    if !is_token(method) || method.len() > 32 || method == "CONNECT" {
        return Err(HttpCheckError::Method(method.clone()));
    }
    if let Some(path) = &check.path {
        let fits = path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !fits || !path.starts_with('/') {
            return Err(HttpCheckError::Path(path.clone()));
        }
    }
    if let Some(host) = &check.host {
        let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]%".contains(&byte);
        if host.is_empty() || !host.bytes().all(of_a_host) {
            return Err(HttpCheckError::Host(host.clone()));
        }
    }
    for (name, value) in &check.headers {
        if !is_token(name) {
            return Err(HttpCheckError::HeaderName(name.clone()));
        }
        if OWNED.iter().any(|owned| name.eq_ignore_ascii_case(owned)) {
            return Err(HttpCheckError::HeaderOwned(name.clone()));
        }
        let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
        if !value.bytes().all(printable) {
            return Err(HttpCheckError::HeaderValue(name.clone()));
        }
    }
    match &check.body {
        Some(text) if !(1..=BODY_TEXT_MOST_BYTES).contains(&text.len()) => {
            Err(HttpCheckError::Body(text.len()))
        }
        Some(_) if method == "HEAD" => Err(HttpCheckError::BodyOfHead),
        _ => Ok(()),
    }
}

/// A token of RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let of_a_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_a_token)
}

fn fields(check: &HttpCheck) -> Vec<(&str, &str)> {
    let mut fields = Vec::with_capacity(check.headers.len() + 2);
    let said = |wanted: &str| {
        let mut names = check.headers.iter().map(|(name, _)| name);
        names.any(|name| name.eq_ignore_ascii_case(wanted))
    };
    if !said("user-agent") {
        fields.push(("User-Agent", USER_AGENT));
    }
    if !said("accept") {
        fields.push(("Accept", "*/*"));
    }
    let own = check.headers.iter();
    fields.extend(own.map(|(name, value)| (&**name, &**value)));
    fields
}

fn rest_of_head(check: &HttpCheck) -> String {
    let mut rest = String::from("Connection: close\r\n");
    if matches!(check.method.as_str(), "POST" | "PUT" | "PATCH") {
        rest.push_str("Content-Length: 0\r\n");
    }
    for (name, value) in fields(check) {
        rest.push_str(&format!("{name}: {value}\r\n"));
    }
    rest.push_str("\r\n");
    rest
}

#[cfg(test)]
mod tests;
