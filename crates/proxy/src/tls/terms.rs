//! Owns what a listener's clients are held to: versions, ciphers, certificates, tickets, made of a plan and kept until it changes.

use std::future::poll_fn;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use evenkeel_config::limits::TICKETS_ROTATE;
use evenkeel_config::plan::tls::{ClientAuth, Issuers, Policy, Tickets, TlsPlan};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs as crypto;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::{Connection, ServerConfig, ServerConnection, SupportedProtocolVersion, version};

use super::crl;
use super::expiry::{Date, Kept, Today};
use super::fault::Fault;
use super::load::{Certificate, load};
use super::names::Names;
use super::secured::Secured;
use super::sock::TlsSock;
use super::tickets::{Carried, Ring, Sealer};
use crate::clock::since_1970;
use crate::sock::Sock;

/// What clients of TLS 1.2 without tickets come back to, per listener. Some 200 bytes each.
const REMEMBERED: usize = 4096;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    // Named one by one: a library's next default is no decision of ours. Mozilla's guidelines 5.7, `modern` and `intermediate`
    // (https://ssl-config.mozilla.org/guidelines/5.7.json), without finite-field Diffie-Hellman, and with the group that holds
    // against quantum computers first. TLS 1.2 has no part of it with `modern`.
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            crypto::cipher_suite::TLS13_AES_128_GCM_SHA256,
            crypto::cipher_suite::TLS13_AES_256_GCM_SHA384,
            crypto::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            crypto::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            crypto::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            crypto::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            crypto::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            crypto::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            crypto::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![
            crypto::kx_group::X25519MLKEM768,
            crypto::kx_group::X25519,
            crypto::kx_group::SECP256R1,
            crypto::kx_group::SECP384R1,
        ],
        ..crypto::default_provider()
    })
});

/// The one provider of ciphers.
pub(super) fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// The versions of a policy.
pub(super) fn versions(policy: Policy) -> &'static [&'static SupportedProtocolVersion] {
    match policy {
        Policy::Modern => MODERN,
        Policy::Intermediate => INTERMEDIATE,
    }
}

static MODERN: &[&SupportedProtocolVersion] = &[&version::TLS13];

static INTERMEDIATE: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// What a listener's clients are held to.
#[derive(Debug)]
pub struct Terms {
    config: Arc<ServerConfig>,
    /// What it was made of.
    plan: TlsPlan,
    ring: Option<Arc<Ring>>,
    names: Arc<Names>,
    /// The certificates, in the order of the plan, with the names of their files.
    pub certificates: Vec<(Box<str>, Certificate)>,
    /// The file of lists of revoked certificates, and when the first of them is to be replaced, in seconds since 1970.
    pub lists: Option<(Box<str>, i64)>,
}

impl Terms {
    /// Of a plan. `before` is what the listener had: if it is of the same plan, it goes on; its tickets hold on if they may.
    /// `now` is since 1970.
    ///
    /// # Errors
    /// What cannot be loaded, in words.
    pub fn new(
        plan: &TlsPlan,
        before: Option<&Arc<Self>>,
        now: Duration,
    ) -> Result<Arc<Self>, String> {
        Self::dated(plan, before, now, since_1970)
    }

    /// The same, where peers and what they come back by are judged by this date.
    ///
    /// # Errors
    /// What cannot be loaded, in words.
    pub fn dated(
        plan: &TlsPlan,
        before: Option<&Arc<Self>>,
        now: Duration,
        today: Today,
    ) -> Result<Arc<Self>, String> {
        if let Some(before) = before
            && before.plan == *plan
        {
            return Ok(before.clone());
        }
        let mut certificates = Vec::new();
        for one in &plan.certificates {
            let ocsp = one.ocsp.as_ref().map(|ocsp| &*ocsp.bytes);
            let (loaded, findings) = load(&one.cert.bytes, &one.key.bytes, ocsp, now);
            let name = one.cert.path.display().to_string();
            let Some(loaded) = loaded else {
                let why = findings.into_iter().map(|finding| finding.message);
                return Err(format!("{name}: {}", why.collect::<Vec<_>>().join("; ")));
            };
            certificates.push((name.into(), loaded));
        }
        let ring = ring(plan, before, now)?;
        let all: Vec<_> = certificates.iter().map(|(_, one)| one.clone()).collect();
        let names = Arc::new(Names::new(&all));
        let config = config(plan, names.clone(), ring.as_ref(), today)?;
        Ok(Arc::new(Self {
            config: Arc::new(config),
            plan: plan.clone(),
            ring,
            names,
            certificates,
            lists: lists(&plan.client_auth),
        }))
    }

