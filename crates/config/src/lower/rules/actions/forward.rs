//! Owns `forward:` of a rule: one service, or a split over several with its affinity.

use std::sync::Arc;
use std::time::Duration;

use super::Services;
use crate::keys::{SPLIT, SPLIT_AFFINITY, SPLIT_COOKIE};
use crate::limits;
use crate::plan::{Action, SidePlan, SplitAffinity, SplitPlan};
use crate::read::{Reading, Scalar};
use crate::tree::{Key, Node, Value};

/// `forward: api`, `{ api: 90, api-next: 10 }`, or that as `to` beside an affinity.
pub(super) fn forward(reading: &Reading, node: &Node, services: &mut Services) -> Option<Action> {
    let Value::Map(entries) = &node.value else {
        return named(reading, node, services).map(Action::Forward);
    };
    if !is_split(entries) {
        return split(reading, node, services).map(|sides| action(sides, None));
    }
    let map = reading.map(node, &SPLIT)?;
    let sides = map
        .get("to")
        .and_then(|node| split(reading, node, services));
    let affinity = map.with("affinity", affinity);
    map.done();
    sides.map(|sides| action(sides, affinity))
}

/// One service, which gets all, or several with their weights.
pub(in crate::lower) fn sides(
    reading: &Reading,
    node: &Node,
    services: &mut Services,
) -> Option<Vec<SidePlan>> {
    if matches!(node.value, Value::Map(_)) {
        return split(reading, node, services);
    }
    let service = named(reading, node, services)?;
    Some(vec![SidePlan { service, weight: 1 }])
}

/// Whether a map says more than services and weights: then these stand at `to`.
pub(crate) fn is_split(entries: &[(Key, Node)]) -> bool {
    let is_map = |node: &Node| matches!(node.value, Value::Map(_));
    entries
        .iter()
        .any(|(key, node)| key.text == "to" && is_map(node))
}

/// One service by its name.
pub(super) fn named(reading: &Reading, node: &Node, services: &mut Services) -> Option<usize> {
    let name = reading.text(node)?;
    services.push((node.at, name));
    Some(services.len() - 1)
}

fn action(sides: Vec<SidePlan>, affinity: Option<SplitAffinity>) -> Action {
    match &sides[..] {
        // All of it is the same as its name.
        [only] => Action::Forward(only.service),
        _ => Action::Split(SplitPlan { sides, affinity }),
    }
}

fn split(reading: &Reading, node: &Node, services: &mut Services) -> Option<Vec<SidePlan>> {
    let entries = reading.free(node, "forward")?;
    let most = limits::SPLIT_SERVICES;
    let what = format!("{most} services of one split");
    let entries = reading.first(entries, most, |(key, _)| key.at, &what);
    let mut sides = Vec::new();
    for (key, node) in entries {
        let weight = reading.number(node, 0, limits::SPLIT_WEIGHT.into());
        services.push((key.at, Scalar::plain(&key.text)));
        let weight = weight.and_then(|weight| u16::try_from(weight).ok());
        sides.extend(weight.map(|weight| SidePlan {
            service: services.len() - 1,
            weight,
        }));
    }
    if sides.len() < entries.len() {
        return None;
    }
    if sides.iter().all(|side| side.weight == 0) {
        let message = match entries.len() {
            0 => "a split names at least one service",
            _ => "no service of this split has a weight: nobody would serve it",
        };
        reading.error(node.at, "weights", message);
        return None;
    }
    Some(sides)
}

fn affinity(reading: &Reading, node: &Node) -> Option<SplitAffinity> {
    let map = reading.map(node, &SPLIT_AFFINITY)?;
    let cookie = map
        .get("cookie")
        .map(|node| cookie(reading, node).map(|(name, ttl)| SplitAffinity::Cookie(name, ttl)));
    let source = map.get("source").map(|node| match reading.boolean(node)? {
        true => Some(SplitAffinity::Source),
        false => {
            let message = "`source: false` keeps no client anywhere; leave `affinity` out";
            reading.error(node.at, "affinity", message);
            None
        }
    });
    if cookie.is_some() == source.is_some() {
        let message = "an affinity is one of `cookie` and `source`";
        reading.error(map.at, "affinity", message);
    }
    map.done();
    cookie.or(source).flatten()
}

fn cookie(reading: &Reading, node: &Node) -> Option<(Arc<str>, Duration)> {
    let map = reading.map(node, &SPLIT_COOKIE)?;
    let name = map.with("name", |reading, node| {
        reading.parsed(node, "name", cookie_name)
    });
    let ttl = map.with("ttl", |reading, node| {
        let ttl = reading.wait(node)?;
        let range = Duration::from_secs(1)..=limits::SPLIT_TTL_MOST;
        // A cookie's age is told in whole seconds.
        if !range.contains(&ttl) || ttl.subsec_nanos() > 0 {
            let message = "a cookie lasts 1s to 7d, in whole seconds";
            reading.error(node.at, "range", message);
            return None;
        }
        Some(ttl)
    });
    let sound = |key| map.stands(key).is_some();
    let (names, lasts) = (sound("name"), sound("ttl"));
    map.done();
    Some((
        if names {
            name?
        } else {
            limits::SPLIT_COOKIE.into()
        },
        if lasts { ttl? } else { limits::SPLIT_TTL },
    ))
}

/// A token (RFC 6265 section 4.1.1).
pub(in crate::lower) fn cookie_name(written: &Scalar) -> Result<Arc<str>, String> {
    let text = written.value();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(token) {
        return Err(format!(
            "`{written}` is no name of a cookie: 1 to 64 letters, digits, `-`, `_` and `.`"
        ));
    }
    Ok(text.into())
}
