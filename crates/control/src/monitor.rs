//! Owns what the instance sees of itself over time: once a second, what ended goes to `evenkeel_watch`, and what that says is wrong to the
//! alerts.
//!
//! A service is watched from its first exchange on, or from when one of its backends is out; a backend from its first attempt: who has
//! nothing to do takes nothing. What is known of a name is kept over reloads while the configuration has it. Read next: `tap`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_balance::snapshot::BackendSnapshot;
use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{Metric as Named, MonitoringPlan};
use evenkeel_proxy::clock::{Clock, since_1970};
use evenkeel_proxy::live::{Live, LiveService};
use evenkeel_watch::alert::{self, Alert, Alerts, Kind, Notice, Silence};
use evenkeel_watch::interval::Interval;
use evenkeel_watch::metric::Metric;
use evenkeel_watch::service::{ServiceWatch, WIDE_BUCKETS, WatchSettings};
use evenkeel_watch::threshold::Threshold;
use evenkeel_watch::time::Moment;

use crate::command::Refused;

/// What is told of it.
mod asked;

/// Counters into seconds.
pub(crate) mod tap;

/// What the last hour came to.
mod hour;

/// What to do about it.
mod advice;

/// What outlives the process.
mod kept;

pub use asked::{AlertPart, BackendHealth, FiguresPart, HealthPart, SPREAD_OVER};

pub use kept::{KEPT_MOST, Memory, Remembered};

use hour::{InstanceHour, Looked, ServiceHour};
use tap::{Tap, ended};

/// So often is looked.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Services and backends that are watched at most, together: a series is 14 KiB at most, and what is beside it 2 KiB, so that all take 32
/// MiB. Who comes later is not, which is counted.
pub const MOST_WATCHED: usize = 2048;

/// What is watched of one service.
#[derive(Debug, Default)]
struct Watched {
    watch: ServiceWatch,
    tap: Tap,
    hour: ServiceHour,
    backends: BTreeMap<String, Member>,
}

/// What is known of a backend from one look to the next.
#[derive(Debug, Default)]
struct Member {
    tap: Tap,
    looked: Looked,
}

/// All that is watched.
#[derive(Debug, Default)]
struct State {
    services: BTreeMap<Arc<str>, Watched>,
    alerts: Alerts,
    hour: InstanceHour,
    /// When it was looked last.
    looked: Option<Instant>,
    /// It comes from a process before, and nobody has seen yet who of it is there.
    remembered: bool,
    counts: MonitorCounts,
}

/// What watching came to, for whoever counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonitorCounts {
    /// Looks so far.
    pub looks: u64,
    /// How long all of them took.
    pub took: Duration,
    /// Services and backends that are watched.
    pub watched: usize,
    /// Times that one was not, as there were too many.
    pub refused: u64,
    /// Alerts that were not kept, as all that are were raised.
    pub alerts_refused: u64,
}

/// Alerts of one service that are raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertCount {
    /// Its name.
    pub service: String,
    /// What is wrong, by word.
    pub kind: &'static str,
    /// How loud, by word.
    pub severity: &'static str,
    /// How many, those of its backends among them.
    pub count: u64,
}

/// What the instance sees of itself. Written by the one writer once a second, read by whoever asks.
#[derive(Debug, Default)]
pub struct Monitor(Mutex<State>);

impl Monitor {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at everything, when a second is over. Cost: six numbers of each worker for each service, and all of those that are watched:
    /// some microseconds for each backend.
    ///
    /// What is to be told: each alert once when it is raised, and once when it clears.
    pub(crate) fn tick(&self, live: &Live, clock: Clock) -> Vec<Alert> {
        let now = clock.now();
        let Some(news) = self.look(live, now, today()) else {
            return Vec::new();
        };
        self.state().counts.took += clock.now().since(now);
        news
    }

    /// None: no second is over.
    fn look(&self, live: &Live, now: Instant, at: Moment) -> Option<Vec<Alert>> {
        let mut state = self.state();
        let since = state.looked.map(|looked| now.since(looked));
        if since.is_some_and(|since| since < LOOK_EVERY) {
            return None;
        }
        state.looked = Some(now);
        // The first look begins the first second.
        let millis = u32::try_from(since?.as_millis()).unwrap_or(u32::MAX);
        state.counts.looks += 1;
        Some(state.look(live, now, at, millis))
    }

