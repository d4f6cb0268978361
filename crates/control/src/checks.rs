//! Owns the health checks of the running plan: one checker per service that has any, over the library's runner.
//!
//! What the library's probes do not know stands here: TLS (`checks/link.rs`), HTTP/2 and gRPC.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::address::{Address, AddressError};
use evenkeel::balance::backend::BackendId;
use evenkeel::balance::health::CheckReport;
use evenkeel::balance::snapshot::{BackendSnapshot, Changes, ServiceSnapshot};
use evenkeel::balance::time::Instant;
use evenkeel::probe::{
    BodyTest, Checking, Finding, HttpCheck, HttpProbe, Probe, ProbeError, StatusRanges, Target,
    TcpProbe,
};
use evenkeel::sweep::{self, Checked, CheckerSettings, HealthChecker, Now, Services, Whom};
use evenkeel_config::plan::{
    BackendAddress, BodyMatch, CheckPlan, CheckProtocol, HealthPlan, HttpCheckPlan, Protocol,
    ProxyVersion, ServicePlan,
};
use evenkeel_proxy::clock::{Clock, seed};
use evenkeel_proxy::live::{LiveService, ServiceState};
use evenkeel_proxy::proxy_protocol::of_checks;
use evenkeel_proxy::tls::upstream::Towards;
use tokio::sync::Notify;

use grpc::GrpcProbe;
use link::{HTTP1, HTTP2, Secured};

/// The connection of one check.
pub(crate) mod link;

/// A request over HTTP/2.
mod http2;

/// The call of gRPC's health check.
mod grpc;

/// Pages of load, which run as checks do.
pub(crate) mod load;

/// The checks of one service, and what they were begun with.
pub(crate) struct Checker {
    state: Arc<ServiceState>,
    plan: HealthPlan,
    protocol: Protocol,
    header: Option<ProxyVersion>,
    towards: Option<Arc<Towards>>,
    backends: Vec<(BackendId, BackendAddress)>,
    joined: Arc<Notify>,
    runs: HealthChecker,
}

impl Checker {
    /// Goes on with another plan of the service: no check under way is lost, nobody is checked for the plan's sake but those that
    /// joined, at once. None: what it was begun with is no more, and it ends here.
    pub(crate) fn go_on(mut self, service: &LiveService) -> Option<Self> {
        let backends = aims(service);
        // Pairwise, ten thousand would be a hundred million comparisons.
        let earlier: HashMap<_, _> = self.backends.iter().map(|(id, at)| (id, at)).collect();
        let moved =
            |(id, at): &(BackendId, BackendAddress)| earlier.get(id).is_some_and(|was| *was != at);
        let same = Arc::ptr_eq(&self.state, &service.state)
            && service.plan.health.as_ref() == Some(&self.plan)
            && self.protocol == protocol(&service.plan)
            && self.header == header(service)
            && self.towards.as_ref().map(Arc::as_ptr) == held(service).as_ref().map(Arc::as_ptr)
            && !self.runs.is_finished()
            && !backends.iter().any(moved);
        if !same {
            return None;
        }
        self.backends = backends;
        self.look_again();
        Some(self)
    }

    /// All are checked before it is their time, and nobody waits for it.
    pub(crate) fn check_now(&self) {
        let checks = self.runs.checks();
        tokio::spawn(async move {
            // Who ends meanwhile has nobody to check.
            let _ = checks.check_now(Whom::All).await;
        });
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

/// What the service's checks hold backends to, of what its traffic does.
fn held(service: &LiveService) -> Option<Arc<Towards>> {
    let health = service.plan.health.as_ref();
    let follows = health.is_some_and(|health| health.check.follows_tls());
    service.towards.clone().filter(|_| follows)
}

/// What the service's checks speak.
fn protocol(plan: &ServicePlan) -> Protocol {
    let check = plan.health.as_ref().map(|health| &health.check);
    match check {
        Some(CheckPlan::Http(http)) => match http.protocol {
            CheckProtocol::Upstream => plan.upstream.protocol,
            CheckProtocol::Http1 => Protocol::Http1,
            CheckProtocol::Http2 => Protocol::Http2,
        },
        Some(CheckPlan::Grpc(_)) => Protocol::Http2,
        Some(CheckPlan::Tcp) | None => Protocol::Http1,
    }
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
    let (Some(plan), Some(asks)) = (&service.plan.health, asks(&service.plan)?) else {
        return Ok(None);
    };
    let settings = CheckerSettings::default()
        .interval(plan.interval)
        .timeout(plan.timeout)
        .interval_unsure(plan.interval_unsure)
        .interval_down(plan.interval_down)
        .seed(seed());
    let follows = plan.check.follows_tls() && service.plan.upstream.tls.is_some();
    let towards = held(service);
    let secured = match (&towards, follows) {
        (_, false) => Secured::Off,
        (Some(towards), true) => Secured::Towards(Box::new(towards.for_checks(asks.protocols()))),
        (None, true) => Secured::Broken,
    };
    let probe = Aimed {
        state: service.state.clone(),
        plan: plan.clone(),
        asks: Arc::new(asks),
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
    Ok(Some(Checker {
        state: service.state.clone(),
        plan: plan.clone(),
        protocol: protocol(&service.plan),
        header: header(service),
        towards,
        backends: aims(service),
        joined,
        runs,
    }))
}

/// What a plan asks of its backends. None: it asks for no checks.
///
/// # Errors
/// Why it cannot be asked.
pub(crate) fn asks(service: &ServicePlan) -> Result<Option<Asks>, String> {
    let Some(plan) = &service.health else {
        return Ok(None);
    };
    Ok(Some(match &plan.check {
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
            let probe = probe.map_err(|error| error.to_string())?;
            Asks::Http(probe, protocol(service))
        }
        CheckPlan::Grpc(grpc) => Asks::Grpc(GrpcProbe::new(&grpc.service, grpc.host.as_deref())?),
    }))
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
    let mut check = HttpCheck::default()
        .method(&*plan.method)
        .path(&*plan.path)
        .expect(expect);
    check.host = plan.host.as_deref().map(str::to_owned);
    let headers = plan.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_string()));
    check.headers = headers.collect();
    if let Some(BodyMatch::Contains(text)) = &plan.body {
        check = check.body(&**text);
    }
    Ok(check)
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

