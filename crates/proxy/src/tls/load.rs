//! Owns what certificates and keys are worth: bytes of files in, a certificate that can be shown or all that is wrong out. Opens
//! nothing and asks no clock.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::Plan;
use evenkeel_config::plan::tls::{
    CertificatePlan, ClientAuth, Material, Tickets, TlsPlan, UpstreamTls, ticket_keys,
};
use evenkeel_config::{Problem, Severity};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore, SignatureAlgorithm};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{crl, terms};

/// Certificates in one file; a chain has three.
const CHAIN_MOST: usize = 16;

/// Which of several files something is wrong with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The certificate.
    Cert,
    /// The key.
    Key,
    /// The OCSP answer.
    Ocsp,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// With what.
    pub part: Part,
    /// Whether it can be served all the same.
    pub severity: Severity,
    /// Which case: a stable word.
    pub word: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// A certificate that can be shown.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// With its key.
    pub(super) key: Arc<CertifiedKey>,
    /// The names that it is for, in lower case; a wildcard as it stands.
    pub names: Vec<Box<str>>,
    /// From when it holds, in seconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
}

impl Certificate {
    /// What it signs with is of the shorter and faster kind.
    pub(super) fn is_ecdsa(&self) -> bool {
        self.key.key.algorithm() != SignatureAlgorithm::RSA
    }
}

/// Loads a certificate with its key; `now` is since 1970. Findings are warnings where there is a certificate.
pub fn load(
    cert: &[u8],
    key: &[u8],
    ocsp: Option<&[u8]>,
    now: Duration,
) -> (Option<Certificate>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut find = |part, severity, word, message: String| {
        findings.push(Finding {
            part,
            severity,
            word,
            message,
        });
    };
    let chain = chain(cert)
        .map_err(|message| find(Part::Cert, Severity::Error, "certificate", message))
        .ok();
    let facts = chain.as_ref().and_then(|chain| {
        facts(chain)
            .map_err(|message| find(Part::Cert, Severity::Error, "certificate", message))
            .ok()
    });
    let key = private_key(key)
        .map_err(|message| find(Part::Key, Severity::Error, "key", message))
        .ok();
    for (severity, word, message) in facts.iter().flat_map(|facts| facts.doubts(now)) {
        find(Part::Cert, severity, word, message);
    }
    let ocsp = ocsp.map(<[u8]>::to_vec);
    if ocsp.as_deref().is_some_and(|bytes| !is_der(bytes)) {
        let message = "no OCSP answer (DER); `openssl ocsp -respout` writes one";
        find(Part::Ocsp, Severity::Error, "ocsp", message.into());
    }
    let loaded = match (chain, key, facts) {
        (Some(chain), Some(key), Some(facts)) => {
            match CertifiedKey::from_der(chain, key, &terms::provider()) {
                Ok(certified) => Some((CertifiedKey { ocsp, ..certified }, facts)),
                Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                    let message = "this key is not the certificate's";
                    find(Part::Key, Severity::Error, "key_mismatch", message.into());
                    None
                }
                Err(error) => {
                    let message = format!(
                        "not a usable key ({error}): RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521, or Ed25519"
                    );
                    find(Part::Key, Severity::Error, "key", message);
                    None
                }
            }
        }
        _ => None,
    };
    let broken = findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    let certificate = loaded
        .filter(|_| !broken)
        .map(|(certified, facts)| Certificate {
            key: Arc::new(certified),
            names: facts.names,
            not_before: facts.not_before,
            not_after: facts.not_after,
        });
    (certificate, findings)
}

/// Whether these bytes are one value of DER, and nothing else.
fn is_der(bytes: &[u8]) -> bool {
    x509_parser::der_parser::parse_der(bytes).is_ok_and(|(rest, _)| rest.is_empty())
}

/// The certificates of a PEM file, at least one.
pub(super) fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes)
        .take(CHAIN_MOST + 1)
        .collect();
    match all {
        Ok(all) if all.is_empty() => {
            Err("no certificate (PEM, `-----BEGIN CERTIFICATE-----`) is in this file".into())
        }
        Ok(all) if all.len() > CHAIN_MOST => {
            Err(format!("more than {CHAIN_MOST} certificates in one chain"))
        }
        Ok(all) => Ok(all),
        Err(error) => Err(format!("not a readable PEM file: {}", plain(&error))),
    }
}

fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if has(bytes, b"ENCRYPTED PRIVATE KEY") => {
            "this key is encrypted, and nobody is there to be asked for its password; `openssl pkey -in it -out plain.key` writes it plain".into()
        }
        pem::Error::NoItemsFound => {
            "no key (PEM: PKCS#8, SEC1 or PKCS#1) is in this file".into()
        }
        error => format!("not a readable PEM file: {}", plain(&error)),
    })
}

/// What is wrong with a PEM file, without a byte of it.
pub(super) fn plain(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "an end line is missing",
        pem::Error::IllegalSectionStart { .. } => "a begin line is broken",
        pem::Error::Base64Decode(_) => "its text is broken",
        _ => "it is broken",
    }
}

// Not `memmem`: a second caller keeps the search of wildcards from being inlined, which costs each of them 5 %.
fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// What stands in a certificate.
struct Facts {
    names: Vec<Box<str>>,
    not_before: i64,
    not_after: i64,
    in_order: bool,
}

