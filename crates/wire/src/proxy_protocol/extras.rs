//! Owns what a header of version 2 says beside the addresses: TLVs, a type of one byte, a length of two, a value (sections 2.2.1 to 2.2.8).
//!
//! Types that are not known are skipped, whatever is in them, the ranges for own use and for experiments too. Of those that are,
//! a value that breaks its type's rule refuses the header. One look at each; nothing is copied.

use super::{Unreadable, crc32c};

/// Types. Those in [`Ssl`] have numbers of their own, and are unknown elsewhere.
pub(super) const ALPN: u8 = 0x01;
pub(super) const AUTHORITY: u8 = 0x02;
pub(super) const CRC32C: u8 = 0x03;
pub(super) const UNIQUE_ID: u8 = 0x05;
pub(super) const SSL: u8 = 0x20;
pub(super) const SSL_VERSION: u8 = 0x21;
pub(super) const SSL_CN: u8 = 0x22;
pub(super) const SSL_CIPHER: u8 = 0x23;
pub(super) const SSL_SIG_ALG: u8 = 0x24;
pub(super) const SSL_KEY_ALG: u8 = 0x25;
pub(super) const SSL_GROUP: u8 = 0x26;
pub(super) const SSL_SIG_SCHEME: u8 = 0x27;
pub(super) const SSL_CLIENT_CERT: u8 = 0x28;
pub(super) const NETNS: u8 = 0x30;

/// Bytes of a unique id (section 2.2.5).
pub(super) const UNIQUE_ID_MOST: usize = 128;

/// Bytes of a type and a length.
pub(super) const TLV_HEAD: usize = 3;

/// What a sender says beside the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras<'a> {
    /// The application protocol in use, as in RFC 7301: `h2`, `http/1.1`.
    pub alpn: Option<&'a [u8]>,
    /// The host that the client named, as in the TLS extension `server_name`.
    pub authority: Option<&'a str>,
    /// What names this connection, through all proxies. At most 128 bytes.
    pub unique_id: Option<&'a [u8]>,
    /// How the client's TLS is, if it has one.
    pub ssl: Option<Ssl<'a>>,
    /// The name of the sender's network namespace. US-ASCII.
    pub netns: Option<&'a str>,
    /// The header has a checksum, and it was right; or shall have one.
    pub checksum: bool,
}

/// A client's TLS as the sender saw it (section 2.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// Bits of [`client`].
    pub client: u8,
    /// 0: the client's certificate was verified, if there was one: HAProxy 2.6 sends 0 without any. See [`Ssl::is_verified`].
    pub verify: u32,
    /// The version of TLS, as `TLSv1.3`. US-ASCII, as all texts here.
    pub version: Option<&'a str>,
    /// The common name in the client certificate: UTF-8 by the text, but what a certificate holds in practice.
    pub common_name: Option<&'a [u8]>,
    /// The cipher.
    pub cipher: Option<&'a str>,
    /// What signed the sender's certificate, as `RSA-SHA256`.
    pub signature: Option<&'a str>,
    /// The key in the sender's certificate, as `RSA2048`.
    pub key: Option<&'a str>,
    /// The group of the key exchange, as `secp256r1`.
    pub group: Option<&'a str>,
    /// What the sender signed the handshake with, as `rsa_pss_rsae_sha256`.
    pub scheme: Option<&'a str>,
    /// The client certificate, DER.
    pub certificate: Option<&'a [u8]>,
}

/// The bits of [`Ssl::client`].
pub mod client {
    /// The client speaks TLS.
    pub const SSL: u8 = 1;
    /// It gave a certificate on this connection.
    pub const CERT_CONNECTION: u8 = 2;
    /// It gave one at least once in the TLS state that this connection resumes.
    pub const CERT_RESUMED: u8 = 4;
}

impl<'a> Extras<'a> {
    /// Reads what stands in a whole header from `start` on.
    pub(super) fn read(header: &'a [u8], start: usize) -> Result<Self, Unreadable> {
        let mut extras = Self::default();
        let mut rest = &header[start..];
        while !rest.is_empty() {
            let (kind, value, behind) = split(rest)?;
            match kind {
                ALPN => once(&mut extras.alpn, value)?,
                AUTHORITY => once(&mut extras.authority, utf8(value)?)?,
                UNIQUE_ID if value.len() > UNIQUE_ID_MOST => return Err(Unreadable::TlvValue),
                UNIQUE_ID => once(&mut extras.unique_id, value)?,
                SSL => once(&mut extras.ssl, Ssl::read(value)?)?,
                NETNS => once(&mut extras.netns, ascii(value)?)?,
                CRC32C if extras.checksum => return Err(Unreadable::TlvRepeated),
                CRC32C => {
                    let told = value.try_into().map_err(|_| Unreadable::TlvValue)?;
                    let end = header.len() - behind.len();
                    let before = &header[..end - value.len()];
                    if crc32c::of(&[before, &[0; 4], behind]) != u32::from_be_bytes(told) {
                        return Err(Unreadable::Checksum);
                    }
                    extras.checksum = true;
                }
                _ => {}
            }
            rest = behind;
        }
        Ok(extras)
    }
}

impl<'a> Ssl<'a> {
    /// Whether the client gave a certificate that was verified. A verification of 0 alone does not say so.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        let gave = self.client & (client::CERT_CONNECTION | client::CERT_RESUMED) != 0;
        gave && self.client & client::SSL != 0 && self.verify == 0
    }

    fn read(value: &'a [u8]) -> Result<Self, Unreadable> {
        let (&[client, verify @ ..], mut rest) =
            value.split_first_chunk::<5>().ok_or(Unreadable::TlvValue)?;
        let mut ssl = Self {
            client,
            verify: u32::from_be_bytes(verify),
            ..Self::default()
        };
        while !rest.is_empty() {
            let (kind, value, behind) = split(rest)?;
            match kind {
                SSL_VERSION => once(&mut ssl.version, ascii(value)?)?,
                SSL_CN => once(&mut ssl.common_name, value)?,
                SSL_CIPHER => once(&mut ssl.cipher, ascii(value)?)?,
                SSL_SIG_ALG => once(&mut ssl.signature, ascii(value)?)?,
                SSL_KEY_ALG => once(&mut ssl.key, ascii(value)?)?,
                SSL_GROUP => once(&mut ssl.group, ascii(value)?)?,
                SSL_SIG_SCHEME => once(&mut ssl.scheme, ascii(value)?)?,
                SSL_CLIENT_CERT => once(&mut ssl.certificate, value)?,
                _ => {}
            }
            rest = behind;
        }
        Ok(ssl)
    }
}

/// The first type, its value, and what is behind it.
fn split(rest: &[u8]) -> Result<(u8, &[u8], &[u8]), Unreadable> {
    let (&[kind, high, low], rest) = rest
        .split_first_chunk::<TLV_HEAD>()
        .ok_or(Unreadable::TlvLength)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, behind) = rest.split_at_checked(length).ok_or(Unreadable::TlvLength)?;
    Ok((kind, value, behind))
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Unreadable> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Unreadable::TlvRepeated),
    }
}

fn utf8(value: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(value).map_err(|_| Unreadable::TlvValue)
}

fn ascii(value: &[u8]) -> Result<&str, Unreadable> {
    match value.is_ascii() {
        true => utf8(value),
        false => Err(Unreadable::TlvValue),
    }
}
