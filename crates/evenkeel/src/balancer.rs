//! Owns the services of a program by name, and what they share: clock, chance, events and the ticker.
//!
//! Readers take no lock: the map of services is published whole. One writer at a time changes it. What is done to one
//! service stands in `service`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::explain::Explanation;
use evenkeel_balance::retry::{Attempt, Decision};
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::ServiceSettings;
use evenkeel_balance::snapshot::ServiceSnapshot;
use evenkeel_balance::time::Instant;

use crate::ask::Ask;
use crate::error::Error;
use crate::events::{Ear, Events};
use crate::pick::Pick;
use crate::service::{Registered, ServiceHandle};
use crate::ticker;

/// What it may be told.
mod settings;

/// What clones and handles share.
mod shared;

pub use settings::BalancerSettings;
pub(crate) use shared::Shared;

use shared::Services;

/// Services by name. Clones are the same balancer.
///
/// By name it does what programs do most; all of it is done to a [`ServiceHandle`] ([`service`](Self::service)), which also spares each
/// call the look-up.
///
/// ```
/// use evenkeel::{LoadBalancer, ServiceSettings};
///
/// let balancer = LoadBalancer::new();
/// balancer.register("api", ServiceSettings::default(), ["a:80", "b:80"])?;
/// balancer.mark_health("api", "a:80", false)?;
/// assert_eq!((balancer.backend_count("api"), balancer.healthy_count("api")), (2, 1));
/// assert_eq!(balancer.select("api")?.id().as_str(), "b:80");
/// balancer.unregister("api")?;
/// assert!(balancer.select("api").is_err());
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # The ticker
/// What picks record becomes standing at a tick: breakers open and close, ramps move, verdicts by hand expire. One task
/// ticks all services every 100 ms, and promptly when a breaker is to open. It is spawned by [`new`](Self::new),
/// [`register`](Self::register) or a pick, whichever first runs inside a tokio runtime (with timers enabled), by
/// [`start`](Self::start) at the latest, and again when that runtime has ended. It ends when the last clone and the last
/// [`ServiceHandle`] are dropped.
/// Without a runtime, call [`tick`](Self::tick).
#[derive(Clone, Debug)]
pub struct LoadBalancer {
    pub(crate) shared: Arc<Shared>,
}

/// A balancer that it does not keep alive: for tasks that should end with it.
#[derive(Clone, Debug)]
pub struct WeakLoadBalancer {
    pub(crate) shared: Weak<Shared>,
}

impl WeakLoadBalancer {
    /// The balancer, unless it is gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<LoadBalancer> {
        self.shared.upgrade().map(|shared| LoadBalancer { shared })
    }
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self::with_settings(&BalancerSettings::default())
    }
}

impl LoadBalancer {
    /// A balancer without services. Its ticker starts when this runs inside a tokio runtime.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`new`](Self::new), told more.
    #[must_use]
    pub fn with_settings(settings: &BalancerSettings) -> Self {
        let balancer = Self {
            shared: Arc::new(Shared::new(settings)),
        };
        balancer
            .shared
            .ticker
            .start_where_possible(&balancer.shared);
        balancer
    }

    /// Starts the ticker on the current runtime; nothing when it runs already. Also after the runtime that it ran on
    /// has ended.
    ///
    /// # Errors
    /// [`Error::NoRuntime`] outside a runtime; [`Error::NoTimers`] in one without them, to find which costs a panic that
    /// is caught; [`Error::Stopped`].
    pub fn start(&self) -> Result<(), Error> {
        if self.shared.is_stopped() {
            return Err(Error::Stopped);
        }
        self.shared.ticker.start(&self.shared)
    }

    /// Whether the ticker runs. It ends with its runtime, and starts again with the next pick or registration inside
    /// another; between the two, breakers neither open nor close and budgets do not grow.
    #[must_use]
    pub fn is_ticking(&self) -> bool {
        self.shared.ticker.is_alive()
    }

    /// Ticks all services now. For programs without a runtime: call it every [`TICK`](evenkeel_balance::service::TICK).
    /// Cost: all members.
    pub fn tick(&self) {
        ticker::tick(
            &self.shared,
            |service| {
                service.ear.take_wish();
                true
            },
            self.shared.clock,
        );
    }

