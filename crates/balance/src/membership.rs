//! Owns who belongs to a service and what the one writer knows of each member.
//!
//! Everything here runs under the writer's lock. Changes collect events and mark the table dirty; the service
//! publishes once at the end. Facts become standing in `tick`; here is joining, leaving and what operators say.

use std::collections::HashMap;
use std::sync::Arc as StdArc;
use std::time::Duration;

use self::due::Due;
use self::entry::{Entry, Tiers, Totals};
use self::news::News;
use self::parted::Sharing;
use self::rest::Rest;
use crate::backend::{Admin, Backend, BackendId, BackendSpec};
use crate::breaker::Breaker;
use crate::eligibility::{Footing, Rung};
use crate::event::EventKind;
use crate::facts::Facts;
use crate::health::{CheckReport, CheckResult, Health};
use crate::hedge::pace::Readings;
use crate::learn::window::{Tally, Window};
use crate::load::{Load, Scales};
use crate::settings::ServiceSettings;
use crate::standing::{Reason, Standing};
use crate::sync::{Arc, Weak};
use crate::table::Table;
use crate::time::Instant;
use crate::trust::{Court, Trust};

/// One member, and how many have which standing.
mod entry;

/// Deriving standings, and the rung that they make.
mod stand;

/// Turning facts into standing.
mod tick;

/// When there is nothing to turn.
mod rest;

/// When a table is made of what checks changed.
mod due;

/// Who changed, for whoever checks.
mod news;

/// Limits that follow latency.
mod limits;

/// Weighing members by what they report of their load.
mod weigh;

/// Weighing members by what whoever watches makes of them.
mod factors;

/// What tiers and zones carry, and the parts of a table.
mod parted;

/// Turning facts into delays.
mod hedging;

/// Making the table that pickers read.
mod publish;

/// Telling all.
mod view;

/// Going over to another process.
mod carry;

/// Why a membership cannot be.
mod error;

pub use error::MembershipError;
use error::room;

/// So many backends that left and that nobody holds are remembered without a tick, besides as many as are held. Those are never
/// forgotten; their number is that of the attempts under way at most, and of the members that left with the last change.
const DEPARTED: usize = 64;

pub(crate) struct Ledger {
    facts: Arc<Facts>,
    settings: ServiceSettings,
    /// The policy's word. Asked once per settings: a program's own policy may panic at any call.
    policy: StdArc<str>,
    members: Vec<Entry>,
    index: HashMap<BackendId, usize>,
    /// Members that left and that somebody still holds, by an attempt or by a table of before: who returns meanwhile
    /// finds its counters again, also those of a pick that was on its way when the member left.
    departed: HashMap<BackendId, Weak<Backend>>,
    /// So many departed are worth a look at who of them is still held.
    forget_at: usize,
    next_serial: u32,
    tiers: Tiers,
    footing: Footing,
    sharing: Sharing,
    /// The tier that served last.
    served: Option<u16>,
    down_since: Option<Instant>,
    begun: bool,
    dirty: bool,
    due: Due,
    events: Vec<EventKind>,
    last_tick: Instant,
    /// Whose turn it is to be forgiven.
    turn: usize,
    /// When ramps moved last.
    warmed: Instant,
    /// When members are judged beside their peers.
    court: Court,
    /// When members are weighed by what they report.
    scales: Scales,
    totals: Totals,
    /// What was usual among those that served at the last tick, for the `peak_ewma` policy.
    usual_peak: f32,
    /// Retries at the last tick, for the budget.
    retried: u64,
    retries_refused: u64,
    /// How long answers took, for hedges.
    readings: Readings,
    /// Tables that were replaced, as long as somebody reads them.
    retired: Vec<Arc<Table>>,
    /// Whether a tick has anything to walk.
    rest: Rest,
    news: News,
}

impl Ledger {
    pub(crate) fn new(facts: Arc<Facts>, settings: ServiceSettings, now: Instant) -> Self {
        let mut ledger = Self {
            policy: settings.policy.name().into(),
            facts,
            settings,
            members: Vec::new(),
            index: HashMap::new(),
            departed: HashMap::new(),
            forget_at: DEPARTED,
            next_serial: 1,
            tiers: Tiers::default(),
            footing: Footing {
                rung: Rung::AllDown,
                tier: None,
                last: None,
            },
            sharing: Sharing::default(),
            served: None,
            down_since: None,
            begun: false,
            dirty: true,
            due: Due::made(now),
            events: Vec::new(),
            last_tick: now,
            turn: 0,
            warmed: now,
            court: Court::default(),
            scales: Scales::default(),
            totals: Totals::default(),
            retried: 0,
            retries_refused: 0,
            readings: Readings::default(),
            retired: Vec::new(),
            rest: Rest::default(),
            news: News::default(),
            usual_peak: 1.0,
        };
        ledger.settings_to_facts();
        ledger
    }

    /// The first members are in: from here on, changes are events.
    pub(crate) fn begun(&mut self) {
        self.begun = true;
        self.footing = self.reached();
        self.served = self.footing.tier;
        self.events = vec![EventKind::ServiceStarted {
            members: self.members.len(),
        }];
    }

