//! Owns what a plan says of names whose backends DNS tells. What they stand for now is not known here.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::backend::{BackendId, BackendSpec, Weight};

use super::{BackendAddress, BackendPlan};

/// A name that stands for backends.
#[derive(Clone, Debug, PartialEq)]
pub struct NamePlan {
    /// What is asked.
    pub question: Question,
    /// The port of its backends; none: the records bring it.
    pub port: Option<NonZeroU16>,
    /// Asked again after this at the latest.
    pub refresh: Duration,
    /// Stands before the identity of each of its backends, if it is there.
    pub id: Option<Arc<str>>,
    /// What each of its backends is like. Its identity is the name's own: its `id`, or the name as it is written.
    pub spec: BackendSpec,
    /// As a backend's.
    pub max_connections: Option<NonZeroUsize>,
}

impl NamePlan {
    /// The backend at one of its addresses. The weight that a record gives it counts as many times as the name's says, and `behind`
    /// is how many tiers of records stand before its own.
    #[must_use]
    pub fn backend(&self, address: SocketAddr, weight: Option<Weight>, behind: u16) -> BackendPlan {
        let id = match &self.id {
            Some(id) => BackendId::from(format!("{id}@{address}")),
            None => BackendId::from(address.to_string()),
        };
        let weight =
            u32::from(weight.unwrap_or(Weight::ONE).get()) * u32::from(self.spec.weight.get());
        let weight = Weight::new(weight.min(Weight::MOST.into()));
        let mut spec = self.spec.clone();
        spec.id = id;
        spec.weight = weight.unwrap_or(spec.weight);
        spec.tier = spec.tier.saturating_add(behind);
        BackendPlan {
            spec,
            address: BackendAddress::Tcp(address),
            max_connections: self.max_connections,
        }
    }
}

/// What is asked of DNS. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// The addresses of this name: A and AAAA.
    Addresses(Arc<str>),
    /// The SRV records of this name, and the addresses of their targets.
    Srv(Arc<str>),
}

impl Question {
    /// The name that is asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        let (Self::Addresses(name) | Self::Srv(name)) = self;
        name
    }

    /// The key that asks it: `dns` or `srv`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Addresses(_) => "dns",
            Self::Srv(_) => "srv",
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverPlan {
    /// Whom to ask; none: the servers of the system.
    pub servers: Vec<SocketAddr>,
    /// One try of one question.
    pub timeout: Duration,
    /// Tries of one question; at least 1.
    pub attempts: usize,
    /// A name is asked for no more often.
    pub ttl_floor: Duration,
    /// A name is asked for no less often; not below the floor.
    pub ttl_ceiling: Duration,
}
