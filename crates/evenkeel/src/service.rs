//! Owns what can be done to one service, by whoever holds it: for hot paths without the look-up by name.
//!
//! `LoadBalancer` does the same by name and has no other way to do it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use evenkeel_balance::backend::{Admin, BackendId, BackendSpec, Weight};
use evenkeel_balance::explain::Explanation;
use evenkeel_balance::health::CheckReport;
use evenkeel_balance::hedge::Slow;
use evenkeel_balance::load::LoadReport;
use evenkeel_balance::queue::{Entry, Waiting};
use evenkeel_balance::retry::{Attempt, Decision};
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::ServiceSettings;
use evenkeel_balance::snapshot::{BackendSnapshot, ServiceSnapshot};
use tokio::sync::Notify;

use crate::ask::Ask;
use crate::balancer::Shared;
use crate::clients::Kept;
use crate::clock::Clock;
use crate::error::Error;
use crate::events::Ear;
use crate::pick::Pick;
use crate::stats::Counted;
use crate::watching::Watched;

/// A service as the balancer knows it.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) core: Service,
    pub(crate) ear: Arc<Ear>,
    pub(crate) requests: Arc<Counted>,
    /// Where clients are kept, from when that is asked for.
    pub(crate) kept: OnceLock<Kept>,
    /// Where it is watched.
    pub(crate) watched: Mutex<Option<Arc<Watched>>>,
    gone: AtomicBool,
    /// Wakes who waits in the queue: there is no service to wait for any more.
    ended: Notify,
}

impl Registered {
    pub(crate) fn new(core: Service, ear: Arc<Ear>) -> Self {
        Self {
            core,
            ear,
            requests: Arc::default(),
            kept: OnceLock::new(),
            watched: Mutex::default(),
            gone: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    /// Ends it, once: a handle that is left over refuses from here on. Who waits is to be [told](Self::tell_who_waits).
    pub(crate) fn end(&self, shared: &Shared) {
        if !self.gone.swap(true, Ordering::Relaxed) {
            self.core.stop(shared.clock.now());
        }
    }

    /// That it has ended. Wakes what may be the program's: under no lock.
    pub(crate) fn tell_who_waits(&self) {
        self.ended.notify_waiters();
    }

    #[inline]
    pub(crate) fn select(&self, shared: &Arc<Shared>, ask: &Ask<'_>) -> Result<Pick, Error> {
        self.living()?;
        if !shared.ticker.is_alive() {
            shared.ticker.start_where_possible(shared);
        }
        let ask = ask.with_chance(shared.chance.draw());
        let pick = self.core.pick(&ask, shared.clock.now())?;
        Ok(Pick::new(pick, shared.clock))
    }

    /// Waits while the service is full and has a queue; see [`ServiceHandle::acquire_with`].
    pub(crate) async fn acquire(
        &self,
        shared: &Arc<Shared>,
        ask: &Ask<'_>,
        within: Duration,
    ) -> Result<Pick, Error> {
        match self.enter(shared, ask, within)? {
            Entry::Picked(pick) => Ok(pick),
            Entry::Waiting(waiting) => self.called(waiting, shared.clock).await,
        }
    }

    /// Waits in the queue until it is called, its time is over, other settings end it, or the service ends.
    pub(crate) async fn called(&self, mut waiting: Waiting, clock: Clock) -> Result<Pick, Error> {
        let mut ended = pin!(self.ended.notified());
        // Heard from here on; an end before that is seen below.
        ended.as_mut().enable();
        loop {
            self.living()?;
            let until = waiting.until();
            let called = poll_fn(|cx| match waiting.poll(cx.waker(), clock.now()) {
                Poll::Ready(called) => Poll::Ready(Some(called)),
                // Other settings may have come.
                Poll::Pending if waiting.until() != until => Poll::Ready(None),
                Poll::Pending => ended.as_mut().poll(cx).map(|()| None),
            });
            let rest = until.since(clock.now());
            if let Ok(Some(called)) = tokio::time::timeout(rest, called).await {
                let pick = Pick::new(called?.lasting(), clock);
                self.living()?;
                return Ok(pick);
            }
        }
    }

    /// Picks, or lines up: from there on it is [`called`](Self::called).
    pub(crate) fn enter(
        &self,
        shared: &Arc<Shared>,
        ask: &Ask<'_>,
        within: Duration,
    ) -> Result<Entry<Pick>, Error> {
        self.living()?;
        shared.ticker.start_where_possible(shared);
        let clock = shared.clock;
        let ask = ask.with_chance(shared.chance.draw());
        let now = clock.now();
        Ok(match self.core.pick_or_wait(&ask, now + within, now)? {
            Entry::Picked(pick) => Entry::Picked(Pick::new(pick, clock)),
            Entry::Waiting(waiting) => Entry::Waiting(waiting),
        })
    }

    /// A second pick beside one that is slow, if there may be one.
    pub(crate) fn hedge(&self, shared: &Shared, slow: &Slow, ask: &Ask<'_>) -> Option<Pick> {
        let ask = ask.with_chance(shared.chance.draw());
        let core = self.living().ok()?;
        let pick = core.hedge(slow, &ask, shared.clock.now()).ok()?;
        Some(Pick::new(pick, shared.clock))
    }

    #[inline]
    pub(crate) fn living(&self) -> Result<&Service, Error> {
        if self.gone.load(Ordering::Relaxed) {
            return Err(Error::UnknownService(self.core.name().into()));
        }
        Ok(&self.core)
    }
}

/// One service of a [`LoadBalancer`](crate::LoadBalancer), without the look-up. Clones are the same service.
///
/// Keeps its balancer alive, and so its ticker. After the service was unregistered everything that can fail says
/// [`Error::UnknownService`], even when another one was registered under the name.
///
/// ```
/// use evenkeel::{BackendSpec, LoadBalancer, ServiceSettings, balance::standing::Standing};
///
/// let balancer = LoadBalancer::new();
/// balancer.register("api", ServiceSettings::default(), [BackendSpec::new("a:80").max_in_flight(1)])?;
/// let api = balancer.service("api").expect("it was registered");
/// let pick = api.select()?;
/// assert_eq!(api.select().map_err(|no| no.to_string()).err().as_deref(), Some(
///     "the service, or every backend of it, has as many attempts in flight as it may"
/// ));
/// pick.succeeded();
/// let status = api.backend("a:80").expect("it is a member");
/// assert_eq!((status.standing, status.counts.succeeded), (Standing::Serving, 1));
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServiceHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) service: Arc<Registered>,
}

