//! Owns what the conditions of a checked rule are.

use std::net::IpAddr;
use std::sync::Arc;

use super::HostMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What a request must be like. An empty list asks nothing; within a list one match is enough.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// Host names, without port.
    pub hosts: Vec<HostPattern>,
    /// Paths, without query.
    pub paths: Vec<PathPattern>,
    /// Methods, as on the wire (case-sensitive).
    pub methods: Vec<Arc<str>>,
    /// All the others: each of them must hold.
    pub further: Arc<[Further]>,
}

/// Which hosts. Text is lower case, without a trailing dot.
#[derive(Clone, Debug, PartialEq)]
pub enum HostPattern {
    /// This name or address.
    Exact(Arc<str>),
    /// `*.example.com`: one or more labels before the suffix, which is kept with its leading dot.
    Suffix(Arc<str>),
    /// ALB-style: `*` any run of characters, `?` any one.
    Wildcard(Wildcard),
}

/// Which paths, compared with the normal form.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// This path.
    Exact(Arc<str>),
    /// This path and all below it, by whole segments: `/v1` holds for `/v1` and `/v1/x`, not for `/v10`. Kept without a
    /// trailing slash; the root is the empty text.
    Prefix(Arc<str>),
    /// ALB-style: `*` any run of characters (slashes too), `?` any one.
    Wildcard(Wildcard),
    /// A regular expression, searched as written (anchor it yourself). Compiled from its text alone: rules read from the text
    /// what a match begins with.
    Regex(regex::bytes::Regex),
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(other)) | (Self::Prefix(one), Self::Prefix(other)) => {
                one == other
            }
            (Self::Wildcard(one), Self::Wildcard(other)) => one == other,
            // An expression is what is written: how it was compiled has no part in it.
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

/// A checked ALB-style pattern; at most 128 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard(Arc<str>);

impl Wildcard {
    /// A pattern as written.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A condition that is tried where a rule stands, after host, path and method.
#[derive(Clone, Debug, PartialEq)]
pub enum Further {
    /// The host stands in this map.
    Hosts(Arc<HostMap>),
    /// The peer of the connection has an address of these.
    Peer(Networks),
    /// The client has an address of these: the peer, or whom trusted proxies name.
    Client(Networks),
    /// A field of this name, in lower case, has one of these values. Each line of several of one name is a value; a line's
    /// list is one.
    Header(Named),
    /// A cookie of this name, as written, has one of these values.
    Cookie(Named),
    /// One of these lists: all of its parameters are there.
    Query(Vec<Vec<Parameter>>),
    /// The certificate that the client has shown has one of these values.
    Certificate(Certified),
    /// None of these holds.
    Not(Vec<Conditions>),
}

/// One of these values in a client's certificate, as backends are told of it. A connection without one has none of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Certified {
    /// Where.
    pub part: CertificatePart,
    /// At least one.
    pub values: Vec<TextPattern>,
}

/// What of a client's certificate is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificatePart {
    /// Whether there is one; its values are [`TextPattern::Present`] and [`TextPattern::Absent`].
    Whole,
    /// Its subject (RFC 4514), in printable ASCII.
    Subject,
    /// Its SHA-256, 64 hexadecimal digits in lower case.
    Fingerprint,
    /// Each of its alternative names, with its kind before it: `DNS:a.example`.
    San,
}

/// One of these values under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Which field, or which cookie.
    pub name: Arc<str>,
    /// At least one.
    pub values: Vec<TextPattern>,
}

/// One of these values at a key of the query. Both are decoded before they are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// In any case.
    pub key: TextPattern,
    /// At least one.
    pub values: Vec<TextPattern>,
}

/// Which values.
#[derive(Clone, Debug)]
pub enum TextPattern {
    /// Whatever it is.
    Present,
    /// There is none of this name.
    Absent,
    /// This text.
    Exact(Arc<str>),
    /// This text, which is lower case here, in any case (of ASCII).
    AnyCase(Arc<str>),
    /// ALB-style: `*` any run of bytes, `?` any one.
    Wildcard(Wildcard),
    /// The same, in lower case, for texts in any case.
    WildcardAnyCase(Wildcard),
    /// A regular expression, searched as written.
    Regex(regex::bytes::Regex),
}

impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present, Self::Present) | (Self::Absent, Self::Absent) => true,
            (Self::Exact(one), Self::Exact(other)) | (Self::AnyCase(one), Self::AnyCase(other)) => {
                one == other
            }
            (Self::Wildcard(one), Self::Wildcard(other))
            | (Self::WildcardAnyCase(one), Self::WildcardAnyCase(other)) => one == other,
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

/// Networks, none within another, in order: an address is looked up in steps of halves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Box<[Ipv4Net]>,
    v6: Box<[Ipv6Net]>,
}

/// A network of IPv4 written in IPv6 (`::ffff:10.0.0.0/104`) as one of IPv4: so are addresses, before they are compared.
#[must_use]
pub fn canonical(network: IpNet) -> IpNet {
    let written_in_6 = |network: Ipv6Net| {
        let address = network.addr().to_ipv4_mapped()?;
        Ipv4Net::new(address, network.prefix_len().checked_sub(96)?).ok()
    };
    match network {
        IpNet::V6(within) => written_in_6(within).map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    }
}

impl Networks {
    /// Those that hold for the same addresses. Addresses of IPv4 written in IPv6 (`::ffff:10.0.0.0/104`) are addresses of IPv4.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match canonical(network) {
                IpNet::V4(network) => v4.push(network),
                IpNet::V6(network) => v6.push(network),
            }
        }
        let (mut v4, mut v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
        v4.sort_unstable();
        v6.sort_unstable();
        Self {
            v4: v4.into(),
            v6: v6.into(),
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        let v6 = self.v6.iter().map(|&network| IpNet::V6(network));
        self.v4.iter().map(|&network| IpNet::V4(network)).chain(v6)
    }

    /// Whether an address is in one of them; one of IPv4 in IPv6 is one of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let behind = self.v4.partition_point(|one| one.network() <= address);
                self.v4[..behind]
                    .last()
                    .is_some_and(|one| one.contains(&address))
            }
            IpAddr::V6(address) => {
                let behind = self.v6.partition_point(|one| one.network() <= address);
                self.v6[..behind]
                    .last()
                    .is_some_and(|one| one.contains(&address))
            }
        }
    }

    /// Whether every address of others is in one of them. Cost: by how many the others are.
    #[must_use]
    pub fn includes(&self, others: &Self) -> bool {
        // Neighbours that make one network are one, so that a network in several is in one of them.
        others.v4.iter().all(|other| {
            let behind = self
                .v4
                .partition_point(|one| one.network() <= other.network());
            self.v4[..behind]
                .last()
                .is_some_and(|one| one.contains(other))
        }) && others.v6.iter().all(|other| {
            let behind = self
                .v6
                .partition_point(|one| one.network() <= other.network());
            self.v6[..behind]
                .last()
                .is_some_and(|one| one.contains(other))
        })
    }
}
