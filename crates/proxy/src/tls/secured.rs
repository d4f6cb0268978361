//! Owns what was agreed on in a handshake, and who the peer has shown to be.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use evenkeel_wire::base64;
use rustls::{CipherSuite, Connection, HandshakeKind, ProtocolVersion};
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::load::chain;

/// What was agreed on.
#[derive(Clone, Debug)]
pub struct Secured {
    /// Which version.
    pub version: Version,
    /// The name that the client asked for, in lower case.
    pub sni: Option<Box<str>>,
    /// The cipher, by its name at IANA.
    pub cipher: Option<&'static str>,
    /// What is spoken over it (RFC 7301). None: nobody said.
    pub alpn: Option<Cow<'static, [u8]>>,
    /// The group of the key exchange, as rustls writes it.
    pub group: Option<&'static str>,
    /// Without a whole handshake.
    pub resumed: bool,
    /// Who the client is, if it has shown a certificate.
    pub client: Option<Arc<Identity>>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

impl Version {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

/// What of it an observation keeps: plain numbers and names that last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Which version.
    pub version: Version,
    /// The cipher.
    pub cipher: Option<&'static str>,
    /// The group of the key exchange.
    pub group: Option<&'static str>,
    /// Without a whole handshake.
    pub resumed: bool,
}

impl Secured {
    /// Whether HTTP/2 is spoken, and nothing else.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.alpn.as_deref() == Some(b"h2")
    }

    /// What an observation keeps.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        Agreed {
            version: self.version,
            cipher: self.cipher,
            group: self.group,
            resumed: self.resumed,
        }
    }

    pub(super) fn of(tls: &Connection) -> Self {
        let sni = match tls {
            Connection::Server(server) => server.server_name(),
            Connection::Client(_) => None,
        };
        let group = tls.negotiated_key_exchange_group();
        let leaf = tls.peer_certificates().and_then(<[_]>::first);
        let client = match tls {
            Connection::Server(_) => leaf.map(|leaf| Arc::new(Identity::of(leaf))),
            Connection::Client(_) => None,
        };
        Self {
            version: match tls.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
                _ => Version::Tls13,
            },
            sni: sni.map(Into::into),
            cipher: tls
                .negotiated_cipher_suite()
                .and_then(|one| name(one.suite())),
            alpn: tls.alpn_protocol().map(spoken),
            group: group.and_then(|group| group.name().as_str()),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            client,
        }
    }
}

/// The name that IANA has for it.
fn name(cipher: CipherSuite) -> Option<&'static str> {
    match cipher {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        older => older.as_str(),
    }
}

/// The name of a protocol; those of HTTP nobody has to keep.
fn spoken(alpn: &[u8]) -> Cow<'static, [u8]> {
    let all: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];
    let known = all.into_iter().find(|one| *one == alpn);
    known.map_or_else(|| Cow::Owned(alpn.to_vec()), Cow::Borrowed)
}

/// Who a client is, by a certificate that was verified.
#[derive(Debug)]
pub struct Identity {
    /// The subject, like `CN=a,O=b` (RFC 4514: the last of the certificate first); plain ASCII.
    pub subject: Box<str>,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: Box<str>,
    /// Its alternative names, like `DNS:a.example,URI:spiffe://b`; plain ASCII.
    pub names: Box<str>,
    /// All of it as fields for backends, each with its line's end.
    pub(crate) fields: Box<[u8]>,
}

