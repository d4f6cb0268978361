//! Owns `rate:` of a rule and of a listener.

use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::rate::RateSettings;

use super::rules::cookie_name;
use super::services::token;
use crate::keys::{RATE, RATE_PER, RATE_WORDS};
use crate::limits;
use crate::plan::{RateBy, RatePlan};
use crate::read::{Fields, Reading};
use crate::tree::{Node, Value};

/// Where rate limits stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Rule,
    /// Of requests.
    Listener,
    /// Of connections: nothing of a request is there to count by.
    Flows,
}

/// The limits of a `limits:`. None: nothing is said; an empty list is no limit.
pub(super) fn read(fields: &Fields<'_>, of: Of) -> Option<Arc<[RatePlan]>> {
    let (reading, node) = (fields.reading, fields.get("rate")?);
    let what = format!("{} rate limits in one place", limits::RATES);
    let items = reading.items(node);
    let items = reading.first(items, limits::RATES, |node| node.at, &what);
    let mut all: Vec<RatePlan> = Vec::new();
    for plan in items.iter().filter_map(|item| rate(reading, item, of)) {
        let same = all.iter().filter(|other| begins(&other.name, &plan.name));
        let name = match same.count() {
            0 => plan.name,
            earlier => format!("{} {}", plan.name, earlier + 1).into(),
        };
        all.push(RatePlan { name, ..plan });
    }
    Some(all.into())
}