fn facts(chain: &[CertificateDer<'_>]) -> Result<Facts, String> {
    let parse = |certificate: &CertificateDer<'_>| {
        X509Certificate::from_der(certificate)
            .map(|(_, parsed)| {
                (
                    parsed.subject().as_raw().to_vec(),
                    parsed.issuer().as_raw().to_vec(),
                )
            })
            .map_err(|_| "a certificate in it is no certificate".to_owned())
    };
    let names: Result<Vec<_>, _> = chain.iter().map(parse).collect();
    let in_order = match &names?[..] {
        [(_, issuer), (subject, _), ..] => issuer == subject,
        _ => true,
    };
    let leaf = chain.first().ok_or("no certificate")?;
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|_| "a certificate in it is no certificate")?;
    let mut names = Vec::new();
    if let Ok(Some(all)) = leaf.subject_alternative_name() {
        for name in &all.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push(name.to_ascii_lowercase().into());
            }
        }
    }
    Ok(Facts {
        names,
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
        in_order,
    })
}

impl Facts {
    /// What clients will not like.
    fn doubts(&self, now: Duration) -> Vec<(Severity, &'static str, String)> {
        let mut doubts: Vec<_> = self.timely(now).into_iter().collect();
        if !self.in_order {
            let message = "the second certificate did not issue the first: clients may not find the way to an issuer they trust; order the chain from the server's own upwards";
            doubts.push((Severity::Warning, "chain", message.into()));
        }
        if self.names.is_empty() {
            let message = "no alternative name stands in it: clients take it for no host";
            doubts.push((Severity::Warning, "names", message.into()));
        }
        doubts
    }

    /// Whether its time is now. A certificate whose time is over or to come is served all the same: clients refuse it, and say so.
    fn timely(&self, now: Duration) -> Option<(Severity, &'static str, String)> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let days = |seconds: i64| seconds / 86_400;
        if now > self.not_after {
            let ago = days(now - self.not_after);
            let message =
                format!("this certificate expired {ago} days ago: clients will refuse it");
            return Some((Severity::Warning, "expired", message));
        }
        if now < self.not_before {
            let to_come = days(self.not_before - now);
            let message = format!(
                "this certificate begins to hold in {to_come} days: until then clients will refuse it"
            );
            return Some((Severity::Warning, "not_yet_valid", message));
        }
        None
    }
}

/// The issuers of a PEM file.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn issuers(bytes: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate =
            certificate.map_err(|error| format!("not a readable PEM file: {}", plain(&error)))?;
        roots
            .add(certificate)
            .map_err(|_| "a certificate in it is no issuer's certificate".to_owned())?;
    }
    match roots.is_empty() {
        true => Err("no certificate (PEM, `-----BEGIN CERTIFICATE-----`) is in this file".into()),
        false => Ok(roots),
    }
}

/// All that is wrong with the certificates, keys and issuers of a plan, at the places that name them; `now` is since 1970.
#[must_use]
pub fn problems(plan: &Plan, now: Duration) -> Vec<Problem> {
    let mut problems = Vec::new();
    let listeners = plan.listeners.iter().filter_map(|one| one.tls.as_ref());
    for tls in listeners.chain(&plan.admin.tls) {
        listener_problems(tls, now, &mut problems);
    }
    for tls in plan
        .services
        .iter()
        .filter_map(|one| one.upstream.tls.as_deref())
    {
        upstream_problems(tls, now, &mut problems);
    }
    if let Some(file) = &plan.affinity_keys
        && let Err(message) = ticket_keys(&file.bytes)
    {
        problems.push(problem(file, Severity::Error, "affinity_keys", &message));
    }
    problems.sort_by_key(|problem| problem.at);
    problems
}

fn listener_problems(tls: &TlsPlan, now: Duration, problems: &mut Vec<Problem>) {
    for CertificatePlan { cert, key, ocsp } in &tls.certificates {
        let (_, findings) = load(
            &cert.bytes,
            &key.bytes,
            ocsp.as_ref().map(|ocsp| &*ocsp.bytes),
            now,
        );
        problems.extend(findings.into_iter().map(|finding| {
            let file = match finding.part {
                Part::Cert => cert,
                Part::Key => key,
                Part::Ocsp => ocsp.as_ref().unwrap_or(cert),
            };
            problem(file, finding.severity, finding.word, &finding.message)
        }));
    }
    if let Tickets::Shared(file) = &tls.tickets
        && let Err(message) = ticket_keys(&file.bytes)
    {
        problems.push(problem(file, Severity::Error, "tickets", &message));
    }
    if let ClientAuth::Request(by) | ClientAuth::Require(by) = &tls.client_auth {
        if let Err(message) = issuers(&by.ca.bytes) {
            problems.push(problem(&by.ca, Severity::Error, "certificate", &message));
        }
        if let Some(crl) = &by.crl {
            let findings = crl::findings(by, now).into_iter();
            problems.extend(
                findings.map(|(severity, word, message)| problem(crl, severity, word, &message)),
            );
        }
    }
}

fn upstream_problems(tls: &UpstreamTls, now: Duration, problems: &mut Vec<Problem>) {
    if let Some(ca) = &tls.ca
        && let Err(message) = issuers(&ca.bytes)
    {
        problems.push(problem(ca, Severity::Error, "certificate", &message));
    }
    if let Some((cert, key)) = &tls.certificate {
        let (_, findings) = load(&cert.bytes, &key.bytes, None, now);
        // A client's certificate needs no name.
        let findings = findings.into_iter().filter(|one| one.word != "names");
        problems.extend(findings.map(|finding| {
            let file = match finding.part {
                Part::Key => key,
                _ => cert,
            };
            problem(file, finding.severity, finding.word, &finding.message)
        }));
    }
}

fn problem(file: &Material, severity: Severity, word: &'static str, message: &str) -> Problem {
    Problem {
        at: file.at,
        severity,
        word,
        message: format!("{}: {message}", file.path.display()),
        also: None,
    }
}
