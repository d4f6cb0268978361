//! Owns how parts are told: from the plan, from the core and from what workers count, as plain values.

use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::breaker::Gate;
use evenkeel_balance::snapshot::BackendSnapshot;
use evenkeel_balance::time::Instant;
use evenkeel_config::Plan;
use evenkeel_config::plan::{Action, BackendAddress, Bind, ListenerPlan, RulePlan, SidePlan};
use evenkeel_proxy::live::{DoorState, Live, LiveService, ServiceState};
use evenkeel_proxy::rules::asks;

use super::super::backend::shown;
use super::{ActionPart, BackendPart, BreakerPart, CertificatePart, ListenerPart, RulePart};
use crate::access_log::hides;
use crate::command::word;

/// The shares of answers whose latency is told.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

pub(super) fn listener(plan: &ListenerPlan, door: &DoorState) -> ListenerPart {
    let bind = |bind: &Bind| match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix(path) => format!("unix:{}", path.display()),
    };
    ListenerPart {
        name: plan.name.clone(),
        binds: plan.binds.iter().map(bind).collect(),
        protocol: if plan.flows.is_some() { "tcp" } else { "http" },
        tls: plan.tls.is_some(),
        http2: plan.flows.is_none() && plan.http2,
        proxy_protocol: plan.proxy_protocol.is_some(),
        draining: door.drained.load(Ordering::Relaxed),
        connections: door.open.load(Ordering::Relaxed),
        connections_most: plan.limits.connections,
        accepted: door.counters.accepted_total(),
        admitted: door.counters.admitted_total(),
        accept_failed: door.counters.accept_failed_total(),
        answered: door.counters.answered_by_reason(),
    }
}

pub(super) fn rule(rule: &RulePlan, plan: &Plan, hits: u64) -> RulePart {
    let listener = |&at: &usize| plan.listeners.get(at).map(|one| one.name.clone());
    let service = |at: usize| plan.services.get(at).map(|one| one.name.clone());
    let plain = |at: usize| service(at).map(|name| (name, None));
    let (word, services, status) = match &rule.action {
        Action::Forward(at) => ("forward", plain(*at).into_iter().collect(), None),
        Action::Split(split) => {
            let side = |side: &SidePlan| Some((service(side.service)?, Some(side.weight)));
            ("split", split.sides.iter().filter_map(side).collect(), None)
        }
        Action::ForwardMap(_, places) => {
            let all = places.iter().filter_map(|&at| plain(at));
            ("map", all.collect(), None)
        }
        Action::Redirect(to) => ("redirect", Vec::new(), Some(to.status)),
        Action::Respond(with) => ("respond", Vec::new(), Some(with.status)),
        Action::Deny(status) => ("deny", Vec::new(), Some(*status)),
    };
    RulePart {
        name: rule.name.clone(),
        priority: rule.priority,
        listeners: rule.listeners.iter().filter_map(listener).collect(),
        conditions: asks(&rule.when, &hides),
        action: ActionPart {
            word,
            services,
            status,
        },
        hits,
    }
}

/// Where a backend is reached. None: it has left.
pub(crate) fn address_of(state: &ServiceState, id: &BackendId) -> Option<String> {
    state.reached(id).map(|at| match &at.address {
        BackendAddress::Tcp(address) => address.to_string(),
        BackendAddress::Name(name, port) => format!("{name}:{port}"),
        BackendAddress::Unix(path) => format!("unix:{}", path.display()),
    })
}

pub(super) fn backend(live: &LiveService, core: &BackendSnapshot, now: Instant) -> BackendPart {
    let address = address_of(&live.state, &core.id);
    let latencies = core.latencies.as_ref();
    let quantile = |share: f64| Some((share, latencies?.quantile(share)?));
    BackendPart {
        seen: shown(live, core, now),
        address,
        wanted: word(core.spec.admin),
        labels: core.spec.labels.clone().into_iter().collect(),
        max_in_flight: core.spec.max_in_flight.map(Into::into),
        in_a_row: [core.checks_passed, core.checks_failed],
        check_age: core.last_check.as_ref().map(|check| now.since(check.began)),
        breaker: BreakerPart {
            word: match core.gate {
                Gate::Closed => "closed",
                Gate::Open => "open",
                Gate::HalfOpen => "half_open",
            },
            trials_in: core.open_until.map(|until| until.since(now)),
            consecutive_failures: core.consecutive_failures,
            window: [core.window.succeeded, core.window.failed, core.window.slow],
            window_length: core.window_length,
        },
        quantiles: QUANTILES.into_iter().filter_map(quantile).collect(),
        share_got: core.share_got,
    }
}

pub(super) fn certificates(live: &Live, now: Duration) -> Vec<CertificatePart> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let mut all = Vec::new();
    for (listener, terms) in live.plan.listeners.iter().zip(&live.terms) {
        let Some(terms) = terms else { continue };
        for (file, one) in &terms.certificates {
            all.push(CertificatePart {
                listener: listener.name.clone(),
                what: "certificate",
                file: file.to_string(),
                names: one.names.iter().map(ToString::to_string).collect(),
                not_before: Some(one.not_before),
                not_after: one.not_after,
                seconds_left: one.not_after.saturating_sub(now),
            });
        }
        if let Some((file, end)) = &terms.lists {
            all.push(CertificatePart {
                listener: listener.name.clone(),
                what: "revocation_list",
                file: file.to_string(),
                names: Vec::new(),
                not_before: None,
                not_after: *end,
                seconds_left: end.saturating_sub(now),
            });
        }
    }
    all
}