/// Whether a name is this one, or this one with a number.
fn begins(name: &str, with: &str) -> bool {
    let rest = name.strip_prefix(with);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn rate(reading: &Reading, node: &Node, of: Of) -> Option<RatePlan> {
    let map = reading.map(node, &RATE)?;
    let per = match map.get("per") {
        Some(node) => per(reading, node, of),
        None => Some(vec![RateBy::Client]),
    };
    if map.get("allow").is_none() {
        let message = "`allow` is missing: how many pass? Write `allow: 100/s`";
        reading.error(map.at, "missing", message);
    }
    let allow = map.with("allow", Reading::allowance);
    let burst: Option<NonZeroU32> = map.number("burst").and_then(NonZeroU32::new);
    let mut keys = limits::RATE_KEYS;
    map.set_number("keys", &mut keys);
    if per.as_ref().is_some_and(Vec::is_empty) {
        if let Some(node) = map.get("keys") {
            let message = "everybody is one here: there is one key, and no `keys` to bound";
            reading.error(node.at, "keys", message);
        }
        keys = 1;
    }
    let mut ipv6_prefix = limits::RATE_IPV6_PREFIX;
    map.set_number("ipv6_prefix", &mut ipv6_prefix);
    let mut shadow = false;
    map.set("shadow", Reading::boolean, &mut shadow);
    let fields = map.with("fields", Reading::boolean).unwrap_or(false);
    if let (Some(node), true) = (map.get("fields"), fields && of == Of::Flows) {
        let message = "a connection gets no fields; TCP has none";
        reading.error(node.at, "protocol", message);
    }
    map.done();
    let (per, (allow, unit)) = (per?, allow?);
    let settings = RateSettings::new(allow, unit)
        .burst(burst.unwrap_or_else(|| of_a_second(allow, unit)))
        .keys(NonZeroUsize::new(keys)?);
    let fills = unit.as_nanos() * u128::from(settings.burst.get()) / u128::from(allow.get());
    if fills > limits::RATE_FILLS.as_nanos() {
        let message = "such a burst takes more than a year to come back; write a smaller `burst`";
        reading.error(node.at, "range", message);
        return None;
    }
    Some(RatePlan {
        name: named(&per, of),
        per,
        settings,
        ipv6_prefix,
        shadow,
        fields,
    })
}

/// Whole ones of a second, at least one.
fn of_a_second(allow: NonZeroU32, unit: Duration) -> NonZeroU32 {
    let seconds = unit.as_secs().max(1);
    let whole = u64::from(allow.get()) / seconds;
    let whole = u32::try_from(whole).unwrap_or(u32::MAX);
    NonZeroU32::new(whole).unwrap_or(NonZeroU32::MIN)
}

/// By what it counts, for metrics, logs and clients: the names of fields and cookies are nobody's business there.
fn named(per: &[RateBy], of: Of) -> Arc<str> {
    if per.is_empty() {
        return match of {
            Of::Rule => "rule".into(),
            Of::Listener | Of::Flows => "listener".into(),
        };
    }
    let word = |by: &RateBy| match by {
        RateBy::Client => "client",
        RateBy::Header(_) => "header",
        RateBy::Cookie(_) => "cookie",
        RateBy::Path(_) => "path",
    };
    let words: Vec<_> = per.iter().map(word).collect();
    words.join("+").into()
}

/// Whom a limit counts. None: it cannot be read.
fn per(reading: &Reading, node: &Node, of: Of) -> Option<Vec<RateBy>> {
    let items = reading.items(node);
    if items.is_empty() {
        let message = "an empty list counts nobody; everybody as one is `per: rule`";
        reading.error(node.at, "empty", message);
        return None;
    }
    let everybody = |node: &&Node| matches!(&node.value, Value::Scalar { text, .. } if matches!(&**text, "rule" | "listener"));
    if let (Some(node), [_, _, ..]) = (items.iter().find(everybody), items) {
        let message = "everybody as one leaves nothing to tell apart; it stands alone";
        reading.error(node.at, "per", message);
        return None;
    }
    let mut all = Vec::new();
    for item in items {
        let Some(by) = one(reading, item, of)? else {
            continue;
        };
        if all.contains(&by) {
            reading.error(item.at, "per", "the same stands here twice");
            return None;
        }
        all.push(by);
    }
    Some(all)
}

/// One part; none inside: everybody.
fn one(reading: &Reading, node: &Node, of: Of) -> Option<Option<RateBy>> {
    let by = match &node.value {
        Value::Map(_) => Some(by_map(reading, node)?),
        _ => match reading.word(node, "value", RATE_WORDS)? {
            "client" => Some(RateBy::Client),
            "path" => Some(RateBy::Path(None)),
            word => {
                let (meant, place) = match of {
                    Of::Rule => ("rule", "a rule"),
                    Of::Listener | Of::Flows => ("listener", "a listener"),
                };
                if word != meant {
                    let message = format!("of {place}, everybody as one is `per: {meant}`");
                    reading.error(node.at, "per", message);
                    return None;
                }
                None
            }
        },
    };
    if of == Of::Flows && by.as_ref().is_some_and(|by| *by != RateBy::Client) {
        let message =
            "a connection of TCP shows no request; count `per: client` or `per: listener`";
        reading.error(node.at, "protocol", message);
        return None;
    }
    Some(by)
}

fn by_map(reading: &Reading, node: &Node) -> Option<RateBy> {
    let map = reading.map(node, &RATE_PER)?;
    let header = map.get("header").map(|node| {
        let name = reading.parsed(node, "name", token)?;
        Some(RateBy::Header(name.to_ascii_lowercase().into()))
    });
    let cookie = map.get("cookie").map(|node| {
        reading
            .parsed(node, "name", cookie_name)
            .map(RateBy::Cookie)
    });
    let path = map.get("path").map(|_| {
        let segments: Option<u8> = map.number("path");
        Some(RateBy::Path(Some(NonZeroU8::new(segments?)?)))
    });
    let all: Vec<_> = [header, cookie, path].into_iter().flatten().collect();
    let at = map.at;
    map.done();
    match <[_; 1]>::try_from(all) {
        Ok([one]) => one,
        Err(_) => {
            let message = "it is one of `header`, `cookie` and `path`; several are a list";
            reading.error(at, "per", message);
            None
        }
    }
}