    pub(crate) fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    pub(crate) fn take_events(&mut self) -> Vec<EventKind> {
        std::mem::take(&mut self.events)
    }

    fn find(&self, id: &BackendId) -> Result<usize, MembershipError> {
        self.index
            .get(id)
            .copied()
            .ok_or_else(|| MembershipError::Unknown(id.clone()))
    }

    fn tell(&mut self, kind: EventKind) {
        if self.begun {
            self.events.push(kind);
        }
    }

    /// Settings and membership in one change; neither on error.
    pub(crate) fn reconfigure(
        &mut self,
        settings: ServiceSettings,
        specs: &[&BackendSpec],
        now: Instant,
    ) -> Result<(), MembershipError> {
        index_of(specs, settings.max_backends)?;
        self.set_settings(settings, now);
        self.replace(specs, now)
    }

    pub(crate) fn replace(
        &mut self,
        specs: &[&BackendSpec],
        now: Instant,
    ) -> Result<(), MembershipError> {
        let index = index_of(specs, self.settings.max_backends)?;
        let stood = std::mem::replace(&mut self.index, index);
        let before = std::mem::take(&mut self.members);
        let mut before: Vec<Option<Entry>> = before.into_iter().map(Some).collect();
        self.members.reserve_exact(specs.len());
        for &spec in specs {
            let place = stood.get(&spec.id).and_then(|&at| before.get_mut(at));
            // Moved once: an entry is some hundred bytes, and there may be ten thousand.
            match place.and_then(Option::take) {
                Some(entry) => self.members.push(entry),
                None => {
                    let entry = self.joined(spec.clone(), now);
                    self.members.push(entry);
                    continue;
                }
            }
            self.updated(self.members.len() - 1, spec, now);
        }
        let mut gone: Vec<Entry> = before.into_iter().flatten().collect();
        gone.sort_by_key(|entry| entry.backend.serial());
        self.departed.reserve(gone.len());
        for entry in gone {
            self.left(&entry);
        }
        self.recount(now);
        Ok(())
    }

    pub(crate) fn add(&mut self, spec: BackendSpec, now: Instant) -> Result<(), MembershipError> {
        if self.index.contains_key(&spec.id) {
            return Err(MembershipError::Duplicate(spec.id));
        }
        room(self.members.len() + 1, self.settings.max_backends)?;
        let entry = self.joined(spec, now);
        self.index.insert(entry.spec.id.clone(), self.members.len());
        self.members.push(entry);
        self.recount(now);
        Ok(())
    }

    pub(crate) fn update(
        &mut self,
        spec: &BackendSpec,
        now: Instant,
    ) -> Result<(), MembershipError> {
        let at = self.find(&spec.id)?;
        self.updated(at, spec, now);
        self.recount(now);
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &BackendId, now: Instant) -> Result<(), MembershipError> {
        let at = self.find(id)?;
        let entry = self.members.remove(at);
        self.index = self
            .members
            .iter()
            .enumerate()
            .map(|(at, entry)| (entry.spec.id.clone(), at))
            .collect();
        self.left(&entry);
        self.recount(now);
        Ok(())
    }

    pub(crate) fn set_settings(&mut self, settings: ServiceSettings, now: Instant) {
        let checks_switched = settings.health.is_some() != self.settings.health.is_some();
        let breaker_off = settings.breaker.is_none();
        let window = self.window();
        self.policy = settings.policy.name().into();
        self.settings = settings;
        self.settings_to_facts();
        let (same_window, window) = (window == self.window(), self.window());
        for entry in &mut self.members {
            if !same_window {
                entry.window = Window::new(window, now, entry.tally());
            }
            if checks_switched {
                entry.health.checks_switched(self.settings.health.is_some());
            }
            if breaker_off {
                entry.breaker = Breaker::default();
                entry.backend.trials.end();
            }
        }
        self.limits_switched(now);
        for at in 0..self.members.len() {
            self.restand(at, Reason::SettingsChanged, now);
        }
        self.tell(EventKind::SettingsChanged {
            policy: self.policy.clone(),
        });
        self.dirty = true;
    }

    pub(crate) fn check(
        &mut self,
        id: &BackendId,
        report: CheckReport,
        now: Instant,
    ) -> Result<(), MembershipError> {
        let at = self.find(id)?;
        let entry = &mut self.members[at];
        if report.began < entry.joined {
            return Err(MembershipError::Unknown(id.clone()));
        }
        let success = entry.backend.last_success_picked();
        let before = entry.health.need();
        let reason = self
            .settings
            .health
            .and_then(|settings| entry.health.report(report, settings, success));
        let need = entry.health.need();
        let fault = match report.result {
            CheckResult::Passed => None,
            CheckResult::Failed(fault) => Some(fault),
        };
        entry.refused(fault, report.began);
        let failures = entry.health.failures;
        if need != before {
            self.news_of(at);
        }
        if fault.is_some() {
            // What follows from it may be a tick's to find. One that passes, and changes nothing, is what most do.
            self.rest = Rest::Awake;
        }
        self.tell(EventKind::Checked {
            backend: id.clone(),
            latency: report.latency,
            fault,
            status: report.status,
            failures,
        });
        if let Some(reason) = reason {
            self.restand(at, reason, now);
        }
        Ok(())
    }

