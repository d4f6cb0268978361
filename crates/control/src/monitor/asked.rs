//! Owns what is told of what is watched: health, figures over windows, how requests were spread, alerts. Looks at what is kept; nothing is
//! counted here.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use evenkeel_balance::snapshot::ServiceSnapshot;
use evenkeel_proxy::live::LiveService;
use evenkeel_watch::alert::{Alert, Silence};
use evenkeel_watch::metric::Metric;
use evenkeel_watch::overall::{Distribution, Health, distribution, health};
use evenkeel_watch::series::{Series, Span as Window, Summary, WINDOWS};
use evenkeel_watch::trend::{Over, Trend, trend};

use super::{Monitor, State, today};
use crate::command::Refused;
use crate::control::find;
use crate::snapshot::{Paged, Span, Watch, page};

/// What trends are looked for in.
const TRENDS: [Metric; 5] = [
    Metric::Mean,
    Metric::P95,
    Metric::P99,
    Metric::Throughput,
    Metric::ErrorRate,
];

/// How requests were spread is told of so long.
pub const SPREAD_OVER: Window = Window::TenMinutes;

/// How healthy a service is.
#[derive(Clone, Debug)]
pub struct HealthPart {
    /// Its name.
    pub service: Arc<str>,
    /// It as a whole.
    pub health: Health,
    /// Its backends, how many are of each kind: healthy, degraded, unhealthy.
    pub backends: [usize; 3],
    /// Alerts of it and of its backends that are raised.
    pub alerts: usize,
}

/// How healthy a backend is.
#[derive(Clone, Debug)]
pub struct BackendHealth {
    /// Who.
    pub id: String,
    /// How.
    pub health: Health,
    /// Its standing, by word.
    pub standing: &'static str,
    /// Alerts of it that are raised, by number.
    pub alerts: Vec<u64>,
}

/// Figures of one over each window, in the order of [`WINDOWS`]; none where it is not watched: nothing has ended.
#[derive(Clone, Debug)]
pub struct FiguresPart {
    /// Who: a service's name, a backend's id.
    pub name: String,
    /// Window and figures.
    pub windows: Vec<(Window, Summary)>,
    /// Where each figure goes, as far as that can be told.
    pub trends: Vec<(Metric, Over, Trend)>,
}

/// An alert as it is told.
#[derive(Clone, Debug)]
pub struct AlertPart {
    /// It.
    pub alert: Alert,
    /// Nobody is called for it now.
    pub silenced: bool,
}

impl Watch {
    /// How healthy all services together are, and each of a page of them. Cost: the backends of all services.
    ///
    /// # Errors
    /// There is no service of the name that the span begins behind.
    pub fn health(&self, span: &Span) -> Result<(Health, Paged<HealthPart>), Refused> {
        let (live, now) = self.live();
        // Before the lock: who looks once a second does not wait for copies of ten thousand backends.
        let seen: Vec<_> = (live.services.iter())
            .map(|service| Standings::of(service, now))
            .collect();
        let state = self.monitor.state();
        let parts: Vec<_> = seen.iter().map(|one| state.health_of(one)).collect();
        drop(state);
        let all = match &parts[..] {
            [] => Health::Healthy,
            all if all.iter().all(|one| one.health == Health::Unhealthy) => Health::Unhealthy,
            all if all.iter().all(|one| one.health == Health::Healthy) => Health::Healthy,
            _ => Health::Degraded,
        };
        let paged = page(
            "service",
            &parts,
            |one| &one.service,
            span,
            |one| Some(one.clone()),
        )?;
        Ok((all, paged))
    }

    /// How healthy each backend of a service is. Cost: its backends.
    ///
    /// # Errors
    /// There is no such service, or no backend of the name that the span begins behind.
    pub fn backends_health(
        &self,
        service: &str,
        span: &Span,
    ) -> Result<(HealthPart, Paged<BackendHealth>), Refused> {
        let (live, now) = self.live();
        let service = find(&live, service)?;
        let core = service.state.service.snapshot(now);
        let standings = Standings::seen(service, &core);
        let state = self.monitor.state();
        let whole = state.health_of(&standings);
        let name = &*service.plan.name;
        let make = |one: &evenkeel_balance::snapshot::BackendSnapshot| {
            let id = one.id.as_str();
            let of_it =
                |alert: &&Alert| alert.service == name && alert.backend.as_deref() == Some(id);
            Some(BackendHealth {
                id: id.to_owned(),
                health: state.backend_health(name, id, one.standing.is_well()),
                standing: one.standing.word(),
                alerts: (state.alerts.raised().filter(of_it))
                    .map(|alert| alert.number)
                    .collect(),
            })
        };
        let paged = page("backend", &core.backends, |one| one.id.as_str(), span, make)?;
        Ok((whole, paged))
    }

    /// Figures of services. Cost: those that are asked for, some microseconds each.
    ///
    /// # Errors
    /// There is no service of the name that the span begins behind.
    pub fn performance(&self, span: &Span) -> Result<Paged<FiguresPart>, Refused> {
        let (live, _) = self.live();
        let state = self.monitor.state();
        let make = |service: &Arc<LiveService>| Some(state.figures_of(&service.plan.name));
        page("service", &live.services, |one| &one.plan.name, span, make)
    }

