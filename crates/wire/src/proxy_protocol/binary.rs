//! Owns the reading of version 2 (section 2.2): 16 bytes that say how many more there are, addresses, TLVs.

use std::net::{IpAddr, SocketAddr};

use super::{BINARY_BEGIN, Endpoints, Extras, Header, Transport, Unreadable};

/// Bytes of the part whose length is always the same.
pub(super) const FIXED: usize = 16;

/// Bytes of a UNIX socket's address.
pub(super) const UNIX: usize = 108;

/// The nibble of the version.
pub(super) const VERSION: u8 = 0x20;
/// The nibbles of the commands.
pub(super) const LOCAL: u8 = 0;
pub(super) const PROXY: u8 = 1;
/// The nibbles of the families.
pub(super) const INET: u8 = 0x10;
pub(super) const INET6: u8 = 0x20;
pub(super) const UNIX_FAMILY: u8 = 0x30;
/// The nibbles of the transports.
pub(super) const STREAM: u8 = 1;
pub(super) const DATAGRAM: u8 = 2;

/// Whose addresses stand behind the fixed part.
#[derive(Clone, Copy)]
enum Kind {
    /// Nobody's; what stands there is skipped, but for a checksum that is wrong.
    Skipped(Endpoints<'static>),
    Inet(Transport),
    Inet6(Transport),
    Unix(Transport),
}

/// Reads a header whose signature is known to be right.
pub(super) fn read(input: &[u8], most: usize) -> Result<Option<Header<'_>>, Unreadable> {
    let mut fixed = input[BINARY_BEGIN.len()..].iter().copied();
    let Some(command) = fixed.next() else {
        return Ok(None);
    };
    let local = match (command & 0xF0, command & 0x0F) {
        (VERSION, LOCAL) => true,
        (VERSION, PROXY) => false,
        (VERSION, _) => return Err(Unreadable::Command),
        _ => return Err(Unreadable::Version),
    };
    let Some(family) = fixed.next() else {
        return Ok(None);
    };
    let kind = match local {
        // "discard the protocol block including the family which is ignored"
        true => Kind::Skipped(Endpoints::Local),
        false => kind(family)?,
    };
    let Some(high) = fixed.next() else {
        return Ok(None);
    };
    if FIXED + usize::from(high) * 256 > most {
        return Err(Unreadable::TooLong);
    }
    let Some(low) = fixed.next() else {
        return Ok(None);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > most {
        return Err(Unreadable::TooLong);
    }
    if length < FIXED + kind.bytes() {
        return Err(Unreadable::TooShort);
    }
    let Some(whole) = input.get(..length) else {
        return Ok(None);
    };
    kind.header(whole).map(Some)
}

/// What the byte of family and transport says.
fn kind(byte: u8) -> Result<Kind, Unreadable> {
    let transport = match byte & 0x0F {
        0 => None,
        STREAM => Some(Transport::Stream),
        DATAGRAM => Some(Transport::Datagram),
        _ => return Err(Unreadable::Family),
    };
    let kind: fn(Transport) -> Kind = match byte & 0xF0 {
        0 => |_| Kind::Skipped(Endpoints::Unknown),
        INET => Kind::Inet,
        INET6 => Kind::Inet6,
        UNIX_FAMILY => Kind::Unix,
        _ => return Err(Unreadable::Family),
    };
    Ok(transport.map_or(Kind::Skipped(Endpoints::Unknown), kind))
}

impl Kind {
    /// Bytes of both addresses, with their ports.
    const fn bytes(self) -> usize {
        match self {
            Self::Skipped(_) => 0,
            Self::Inet(_) => 12,
            Self::Inet6(_) => 36,
            Self::Unix(_) => 2 * UNIX,
        }
    }

    /// Reads a whole header, which has room for the addresses.
    fn header(self, whole: &[u8]) -> Result<Header<'_>, Unreadable> {
        let behind = FIXED + self.bytes();
        let addresses = &whole[FIXED..behind];
        let endpoints = match self {
            Self::Skipped(endpoints) => {
                // Without a family there are no addresses, and TLVs may stand there: what else they say is nobody's.
                if whole[FIXED - 3] & 0xF0 == 0
                    && matches!(Extras::read(whole, FIXED), Err(Unreadable::Checksum))
                {
                    return Err(Unreadable::Checksum);
                }
                return Ok(Header {
                    length: whole.len(),
                    endpoints,
                    extras: Extras::default(),
                });
            }
            Self::Inet(transport) => inet::<4>(transport, addresses),
            Self::Inet6(transport) => inet::<16>(transport, addresses),
            Self::Unix(transport) => {
                let (source, destination) = addresses.split_at(UNIX);
                Some(Endpoints::Unix {
                    transport,
                    source,
                    destination,
                })
            }
        };
        Ok(Header {
            length: whole.len(),
            endpoints: endpoints.ok_or(Unreadable::TooShort)?,
            extras: Extras::read(whole, behind)?,
        })
    }
}

/// Both addresses of `N` bytes, then both ports.
fn inet<const N: usize>(transport: Transport, bytes: &[u8]) -> Option<Endpoints<'static>>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk()?;
    let (destination_port, _) = rest.split_first_chunk()?;
    let address = |address: &[u8; N], port: &[u8; 2]| {
        SocketAddr::new(IpAddr::from(*address), u16::from_be_bytes(*port))
    };
    Some(Endpoints::Inet {
        transport,
        source: address(source, source_port),
        destination: address(destination, destination_port),
    })
}
