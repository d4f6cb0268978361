//! Owns which certificates of clients are revoked: lists out of a file, what is wrong with them, and who asks them.
//!
//! Every certificate between a client and its issuer in `ca` is looked up, and one that no list speaks for is refused: who names
//! lists wants them asked, and a list that was left out must not let in whom it would have kept out. A list whose time is over
//! holds on, with a warning: what it revoked is revoked still, and refusing everybody would make an outage of a late job.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::Severity;
use evenkeel_config::plan::tls::Issuers;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::{ClientCertVerifierBuilder, WebPkiClientVerifier};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::load::{issuers, plain};
use super::terms;

/// Lists in one file; each certificate is looked up in them one after another.
const LISTS_MOST: usize = 100;

/// Who looks at clients' certificates. Cost: memory for each revoked one, some 100 bytes.
///
/// # Errors
/// What is wrong with the files, in words.
pub(super) fn verifier(by: &Issuers) -> Result<ClientCertVerifierBuilder, String> {
    let roots = Arc::new(issuers(&by.ca.bytes)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, terms::provider());
    match &by.crl {
        Some(crl) => Ok(builder.with_crls(lists(&crl.bytes)?)),
        None => Ok(builder),
    }
}

/// The lists of a PEM file, at least one.
fn lists(bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes)
        .take(LISTS_MOST + 1)
        .collect();
    match all {
        Ok(all) if all.is_empty() => Err(
            "no list (PEM, `-----BEGIN X509 CRL-----`) is in this file; `openssl crl -inform DER -in it -out list.pem` writes one".into(),
        ),
        Ok(all) if all.len() > LISTS_MOST => Err(format!("more than {LISTS_MOST} lists in one file")),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("not a readable PEM file: {}", plain(&error))),
    }
}

/// When the first of the lists is to be replaced, in seconds since 1970. None: there is none, or they say nothing of it.
pub(super) fn end(by: &Issuers) -> Option<i64> {
    let lists = lists(&by.crl.as_ref()?.bytes).ok()?;
    let ends = lists.iter().filter_map(|list| {
        let (_, list) = CertificateRevocationList::from_der(list).ok()?;
        Some(list.next_update()?.timestamp())
    });
    ends.min()
}

/// What is wrong with the lists; `now` is since 1970.
pub(super) fn findings(by: &Issuers, now: Duration) -> Vec<(Severity, &'static str, String)> {
    let Some(crl) = &by.crl else {
        return Vec::new();
    };
    let error = |message: String| vec![(Severity::Error, "crl", message)];
    let lists = match lists(&crl.bytes) {
        Ok(lists) => lists,
        Err(message) => return error(message),
    };
    let mut parsed = Vec::new();
    for (at, list) in lists.iter().enumerate() {
        match CertificateRevocationList::from_der(list) {
            Ok((_, list)) => parsed.push(list),
            Err(_) => return error(format!("list {} in it is no list", at + 1)),
        }
    }
    // What the library takes is the library's to say; issuers that are no use are told of where they are named.
    if let Ok(verifier) = verifier(by)
        && let Err(why) = verifier.build()
    {
        return error(format!(
            "a list in it is of no use ({why}): whole lists of version 2 are taken, neither deltas nor those of other issuers' certificates"
        ));
    }
    doubts(&by.ca.bytes, &parsed, now)
}

/// What will surprise.
fn doubts(
    ca: &[u8],
    lists: &[CertificateRevocationList<'_>],
    now: Duration,
) -> Vec<(Severity, &'static str, String)> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let mut doubts = Vec::new();
    for list in lists {
        let over = list.next_update().map(|next| now - next.timestamp());
        if let Some(over @ 1..) = over {
            let (issuer, days) = (list.issuer(), over / 86_400);
            let message = format!(
                "the list of `{issuer}` was to be replaced {days} days ago: it holds on, and who was revoked since is let in"
            );
            doubts.push((Severity::Warning, "crl_expired", message));
        }
    }
    for certificate in CertificateDer::pem_slice_iter(ca).flatten() {
        let Ok((_, issuer)) = X509Certificate::from_der(&certificate) else {
            continue;
        };
        let name = issuer.subject();
        if lists
            .iter()
            .all(|list| list.issuer().as_raw() != name.as_raw())
        {
            let message =
                format!("no list in it is of `{name}`: clients of this issuer are refused");
            doubts.push((Severity::Warning, "crl_missing", message));
        }
    }
    doubts
}
