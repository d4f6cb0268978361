//! Owns the handing over of an instance: what it has and knows, for the process that takes its place, and the taking.
//!
//! Sockets come first: what waits in their queues must be accepted by somebody. What was learned is worth having and nothing
//! depends on it.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub use evenkeel_balance::affinity::CarriedClient;
use evenkeel_balance::carried::CarriedService;
use evenkeel_config::limits::AFFINITY_CARRIED;
use evenkeel_proxy::affinity::Affinity;
pub use evenkeel_proxy::affinity::keys::Secret as AffinityKey;
use evenkeel_proxy::clock::{since_1970, since_boot};
pub use evenkeel_proxy::listener::inherited::{Inherited, address};
use evenkeel_proxy::thread;
pub use evenkeel_proxy::tls::tickets::Carried as CarriedTickets;

use super::Control;
use crate::command::Keeping;
use crate::events::What;
pub use crate::overlay::{Wanted, WantedBackend, WantedService};

/// What an instance begins with.
#[derive(Debug, Default)]
pub struct Heritage {
    /// Sockets that are bound already.
    pub listeners: Vec<Inherited>,
    /// What another process knew.
    pub state: CarriedState,
}

/// What an instance knows that is worth knowing in another process.
#[derive(Clone, Debug, Default)]
pub struct CarriedState {
    /// What operators want. It is the one thing that nobody else can say again.
    pub wanted: Wanted,
    /// When this was so, by the clock of the whole system ([`since_boot`]).
    pub then: Duration,
    /// Standing and what was learned, by service.
    pub services: Vec<(String, CarriedService)>,
    /// The keys of tickets, by listener.
    pub tickets: Vec<(String, CarriedTickets)>,
    /// The process's own key of affinity.
    pub affinity: Option<AffinityKey>,
    /// Who is kept where, by service.
    pub clients: Vec<(String, Vec<CarriedClient>)>,
}

/// What an instance gives to the process that takes its place.
#[derive(Debug)]
pub struct Handover {
    /// Every socket, and what it is called here.
    pub listeners: Vec<(Arc<str>, Inherited)>,
    /// What it knows.
    pub state: CarriedState,
}

