//! Owns TLS to backends: who is believed to be the backend, and the handshake.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use evenkeel_config::plan::BackendAddress;
use evenkeel_config::plan::tls::{Policy, UpstreamTls};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};

use super::expiry::{Date, Memory, Today};
use super::fault::Fault;
use super::load::{issuers, load};
use super::sock::TlsSock;
use super::terms::{alpn, provider, versions};
use crate::clock::since_1970;
use crate::sock::Sock;

/// Handshakes that backends are remembered by, per service.
const REMEMBERED: usize = 256;

/// The issuers that the system trusts, as they were when they were first asked for.
static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    // Those that cannot be read are trusted in nothing; with none at all every backend is refused.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

/// What a service's backends are held to.
#[derive(Debug)]
pub struct Towards {
    config: Arc<ClientConfig>,
    /// What it was made of.
    plan: Arc<UpstreamTls>,
    name: Option<ServerName<'static>>,
    /// None: nothing is remembered, or nothing is asked of certificates.
    memory: Option<Arc<Memory>>,
}

impl Towards {
    /// Of a plan. `before` goes on if it is of the same plan.
    ///
    /// # Errors
    /// What cannot be loaded, in words.
    pub fn new(plan: &Arc<UpstreamTls>, before: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        Self::dated(plan, before, since_1970)
    }

    /// The same, where backends and what is remembered of them are judged by this date.
    ///
    /// # Errors
    /// What cannot be loaded, in words.
    pub fn dated(
        plan: &Arc<UpstreamTls>,
        before: Option<&Arc<Self>>,
        today: Today,
    ) -> Result<Arc<Self>, String> {
        if let Some(before) = before
            && before.plan == *plan
        {
            return Ok(before.clone());
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(Policy::Intermediate))
            .map_err(|error| error.to_string())?;
        let builder = match (&plan.ca, plan.unverified) {
            (_, true) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody)),
            (Some(ca), false) => builder.with_root_certificates(issuers(&ca.bytes)?),
            (None, false) => builder.with_root_certificates(SYSTEM.clone()),
        };
        let mut config = match &plan.certificate {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                // What is wrong with its time the backend will say.
                let (loaded, findings) = load(&cert.bytes, &key.bytes, None, Duration::ZERO);
                let loaded = loaded.ok_or_else(|| {
                    let why = findings.into_iter().map(|finding| finding.message);
                    format!(
                        "{}: {}",
                        cert.path.display(),
                        why.collect::<Vec<_>>().join("; ")
                    )
                })?;
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
                    (*loaded.key).clone(),
                )))
            }
        };
        config.time_provider = Arc::new(Date(today));
        config.alpn_protocols = alpn(plan.spoken);
        let memory = (!plan.unverified).then(|| Arc::new(Memory::new(REMEMBERED, today)));
        config.resumption = resumption(memory.as_ref());
        let name = plan.sni.as_deref().map(|name| {
            ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` is no host name"))
        });
        Ok(Arc::new(Self {
            config: Arc::new(config),
            plan: plan.clone(),
            name: name.transpose()?,
            memory,
        }))
    }

    /// The same for flows: what is spoken in them is for their two ends to agree on, so that no protocol is offered by name.
    #[must_use]
    pub fn without_protocols(&self) -> Arc<Self> {
        let mut config = (*self.config).clone();
        config.alpn_protocols = Vec::new();
        let memory = self.memory.as_ref();
        let memory = memory.map(|memory| Arc::new(memory.another()));
        config.resumption = resumption(memory.as_ref());
        Arc::new(Self {
            config: Arc::new(config),
            plan: self.plan.clone(),
            name: self.name.clone(),
            memory,
        })
    }

    /// The same for checks, over `protocols`. Nothing is resumed: each check looks at the certificate that the backend shows now, and
    /// takes no ticket away from traffic.
    #[must_use]
    pub fn for_checks(&self, protocols: &[&[u8]]) -> Self {
        let mut config = (*self.config).clone();
        config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
        config.resumption = Resumption::disabled();
        Self {
            config: Arc::new(config),
            plan: self.plan.clone(),
            name: self.name.clone(),
            memory: None,
        }
    }

    /// The name that a backend must show.
    fn name(&self, backend: &BackendAddress) -> Result<ServerName<'static>, Fault> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        match backend {
            BackendAddress::Tcp(address) => Ok(ServerName::from(address.ip())),
            BackendAddress::Name(name, _) => {
                ServerName::try_from(name.to_string()).map_err(|_| Fault::CertificateName)
            }
            // A socket's path is no name that an issuer knows.
            BackendAddress::Unix(_) => Ok(ServerName::from(std::net::Ipv4Addr::LOCALHOST)),
        }
    }

    /// Makes the handshake with a backend.
    ///
    /// # Errors
    /// A [`Refused`] within the error: who answers is not the backend, or nothing was agreed on.
    pub async fn handshake<S: Sock>(
        &self,
        sock: S,
        backend: &BackendAddress,
    ) -> io::Result<TlsSock<S>> {
        let name = self.name(backend).map_err(refused)?;
        let tls = ClientConnection::new(self.config.clone(), name)
            .map_err(|error| refused(Fault::of(&error)))?;
        let mut sock = TlsSock::new(sock, Connection::Client(tls), Vec::new());
        poll_fn(|cx| sock.poll_handshake(cx))
            .await
            .map_err(refused)?;
        // A ticket that came late, by a connection of before, is told by what it was given for.
        if let Some(memory) = &self.memory
            && !memory.learn(sock.shown())
        {
            return Err(refused(Fault::CertificateExpired));
        }
        Ok(sock)
    }

    /// The same, for who waits for it.
    ///
    /// # Errors
    /// As above.
    pub fn wait<S: io::Read + io::Write>(
        &self,
        mut stream: S,
        backend: &BackendAddress,
    ) -> io::Result<StreamOwned<ClientConnection, S>> {
        let name = self.name(backend).map_err(refused)?;
        let mut tls = ClientConnection::new(self.config.clone(), name)
            .map_err(|error| refused(Fault::of(&error)))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(tls, stream))
    }
}

/// How backends are come back to.
fn resumption(memory: Option<&Arc<Memory>>) -> Resumption {
    match memory {
        Some(memory) => Resumption::store(memory.clone()),
        None => Resumption::in_memory_sessions(REMEMBERED),
    }
}

/// Why a backend's handshake failed.
#[derive(Debug)]
pub struct Refused(pub Fault);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.word())
    }
}

impl std::error::Error for Refused {}

fn refused(fault: Fault) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, Refused(fault))
}

/// Takes any certificate, but a signature must be its own: asked for by name (`verify: off`).
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
