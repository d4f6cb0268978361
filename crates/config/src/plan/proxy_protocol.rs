//! Owns the PROXY protocol as it is planned: who says at a listener whose connections these are, and how backends are told.

use std::net::IpAddr;

use ipnet::IpNet;

use super::UpstreamPlan;

/// The peers of a listener: each says with a header whose connection it is, and nobody else is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPeers {
    /// Where they connect from.
    pub networks: Vec<IpNet>,
    /// Who connects over a Unix socket is one too.
    pub unix: bool,
}

impl ProxyPeers {
    /// Whether who connects from here is one; none: over a Unix socket. The address is canonical (`IpAddr::to_canonical`).
    #[must_use]
    pub fn has(&self, from: Option<IpAddr>) -> bool {
        match from {
            Some(from) => self.networks.iter().any(|network| network.contains(&from)),
            None => self.unix,
        }
    }
}

/// The header that begins every connection to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its version.
    pub version: ProxyVersion,
    /// What it says beside the addresses, in no order; nothing in version 1.
    pub tlvs: Vec<ProxyTlv>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What a header of version 2 may say of a client beside its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyTlv {
    /// What it speaks over TLS.
    Alpn,
    /// The host that it named to TLS.
    Authority,
    /// How its TLS is.
    Ssl,
    /// The id of the request.
    UniqueId,
    /// A checksum of the header.
    Checksum,
}

impl UpstreamPlan {
    /// Whether exchanges of several clients may follow one another on a connection, or share it. Not where a header says whose
    /// it is: whoever came next would be taken for that one.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.proxy_protocol.is_none()
    }
}
