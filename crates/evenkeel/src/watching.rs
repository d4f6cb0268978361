//! Owns what a service sees of itself over time, and its four operations: `balance`, `monitor_health`, `monitor_performance`, `adjust`.
//!
//! A service is watched from when its program asks for that. Once a second the ticker hands what ended to `evenkeel_watch`, which says what is
//! wrong; at each `interval` its controller moves what backends get. Nothing is counted for it on the way of a pick. Read next: `feed`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::service::Service;
use evenkeel_balance::snapshot::{BackendSnapshot, ServiceSnapshot};
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use evenkeel_watch::alert::{Alert, Alerts};
use evenkeel_watch::controller::{Controller, Report, Seen};
use evenkeel_watch::interval::Interval;
use evenkeel_watch::overall::{Health, distribution, health};
use evenkeel_watch::recommend::{Recommendation, facts, recommend};
use evenkeel_watch::series::Span;
use evenkeel_watch::service::ServiceWatch;
use evenkeel_watch::time::Moment;

use crate::clock::since_1970;
use crate::stats::Counted;

/// What is told of it.
mod report;

/// Counters into seconds.
mod feed;

/// By whom it is asked.
mod handle;

pub use evenkeel_watch as watch;

use feed::{Tap, ended};
pub use report::{
    AdjustReport, BackendHealth, Balanced, Figures, HealthReport, PerformanceReport,
    WatchingSettings,
};

/// So often is looked at what ended.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Requests are told to have been spread over so long.
pub const SPREAD_OVER: Span = Span::TenMinutes;

/// A service that is watched.
#[derive(Debug)]
pub(crate) struct Watched(Mutex<State>);

#[derive(Debug)]
struct State {
    settings: WatchingSettings,
    watch: ServiceWatch,
    alerts: Alerts,
    controller: Controller,
    step: Report,
    tap: Tap,
    backends: BTreeMap<BackendId, Taps>,
    looked: Instant,
    /// The date when that was nought of the balancer's clock: dates go on evenly.
    epoch: Moment,
    stepped: Instant,
}

/// A backend's, one for each second and one for each interval.
#[derive(Debug, Default)]
struct Taps {
    second: Tap,
    interval: Tap,
}

impl Watched {
    fn begin(core: &Service, requests: &Counted, settings: WatchingSettings, now: Instant) -> Self {
        let before = now.since(Instant::ZERO);
        let mut state = State {
            settings,
            watch: ServiceWatch::default(),
            alerts: Alerts::default(),
            controller: Controller::default(),
            step: Report::default(),
            tap: Tap::default(),
            backends: BTreeMap::new(),
            looked: now,
            epoch: Moment::since_1970(since_1970().saturating_sub(before)),
            stepped: now,
        };
        // What ended before is no part of what is seen.
        let snapshot = core.snapshot(now);
        state.seen(&snapshot, requests, 0);
        state.intervals(&snapshot.backends, 0);
        Self(Mutex::new(state))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks, when a second is over. Cost: members, a microsecond or two each, and 8 KiB each where `histograms` are kept.
    pub(crate) fn tick(&self, core: &Service, requests: &Counted, now: Instant) {
        let mut state = self.state();
        let since = now.since(state.looked);
        if since < LOOK_EVERY {
            return;
        }
        state.looked = now;
        let at = state.epoch + now.since(Instant::ZERO);
        let snapshot = core.snapshot(now);
        state.look(&snapshot, requests, since, at);
        let interval = state.settings.adjust.map(|adjust| adjust.interval_ms);
        let rest = now.since(state.stepped).as_millis();
        if interval.is_some_and(|interval| rest >= u128::from(interval)) {
            state.step(core, &snapshot, now);
        }
    }
}

impl State {
    /// What ended of the service and of each backend since the last time.
    fn seen(
        &mut self,
        snapshot: &ServiceSnapshot,
        requests: &Counted,
        millis: u32,
    ) -> (Interval, Vec<Interval>) {
        let mut old = std::mem::take(&mut self.backends);
        let mut each = Vec::with_capacity(snapshot.backends.len());
        for one in &snapshot.backends {
            let mut taps = old.remove(&one.id).unwrap_or_default();
            let interval = taps.second.backend(one, millis);
            each.push(interval);
            self.backends.insert(one.id.clone(), taps);
        }
        let up = snapshot.down_since.is_none();
        let service = ended(&mut self.tap, requests, &each, (millis, up));
        (service, each)
    }

    fn intervals(&mut self, backends: &[BackendSnapshot], millis: u32) -> Vec<Interval> {
        let mut each = Vec::with_capacity(backends.len());
        for one in backends {
            let taps = self.backends.entry(one.id.clone()).or_default();
            each.push(taps.interval.backend(one, millis));
        }
        each
    }

    fn look(
        &mut self,
        snapshot: &ServiceSnapshot,
        requests: &Counted,
        since: Duration,
        at: Moment,
    ) {
        self.alerts.expire(at);
        let (service, each) = self.seen(snapshot, requests, millis(since));
        let ids = snapshot.backends.iter().map(|one| one.id.as_str());
        let rows: Vec<_> = ids.zip(&each).collect();
        let changes = self
            .watch
            .tick(at, &service, &rows, &self.settings.look_for);
        for change in &changes {
            // One that is not kept is counted there.
            let _counted = self.alerts.take(&snapshot.name, change, at);
        }
        let backends = &self.backends;
        let is_there = |_: &str, backend: Option<&str>| {
            backend.is_none_or(|id| backends.contains_key(&BackendId::from(id)))
        };
        self.alerts.gone(is_there, at);
    }

