//! Owns `resolver:`, and what it makes of the names of all services.

use super::{Placed, address};
use crate::keys::RESOLVER;
use crate::limits;
use crate::plan::{ResolverPlan, ServicePlan};
use crate::read::Reading;
use crate::tree::Node;

pub(super) fn read(reading: &Reading, node: &Node) -> Option<ResolverPlan> {
    let fields = reading.map(node, &RESOLVER)?;
    let mut plan = ResolverPlan::default();
    if let Some(node) = fields.get("servers") {
        let what = format!("{} servers", limits::NAME_SERVERS);
        let servers = reading.items(node);
        let servers = reading.first(servers, limits::NAME_SERVERS, |node| node.at, &what);
        let server = |node| reading.parsed(node, "address", address::server);
        plan.servers = servers.iter().filter_map(server).collect();
        if servers.is_empty() {
            let message = "nobody to ask; leave `servers` out to ask those of the system";
            reading.error(node.at, "empty", message);
        }
    }
    fields.set("timeout", Reading::wait, &mut plan.timeout);
    fields.set_number("attempts", &mut plan.attempts);
    fields.set("ttl_floor", Reading::wait, &mut plan.ttl_floor);
    fields.set("ttl_ceiling", Reading::wait, &mut plan.ttl_ceiling);
    if plan.ttl_floor > plan.ttl_ceiling {
        let message = "`ttl_floor` is longer than `ttl_ceiling`";
        reading.error(fields.at, "range", message);
    }
    fields.done();
    Some(plan)
}

/// Puts the resolver's ceiling where a name has no `refresh`, or a longer one.
pub(super) fn settle(
    services: &mut [Placed<ServicePlan>],
    resolver: &ResolverPlan,
    reading: &Reading,
) {
    let mut left = Some(limits::NAMES);
    for placed in services {
        let (at, service) = (placed.at, &mut placed.part);
        let before = left;
        left = left.and_then(|left| left.checked_sub(service.names.len()));
        if before.is_some() && left.is_none() {
            let most = limits::NAMES;
            let message =
                format!("more than {most} names to look up, those of all services together");
            reading.error(at, "too_many", message);
        }
        for name in &mut service.names {
            if name.refresh < resolver.ttl_floor {
                reading.warning(
                    at,
                    "refresh",
                    format!(
                        "`refresh` of {} is shorter than the resolver's `ttl_floor`, which holds",
                        name.question.kind()
                    ),
                );
            }
            let refresh = name.refresh.min(resolver.ttl_ceiling);
            name.refresh = refresh.max(resolver.ttl_floor);
        }
    }
}
