//! Owns what all clones of a balancer and all handles of its services share, and its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::BalancerSettings;
use crate::clock::{Chance, Clock};
use crate::events::Hub;
use crate::service::Registered;
use crate::sweep::Checks;
use crate::ticker::Ticker;
use crate::untold::InOrder;

pub(super) type Services = HashMap<Arc<str>, Arc<Registered>>;

/// What all clones and handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) services: ArcSwap<Services>,
    pub(crate) hub: Arc<Hub>,
    /// Those that were spawned and may still run.
    pub(crate) checkers: Mutex<Vec<Checks>>,
    pub(crate) ticker: Ticker,
    pub(super) stopped: AtomicBool,
    /// Held by whoever changes which services there are. Nothing of the program's runs under it.
    writer: Mutex<()>,
    /// What such changes have to tell.
    pub(super) untold: InOrder,
}

impl Shared {
    pub(super) fn new(settings: &BalancerSettings) -> Self {
        Self {
            clock: Clock::start(),
            chance: Chance::new(settings.seed),
            services: ArcSwap::default(),
            hub: Arc::new(Hub::new(settings.events_kept)),
            checkers: Mutex::default(),
            ticker: Ticker::new(settings.tick_by_hand),
            stopped: AtomicBool::new(false),
            writer: Mutex::default(),
            untold: InOrder::default(),
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn write(&self) -> MutexGuard<'_, ()> {
        // What it guards is published whole, so a panic elsewhere leaves nothing half done.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unpublished first: who finds a service afterwards holds it already.
    pub(super) fn end_all(&self) -> Arc<Services> {
        let ended = self.services.swap(Arc::default());
        ended.values().for_each(|service| self.end(service));
        ended
    }

    /// To be told.
    pub(super) fn end(&self, service: &Registered) {
        self.untold.push(service.core.untold());
        service.end(self);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.end_all());
        self.untold.tell();
        self.hub.bell.notify_one();
    }
}
