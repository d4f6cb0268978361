//! Owns what a rule does: its one action, and what goes with it.

use std::sync::Arc;

use crate::keys::{DENY, FALLBACK, RESPOND};
use crate::limits;
use crate::lower::pages;
use crate::plan::{Action, Conditions, FallbackPlan, RespondPlan, RewritePlan};
use crate::problem::At;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::Node;

use forward::{forward, named};
use redirect::redirect;

/// One service, or a split over several.
mod forward;

/// Where a client is sent.
mod redirect;

/// What backend and client see otherwise.
mod rewrite;

/// Fields that are changed.
mod edits;

/// Texts in which a request fills places.
mod template;

pub(crate) use forward::is_split;
pub(in crate::lower) use forward::{cookie_name, sides};

/// The longest answer of a rule.
const BODY_MOST: usize = 64 * 1024;

/// Services that a rule names, with their places; an action says which by their number here.
pub(in crate::lower) type Services = Vec<(At, Scalar)>;

/// What else of the rule an action is read with.
#[derive(Clone, Copy)]
pub(super) struct Around<'r> {
    /// Its name, for messages.
    pub(super) name: &'r Scalar,
    pub(super) when: &'r Conditions,
    /// Whether all conditions could be read.
    pub(super) whole: bool,
}

/// The one action of a rule.
pub(super) fn action(
    fields: &Fields<'_>,
    around: Around<'_>,
    services: &mut Services,
) -> Option<Action> {
    let reading = fields.reading;
    let mut actions: Vec<(At, Option<Action>)> = Vec::new();
    if let Some((key, node)) = fields.entry("forward") {
        actions.push((key.at, forward(reading, node, services)));
    }
    if let Some((key, _)) = fields.stands("host_map") {
        actions.push((key.at, Some(Action::Forward(0))));
    }
    if let Some((key, node)) = fields.entry("redirect") {
        let to = redirect(reading, node, around);
        actions.push((key.at, to.map(Action::Redirect)));
    }
    if let Some((key, node)) = fields.entry("respond") {
        actions.push((key.at, respond(reading, node).map(Action::Respond)));
    }
    if let Some((key, node)) = fields.entry("deny") {
        actions.push((key.at, deny(reading, node).map(Action::Deny)));
    }
    actions.sort_by_key(|(at, _)| *at);
    if let [_, (second, _), ..] = &actions[..] {
        let message = "a rule has one of `forward`, `host_map`, `redirect`, `respond` and `deny`";
        reading.error(*second, "two_actions", message);
    }
    if actions.is_empty() {
        let message = format!(
            "rule `{}` does nothing; give it `forward`, `redirect`, `respond` or `deny`",
            around.name
        );
        reading.error(fields.at, "missing", message);
    }
    actions.into_iter().next().and_then(|(_, action)| action)
}

/// Whether a backend is to serve it.
fn forwards(fields: &Fields<'_>) -> bool {
    ["forward", "host_map"]
        .iter()
        .any(|key| fields.stands(key).is_some())
}

/// `rewrite:`, which goes with every action as far as that leaves something to rewrite.
pub(super) fn rewritten(fields: &Fields<'_>) -> Option<Arc<RewritePlan>> {
    let forwards = forwards(fields);
    let plan = fields.with("rewrite", |reading, node| {
        rewrite::rewrite(reading, node, forwards)
    })?;
    (plan != RewritePlan::default()).then(|| plan.into())
}

/// `fallback:` of a rule that forwards.
pub(super) fn fallback(
    fields: &Fields<'_>,
    around: Around<'_>,
    services: &mut Services,
) -> Option<Arc<FallbackPlan>> {
    let reading = fields.reading;
    let (key, node) = fields.entry("fallback")?;
    if !forwards(fields) {
        let message = "only a rule that forwards can be refused by a service";
        reading.error(key.at, "fallback", message);
    }
    let map = reading.map(node, &FALLBACK)?;
    let mut plans = Vec::new();
    if let Some(node) = map.get("forward") {
        let at = node.at;
        let only = match &services[..] {
            [(_, only)] => Some(only.value().to_owned()),
            _ => None,
        };
        let plan = named(reading, node, services).map(FallbackPlan::Forward);
        let same = services.last().is_some_and(|(_, name)| {
            plan.is_some() && only.as_deref().is_some_and(|only| only == name.value())
        });
        if same {
            let message = "a service that refuses is no fallback for itself; name another one";
            reading.error(at, "fallback", message);
        }
        plans.push(plan);
    }
    if let Some(node) = map.get("redirect") {
        plans.push(redirect(reading, node, around).map(FallbackPlan::Redirect));
    }
    if let Some(node) = map.get("respond") {
        plans.push(respond(reading, node).map(FallbackPlan::Respond));
    }
    if plans.len() != 1 {
        let message = "a fallback is one of `forward`, `redirect` and `respond`";
        reading.error(map.at, "fallback", message);
    }
    map.done();
    plans.into_iter().next().flatten().map(Arc::new)
}

fn respond(reading: &Reading, node: &Node) -> Option<RespondPlan> {
    let map = reading.map(node, &RESPOND)?;
    let status = map.number("status");
    let content_type = map.with("content_type", pages::media_type);
    let text = map.text("body");
    let body = text.as_ref().map_or("", Scalar::value);
    if body.len() > BODY_MOST {
        reading.error(
            map.at,
            "range",
            format!("an answer's body has at most {} KiB", BODY_MOST / 1024),
        );
    }
    map.done();
    Some(RespondPlan {
        status: status.unwrap_or(limits::RESPOND_STATUS),
        content_type: content_type.unwrap_or_else(|| limits::RESPOND_TYPE.into()),
        body: body.as_bytes().into(),
    })
}

/// `true`, or a map.
fn deny(reading: &Reading, node: &Node) -> Option<u16> {
    if node.is_scalar() {
        if !reading.boolean(node)? {
            let message = "`deny: false` does nothing; leave it out, and name what is done";
            reading.error(node.at, "deny", message);
            return None;
        }
        return Some(limits::DENY_STATUS);
    }
    let map = reading.map(node, &DENY)?;
    let status = map.number("status");
    map.done();
    Some(status.unwrap_or(limits::DENY_STATUS))
}
