//! Owns where commands are given, what becomes of them, and of what drains by them.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use evenkeel_balance::backend::BackendId;
use evenkeel_config::nearest::nearest;
use evenkeel_config::plan::{BackendPlan, ServicePlan};
use evenkeel_proxy::live::{Live, LiveService, Reach};
use evenkeel_proxy::thread;
use tokio::sync::Notify;

use super::{Control, bind_all};
use crate::adjust::Adjuster;
use crate::command::{Admin, Answer, Asked, Came, Command, Done, Refused, Tag, word};
use crate::events::{Chronicle, What};
use crate::monitor::{Monitor, Quiet};
use crate::snapshot::Watch;
use crate::told;

/// How long commands are obeyed in one turn: ticks come ten times a second, and a plan of ten thousand backends takes its time.
const TURN: Duration = Duration::from_millis(40);

impl Control {
    /// Looks at this instance from other threads and tasks.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch {
            published: self.published.clone(),
            workers: self
                .workers
                .iter()
                .map(|worker| worker.state.clone())
                .collect(),
            clock: self.clock,
            draining: self.draining.clone(),
            predecessors: self.predecessors.clone(),
            reloads: self.reloads.clone(),
            chronicle: self.chronicle.clone(),
            names: self.names.book(),
            log: self.log.counts(),
            orders: self.orders.clone(),
            book: self.book.clone(),
            reads: self.given.as_ref().map(|given| given.reads.clone()),
            picks: self.picks.clone(),
            monitor: self.monitor.clone(),
            adjuster: self.adjuster.clone(),
            told: self.traces.told.clone(),
            hooks: self.webhooks.hooks.clone(),
            keeping: self.keeping.clone(),
        }
    }

    /// What is watched, for whoever keeps it.
    #[must_use]
    pub fn monitor(&self) -> Arc<Monitor> {
        self.monitor.clone()
    }

    /// Writes down what happened, for whoever reads along.
    pub fn note(&self, what: What) {
        self.chronicle.write(what);
    }

    /// What was learned of backends whose weights follow what they do: for who keeps it.
    #[must_use]
    pub fn adjuster(&self) -> Arc<Adjuster> {
        self.adjuster.clone()
    }

    /// Where that is written down, for whoever knows of more.
    #[must_use]
    pub fn chronicle(&self) -> Arc<Chronicle> {
        self.chronicle.clone()
    }

    /// Which revision runs.
    #[must_use]
    pub fn revision(&self) -> Tag {
        self.book.current()
    }

    /// Told when a command waits: then [`obey`](Self::obey), or the next tick will.
    #[must_use]
    pub fn commands(&self) -> Arc<Notify> {
        self.orders.told()
    }

    /// Does what was asked and is not done yet, for [`TURN`] at most: the rest waits for the next turn, which is told.
    pub fn obey(&mut self) {
        let until = self.clock.now() + TURN;
        while let Ok(order) = self.line.try_recv() {
            let answer = self.answer(&order.0);
            order.answer(answer);
            if self.clock.now() >= until {
                self.orders.told().notify_one();
                break;
            }
        }
        self.cut();
    }

    fn answer(&mut self, asked: &Asked) -> Result<Answer, Refused> {
        match (self.ending, self.held) {
            (true, _) => return Err(Refused::Draining),
            (_, true) => return Err(Refused::Upgrading),
            _ => {}
        }
        let current = self.book.current();
        if asked
            .seen
            .as_ref()
            .is_some_and(|seen| !seen.contains(&current))
        {
            return Err(Refused::Stale(current));
        }
        let came = self.came(&asked.command, &asked.by)?;
        told::command(&asked.command, &came, &asked.by);
        if let Some(what) = What::of_command(&asked.command, &came) {
            self.note(what);
        }
        Ok(Answer {
            came,
            revision: self.book.current(),
            keeping: *self.keeping.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    fn came(&mut self, command: &Command, by: &Arc<str>) -> Result<Came, Refused> {
        match command {
            Command::Backend { .. } | Command::Service { .. } | Command::Listener { .. } => {
                let done = self.done(command)?;
                if done.changed {
                    self.remember(by.clone(), told::wish(command, &done).into());
                }
                Ok(Came::State(done))
            }
            Command::Change(change) => self.edit(change, by).map(Came::Taken),
            Command::RollBack(to) => self.roll_back(*to, by).map(Came::Taken),
            Command::Reload => self.reload_by(by).map(Came::Taken),
            Command::Acknowledge(alert) => {
                let done = self.monitor.acknowledge(*alert, by);
                done.map(|()| Came::Acted(1))
            }
            Command::Silence(quiet) => {
                quietens(&self.published.load(), quiet)?;
                self.monitor.silence(quiet, by).map(Came::Acted)
            }
            Command::Adjust(service) => {
                let live = self.published.load();
                let (moved, news) = self.adjuster.step(&live, service, self.clock)?;
                self.tell_adjusted(news);
                Ok(Came::Acted(moved))
            }
            Command::TellAgain(letter) => {
                let done = self.webhooks.hooks.again(*letter);
                done.map(|()| Came::Acted(1))
            }
            Command::Lift(silence) => self.monitor.lift(*silence).map(|()| Came::Acted(1)),
            _ => self.act(command).map(Came::Acted),
        }
    }

    /// Has those cut whose time is over, and nobody else.
    fn cut(&mut self) {
        let now = self.clock.now();
        if let Some((numbers, news)) = self.drains.turn(now) {
            for cut in news {
                told::cut(&cut, &self.chronicle);
            }
            self.published.cut(numbers);
        }
    }

    pub(super) fn done(&mut self, command: &Command) -> Result<Done, Refused> {
        let live = self.published.load();
        match command {
            Command::Backend {
                service,
                backend,
                admin,
            } => self.admin(find(&live, service)?, backend, *admin),
            Command::Service { service, drain } => {
                let service = find(&live, service)?;
                let changed = self.overlay.drain(&service.plan, *drain);
                self.bring(service);
                let now = self.clock.now();
                let members = service.state.service.snapshot(now).backends;
                let in_flight = members.iter().map(|one| u64::from(one.counts.in_flight));
                Ok(Done {
                    changed,
                    state: if *drain { "draining" } else { "enabled" },
                    in_flight: in_flight.sum(),
                    predecessors: self.before(),
                    within: drain.then(|| self.cut_in(service)),
                })
            }
            Command::Listener { listener, drain } => self.listener(&live, listener, *drain),
            _ => Err(Refused::NotOfThese("this has no state".to_owned())),
        }
    }

    /// How long until the last of what is under way there is cut: some may have begun to drain before.
    fn cut_in(&self, service: &LiveService) -> Duration {
        let (all, now) = (service.state.all(), self.clock.now());
        let each = all
            .iter()
            .filter_map(|one| self.drains.left(one.number, now));
        each.max().unwrap_or_default()
    }

    fn before(&self) -> usize {
        self.predecessors.load(Relaxed)
    }

    fn admin(
        &mut self,
        service: &Arc<LiveService>,
        backend: &str,
        admin: Admin,
    ) -> Result<Done, Refused> {
        let members = self.names.members(&service.plan);
        let Some(member) = members.iter().find(|one| one.spec.id.as_str() == backend) else {
            let known = members.iter().map(|one| one.spec.id.as_str());
            return Err(unknown("backend", backend, known));
        };
        let id = BackendId::from(backend);
        let now = self.clock.now();
        let seen = |service: &LiveService| {
            service
                .state
                .service
                .snapshot(now)
                .backend(backend)
                .cloned()
        };
        let before = seen(service).map(|one| one.spec.admin);
        self.overlay.wish(&service.plan, member, admin)?;
        self.bring(service);
        let after = seen(service);
        let is = after.as_ref().map_or(admin, |one| one.spec.admin);
        let number = service.state.reached(&id).map(|one| one.number);
        Ok(Done {
            changed: before != Some(is),
            state: word(is),
            in_flight: after.map_or(0, |one| one.counts.in_flight.into()),
            predecessors: self.before(),
            within: number.and_then(|number| self.drains.left(number, self.clock.now())),
        })
    }

    pub(super) fn listener(
        &mut self,
        live: &Live,
        name: &str,
        away: bool,
    ) -> Result<Done, Refused> {
        let mut all = live.plan.listeners.iter().zip(&live.doors);
        let Some((plan, door)) = all.find(|(plan, _)| *plan.name == *name) else {
            let known = live.plan.listeners.iter().map(|one| &*one.name);
            return Err(unknown("listener", name, known));
        };
        let changed = self.overlay.steer_away(&plan.name, away);
        if changed && away {
            let of_it = |(key, open): (&Arc<str>, &super::Open)| {
                (open.listener == plan.name).then(|| key.clone())
            };
            let patience = live.plan.drain.patience();
            let keys: Vec<_> = self.open.iter().filter_map(of_it).collect();
            for key in keys {
                self.open.remove(&key);
                self.tell(|| thread::Command::Close(key.clone(), patience));
            }
        } else if changed {
            let bindable = self.overlay.bindable(&live.plan);
            let bound = bind_all(&bindable, &self.open, &mut Vec::new(), self.workers.len());
            let bound = bound.map_err(|error| {
                self.overlay.steer_away(&plan.name, true);
                Refused::Bind(error.to_string())
            })?;
            self.listen(bound);
        }
        self.steer(live);
        Ok(Done {
            changed,
            state: if away { "draining" } else { "enabled" },
            in_flight: door.open.load(Relaxed) as u64,
            predecessors: self.before(),
            within: None,
        })
    }

    /// Shows which listeners clients are steered away from.
    pub(super) fn steer(&self, live: &Live) {
        for (plan, door) in live.plan.listeners.iter().zip(&live.doors) {
            let away = self.overlay.is_away(&plan.name);
            door.drained.store(away, Relaxed);
        }
    }

    /// The members of a service, as its plan, its names and operators want them.
    pub(super) fn members(&self, service: &ServicePlan) -> Arc<[BackendPlan]> {
        self.overlay.lay(service, self.names.members(service))
    }

    /// Brings a service to its members of now.
    pub(super) fn bring(&mut self, service: &LiveService) {
        let now = self.clock.now();
        let (members, before) = (self.members(&service.plan), service.state.reach());
        if !self.drains.is_empty() {
            // Before anybody is sent there.
            self.drains.forgive_enabled(&before, &members);
            self.cut();
        }
        service.state.update(&members, now);
        let has = Some((&*service.state, &*members));
        let within = service.plan.limits.drain;
        let name = &service.plan.name;
        self.drains.follow(name, Some(&before), has, within, now);
    }

    /// What drains between two plans; `before` are the backends of the earlier one's services, in their order.
    pub(super) fn drain_between(&mut self, earlier: &Live, before: &[Reach], live: &Live) {
        let now = self.clock.now();
        for (service, before) in earlier.services.iter().zip(before) {
            if live.service(&service.plan.name).is_none() {
                let (name, within) = (&service.plan.name, service.plan.limits.drain);
                self.drains.follow(name, Some(before), None, within, now);
            }
        }
        for service in &live.services {
            let was = earlier.services.iter().zip(before);
            let mut was = was.filter(|(one, _)| Arc::ptr_eq(&one.state, &service.state));
            let before = was.next().map(|(_, before)| before);
            let members = self.members(&service.plan);
            let has = Some((&*service.state, &*members));
            let within = service.plan.limits.drain;
            let name = &service.plan.name;
            self.drains.follow(name, before, has, within, now);
        }
    }
}

pub(crate) fn find<'l>(live: &'l Live, name: &str) -> Result<&'l Arc<LiveService>, Refused> {
    live.service(name).ok_or_else(|| {
        let known = live.services.iter().map(|one| &*one.plan.name);
        unknown("service", name, known)
    })
}

/// A name that is mistyped would silence nothing.
fn quietens(live: &Live, quiet: &Quiet) -> Result<(), Refused> {
    let Some(service) = &quiet.service else {
        return Ok(());
    };
    let specs = find(live, service)?.state.service.specs();
    let mut known = specs.iter().map(|spec| spec.id.as_str());
    match &quiet.backend {
        Some(id) if !known.clone().any(|one| one == id) => {
            Err(unknown("backend", id, known.by_ref()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn unknown<'k>(
    what: &'static str,
    name: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Refused {
    Refused::Unknown {
        what,
        name: name.to_owned(),
        near: nearest(known, name).map(str::to_owned),
    }
}
