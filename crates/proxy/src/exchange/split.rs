//! Owns which service of a split serves an exchange, and the cookie that keeps a client there.
//!
//! The cookie says a hash of the rule's and the service's name: every instance with this configuration reads it, before and
//! after a restart, and it names nobody. It is not signed; who knows the names can choose a side.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_balance::hashing;
use evenkeel_config::limits::AFFINITY_IPV6_PREFIX;
use evenkeel_config::plan::{SidePlan, SplitAffinity, SplitPlan, is_secure_by_name};
use evenkeel_wire::RequestHead;
use evenkeel_wire::altered::Altered;

use super::act::Met;
use crate::affinity::network;
use crate::decide::cookie;
use crate::live::Live;

/// The side that a client is kept on, by its place in the plan.
pub(crate) fn kept(
    plan: &SplitPlan,
    met: &Met<'_>,
    live: &Live,
    request: &RequestHead,
) -> Option<usize> {
    let rule = hashing::key(met.rule.name.as_bytes());
    match &plan.affinity {
        None => None,
        // By rule: who is among the few of one split is not among the few of all.
        Some(SplitAffinity::Source) => Some(draw(plan, hashing::mix(rule, client(met.client)))),
        Some(SplitAffinity::Cookie(name, _)) => {
            let token = told(request, name)?;
            let sides = plan.sides.iter().filter(|side| side.weight > 0);
            let mut services = sides.map(|side| side.service);
            services.find(|&service| of(rule, live, service) == Some(token))
        }
    }
}

/// The service that a random word falls on, by its place in the plan.
pub(crate) fn draw(plan: &SplitPlan, word: u64) -> usize {
    side(&plan.sides, word)
}

/// Tells the client where it was, if a cookie keeps it there.
pub(super) fn remember(
    plan: &SplitPlan,
    met: &Met<'_>,
    live: &Live,
    (service, https): (usize, bool),
    altered: &mut Altered,
) {
    let Some(SplitAffinity::Cookie(name, ttl)) = &plan.affinity else {
        return;
    };
    let rule = hashing::key(met.rule.name.as_bytes());
    let Some(token) = of(rule, live, service) else {
        return;
    };
    let secure = https || is_secure_by_name(name);
    let set = altered.set_cookie(
        name.as_bytes(),
        format!("{token:016x}").as_bytes(),
        attributes(*ttl, secure).as_bytes(),
    );
    debug_assert!(set.is_ok(), "a checked plan names a cookie");
}

fn attributes(ttl: Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    let seconds = ttl.as_secs();
    format!("; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}")
}

/// What a cookie says of a service.
fn of(rule: u64, live: &Live, service: usize) -> Option<u64> {
    let service = live.plan.services.get(service)?;
    Some(hashing::mix(rule, hashing::key(service.name.as_bytes())))
}

/// What the client's cookie says.
fn told(request: &RequestHead, name: &str) -> Option<u64> {
    let value = cookie(request, name.as_bytes())?;
    let digits = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if value.len() != 16 || !value.iter().all(digits) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok()
}

/// Of an address of IPv6 the part that lasts.
fn client(address: IpAddr) -> u64 {
    match network(address, AFFINITY_IPV6_PREFIX) {
        IpAddr::V4(address) => hashing::key(&address.octets()),
        IpAddr::V6(address) => hashing::key(&address.octets()),
    }
}

/// The side that a random word falls on: each as often as its weight says.
pub(crate) fn side(sides: &[SidePlan], word: u64) -> usize {
    let sum = sides.iter().map(|side| u64::from(side.weight)).sum();
    let mut at = hashing::scale(word, sum);
    for side in sides {
        match at.checked_sub(side.weight.into()) {
            Some(rest) => at = rest,
            None => return side.service,
        }
    }
    // The sum is not zero, and the word falls below it.
    sides.first().map_or(0, |side| side.service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_has_its_part_of_all_words() {
        let sides: Vec<_> = [(7, 0), (3, 90), (9, 0), (5, 10), (1, 0)]
            .map(|(service, weight)| SidePlan { service, weight })
            .into();
        let mut counts = [0; 10];
        for part in 0..1_000_u64 {
            // In the middle of each thousandth of all words.
            counts[side(&sides, (2 * part + 1) * (u64::MAX / 2_000))] += 1;
        }
        assert_eq!((counts[3], counts[5]), (900, 100));
        assert_eq!(counts.iter().sum::<u64>(), 1_000);
        assert_eq!((side(&sides, 0), side(&sides, u64::MAX)), (3, 5));
    }

    #[test]
    fn attributes_are_told_in_seconds() {
        let day = Duration::from_secs(86_400);
        let plain = "; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax";
        assert_eq!(attributes(day, false), plain);
        assert_eq!(attributes(day, true), format!("{plain}; Secure"));
    }
}