    /// What watching came to.
    #[must_use]
    pub fn counts(&self) -> MonitorCounts {
        let state = self.state();
        MonitorCounts {
            watched: state.watched(),
            alerts_refused: state.alerts.refused(),
            ..state.counts
        }
    }

    /// Alerts that are raised, counted. Cost: all alerts.
    pub(crate) fn raised(&self) -> Vec<AlertCount> {
        let mut counts = BTreeMap::<_, u64>::new();
        let state = self.state();
        for alert in state.alerts.raised() {
            let words = (alert.kind.name(), alert.severity.name());
            *counts.entry((&*alert.service, words)).or_default() += 1;
        }
        let row = |((service, (kind, severity)), count): ((&str, _), u64)| AlertCount {
            service: service.to_owned(),
            kind,
            severity,
            count,
        };
        counts.into_iter().map(row).collect()
    }

    /// Is nobody called for it now.
    pub(crate) fn is_silenced(&self, alert: &Alert) -> bool {
        let at = today();
        self.state().alerts.is_silenced(alert, at)
    }

    /// Somebody has taken note of an alert.
    pub(crate) fn acknowledge(&self, number: u64, by: &str) -> Result<(), Refused> {
        let at = today();
        let done = self.state().alerts.acknowledge(number, by, at);
        done.map_err(|why| refused("alert", number, why))
    }

    /// Nobody is called for a while for what is named; the number of that.
    pub(crate) fn silence(&self, wish: &Quiet, by: &str) -> Result<u64, Refused> {
        let at = today();
        let silence = Silence {
            service: wish.service.clone(),
            backend: wish.backend.clone(),
            kind: wish.kind,
            until: at + wish.within,
            by: by.to_owned(),
            why: wish.why.clone(),
        };
        let done = self.state().alerts.silence(silence, at);
        done.map_err(|why| refused("silence", 0, why))
    }

    /// A silence ends.
    pub(crate) fn lift(&self, number: u64) -> Result<(), Refused> {
        let done = self.state().alerts.lift(number);
        done.map_err(|why| refused("silence", number, why))
    }
}

/// Whom not to call, for what and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// Of which service. None: of any.
    pub service: Option<String>,
    /// Of which backend. None: of any.
    pub backend: Option<String>,
    /// For what. None: for anything.
    pub kind: Option<Kind>,
    /// For so long.
    pub within: Duration,
    /// Why, in words.
    pub why: String,
}

fn refused(what: &'static str, number: u64, why: alert::Refused) -> Refused {
    match why {
        alert::Refused::Unknown => Refused::Unknown {
            what,
            name: number.to_string(),
            near: None,
        },
        why => Refused::NotOfThese(why.to_string()),
    }
}

/// What is remembered outlives the process, so that it goes by the date. When something is due goes by the process's own clock, which nobody sets.
pub(crate) fn today() -> Moment {
    Moment::since_1970(since_1970())
}

impl State {
    fn watched(&self) -> usize {
        let each = self.services.values();
        each.map(|one| 1 + one.backends.len()).sum()
    }

