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
        let mut bytes = Vec::new();
        if let Some(header) = &how.proxy_protocol {
            let endpoints = endpoints(&self.ends, || self.sock.local());
            let secured = self.sock.secured();
            write(header, &endpoints, secured, unique_id, &mut bytes);
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
    write(&header, &Endpoints::Local, None, b"", &mut bytes);
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
            .and_then(|secured| secured.alpn)
            .filter(|_| has(ProxyTlv::Alpn)),
        authority: secured
            .and_then(|secured| secured.sni.as_deref())
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
        // A certificate that is not verified makes no connection.
        verify: 0,
        version: Some(match secured.version {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        }),
        group: secured.group,
        ..Ssl::default()
    }
}
