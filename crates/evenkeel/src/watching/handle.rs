//! Owns the four operations as a program calls them: of a service it holds, or by name.

use std::sync::{Arc, PoisonError};

use evenkeel_balance::snapshot::{BackendSnapshot, ServiceSnapshot};
use evenkeel_balance::time::Instant;

use super::{AdjustReport, Balanced, HealthReport, PerformanceReport, Watched, WatchingSettings};
use crate::ask::Ask;
use crate::balancer::LoadBalancer;
use crate::error::Error;
use crate::service::{Registered, ServiceHandle};

impl Registered {
    /// The one that watches it, which begins with this where there was none.
    fn watched(&self, now: Instant) -> Arc<Watched> {
        let mut place = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || {
            let settings = WatchingSettings::default();
            Arc::new(Watched::begin(&self.core, &self.requests, settings, now))
        };
        place.get_or_insert_with(begin).clone()
    }

    /// Looks at what ended, where it is watched.
    pub(crate) fn look(&self, now: Instant) {
        let place = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = place.clone();
        drop(place);
        if let Some(watched) = watched {
            watched.tick(&self.core, &self.requests, now);
        }
    }
}

impl ServiceHandle {
    /// Watches the service from now on, or as these settings say where it is watched. Percentiles are known where the service keeps `histograms`
    /// or its requests are exchanges; else means alone. Cost: a look at all members each second; at most 15 KiB for the service and for each
    /// of up to 10,000 backends, from when they have had something to do.
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn watch(&self, settings: WatchingSettings) -> Result<(), Error> {
        let core = self.service.living()?;
        let now = self.shared.clock.now();
        let watched = self.service.watched(now);
        let mut state = watched.state();
        if settings.adjust.is_none() {
            state.controller.reset();
            state.apply(core, now);
        } else if state.settings.adjust.is_none() {
            state.stepped = now;
            let backends = core.snapshot(now).backends;
            state.intervals(&backends, 0);
        }
        state.settings = settings;
        Ok(())
    }

    /// Watches it no more: all that is known is forgotten, and each backend has its whole weight.
    pub fn unwatch(&self) {
        let mut place = (self.service.watched.lock()).unwrap_or_else(PoisonError::into_inner);
        let watched = place.take();
        drop(place);
        if let Some(watched) = watched {
            let mut state = watched.state();
            state.controller.reset();
            state.apply(&self.service.core, self.shared.clock.now());
        }
    }

    /// Chooses a backend, as [`select_with`](Self::select_with) does; what the service is beside that is told when it is asked for.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::UnknownService`].
    pub fn balance(&self, ask: &Ask<'_>) -> Result<Balanced, Error> {
        let pick = self.select_with(ask)?;
        Ok(Balanced {
            pick,
            service: self.clone(),
        })
    }

    /// How healthy the service and its backends are. Watches it from the first call on. Cost: members.
    #[must_use]
    pub fn monitor_health(&self) -> HealthReport {
        let (watched, snapshot, heeds) = self.looked();
        watched.state().health(&snapshot, heeds)
    }

    /// How well the service and its backends do, and how requests were spread. Watches it from the first call on. Cost: members, some
    /// microseconds each.
    #[must_use]
    pub fn monitor_performance(&self) -> PerformanceReport {
        let (watched, snapshot, heeds) = self.looked();
        watched.state().performance(&snapshot, heeds)
    }

    /// What adjusting came to; the step that is due is made first. Nothing where [`watch`](Self::watch) was not told to adjust. Under a
    /// policy that heeds latency, or a key, nothing is moved: what would be is told.
    #[must_use]
    pub fn adjust(&self) -> AdjustReport {
        let (watched, snapshot, _) = self.looked();
        let state = watched.state();
        let factor = |one: &BackendSnapshot| {
            let id = one.id.as_str();
            (one.id.clone(), state.controller.factor(id))
        };
        AdjustReport {
            step: state.step.clone(),
            factors: snapshot.backends.iter().map(factor).collect(),
            learning: state.controller.learning(),
        }
    }

    fn looked(&self) -> (Arc<Watched>, ServiceSnapshot, bool) {
        let now = self.shared.clock.now();
        let watched = self.service.watched(now);
        watched.tick(&self.service.core, &self.service.requests, now);
        let heeds = self.service.core.settings().policy.heeds_latency();
        (watched, self.service.core.snapshot(now), heeds)
    }
}

impl LoadBalancer {
    /// As [`ServiceHandle::watch`].
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn watch(&self, service: &str, settings: WatchingSettings) -> Result<(), Error> {
        self.known(service)?.watch(settings)
    }

    /// As [`ServiceHandle::balance`].
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::UnknownService`].
    pub fn balance(&self, service: &str, ask: &Ask<'_>) -> Result<Balanced, Error> {
        self.known(service)?.balance(ask)
    }

    /// As [`ServiceHandle::monitor_health`].
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn monitor_health(&self, service: &str) -> Result<HealthReport, Error> {
        Ok(self.known(service)?.monitor_health())
    }

    /// As [`ServiceHandle::monitor_performance`].
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn monitor_performance(&self, service: &str) -> Result<PerformanceReport, Error> {
        Ok(self.known(service)?.monitor_performance())
    }

    /// As [`ServiceHandle::adjust`].
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn adjust(&self, service: &str) -> Result<AdjustReport, Error> {
        Ok(self.known(service)?.adjust())
    }
}
