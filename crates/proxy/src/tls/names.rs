//! Owns which certificate a client gets: by the name that it asks for, then by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureScheme};

use super::load::Certificate;

/// Certificates for one name, the best first.
type Choice = Vec<Arc<CertifiedKey>>;

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct Names {
    exact: HashMap<Box<str>, Choice>,
    /// By what stands behind `*.`; one label may stand for the star (RFC 6125 section 6.4.3).
    wildcard: HashMap<Box<str>, Choice>,
    /// For who asks for no name, or for one that nobody has.
    default: Choice,
}

impl Names {
    /// Of certificates in the order of the plan: of two for a name, ECDSA goes before RSA, then the first.
    pub(super) fn new(certificates: &[Certificate]) -> Self {
        let mut names = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: Choice::new(),
        };
        let mut ordered: Vec<_> = certificates.iter().collect();
        ordered.sort_by_key(|certificate| !certificate.is_ecdsa());
        for certificate in &ordered {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(behind) => (&mut names.wildcard, behind),
                    None => (&mut names.exact, &**name),
                };
                let choice = map.entry(name.into()).or_default();
                choice.push(certificate.key.clone());
            }
        }
        if let Some(first) = certificates.first() {
            // With those for the same names that others may verify.
            let alike = ordered.iter().filter(|one| one.names == first.names);
            names.default = alike.map(|one| one.key.clone()).collect();
        }
        names
    }

    /// Whether both names get the same certificate, the best for each.
    pub(super) fn are_one(&self, one: Option<&str>, other: Option<&str>) -> bool {
        let first = |name| self.choice(name).first().map(Arc::as_ptr);
        first(one) == first(other)
    }

    fn choice(&self, name: Option<&str>) -> &Choice {
        let lower = name.map(str::to_ascii_lowercase);
        let named = lower.as_deref().and_then(|name| {
            let behind = || name.split_once('.').map(|(_, behind)| behind);
            let exact = self.exact.get(name);
            exact.or_else(|| self.wildcard.get(behind()?))
        });
        named.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let choice = self.choice(hello.server_name());
        let takes = |key: &&Arc<CertifiedKey>| {
            verifies(key, hello.signature_schemes(), hello.cipher_suites())
        };
        choice.iter().find(takes).or(choice.first()).cloned()
    }
}

/// Whether a client with these can verify what the key signs. In TLS 1.2 the cipher names the signature too.
fn verifies(key: &CertifiedKey, schemes: &[SignatureScheme], suites: &[CipherSuite]) -> bool {
    let modern = |suite: &CipherSuite| {
        matches!(
            suite,
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS13_AES_256_GCM_SHA384
                | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        )
    };
    let ecdsa = |suite: &CipherSuite| {
        matches!(
            suite,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        )
    };
    let by_suite = key.key.algorithm() == rustls::SignatureAlgorithm::RSA
        || suites.iter().any(|suite| modern(suite) || ecdsa(suite));
    by_suite && key.key.choose_scheme(schemes).is_some()
}
