//! Owns what is asked of one part of a running instance: a service, a backend, the rules, a page of a long list.
//!
//! Costs what that part costs, where [`Watch::snapshot`] costs all backends. What is not of the instance but of its plan (addresses,
//! conditions, limits) is told here too, so that who encodes it need not know a plan.

use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::time::Instant;
use evenkeel_config::limits::EVENT_READERS;
use evenkeel_config::plan::{ListenerPlan, RulePlan};
use evenkeel_proxy::clock::since_1970;
use evenkeel_proxy::live::{DoorState, Live, LiveService};
use evenkeel_proxy::room::Room;

use super::backend::Backend;
use super::{Of, ServiceSnapshot, Watch};
use crate::command::{Keeping, Refused};
use crate::control::{find, unknown};
use crate::events::Chronicle;

/// How they are told.
mod told;

pub(crate) use told::address_of;
use told::{backend, certificates, listener, rule};

/// Which of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Those behind the one of this name. None: from the first.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Some of a list, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<T> {
    /// Those that were asked for.
    pub items: Vec<T>,
    /// How many there are.
    pub total: usize,
    /// The name of the last of `items`, if more come behind it.
    pub next: Option<String>,
}

/// A data-plane thread.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPart {
    /// Connections of clients, as of its last sweep.
    pub connections: usize,
    /// Sockets that it takes connections from.
    pub listening: usize,
    /// Panics that ended one connection and nothing else.
    pub panics: u64,
}

/// A listener: where it is, and what it has taken.
#[derive(Clone, Debug)]
pub struct ListenerPart {
    /// Its name.
    pub name: Arc<str>,
    /// Its addresses, as they are configured.
    pub binds: Vec<String>,
    /// `http` or `tcp`.
    pub protocol: &'static str,
    /// TLS is ended here.
    pub tls: bool,
    /// HTTP/2 is spoken too.
    pub http2: bool,
    /// PROXY headers are expected.
    pub proxy_protocol: bool,
    /// Clients are steered away from it.
    pub draining: bool,
    /// Connections that are open.
    pub connections: usize,
    /// The most of them.
    pub connections_most: usize,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Of them, those that had a place.
    pub admitted: u64,
    /// Times that accepting failed.
    pub accept_failed: u64,
    /// Answers that were made here, by the word of their reason.
    pub answered: Vec<(&'static str, u64)>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct RulePart {
    /// Its name.
    pub name: Arc<str>,
    /// Lowest first.
    pub priority: u32,
    /// Only on these listeners. Empty: on all.
    pub listeners: Vec<Arc<str>>,
    /// What it asks, and the values of which one is enough; those of secrets are not shown.
    pub conditions: Vec<(String, Vec<String>)>,
    /// What is done then.
    pub action: ActionPart,
    /// Requests that met it since it is there.
    pub hits: u64,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub struct ActionPart {
    /// `forward`, `split`, `map`, `redirect`, `respond` or `deny`.
    pub word: &'static str,
    /// Where to, with the weight that it has in a split.
    pub services: Vec<(Arc<str>, Option<u16>)>,
    /// The status of an answer that is made here.
    pub status: Option<u16>,
}

/// A backend, with what only one that is looked at alone tells.
#[derive(Clone, Debug)]
pub struct BackendPart {
    /// As a list of all tells it.
    pub seen: Backend,
    /// Where it is reached.
    pub address: Option<String>,
    /// What is wanted of it: `enabled`, `draining` or `disabled`.
    pub wanted: &'static str,
    /// Free words of the operator.
    pub labels: Vec<(String, String)>,
    /// At most so many attempts at once.
    pub max_in_flight: Option<u32>,
    /// Checks in a row that passed, and that failed.
    pub in_a_row: [u32; 2],
    /// How long ago the newest check began.
    pub check_age: Option<Duration>,
    /// Its breaker.
    pub breaker: BreakerPart,
    /// Latency by the share of answers that it does not exceed. Empty: distributions are not kept, or nothing was answered.
    pub quantiles: Vec<(f64, Duration)>,
    /// The share of the service's attempts that it got, 0 to 1.
    pub share_got: f64,
}

/// A breaker.
#[derive(Clone, Copy, Debug)]
pub struct BreakerPart {
    /// `closed`, `open` or `half_open`.
    pub word: &'static str,
    /// Until trials begin, while it is open.
    pub trials_in: Option<Duration>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// In its window: those that succeeded, those that failed, and of the first those that were slow.
    pub window: [u64; 3],
    /// How long the window is.
    pub window_length: Duration,
}

/// A certificate, or the list of revoked ones, of a listener.
#[derive(Clone, Debug)]
pub struct CertificatePart {
    /// The listener.
    pub listener: Arc<str>,
    /// `certificate` or `revocation_list`.
    pub what: &'static str,
    /// The name of its file.
    pub file: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// From when it holds, in seconds since 1970. None: of a list.
    pub not_before: Option<i64>,
    /// Until when; when a list is to be replaced.
    pub not_after: i64,
    /// How long that is; below zero where it is over.
    pub seconds_left: i64,
}

/// How much of a limit is in use.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Whose: `process`, `listener` or `service`.
    pub of: &'static str,
    /// The name of that. None: there is one.
    pub name: Option<Arc<str>>,
    /// Which, by the word of what is counted.
    pub limit: &'static str,
    /// What is in use.
    pub used: u64,
    /// The most.
    pub most: u64,
}

impl Watch {
    /// Since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    /// Processes before this one that still drain.
    #[must_use]
    pub fn predecessors(&self) -> usize {
        self.predecessors.load(Ordering::Relaxed)
    }

