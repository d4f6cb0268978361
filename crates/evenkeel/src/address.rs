//! Owns where a backend is reached: text that was checked once and is kept as it was written.
//!
//! Never resolves a name and opens nothing; see `probe` for who does.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use evenkeel_balance::backend::BackendSpec;

/// The label of a backend whose address is not its identity.
pub const ADDRESS_LABEL: &str = "address";

/// The longest address, in bytes.
pub const MOST_BYTES: usize = 2048;

/// The longest host name, in bytes (RFC 1035 section 2.3.4).
const MOST_HOST_BYTES: usize = 253;

/// The longest path of a Unix socket, in bytes: what fits `sun_path` with its closing zero on every Unix.
const MOST_UNIX_BYTES: usize = 103;

/// Where a backend is reached. Opaque: kept as written, so [`Display`](fmt::Display) gives back what was parsed.
///
/// | form | example |
/// |---|---|
/// | socket address | `10.0.0.1:80`, `[2001:db8::1]:80` |
/// | host and port | `api.internal:8080` |
/// | URL | `http://api.internal/v1`, `https://[::1]:8443/` |
/// | Unix socket | `unix:/run/api.sock` |
///
/// Clones share the text.
///
/// ```
/// use evenkeel::{Address, BackendSpec, address::AddressError};
///
/// let address: Address = "http://api.internal/v1".parse()?;
/// assert_eq!((address.authority(), address.path()), ("api.internal", Some("/v1")));
/// assert!(matches!("http://user:word@api/".parse::<Address>(), Err(AddressError::UserInfo)));
/// let named = BackendSpec::new("first").label("address", "10.0.0.1:80");
/// assert_eq!(Address::of(&named)?.to_string(), "10.0.0.1:80");
/// # Ok::<(), AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: Arc<str>,
    form: Form,
}

/// What the text means; ranges are within it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    Socket(SocketAddr),
    Name {
        host: Span,
        port: u16,
    },
    Url {
        scheme: Scheme,
        authority: Span,
        host: Span,
        port: u16,
        path: usize,
    },
    Unix,
}

/// A part of the text: a range that can be ordered and copied, which `Range` cannot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Span {
    start: usize,
    end: usize,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain HTTP; port 80 unless another is written.
    Http,
    /// HTTP over TLS; port 443 unless another is written.
    Https,
}

impl Scheme {
    /// The port that is meant when none is written.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What a connection is made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// An IP address and port.
    Socket(SocketAddr),
    /// A name to resolve, and a port.
    Name {
        /// The name, without brackets.
        host: &'a str,
        /// The port, never 0.
        port: u16,
    },
    /// A Unix socket.
    Unix(&'a Path),
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing was written.
    Empty,
    /// More than [`MOST_BYTES`] bytes.
    TooLong,
    /// A blank, a control character or a byte outside ASCII; names beyond ASCII are written in their `xn--` form.
    Character,
    /// The host is empty, too long, or not made of letters, digits, `-`, `_` and `.`; an IPv6 address wants brackets.
    Host,
    /// The port is missing where it must stand, 0, or above 65535.
    Port,
    /// A URL of another scheme than `http` and `https`.
    Scheme,
    /// A user or password before the host: credentials do not belong into an address.
    UserInfo,
    /// A `#fragment`, which is never sent.
    Fragment,
    /// The path of a Unix socket is not absolute, or longer than 103 bytes.
    UnixPath,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the address is empty",
            Self::TooLong => "the address is longer than 2048 bytes",
            Self::Character => {
                "the address holds a blank, a control character or a character outside ASCII (write names in their xn-- form)"
            }
            Self::Host => {
                "the host of the address must be letters, digits, '-', '_' and '.', at most 253; an IPv6 address stands in brackets"
            }
            Self::Port => "the address wants a port between 1 and 65535",
            Self::Scheme => "the scheme of the address must be http or https",
            Self::UserInfo => "the address must not hold a user or password",
            Self::Fragment => "the address must not hold a #fragment",
            Self::UnixPath => {
                "the path of a Unix socket must be absolute and at most 103 bytes"
            }
        })
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// The address of a backend: its label [`ADDRESS_LABEL`] where it has one, else its identity.
    ///
    /// # Errors
    /// [`AddressError`] when that text is no address.
    pub fn of(backend: &BackendSpec) -> Result<Self, AddressError> {
        text_of(backend).parse()
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What to connect to.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint<'_> {
        match &self.form {
            Form::Socket(socket) => Endpoint::Socket(*socket),
            Form::Name { host, port } => self.named(*host, *port),
            Form::Url { host, port, .. } => self.named(*host, *port),
            Form::Unix => Endpoint::Unix(Path::new(&self.text["unix:".len()..])),
        }
    }

    /// The scheme, of a URL.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        match self.form {
            Form::Url { scheme, .. } => Some(scheme),
            _ => None,
        }
    }

    /// What an HTTP `Host` field names: host and port as written; `localhost` for a Unix socket.
    #[must_use]
    pub fn authority(&self) -> &str {
        match &self.form {
            Form::Socket(_) | Form::Name { .. } => &self.text,
            Form::Url { authority, .. } => self.slice(*authority),
            Form::Unix => "localhost",
        }
    }

    /// Path and query of a URL, as written; none where none is written.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self.form {
            Form::Url { path, .. } => Some(&self.text[path..]).filter(|path| !path.is_empty()),
            _ => None,
        }
    }

    fn slice(&self, range: Span) -> &str {
        &self.text[Range::from(range)]
    }

    fn named(&self, host: Span, port: u16) -> Endpoint<'_> {
        let host = self.slice(host);
        match host.parse() {
            Ok(ip) => Endpoint::Socket(SocketAddr::new(ip, port)),
            Err(_) => Endpoint::Name { host, port },
        }
    }
}