    fn step(&mut self, core: &Service, snapshot: &ServiceSnapshot, now: Instant) {
        let Some(mut settings) = self.settings.adjust else {
            return;
        };
        let policy = core.settings().policy;
        settings.acts &= !policy.heeds_latency() && !policy.is_keyed();
        if !settings.acts {
            self.controller.reset();
        }
        let since = now.since(self.stepped);
        self.stepped = now;
        let each = self.intervals(&snapshot.backends, millis(since));
        let seen: Vec<_> = snapshot.backends.iter().zip(&each).map(as_seen).collect();
        self.step = self.controller.step(&seen, &settings);
        self.apply(core, now);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a factor of 24 bits is as good"
    )]
    fn apply(&self, core: &Service, now: Instant) {
        let each = self.controller.models();
        let factors: Vec<_> = each
            .map(|(id, model)| (BackendId::from(id), model.factor as f32))
            .collect();
        core.adjust(&factors, now);
    }

    fn recommendations(&self, snapshot: &ServiceSnapshot, heeds: bool) -> Vec<Recommendation> {
        if !self.settings.recommendations {
            return Vec::new();
        }
        let all = self.watch.series().over(Span::Hour);
        let each = snapshot.backends.iter().map(|one| {
            let own = self.watch.backend(one.id.as_str());
            let own = own.map(|series| series.over(Span::Hour));
            let own = own.unwrap_or_default();
            facts::Backend {
                id: one.id.to_string(),
                host: host(one.id.as_str()).to_owned(),
                weight: u32::from(one.spec.weight.get()),
                serving: one.standing == Standing::Serving,
                requests: own.requests,
                errors: own.errors,
                mean: own.mean,
                max_in_flight: one.spec.max_in_flight.map(|most| u64::from(most.get())),
                falls: self.falls(one.id.as_str()),
            }
        });
        let service = facts::Service {
            name: snapshot.name.to_string(),
            backends: each.collect(),
            sees_latency: heeds,
            requests: all.requests,
            errors: all.errors,
            p99: all.p99,
            ..facts::Service::default()
        };
        recommend(&facts::Facts {
            now: Moment::default(),
            services: vec![service],
            ..facts::Facts::default()
        })
    }

    /// How often a backend went down within what alerts remember.
    fn falls(&self, id: &str) -> u64 {
        let down = |alert: &&Alert| {
            alert.kind == watch::alert::Kind::Down && alert.backend.as_deref() == Some(id)
        };
        self.alerts.all().iter().filter(down).count() as u64
    }

    fn health(&self, snapshot: &ServiceSnapshot, heeds: bool) -> HealthReport {
        let name = &*snapshot.name;
        let each = snapshot.backends.iter().map(|one| {
            let id = one.id.as_str();
            let series = self.watch.backend(id);
            BackendHealth {
                id: one.id.clone(),
                health: match one.standing.is_well() {
                    true => health(self.alerts.raised(), name, Some(id)),
                    false => Health::Unhealthy,
                },
                standing: one.standing,
                availability: series.and_then(|own| own.over(Span::Hour).availability()),
            }
        });
        let backends: Vec<_> = each.collect();
        let worse = backends.iter().any(|one| one.health != Health::Healthy);
        let seen = match snapshot.down_since {
            Some(_) => Health::Unhealthy,
            None if worse => Health::Degraded,
            None => Health::Healthy,
        };
        HealthReport {
            health: health(self.alerts.raised(), name, None).max(seen),
            backends,
            alerts: self.alerts.all().to_vec(),
            recommendations: self.recommendations(snapshot, heeds),
        }
    }

    fn performance(&self, snapshot: &ServiceSnapshot, heeds: bool) -> PerformanceReport {
        let series = |one: &BackendSnapshot| self.watch.backend(one.id.as_str());
        let got = |one: &BackendSnapshot| {
            series(one).map_or(0, |series| series.over(SPREAD_OVER).requests)
        };
        let each = snapshot.backends.iter();
        let rows: Vec<_> = each
            .clone()
            .map(|one| (one.id.as_str(), one.share_wanted, got(one)))
            .collect();
        PerformanceReport {
            service: Figures::of(Some(self.watch.series())),
            backends: each
                .map(|one| (one.id.clone(), Figures::of(series(one))))
                .collect(),
            distribution: distribution(&rows),
            alerts: self.alerts.all().to_vec(),
            recommendations: self.recommendations(snapshot, heeds),
        }
    }
}

/// Whoever warms up, or is out, is not compared with those that serve.
fn as_seen<'a>((core, ended): (&'a BackendSnapshot, &'a Interval)) -> Seen<'a> {
    Seen {
        id: core.id.as_str(),
        weight: f64::from(core.spec.weight.get()),
        serving: core.standing == Standing::Serving && core.ramp >= 1.0,
        requests: u64::from(ended.requests),
        errors: u64::from(ended.errors),
        latencies: &ended.latencies,
    }
}

/// The machine of an address, as far as an identity is one.
fn host(id: &str) -> &str {
    id.rsplit_once(':').map_or(id, |(host, _)| host)
}

fn millis(since: Duration) -> u32 {
    u32::try_from(since.as_millis()).unwrap_or(u32::MAX)
}
