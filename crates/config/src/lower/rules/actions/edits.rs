//! Owns `request_headers:` and `response_headers:` of a rewrite.

use super::template::{self, Part};
use crate::keys::Keys;
use crate::limits;
use crate::plan::{EditsPlan, FieldName, Side, Template};
use crate::problem::{At, clipped};
use crate::read::Reading;
use crate::tree::Node;

pub(super) fn edits(
    reading: &Reading,
    node: &Node,
    keys: &'static Keys,
    side: Side,
) -> Option<EditsPlan> {
    let map = reading.map(node, keys)?;
    let mut plan = EditsPlan::default();
    if let Some(node) = map.get("remove") {
        let items = first(reading, reading.items(node), |node| node.at);
        plan.remove.extend(items.iter().filter_map(|node| {
            let text = reading.text(node)?;
            name(reading, node.at, text.value(), &text.to_string(), side)
        }));
    }
    if let Some(node) = map.get("set") {
        plan.set = values(reading, node, side);
    }
    if let Some(node) = map.get("add") {
        plan.add = values(reading, node, side);
    }
    let at = map.at;
    map.done();
    let mut put = plan.set.iter().chain(&plan.add);
    if let Some((twice, _)) = put.find(|(name, _)| plan.remove.contains(name)) {
        let message = format!(
            "`{}` is removed here and put in again; `set` does both",
            twice.as_str()
        );
        reading.error(at, "edited_twice", message);
    }
    Some(plan)
}

fn values(reading: &Reading, node: &Node, side: Side) -> Vec<(FieldName, Template)> {
    let Some(entries) = reading.free(node, "fields") else {
        return Vec::new();
    };
    let entries = first(reading, entries, |(key, _)| key.at);
    let mut all: Vec<(FieldName, Template)> = Vec::new();
    for (key, node) in entries {
        let name = name(reading, key.at, &key.text, &clipped(&key.text), side);
        let value = template::read(reading, node, Part::Field, None);
        let Some((name, value)) = name.zip(value) else {
            continue;
        };
        if all.iter().any(|(other, _)| *other == name) {
            let message = format!("`{}` stands here in two spellings", name.as_str());
            reading.error(key.at, "edited_twice", message);
        }
        all.push((name, value));
    }
    all
}

fn first<'t, T>(reading: &Reading, items: &'t [T], place: impl Fn(&T) -> At) -> &'t [T] {
    let what = format!("{} fields that one rule changes", limits::EDITS);
    reading.first(items, limits::EDITS, place, &what)
}

fn name(reading: &Reading, at: At, text: &str, shown: &str, side: Side) -> Option<FieldName> {
    FieldName::new(text, side)
        .map_err(|why| reading.error(at, "field", format!("`{shown}` {why}")))
        .ok()
}