    fn look(&mut self, live: &Live, now: Instant, at: Moment, millis: u32) -> Vec<Alert> {
        self.alerts.expire(at);
        self.hour.turn(live, now);
        let mut notices = Vec::new();
        let before = self.services.len();
        let is_watched = |name: &Arc<str>| {
            let service = live.service(name);
            service.is_some_and(|one| one.plan.monitoring.is_some())
        };
        self.services.retain(|name, _| is_watched(name));
        let mut gone = before != self.services.len();
        let mut room = MOST_WATCHED.saturating_sub(self.watched());
        for service in &live.services {
            let name = &service.plan.name;
            let Some(plan) = &service.plan.monitoring else {
                continue;
            };
            if !self.services.contains_key(name) {
                if !is_worth(service) {
                    continue;
                }
                if room == 0 {
                    self.counts.refused += 1;
                    continue;
                }
                room -= 1;
            }
            let watched = self.services.entry(name.clone()).or_default();
            let refused = &mut self.counts.refused;
            let (seen, left) = watched.seen(service, now, millis, (&mut room, refused));
            gone |= left;
            let changes = seen.tell(&mut watched.watch, at, &settings(plan));
            for change in changes.iter().filter(|_| plan.alerting) {
                // One that is not kept is counted there.
                notices.extend(self.alerts.take(name, change, at).ok().flatten());
            }
        }
        let tells = |service: &str| {
            let service = live.service(service);
            let plan = service.and_then(|one| one.plan.monitoring.as_ref());
            plan.is_some_and(|plan| plan.alerting)
        };
        gone |= self.alerts.raised().any(|one| !tells(&one.service));
        gone |= std::mem::take(&mut self.remembered);
        if gone {
            let services = &self.services;
            let is_there = |service: &str, backend: Option<&str>| {
                let watched = services.get(service).filter(|_| tells(service));
                watched.is_some_and(|one| backend.is_none_or(|id| one.backends.contains_key(id)))
            };
            notices.extend(self.alerts.gone(is_there, at));
        }
        let known = |notice: &Notice| {
            let all = self.alerts.all();
            all.iter().find(|one| one.number == notice.number).cloned()
        };
        notices.iter().filter_map(known).collect()
    }
}

/// What is looked for, as the configuration has it.
fn settings(plan: &MonitoringPlan) -> WatchSettings {
    let limit = |one: &evenkeel_config::plan::ThresholdPlan| {
        let metric = match one.metric {
            Named::ResponseTime => Metric::P95,
            Named::Throughput => Metric::Throughput,
            Named::ErrorRate => Metric::ErrorRate,
            Named::Availability => Metric::Availability,
        };
        Threshold::new(metric, one.limit)
    };
    WatchSettings {
        thresholds: plan.thresholds.iter().map(limit).collect(),
        objective: plan.objective,
        anomalies: plan.anomalies,
        grain: WIDE_BUCKETS,
        ..WatchSettings::default()
    }
}

/// Whether there is anything to see of a service that is not watched.
fn is_worth(service: &LiveService) -> bool {
    let (members, healthy) = service.state.service.census();
    ended(&service.state.counters) > 0 || healthy < members
}

/// What ended within a second.
struct Seen {
    service: Interval,
    backends: Vec<(String, Interval)>,
}

impl Seen {
    fn tell(
        &self,
        watch: &mut ServiceWatch,
        at: Moment,
        settings: &WatchSettings,
    ) -> Vec<alert::Change> {
        let backends: Vec<_> = (self.backends.iter())
            .map(|(id, tick)| (id.as_str(), tick))
            .collect();
        watch.tick(at, &self.service, &backends, settings)
    }
}

impl Watched {
    /// What ended since the last look; did a backend leave.
    fn seen(
        &mut self,
        service: &LiveService,
        now: Instant,
        millis: u32,
        (room, refused): (&mut usize, &mut u64),
    ) -> (Seen, bool) {
        let state = &service.state;
        let core = state.service.snapshot(now);
        let up = core.down_since.is_none();
        let mut old = std::mem::take(&mut self.backends);
        let mut backends = Vec::with_capacity(old.len());
        for one in &core.backends {
            let id = one.id.as_str();
            let member = match old.remove(id) {
                Some(member) => Some(member),
                None if !is_seen(one) => None,
                None if *room == 0 => {
                    *refused += 1;
                    None
                }
                None => {
                    *room -= 1;
                    Some(Member::default())
                }
            };
            let Some(mut member) = member else { continue };
            let series = self.watch.backend(id);
            let looked = (&mut member.looked, one);
            self.hour.look(looked, service, (series, now));
            backends.push((id.to_owned(), member.tap.backend(state, one, millis)));
            self.backends.insert(id.to_owned(), member);
        }
        self.hour.turn(service, &core, now);
        let seen = Seen {
            service: self.tap.service(state, millis, up),
            backends,
        };
        *room += old.len();
        (seen, !old.is_empty())
    }
}

/// Whether there is anything to see of a backend that is not watched.
const fn is_seen(one: &BackendSnapshot) -> bool {
    one.counts.finished > 0 || !one.standing.is_well()
}

#[cfg(test)]
mod tests;