    pub(crate) fn mark(
        &mut self,
        id: &BackendId,
        healthy: Option<bool>,
        until: Option<Instant>,
        now: Instant,
    ) -> Result<(), MembershipError> {
        let at = self.find(id)?;
        self.members[at].health.mark(healthy, until);
        if healthy == Some(true) {
            self.close(at, Reason::ByHand, now);
        }
        self.restand(at, Reason::ByHand, now);
        Ok(())
    }

    fn joined(&mut self, spec: BackendSpec, now: Instant) -> Entry {
        // Where nobody serves, there is nobody to warm up beside.
        let first = self.tiers.count(spec.tier, Standing::Serving) == 0;
        let held = match self.departed.is_empty() {
            true => None,
            false => self.departed.remove(&spec.id),
        };
        let state = held.and_then(|held| held.upgrade()).unwrap_or_else(|| {
            let serial = self.next_serial;
            self.next_serial = self.next_serial.wrapping_add(1).max(1);
            Arc::new(Backend::new(
                spec.id.clone(),
                serial,
                self.facts.clone(),
                self.settings.histograms,
            ))
        });
        state.peak.start(self.usual_peak, now);
        self.totals.anew = true;
        let health = Health::joining(self.settings.health.is_some());
        let standing = Standing::of(spec.admin, health.active(), Breaker::default().gate());
        let backend = spec.id.clone();
        self.tell(EventKind::BackendAdded { backend, standing });
        let reason = match spec.admin {
            Admin::Enabled => Reason::Joined,
            Admin::Draining | Admin::Disabled => Reason::Operator,
        };
        let mut entry = Entry {
            spec,
            health,
            breaker: Breaker::default(),
            window: Window::new(self.window(), now, Tally::default()),
            trust: Trust::default(),
            load: Load::default(),
            factor: 1.0,
            limit: self.first_limit(now),
            warming: (!first).then_some(now),
            out: None,
            standing,
            reason,
            since: now,
            heard: (0, None),
            idle: Duration::ZERO,
            picked: state.counts().picked,
            compared: 0,
            drain_told: false,
            first,
            new: !first,
            joined: now,
            news: 0,
            backend: state,
        };
        entry.window.restart(now, entry.tally());
        entry
    }

    pub(super) fn window(&self) -> Duration {
        self.settings.breaker.unwrap_or_default().window
    }

    /// Has the member that stands there follow what is configured of it now.
    fn updated(&mut self, at: usize, spec: &BackendSpec, now: Instant) {
        let peace = self.peace();
        let entry = &mut self.members[at];
        if entry.spec == *spec {
            return;
        }
        let repaired = (entry.spec.admin, spec.admin) == (Admin::Disabled, Admin::Enabled);
        // Who was in maintenance returns, also if it never served.
        entry.first &= !repaired;
        let closed = repaired && entry.acquit(peace, now);
        entry.drain_told &= entry.spec.admin == spec.admin;
        entry.spec = spec.clone();
        self.totals.anew = true;
        if closed {
            let backend = spec.id.clone();
            self.tell(EventKind::BreakerClosed { backend });
        }
        self.tell(EventKind::BackendUpdated {
            backend: spec.id.clone(),
            admin: spec.admin,
            weight: spec.weight.get(),
        });
    }

    fn left(&mut self, entry: &Entry) {
        let in_flight = entry.backend.in_flight();
        // Who returns is judged anew: late answers of its trials and old failures are not held against it.
        entry.backend.trials.end();
        entry.backend.row.set(0);
        // Ticks forget those that nobody holds; a service whose members come and go faster forgets here.
        if self.departed.len() >= self.forget_at {
            self.forget();
        }
        self.departed
            .insert(entry.spec.id.clone(), Arc::downgrade(&entry.backend));
        self.tell(EventKind::BackendRemoved {
            backend: entry.spec.id.clone(),
            in_flight,
        });
    }

    /// Drops what is remembered of backends that left and that nobody holds any more.
    pub(super) fn forget(&mut self) {
        self.departed
            .retain(|_, backend| backend.strong_count() > 0);
        // Twice the survivors: many that leave together and are still held are not looked through once for each.
        self.forget_at = DEPARTED + 2 * self.departed.len();
    }
}

/// Where each identity stands, if they can be members together.
fn index_of(
    specs: &[&BackendSpec],
    most: u32,
) -> Result<HashMap<BackendId, usize>, MembershipError> {
    room(specs.len(), most)?;
    let mut index = HashMap::with_capacity(specs.len());
    for (at, spec) in specs.iter().enumerate() {
        if index.insert(spec.id.clone(), at).is_some() {
            return Err(MembershipError::Duplicate(spec.id.clone()));
        }
    }
    Ok(index)
}