    /// The balancer's time: what events and snapshots count in. Nanoseconds since it was made.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// The balancer, not kept alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakLoadBalancer {
        WeakLoadBalancer {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// Makes a service, or gives an existing one other settings and members: backends that stay keep their counts,
    /// health and breaker. `classes` of the settings stays what it was. Nothing changes on error. Cost: members and
    /// services.
    ///
    /// # Errors
    /// [`Error::Membership`] when two backends share an identity or there are too many; [`Error::Stopped`].
    pub fn register(
        &self,
        service: &str,
        settings: ServiceSettings,
        backends: impl IntoIterator<Item = impl Into<BackendSpec>>,
    ) -> Result<(), Error> {
        let backends = backends.into_iter().map(Into::into).collect();
        let registered = self.registered(service, settings, backends);
        self.shared.untold.tell();
        registered
    }

    fn registered(
        &self,
        service: &str,
        settings: ServiceSettings,
        backends: Vec<BackendSpec>,
    ) -> Result<(), Error> {
        let _writer = self.shared.write();
        if self.shared.is_stopped() {
            return Err(Error::Stopped);
        }
        self.shared.ticker.start_where_possible(&self.shared);
        let now = self.now();
        let published = self.shared.services.load();
        if let Some(known) = published.get(service) {
            self.shared.untold.push(known.core.untold());
            known.core.reconfigure(settings, backends, now)?;
        } else {
            let ear = Arc::new(Ear::new(self.shared.hub.clone()));
            let (core, untold) =
                Service::new_untold(service, settings, backends, ear.clone(), now)?;
            self.shared.untold.push(untold);
            let mut services = Services::clone(&published);
            services.insert(service.into(), Arc::new(Registered::new(core, ear)));
            self.shared.services.store(Arc::new(services));
        }
        Ok(())
    }

    /// Ends a service. Its picks in flight end in peace; handles that are left over refuse, and who waits in its queue is refused. Cost:
    /// services.
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn unregister(&self, service: &str) -> Result<(), Error> {
        let ended = self.unregistered(service)?;
        self.shared.untold.tell();
        ended.tell_who_waits();
        Ok(())
    }

    /// What is dropped with the service may be the program's: not here.
    fn unregistered(&self, service: &str) -> Result<Arc<Registered>, Error> {
        let _writer = self.shared.write();
        let mut services = Services::clone(&self.shared.services.load());
        let ended = services.remove(service).ok_or_else(|| unknown(service))?;
        self.shared.services.store(Arc::new(services));
        self.shared.end(&ended);
        Ok(ended)
    }

    /// Ends all services and the ticker, for good. Subscribers hear of each service. Picks in flight end in peace; who waits is refused.
    pub fn stop(&self) {
        let writer = self.shared.write();
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.ticker.stop();
        let ended = self.shared.end_all();
        drop(writer);
        self.shared.untold.tell();
        ended.values().for_each(|ended| ended.tell_who_waits());
    }

    /// The service of this name, for hot paths without the look-up.
    #[must_use]
    pub fn service(&self, service: &str) -> Option<ServiceHandle> {
        let services = self.shared.services.load();
        services.get(service).map(|known| self.handle(known))
    }

    /// All services, in no order.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceHandle> {
        let services = self.shared.services.load_full();
        services.values().map(|known| self.handle(known)).collect()
    }

