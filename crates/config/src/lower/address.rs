//! Owns addresses as they are written: to listen on, to connect to, networks.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::limits;
use crate::plan::{BackendAddress, Bind, Question, canonical};
use crate::read::{Reading, Scalar};
use crate::tree::Node;

/// `0.0.0.0:80`, `[::]:80`, `unix:/run/x.sock`.
pub(crate) fn bind(written: &Scalar) -> Result<Bind, String> {
    if let Some(path) = unix(written)? {
        return Ok(Bind::Unix(path));
    }
    written.value().parse().map(Bind::Tcp).map_err(|_| {
        format!("an address to listen on is written like `0.0.0.0:8080`, `[::]:8080` or `unix:/run/x.sock`, not `{written}`")
    })
}

/// `10.0.0.1:80`, `[::1]:80`, `name:80`, `unix:/run/x.sock`.
pub(crate) fn backend(written: &Scalar) -> Result<BackendAddress, String> {
    if let Some(path) = unix(written)? {
        return Ok(BackendAddress::Unix(path));
    }
    let text = written.value();
    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.port() == 0 {
            return Err(format!("`{written}`: port 0 is nobody's"));
        }
        return Ok(BackendAddress::Tcp(address));
    }
    let wrong = || {
        format!(
            "a backend is written like `10.0.0.1:9000`, `name:9000` or `unix:/run/x.sock`, not `{written}`"
        )
    };
    if text.contains("://") {
        return Err(format!("{}; leave the scheme away", wrong()));
    }
    let (name, port) = text
        .rsplit_once(':')
        .ok_or_else(|| format!("{}; the port is missing", wrong()))?;
    let port: NonZeroU16 = port.parse().map_err(|_| wrong())?;
    if !is_name(name) {
        return Err(wrong());
    }
    Ok(BackendAddress::Name(name.into(), port))
}

/// Whether DNS can be asked for it.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let labels = name.strip_suffix('.').unwrap_or(name);
    // What looks like an address and is none is no name either.
    let digits = labels
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    name.len() <= 253 && !digits && labels.split('.').all(label)
}

/// `name:80`, of which every address is a backend.
pub(crate) fn dns(written: &Scalar) -> Result<(Question, NonZeroU16), String> {
    match backend(written) {
        Ok(BackendAddress::Name(name, port)) => {
            Ok((Question::Addresses(name.to_ascii_lowercase().into()), port))
        }
        Ok(_) => Err(format!(
            "`{written}` is no name to look up; write it as `address`"
        )),
        Err(_) => Err(format!(
            "a name to look up is written like `name:9000`, not `{written}`"
        )),
    }
}

/// `_http._tcp.name`, whose records have ports.
pub(crate) fn srv(written: &Scalar) -> Result<Question, String> {
    let name = written.value();
    if !is_name(name) {
        return Err(format!(
            "a name with SRV records is written like `_http._tcp.name`, without a port, not `{written}`"
        ));
    }
    Ok(Question::Srv(name.to_ascii_lowercase().into()))
}

/// `10.0.0.53`, `127.0.0.1:5353`.
pub(crate) fn server(written: &Scalar) -> Result<SocketAddr, String> {
    let text = written.value();
    let address = text.parse::<SocketAddr>();
    address
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
        .ok()
        .filter(|address| address.port() != 0 && !address.ip().is_unspecified())
        .ok_or_else(|| {
            format!("a server is written like `10.0.0.53` or `127.0.0.1:5353`, not `{written}`")
        })
}

fn unix(written: &Scalar) -> Result<Option<PathBuf>, String> {
    let Some(path) = written.value().strip_prefix("unix:") else {
        return Ok(None);
    };
    // The kernel's limit for the path of a Unix socket, less its end.
    if path.is_empty() || path.len() > 107 || path.contains('\0') {
        return Err(format!(
            "`{written}`: the path of a Unix socket has 1 to 107 bytes"
        ));
    }
    Ok(Some(path.into()))
}

/// `10.0.0.0/8`, `::1`; `::ffff:10.0.0.0/104` is the first of them.
pub(crate) fn network(written: &Scalar) -> Result<IpNet, String> {
    let text = written.value();
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(canonical)
        .map_err(|_| {
            format!("a network is written like `10.0.0.0/8` or `2001:db8::/32`, not `{written}`")
        })
}

/// `trusted_proxies:`
pub(super) fn networks(reading: &Reading, node: &Node) -> Vec<IpNet> {
    let what = format!("{} networks", limits::NETWORKS);
    let networks = reading.items(node);
    let networks = reading.first(networks, limits::NETWORKS, |node| node.at, &what);
    let each = |node| reading.parsed(node, "address", network);
    networks.iter().filter_map(each).collect()
}