impl Identity {
    /// Whom the first certificate of a PEM file makes of who shows it. Nothing is verified.
    ///
    /// # Errors
    /// There is no certificate in it, in words.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        let chain = chain(pem)?;
        let leaf = chain.first().ok_or("no certificate")?;
        Ok(Self::of(leaf))
    }

    /// Its alternative names, one by one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.split(',').filter(|name| !name.is_empty())
    }

    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        Self::of(b"")
    }

    fn of(certificate: &[u8]) -> Self {
        let mut fingerprint = String::new();
        for byte in digest(&SHA256, certificate).as_ref() {
            // Writing to a text does not fail.
            let _ = write!(fingerprint, "{byte:02x}");
        }
        let (mut subject, mut names) = (String::new(), String::new());
        // Verified, so that it can be read.
        if let Ok((_, parsed)) = X509Certificate::from_der(certificate) {
            put_subject(&mut subject, parsed.subject());
            if let Ok(Some(all)) = parsed.subject_alternative_name() {
                for name in &all.value.general_names {
                    put_name(&mut names, name);
                }
            }
        }
        let mut fields = String::from("Client-Cert: :");
        fields.push_str(&base64::text(certificate));
        fields.push_str(":\r\n");
        for (name, value) in [
            ("X-Client-Cert-Subject", &subject),
            ("X-Client-Cert-Fingerprint", &fingerprint),
            ("X-Client-Cert-San", &names),
        ] {
            if !value.is_empty() {
                fields.extend([name, ": ", value, "\r\n"]);
            }
        }
        Self {
            subject: subject.into(),
            fingerprint: fingerprint.into(),
            names: names.into(),
            fields: fields.into_bytes().into(),
        }
    }
}

fn put_name(out: &mut String, name: &GeneralName<'_>) {
    let (kind, value) = match name {
        GeneralName::DNSName(name) => ("DNS", (*name).to_owned()),
        GeneralName::URI(name) => ("URI", (*name).to_owned()),
        GeneralName::RFC822Name(name) => ("email", (*name).to_owned()),
        GeneralName::IPAddress([a, b, c, d]) => ("IP", format!("{a}.{b}.{c}.{d}")),
        GeneralName::IPAddress(bytes) => match <[u8; 16]>::try_from(*bytes) {
            Ok(bytes) => ("IP", std::net::Ipv6Addr::from(bytes).to_string()),
            Err(_) => return,
        },
        _ => return,
    };
    let comma = if out.is_empty() { "" } else { "," };
    out.extend([comma, kind, ":"]);
    // A comma within a name would part it.
    put_plain(out, &value, ",\\");
}

/// What stands in a name cannot pass for another part of it: an issuer may take any text for a common name.
fn put_subject(out: &mut String, name: &X509Name<'_>) {
    let parts: Vec<_> = name.iter().collect();
    for (at, part) in parts.iter().rev().enumerate() {
        for (beside, attribute) in part.iter().enumerate() {
            out.push_str(match (at, beside) {
                (0, 0) => "",
                (_, 0) => ",",
                _ => "+",
            });
            let kind = attribute.attr_type();
            match oid2abbrev(kind, oid_registry()) {
                Ok(short) => out.push_str(short),
                Err(_) => out.push_str(&kind.to_id_string()),
            }
            out.push('=');
            match attribute.as_str() {
                Ok(value) => put_plain(out, value, ",+;<>#\"\\"),
                Err(_) => {
                    out.push('#');
                    for byte in attribute.as_slice() {
                        let _ = write!(out, "{byte:02x}");
                    }
                }
            }
        }
    }
}

/// Writes a text as printable ASCII; what is not, and what is in `but`, as `\` and two hexadecimal digits per byte (RFC 4514
/// section 2.4): whoever issued it may have written anything.
fn put_plain(out: &mut String, text: &str, but: &str) {
    for byte in text.bytes() {
        let char = char::from(byte);
        if (byte.is_ascii_graphic() || byte == b' ') && !but.contains(char) {
            out.push(char);
        } else {
            let _ = write!(out, "\\{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_issuer_wrote_breaks_no_field() {
        let mut out = String::new();
        put_plain(&mut out, "CN=a\r\nX: b,é\\", ",\\");
        assert_eq!(out, "CN=a\\0d\\0aX: b\\2c\\c3\\a9\\5c");
    }
}