impl ServiceHandle {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.service.core.name()
    }

    /// As [`LoadBalancer::select`](crate::LoadBalancer::select).
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::UnknownService`].
    #[inline]
    pub fn select(&self) -> Result<Pick, Error> {
        self.select_with(&Ask::new())
    }

    /// As [`LoadBalancer::select_with`](crate::LoadBalancer::select_with).
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::UnknownService`].
    #[inline]
    pub fn select_with(&self, ask: &Ask<'_>) -> Result<Pick, Error> {
        self.service.select(&self.shared, ask)
    }

    /// As [`select`](Self::select), but waits where the service is full and its settings have a `queue`, no longer than `within` and
    /// the queue's own `timeout`. Dropped while it waits, it leaves the queue. Needs a tokio runtime with timers to wait in.
    ///
    /// # Errors
    /// [`Error::Refused`], of a full queue and of a time that is over too; [`Error::UnknownService`].
    pub async fn acquire(&self, within: Duration) -> Result<Pick, Error> {
        self.acquire_with(&Ask::new(), within).await
    }

    /// The same with a key, classes, what was tried, or a subset.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_with(&self, ask: &Ask<'_>, within: Duration) -> Result<Pick, Error> {
        self.service.acquire(&self.shared, ask, within).await
    }

    /// What [`select_with`](Self::select_with) would do now, and why. Charges and turns nothing.
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn explain(&self, ask: &Ask<'_>) -> Result<Explanation, Error> {
        let core = self.service.living()?;
        let ask = ask.with_chance(self.shared.chance.peek());
        Ok(core.explain(&ask, self.shared.clock.now()))
    }

    /// Whether a failed attempt is made again, and after which wait; a yes is charged to the budget. For who runs attempts himself;
    /// [`exchange`](Self::exchange) asks it too.
    ///
    /// ```
    /// use evenkeel::{Ask, Fault, LoadBalancer, ServiceSettings, Tried, balance::retry::{Attempt, Decision}};
    ///
    /// let balancer = LoadBalancer::new();
    /// balancer.register("api", ServiceSettings::default(), ["a:80", "b:80"])?;
    /// let api = balancer.service("api").expect("it was registered");
    /// let mut tried = Tried::default();
    /// let first = api.select()?;
    /// tried.insert(first.backend());
    /// first.failed(Fault::Timeout);
    /// match api.retry(&Attempt::new(Fault::Timeout).idempotent(true))? {
    ///     // `after` is nothing: the first retry goes to another backend at once.
    ///     Decision::Again { after, .. } => {
    ///         assert!(after.is_zero());
    ///         api.select_with(&Ask::new().tried(&tried))?.succeeded();
    ///     }
    ///     Decision::No(why) => println!("not again: {}", why.word()),
    /// }
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn retry(&self, attempt: &Attempt) -> Result<Decision, Error> {
        let core = self.service.living()?;
        Ok(core.retry(attempt, self.shared.chance.draw()))
    }

    /// Gives back a retry that was granted so and not made.
    pub fn retry_not_made(&self, granted: Decision) {
        self.service.core.retry_not_made(granted);
    }

    /// The service at one moment. Cost: a copy of each member, under the writer's lock.
    #[must_use]
    pub fn snapshot(&self) -> ServiceSnapshot {
        self.service.core.snapshot(self.shared.clock.now())
    }

    /// One member at one moment, its status and all that is configured of it; none for a stranger. Its shares are beside what the others had
    /// at the last tick. Cost: a look-up under the writer's lock and a copy, however many members there are.
    #[must_use]
    pub fn backend(&self, id: &str) -> Option<BackendSnapshot> {
        self.service.core.backend(id, self.shared.clock.now())
    }

    /// Those members that `which` holds of, by labels, tier or whatever is configured: for [`Ask::subset`]. Work it out when
    /// members change rather than at each pick. Cost: members.
    ///
    /// ```
    /// use evenkeel::{Ask, BackendSpec, LoadBalancer, ServiceSettings};
    ///
    /// let balancer = LoadBalancer::new();
    /// let east = BackendSpec::new("a:80").label("region", "east");
    /// let west = BackendSpec::new("b:80").label("region", "west");
    /// balancer.register("api", ServiceSettings::default(), [east, west])?;
    /// let service = balancer.service("api").expect("it was registered");
    /// let west = service.backends_where(|spec| spec.labels.get("region").is_some_and(|region| region == "west"));
    /// assert_eq!(service.select_with(&Ask::new().subset(&west))?.id().as_str(), "b:80");
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    #[must_use]
    pub fn backends_where(&self, which: impl Fn(&BackendSpec) -> bool) -> Vec<BackendId> {
        let members = self.service.core.specs().into_iter();
        let wanted = members.filter(|spec| which(spec));
        wanted.map(|spec| spec.id).collect()
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> ServiceSettings {
        self.service.core.settings()
    }

    /// Puts other settings in force; all state is kept. `classes` stays what it was. Cost: members.
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn set_settings(&self, settings: ServiceSettings) -> Result<(), Error> {
        let core = self.service.living()?;
        core.set_settings(settings, self.shared.clock.now());
        Ok(())
    }

    /// Changes some of the settings, and says what they are now. Nobody comes between: two who change different fields do
    /// not undo each other. All state is kept; `classes` stays what it was. `change` must not call the service.
    ///
    /// # Errors
    /// [`Error::UnknownService`].
    pub fn update_settings(
        &self,
        change: impl FnOnce(&mut ServiceSettings),
    ) -> Result<ServiceSettings, Error> {
        let core = self.service.living()?;
        Ok(core.update_settings(change, self.shared.clock.now()))
    }

    /// Makes exactly `backends` the members, in this order; who stays keeps its state. Cost: members, once.
    ///
    /// # Errors
    /// [`Error::Membership`] when two share an identity or there are too many; [`Error::UnknownService`].
    pub fn update_backends(
        &self,
        backends: impl IntoIterator<Item = impl Into<BackendSpec>>,
    ) -> Result<(), Error> {
        let backends = backends.into_iter().map(Into::into).collect();
        let core = self.service.living()?;
        Ok(core.replace(backends, self.shared.clock.now())?)
    }

    /// Adds one backend. Cost: members.
    ///
    /// # Errors
    /// [`Error::Membership`] when its identity is taken or there are too many; [`Error::UnknownService`].
    pub fn add_backend(&self, backend: impl Into<BackendSpec>) -> Result<(), Error> {
        let core = self.service.living()?;
        Ok(core.add(backend.into(), self.shared.clock.now())?)
    }

    /// Changes the configuration of one backend; its state is kept.
    ///
    /// # Errors
    /// [`Error::Membership`] when it is no member; [`Error::UnknownService`].
    pub fn update_backend(&self, backend: impl Into<BackendSpec>) -> Result<(), Error> {
        let core = self.service.living()?;
        Ok(core.update(backend.into(), self.shared.clock.now())?)
    }

    /// Removes one backend; its attempts in flight end in peace. Cost: members.
    ///
    /// # Errors
    /// [`Error::Membership`] when it is no member; [`Error::UnknownService`].
    pub fn remove_backend(&self, backend: &str) -> Result<(), Error> {
        let core = self.service.living()?;
        Ok(core.remove(&backend.into(), self.shared.clock.now())?)
    }

    /// Enables, drains or disables one backend. Cost: members.
    ///
    /// # Errors
    /// [`Error::Membership`] when it is no member; [`Error::UnknownService`].
    pub fn set_admin(&self, backend: &str, admin: Admin) -> Result<(), Error> {
        let core = self.service.living()?;
        Ok(core.set_admin(&backend.into(), admin, self.shared.clock.now())?)
    }

    /// Gives one backend another weight. Cost: members.
    ///
    /// # Errors
    /// [`Error::Membership`] when it is no member; [`Error::UnknownService`].
    pub fn set_weight(&self, backend: &str, weight: Weight) -> Result<(), Error> {
        let core = self.service.living()?;
        Ok(core.set_weight(&backend.into(), weight, self.shared.clock.now())?)
    }

    /// Gives several backends other weights, in one change that is published once; nothing changes on error.
    ///
    /// # Errors
    /// [`Error::Membership`] names the first that is no member; [`Error::UnknownService`].
    pub fn set_weights<'a>(
        &self,
        weights: impl IntoIterator<Item = (&'a str, Weight)>,
    ) -> Result<(), Error> {
        let weights = weights.into_iter().map(|(id, weight)| (id.into(), weight));
        let weights: Vec<(BackendId, Weight)> = weights.collect();
        let core = self.service.living()?;
        Ok(core.set_weights(&weights, self.shared.clock.now())?)
    }

    /// A verdict by hand, in force at once. `false` is held against checks and traffic until the verdict `true`, which
    /// also forgets what checks had counted. Cost: members.
    ///
    /// # Errors
    /// [`Error::Membership`] when it is no member; [`Error::UnknownService`].
    pub fn mark_health(&self, backend: &str, healthy: bool) -> Result<(), Error> {
        self.mark(backend, Some(healthy), None)
    }

    /// The same, held for so long only: then checks and traffic decide again.
    ///
    /// # Errors
    /// As [`mark_health`](Self::mark_health).
    pub fn mark_health_for(
        &self,
        backend: &str,
        healthy: bool,
        lasts: Duration,
    ) -> Result<(), Error> {
        self.mark(backend, Some(healthy), Some(lasts))
    }

    /// Withdraws a verdict by hand: checks and traffic decide again, with what they had counted.
    ///
    /// # Errors
    /// As [`mark_health`](Self::mark_health).
    pub fn unmark_health(&self, backend: &str) -> Result<(), Error> {
        self.mark(backend, None, None)
    }

    fn mark(
        &self,
        backend: &str,
        healthy: Option<bool>,
        lasts: Option<Duration>,
    ) -> Result<(), Error> {
        let core = self.service.living()?;
        let now = self.shared.clock.now();
        let until = lasts.map(|lasts| now + lasts);
        Ok(core.mark(&backend.into(), healthy, until, now)?)
    }

    /// Takes in what a backend says of its load, from wherever it was heard, for the `weighted_by_load` policy. Where the answer to a pick
    /// says it, [`Pick::report_load`] spares the look-up.
    ///
    /// # Errors
    /// [`Error::Membership`] when it is no member; [`Error::UnknownService`].
    pub fn report_load(&self, backend: &str, report: &LoadReport) -> Result<(), Error> {
        let core = self.service.living()?;
        Ok(core.report_load(&backend.into(), report, self.shared.clock.now())?)
    }

    /// Takes the result of a check in, for programs that check by themselves. Without checks in the settings it is told, and decides
    /// nothing. Cost: members where it changes a standing, and nothing that grows with them where it does not.
    ///
    /// ```
    /// use evenkeel::balance::health::{CheckFault, CheckReport, CheckResult};
    /// use evenkeel::balance::{settings::ActiveSettings, standing::Standing};
    /// use evenkeel::{LoadBalancer, ServiceSettings};
    ///
    /// let balancer = LoadBalancer::new();
    /// let settings = ServiceSettings::default().health(ActiveSettings::default().fall(1));
    /// balancer.register("api", settings, ["a:80", "b:80"])?;
    /// let api = balancer.service("api").expect("it was registered");
    /// let timed_out = CheckResult::Failed(CheckFault::Timeout);
    /// api.check("a:80", CheckReport::new(timed_out, balancer.now()))?;
    /// assert_eq!(api.backend("a:80").map(|one| one.standing), Some(Standing::Down));
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Membership`] when it left while it was checked; [`Error::UnknownService`].
    pub fn check(&self, backend: &str, report: CheckReport) -> Result<(), Error> {
        let core = self.service.living()?;
        Ok(core.check(&backend.into(), report, self.shared.clock.now())?)
    }
}
