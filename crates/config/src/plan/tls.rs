//! Owns what is planned of TLS: files as they were read, and what clients and backends are held to. Whether a certificate is of
//! use, who loads it knows.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Plan, TracesPlan};
use crate::problem::At;

/// What a file held when the configuration was read. Compared by name and content; never shown.
#[derive(Clone)]
pub struct Material {
    /// Its name.
    pub path: PathBuf,
    /// What it held.
    pub bytes: Arc<[u8]>,
    /// Where it is named: what is wrong with it is said there.
    pub at: At,
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.bytes == other.bytes
    }
}

impl Eq for Material {}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.path.display(), self.bytes.len())
    }
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPlan {
    /// Which versions and ciphers.
    pub policy: Policy,
    /// At least one; the first is for who names no other's name.
    pub certificates: Vec<CertificatePlan>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Whether clients come back without a whole handshake.
    pub tickets: Tickets,
    /// The value of `Strict-Transport-Security`; none: it is not said.
    pub hsts: Option<Arc<str>>,
    /// What is spoken over it, best first (RFC 7301); nothing: that is not agreed on.
    pub spoken: &'static [&'static str],
    /// The same of a TCP listener, where it is not ours to know.
    pub alpn: Vec<Arc<str>>,
}

/// Which versions and ciphers, as Mozilla recommends (guidelines 5.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.2 too, with ephemeral keys and authenticated ciphers only.
    #[default]
    Intermediate,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePlan {
    /// The chain, as PEM; the server's own first.
    pub cert: Material,
    /// Its key, as PEM: PKCS#8, SEC1 or PKCS#1.
    pub key: Material,
    /// What its issuer says of it, as DER.
    pub ocsp: Option<Material>,
}

/// Whether clients show certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked; one that is shown must be of these issuers.
    Request(Issuers),
    /// Without one of these issuers there is no connection.
    Require(Issuers),
}

/// Whose certificates of clients are taken, and which of them no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuers {
    /// The issuers, as PEM.
    pub ca: Material,
    /// What they revoked: lists as PEM, one or more. None: nothing is asked.
    pub crl: Option<Material>,
}

impl From<Material> for Issuers {
    fn from(ca: Material) -> Self {
        Self { ca, crl: None }
    }
}

/// How clients come back without a whole handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tickets {
    /// They do not.
    Off,
    /// With tickets under keys of this instance's own, replaced this often.
    Own(Duration),
    /// With tickets under the keys of a file, so that they hold at other instances and after a start: 1 to 3 keys of
    /// [`TICKET_KEY`] bytes; the first seals, all open.
    Shared(Material),
}

/// Bytes of a key for tickets.
pub const TICKET_KEY: usize = 32;

/// Whether a file's bytes are keys for tickets.
///
/// # Errors
/// Why not, in words: not 1 to 3 keys, or one that anybody would guess.
pub fn ticket_keys(bytes: &[u8]) -> Result<(), String> {
    let (keys, rest) = bytes.as_chunks::<TICKET_KEY>();
    if !(1..=3).contains(&keys.len()) || !rest.is_empty() {
        let length = bytes.len();
        return Err(format!(
            "1 to 3 keys of {TICKET_KEY} bytes are expected, not {length} bytes; `openssl rand 32` makes one"
        ));
    }
    let guessed = |key: &[u8; TICKET_KEY]| key.iter().all(|byte| *byte == key[0]);
    match keys.iter().position(guessed) {
        Some(at) => Err(format!(
            "key {} is one byte again and again, which anybody would guess; `openssl rand 32` makes one",
            at + 1
        )),
        None => Ok(()),
    }
}

/// TLS to backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Issuers that are trusted, as PEM; none: the system's.
    pub ca: Option<Material>,
    /// The name that is asked for and must stand in the certificate; none: the backend's host.
    pub sni: Option<Arc<str>>,
    /// Any certificate will do: who answers is not known.
    pub unverified: bool,
    /// What is shown to backends that ask.
    pub certificate: Option<(Material, Material)>,
    /// What may be spoken over it, best first (RFC 7301).
    pub spoken: &'static [&'static str],
}

