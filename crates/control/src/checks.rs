//! Owns the health checks of the running plan: one checker per service that has any, over the library's runner.

use std::sync::Arc;

use evenkeel::balance::backend::BackendId;
use evenkeel::balance::health::CheckReport;
use evenkeel::balance::snapshot::ServiceSnapshot;
use evenkeel::balance::time::Instant;
use evenkeel::probe::{
    BodyTest, Checking, Finding, HttpCheck, HttpProbe, Link, Probe, ProbeError, StatusRanges,
    Target, TcpProbe, connect,
};
use evenkeel::sweep::{self, Checked, CheckerSettings, HealthChecker, Now, Services};
use evenkeel_config::plan::{
    BackendAddress, BodyMatch, CheckPlan, HealthPlan, HttpCheckPlan, ProxyVersion,
};
use evenkeel_proxy::clock::{Clock, seed};
use evenkeel_proxy::live::{LiveService, ServiceState};
use evenkeel_proxy::proxy_protocol::of_checks;
use tokio::sync::Notify;

/// The checks of one service, and what they were begun with.
pub(crate) struct Checker {
    state: Arc<ServiceState>,
    plan: HealthPlan,
    header: Option<ProxyVersion>,
    backends: Vec<(BackendId, BackendAddress)>,
    joined: Arc<Notify>,
    runs: HealthChecker,
}

impl Checker {
    /// Goes on with another plan of the service: no check under way is lost, nobody is checked for the plan's sake but those that
    /// joined, at once. None: what it was begun with is no more, and it ends here.
    pub(crate) fn go_on(mut self, service: &LiveService) -> Option<Self> {
        let backends = aims(service);
        let moved = |(id, at): &(BackendId, BackendAddress)| {
            let mut earlier = self.backends.iter();
            earlier.any(|(other, was)| other == id && was != at)
        };
        let same = Arc::ptr_eq(&self.state, &service.state)
            && service.plan.health.as_ref() == Some(&self.plan)
            && self.header == header(service)
            && !self.runs.is_finished()
            && !backends.iter().any(moved);
        if !same {
            return None;
        }
        self.backends = backends;
        self.look_again();
        Some(self)
    }

    /// Its backends may be others: who joined is checked at once.
    pub(crate) fn look_again(&self) {
        self.joined.notify_one();
    }
}

/// The header that checks begin with: where they go to what traffic goes to. Another port or address may expect none.
fn header(service: &LiveService) -> Option<ProxyVersion> {
    let plan = service.plan.health.as_ref()?;
    let header = service.plan.upstream.proxy_protocol.as_ref()?;
    (plan.port.is_none() && plan.address.is_none()).then_some(header.version)
}

fn aims(service: &LiveService) -> Vec<(BackendId, BackendAddress)> {
    let backends = service.plan.backends.iter();
    backends
        .map(|backend| (backend.spec.id.clone(), backend.address.clone()))
        .collect()
}

/// Starts checking one service. None: its plan asks for no checks.
///
/// # Errors
/// Why it cannot be checked as planned.
pub(crate) fn start(service: &LiveService, clock: Clock) -> Result<Option<Checker>, String> {
    let Some(plan) = &service.plan.health else {
        return Ok(None);
    };
    let settings = CheckerSettings {
        interval: plan.interval,
        timeout: plan.timeout,
        interval_unsure: Some(plan.interval_unsure),
        interval_down: Some(plan.interval_down),
        seed: seed(),
        ..CheckerSettings::default()
    };
    let probe = Aimed {
        state: service.state.clone(),
        plan: plan.clone(),
        asks: Arc::new(asks(plan)?),
        first: header(service).map(|version| of_checks(version).into()),
    };
    let joined = Arc::new(Notify::new());
    let one = One {
        state: service.state.clone(),
        clock,
        joined: joined.clone(),
    };
    let runs = sweep::spawn(one, settings, probe).map_err(|error| error.to_string())?;
    Ok(Some(Checker {
        state: service.state.clone(),
        plan: plan.clone(),
        header: header(service),
        backends: aims(service),
        joined,
        runs,
    }))
}

/// What a plan asks of a backend.
///
/// # Errors
/// Why it cannot be asked.
pub(crate) fn asks(plan: &HealthPlan) -> Result<Asks, String> {
    Ok(match &plan.check {
        CheckPlan::Tcp => Asks::Tcp(TcpProbe),
        CheckPlan::Http(http) => {
            let check = check_of(http)?;
            let probe = match http.body.clone() {
                Some(BodyMatch::Regex(expression)) => {
                    let test = BodyTest::new(move |body| expression.is_match(body));
                    HttpProbe::testing(check, test)
                }
                _ => HttpProbe::new(check),
            };
            Asks::Http(probe.map_err(|error| error.to_string())?)
        }
    })
}

