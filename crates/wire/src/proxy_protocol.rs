//! Owns the header that a proxy puts before a connection's first byte: who is at the other end (HAProxy's `doc/proxy-protocol.txt`,
//! both versions; the sections named below are its own).
//!
//! Whether there is a header is configured and never guessed: "it would open a major security breach" (section 2). What no rule of
//! the text allows is refused, as early as the first byte that cannot be part of a header.

use std::fmt;
use std::net::SocketAddr;

pub use self::extras::{Extras, Ssl, client};
pub use self::write::{Unwritable, write_binary, write_text};

/// Version 2 (section 2.2).
mod binary;

/// CRC32c (RFC 9260, appendix A).
mod crc32c;

/// What stands behind the addresses (sections 2.2.1 to 2.2.8).
mod extras;

/// Version 1 (section 2.1).
mod text;

/// Headers to a backend.
mod write;

/// What a header of version 1 begins with.
pub const TEXT_BEGIN: &[u8; 6] = b"PROXY ";

/// What a header of version 2 begins with.
pub const BINARY_BEGIN: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its CR LF (section 2.1).
pub const TEXT_MOST: usize = 107;

/// The longest header of version 2 by default, in bytes. The text wants senders to stay within 536 (section 2), which a name, a UNIX
/// socket's addresses and a client's certificate each may pass; 4 KiB hold all of them, and the format's own end, 64 KiB, is more than
/// anybody needs who has not been checked yet.
pub const BINARY_MOST: usize = 4096;

/// Between whom a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints<'a> {
    /// The sender's own connection, as its health checks are (`LOCAL`): the real addresses hold.
    Local,
    /// The sender cannot say (`UNKNOWN`; an unspecified family or transport): the real addresses hold.
    Unknown,
    /// Addresses and ports. An IPv4 address may come as IPv6 (`::ffff:10.0.0.1`): `IpAddr::to_canonical` before it is compared.
    Inet {
        /// What the ports are of.
        transport: Transport,
        /// The client.
        source: SocketAddr,
        /// What the client connected to.
        destination: SocketAddr,
    },
    /// Addresses of UNIX sockets, as they stand in `sun_path`: 108 bytes when read, zeros at the end; when written, at most so many.
    Unix {
        /// What kind of socket.
        transport: Transport,
        /// The client.
        source: &'a [u8],
        /// What the client connected to.
        destination: &'a [u8],
    },
}

/// Kinds of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, or a UNIX stream.
    Stream,
    /// UDP, or UNIX datagrams.
    Datagram,
}

/// A header that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its bytes; what is behind them is the connection's own.
    pub length: usize,
    /// Between whom.
    pub endpoints: Endpoints<'a>,
    /// What else the sender says; nothing in version 1, nor where the endpoints are local or unknown.
    pub extras: Extras<'a>,
}

/// Why bytes are no header. The connection can only be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// Neither version begins so.
    Begin,
    /// A version other than 2 behind the signature of version 2.
    Version,
    /// A command other than `LOCAL` and `PROXY`.
    Command,
    /// An address family or a transport that the text does not have.
    Family,
    /// An address of version 1 that is none of its family.
    Address,
    /// A port of version 1 that is not 0 to 65,535 in plain digits.
    Port,
    /// A line of version 1 that ends without CR LF, or a CR or LF within it.
    LineEnd,
    /// A line of version 1 over [`TEXT_MOST`], or a header of version 2 over the limit.
    TooLong,
    /// A header of version 2 without room for the addresses of its family.
    TooShort,
    /// A TLV that reaches over the end of what it stands in.
    TlvLength,
    /// A TLV whose value is none of its type.
    TlvValue,
    /// A type that may stand once and stands twice. The text is silent; two readers would take two different ones.
    TlvRepeated,
    /// The checksum is not that of the header.
    Checksum,
}

impl Unreadable {
    /// All of them, in the order of their numbers.
    pub const ALL: &'static [Self] = &[
        Self::Begin,
        Self::Version,
        Self::Command,
        Self::Family,
        Self::Address,
        Self::Port,
        Self::LineEnd,
        Self::TooLong,
        Self::TooShort,
        Self::TlvLength,
        Self::TlvValue,
        Self::TlvRepeated,
        Self::Checksum,
    ];

    /// The word for it in logs, metrics and documentation.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Begin => "proxy_begin",
            Self::Version => "proxy_version",
            Self::Command => "proxy_command",
            Self::Family => "proxy_family",
            Self::Address => "proxy_address",
            Self::Port => "proxy_port",
            Self::LineEnd => "proxy_line_end",
            Self::TooLong => "proxy_too_long",
            Self::TooShort => "proxy_too_short",
            Self::TlvLength => "proxy_tlv_length",
            Self::TlvValue => "proxy_tlv_value",
            Self::TlvRepeated => "proxy_tlv_repeated",
            Self::Checksum => "proxy_checksum",
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::error::Error for Unreadable {}

/// Reads the header at the begin of `input`, which is all that came so far. None: it is the begin of one, and is asked about again
/// with more bytes behind the same ones. Headers of version 2 over `most` bytes are refused ([`BINARY_MOST`]). Allocates nothing, looks at
/// no byte behind the header, and at no more than 16 of a header of version 2 until that is whole.
///
/// The begin, the command, the family, the length and every byte of a line of version 1 are judged as they come; addresses and TLVs of
/// version 2 when the header is whole, for so the text wants it.
///
/// # Errors
/// Why this is no header. No more bytes make it one, and with more of them it is refused for the same reason.
pub fn read(input: &[u8], most: usize) -> Result<Option<Header<'_>>, Unreadable> {
    let begins = |begin: &[u8]| input.iter().zip(begin).all(|(one, other)| one == other);
    match (begins(TEXT_BEGIN), begins(BINARY_BEGIN)) {
        (false, false) => Err(Unreadable::Begin),
        (true, false) if input.len() > TEXT_BEGIN.len() => text::read(input),
        (false, true) if input.len() > BINARY_BEGIN.len() => binary::read(input, most),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
