//! Owns the join of a balancer and its health checkers: spawning them, and asking them by hand.
//!
//! A checker holds its balancer weakly and ends with it.

use std::sync::{Arc, PoisonError, Weak};

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::health::CheckReport;
use evenkeel_balance::snapshot::{BackendSnapshot, Changes, ServiceSnapshot};
use evenkeel_balance::time::Instant;
use tokio::sync::watch;

use crate::balancer::{LoadBalancer, Shared};
use crate::clock::Clock;
use crate::probe::Probe;
use crate::service::Registered;
use crate::sweep::{
    self, Check, CheckNowError, Checked, CheckerError, CheckerSettings, Checks, HealthChecker, Now,
    Services, Whom,
};

/// A balancer, as its checkers know it.
struct Joined {
    balancer: Weak<Shared>,
    members: watch::Receiver<()>,
    clock: Clock,
}

impl Services for Joined {
    fn services(&self) -> Option<Vec<Arc<dyn Checked>>> {
        let balancer = self.balancer.upgrade()?;
        if balancer.is_stopped() {
            return None;
        }
        let services = balancer.services.load_full();
        Some(services.values().map(|known| known.clone() as _).collect())
    }

    fn now(&self) -> Now {
        let clock = self.clock;
        Arc::new(move || -> Instant { clock.now() })
    }

    async fn changed(&mut self) {
        if self.members.changed().await.is_err() {
            // The balancer is gone; the next look will find that.
            std::future::pending::<()>().await;
        }
    }
}

/// For health checkers, which must not keep the balancer alive.
impl Checked for Registered {
    fn name(&self) -> &str {
        self.core.name()
    }

    fn snapshot(&self, now: Instant) -> ServiceSnapshot {
        self.core.snapshot(now)
    }

    fn changes(&self) -> Option<Changes> {
        Some(self.core.changes())
    }

    fn changed(&self, since: Changes, now: Instant) -> Option<Vec<BackendSnapshot>> {
        self.core.changed(since, now)
    }

    fn check(&self, backend: &BackendId, report: CheckReport, now: Instant) -> bool {
        self.living()
            .is_ok_and(|core| core.check(backend, report, now).is_ok())
    }
}

impl LoadBalancer {
    /// Checks all backends of all services from here on: each at once, then at its interval, also those that come
    /// later. What a check finds decides only in services whose settings have
    /// [`health`](evenkeel_balance::settings::ServiceSettings::health); elsewhere it is told as an event.
    ///
    /// Runs on the current runtime until the returned owner is dropped or aborted, or the balancer is gone or stopped.
    /// A second checker (other services, another probe) runs beside the first.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use evenkeel::{CheckerSettings, HttpProbe, LoadBalancer, ServiceSettings, balance::settings::ActiveSettings};
    ///
    /// let balancer = LoadBalancer::new();
    /// let settings = ServiceSettings::default().health(ActiveSettings::default());
    /// balancer.register("api", settings, ["10.0.0.1:80", "10.0.0.2:80"])?;
    /// let checker = balancer.spawn_health_checker(CheckerSettings::default(), HttpProbe::get("/health")?)?;
    /// # drop(checker); Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CheckerError`]: settings out of range, or no tokio runtime here.
    pub fn spawn_health_checker(
        &self,
        settings: CheckerSettings,
        probe: impl Probe + 'static,
    ) -> Result<HealthChecker, CheckerError> {
        let services = Joined {
            balancer: Arc::downgrade(&self.shared),
            members: self.shared.hub.members.subscribe(),
            clock: self.shared.clock,
        };
        let checker = sweep::spawn(services, settings, probe)?;
        let checkers = &self.shared.checkers;
        let mut checkers = checkers.lock().unwrap_or_else(PoisonError::into_inner);
        checkers.retain(|known| !known.is_finished());
        checkers.push(checker.checks());
        Ok(checker)
    }

    /// Checks now, by every health checker that runs, one after the other, and waits for the results. See
    /// [`Checks::check_now`].
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use evenkeel::probe::{ProbeError, Target};
    /// use evenkeel::{CheckerSettings, LoadBalancer, ServiceSettings, Whom};
    ///
    /// let balancer = LoadBalancer::new();
    /// balancer.register("api", ServiceSettings::default(), ["a:80", "b:80"])?;
    /// let probe = |target: Target| async move {
    ///     match target.backend.as_str() {
    ///         "a:80" => Ok(()),
    ///         _ => Err(ProbeError::Other("under repair".into())),
    ///     }
    /// };
    /// let _checker = balancer.spawn_health_checker(CheckerSettings::default(), probe)?;
    /// let checks = balancer.check_now(Whom::Backend("api", "b:80")).await?;
    /// assert_eq!(checks[0].error.as_ref().map(|error| error.to_string()).as_deref(), Some("under repair"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CheckNowError::Ended`] when no checker runs; [`CheckNowError::Unknown`] when none of them checks such a
    /// backend.
    pub async fn check_now(&self, whom: Whom<'_>) -> Result<Vec<Check>, CheckNowError> {
        let mut found: Result<Vec<Check>, _> = Err(CheckNowError::Ended);
        for checker in self.running() {
            match (checker.check_now(whom).await, &mut found) {
                (Ok(more), Ok(checks)) => checks.extend(more),
                (Ok(checks), Err(_)) => found = Ok(checks),
                (Err(CheckNowError::Unknown), Err(error)) => *error = CheckNowError::Unknown,
                // One that ended meanwhile says nothing of the others.
                (Err(_), _) => {}
            }
        }
        found
    }

    fn running(&self) -> Vec<Checks> {
        let checkers = &self.shared.checkers;
        let checkers = checkers.lock().unwrap_or_else(PoisonError::into_inner);
        let running = checkers.iter().filter(|known| !known.is_finished());
        running.cloned().collect()
    }
}
