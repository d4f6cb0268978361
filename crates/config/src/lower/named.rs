//! Owns maps whose keys are names: `listeners:` and `services:`, and what a name may be.

use std::collections::HashMap;
use std::sync::Arc;

use crate::keys::Keys;
use crate::limits;
use crate::lower::{Names, Placed};
use crate::plan::{ListenerPlan, ServicePlan};
use crate::problem::{At, clipped};
use crate::read::Fields;
use crate::tree::Key;

/// Reads a map of names, into what other files brought.
pub(super) fn named<T>(
    fields: &Fields<'_>,
    key: &'static str,
    keys: &'static Keys,
    names: &mut Names,
    into: &mut Vec<Placed<T>>,
    mut read: impl FnMut(Arc<str>, At, Fields<'_>) -> Option<T>,
) where
    T: Named,
{
    let reading = fields.reading;
    let Some(map) = fields.get(key).and_then(|node| reading.free(node, key)) else {
        return;
    };
    let most = match key {
        "services" => limits::SERVICES,
        _ => limits::LISTENERS_MOST,
    };
    let names = names.entry(key).or_default();
    let room = most.saturating_sub(names.len());
    let map = reading.first(map, room, |(key, _)| key.at, &format!("{most} {key}"));
    let earlier = into
        .iter()
        .map(|placed| (placed.part.name().to_owned(), placed.at));
    let mut seen: HashMap<String, At> = earlier.collect();
    for (Key { at, text }, node) in map {
        if let Err(message) = name(text) {
            reading.error(*at, "name", message);
        }
        names.insert(text.clone());
        if let Some(earlier) = seen.insert(text.clone(), *at) {
            reading.error_with(
                *at,
                "duplicate_name",
                format!("`{}` stands in `{key}` twice", clipped(text)),
                earlier,
            );
        }
        let part = reading
            .map(node, keys)
            .and_then(|fields| read(text.as_str().into(), *at, fields));
        if let Some(part) = part {
            into.push(Placed { at: *at, part });
        }
    }
}

/// What has a name.
pub(super) trait Named {
    fn name(&self) -> &str;
}

impl Named for ListenerPlan {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for ServicePlan {
    fn name(&self) -> &str {
        &self.name
    }
}

/// A name that can stand in logs and metrics as it is.
pub(super) fn name(text: &str) -> Result<(), String> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if text.is_empty() || text.len() > 64 || !plain {
        return Err(format!(
            "`{}` is no name: 1 to 64 letters, digits, `-`, `_` and `.`",
            clipped(text)
        ));
    }
    Ok(())
}
