//! Owns the balancers that are measured, each behind the same small face.

use std::cell::RefCell;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_balance::ask::Ask;
use evenkeel_balance::backend::BackendSpec;
use evenkeel_balance::load::LoadReport;
use evenkeel_balance::service::Service;
use evenkeel_balance::settings::{AdaptiveLimit, PolicyChoice, ServiceSettings};
use evenkeel_balance::time::Instant;
use evenkeel_balance::verdict::{Outcome, Verdict};
use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::{
    BackendIter, BackendSelection, Consistent, FNVHash, Random, RoundRobin,
};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma, PendingRequests};

/// Multiples of it are spread evenly: chance that costs nothing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// When exchanges begin: reports of load are believed by then.
const BEGIN: Instant = Instant::from_nanos(20_000_000_000);

/// A balancer under measurement.
pub trait Contender: Sync {
    /// As the table names it.
    fn name(&self) -> String;

    /// So many picks, one after another, on the present thread.
    fn run(&self, thread: usize, picks: u64);
}

/// Everybody, with so many backends.
pub fn all(size: usize) -> Vec<Box<dyn Contender>> {
    use PolicyChoice::{Adaptive, PowerOfTwo, RoundRobin as Rotation};
    let mut all: Vec<Box<dyn Contender>> = Vec::new();
    for policy in PolicyChoice::BUILT_IN {
        all.push(Box::new(ByHandle(ours(policy, size), "")));
    }
    all.push(Box::new(ByHandle(limited(size), " with adaptive limits")));
    for policy in [Adaptive, Rotation, PowerOfTwo] {
        all.push(Box::new(ByService(ours(policy, size))));
    }
    for policy in [Adaptive, Rotation, PowerOfTwo] {
        all.push(Box::new(library(policy, size)));
    }
    all.push(Box::new(Tower { size, peak: true }));
    all.push(Box::new(Tower { size, peak: false }));
    all.push(Box::new(Pingora(
        "round robin",
        pingora::<RoundRobin>(size),
    )));
    all.push(Box::new(Pingora("random", pingora::<Random>(size))));
    all.push(Box::new(Pingora("ketama", pingora::<Consistent>(size))));
    all.push(Box::new(Pingora("FNV hash", pingora::<FNVHash>(size))));
    all
}

fn addresses(size: usize) -> impl Iterator<Item = String> {
    (0..size).map(|at| format!("127.0.{}.{}:80", at / 250, at % 250 + 1))
}

fn ours(policy: PolicyChoice, size: usize) -> Service {
    let reports = matches!(policy, PolicyChoice::WeightedByLoad);
    let service = made(ServiceSettings::with_policy(policy), size);
    if reports {
        reported(&service, size);
    }
    service
}

/// The default policy, with a limit on each backend that follows its latency.
fn limited(size: usize) -> Service {
    let limit = Some(AdaptiveLimit::DEFAULT);
    made(ServiceSettings::default().adaptive_limit(limit), size)
}

fn made(settings: ServiceSettings, size: usize) -> Service {
    let backends = addresses(size).map(BackendSpec::new).collect();
    Service::new("bench", settings, backends, Arc::new(()), Instant::ZERO)
        .expect("distinct and few")
}

/// Each backend has reported its load for as long as it takes to be believed: no two can do alike.
fn reported(service: &Service, size: usize) {
    let mut now = Instant::ZERO;
    while now < BEGIN {
        now = now + Duration::from_secs(1);
        for (at, id) in addresses(size).enumerate() {
            let report = LoadReport {
                cpu: Some(0.2 + 0.6 * at as f64 / size as f64),
                rps: Some(100.0),
                ..LoadReport::default()
            };
            let told = service.report_load(&id.as_str().into(), &report, now);
            told.expect("it is a member");
        }
        service.tick(now);
    }
}

/// A service of many members under the default settings.
pub fn service(size: usize) -> Service {
    let backends = (0..size)
        .map(|at| BackendSpec::new(format!("backend-{at}")))
        .collect();
    Service::new(
        "many",
        ServiceSettings::default(),
        backends,
        Arc::new(()),
        Instant::ZERO,
    )
    .expect("distinct and few")
}

