//! Owns what is said of a running instance at one moment: plain values, for whoever encodes them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_balance::pick::Refusal;
pub use evenkeel_balance::queue::QueueSnapshot;
pub use evenkeel_balance::snapshot::TierSnapshot;
pub use evenkeel_balance::spill::Spill;
use evenkeel_config::plan::ListenerPlan;
use evenkeel_proxy::clock::{Clock, since_1970};
use evenkeel_proxy::live::{DoorState, Live, LiveService, Published};
pub use evenkeel_proxy::observation::{Distribution, Happenings, Stages};
use evenkeel_proxy::observation::{
    Durations, LATENCY_BOUNDS, ServiceCounters, StageCounters, bodies_unkept, by_reason, by_status,
    hedges, refused_hedges, refused_retries, reports, retries,
};
use evenkeel_proxy::outlet::Outlet;
use evenkeel_proxy::room::Room;
use evenkeel_proxy::thread::WorkerState;

use crate::access_log::Counts;
use crate::adjust::{AdjustCounts, Adjuster};
use crate::certificates;
use crate::command::{Answer, Asked, Keeping, Orders, Refused};
use crate::events::{Chronicle, EventCounts};
use crate::monitor::{AlertCount, Monitor, MonitorCounts};
use crate::names::{NameSnapshot, READY_WITHIN, Shared, seen, shown};
use crate::revisions::Book;
use crate::texts::Texts;
use crate::traces::{Told, TracesSnapshot};
use crate::webhooks::{HookPart, Hooks};

/// Clients that are kept.
mod affinity;
use crate::picks::Picks;

/// One backend.
mod backend;

/// How picks are shared.
mod fairness;
/// One part of an instance.
mod parts;

/// Tunnels and flows.
mod passed;

/// Exchanges that failed.
mod failed;

/// Rate limits.
mod rates;

/// Exchanges that were recorded with their decisions.
mod recorded;

/// What became of reloads.
mod reloads;

/// What it ran by, and runs by.
mod written;

/// Picks beside where they would go first.
mod spilled;

use affinity::affinity;
pub use affinity::{AffinitySnapshot, ClientsCounts};
pub(crate) use backend::fault_word;
pub use backend::{Backend, Load, reason};
pub(crate) use failed::part;
pub use failed::{FailedCounts, RequestPart, TryPart};
use fairness::fairness;
pub use parts::{
    ActionPart, BackendPart, BreakerPart, CertificatePart, ListenerPart, Paged, RulePart, Span,
    Usage, WorkerPart,
};
pub(crate) use parts::{address_of, page};
pub use passed::PassedSnapshot;
use passed::passed;
pub use rates::{RateCounts, RateSnapshot};
pub use recorded::{DecisionPart, RecordCounts};
pub(crate) use reloads::{Of, Reloads};
use spilled::spilled;

/// An instance at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// It ends: it is not ready any more.
    pub draining: bool,
    /// Processes before this one that still drain.
    pub predecessors: usize,
    /// Since the start.
    pub uptime: Duration,
    /// When that was, since 1970.
    pub began: Duration,
    /// Data-plane threads.
    pub workers: usize,
    /// Connections of clients that each of them has open, in their order.
    pub worker_connections: Vec<usize>,
    /// Panics that ended one connection and nothing else; must read 0.
    pub contained_panics: u64,
    /// Pipes that are open, for bytes that pass within the kernel.
    pub pipes: u64,
    /// Bytes that passed so.
    pub spliced_bytes: u64,
    /// Pieces that were copied for want of a pipe.
    pub pipe_refusals: u64,
    /// Reloads that were taken, and those that were refused.
    pub reloads: [u64; 2],
    /// Whether the last one of the configuration was refused, so that not what its texts say runs.
    pub texts_refused: bool,
    /// Whether the last files that it names (certificates, tokens) were.
    pub files_refused: bool,
    /// Where what operators want is kept.
    pub keeping: Keeping,
    /// When the running plan was taken, since 1970: at the last good reload, or at the start.
    pub taken_at: Duration,
    /// What became of the access log's rows.
    pub access_log: AccessLogSnapshot,
    /// What became of events, and who reads them.
    pub events: EventCounts,
    /// What is remembered of exchanges that failed.
    pub failed: FailedCounts,
    /// What is recorded of exchanges with their decisions.
    pub records: RecordCounts,
    /// What is traced, and what came of it.
    pub traces: TracesSnapshot,
    /// What watching itself came to.
    pub monitor: MonitorCounts,
    /// What adjusting weights came to, of services that have it.
    pub adjusting: Vec<(Arc<str>, AdjustCounts)>,
    /// Alerts that are raised, by service, kind and severity.
    pub alerts: Vec<AlertCount>,
    /// Who is told of alerts, in the order of the plan.
    pub webhooks: Vec<HookPart>,
    /// Rate limits: of listeners, then of rules, in the order of the plan.
    pub rates: Vec<RateSnapshot>,
    /// Rules by name, and how often each was met, in the order of the plan.
    pub rules: Vec<(Arc<str>, u64)>,
    /// In the order of the plan.
    pub listeners: Vec<ListenerSnapshot>,
    /// In the order of the plan.
    pub services: Vec<ServiceSnapshot>,
}