impl Plan {
    /// Every file of its TLS, that of the admin address too, and of the keys of its cookies.
    #[must_use]
    pub fn materials(&self) -> Vec<&Material> {
        let listeners = self.listeners.iter().filter_map(|one| one.tls.as_ref());
        let mut all: Vec<_> = listeners.flat_map(TlsPlan::materials).collect();
        for tls in self
            .services
            .iter()
            .filter_map(|one| one.upstream.tls.as_ref())
        {
            all.extend(&tls.ca);
            all.extend(tls.certificate.iter().flat_map(|(cert, key)| [cert, key]));
        }
        all.extend(self.admin.tls.iter().flat_map(TlsPlan::materials));
        all.extend(&self.affinity_keys);
        all.extend(self.traces.as_ref().and_then(TracesPlan::material));
        all.extend(self.alerts.materials());
        all
    }

    /// Those of them, and the file of tokens, that nobody else may write: what they hold is believed, or seals.
    #[must_use]
    pub fn keys(&self) -> Vec<&Material> {
        let listeners = self.listeners.iter().filter_map(|one| one.tls.as_ref());
        let mut all = Vec::new();
        for tls in listeners.chain(&self.admin.tls) {
            all.extend(tls.certificates.iter().map(|one| &one.key));
            if let Tickets::Shared(file) = &tls.tickets {
                all.push(file);
            }
        }
        let services = self.services.iter();
        let upstream = services.filter_map(|one| one.upstream.tls.as_ref());
        all.extend(upstream.filter_map(|tls| tls.certificate.as_ref().map(|(_, key)| key)));
        all.extend(self.admin.tokens.iter().map(|tokens| &tokens.file));
        all.extend(&self.affinity_keys);
        all.extend(self.alerts.secrets());
        all
    }

    /// [`materials`](Self::materials), to be read again.
    pub fn materials_mut(&mut self) -> Vec<&mut Material> {
        let listeners = self.listeners.iter_mut().filter_map(|one| one.tls.as_mut());
        let mut all: Vec<_> = listeners.flat_map(TlsPlan::materials_mut).collect();
        for tls in self
            .services
            .iter_mut()
            .filter_map(|one| one.upstream.tls.as_mut())
        {
            let UpstreamTls {
                ca, certificate, ..
            } = Arc::make_mut(tls);
            all.extend(ca);
            all.extend(certificate.iter_mut().flat_map(|(cert, key)| [cert, key]));
        }
        let admin = self.admin.tls.iter_mut();
        all.extend(admin.flat_map(TlsPlan::materials_mut));
        all.extend(&mut self.affinity_keys);
        all.extend(self.traces.as_mut().and_then(TracesPlan::material_mut));
        all.extend(self.alerts.materials_mut());
        all
    }
}

impl TlsPlan {
    fn materials(&self) -> Vec<&Material> {
        let mut all = Vec::new();
        for CertificatePlan { cert, key, ocsp } in &self.certificates {
            all.extend([cert, key]);
            all.extend(ocsp);
        }
        if let ClientAuth::Request(by) | ClientAuth::Require(by) = &self.client_auth {
            all.push(&by.ca);
            all.extend(&by.crl);
        }
        if let Tickets::Shared(file) = &self.tickets {
            all.push(file);
        }
        all
    }

    fn materials_mut(&mut self) -> Vec<&mut Material> {
        let mut all = Vec::new();
        for CertificatePlan { cert, key, ocsp } in &mut self.certificates {
            all.extend([cert, key]);
            all.extend(ocsp);
        }
        if let ClientAuth::Request(by) | ClientAuth::Require(by) = &mut self.client_auth {
            all.push(&mut by.ca);
            all.extend(&mut by.crl);
        }
        if let Tickets::Shared(file) = &mut self.tickets {
            all.push(file);
        }
        all
    }
}
