//! Owns the headers that a backend gets. What is written here is read again as the same; what could not be is refused.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::extras::{self, Extras, Ssl, TLV_HEAD, UNIQUE_ID_MOST};
use super::{BINARY_BEGIN, BINARY_MOST, Endpoints, Transport, binary, crc32c};

/// Why a header cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unwritable {
    /// A unique id over 128 bytes.
    UniqueId,
    /// A text that is not US-ASCII where only that may stand.
    Text,
    /// An address of a UNIX socket over 108 bytes.
    UnixAddress,
    /// A header over [`BINARY_MOST`] bytes.
    TooLong,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UniqueId => "a unique id over 128 bytes",
            Self::Text => "a text that is not US-ASCII",
            Self::UnixAddress => "an address of a UNIX socket over 108 bytes",
            Self::TooLong => "a PROXY header over 4096 bytes",
        })
    }
}

impl std::error::Error for Unwritable {}

/// Appends a header of version 1 (section 2.1), at most 104 bytes. It knows TCP alone: what is anything else is `UNKNOWN`, which some
/// receivers refuse. Addresses of two families go as IPv6 both. IPv6 is written in groups of digits only.
pub fn write_text(endpoints: &Endpoints<'_>, into: &mut Vec<u8>) {
    let Endpoints::Inet {
        transport: Transport::Stream,
        source,
        destination,
    } = endpoints
    else {
        into.extend_from_slice(b"PROXY UNKNOWN\r\n");
        return;
    };
    let ports = (source.port(), destination.port());
    // Writing to a vector does not fail.
    let _ = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            write!(into, "PROXY TCP4 {source} {destination}")
        }
        (source, destination) => {
            let (source, destination) = (digits(v6(source)), digits(v6(destination)));
            write!(into, "PROXY TCP6 {source} {destination}")
        }
    };
    let _ = write!(into, " {} {}\r\n", ports.0, ports.1);
}

/// Appends a header of version 2 (section 2.2). Addresses of two families go as IPv6 both. `extras` go with addresses only. Above 536 bytes
/// a header may arrive in pieces, which receivers need not bear.
///
/// # Errors
/// What cannot be written; `into` is then as it was.
pub fn write_binary(
    endpoints: &Endpoints<'_>,
    extras: &Extras<'_>,
    into: &mut Vec<u8>,
) -> Result<(), Unwritable> {
    let start = into.len();
    let written = write(endpoints, extras, into, start);
    if written.is_err() {
        into.truncate(start);
    }
    written
}

fn write(
    endpoints: &Endpoints<'_>,
    extras: &Extras<'_>,
    into: &mut Vec<u8>,
    start: usize,
) -> Result<(), Unwritable> {
    into.extend_from_slice(BINARY_BEGIN);
    let command = match endpoints {
        Endpoints::Local => binary::LOCAL,
        _ => binary::PROXY,
    };
    into.extend_from_slice(&[binary::VERSION | command, family(endpoints), 0, 0]);
    match endpoints {
        Endpoints::Local | Endpoints::Unknown => return Ok(()),
        Endpoints::Inet {
            source,
            destination,
            ..
        } => {
            for address in [source, destination] {
                match (address.ip(), is_v4(source, destination)) {
                    (IpAddr::V4(address), true) => into.extend_from_slice(&address.octets()),
                    (address, _) => into.extend_from_slice(&v6(address).octets()),
                }
            }
            for address in [source, destination] {
                into.extend_from_slice(&address.port().to_be_bytes());
            }
        }
        Endpoints::Unix {
            source,
            destination,
            ..
        } => {
            for address in [source, destination] {
                let zeros = binary::UNIX
                    .checked_sub(address.len())
                    .ok_or(Unwritable::UnixAddress)?;
                into.extend_from_slice(address);
                into.extend(std::iter::repeat_n(0, zeros));
            }
        }
    }
    let checksum_at = write_extras(extras, into)?;
    let header = &mut into[start..];
    if header.len() > BINARY_MOST {
        return Err(Unwritable::TooLong);
    }
    let length = length(header.len() - binary::FIXED)?;
    header[binary::FIXED - 2..binary::FIXED].copy_from_slice(&length);
    if let Some(at) = checksum_at {
        let checksum = crc32c::of(&[header]).to_be_bytes();
        header[at - start..][..4].copy_from_slice(&checksum);
    }
    Ok(())
}

