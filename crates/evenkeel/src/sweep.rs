//! Owns checking the backends of services, over and over and by hand: the runner's handle, and what it runs on.
//!
//! The runner is one task. Each check is a task of its own, so a panic stays there; a backend is never checked twice at
//! once; what a check finds goes to the service's [`check`](evenkeel_balance::service::Service::check) and touches no counter of traffic. Disabled
//! backends are not checked: nothing may be sent to them. Draining ones are, so that an operator who thinks again finds
//! them known. Services are looked at anew when they change; they are asked whether they did when somebody says so, and every second.
//!
//! Next: `sweep/schedule.rs` decides who is next, `sweep/runner.rs` moves.

use std::fmt;
use std::future::{Future, pending};
use std::sync::Arc;

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::health::CheckReport;
use evenkeel_balance::service::Service;
use evenkeel_balance::snapshot::{BackendSnapshot, Changes, ServiceSnapshot};
use evenkeel_balance::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::probe::{Probe, ProbeError};

/// How often, how long, how many.
pub mod settings;

/// Who is checked next.
mod schedule;

/// The task that runs checks.
mod runner;

pub use settings::{CheckerError, CheckerSettings};

/// Requests by hand that wait to be heard; who comes later waits in [`Checks::check_now`].
const REQUESTS_KEPT: usize = 64;

/// A service whose backends are checked.
pub trait Checked: Send + Sync {
    /// Its name; unique among the services of one runner.
    fn name(&self) -> &str;
    /// Its members and their standing.
    fn snapshot(&self, now: Instant) -> ServiceSnapshot;
    /// What of them has changed, cheaply: as long as this is the same they are not looked at again. None, which is what it says by
    /// default: not known, and they are looked at every second.
    fn changes(&self) -> Option<Changes> {
        None
    }
    /// Those members of which something has changed since that is what it said, so that not all of them are looked at. None, which is what
    /// it says by default: not known. Services that say what has changed, and hold a core's [`Service`], hand on its
    /// [`changed`](Service::changed).
    fn changed(&self, _since: Changes, _now: Instant) -> Option<Vec<BackendSnapshot>> {
        None
    }
    /// Takes a result in. False: the backend or the service is gone, and nothing was done.
    fn check(&self, backend: &BackendId, report: CheckReport, now: Instant) -> bool;
}

impl Checked for Service {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn snapshot(&self, now: Instant) -> ServiceSnapshot {
        Self::snapshot(self, now)
    }

    fn changes(&self) -> Option<Changes> {
        Some(Self::changes(self))
    }

    fn changed(&self, since: Changes, now: Instant) -> Option<Vec<BackendSnapshot>> {
        Self::changed(self, since, now)
    }

    fn check(&self, backend: &BackendId, report: CheckReport, now: Instant) -> bool {
        Self::check(self, backend, report, now).is_ok()
    }
}

/// Tells the time that the services count in.
pub type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The services that a runner checks, and their time.
pub trait Services: Send + 'static {
    /// All services now. None: they have ended, and so does the runner.
    fn services(&self) -> Option<Vec<Arc<dyn Checked>>>;

    /// Their clock.
    fn now(&self) -> Now;

    /// Resolves after services or members changed since the last time; cancelling it loses nothing. By default never:
    /// the runner then looks every second.
    fn changed(&mut self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

/// One check that was made by hand.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// Of a backend of this service.
    pub service: Arc<str>,
    /// Of this backend.
    pub backend: BackendId,
    /// What the service was told.
    pub report: CheckReport,
    /// Why it failed, in full.
    pub error: Option<Arc<ProbeError>>,
}

/// Why nothing was checked by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckNowError {
    /// No checked backend is named so: the service or backend is unknown, is disabled, or is not this checker's.
    Unknown,
    /// The health checker has ended, or was never started.
    Ended,
}

impl fmt::Display for CheckNowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "there is no such backend to check, or it is disabled",
            Self::Ended => "no health checker runs; spawn one first",
        })
    }
}

impl std::error::Error for CheckNowError {}

