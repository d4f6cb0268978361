//! Owns where the flows of a TCP listener go: to a service, or to one of several by what a TLS client asks for.

use std::collections::HashMap;
use std::sync::Arc;

use super::SidePlan;

/// Where the flows of a TCP listener go. Services stand as in rules, by their place in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowPlan {
    /// To these services by weight, whatever is said in them; at least one has a weight.
    All(Vec<SidePlan>),
    /// By the TLS hello that each begins with, which is read and passed on as it came.
    Hello(HelloPlan),
}

/// Services by what a TLS client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloPlan {
    exact: HashMap<Box<str>, HelloTarget>,
    /// By what stands behind `*.`.
    wildcard: HashMap<Box<str>, HelloTarget>,
    /// For who asks for no name, or for one that is not here.
    default: Option<HelloTarget>,
}

/// What stands at one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloTarget {
    /// By the protocol that a client offers.
    pub alpn: Vec<(Arc<[u8]>, Vec<SidePlan>)>,
    /// For who offers none of these; empty: such a client is refused.
    pub forward: Vec<SidePlan>,
}

/// Why a hello has no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Nothing stands at its name.
    Name,
    /// What stands there is for other protocols.
    Protocol,
}

/// Whose names a target is for.
pub(crate) enum HelloName {
    Exact(Box<str>),
    /// What stands behind `*.`.
    Wildcard(Box<str>),
    Default,
}

impl HelloPlan {
    /// The services of a client that asks for this name (any case; a trailing dot, which RFC 6066 section 3 forbids, names the same) and offers these protocols, best first: of
    /// several that stand there, the one that it likes best. One label may stand for a star.
    ///
    /// # Errors
    /// There are none.
    pub fn find<'h>(
        &self,
        name: Option<&str>,
        offered: impl IntoIterator<Item = &'h [u8]>,
    ) -> Result<&[SidePlan], Unknown> {
        let lower = name.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let named = lower.as_deref().and_then(|name| {
            let behind = || name.split_once('.').map(|(_, behind)| behind);
            let exact = self.exact.get(name);
            exact.or_else(|| self.wildcard.get(behind()?))
        });
        let target = named.or(self.default.as_ref()).ok_or(Unknown::Name)?;
        let of = |protocol: &[u8]| {
            let mut all = target.alpn.iter();
            all.find(|(known, _)| **known == *protocol)
        };
        let sides = match offered.into_iter().find_map(of) {
            Some((_, sides)) => sides,
            None => &target.forward,
        };
        if sides.is_empty() {
            return Err(Unknown::Protocol);
        }
        Ok(sides)
    }

    pub(crate) fn insert(&mut self, name: HelloName, target: HelloTarget) {
        match name {
            HelloName::Exact(name) => drop(self.exact.insert(name, target)),
            HelloName::Wildcard(behind) => drop(self.wildcard.insert(behind, target)),
            HelloName::Default => self.default = Some(target),
        }
    }

    fn targets(&mut self) -> impl Iterator<Item = &mut HelloTarget> {
        let named = self.exact.values_mut().chain(self.wildcard.values_mut());
        named.chain(&mut self.default)
    }
}

impl FlowPlan {
    /// Puts other places where those of services stand: for each what stands at its number, or none at all.
    pub fn place_services(&mut self, places: &[usize]) {
        let place = |sides: &mut Vec<SidePlan>| {
            for side in sides {
                side.service = places.get(side.service).copied().unwrap_or(usize::MAX);
            }
        };
        match self {
            Self::All(sides) => place(sides),
            Self::Hello(hello) => {
                for target in hello.targets() {
                    place(&mut target.forward);
                    target.alpn.iter_mut().for_each(|(_, sides)| place(sides));
                }
            }
        }
    }
}