/// What became of the access log's rows so far.
#[derive(Clone, Copy, Debug)]
pub struct AccessLogSnapshot {
    /// Rows that were written.
    pub written: u64,
    /// Rows that found no room, and are lost.
    pub dropped: u64,
    /// Writes that failed; their rows are tried again.
    pub failed: u64,
}

/// A listener at one moment.
#[derive(Clone, Debug)]
pub struct ListenerSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Clients are steered away from it.
    pub draining: bool,
    /// Connections that are open.
    pub connections: usize,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Of them, those that had a place under the listener's limit.
    pub admitted: u64,
    /// Of these, those that have ended.
    pub closed: u64,
    /// Times that accepting failed.
    pub accept_failed: u64,
    /// Connections that one worker took and gave to another, which had fewer.
    pub given: u64,
    /// Connections of HTTP/2 that were ended because their frames cost too much.
    pub calmed: u64,
    /// Connections that were cut because their client's address has as many as it may.
    pub crowded: u64,
    /// Answers that were made here, by the word of their reason.
    pub answered: Vec<(&'static str, u64)>,
    /// Its PROXY headers. None: it expects none.
    pub headers: Option<HeadersSnapshot>,
    /// Its TLS. None: it has none.
    pub tls: Option<TlsSnapshot>,
}

