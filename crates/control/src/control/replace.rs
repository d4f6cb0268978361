//! Owns how one plan takes the place of another while the instance runs: what can fail comes first, and changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use evenkeel_config::Plan;
use evenkeel_config::plan::{LogTarget, ServicePlan};
use evenkeel_proxy::clock::Clock;
use evenkeel_proxy::live::Live;
use evenkeel_proxy::thread::Command;

use super::open::{bind_all, enough};
use super::{Control, StartError};
use crate::access_log::{AccessLog, Opened};
use crate::certificates;
use crate::changes::Changes;
use crate::checks::load::{self, Poller};
use crate::checks::{self, Checker};
use crate::events::What;
use crate::snapshot::Of;

impl Control {
    /// Takes another plan, of the same texts whose files say something else. What stays, stays: sockets that both name are not closed,
    /// backends keep their state, open connections go on.
    ///
    /// # Errors
    /// [`StartError`]; then nothing was changed.
    pub fn reload(&mut self, plan: Plan) -> Result<Changes, StartError> {
        let changes = self.change(plan);
        self.reloads.count(Of::Files, changes.is_ok());
        if let Ok(changes) = &changes {
            self.remember("files", changes.into());
        }
        self.note(match &changes {
            Ok(changes) => What::Reloaded(changes.line()),
            Err(why) => What::ReloadRefused(why.to_string()),
        });
        changes
    }

    /// Counts files that brought no plan: what was to be read was wrong.
    pub fn refused(&self, why: &str) {
        self.reloads.count(Of::Files, false);
        self.note(What::ReloadRefused(why.to_owned()));
    }

    /// The files that the texts name hold what runs, whatever they held meanwhile.
    pub fn same(&self) {
        self.reloads.same();
    }

    pub(super) fn change(&mut self, plan: Plan) -> Result<Changes, StartError> {
        let before = self.published.load();
        let changes = Changes::between(&before.plan, &plan);
        certificates::load(&plan)?;
        let bindable = self.overlay.bindable(&plan);
        let bound = bind_all(&bindable, &self.open, &mut Vec::new(), self.workers.len())?;
        enough(&bound, &self.open, self.workers.len())?;
        let opened = open_log(&self.log, &plan)?;
        let patience = plan.drain.patience();
        let gone: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| open.place(&plan).is_none())
            .map(|(key, _)| key.clone())
            .collect();
        for service in &plan.services {
            // Before the join, which changes the core's services: a plan that cannot be checked changes nothing.
            checks::asks(service).map_err(|why| StartError::Check(service.name.clone(), why))?;
            load::asked(service).map_err(|why| StartError::Check(service.name.clone(), why))?;
        }
        let outlet = self.log.follow(plan.access_log.as_ref(), opened);
        let outlet = outlet.map_err(StartError::Thread)?;
        let now = self.clock.now();
        self.names.follow(&plan, now);
        self.overlay.follow(&plan);
        let were = before
            .services
            .iter()
            .map(|one| one.state.reach())
            .collect::<Vec<_>>();
        let (count, events) = (self.workers.len(), &self.events);
        let members = |service: &ServicePlan| self.members(service);
        let mut live = Live::join_members(plan, Some(&before), count, events, now, members);
        live.outlet = outlet;
        let checkers = std::mem::take(&mut self.checkers);
        self.checkers = start_checks(checkers, &live, self.clock)?;
        let pollers = std::mem::take(&mut self.pollers);
        self.pollers = start_polls(pollers, &live, self.clock)?;
        for service in &before.services {
            if live.service(&service.plan.name).is_none() {
                service.state.service.stop(self.clock.now());
            }
        }
        for open in self.open.values_mut() {
            // Workers find the new name themselves: they look up their sockets by address.
            if let Some(listener) = open
                .place(&live.plan)
                .and_then(|at| live.plan.listeners.get(at))
            {
                open.listener = listener.name.clone();
            }
        }
        self.steer(&live);
        self.drain_between(&before, &were, &live);
        self.published.store(live);
        self.traces.follow(&self.published);
        self.webhooks
            .follow(&self.published.load().plan.alerts.webhooks);
        self.listen(bound);
        for key in gone {
            self.open.remove(&key);
            self.tell(|| Command::Close(key.clone(), patience));
        }
        Ok(changes)
    }
}

pub(super) fn open_log(log: &AccessLog, plan: &Plan) -> Result<Option<Opened>, StartError> {
    let to = || plan.access_log.as_ref().map(|log| log.to.clone());
    log.open(plan.access_log.as_ref())
        .map_err(|error| StartError::AccessLog(to().unwrap_or(LogTarget::Stdout), error))
}

pub(super) fn start_checks(
    mut before: HashMap<Arc<str>, Checker>,
    live: &Live,
    clock: Clock,
) -> Result<HashMap<Arc<str>, Checker>, StartError> {
    let mut checkers = HashMap::new();
    for service in &live.services {
        let name = &service.plan.name;
        let earlier = before.remove(name);
        let checker = match earlier.and_then(|earlier| earlier.go_on(service)) {
            None => {
                checks::start(service, clock).map_err(|why| StartError::Check(name.clone(), why))?
            }
            goes_on => goes_on,
        };
        if let Some(checker) = checker {
            checkers.insert(name.clone(), checker);
        }
    }
    Ok(checkers)
}

pub(super) fn start_polls(
    mut before: HashMap<Arc<str>, Poller>,
    live: &Live,
    clock: Clock,
) -> Result<HashMap<Arc<str>, Poller>, StartError> {
    let mut pollers = HashMap::new();
    for service in &live.services {
        let name = &service.plan.name;
        let earlier = before.remove(name);
        let poller = match earlier.and_then(|earlier| earlier.go_on(service)) {
            None => {
                load::start(service, clock).map_err(|why| StartError::Check(name.clone(), why))?
            }
            goes_on => goes_on,
        };
        if let Some(poller) = poller {
            pollers.insert(name.clone(), poller);
        }
    }
    Ok(pollers)
}