    /// Makes the handshake with a client whose `first` bytes have come already. The deadline is the caller's; dropping the future
    /// gives up.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn handshake<S: Sock>(&self, sock: S, first: Vec<u8>) -> Result<TlsSock<S>, Fault> {
        let mut sock = self.begin(sock, first)?;
        poll_fn(|cx| sock.poll_handshake(cx)).await?;
        Ok(sock)
    }

    /// The same before it begins.
    pub(super) fn begin<S: Sock>(&self, sock: S, first: Vec<u8>) -> Result<TlsSock<S>, Fault> {
        let tls = ServerConnection::new(self.config.clone()).map_err(|_| Fault::Other)?;
        Ok(TlsSock::new(sock, Connection::Server(tls), first))
    }

    /// Whether a request for this host may come over a connection that was made under this name. Where clients show certificates,
    /// what was verified holds for the certificate that they asked for (RFC 9110 section 7.4).
    pub(crate) fn is_for(&self, secured: &Secured, host: &str) -> bool {
        matches!(self.plan.client_auth, ClientAuth::Off)
            || self.names.are_one(secured.sni.as_deref(), Some(host))
    }

    /// Whether what is spoken within is HTTP.
    pub(super) const fn speaks_http(&self) -> bool {
        !self.plan.spoken.is_empty()
    }

    /// The secrets of tickets, for another process. None: there are none, or they are a file's.
    #[must_use]
    pub fn carried(&self, now: Duration) -> Option<Carried> {
        self.ring.as_ref()?.carried(now)
    }

    /// Goes on with secrets of tickets of another process.
    pub fn take_over(&self, carried: &Carried, now: Duration) {
        if let Some(ring) = &self.ring {
            ring.take_over(carried, now);
        }
    }

    /// Turns the keys of tickets, if that is due; `now` is since 1970.
    pub fn turn(&self, now: Duration) {
        if let (Some(ring), Tickets::Own(every)) = (&self.ring, &self.plan.tickets) {
            ring.turn(now, *every);
        }
    }
}

fn lists(asked: &ClientAuth) -> Option<(Box<str>, i64)> {
    let (ClientAuth::Request(by) | ClientAuth::Require(by)) = asked else {
        return None;
    };
    let file = by.crl.as_ref()?.path.display().to_string();
    Some((file.into(), crl::end(by)?))
}

/// As rustls has it.
pub(super) fn alpn(spoken: &[&str]) -> Vec<Vec<u8>> {
    let words = spoken.iter().map(|word| word.as_bytes().to_vec());
    words.collect()
}

/// The secrets of tickets. Those of chance go on; those of a file are the file's.
fn ring(
    plan: &TlsPlan,
    before: Option<&Arc<Terms>>,
    now: Duration,
) -> Result<Option<Arc<Ring>>, String> {
    match &plan.tickets {
        Tickets::Off => Ok(None),
        Tickets::Shared(file) => Ring::shared(&file.bytes)
            .map(|ring| Some(Arc::new(ring)))
            .map_err(|why| format!("{}: {why}", file.path.display())),
        Tickets::Own(_) => {
            let earlier = before
                .filter(|before| matches!(before.plan.tickets, Tickets::Own(_)))
                .and_then(|before| before.ring.clone());
            let ring = earlier.map_or_else(|| Ring::own(now).map(Arc::new), Ok);
            ring.map(Some)
        }
    }
}

fn config(
    plan: &TlsPlan,
    names: Arc<Names>,
    ring: Option<&Arc<Ring>>,
    today: Today,
) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(plan.policy))
        .map_err(|error| error.to_string())?;
    let (builder, mut scope) = match &plan.client_auth {
        ClientAuth::Off => (builder.with_no_client_auth(), b"off".to_vec()),
        ClientAuth::Request(by) => {
            let verifier = crl::verifier(by)?.allow_unauthenticated().build();
            let verifier = verifier.map_err(|error| error.to_string())?;
            let scope = scope(b"request", by);
            (builder.with_client_cert_verifier(verifier), scope)
        }
        ClientAuth::Require(by) => {
            let verifier = crl::verifier(by)?.build();
            let verifier = verifier.map_err(|error| error.to_string())?;
            let scope = scope(b"require", by);
            (builder.with_client_cert_verifier(verifier), scope)
        }
    };
    scope.insert(0, 1);
    let mut config = builder.with_cert_resolver(names);
    config.time_provider = Arc::new(Date(today));
    config.alpn_protocols = alpn(plan.spoken);
    let others = plan.alpn.iter().map(|name| name.as_bytes().to_vec());
    config.alpn_protocols.extend(others);
    // Early data can be sent twice by anybody who saw it once (RFC 8446 section 8).
    config.max_early_data_size = 0;
    match ring {
        Some(ring) => {
            let lifetime = match &plan.tickets {
                Tickets::Own(every) => *every,
                _ => TICKETS_ROTATE,
            };
            let judged = (plan.client_auth != ClientAuth::Off).then_some(today);
            config.ticketer = Arc::new(Sealer::new(ring.clone(), scope, lifetime, judged));
            // A second one would be for clients that open several connections at once.
            config.send_tls13_tickets = 1;
            config.session_storage = match judged {
                Some(today) => Arc::new(Kept::new(REMEMBERED, today)),
                None => ServerSessionMemoryCache::new(REMEMBERED),
            };
        }
        None => {
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
    }
    Ok(config)
}

/// Who may come back by a ticket: who was held to the same. What was revoked meanwhile is a part of it, as a client that comes
/// back shows no certificate that could be looked up.
fn scope(mode: &[u8], by: &Issuers) -> Vec<u8> {
    let ca = digest(&SHA256, &by.ca.bytes);
    let crl = by.crl.as_ref().map(|crl| digest(&SHA256, &crl.bytes));
    [mode, ca.as_ref(), crl.as_ref().map_or(&[], AsRef::as_ref)].concat()
}