    /// Reloads that were taken, and refused; when the running plan was taken, since 1970.
    #[must_use]
    pub fn reloads(&self) -> ([u64; 2], Duration) {
        (self.reloads.counts(), self.reloads.taken_at())
    }

    /// Whether the last reload of the configuration was refused, and whether files that it names were when they were read last.
    #[must_use]
    pub fn refused(&self) -> (bool, bool) {
        let refused = |of| self.reloads.is_behind(of);
        (refused(Of::Texts), refused(Of::Files))
    }

    /// Where what operators want is kept.
    #[must_use]
    pub fn keeps(&self) -> Keeping {
        *self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data-plane threads, in order.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerPart> {
        let workers = self.workers.iter();
        workers
            .map(|worker| WorkerPart {
                connections: worker.connections.load(Ordering::Relaxed),
                listening: worker.listening.load(Ordering::Relaxed),
                panics: worker.panics.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// Listeners, in the order of the plan.
    ///
    /// # Errors
    /// There is none of the name that the span begins behind.
    pub fn listeners(&self, span: &Span) -> Result<Paged<ListenerPart>, Refused> {
        let live = self.published.load();
        let doors: Vec<_> = live.plan.listeners.iter().zip(&live.doors).collect();
        let make = |(plan, door): &(&ListenerPlan, &Arc<DoorState>)| Some(listener(plan, door));
        page("listener", &doors, |(plan, _)| &plan.name, span, make)
    }

    /// Rules, in the order in which they are tried.
    ///
    /// # Errors
    /// There is none of the name that the span begins behind.
    pub fn rules(&self, span: &Span) -> Result<Paged<RulePart>, Refused> {
        let live = self.published.load();
        let at = |one: &RulePlan| live.plan.rules.iter().position(|rule| ptr::eq(rule, one));
        let make = |one: &RulePlan| Some(rule(one, &live.plan, live.hits.of(at(one)?)));
        page("rule", &live.plan.rules, |one| &one.name, span, make)
    }

    /// Services, in the order of the plan. Cost: their backends.
    ///
    /// # Errors
    /// There is none of the name that the span begins behind.
    pub fn services(&self, span: &Span) -> Result<Paged<ServiceSnapshot>, Refused> {
        let live = self.published.load();
        let all = live.services.iter().collect::<Vec<_>>();
        page("service", &all, named, span, |one| Some(self.service(one)))
    }

    /// Services that keep clients, in the order of the plan. Cost: their backends.
    ///
    /// # Errors
    /// There is none of the name that the span begins behind.
    pub fn keeping(&self, span: &Span) -> Result<Paged<ServiceSnapshot>, Refused> {
        let live = self.published.load();
        let keeps = |one: &&Arc<LiveService>| one.affinity.is_some();
        let all: Vec<_> = live.services.iter().filter(keeps).collect();
        page("service", &all, named, span, |one| Some(self.service(one)))
    }

    /// One service. Cost: its backends.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn service_named(&self, name: &str) -> Result<ServiceSnapshot, Refused> {
        Ok(self.service(find(&self.published.load(), name)?))
    }

    /// Backends of a service, in the order of the plan, and behind them those that names stand for. Cost: those that are asked for, and a
    /// glance at the others.
    ///
    /// # Errors
    /// There is no such service, or no backend of the name that the span begins behind.
    pub fn backends(&self, service: &str, span: &Span) -> Result<Paged<BackendPart>, Refused> {
        let live = self.published.load();
        let service = find(&live, service)?;
        let (core, now) = (&service.state.service, self.clock.now());
        let specs = core.specs();
        // Who has left meanwhile is left out.
        let make = |spec: &BackendSpec| {
            let one = core.backend(spec.id.as_str(), now)?;
            Some(backend(service, &one, now))
        };
        page("backend", &specs, |spec| spec.id.as_str(), span, make)
    }

    /// One backend.
    ///
    /// # Errors
    /// There is no such service, or it has no such backend.
    pub fn backend(&self, service: &str, id: &str) -> Result<BackendPart, Refused> {
        let live = self.published.load();
        let service = find(&live, service)?;
        let (core, now) = (&service.state.service, self.clock.now());
        match core.backend(id, now) {
            Some(one) => Ok(backend(service, &one, now)),
            None => {
                let specs = core.specs();
                let known = specs.iter().map(|spec| spec.id.as_str());
                Err(unknown("backend", id, known))
            }
        }
    }

    /// The certificates of all listeners, in the order of the plan, each listener's lists of revoked ones behind its own.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificatePart> {
        certificates(&self.published.load(), since_1970())
    }

    /// How often another plan was published. Read before [`live`](Self::live), it never names a newer one than is read.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.published.version()
    }

    /// Its running plan with its state, and what time it is for it.
    #[must_use]
    pub fn live(&self) -> (Arc<Live>, Instant) {
        (self.published.load(), self.clock.now())
    }

    /// What happened to it.
    #[must_use]
    pub fn chronicle(&self) -> &Arc<Chronicle> {
        &self.chronicle
    }

    /// How much of each limit is in use: the process's, then those of listeners and of services, in the order of the plan. Cost: all
    /// backends of services that have a limit, a queue or a table of clients.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        let live = self.published.load();
        let (taken, most) = Room::of_process().taken();
        let readers = self.chronicle.counts().readers;
        let (out, out_most, _) = self.picks_out();
        let mut all = vec![
            usage("process", None, "client_connections", taken, most),
            usage("process", None, "event_readers", readers, EVENT_READERS),
            usage("process", None, "picks", out, out_most),
        ];
        for (plan, door) in live.plan.listeners.iter().zip(&live.doors) {
            let mut put = |limit, used, most| {
                all.push(usage("listener", Some(&plan.name), limit, used, most));
            };
            let open = door.open.load(Ordering::Relaxed);
            put("connections", open, plan.limits.connections);
            if plan.tls.is_some() {
                put("handshakes", door.handshakes.open(), plan.limits.handshakes);
            }
        }
        for service in &live.services {
            all.extend(self.usage_of(service));
        }
        all
    }