impl Control {
    /// What another process needs to take this one's place. Nothing changes by it. Cost: sockets and backends.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn hand_over(&self) -> io::Result<Handover> {
        let listeners = self.open.iter().map(|(key, open)| {
            let sockets = open.ears.iter().map(|ear| ear.descriptor());
            let inherited = Inherited {
                listener: Some((&*open.listener).into()),
                bind: open.bind.clone(),
                sockets: sockets.collect::<io::Result<_>>()?,
                file: open.file.is_some(),
            };
            Ok((key.clone(), inherited))
        });
        Ok(Handover {
            listeners: listeners.collect::<io::Result<_>>()?,
            state: self.carried(),
        })
    }

    fn carried(&self) -> CarriedState {
        let (live, now) = (self.published.load(), self.clock.now());
        let services = live.services.iter().map(|service| {
            let learned = service.state.service.carried(now);
            (service.plan.name.to_string(), learned)
        });
        let listeners = live.plan.listeners.iter().zip(&live.terms);
        let tickets = listeners.filter_map(|(listener, terms)| {
            let carried = terms.as_ref()?.carried(since_1970())?;
            Some((listener.name.to_string(), carried))
        });
        let all = || live.services.iter();
        let keeps = all().any(|one| one.affinity.is_some());
        let remembers = |affinity: &Affinity| affinity.plan.by.is_remembered();
        let remembering = all().filter(|one| one.affinity.as_ref().is_some_and(remembers));
        // Each has its part of the room that those before it have left.
        let (mut parts, mut room) = (remembering.clone().count(), AFFINITY_CARRIED);
        let clients = remembering.map(|service| {
            let clients = service.state.carried_clients(room / parts.max(1), now);
            (parts, room) = (parts.saturating_sub(1), room.saturating_sub(clients.len()));
            (service.plan.name.to_string(), clients)
        });
        CarriedState {
            affinity: keeps.then(|| live.own.secret()).flatten(),
            clients: clients.collect(),
            wanted: self.overlay.wanted().0.clone(),
            then: since_boot(),
            services: services.collect(),
            tickets: tickets.collect(),
        }
    }

    /// The process's own key of affinity, where a service needs one. None too: the system gives no chance.
    #[must_use]
    pub fn affinity_key(&self) -> Option<AffinityKey> {
        let live = self.published.load();
        let needed = live.services.iter().any(|one| one.affinity.is_some());
        needed.then(|| live.own.secret()).flatten()
    }

    /// What operators want otherwise than the configuration says, and a number that is another one after each change.
    #[must_use]
    pub fn wanted(&self) -> (&Wanted, u64) {
        self.overlay.wanted()
    }

    /// Where that is kept, which answers say; that a disk does not take it, and does again, are events.
    pub fn keeps(&self, keeping: Keeping) {
        let mut place = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let was = std::mem::replace(&mut *place, keeping);
        drop(place);
        match (was, keeping) {
            (Keeping::Failing, Keeping::Failing) => {}
            (_, Keeping::Failing) => self.note(What::OverlayFailing),
            (Keeping::Failing, _) => self.note(What::OverlayKept),
            _ => {}
        }
    }

    /// Whether another process has been told what this one knows: commands are refused while it has, since it would not know of them.
    pub fn hold(&mut self, held: bool) {
        if held {
            self.end_trials();
        }
        self.held = held;
    }

    /// So many processes before this one still drain: what they serve is not counted here.
    pub fn preceded_by(&self, processes: usize) {
        self.predecessors.store(processes, Ordering::Relaxed);
    }

    /// Leaves the sockets to the process that was given them, but for those of these keys, which it has no use for: of those what
    /// waits is taken first. It is the process of this id, which tells what happens from now on. Open connections end with their exchange, and who is idle may begin one more within the plan's time.
    pub fn give_up(&mut self, unwanted: &[Arc<str>], to: u32) {
        self.note(What::Upgraded(to));
        let patience = self.published.load().plan.drain.patience();
        self.announce();
        self.chronicle.close();
        self.ending = true;
        self.checkers.clear();
        self.names.stop();
        for (key, mut open) in std::mem::take(&mut self.open) {
            if unwanted.contains(&key) {
                self.tell(|| thread::Command::Close(key.clone(), patience));
            } else if let Some(file) = &mut open.file {
                file.leave();
            }
        }
        self.tell(|| thread::Command::HandOver(patience));
    }

    /// Begins to take connections, with what was inherited of the instance before.
    pub fn begin(&mut self) {
        let (live, now) = (self.published.load(), self.clock.now());
        let carried = std::mem::take(&mut self.carried);
        self.traces.follow(&self.published);
        self.webhooks.follow(&live.plan.alerts.webhooks);
        // Ramps, bans and verdicts by hand went on while this process started.
        let passed = since_boot().saturating_sub(carried.then);
        for (name, learned) in carried.services {
            if let Some(service) = live.service(&name) {
                service.state.service.take_over(&learned.later(passed), now);
            }
        }
        if let Some(key) = carried.affinity {
            live.own.take_over(key);
        }
        for (name, mut clients) in carried.clients {
            for one in &mut clients {
                one.left = one.left.saturating_sub(passed);
            }
            if let Some(service) = live.service(&name)
                && let Some(affinity) = &service.affinity
            {
                let state = &service.state;
                state.take_over_clients(&affinity.plan, &live.own, clients, now);
            }
        }
        for (listener, terms) in live.plan.listeners.iter().zip(&live.terms) {
            let tickets = carried
                .tickets
                .iter()
                .find(|(name, _)| **name == *listener.name);
            if let (Some(terms), Some((_, tickets))) = (terms, tickets) {
                terms.take_over(tickets, since_1970());
            }
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.listen(waiting);
        self.steer(&live);
        self.note(What::Started);
    }
}
