//! Owns `rules:`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::ask::QUEUE_CLASS;

use super::paths::Unusual;
use super::{Placed, RawRule, host_map, rates};
use crate::keys::{RULE, RULE_LIMITS, RULE_TIMEOUTS, WHEN};
use crate::limits;
use crate::plan::{Action, Beside, Conditions, Further, RatePlan, RulePlan};
use crate::problem::At;
use crate::read::{Fields, Reading, Scalar};
use crate::tree::Node;

use actions::{Around, action, fallback, rewritten};
pub(super) use actions::{Services, cookie_name, sides};
use conditions::conditions;
pub(super) use conditions::host;
use further::Shared;

pub(crate) use actions::is_split;

/// What a request must be like.
mod conditions;

/// What it must be like beyond host, path and method.
mod further;

/// What is done with it.
mod actions;

pub(super) fn read(reading: &Reading, node: &Node, into: &mut Vec<Placed<RawRule>>) {
    let earlier = into
        .iter()
        .map(|placed| (placed.part.rule.name.clone(), placed.at));
    let mut seen: HashMap<Arc<str>, At> = earlier.collect();
    let room = limits::RULES.saturating_sub(into.len());
    let what = format!("{} rules", limits::RULES);
    let items = reading.first(reading.items(node), room, |node| node.at, &what);
    for (number, item) in items.iter().enumerate() {
        if let Some(fields) = reading.map(item, &RULE) {
            let raw = rule(number, fields);
            let at = item.at;
            if let Some(raw) = raw {
                if let Some(earlier) = seen.insert(raw.rule.name.clone(), at) {
                    reading.error_with(
                        at,
                        "duplicate_name",
                        format!("two rules are called `{}`", raw.shown),
                        earlier,
                    );
                }
                into.push(Placed { at, part: raw });
            }
        }
    }
}

/// The rule of a file that has none.
pub(super) fn everything(service: &str) -> RawRule {
    RawRule {
        rule: RulePlan {
            name: limits::RULE_NAME.into(),
            priority: limits::PRIORITY,
            listeners: Vec::new(),
            when: Conditions::default(),
            action: Action::Forward(0),
            beside: Beside::default(),
            exchange: None,
            idle_body: None,
            body: None,
            class: QUEUE_CLASS,
            rates: None,
        },
        shown: limits::RULE_NAME.into(),
        services: vec![(
            At {
                file: 0,
                line: 1,
                column: 1,
                length: 1,
            },
            Scalar::plain(service),
        )],
        map: None,
        listeners: Vec::new(),
        whole: true,
        unusual: Vec::new(),
    }
}

fn rule(number: usize, fields: Fields<'_>) -> Option<RawRule> {
    let reading = fields.reading;
    let name = fields
        .text("name")
        .unwrap_or_else(|| Scalar::plain(&format!("rule-{}", number + 1)));
    let priority = fields.number("priority");
    let listeners = fields.get("listeners").map(|node| {
        let names = values(reading, node, "listeners");
        names
            .iter()
            .filter_map(|node| Some((node.at, reading.text(node)?)))
            .collect()
    });
    let unusual = Unusual::default();
    let shared = Shared::new(&unusual);
    let mut when = Conditions::default();
    if let Some(node) = fields.get("when")
        && let Some(map) = shared.noted(reading.map(node, &WHEN))
    {
        when = conditions(&map, 0, &shared);
        map.done();
    }
    let mut map = None;
    if let Some(node) = fields.get("host_map") {
        map = shared.noted(host_map::read(reading, node));
        // First: it costs least.
        let hosts = map.iter().map(|map| Further::Hosts(map.map.clone()));
        when.further = hosts.chain(when.further.iter().cloned()).collect();
    }
    let whole = shared.whole.get();
    let mut services = Services::new();
    let around = Around {
        name: &name,
        when: &when,
        whole,
    };
    let action = action(&fields, around, &mut services);
    let mut beside = Beside {
        rewrite: rewritten(&fields),
        fallback: fallback(&fields, around, &mut services),
        ..Beside::default()
    };
    let (exchange, idle_body) = waits(&fields, &mut beside);
    let (body, class, rates) = limits_of(&fields);
    fields.done();
    Some(RawRule {
        rule: RulePlan {
            name: name.value().into(),
            priority: priority.unwrap_or(limits::PRIORITY),
            listeners: Vec::new(),
            when,
            action: action?,
            beside,
            exchange,
            idle_body,
            body,
            class,
            rates,
        },
        shown: name.to_string(),
        services,
        map,
        listeners: listeners.unwrap_or_default(),
        whole,
        unusual: unusual.into_inner(),
    })
}

/// `limits:`; of a body, the class in queues, and how many pass.
fn limits_of(fields: &Fields<'_>) -> (Option<u64>, u16, Option<Arc<[RatePlan]>>) {
    let (mut body, mut class, mut rates) = (None, QUEUE_CLASS, None);
    if let Some(map) = fields.map("limits", &RULE_LIMITS) {
        body = map.with("body", Reading::size);
        map.set_number("class", &mut class);
        rates = rates::read(&map, rates::Of::Rule);
        map.done();
    }
    (body, class, rates)
}

/// `timeouts:`; of the exchange and of a body, the others beside.
fn waits(fields: &Fields<'_>, beside: &mut Beside) -> (Option<Duration>, Option<Duration>) {
    let Some(map) = fields.map("timeouts", &RULE_TIMEOUTS) else {
        return (None, None);
    };
    let (exchange, idle_body) = (
        map.with("exchange", Reading::wait),
        map.with("idle_body", Reading::wait),
    );
    beside.connect = map.with("connect", Reading::wait);
    beside.per_try = map.with("per_try", Reading::wait);
    beside.tunnel = map.with("tunnel", Reading::wait);
    if let (Some(per_try), Some(exchange)) = (beside.per_try, exchange)
        && per_try > exchange
    {
        let message = "`per_try` is longer than `exchange`, which ends it";
        fields.reading.error(map.at, "deadlines", message);
    }
    map.done();
    (exchange, idle_body)
}

/// The values of one condition.
fn values<'t>(reading: &Reading, node: &'t Node, key: &str) -> &'t [Node] {
    let most = limits::RULE_VALUES;
    let what = format!("{most} values of `{key}` in one rule");
    reading.first(reading.items(node), most, |node| node.at, &what)
}
