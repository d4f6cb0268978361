//! Certificates made for a test, and connections over them. No key outlives its test.
#![allow(dead_code, reason = "several test programs take what they need of it")]

use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::plan::BackendAddress;
use evenkeel_config::plan::tls::{
    CertificatePlan, ClientAuth, Material, Policy, Tickets, TlsPlan, UpstreamTls,
};
use evenkeel_config::problem::At;
use evenkeel_proxy::sock::Sock;
use evenkeel_proxy::tls::fault::Fault;
use evenkeel_proxy::tls::sock::TlsSock;
use evenkeel_proxy::tls::terms::Terms;
use evenkeel_proxy::tls::upstream::{Refused, Towards};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SignatureAlgorithm,
};

/// 2026-11-21, in seconds since 1970.
pub(crate) const TODAY: Duration = Duration::from_secs(1_795_219_200);

/// The number of an issuer's certificate that another one signed.
pub(crate) const BETWEEN: u64 = 77;

/// An issuer.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// An issuer whose certificate this one signs, with the number [`BETWEEN`].
    pub(crate) fn below(&self, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(BETWEEN.into());
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A list of the numbers that this one revoked, to be replaced at the end of that year.
    pub(crate) fn revoke(&self, numbers: &[u64], until: i32) -> String {
        let day = rcgen::date_time_ymd;
        let revoked = numbers.iter().map(|number| RevokedCertParams {
            serial_number: (*number).into(),
            revocation_time: day(2019, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: day(2019, 1, 1),
            next_update: day(until, 12, 31),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub(crate) fn make(&self, names: &[&str]) -> Made {
        self.make_with(names, &PKCS_ECDSA_P256_SHA256, |_| ())
    }

    pub(crate) fn make_with(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Made {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        Made {
            cert: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

pub(crate) fn material(bytes: impl AsRef<[u8]>) -> Material {
    Material {
        path: "made.pem".into(),
        bytes: bytes.as_ref().into(),
        at: At {
            file: 0,
            line: 1,
            column: 1,
            length: 1,
        },
    }
}

pub(crate) fn tls_plan(policy: Policy, certificates: &[&Made]) -> TlsPlan {
    let plans = certificates.iter().map(|made| CertificatePlan {
        cert: material(&made.cert),
        key: material(&made.key),
        ocsp: None,
    });
    TlsPlan {
        alpn: Vec::new(),
        spoken: &["http/1.1"],
        policy,
        certificates: plans.collect(),
        client_auth: ClientAuth::Off,
        tickets: Tickets::Own(Duration::from_secs(3600)),
        hsts: None,
    }
}

pub(crate) fn towards(ca: &str, sni: &str) -> Arc<Towards> {
    let plan = UpstreamTls {
        ca: Some(material(ca)),
        sni: Some(sni.into()),
        ..UpstreamTls::default()
    };
    Towards::new(&Arc::new(plan), None).unwrap()
}

/// Both ends of one listener and of who connects to it.
pub(crate) fn terms(policy: Policy) -> (Arc<Terms>, Arc<Towards>) {
    let authority = Authority::new("authority");
    let made = authority.make(&["a.example"]);
    let terms = Terms::new(&tls_plan(policy, &[&made]), None, TODAY).unwrap();
    (terms, towards(&authority.pem, "a.example"))
}

/// A handshake over both ends of a connection: the client's end first.
pub(crate) async fn pair<S: Sock>(
    (terms, towards): &(Arc<Terms>, Arc<Towards>),
    ends: (S, S),
) -> (TlsSock<S>, TlsSock<S>) {
    let (client, server) = meet(terms, towards, ends).await;
    (client.unwrap(), server.unwrap())
}

/// What a handshake came to, at the client and at the server.
pub(crate) async fn meet<S: Sock>(
    terms: &Terms,
    towards: &Towards,
    (one, other): (S, S),
) -> (Result<TlsSock<S>, Fault>, Result<TlsSock<S>, Fault>) {
    let to = BackendAddress::Unix("none".into());
    let (client, server) = tokio::join!(
        towards.handshake(one, &to),
        terms.handshake(other, Vec::new())
    );
    let why = |error: std::io::Error| {
        error
            .get_ref()
            .unwrap()
            .downcast_ref::<Refused>()
            .unwrap()
            .0
    };
    (client.map_err(why), server)
}
