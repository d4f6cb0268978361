//! Owns `policy:` of a service: a name in any spelling, what a hash goes by, or a policy of the program's own.

use evenkeel_balance::policy::named;
use evenkeel_balance::settings::{HashMethod, LoadBound, PolicyChoice};

use super::services::token;
use crate::keys::{HASH, HASH_KEY, POLICY};
use crate::nearest::nearest;
use crate::plan::HashKey;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::{Node, Value};

/// The policy, and what it hashes if it hashes.
pub(super) fn read(fields: &Fields<'_>) -> Option<(PolicyChoice, Option<HashKey>)> {
    let (reading, node) = (fields.reading, fields.get("policy")?);
    if matches!(node.value, Value::Map(_)) {
        return with_settings(reading.map(node, &POLICY)?);
    }
    let (policy, ketama) = reading.parsed(node, "policy", |text| {
        let policy = named::built_in(text.value()).ok_or_else(|| unknown(text))?;
        Ok((policy, letters(text.value()) == "ketama"))
    })?;
    // Other names say how keys are spread; this one, where each of them is.
    if ketama {
        reading.warning(
            node.at,
            "placement",
            "`ketama` is read as `ring`, whose points are its own: keys are spread as there, and none is where ketama has it; write `ring`",
        );
    }
    let key = policy.is_keyed().then_some(HashKey::Source);
    Some((policy, key))
}

/// What is wrong with a name that is none.
pub(super) fn unknown(text: &Scalar) -> String {
    if letters(text.value()) == "custom" {
        return "a policy of the program's own is written `{ custom: name }`".into();
    }
    let known: Vec<(String, &str)> = named::names().map(|name| (letters(name), name)).collect();
    let word = letters(text.value());
    let meant = nearest(known.iter().map(|(letters, _)| &**letters), &word);
    let meant = known.iter().find(|(letters, _)| Some(&**letters) == meant);
    let meant = meant.map(|(_, name)| format!("; did you mean `{name}`?"));
    let built_in: Vec<_> = PolicyChoice::BUILT_IN
        .iter()
        .map(|policy| format!("`{}`", policy.name()))
        .collect();
    format!(
        "`{text}` is no policy{} There are {}",
        meant.unwrap_or_else(|| ".".into()),
        built_in.join(", ")
    )
}

fn letters(name: &str) -> String {
    let counts = |letter: &char| !matches!(letter, '-' | '_' | ' ');
    name.to_ascii_lowercase().chars().filter(counts).collect()
}

/// `{ hash: ... }` or `{ custom: ... }`
fn with_settings(map: Fields<'_>) -> Option<(PolicyChoice, Option<HashKey>)> {
    let reading = map.reading;
    let hash = map.map("hash", &HASH).map(hash);
    let custom = map.with("custom", custom);
    if map.get("hash").is_some() == map.get("custom").is_some() {
        reading.error(map.at, "policy", "a policy with settings is `{ hash: { key: source } }` or `{ custom: name }`; the others are written by their name");
    }
    map.done();
    hash.or(custom.map(|policy| (policy, None)))
}

/// One that the program registered.
fn custom(reading: &Reading, node: &Node) -> Option<PolicyChoice> {
    let policies = reading.policies();
    reading.parsed(node, "policy", |text| {
        policies.own(text.value()).ok_or_else(|| {
            let own: Vec<_> = policies.own_names().map(|name| format!("`{name}`")).collect();
            let meant = nearest(policies.own_names(), text.value());
            let meant = meant.map(|name| format!("; did you mean `{name}`?"));
            match own.is_empty() {
                true => format!(
                    "`{text}` is no policy: this program has none of its own; the built-in ones are written by their name, like `policy: least_time`"
                ),
                false => format!(
                    "`{text}` is no policy of this program{} It has {}",
                    meant.unwrap_or_else(|| ".".into()),
                    own.join(", ")
                ),
            }
        })
    })
}

fn hash(map: Fields<'_>) -> (PolicyChoice, Option<HashKey>) {
    let key = hash_key(&map);
    let method = match map.word("method") {
        Some("rendezvous") => HashMethod::Rendezvous,
        Some("ring") => HashMethod::Ring,
        _ => HashMethod::Maglev,
    };
    let bound = map.with("bounded", bound).flatten();
    map.done();
    let policy = match bound {
        Some(bound) => PolicyChoice::Bounded(method, bound),
        None => PolicyChoice::Hash(method),
    };
    (policy, Some(key.unwrap_or(HashKey::Source)))
}

/// `on`, `off` or a factor.
fn bound(reading: &Reading, node: &Node) -> Option<Option<LoadBound>> {
    reading.parsed(node, "bounded", |text| match text.value() {
        "off" => Ok(None),
        "on" => Ok(Some(LoadBound::DEFAULT)),
        number => {
            let plain = number
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.');
            let factor = number.parse().ok().filter(|_| plain);
            let bound = factor.and_then(LoadBound::new);
            bound.map(Some).ok_or_else(|| {
                format!("`on`, `off` or a number from 1.05 to 100 is expected, not `{text}`")
            })
        }
    })
}

fn hash_key(fields: &Fields<'_>) -> Option<HashKey> {
    let (reading, node) = (fields.reading, fields.get("key")?);
    if matches!(node.value, Value::Map(_)) {
        let map = reading.map(node, &HASH_KEY)?;
        let named = |reading: &Reading, node: &Node| reading.parsed(node, "name", token);
        let header = map.with("header", named);
        let header = header.map(|name| HashKey::Header(name.to_ascii_lowercase().into()));
        let cookie = map
            .with("cookie", named)
            .map(|name| HashKey::Cookie(name.into()));
        if map.get("header").is_some() == map.get("cookie").is_some() {
            let message = "a key is one of `{ header: name }` and `{ cookie: name }`";
            reading.error(map.at, "key", message);
        }
        map.done();
        return header.or(cookie);
    }
    Some(match fields.word("key")? {
        "path" => HashKey::Path,
        "uri" => HashKey::Uri,
        _ => HashKey::Source,
    })
}