fn check_of(plan: &HttpCheckPlan) -> Result<HttpCheck, String> {
    let expect = plan
        .expect
        .iter()
        .map(|(from, to)| format!("{from}-{to}"))
        .collect::<Vec<_>>()
        .join(",")
        .parse::<StatusRanges>()
        .map_err(|error| error.to_string())?;
    Ok(HttpCheck {
        method: plan.method.to_string(),
        path: Some(plan.path.to_string()),
        host: plan.host.as_deref().map(str::to_owned),
        headers: plan
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        expect,
        body: match &plan.body {
            Some(BodyMatch::Contains(text)) => Some(text.to_string()),
            Some(BodyMatch::Regex(_)) | None => None,
        },
    })
}

/// One service, as the runner sees it.
struct One {
    state: Arc<ServiceState>,
    clock: Clock,
    /// Its backends may be others.
    joined: Arc<Notify>,
}

impl Services for One {
    fn services(&self) -> Option<Vec<Arc<dyn Checked>>> {
        Some(vec![Arc::new(Counted(self.state.clone()))])
    }

    fn now(&self) -> Now {
        let clock = self.clock;
        Arc::new(move || -> Instant { clock.now() })
    }

    async fn changed(&mut self) {
        self.joined.notified().await;
    }
}

/// A service whose checks are counted by their results.
struct Counted(Arc<ServiceState>);

impl Checked for Counted {
    fn name(&self) -> &str {
        self.0.service.name()
    }

    fn snapshot(&self, now: Instant) -> ServiceSnapshot {
        self.0.service.snapshot(now)
    }

    fn check(&self, backend: &BackendId, report: CheckReport, now: Instant) -> bool {
        let taken = self.0.service.check(backend, report, now).is_ok();
        if taken && let Some(reached) = self.0.reached(backend) {
            reached.checks.add(report.result);
        }
        taken
    }
}

/// A probe that goes where the plan says: to the backend's address, or to the port and address that are checked instead.
struct Aimed {
    state: Arc<ServiceState>,
    plan: HealthPlan,
    asks: Arc<Asks>,
    /// What begins every connection.
    first: Option<Arc<[u8]>>,
}

pub(crate) enum Asks {
    Tcp(TcpProbe),
    Http(HttpProbe),
}

impl Probe for Aimed {
    fn check(&self, target: Target) -> Checking {
        let reached = self.state.reached(&target.backend);
        let address = reached.map(|backend| self.address(&backend.address));
        let aimed = Target {
            address: address.unwrap_or_else(|| target.address.clone()),
            ..target
        };
        let Some(first) = self.first.clone() else {
            return match &*self.asks {
                Asks::Tcp(probe) => probe.check(aimed),
                Asks::Http(probe) => probe.check(aimed),
            };
        };
        let asks = self.asks.clone();
        Box::pin(async move {
            let found = asks.behind(&first, &aimed).await;
            found.unwrap_or_else(Finding::from)
        })
    }
}

impl Asks {
    /// The same over a connection that begins with these bytes.
    async fn behind(&self, first: &[u8], target: &Target) -> Result<Finding, ProbeError> {
        let address = target.address()?;
        let mut link = connect(&address).await?;
        link.begin(first).await?;
        Ok(match (self, link) {
            (Self::Tcp(_), _) => Finding::passed(None),
            (Self::Http(probe), Link::Tcp(stream)) => probe.over(&address, stream).await,
            (Self::Http(probe), Link::Unix(stream)) => probe.over(&address, stream).await,
        })
    }
}

impl Aimed {
    fn address(&self, backend: &BackendAddress) -> Arc<str> {
        let port = |port: u16| self.plan.port.map_or(port, std::num::NonZeroU16::get);
        match (backend, self.plan.address) {
            (BackendAddress::Tcp(address), other) => {
                let ip = other.unwrap_or(address.ip());
                std::net::SocketAddr::new(ip, port(address.port()))
                    .to_string()
                    .into()
            }
            (BackendAddress::Name(_, named), Some(ip)) => {
                std::net::SocketAddr::new(ip, port(named.get()))
                    .to_string()
                    .into()
            }
            (BackendAddress::Name(name, named), None) => {
                format!("{name}:{}", port(named.get())).into()
            }
            (BackendAddress::Unix(path), _) => format!("unix:{}", path.display()).into(),
        }
    }
}