    /// The names of all services, sorted.
    #[must_use]
    pub fn list_service_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.shared.services.load().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Chooses a backend of a service and charges it, in one step. Takes no lock; the name is looked up in a map that
    /// is published whole.
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Refused`] says why there is nobody.
    #[inline]
    pub fn select(&self, service: &str) -> Result<Pick, Error> {
        self.select_with(service, &Ask::new())
    }

    /// The same with a key, a class, what was tried, or a subset.
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Refused`] says why there is nobody.
    #[inline]
    pub fn select_with(&self, service: &str, ask: &Ask<'_>) -> Result<Pick, Error> {
        let services = self.shared.services.load();
        let known = services.get(service).ok_or_else(|| unknown(service))?;
        known.select(&self.shared, ask)
    }

    /// As [`ServiceHandle::acquire`].
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Refused`] says why there is nobody.
    pub async fn acquire(&self, service: &str, within: Duration) -> Result<Pick, Error> {
        self.known(service)?.acquire(within).await
    }

    /// As [`ServiceHandle::acquire_with`].
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Refused`] says why there is nobody.
    pub async fn acquire_with(
        &self,
        service: &str,
        ask: &Ask<'_>,
        within: Duration,
    ) -> Result<Pick, Error> {
        self.known(service)?.acquire_with(ask, within).await
    }

    /// What [`select_with`](Self::select_with) would do now, and why. Charges and turns nothing. Cost: members.
    ///
    /// ```
    /// use evenkeel::{Admin, Ask, LoadBalancer, ServiceSettings};
    ///
    /// let balancer = LoadBalancer::new();
    /// balancer.register("api", ServiceSettings::default(), ["a:80", "b:80"])?;
    /// let api = balancer.service("api").expect("it was registered");
    /// api.set_admin("a:80", Admin::Draining)?;
    /// let why = balancer.explain("api", &Ask::new())?;
    /// assert_eq!(why.result.map(|id| id.to_string()), Ok("b:80".to_owned()));
    /// assert!(why.candidates[0].bar.is_some() && why.candidates[1].bar.is_none());
    /// assert_eq!(api.stats().attempts.picked, 0);
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn explain(&self, service: &str, ask: &Ask<'_>) -> Result<Explanation, Error> {
        self.known(service)?.explain(ask)
    }

    /// Whether a failed attempt is made again, and after which wait; a yes is charged to the service's budget.
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn retry(&self, service: &str, attempt: &Attempt) -> Result<Decision, Error> {
        self.known(service)?.retry(attempt)
    }

    /// As [`ServiceHandle::update_backends`].
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Membership`], and then nothing changed.
    pub fn update_backends(
        &self,
        service: &str,
        backends: impl IntoIterator<Item = impl Into<BackendSpec>>,
    ) -> Result<(), Error> {
        self.known(service)?.update_backends(backends)
    }

    /// Adds one backend.
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Membership`] when its identity is taken or there are too many.
    pub fn add_backend(&self, service: &str, backend: impl Into<BackendSpec>) -> Result<(), Error> {
        self.known(service)?.add_backend(backend)
    }

    /// Removes one backend; its attempts in flight end in peace.
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Membership`] when it is no member.
    pub fn remove_backend(&self, service: &str, backend: &str) -> Result<(), Error> {
        self.known(service)?.remove_backend(backend)
    }

    /// As [`ServiceHandle::mark_health`].
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Membership`] when the backend is no member.
    pub fn mark_health(&self, service: &str, backend: &str, healthy: bool) -> Result<(), Error> {
        self.known(service)?.mark_health(backend, healthy)
    }

    /// As [`ServiceHandle::mark_health_for`].
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Membership`] when the backend is no member.
    pub fn mark_health_for(
        &self,
        service: &str,
        backend: &str,
        healthy: bool,
        lasts: Duration,
    ) -> Result<(), Error> {
        self.known(service)?
            .mark_health_for(backend, healthy, lasts)
    }

    /// As [`ServiceHandle::unmark_health`].
    ///
    /// # Errors
    /// [`Error::UnknownService`]; [`Error::Membership`] when the backend is no member.
    pub fn unmark_health(&self, service: &str, backend: &str) -> Result<(), Error> {
        self.known(service)?.unmark_health(backend)
    }

    /// The members of a service; 0 for an unknown one. Cost: a look at each.
    #[must_use]
    pub fn backend_count(&self, service: &str) -> usize {
        self.census(service).0
    }

    /// Those members that may be picked without failing open; 0 for an unknown service. Cost: a look at each.
    #[must_use]
    pub fn healthy_count(&self, service: &str) -> usize {
        self.census(service).1
    }

    fn census(&self, service: &str) -> (usize, usize) {
        let services = self.shared.services.load();
        let known = services.get(service);
        known.map_or((0, 0), |known| known.core.census())
    }

    /// A service at one moment; none for an unknown one. Cost: members.
    #[must_use]
    pub fn group_snapshot(&self, service: &str) -> Option<ServiceSnapshot> {
        self.service(service).map(|service| service.snapshot())
    }

    /// The settings in force.
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn settings(&self, service: &str) -> Result<ServiceSettings, Error> {
        Ok(self.known(service)?.settings())
    }

    /// What happens to services from here on, as a stream. Exchanges are not in it.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        self.shared.hub.subscribe()
    }

    /// The same, with the events of each attempt, from here on: services learn at a tick that they are wanted, so this
    /// ticks all of them. While such a subscriber lives each pick tells three events, each under a short lock that
    /// all picks share: for looking closer, not for every day. Cost: all members.
    #[must_use]
    pub fn subscribe_exchanges(&self) -> Events {
        let events = self.shared.hub.subscribe_exchanges();
        self.tick();
        events
    }

    /// How many events all subscribers together lost by being slow, as far as they have read.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.shared.hub.lost()
    }

    pub(crate) fn known(&self, service: &str) -> Result<ServiceHandle, Error> {
        self.service(service).ok_or_else(|| unknown(service))
    }

    fn handle(&self, known: &Arc<Registered>) -> ServiceHandle {
        ServiceHandle {
            shared: self.shared.clone(),
            service: known.clone(),
        }
    }
}

#[cold]
fn unknown(service: &str) -> Error {
    Error::UnknownService(service.into())
}
