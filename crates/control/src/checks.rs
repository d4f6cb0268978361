//! Owns the health checks of the running plan: one checker per service that has any, over the library's runner.

use std::sync::Arc;

use evenkeel::balance::time::Instant;
use evenkeel::probe::{
    BodyTest, Checking, HttpCheck, HttpProbe, Probe, StatusRanges, Target, TcpProbe,
};
use evenkeel::sweep::{self, Checked, CheckerSettings, HealthChecker, Now, Services};
use evenkeel_config::plan::{BackendAddress, BodyMatch, CheckPlan, HealthPlan, HttpCheckPlan};
use evenkeel_proxy::clock::{Clock, seed};
use evenkeel_proxy::live::{LiveService, ServiceState};

/// Starts checking one service. None: its plan asks for no checks.
///
/// # Errors
/// Why it cannot be checked as planned.
pub(crate) fn start(service: &LiveService, clock: Clock) -> Result<Option<HealthChecker>, String> {
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
        asks: asks(plan)?,
    };
    let one = One {
        state: service.state.clone(),
        clock,
    };
    sweep::spawn(one, settings, probe)
        .map(Some)
        .map_err(|error| error.to_string())
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
}

impl Services for One {
    fn services(&self) -> Option<Vec<Arc<dyn Checked>>> {
        Some(vec![Arc::new(self.state.service.clone())])
    }

    fn now(&self) -> Now {
        let clock = self.clock;
        Arc::new(move || -> Instant { clock.now() })
    }
}

/// A probe that goes where the plan says: to the backend's address, or to the port and address that are checked instead.
struct Aimed {
    state: Arc<ServiceState>,
    plan: HealthPlan,
    asks: Asks,
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
        match &self.asks {
            Asks::Tcp(probe) => probe.check(aimed),
            Asks::Http(probe) => probe.check(aimed),
        }
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
