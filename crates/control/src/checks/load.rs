//! Owns the pages of load that backends are asked for: what they say goes to the core, and to nothing else. A page that does not come
//! makes nobody unhealthy.
//!
//! Runs on the runner of checks, whose results end here: it spreads the questions, bounds them, and asks nobody twice at once. The
//! connection is that of checks, with the TLS and the PROXY header of traffic.

use std::sync::Arc;

use evenkeel::balance::backend::BackendId;
use evenkeel::balance::health::{CheckReport, CheckResult};
use evenkeel::balance::snapshot::{BackendSnapshot, Changes, ServiceSnapshot};
use evenkeel::balance::time::Instant;
use evenkeel::probe::{BodyTest, Checking, HttpCheck, HttpProbe, Probe, Target};
use evenkeel::sweep::{self, Checked, CheckerSettings, HealthChecker, Now, Services};
use evenkeel_config::plan::{
    CheckPlan, CheckProtocol, HealthPlan, HttpCheckPlan, LoadPage, LoadPlan, LoadSource, Protocol,
    ProxyVersion, ServicePlan,
};
use evenkeel_proxy::clock::{Clock, seed};
use evenkeel_proxy::live::{LiveService, ServiceState};
use evenkeel_proxy::load::report;
use evenkeel_proxy::proxy_protocol::of_checks;
use evenkeel_proxy::tls::upstream::Towards;
use evenkeel_wire::load::read_page;
use tokio::sync::Notify;

use super::link::Secured;
use super::{Aimed, Asks};

/// The questions to one service's backends, and what they were begun with.
pub(crate) struct Poller {
    state: Arc<ServiceState>,
    plan: LoadPlan,
    protocol: Protocol,
    header: Option<ProxyVersion>,
    towards: Option<Arc<Towards>>,
    joined: Arc<Notify>,
    runs: HealthChecker,
}

impl Poller {
    /// Goes on with another plan of the service. None: what it was begun with is no more, and it ends here.
    pub(crate) fn go_on(self, service: &LiveService) -> Option<Self> {
        let same = Arc::ptr_eq(&self.state, &service.state)
            && service.plan.load.as_ref() == Some(&self.plan)
            && self.protocol == service.plan.upstream.protocol
            && self.header == header(service)
            && self.towards.as_ref().map(Arc::as_ptr) == service.towards.as_ref().map(Arc::as_ptr)
            && !self.runs.is_finished();
        self.look_again();
        same.then_some(self)
    }

    /// Its backends may be others.
    pub(crate) fn look_again(&self) {
        self.joined.notify_one();
    }
}

/// The page that a service's backends are asked for.
fn page(plan: &ServicePlan) -> Option<(&LoadPlan, &LoadPage)> {
    let load = plan.load.as_ref()?;
    match &load.from {
        LoadSource::Page(page) => Some((load, page)),
        LoadSource::Header => None,
    }
}

/// The header that questions begin with, unless they go to another port than traffic.
fn header(service: &LiveService) -> Option<ProxyVersion> {
    let (_, page) = page(&service.plan)?;
    let header = service.plan.upstream.proxy_protocol.as_ref()?;
    page.port.is_none().then_some(header.version)
}

/// Whether the page of this plan can be asked for.
///
/// # Errors
/// Why not.
pub(crate) fn asked(service: &ServicePlan) -> Result<(), String> {
    let Some((_, page)) = page(service) else {
        return Ok(());
    };
    let probe = HttpProbe::new(check_of(page)).map_err(|error| error.to_string());
    probe.map(drop)
}

fn check_of(page: &LoadPage) -> HttpCheck {
    let mut check = HttpCheck::default()
        .path(&*page.path)
        .header("Accept", "application/json");
    check.host = page.host.as_deref().map(str::to_owned);
    check
}

