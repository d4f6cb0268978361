//! Owns what a process is by its configuration: how many workers it has, whom it becomes, and where it stands.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::{Parts, zones};
use crate::plan::Workers;
use crate::read::{Fields, Scalar};
use crate::tree::Node;

/// Reads the keys of it, each of which stands in one of the files.
pub(super) fn read<'t>(
    fields: &Fields<'t>,
    parts: &mut Parts,
    mut once: impl FnMut(&'static str) -> Option<&'t Node>,
) {
    let reading = fields.reading;
    if let Some(node) = once("workers") {
        parts.workers = workers(fields, node);
    }
    if let Some(node) = once("user") {
        parts.user = reading.parsed(node, "name", account);
    }
    if let Some(node) = once("group") {
        let group = reading.parsed(node, "name", account);
        parts.group = group.map(|group| (node.at, group));
    }
    if let Some(node) = once("zone") {
        parts.zone = zones::zone(reading, node).map(|zone| (node.at, zone));
    }
}

/// A user or a group, by name or number. Whether there is one, who runs it knows.
fn account(written: &Scalar) -> Result<Arc<str>, String> {
    let text = written.value();
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.$@".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(letters) {
        return Err(format!(
            "`{written}` is no name or number of a user or group"
        ));
    }
    Ok(text.into())
}

fn workers(fields: &Fields<'_>, node: &Node) -> Option<Workers> {
    let text = fields.reading.text(node);
    if text.is_some_and(|text| text.value() == "auto") {
        return Some(Workers::Auto);
    }
    NonZeroUsize::new(fields.number("workers")?).map(Workers::Fixed)
}