/// Where the checksum goes, if there is to be one; zeros stand there.
fn write_extras(extras: &Extras<'_>, into: &mut Vec<u8>) -> Result<Option<usize>, Unwritable> {
    if extras.unique_id.is_some_and(|id| id.len() > UNIQUE_ID_MOST) {
        return Err(Unwritable::UniqueId);
    }
    tlv(extras::ALPN, extras.alpn, into)?;
    tlv(extras::AUTHORITY, extras.authority.map(str::as_bytes), into)?;
    tlv(extras::UNIQUE_ID, extras.unique_id, into)?;
    if let Some(ssl) = &extras.ssl {
        write_ssl(ssl, into)?;
    }
    tlv(extras::NETNS, ascii(extras.netns)?, into)?;
    if !extras.checksum {
        return Ok(None);
    }
    tlv(extras::CRC32C, Some(&[0; 4]), into)?;
    Ok(Some(into.len() - 4))
}

fn write_ssl(ssl: &Ssl<'_>, into: &mut Vec<u8>) -> Result<(), Unwritable> {
    let start = into.len();
    into.extend_from_slice(&[extras::SSL, 0, 0, ssl.client]);
    into.extend_from_slice(&ssl.verify.to_be_bytes());
    tlv(extras::SSL_VERSION, ascii(ssl.version)?, into)?;
    tlv(extras::SSL_CN, ssl.common_name, into)?;
    tlv(extras::SSL_CIPHER, ascii(ssl.cipher)?, into)?;
    tlv(extras::SSL_SIG_ALG, ascii(ssl.signature)?, into)?;
    tlv(extras::SSL_KEY_ALG, ascii(ssl.key)?, into)?;
    tlv(extras::SSL_GROUP, ascii(ssl.group)?, into)?;
    tlv(extras::SSL_SIG_SCHEME, ascii(ssl.scheme)?, into)?;
    tlv(extras::SSL_CLIENT_CERT, ssl.certificate, into)?;
    let length = length(into.len() - start - TLV_HEAD)?;
    into[start + 1..start + TLV_HEAD].copy_from_slice(&length);
    Ok(())
}

fn tlv(kind: u8, value: Option<&[u8]>, into: &mut Vec<u8>) -> Result<(), Unwritable> {
    if let Some(value) = value {
        let [high, low] = length(value.len())?;
        into.extend_from_slice(&[kind, high, low]);
        into.extend_from_slice(value);
    }
    Ok(())
}

fn length(bytes: usize) -> Result<[u8; 2], Unwritable> {
    u16::try_from(bytes)
        .map(u16::to_be_bytes)
        .map_err(|_| Unwritable::TooLong)
}

fn ascii(text: Option<&str>) -> Result<Option<&[u8]>, Unwritable> {
    match text {
        Some(text) if !text.is_ascii() => Err(Unwritable::Text),
        _ => Ok(text.map(str::as_bytes)),
    }
}

fn family(endpoints: &Endpoints<'_>) -> u8 {
    let (family, transport) = match endpoints {
        Endpoints::Local | Endpoints::Unknown => return 0,
        Endpoints::Inet {
            transport,
            source,
            destination,
        } => match is_v4(source, destination) {
            true => (binary::INET, transport),
            false => (binary::INET6, transport),
        },
        Endpoints::Unix { transport, .. } => (binary::UNIX_FAMILY, transport),
    };
    match transport {
        Transport::Stream => family | binary::STREAM,
        Transport::Datagram => family | binary::DATAGRAM,
    }
}

fn is_v4(source: &SocketAddr, destination: &SocketAddr) -> bool {
    source.is_ipv4() && destination.is_ipv4()
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// In groups of digits, as section 2.1 has it: the standard library writes `::ffff:1.2.3.4`.
fn digits(address: Ipv6Addr) -> String {
    match address.to_ipv4_mapped() {
        Some(_) => {
            let [.., high, low] = address.segments();
            format!("::ffff:{high:x}:{low:x}")
        }
        None => address.to_string(),
    }
}