/// As a worker picks.
struct ByHandle(Service, &'static str);

impl Contender for ByHandle {
    fn name(&self) -> String {
        let settings = self.0.settings();
        format!("evenkeel {}{}, handle", settings.policy.name(), self.1)
    }

    fn run(&self, thread: usize, picks: u64) {
        let handle = self.0.handle(thread as u64 * SPREAD);
        for exchange in 0..picks {
            let now = BEGIN + Duration::from_nanos(exchange * 1000);
            let ask = Ask::new((exchange + thread as u64).wrapping_mul(SPREAD)).key(exchange);
            let mut pick = handle.pick(&ask, now).expect("somebody serves");
            pick.answered(Verdict::Success, now + Duration::from_nanos(500));
            pick.finish(Outcome::Completed, now + Duration::from_nanos(700));
        }
    }
}

/// As a program picks.
struct ByService(Service);

impl Contender for ByService {
    fn name(&self) -> String {
        format!("evenkeel {}, service", self.0.settings().policy.name())
    }

    fn run(&self, thread: usize, picks: u64) {
        for exchange in 0..picks {
            let now = BEGIN + Duration::from_nanos(exchange * 1000);
            let ask = Ask::new((exchange + thread as u64).wrapping_mul(SPREAD)).key(exchange);
            let mut pick = self.0.pick(&ask, now).expect("somebody serves");
            pick.answered(Verdict::Success, now + Duration::from_nanos(500));
            pick.finish(Outcome::Completed, now + Duration::from_nanos(700));
        }
    }
}

/// As a program picks that leaves the clock and the chance to the library.
struct ByLibrary(evenkeel::LoadBalancer, String);

impl Contender for ByLibrary {
    fn name(&self) -> String {
        format!("evenkeel {}, library", self.1)
    }

    fn run(&self, _thread: usize, picks: u64) {
        for _ in 0..picks {
            let pick = self.0.select("bench").expect("somebody serves");
            pick.succeeded();
        }
    }
}

/// The library's service of this size.
fn library(policy: PolicyChoice, size: usize) -> ByLibrary {
    let name = policy.name().to_owned();
    let balancer = evenkeel::LoadBalancer::new();
    balancer
        .register(
            "bench",
            ServiceSettings::with_policy(policy),
            addresses(size),
        )
        .expect("distinct and few");
    ByLibrary(balancer, name)
}

/// A tower service that answers at once.
#[derive(Clone)]
struct Echo;

impl tower::Service<u64> for Echo {
    type Response = u64;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<u64, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

struct Tower {
    size: usize,
    peak: bool,
}

type Peak = Balance<ServiceList<Vec<PeakEwma<Echo>>>, u64>;
type Pending = Balance<ServiceList<Vec<PendingRequests<Echo>>>, u64>;

thread_local! {
    static PEAK: RefCell<Option<(usize, Peak)>> = const { RefCell::new(None) };
    static PENDING: RefCell<Option<(usize, Pending)>> = const { RefCell::new(None) };
}

impl Contender for Tower {
    fn name(&self) -> String {
        format!(
            "tower p2c {}, one per thread",
            if self.peak { "peak EWMA" } else { "pending" }
        )
    }

    fn run(&self, _thread: usize, picks: u64) {
        let size = self.size;
        let complete = CompleteOnResponse::default();
        if self.peak {
            let peak = |_| PeakEwma::new(Echo, Duration::from_millis(30), 10e9, complete);
            PEAK.with_borrow_mut(|slot| {
                drive(
                    slot,
                    size,
                    || Balance::new(ServiceList::new((0..size).map(peak).collect())),
                    picks,
                )
            });
        } else {
            let pending = |_| PendingRequests::new(Echo, complete);
            PENDING.with_borrow_mut(|slot| {
                drive(
                    slot,
                    size,
                    || Balance::new(ServiceList::new((0..size).map(pending).collect())),
                    picks,
                )
            });
        }
    }
}

fn drive<B: tower::Service<u64>>(
    slot: &mut Option<(usize, B)>,
    size: usize,
    make: impl FnOnce() -> B,
    picks: u64,
) {
    if slot.as_ref().is_none_or(|(made, _)| *made != size) {
        *slot = Some((size, make()));
    }
    let Some((_, balance)) = slot else { return };
    let mut context = Context::from_waker(Waker::noop());
    for exchange in 0..picks {
        while balance.poll_ready(&mut context).is_pending() {}
        let mut answer = std::pin::pin!(balance.call(exchange));
        black_box(answer.as_mut().poll(&mut context).is_ready());
    }
}

/// Pingora's selection: no in-flight count, no outcome.
struct Pingora<S: BackendSelection>(&'static str, LoadBalancer<S>);

fn pingora<S>(size: usize) -> LoadBalancer<S>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    LoadBalancer::try_from_iter(addresses(size)).expect("addresses parse")
}

impl<S> Contender for Pingora<S>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    fn name(&self) -> String {
        format!("pingora {}, selection only", self.0)
    }

    fn run(&self, _thread: usize, picks: u64) {
        for exchange in 0..picks {
            black_box(self.1.select(&exchange.to_le_bytes(), 16));
        }
    }
}
