//! Owns names of cookies that are in each other's way: of services and splits that one client meets, and of applications.
//!
//! A browser has one cookie of a name for a host and a path. What sets one of ours over another of ours makes both forget their clients;
//! what an application sets under such a name, no backend sees.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use crate::lower::{Parts, RawRule};
use crate::plan::{Action, AffinityBy, HostPattern, SplitAffinity};
use crate::problem::At;
use crate::read::Reading;

/// Pairs of rules that are compared: of a plan where one name is in so many more hands, some is not told.
const PAIRS_MOST: usize = 1_000_000;

/// What sets a cookie of ours.
struct Setter<'p> {
    at: At,
    /// The service, or the rule of a split.
    service: Option<&'p str>,
    shown: String,
    /// Those by which clients meet it.
    rules: Vec<&'p RawRule>,
    path: &'p str,
    domain: Option<&'p str>,
}

pub(super) fn clashes(parts: &Parts, reading: &Reading) {
    let places: HashMap<&str, At> = parts
        .noted
        .cookies
        .iter()
        .map(|(at, of)| (&**of, *at))
        .collect();
    let setters = setters(parts, &places);
    for placed in &parts.services {
        if let Some(AffinityBy::AppCookie { name, .. }) =
            placed.part.affinity.as_ref().map(|one| &one.by)
            && let Some(first) = setters.get(&**name).and_then(|all| all.first())
        {
            let message = format!(
                "`{name}` is the cookie of {}: no backend sees it, and none can set it; give one of them another name",
                first.shown
            );
            let at = places.get(&*placed.part.name).copied();
            reading.error_with(at.unwrap_or(placed.at), "cookie", message, first.at);
        }
    }
    let left = Cell::new(PAIRS_MOST);
    for (name, all) in &setters {
        for (number, one) in all.iter().enumerate() {
            // One message for each: more say nothing new.
            let mut earlier = all[..number].iter();
            let earlier = earlier.find(|earlier| one.is_in_the_way_of(earlier, &left));
            let Some(earlier) = earlier else { continue };
            let (both, also) = (format!("{} and {}", earlier.shown, one.shown), earlier.at);
            if one.is_set_with(earlier) {
                let message = format!(
                    "{both} set one cookie, `{name}`, with one answer; give it another name here"
                );
                reading.error_with(one.at, "cookie", message, also);
            } else {
                let message = format!(
                    "{both} keep their clients by one cookie, `{name}`, and each sets its own over the other's where a client meets both; give them names of their own"
                );
                reading.warning(one.at, "cookie", message);
            }
        }
    }
}

/// What sets cookies, by their names.
fn setters<'p>(parts: &'p Parts, places: &HashMap<&str, At>) -> BTreeMap<&'p str, Vec<Setter<'p>>> {
    let mut rules: HashMap<&str, Vec<&RawRule>> = HashMap::new();
    let mut all: BTreeMap<&str, Vec<Setter<'_>>> = BTreeMap::new();
    for placed in &parts.rules {
        let rule = &placed.part;
        for (_, service) in &rule.services {
            rules.entry(service.value()).or_default().push(rule);
        }
    }
    for placed in &parts.services {
        let service = &placed.part;
        let own = service.affinity.as_ref().and_then(|one| one.by.own());
        let Some(own) = own else { continue };
        all.entry(&own.name).or_default().push(Setter {
            at: places.get(&*service.name).copied().unwrap_or(placed.at),
            service: Some(&service.name),
            shown: format!("service `{}`", service.name),
            rules: rules.remove(&*service.name).unwrap_or_default(),
            path: attribute(&own.attributes, "Path").unwrap_or("/"),
            domain: attribute(&own.attributes, "Domain"),
        });
    }
    for placed in &parts.rules {
        let rule = &placed.part;
        if let Some(SplitAffinity::Cookie(name, _)) = split_affinity(rule) {
            all.entry(name).or_default().push(Setter {
                at: placed.at,
                service: None,
                shown: format!("the split of rule `{}`", rule.shown),
                rules: vec![rule],
                path: "/",
                domain: None,
            });
        }
    }
    all
}

fn split_affinity(rule: &RawRule) -> Option<&SplitAffinity> {
    match &rule.rule.action {
        Action::Split(plan) => plan.affinity.as_ref(),
        _ => None,
    }
}

fn attribute<'p>(attributes: &'p str, name: &str) -> Option<&'p str> {
    let mut all = attributes.split("; ").filter_map(|one| one.split_once('='));
    all.find(|(key, _)| *key == name).map(|(_, value)| value)
}

impl Setter<'_> {
    /// Whether a client may meet both where its browser has one cookie for them.
    fn is_in_the_way_of(&self, other: &Self, left: &Cell<usize>) -> bool {
        let paths = self.path.starts_with(other.path) || other.path.starts_with(self.path);
        let domains = self.domain.is_some() && self.domain == other.domain;
        let meet = |one: &&RawRule| {
            other.rules.iter().any(|two| {
                left.set(left.get().saturating_sub(1));
                match std::ptr::eq(*one, *two) {
                    _ if left.get() == 0 => false,
                    true => is_met_twice(one, self, other),
                    false => domains || hosts_meet(one, two),
                }
            })
        };
        paths && self.rules.iter().any(meet)
    }

    /// Whether a split sets its cookie with the answers of this service.
    fn is_set_with(&self, other: &Self) -> bool {
        let both = |split: &Self, service: &Self| {
            split.service.is_none()
                && service.service.is_some()
                && split.rules.iter().any(|rule| {
                    service
                        .rules
                        .iter()
                        .any(|other| std::ptr::eq(*rule, *other))
                })
        };
        both(self, other) || both(other, self)
    }
}

/// Whether a client of one rule meets both: of a split that keeps its clients only one side, of a map only the service of its host.
fn is_met_twice(rule: &RawRule, one: &Setter<'_>, other: &Setter<'_>) -> bool {
    let services = one.service.is_some() && other.service.is_some();
    !(services && (split_affinity(rule).is_some() || rule.map.is_some()))
}

/// Whether there is a host that surely is of both; patterns are compared as they are written.
fn hosts_meet(one: &RawRule, other: &RawRule) -> bool {
    // Whose hosts stand in a file, each in one rule mostly.
    if one.map.is_some() || other.map.is_some() {
        return false;
    }
    let (ours, theirs) = (&one.rule.when.hosts, &other.rule.when.hosts);
    ours.is_empty()
        || theirs.is_empty()
        || ours
            .iter()
            .any(|one| theirs.iter().any(|other| meets(one, other)))
}

fn meets(one: &HostPattern, other: &HostPattern) -> bool {
    use HostPattern::{Exact, Suffix, Wildcard};
    match (one, other) {
        (Exact(one), Exact(other)) => one == other,
        (Exact(name), Suffix(suffix)) | (Suffix(suffix), Exact(name)) => name.ends_with(&**suffix),
        (Suffix(one), Suffix(other)) => one.ends_with(&**other) || other.ends_with(&**one),
        (Wildcard(one), Wildcard(other)) => one.as_str() == other.as_str(),
        (Wildcard(_), Exact(_) | Suffix(_)) | (Exact(_) | Suffix(_), Wildcard(_)) => false,
    }
}
