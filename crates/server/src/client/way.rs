//! Owns the way to an instance: its address, who it must be, and the connection that a question goes over.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use evenkeel_config::plan::BackendAddress;
use evenkeel_config::plan::tls::{Material, UpstreamTls};
use evenkeel_config::problem;
use evenkeel_proxy::tls::upstream::Towards;

use super::PATIENCE;

/// Which instance is asked.
#[derive(Args)]
pub(crate) struct At {
    /// The instance's admin address: `127.0.0.1:9900`, `https://lb.example:9900` or `unix:/run/evenkeel/admin.sock`
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "EVENKEEL_ADMIN",
        hide_env_values = true,
        default_value = "127.0.0.1:9900"
    )]
    admin: Address,
    /// Issuers that are trusted to name it, as PEM; the system's without it. For `https://` addresses
    #[arg(
        long,
        value_name = "FILE",
        env = "EVENKEEL_ADMIN_CA",
        hide_env_values = true
    )]
    admin_ca: Option<PathBuf>,
    /// A certificate that says who asks, as PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "EVENKEEL_ADMIN_CERT",
        hide_env_values = true,
        requires = "admin_key"
    )]
    admin_cert: Option<PathBuf>,
    /// Its key, as PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "EVENKEEL_ADMIN_KEY",
        hide_env_values = true,
        requires = "admin_cert"
    )]
    admin_key: Option<PathBuf>,
}

/// What is written for an instance.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// Over TLS: the host, a name or an address, and the port.
    Tls(String, NonZeroU16),
    Unix(PathBuf),
}

/// An instance that can be asked.
pub(crate) struct Admin {
    address: Address,
    files: Files,
}

/// Where the certificates of a question are.
#[derive(Default)]
struct Files {
    ca: Option<PathBuf>,
    shown: Option<(PathBuf, PathBuf)>,
}

impl At {
    pub(crate) fn admin(&self) -> Admin {
        Admin {
            address: self.admin.clone(),
            files: Files {
                ca: self.admin_ca.clone(),
                shown: self.admin_cert.clone().zip(self.admin_key.clone()),
            },
        }
    }
}

impl From<Address> for Admin {
    /// As it is, with what the system trusts.
    fn from(address: Address) -> Self {
        Self {
            address,
            files: Files::default(),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let not = || "write it as `127.0.0.1:9900`, `https://lb.example:9900` or `unix:/run/evenkeel/admin.sock`";
        if let Some(rest) = text.strip_prefix("https://") {
            let bare = rest.strip_suffix('/').unwrap_or(rest);
            let (host, port) = bare.rsplit_once(':').ok_or_else(not)?;
            let port = port.parse().map_err(|_| not())?;
            let host = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
            if host.is_empty() || !host.bytes().all(plain) {
                return Err(not().to_owned());
            }
            return Ok(Self::Tls(host.to_owned(), port));
        }
        let bare = text.strip_prefix("http://");
        let bare = bare.map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
        // A name that means this machine by itself (RFC 6761 section 6.3).
        let port = bare.strip_prefix("localhost:");
        let address = match port.and_then(|port| port.parse().ok()) {
            Some(port) => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
            None => bare.parse(),
        };
        address.map(Self::Tcp).map_err(|_| not().into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Tls(host, port) if host.contains(':') => write!(f, "https://[{host}]:{port}"),
            Self::Tls(host, port) => write!(f, "https://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// What a question is written to, and its answer read from.
pub(super) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Admin {
    /// What the instance is called in a question.
    pub(super) fn host(&self) -> String {
        match &self.address {
            Address::Tcp(address) => address.to_string(),
            Address::Tls(..) => {
                let whole = self.address.to_string();
                whole.trim_start_matches("https://").to_owned()
            }
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Whether nobody on the way can read what is sent.
    pub(super) fn is_private(&self) -> bool {
        match &self.address {
            Address::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Address::Tls(..) | Address::Unix(_) => true,
        }
    }

    /// # Errors
    /// Nobody is there, or not who is named.
    pub(super) fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.address {
            Address::Tcp(address) => Ok(Box::new(dial(address)?)),
            Address::Tls(host, port) => {
                let towards = self.files.towards().map_err(io::Error::other)?;
                let named = match host.parse() {
                    Ok(ip) => BackendAddress::Tcp(SocketAddr::new(ip, port.get())),
                    Err(_) => BackendAddress::Name(host.as_str().into(), *port),
                };
                Ok(Box::new(towards.wait(dial_any(host, *port)?, &named)?))
            }
            Address::Unix(socket) => {
                let stream = UnixStream::connect(socket)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
        }
    }
}

impl Files {
    fn towards(&self) -> Result<Arc<Towards>, String> {
        let shown = self.shown.as_ref();
        let shown = shown.map(|(cert, key)| Ok((material(cert)?, material(key)?)));
        let plan = UpstreamTls {
            ca: self.ca.as_deref().map(material).transpose()?,
            sni: None,
            unverified: false,
            certificate: shown.transpose().map_err(|error: String| error)?,
            spoken: &["http/1.1"],
        };
        Towards::new(&Arc::new(plan), None)
    }
}

fn material(path: &Path) -> Result<Material, String> {
    let read = fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    Ok(Material {
        path: path.into(),
        bytes: read?.into(),
        at: problem::At {
            file: 0,
            line: 1,
            column: 1,
            length: 1,
        },
    })
}

fn dial(address: &SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The first of a name's addresses that takes a connection.
fn dial_any(host: &str, port: NonZeroU16) -> io::Result<TcpStream> {
    let mut last = io::Error::other(format!("{host} has no address"));
    for address in (host, port.get()).to_socket_addrs()? {
        match dial(&address) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_named_by_address_url_or_socket() {
        for (text, address) in [
            ("127.0.0.1:9900", Some("127.0.0.1:9900")),
            ("[::1]:9900", Some("[::1]:9900")),
            ("http://127.0.0.1:9900", Some("127.0.0.1:9900")),
            ("http://127.0.0.1:9900/", Some("127.0.0.1:9900")),
            ("http://localhost:1", Some("127.0.0.1:1")),
            ("localhost:1", Some("127.0.0.1:1")),
            ("unix:/run/a.sock", Some("unix:/run/a.sock")),
            ("https://127.0.0.1:9900", Some("https://127.0.0.1:9900")),
            ("https://lb.example:1/", Some("https://lb.example:1")),
            ("https://[::1]:9900", Some("https://[::1]:9900")),
            ("https://lb.example", None),
            ("https://:1", None),
            ("https://lb example:1", None),
            ("https://lb.example:1/v1", None),
            ("https://ops@lb.example:1", None),
            ("http://127.0.0.1:9900/v1", None),
            ("127.0.0.1", None),
            ("localhost:", None),
            ("", None),
        ] {
            let admin = text.parse::<Address>().ok().map(|one| one.to_string());
            assert_eq!(admin.as_deref(), address, "{text}");
        }
    }
}