/// Whom a request by hand is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom<'a> {
    /// All backends of all services of the checker.
    All,
    /// All backends of one service.
    Service(&'a str),
    /// One backend of one service.
    Backend(&'a str, &'a str),
}

/// What is asked of the runner.
struct Request {
    service: Option<Arc<str>>,
    backend: Option<BackendId>,
    reply: oneshot::Sender<Result<Vec<Check>, CheckNowError>>,
}

/// A running health checker, owned: **dropping it stops it**, checks under way included.
///
/// A task that nobody holds and nobody can stop is a leak, so going on is what must be written:
/// [`detach`](Self::detach).
#[must_use = "dropping it stops the checks; call detach() to let them run"]
#[derive(Debug)]
pub struct HealthChecker {
    checks: Checks,
    detached: bool,
}

/// A running health checker, not owned: asks for checks, and may end them. Clones are the same checker.
#[derive(Clone, Debug)]
pub struct Checks {
    requests: mpsc::Sender<Request>,
    task: AbortHandle,
}

impl HealthChecker {
    /// Ends it now. Checks under way are dropped; nothing is told any more once the runtime has seen to it.
    pub fn abort(&self) {
        self.checks.abort();
    }

    /// Whether it has ended: aborted, or its services are gone.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.checks.is_finished()
    }

    /// Lets it run as long as its services live.
    pub fn detach(mut self) -> Checks {
        self.detached = true;
        self.checks.clone()
    }

    /// For those who ask for checks without owning the checker.
    #[must_use]
    pub fn checks(&self) -> Checks {
        self.checks.clone()
    }

    /// As [`Checks::check_now`].
    ///
    /// # Errors
    /// [`CheckNowError`].
    pub async fn check_now(&self, whom: Whom<'_>) -> Result<Vec<Check>, CheckNowError> {
        self.checks.check_now(whom).await
    }
}

impl Drop for HealthChecker {
    fn drop(&mut self) {
        if !self.detached {
            self.checks.abort();
        }
    }
}

impl Checks {
    /// Ends the checker now.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Checks now, before what is due, and waits for the results, of checks that began after the call. They count as any
    /// other, keep the timeout and the limit, and move no backend's own time. A backend that leaves meanwhile is missing
    /// from the results. Cost: one look at all services; the results come in the order of their ends.
    ///
    /// # Errors
    /// [`CheckNowError::Unknown`] when there is nobody to check, unless [`Whom::All`] was asked;
    /// [`CheckNowError::Ended`].
    pub async fn check_now(&self, whom: Whom<'_>) -> Result<Vec<Check>, CheckNowError> {
        let (service, backend) = match whom {
            Whom::All => (None, None),
            Whom::Service(service) => (Some(service), None),
            Whom::Backend(service, backend) => (Some(service), Some(backend)),
        };
        let (reply, answer) = oneshot::channel();
        let request = Request {
            service: service.map(Arc::from),
            backend: backend.map(BackendId::from),
            reply,
        };
        let heard = self.requests.send(request).await;
        heard.map_err(|_| CheckNowError::Ended)?;
        answer.await.map_err(|_| CheckNowError::Ended)?
    }
}

/// Starts checking: at once, then each backend at its interval. See
/// [`LoadBalancer::spawn_health_checker`](crate::LoadBalancer::spawn_health_checker) for the usual way.
///
/// # Errors
/// [`CheckerError`]: settings out of range, or no runtime here. The runtime must have time, and I/O for the probes of
/// this crate.
pub fn spawn(
    services: impl Services,
    settings: CheckerSettings,
    probe: impl Probe + 'static,
) -> Result<HealthChecker, CheckerError> {
    settings.validate()?;
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| CheckerError::NoRuntime)?;
    let (requests, heard) = mpsc::channel(REQUESTS_KEPT);
    let runner = runner::Runner::new(services, settings, Arc::new(probe), heard);
    let task = runtime.spawn(runner.run()).abort_handle();
    Ok(HealthChecker {
        checks: Checks { requests, task },
        detached: false,
    })
}