    /// Figures of a service, and of a page of its backends.
    ///
    /// # Errors
    /// There is no such service, or no backend of the name that the span begins behind.
    pub fn performance_of(
        &self,
        service: &str,
        span: &Span,
    ) -> Result<(FiguresPart, Paged<FiguresPart>), Refused> {
        let (live, _) = self.live();
        let service = find(&live, service)?;
        let specs = service.state.service.specs();
        let state = self.monitor.state();
        let name = &service.plan.name;
        let watched = state.services.get(name);
        let backends = page(
            "backend",
            &specs,
            |spec| spec.id.as_str(),
            span,
            |spec| {
                let id = spec.id.as_str();
                let series = watched.and_then(|one| one.watch.backend(id));
                Some(figures(id, series))
            },
        )?;
        Ok((state.figures_of(name), backends))
    }

    /// How requests of the last ten minutes were spread over the backends of a service, beside how they were to be.
    ///
    /// # Errors
    /// There is no such service.
    pub fn distribution(&self, service: &str) -> Result<Distribution, Refused> {
        let (live, now) = self.live();
        let service = find(&live, service)?;
        let core = service.state.service.snapshot(now);
        let state = self.monitor.state();
        let watched = state.services.get(&service.plan.name);
        let rows: Vec<_> = (core.backends.iter())
            .map(|one| {
                let id = one.id.as_str();
                let series = watched.and_then(|one| one.watch.backend(id));
                let got = series.map_or(0, |series| series.over(SPREAD_OVER).requests);
                (id, one.share_wanted, got)
            })
            .collect();
        Ok(distribution(&rows))
    }

    /// Alerts that somebody wants, the newest first.
    #[must_use]
    pub fn alerts(&self, wants: impl Fn(&Alert) -> bool) -> Vec<AlertPart> {
        let at = today();
        let state = self.monitor.state();
        let all = state.alerts.all().iter().rev().filter(|one| wants(one));
        all.map(|alert| AlertPart {
            alert: alert.clone(),
            silenced: state.alerts.is_silenced(alert, at),
        })
        .collect()
    }

    /// Silences that have not ended, with their numbers.
    #[must_use]
    pub fn silences(&self) -> Vec<(u64, Silence)> {
        let at = today();
        let state = self.monitor.state();
        let all = state.alerts.silences().iter();
        all.filter(|(_, one)| one.until > at).cloned().collect()
    }

    /// What is watched.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }
}

/// Which backends of a service can be picked.
struct Standings {
    service: Arc<str>,
    up: HashSet<String>,
    out: usize,
    serves: bool,
}

impl Standings {
    fn of(service: &LiveService, now: evenkeel_balance::time::Instant) -> Self {
        Self::seen(service, &service.state.service.snapshot(now))
    }

    fn seen(service: &LiveService, core: &ServiceSnapshot) -> Self {
        let up = core.backends.iter().filter(|one| one.standing.is_well());
        let up: HashSet<_> = up.map(|one| one.id.as_str().to_owned()).collect();
        Self {
            service: service.plan.name.clone(),
            out: core.backends.len() - up.len(),
            up,
            serves: core.down_since.is_none(),
        }
    }
}

impl State {
    /// Cost: all alerts, and of the service's backends those that are out or have one.
    fn health_of(&self, seen: &Standings) -> HealthPart {
        let name = &*seen.service;
        let raised = || self.alerts.raised().filter(|alert| alert.service == *name);
        let alerted: BTreeSet<&str> = raised().filter_map(|one| one.backend.as_deref()).collect();
        let mut backends = [seen.up.len(), 0, seen.out];
        for id in alerted {
            // Who is out is counted.
            if seen.up.contains(id) {
                backends[Health::Healthy as usize] -= 1;
                backends[health(raised(), name, Some(id)) as usize] += 1;
            }
        }
        let now = match seen.serves {
            false => Health::Unhealthy,
            true if backends[1] + backends[2] > 0 => Health::Degraded,
            true => Health::Healthy,
        };
        HealthPart {
            service: seen.service.clone(),
            health: health(raised(), name, None).max(now),
            backends,
            alerts: raised().count(),
        }
    }

    /// Who is out is unhealthy at once: an alert is told when that has lasted.
    fn backend_health(&self, service: &str, id: &str, up: bool) -> Health {
        match up {
            true => health(self.alerts.raised(), service, Some(id)),
            false => Health::Unhealthy,
        }
    }

    fn figures_of(&self, service: &str) -> FiguresPart {
        let watched = self.services.get(service);
        figures(service, watched.map(|one| one.watch.series()))
    }
}

fn figures(name: &str, series: Option<&Series>) -> FiguresPart {
    let over = |series: &Series| WINDOWS.map(|window| (window, series.over(window))).to_vec();
    let trends = |series: &Series| {
        let each = TRENDS.into_iter().flat_map(|metric| {
            [Over::Hour, Over::Day].map(|over| Some((metric, over, trend(series, metric, over)?)))
        });
        each.flatten().collect()
    };
    FiguresPart {
        name: name.to_owned(),
        windows: series.map(over).unwrap_or_default(),
        trends: series.map(trends).unwrap_or_default(),
    }
}