    fn usage_of(&self, live: &LiveService) -> Vec<Usage> {
        let mut all = Vec::new();
        let settings = &live.plan.settings;
        if settings.max_in_flight.is_none() && settings.queue.is_none() && live.affinity.is_none() {
            return all;
        }
        let seen = self.service(live);
        let mut put = |limit, used: u64, most: u64| {
            let (of, name) = ("service", Some(seen.name.clone()));
            all.push(Usage {
                of,
                name,
                limit,
                used,
                most,
            });
        };
        if let Some((taken, most)) = seen.places {
            put("in_flight", taken.into(), most.into());
        }
        if let (Some(queue), Some(settings)) = (&seen.queue, &settings.queue) {
            put("queue", queue.waiting as u64, settings.length.into());
        }
        if let Some(affinity) = &seen.affinity
            && let Some(clients) = &affinity.clients
        {
            put("affinity_clients", clients.clients, affinity.most as u64);
        }
        all
    }
}

fn named<'s>(service: &'s &Arc<LiveService>) -> &'s str {
    &service.plan.name
}

/// Those of a list that a span asks for; what `make` finds gone is left out.
pub(crate) fn page<T, U>(
    what: &'static str,
    all: &[T],
    name: impl Fn(&T) -> &str,
    span: &Span,
    make: impl FnMut(&T) -> Option<U>,
) -> Result<Paged<U>, Refused> {
    let from = match &span.after {
        None => 0,
        Some(after) => match all.iter().position(|one| name(one) == after) {
            Some(at) => at + 1,
            None => return Err(unknown(what, after, all.iter().map(&name))),
        },
    };
    let rest = &all[from..];
    let asked = &rest[..rest.len().min(span.limit)];
    Ok(Paged {
        items: asked.iter().filter_map(make).collect(),
        total: all.len(),
        next: (asked.last())
            .filter(|_| asked.len() < rest.len())
            .map(|last| name(last).to_owned()),
    })
}

fn usage(
    of: &'static str,
    name: Option<&Arc<str>>,
    limit: &'static str,
    used: usize,
    most: usize,
) -> Usage {
    Usage {
        of,
        name: name.cloned(),
        limit,
        used: used as u64,
        most: most as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 4] = ["a", "b", "c", "d"];

    #[track_caller]
    fn check(
        after: Option<&str>,
        limit: usize,
        expect: Result<(&str, Option<&str>), Option<&str>>,
    ) {
        let span = Span {
            after: after.map(str::to_owned),
            limit,
        };
        // `c` has left since the names were read.
        let make = |one: &&'static str| (*one != "c").then_some(*one);
        let got = page("backend", &ALL, |one| one, &span, make);
        match (got, expect) {
            (Ok(page), Ok((items, next))) => {
                assert_eq!(page.items.concat(), items, "{span:?}");
                assert_eq!(page.next.as_deref(), next, "{span:?}");
                assert_eq!(page.total, 4);
            }
            (Err(Refused::Unknown { near, .. }), Err(expect)) => {
                assert_eq!(near.as_deref(), expect, "{span:?}");
            }
            (got, expect) => panic!("{span:?}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn a_list_is_told_page_by_page() {
        check(None, 4, Ok(("abd", None)));
        check(None, 9, Ok(("abd", None)));
        check(None, 2, Ok(("ab", Some("b"))));
        // The page goes on behind who has left.
        check(Some("b"), 1, Ok(("", Some("c"))));
        check(Some("c"), 1, Ok(("d", None)));
        check(Some("d"), 1, Ok(("", None)));
        check(Some("zzzzzz"), 1, Err(None));
    }
}
