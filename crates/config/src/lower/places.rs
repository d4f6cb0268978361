//! Owns names of listeners and services, and where what they name stands in the plan.

use std::collections::HashMap;

use super::named::Named;
use super::{Parts, Placed, RawRule, host_map};
use crate::problem::At;
use crate::read::{Reading, Scalar};

/// So many names are listed in a message.
const NAMES_SHOWN: usize = 20;

/// Puts places in the plan where names stood.
pub(super) fn resolve(
    raw: &mut RawRule,
    parts: &Parts,
    (listeners, services): (&Places<'_>, &Places<'_>),
    reading: &Reading,
) {
    for (at, name) in &raw.listeners {
        let found = listeners.get(name.value()).copied();
        raw.rule.listeners.extend(found);
        if found.is_none() && !parts.stands("listeners", Some(name.value())) {
            let message = format!(
                "there is no listener `{name}`; there are: {}",
                names(&parts.listeners)
            );
            reading.error(*at, "unknown_listener", message);
        }
    }
    let found = found(&raw.services, parts, services, reading);
    raw.rule.place_services(&found);
    if let Some(map) = &raw.map {
        raw.rule.action = host_map::resolve(map, parts, services, reading);
    }
}

/// The places of services in the plan.
pub(super) fn found(
    named: &[(At, Scalar)],
    parts: &Parts,
    services: &Places<'_>,
    reading: &Reading,
) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, name) in named {
        let place = services.get(name.value()).copied();
        if place.is_none() && !parts.stands("services", Some(name.value())) {
            let message = format!(
                "there is no service `{name}`; there are: {}",
                names(&parts.services)
            );
            reading.error(*at, "unknown_service", message);
        }
        found.push(place.unwrap_or_default());
    }
    found
}

/// Where parts stand in the plan, by name.
pub(super) type Places<'p> = HashMap<&'p str, usize>;

pub(super) fn places<T: Named>(parts: &[Placed<T>]) -> Places<'_> {
    let all = parts.iter().enumerate();
    all.map(|(at, placed)| (placed.part.name(), at)).collect()
}

/// The first names and how many more there are: all of them in each of many messages would be quadratic.
fn names<T: Named>(parts: &[Placed<T>]) -> String {
    let shown: Vec<_> = parts
        .iter()
        .take(NAMES_SHOWN)
        .map(|placed| placed.part.name())
        .collect();
    let names = shown.join(", ");
    match parts.len().saturating_sub(NAMES_SHOWN) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}
