//! Owns what a checked rule is: its conditions (see `conditions`) and one action.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use super::{Beside, Conditions, FallbackPlan, HostMap, RatePlan, SplitPlan, Template};

/// Conditions and one action.
#[derive(Clone, Debug)]
pub struct RulePlan {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Lowest first, 1 to 50,000.
    pub priority: u32,
    /// Only on these listeners (indices into [`Plan::listeners`]); empty: on all.
    pub listeners: Vec<usize>,
    /// All must hold.
    pub when: Conditions,
    /// What is done.
    pub action: Action,
    /// What is done beside it.
    pub beside: Beside,
    /// The whole exchange until the response head; none: the service's.
    pub exchange: Option<Duration>,
    /// The longest pause within a body; none: the listener's, and for an answer the service's if that is shorter.
    pub idle_body: Option<Duration>,
    /// The most bytes of a request's body; none: the listener's.
    pub body: Option<u64>,
    /// Its requests' class in the queue of a full service; lower goes first.
    pub class: u16,
    /// How many pass; all must let them. None: the listener's.
    pub rates: Option<Arc<[RatePlan]>>,
}

impl RulePlan {
    /// Puts places in the plan where the numbers of names stood.
    pub(crate) fn place_services(&mut self, places: &[usize]) {
        let place = |service: &mut usize| {
            *service = places.get(*service).copied().unwrap_or_default();
        };
        match &mut self.action {
            Action::Forward(service) => place(service),
            Action::Split(split) => {
                for side in &mut split.sides {
                    place(&mut side.service);
                }
            }
            // A map has its services by name, and is put in its place whole.
            Action::ForwardMap(..) | Action::Redirect(_) | Action::Respond(_) | Action::Deny(_) => {
            }
        }
        if let Some(fallback) = &mut self.beside.fallback
            && let FallbackPlan::Forward(service) = Arc::make_mut(fallback)
        {
            place(service);
        }
    }
}

/// What is done with a request that a rule matches.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// One of [`Plan::services`], by index.
    Forward(usize),
    /// One of several services, drawn by weight.
    Split(SplitPlan),
    /// The one that a map names for the host: for each of the map's services its place in [`Plan::services`]. A rule with it has the
    /// same map among its conditions, so that another host goes on to later rules.
    ForwardMap(Arc<HostMap>, Arc<[usize]>),
    /// Sent elsewhere.
    Redirect(RedirectPlan),
    /// Answered here.
    Respond(RespondPlan),
    /// Refused with this status, 400 to 599.
    Deny(u16),
}

impl Action {
    /// Whether it is the same, where `services` says which places mean the same service.
    #[must_use]
    pub fn same(&self, other: &Self, services: impl Fn(usize, usize) -> bool) -> bool {
        match (self, other) {
            (Self::Forward(one), Self::Forward(other)) => services(*one, *other),
            (Self::Split(one), Self::Split(other)) => one.same(other, services),
            // A map has its services by name.
            (Self::ForwardMap(one, _), Self::ForwardMap(other, _)) => one == other,
            (one, other) => one == other,
        }
    }

    /// The service that a map names for a host.
    #[must_use]
    pub fn mapped(map: &HostMap, services: &[usize], host: &str) -> Option<usize> {
        services.get(map.find(host)?).copied()
    }
}

/// Where a redirect leads; what is absent stays as the request had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectPlan {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// `http` or `https`.
    pub scheme: Option<Arc<str>>,
    /// A host.
    pub host: Option<Template>,
    /// A port; the scheme's own is not written. None: the request's, unless the scheme changes.
    pub port: Option<RedirectPort>,
    /// A path that begins with a slash.
    pub path: Option<Template>,
    /// A query without the question mark; empty removes it.
    pub query: Option<Template>,
}

/// The port of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectPort {
    /// This one.
    Number(NonZeroU16),
    /// The request's, whatever becomes of the scheme.
    Request,
}

/// An answer made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RespondPlan {
    /// 200 to 599.
    pub status: u16,
    /// Its media type; `text/plain; charset=utf-8` by default.
    pub content_type: Arc<str>,
    /// Its body, at most 64 KiB.
    pub body: Arc<[u8]>,
}
