//! Owns what is decided of a request whose head is read: who the client is, which rule it meets, what a hash policy sticks to.
//!
//! Pure functions of the plan and the head. The exchange and whoever explains a request ask the same ones, so that an
//! explanation cannot differ from what is done.

use std::net::IpAddr;

use evenkeel_balance::ask::ClassId;
use evenkeel_balance::hashing;
use evenkeel_balance::zone::ZoneId;
use evenkeel_config::limits::ListenerLimits;
use evenkeel_config::plan::{HashKey, ListenerPlan, PathHandling, RulePlan, zones};
use evenkeel_wire::http1::HeadLimits;
use evenkeel_wire::http1::request::PathForm;
use evenkeel_wire::known::Known;
use evenkeel_wire::{Framing, RequestHead, client};

use crate::live::{Live, LiveService};
use crate::reason::Reason;
use crate::rules::Asked;
use crate::tls::secured::Identity;

/// What is decided of a request before anything is done with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decision<'a> {
    /// The peer, or whom trusted peers say that it is.
    pub(crate) client: IpAddr,
    /// Whether the peer's forwarding fields are believed.
    pub(crate) trusted: bool,
    /// The rule that it meets, with its place in the plan.
    pub(crate) rule: Option<(usize, &'a RulePlan)>,
}

/// How a listener reads heads.
pub(crate) fn reading(
    limits: &ListenerLimits,
    listener: Option<&ListenerPlan>,
) -> (HeadLimits, PathForm) {
    let bounds = HeadLimits {
        bytes: limits.head,
        fields: limits.fields,
        target: limits.target,
    };
    let form = match listener.map(|plan| plan.path).unwrap_or_default() {
        PathHandling::Normalize => PathForm::Normalize,
        PathHandling::Refuse => PathForm::Refuse,
        PathHandling::AsIs => PathForm::AsIs,
    };
    (bounds, form)
}

/// Decides of a request that came in by this listener, by its place in the plan; none: it has left the plan. `certificate` is
/// what the client has shown.
#[inline]
pub(crate) fn decide<'a>(
    live: &'a Live,
    listener: Option<usize>,
    request: &RequestHead,
    peer: IpAddr,
    certificate: Option<&Identity>,
) -> Decision<'a> {
    let trusted = live.trusts(peer);
    let client = match trusted {
        true => client::address(request, peer, &|address| live.trusts(address)),
        false => peer,
    };
    let found = live.rules.find(&Asked {
        certificate,
        ..asked(listener, request, peer, client)
    });
    Decision {
        client,
        trusted,
        rule: found.and_then(|found| live.plan.rules.get(found).map(|rule| (found, rule))),
    }
}

/// What rules are asked about a request.
#[inline]
pub(crate) fn asked(
    listener: Option<usize>,
    request: &RequestHead,
    peer: IpAddr,
    client: IpAddr,
) -> Asked<'_> {
    Asked::new(listener.unwrap_or(usize::MAX), request, peer, client)
}

/// The most bytes of the body of a request that meets this rule.
pub(crate) fn body_most(rule: &RulePlan, limits: &ListenerLimits) -> Option<u64> {
    rule.body.or(limits.body)
}

/// Why a request that meets a rule is refused for its head, before a backend is asked for.
pub(crate) fn refused(request: &RequestHead, body_most: Option<u64>) -> Option<Reason> {
    match request.framing() {
        Framing::Exact(length) if body_most.is_some_and(|most| length > most) => {
            Some(Reason::BodyTooLarge)
        }
        _ => None,
    }
}

/// Whether a request may be with two backends at once: what may be done twice, and asks for no tunnel.
pub(crate) fn is_repeatable(request: &RequestHead) -> bool {
    request.is_idempotent() && request.upgrade().is_none()
}

/// The class of an exchange: its rule.
pub(crate) fn class(rule: usize) -> ClassId {
    ClassId(u16::try_from(rule).unwrap_or(u16::MAX))
}

/// What a client's address is hashed to.
#[must_use]
pub fn source(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(address) => hashing::key(&address.octets()),
        IpAddr::V6(address) => hashing::key(&address.octets()),
    }
}

/// What a hash policy sticks to.
pub(crate) fn key(key: &HashKey, request: &RequestHead, client: IpAddr) -> u64 {
    let source = || source(client);
    match key {
        HashKey::Source => source(),
        HashKey::Path => hashing::key(request.path()),
        HashKey::Uri => hashing::key(request.target()),
        HashKey::Header(name) => request
            .field(name.as_bytes())
            .map_or_else(source, hashing::key),
        HashKey::Cookie(name) => cookie(request, name.as_bytes()).map_or_else(source, hashing::key),
    }
}

/// The zone that a client is near, where its service asks for that.
#[must_use]
#[inline]
pub fn zone(service: &LiveService, client: IpAddr) -> Option<ZoneId> {
    let regions = service.regions.as_ref()?;
    zones::zone_of(regions, client)
}

/// The value of the first cookie of a name (RFC 6265 section 5.4), quotes left on.
pub(crate) fn cookie<'a>(request: &'a RequestHead, name: &'a [u8]) -> Option<&'a [u8]> {
    cookies(request, name).next()
}

/// The values of all cookies of a name.
pub(crate) fn cookies<'a>(
    request: &'a RequestHead,
    name: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> {
    request
        .fields()
        .filter(|field| field.known == Known::Cookie)
        .flat_map(|field| field.value.split(|&byte| byte == b';'))
        .filter_map(move |pair| {
            let pair = pair.trim_ascii();
            let at = pair.iter().position(|&byte| byte == b'=')?;
            (&pair[..at] == name).then(|| &pair[at + 1..])
        })
}