/// Begins to ask. None: the plan's reports come otherwise.
///
/// # Errors
/// Why it cannot be asked as planned.
pub(crate) fn start(service: &LiveService, clock: Clock) -> Result<Option<Poller>, String> {
    let Some((plan, page)) = page(&service.plan) else {
        return Ok(None);
    };
    asked(&service.plan)?;
    let settings = CheckerSettings::default()
        .interval(page.interval)
        .timeout(page.timeout)
        .seed(seed());
    let protocol = service.plan.upstream.protocol;
    let secured = match (&service.towards, &service.plan.upstream.tls) {
        (_, None) => Secured::Off,
        (Some(towards), Some(_)) => {
            Secured::Towards(Box::new(towards.for_checks(Asks::spoken(protocol))))
        }
        (None, Some(_)) => Secured::Broken,
    };
    let probe = Asking {
        state: service.state.clone(),
        plan: plan.clone(),
        check: check_of(page),
        aim: aim(page),
        protocol,
        first: header(service).map(of_checks).unwrap_or_default().into(),
        secured: Arc::new(secured),
        clock,
    };
    let joined = Arc::new(Notify::new());
    let one = One {
        state: service.state.clone(),
        clock,
        joined: joined.clone(),
    };
    let runs = sweep::spawn(one, settings, probe).map_err(|error| error.to_string())?;
    Ok(Some(Poller {
        state: service.state.clone(),
        plan: plan.clone(),
        protocol,
        header: header(service),
        towards: service.towards.clone(),
        joined,
        runs,
    }))
}

/// Where questions go, in the words of a check.
fn aim(page: &LoadPage) -> HealthPlan {
    HealthPlan {
        check: CheckPlan::Http(HttpCheckPlan {
            method: "GET".into(),
            path: page.path.clone(),
            host: page.host.clone(),
            headers: Vec::new(),
            expect: Vec::new(),
            body: None,
            tls: true,
            protocol: CheckProtocol::Upstream,
        }),
        interval: page.interval,
        interval_unsure: page.interval,
        interval_down: page.interval,
        timeout: page.timeout,
        port: page.port,
        address: None,
    }
}

/// One service, as the runner sees it.
struct One {
    state: Arc<ServiceState>,
    clock: Clock,
    joined: Arc<Notify>,
}

impl Services for One {
    fn services(&self) -> Option<Vec<Arc<dyn Checked>>> {
        Some(vec![Arc::new(Told(self.state.clone()))])
    }

    fn now(&self) -> Now {
        let clock = self.clock;
        Arc::new(move || -> Instant { clock.now() })
    }

    async fn changed(&mut self) {
        self.joined.notified().await;
    }
}

/// A service that hears nothing of how its backends were reached: what came to it, it has by then.
struct Told(Arc<ServiceState>);

impl Checked for Told {
    fn name(&self) -> &str {
        self.0.service.name()
    }

    fn snapshot(&self, now: Instant) -> ServiceSnapshot {
        self.0.service.snapshot(now)
    }

    fn changes(&self) -> Option<Changes> {
        Some(self.0.service.changes())
    }

    fn changed(&self, since: Changes, now: Instant) -> Option<Vec<BackendSnapshot>> {
        self.0.service.changed(since, now)
    }

    fn check(&self, backend: &BackendId, report: CheckReport, _now: Instant) -> bool {
        // A page that was there is counted where it was read.
        if !matches!(report.result, CheckResult::Passed) {
            self.0.polls.unanswered();
        }
        self.0.reached(backend).is_some()
    }
}

/// Asks a backend for its page.
struct Asking {
    state: Arc<ServiceState>,
    plan: LoadPlan,
    check: HttpCheck,
    aim: HealthPlan,
    protocol: Protocol,
    first: Arc<[u8]>,
    secured: Arc<Secured>,
    clock: Clock,
}

impl Asking {
    /// The probe whose body is the report of this backend. A body that was read is an answer, whatever it says.
    fn probe(&self, backend: &BackendId) -> Result<HttpProbe, String> {
        let (state, metrics) = (self.state.clone(), self.plan.metrics.clone());
        let (backend, clock) = (backend.clone(), self.clock);
        let test = BodyTest::new(move |body| {
            let read = read_page(body, &metrics);
            if let Ok(read) = &read {
                // One that left meanwhile says nothing.
                let _ = state
                    .service
                    .report_load(&backend, &report(read), clock.now());
            }
            state.polls.came(read.err());
            true
        });
        HttpProbe::testing(self.check.clone(), test).map_err(|error| error.to_string())
    }
}

impl Probe for Asking {
    fn check(&self, target: Target) -> Checking {
        let aimed = Aimed {
            state: self.state.clone(),
            plan: self.aim.clone(),
            asks: match self.probe(&target.backend) {
                Ok(probe) => Arc::new(Asks::Http(probe, self.protocol)),
                // It was tried when this began.
                Err(why) => {
                    return Box::pin(async { evenkeel::probe::ProbeError::Other(why).into() });
                }
            },
            first: self.first.clone(),
            secured: self.secured.clone(),
            clock: self.clock,
        };
        aimed.check(target)
    }
}

/// Pages asked of servers that answer oddly.
#[cfg(test)]
mod tests;