/// The text of a backend's address, checked or not.
pub(crate) fn text_of(backend: &BackendSpec) -> &str {
    backend
        .labels
        .get(ADDRESS_LABEL)
        .map_or(backend.id.as_str(), String::as_str)
}

impl From<Span> for Range<usize> {
    fn from(range: Span) -> Self {
        range.start..range.end
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.text)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Ok(Self {
            form: form(text)?,
            text: text.into(),
        })
    }
}

impl From<SocketAddr> for Address {
    /// A port of 0 is kept; connecting to it fails.
    fn from(socket: SocketAddr) -> Self {
        Self {
            text: socket.to_string().into(),
            form: Form::Socket(socket),
        }
    }
}

fn form(text: &str) -> Result<Form, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if text.len() > MOST_BYTES {
        return Err(AddressError::TooLong);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AddressError::Character);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        let fits = path.starts_with('/') && path.len() <= MOST_UNIX_BYTES;
        return if fits {
            Ok(Form::Unix)
        } else {
            Err(AddressError::UnixPath)
        };
    }
    if let Some(at) = text.find("://") {
        return url(text, at);
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return if socket.port() == 0 {
            Err(AddressError::Port)
        } else {
            Ok(Form::Socket(socket))
        };
    }
    let (host, port) = authority(text, 0, text.len(), None)?;
    Ok(Form::Name { host, port })
}

fn url(text: &str, colon: usize) -> Result<Form, AddressError> {
    let scheme = match &text[..colon] {
        scheme if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        scheme if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        _ => return Err(AddressError::Scheme),
    };
    if text.contains('#') {
        return Err(AddressError::Fragment);
    }
    let start = colon + "://".len();
    let path = text[start..]
        .find(['/', '?'])
        .map_or(text.len(), |at| start + at);
    if text[start..path].contains('@') {
        return Err(AddressError::UserInfo);
    }
    let (host, port) = authority(text, start, path, Some(scheme.default_port()))?;
    Ok(Form::Url {
        scheme,
        authority: Span { start, end: path },
        host,
        port,
        path,
    })
}

/// Host and port of `text[start..end]`; the port may be missing where there is a default.
fn authority(
    text: &str,
    start: usize,
    end: usize,
    default_port: Option<u16>,
) -> Result<(Span, u16), AddressError> {
    let written = &text[start..end];
    let (host, rest) = if written.starts_with('[') {
        let close = written.find(']').ok_or(AddressError::Host)?;
        let host = Span {
            start: start + 1,
            end: start + close,
        };
        if written[1..close].parse::<std::net::Ipv6Addr>().is_err() {
            return Err(AddressError::Host);
        }
        (host, &written[close + 1..])
    } else {
        let length = written.find(':').unwrap_or(written.len());
        let host = &written[..length];
        let fits = (1..=MOST_HOST_BYTES).contains(&length) && host.bytes().all(of_a_name);
        if !fits {
            return Err(AddressError::Host);
        }
        let host = Span {
            start,
            end: start + length,
        };
        (host, &written[length..])
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => number(port)?,
        None if rest.is_empty() => default_port.ok_or(AddressError::Port)?,
        None => return Err(AddressError::Host),
    };
    Ok((host, port))
}

fn of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// A port: digits only, because `u16::from_str` also takes a sign.
fn number(port: &str) -> Result<u16, AddressError> {
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(if port.contains(':') {
            AddressError::Host
        } else {
            AddressError::Port
        });
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(AddressError::Port),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests;