    fn changes(&self) -> Option<Changes> {
        Some(self.0.service.changes())
    }

    fn changed(&self, since: Changes, now: Instant) -> Option<Vec<BackendSnapshot>> {
        self.0.service.changed(since, now)
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
    first: Arc<[u8]>,
    secured: Arc<Secured>,
    clock: Clock,
}

/// What is asked, and how.
pub(crate) enum Asks {
    Tcp(TcpProbe),
    Http(HttpProbe, Protocol),
    Grpc(GrpcProbe),
}

impl Asks {
    /// What it may speak, as a handshake names it.
    const fn protocols(&self) -> &'static [&'static [u8]] {
        match self {
            Self::Tcp(_) => &[HTTP1],
            Self::Http(_, protocol) => Self::spoken(*protocol),
            Self::Grpc(_) => &[HTTP2],
        }
    }

    /// The same of what traffic speaks.
    const fn spoken(protocol: Protocol) -> &'static [&'static [u8]] {
        match protocol {
            Protocol::Http1 => &[HTTP1],
            Protocol::Http2 => &[HTTP2],
            Protocol::Auto => &[HTTP2, HTTP1],
        }
    }

    /// One check of `backend` at `to`, over a connection of its own, which begins with `first`.
    async fn over(
        &self,
        secured: &Secured,
        to: &Address,
        backend: &BackendAddress,
        first: &[u8],
        left: impl Fn() -> Duration,
    ) -> Result<Finding, ProbeError> {
        let spoken = self.protocols();
        let (stream, http2) = secured.connect(to, backend, first, spoken).await?;
        let (secure, host) = (matches!(secured, Secured::Towards(_)), to.authority());
        match self {
            // It asked for no more.
            Self::Tcp(_) => Ok(Finding::passed(None)),
            Self::Http(probe, _) if http2 => {
                // Apart, here and where TLS begins: the room of the largest way would be every check's.
                Box::pin(http2::check(probe, secure, host, stream)).await
            }
            Self::Http(probe, _) => Ok(probe.over(to, stream).await),
            Self::Grpc(probe) => Box::pin(probe.call(secure, host, left(), stream)).await,
        }
    }
}

impl Probe for Aimed {
    fn check(&self, target: Target) -> Checking {
        let reached = self.state.reached(&target.backend);
        let Some(backend) = reached else {
            // It left just now, and nobody waits for what is found.
            return Box::pin(async { ProbeError::Other("the backend has left".into()).into() });
        };
        let to = self.address(&backend.address);
        let (asks, secured) = (self.asks.clone(), self.secured.clone());
        let first = self.first.clone();
        let (clock, timeout) = (self.clock, self.plan.timeout);
        let began = clock.now();
        let left = move || timeout.saturating_sub(clock.now().since(began));
        Box::pin(async move {
            let found = async {
                asks.over(&secured, &to?, &backend.address, &first, left)
                    .await
            };
            found.await.unwrap_or_else(Finding::from)
        })
    }
}

impl Aimed {
    fn address(&self, backend: &BackendAddress) -> Result<Address, AddressError> {
        let port = |port: u16| self.plan.port.map_or(port, std::num::NonZeroU16::get);
        match (backend, self.plan.address) {
            (BackendAddress::Tcp(address), other) => {
                let ip = other.unwrap_or(address.ip());
                Ok(SocketAddr::new(ip, port(address.port())).into())
            }
            (BackendAddress::Name(_, named), Some(ip)) => {
                Ok(SocketAddr::new(ip, port(named.get())).into())
            }
            (BackendAddress::Name(name, named), None) => {
                format!("{name}:{}", port(named.get())).parse()
            }
            (BackendAddress::Unix(path), _) => format!("unix:{}", path.display()).parse(),
        }
    }
}

/// Checks against servers that answer oddly.
#[cfg(test)]
mod tests;