/// PROXY headers of a listener at one moment.
#[derive(Clone, Debug)]
pub struct HeadersSnapshot {
    /// Those that were taken, by version.
    pub versions: Vec<(&'static str, u64)>,
    /// Connections that were refused for want of one, by the word of their reason.
    pub refused: Vec<(&'static str, u64)>,
}

/// TLS of a listener at one moment.
#[derive(Clone, Debug)]
pub struct TlsSnapshot {
    /// Handshakes under way.
    pub handshaking: usize,
    /// Handshakes that ended well, by version.
    pub versions: Vec<(&'static str, u64)>,
    /// Of them, those that were short: the client came back.
    pub resumed: u64,
    /// Handshakes that failed, by the word of their reason.
    pub failed: Vec<(&'static str, u64)>,
    /// In the order of the plan.
    pub certificates: Vec<CertificateSnapshot>,
    /// The file of lists of revoked certificates, until the first of them is to be replaced.
    pub lists: Option<CertificateSnapshot>,
}

/// A certificate at one moment.
#[derive(Clone, Debug)]
pub struct CertificateSnapshot {
    /// The name of its file.
    pub file: String,
    /// How long it still holds; below zero where it has expired.
    pub seconds_left: i64,
}

/// A service at one moment.
#[derive(Clone, Debug)]
pub struct ServiceSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// The policy's word.
    pub policy: Arc<str>,
    /// On which rung of the ladder it stands, by word.
    pub rung: &'static str,
    /// The first tier that serves. None: no backend is healthy, or too few are.
    pub tier: Option<u16>,
    /// Where it has several, in order; the first 16 that were seen.
    pub tiers: Vec<TierSnapshot>,
    /// Picks by where they went beside where they would go first. Empty: it has one tier, and heeds no zones.
    pub spilled: Vec<(Spill, u64)>,
    /// Whether it heeds zones.
    pub heeds_zones: bool,
    /// How long none of its backends, or too few, have been healthy: it fails open, or refuses.
    pub all_down: Option<Duration>,
    /// Answers by class of status, 0 (none) to 5.
    pub classes: [u64; 6],
    /// Exchanges by why they ended as they did, by word; those that never ended so are left out.
    pub reasons: Vec<(&'static str, u64)>,
    /// Calls of gRPC by how they ended, by gRPC's own names; those that never ended so are left out.
    pub calls: Vec<(&'static str, u64)>,
    /// Attempts.
    pub attempts: u64,
    /// Retries by what went wrong before, by word; what never did is left out.
    pub retries: Vec<(&'static str, u64)>,
    /// Failed attempts that were not made again by why, by word; those that never were are left out.
    pub retries_refused: Vec<(&'static str, u64)>,
    /// Bodies that were not kept for a retry, since others had all the room that there is for them.
    pub retry_bodies_unkept: u64,
    /// Retries that the budget has left.
    pub retry_budget: u64,
    /// Reports of its backends' load by what became of them. None: its policy does not go by that.
    pub reports: Option<Vec<(&'static str, u64)>>,
    /// Hedges that their allowance has left. None: it has no hedges.
    pub hedge_budget: Option<u64>,
    /// Second attempts beside slow ones, and those of them that were answered first.
    pub hedges: (u64, u64),
    /// Slow attempts that had no other beside them by why, by word; those that never were are left out.
    pub hedges_refused: Vec<(&'static str, u64)>,
    /// Its clients that are kept. None: it keeps none.
    pub affinity: Option<AffinitySnapshot>,
    /// Exchanges by latency: bound in seconds and count, not cumulative; the last bound is infinite.
    pub latency: Vec<(f64, u64)>,
    /// Sum of latencies.
    pub latency_sum: Duration,
    /// Where their time went.
    pub stages: Stages,
    /// What happened to it.
    pub happened: Happenings,
    /// Bytes of requests' bodies.
    pub received: u64,
    /// Bytes of answers' bodies.
    pub sent: u64,
    /// Its tunnels.
    pub tunnels: PassedSnapshot,
    /// Its flows.
    pub flows: PassedSnapshot,
    /// Picks that were refused, by word.
    pub refusals: Vec<(&'static str, u64)>,
    /// Attempts in flight that its own limit counts, and that limit. None: it has none.
    pub places: Option<(u32, u32)>,
    /// Its queue. None: it has none, and nobody waits.
    pub queue: Option<QueueSnapshot>,
    /// Backends that may be picked without failing open.
    pub healthy: usize,
    /// How evenly its backends have what they should: Jain's index, from 1 for all alike down to one over their number. None: nobody should
    /// have anything, or none was picked.
    pub fairness: Option<f64>,
    /// Names that stand for backends, in their order.
    pub names: Vec<NameSnapshot>,
    /// In the order of the plan, and behind them those that names stand for.
    pub backends: Vec<Backend>,
}

/// Looks at a running instance from any thread.
#[derive(Clone)]
pub struct Watch {
    pub(crate) published: Arc<Published>,
    pub(crate) workers: Vec<Arc<WorkerState>>,
    pub(crate) clock: Clock,
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) predecessors: Arc<AtomicUsize>,
    pub(crate) reloads: Arc<Reloads>,
    pub(crate) chronicle: Arc<Chronicle>,
    pub(crate) names: Shared,
    pub(crate) log: (Arc<Counts>, Arc<Outlet>),
    pub(crate) orders: Orders,
    pub(crate) book: Arc<Book>,
    pub(crate) reads: Option<Arc<dyn Texts>>,
    pub(crate) picks: Arc<Picks>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) adjuster: Arc<Adjuster>,
    pub(crate) told: Arc<Told>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) keeping: Arc<Mutex<Keeping>>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

impl Watch {
    /// Whether it takes no more connections.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Has the one writer do this, which takes it up at its next tick.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn order(&self, asked: Asked) -> Result<Answer, Refused> {
        match self.is_draining() {
            true => Err(Refused::Draining),
            false => self.orders.give(asked).await,
        }
    }

    /// Whether it waits for what its names stand for: each has not been looked up once, and it has run for less than ten seconds.
    #[must_use]
    pub fn is_looking_up(&self) -> bool {
        self.clock.uptime() < READY_WITHIN && !seen(&self.names).is_begun()
    }

    /// Everything, now. Cost: all backends.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let live = self.published.load();
        let room = Room::of_process();
        let listeners = live.plan.listeners.iter().zip(&live.doors).enumerate();
        Snapshot {
            draining: self.is_draining(),
            predecessors: self.predecessors.load(Ordering::Relaxed),
            uptime: self.clock.uptime(),
            began: self.reloads.began(),
            workers: self.workers.len(),
            worker_connections: (self.workers.iter())
                .map(|worker| worker.connections.load(Ordering::Relaxed))
                .collect(),
            contained_panics: self
                .workers
                .iter()
                .map(|worker| worker.panics.load(Ordering::Relaxed))
                .sum(),
            pipes: room.pipes() as u64,
            spliced_bytes: room.spliced_bytes(),
            pipe_refusals: room.pipe_refusals(),
            reloads: self.reloads.counts(),
            texts_refused: self.reloads.is_behind(Of::Texts),
            files_refused: self.reloads.is_behind(Of::Files),
            access_log: AccessLogSnapshot {
                written: self.log.0.written(),
                dropped: self.log.1.dropped(),
                failed: self.log.0.failed(),
            },
            keeping: self.keeps(),
            taken_at: self.reloads.taken_at(),
            events: self.chronicle.counts(),
            failed: self.failed_counts(),
            records: self.record_counts().0,
            traces: self.told.snapshot(&self.published),
            monitor: self.monitor.counts(),
            alerts: self.monitor.raised(),
            adjusting: self.adjuster.counts(),
            webhooks: self.webhooks().0,
            rates: rates::all(&live, self.clock.now()),
            rules: (live.plan.rules.iter().enumerate())
                .map(|(at, rule)| (rule.name.clone(), live.hits.of(at)))
                .collect(),
            listeners: listeners
                .map(|(at, (plan, door))| listener(&live, at, plan, door))
                .collect(),
            services: live
                .services
                .iter()
                .map(|service| self.service(service))
                .collect(),
        }
    }

    fn service(&self, live: &LiveService) -> ServiceSnapshot {
        let now = self.clock.now();
        let service = &live.state.service;
        let core = service.snapshot(now);
        let healthy = core.healthy();
        let rows = &live.state.counters;
        let sum = |count: fn(&ServiceCounters) -> u64| rows.iter().map(count).sum::<u64>();
        let latency = Durations::together(&LATENCY_BOUNDS, rows.iter().map(|row| &row.latency));
        ServiceSnapshot {
            name: live.plan.name.clone(),
            policy: core.policy.clone(),
            rung: core.rung.word(),
            tier: core.tier,
            spilled: spilled(&core, live.plan.settings.zones.is_some()),
            tiers: core.tiers,
            heeds_zones: live.plan.settings.zones.is_some(),
            all_down: core.down_since.map(|since| now.since(since)),
            classes: std::array::from_fn(|class| {
                rows.iter().map(|row| row.classes[class].get()).sum()
            }),
            reasons: by_reason(rows),
            calls: by_status(rows),
            attempts: sum(|row| row.attempts.get()),
            retries: retries(rows.iter().map(|row| &row.retries)),
            retries_refused: refused_retries(rows.iter().map(|row| &row.retries)),
            retry_bodies_unkept: bodies_unkept(rows.iter().map(|row| &row.retries)),
            retry_budget: core.retry_budget,
            reports: (live.plan.load.as_ref())
                .map(|_| reports(rows.iter().map(|row| &row.reports), &live.state.polls)),
            hedge_budget: core.hedge_budget,
            hedges: hedges(rows.iter().map(|row| &row.hedges)),
            hedges_refused: refused_hedges(rows.iter().map(|row| &row.hedges)),
            affinity: affinity(live),
            latency: latency.buckets,
            latency_sum: latency.sum,
            stages: StageCounters::together(rows.iter().map(|row| &row.stages)),
            happened: live.state.happened.so_far(),
            received: sum(|row| row.received.get()),
            sent: sum(|row| row.sent.get()),
            tunnels: passed(rows, false),
            flows: passed(rows, true),
            refusals: Refusal::ALL
                .iter()
                .map(|&refusal| (refusal.word(), service.refusals(refusal)))
                .collect(),
            places: core.places,
            queue: (core.queue_settings.is_some() || core.queue.waiting > 0).then_some(core.queue),
            healthy,
            fairness: fairness(&core.backends),
            names: shown(&seen(&self.names), &live.plan, now),
            backends: core
                .backends
                .iter()
                .map(|backend| backend::shown(live, backend, now))
                .collect(),
        }
    }
}

fn listener(live: &Live, at: usize, plan: &ListenerPlan, door: &DoorState) -> ListenerSnapshot {
    ListenerSnapshot {
        name: plan.name.clone(),
        draining: door.drained.load(Ordering::Relaxed),
        connections: door.open.load(Ordering::Relaxed),
        accepted: door.counters.accepted_total(),
        admitted: door.counters.admitted_total(),
        closed: door.counters.closed_total(),
        accept_failed: door.counters.accept_failed_total(),
        given: door.counters.given_total(),
        calmed: door.counters.calmed_total(),
        crowded: door.counters.crowded_total(),
        answered: door.counters.answered_by_reason(),
        headers: plan.proxy_protocol.as_ref().map(|_| HeadersSnapshot {
            versions: door.headers.by_version(),
            refused: door.headers.by_reason(),
        }),
        tls: plan.tls.as_ref().map(|_| TlsSnapshot {
            handshaking: door.handshakes.open(),
            versions: door.handshakes.by_version(),
            resumed: door.handshakes.resumed(),
            failed: door.handshakes.by_fault(),
            certificates: certificates::of(live, at, since_1970()),
            lists: certificates::lists_of(live, at, since_1970()),
        }),
    }
}
