//! Owns the header that begins a connection to a backend: whose exchange it carries.
//!
//! Source is the client as the connection has it, or the header of the proxy in front: an address that stands in
//! `X-Forwarded-For` was never an end of a connection that goes with this destination and these ports.

use std::net::SocketAddr;

use evenkeel_config::plan::{ProxyHeader, ProxyTlv, ProxyVersion, UpstreamPlan};
use evenkeel_wire::proxy_protocol::{
    Endpoints, Extras, Ssl, Transport, client, write_binary, write_text,
};

use super::Ends;
use super::receive::canonical;
use crate::connection::Conn;
use crate::net::Net;
use crate::sock::Sock;
use crate::tls::secured::{Secured, Version};

impl<N: Net> Conn<N> {
    /// What begins a connection to a backend that carries this client's exchange. Often nothing, at no cost; else the client's socket
    /// is asked for its own address, which is a system call. `unique_id` names the exchange.
    pub(crate) fn introduction(&self, how: &UpstreamPlan, unique_id: &[u8]) -> Vec<u8> {
        self.introduced(how, None, unique_id)
    }

    /// The same of a flow whose TLS is passed on, by a client that asked for this name. What is agreed on in it is not seen here, so
    /// that a protocol is not told.
    pub(crate) fn introduction_of_flow(&self, how: &UpstreamPlan, asked: Option<&str>) -> Vec<u8> {
        self.introduced(how, asked, b"")
    }

    fn introduced(&self, how: &UpstreamPlan, asked: Option<&str>, unique_id: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(header) = &how.proxy_protocol {
            let endpoints = endpoints(&self.ends, || self.sock.local());
            let secured = self.sock.secured();
            write(header, &endpoints, secured, asked, unique_id, &mut bytes);
        }
        bytes
    }
}

/// The header of the instance's own checks: they are nobody's.
#[must_use]
pub fn of_checks(version: ProxyVersion) -> Vec<u8> {
    let header = ProxyHeader {
        version,
        tlvs: Vec::new(),
    };
    let mut bytes = Vec::new();
    write(&header, &Endpoints::Local, None, None, b"", &mut bytes);
    bytes
}

/// `own`: the address that the client's connection was accepted at.
fn endpoints(ends: &Ends, own: impl FnOnce() -> Option<SocketAddr>) -> Endpoints<'static> {
    let destination = ends.destination.as_deref().copied();
    match destination.or_else(|| own().map(canonical)) {
        Some(destination) if !ends.unix => Endpoints::Inet {
            transport: Transport::Stream,
            source: ends.source,
            destination,
        },
        _ => Endpoints::Unknown,
    }
}

fn write(
    header: &ProxyHeader,
    endpoints: &Endpoints<'_>,
    secured: Option<&Secured>,
    asked: Option<&str>,
    unique_id: &[u8],
    into: &mut Vec<u8>,
) {
    if header.version == ProxyVersion::V1 {
        return write_text(endpoints, into);
    }
    let has = |tlv| header.tlvs.contains(&tlv);
    let secured = secured.filter(|_| !header.tlvs.is_empty());
    let extras = Extras {
        alpn: secured
            .and_then(|secured| secured.alpn.as_deref())
            .filter(|_| has(ProxyTlv::Alpn)),
        authority: secured
            .and_then(|secured| secured.sni.as_deref())
            .or(asked)
            .filter(|_| has(ProxyTlv::Authority)),
        unique_id: Some(unique_id).filter(|id| !id.is_empty() && has(ProxyTlv::UniqueId)),
        ssl: secured.filter(|_| has(ProxyTlv::Ssl)).map(ssl),
        netns: None,
        checksum: has(ProxyTlv::Checksum),
    };
    if write_binary(endpoints, &extras, into).is_err() {
        // Ids and names are held to less than what fails; the addresses alone always can be written.
        let _ = write_binary(endpoints, &Extras::default(), into);
    }
}

fn ssl(secured: &Secured) -> Ssl<'_> {
    let shown = match (&secured.client, secured.resumed) {
        (None, _) => 0,
        (Some(_), false) => client::CERT_CONNECTION | client::CERT_RESUMED,
        (Some(_), true) => client::CERT_RESUMED,
    };
    Ssl {
        client: client::SSL | shown,
        // 0: one was shown and verified, and what is not verified makes no connection. Else it is not 0, whatever the cause.
        verify: u32::from(secured.client.is_none()),
        version: Some(match secured.version {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        }),
        group: secured.group,
        ..Ssl::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tls::secured::Identity;

    #[test]
    fn only_who_has_shown_a_certificate_is_said_to_be_verified() {
        let bare = Secured {
            version: Version::Tls13,
            sni: None,
            cipher: None,
            alpn: None,
            group: Some("X25519"),
            resumed: false,
            client: None,
        };
        let shown = Some(Arc::new(Identity::nobody()));
        for (client, resumed, version, flags, verify, said) in [
            (None, false, Version::Tls12, 1, 1, "TLSv1.2"),
            (None, true, Version::Tls13, 1, 1, "TLSv1.3"),
            (shown.clone(), false, Version::Tls13, 7, 0, "TLSv1.3"),
            (shown, true, Version::Tls13, 5, 0, "TLSv1.3"),
        ] {
            let secured = Secured {
                version,
                resumed,
                client,
                ..bare.clone()
            };
            let told = ssl(&secured);
            assert_eq!((told.client, told.verify), (flags, verify), "{secured:?}");
            assert_eq!((told.version, told.group), (Some(said), Some("X25519")));
        }
    }
}
