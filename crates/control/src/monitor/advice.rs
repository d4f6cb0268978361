//! Owns what checks of advice are given of an instance: its plan, what is watched, and what the last hour came to, when somebody asks.
//!
//! Nothing is told of a service that is not watched, or whose `recommendations` are off. What a configuration may not say at all, a rule
//! that is never reached, is no advice: it is refused where it is read.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::snapshot::{BackendSnapshot, ServiceSnapshot};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use evenkeel_config::plan::BackendAddress;
use evenkeel_proxy::live::{Live, LiveService};
use evenkeel_proxy::room::Room;
use evenkeel_watch::recommend::facts::{Backend, Certificate, Checks, Facts, Limit, Service};
use evenkeel_watch::recommend::{Recommendation, recommend};
use evenkeel_watch::time::Moment;

use super::hour::{Peak, Risen};
use super::{State, Watched, today};
use crate::adjust::is_adjusted;
use crate::command::Refused;
use crate::control::find;
use crate::snapshot::Watch;

impl Watch {
    /// What to do about what was seen within an hour, what matters most first: of one service, or of all and the instance. Cost: the
    /// backends of those services, some microseconds each.
    ///
    /// # Errors
    /// There is no such service.
    pub fn advice(&self, service: Option<&str>) -> Result<Vec<Recommendation>, Refused> {
        let (live, now) = self.live();
        let one = service.map(|name| find(&live, name)).transpose()?;
        let services = match &one {
            Some(one) => std::slice::from_ref(*one),
            None => &live.services[..],
        };
        let wanted = |one: &&Arc<LiveService>| {
            let plan = one.plan.monitoring.as_ref();
            plan.is_some_and(|plan| plan.recommendations)
        };
        // Before the lock: looks do not wait for copies.
        let seen: Vec<_> = (services.iter().filter(wanted))
            .map(|one| (one, one.state.service.snapshot(now)))
            .collect();
        let mut facts = Facts {
            now: today(),
            ..Facts::default()
        };
        let mut state = self.monitor().state();
        for (service, core) in &seen {
            facts.services.push(state.facts_of(service, core, now));
            state.limits_of(service, core, &mut facts.limits);
        }
        if one.is_none() {
            facts.workers = state.hour.workers(&live, now);
            state.limits_of_all(&live, &mut facts.limits);
        }
        drop(state);
        if one.is_none() {
            facts.certificates = self.ends();
        }
        Ok(recommend(&facts))
    }

    fn ends(&self) -> Vec<Certificate> {
        let of = |end: i64| u64::try_from(end).unwrap_or(0);
        let all = self.certificates().into_iter();
        let ends = all.filter(|one| one.what == "certificate");
        ends.map(|one| Certificate {
            name: match one.names.first() {
                Some(name) => format!("{}: {name}", one.listener),
                None => format!("{}: {}", one.listener, one.file),
            },
            until: Moment::from_secs(of(one.not_after)),
        })
        .collect()
    }
}

impl State {
    fn facts_of(&self, service: &LiveService, core: &ServiceSnapshot, now: Instant) -> Service {
        let plan = &service.plan;
        let mut facts = Service {
            name: plan.name.to_string(),
            backends: (core.backends.iter())
                .map(|one| backend(service, one))
                .collect(),
            // What follows latency by steps is not to be told to.
            sees_latency: plan.settings.policy.heeds_latency() || is_adjusted(plan),
            per_try: Some(plan.limits.per_try.as_secs_f64()),
            retry_ratio: Some(f64::from(plan.settings.retry.budget.ratio_permille) / 1e3),
            checks: checks(service),
            ..Service::default()
        };
        let Some(watched) = self.services.get(&plan.name) else {
            return facts;
        };
        facts.measure(&watched.watch);
        let hour = &watched.hour;
        facts.timeouts = hour.risen(Risen::Timeouts);
        facts.queued = hour.risen(Risen::Queued);
        facts.retries = hour.risen(Risen::Retries);
        facts.retries_denied = hour.risen(Risen::Denied);
        facts.kept = (service.affinity.as_ref()).map(|_| hour.risen(Risen::Kept));
        facts.peak_in_flight = hour.peak(Peak::InFlight);
        if let Some(checks) = &mut facts.checks {
            checks.p99 = hour.checks_p99();
            checks.failed_before = hour.risen(Risen::FailedBefore);
        }
        for one in &mut facts.backends {
            let member = watched.backends.get(&one.id);
            one.falls = member.map_or(0, |member| member.looked.falls(now));
        }
        facts
    }

    fn limits_of(&self, service: &LiveService, core: &ServiceSnapshot, all: &mut Vec<Limit>) {
        let Some(Watched { hour, .. }) = self.services.get(&service.plan.name) else {
            return;
        };
        let (name, settings) = (&*service.plan.name, &service.plan.settings);
        if let Some((_, most)) = core.places {
            let (peak, limit) = (hour.peak(Peak::Places), u64::from(most));
            all.push(Limit {
                name: format!("in_flight of service {name}"),
                path: path(&["services", name, "limits", "max_in_flight"]),
                peak,
                limit,
                // Those whom single backends' limits refused are not meant.
                refused: if peak < limit {
                    0
                } else {
                    hour.risen(Risen::Full)
                },
            });
        }
        if let Some(queue) = &settings.queue {
            all.push(Limit {
                name: format!("queue of service {name}"),
                path: path(&["services", name, "limits", "queue", "length"]),
                peak: hour.peak(Peak::Waiting),
                limit: queue.length.into(),
                refused: hour.risen(Risen::QueueRefused),
            });
        }
    }

    fn limits_of_all(&self, live: &Live, all: &mut Vec<Limit>) {
        let (_, most) = Room::of_process().taken();
        all.push(Limit {
            name: "client_connections of the process".to_owned(),
            path: Vec::new(),
            peak: self.hour.connections(),
            limit: most as u64,
            refused: 0,
        });
        for plan in &live.plan.listeners {
            let (peak, refused) = self.hour.listener(&plan.name);
            all.push(Limit {
                name: format!("connections of listener {}", plan.name),
                path: path(&["listeners", &plan.name, "limits", "connections"]),
                peak,
                limit: plan.limits.connections as u64,
                refused,
            });
        }
    }
}

fn backend(service: &LiveService, one: &BackendSnapshot) -> Backend {
    let reached = service.state.reached(&one.id);
    let host = match reached.as_deref().map(|reached| &reached.address) {
        Some(BackendAddress::Tcp(address)) => address.ip().to_string(),
        Some(BackendAddress::Name(name, _)) => name.to_string(),
        Some(BackendAddress::Unix(_)) => "this machine".to_owned(),
        // One of which nobody knows where it is stands for itself.
        None => one.id.to_string(),
    };
    Backend {
        id: one.id.to_string(),
        host,
        weight: one.spec.weight.get().into(),
        serving: one.standing >= Standing::Serving,
        max_in_flight: one.spec.max_in_flight.map(|most| most.get().into()),
        ..Backend::default()
    }
}

fn checks(service: &LiveService) -> Option<Checks> {
    let plan = service.plan.health.as_ref()?;
    let core = service.plan.settings.health?;
    let seconds = |duration: Duration| duration.as_secs_f64();
    Some(Checks {
        interval: seconds(plan.interval),
        interval_unsure: seconds(plan.interval_unsure),
        timeout: seconds(plan.timeout),
        rise: core.rise.into(),
        fall: core.fall.into(),
        p99: None,
        failed_before: 0,
    })
}

fn path(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}
