//! Owns what checks are given: plain values of the last hour, which whoever owns the instance gathers. What is not known is none, and
//! says nothing.

use crate::series::Span;
use crate::service::ServiceWatch;
use crate::time::Moment;

/// An instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Now.
    pub now: Moment,
    /// Its services.
    pub services: Vec<Service>,
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// Its limits: connections, queues, tables.
    pub limits: Vec<Limit>,
    /// What each worker served.
    pub workers: Vec<u64>,
}

/// A service, over the last hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its backends.
    pub backends: Vec<Backend>,
    /// Does its policy look at latency by itself.
    pub sees_latency: bool,
    /// What ended.
    pub requests: u64,
    /// How many of them failed.
    pub errors: u64,
    /// The 99th percentile of its answers, in seconds.
    pub p99: Option<f64>,
    /// How long one attempt may take, in seconds.
    pub per_try: Option<f64>,
    /// Attempts that took longer.
    pub timeouts: u64,
    /// The most attempts that were in flight at once.
    pub peak_in_flight: u64,
    /// Requests that waited for room.
    pub queued: u64,
    /// Retries that were made.
    pub retries: u64,
    /// Retries that the budget did not allow.
    pub retries_denied: u64,
    /// The budget: the share of requests that may be retried.
    pub retry_ratio: Option<f64>,
    /// Its checks.
    pub checks: Option<Checks>,
    /// Requests of clients that are kept; none where no client is.
    pub kept: Option<u64>,
}

/// A backend, over the last hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    /// Its id.
    pub id: String,
    /// The machine that it is on, as its address says.
    pub host: String,
    /// Its configured weight.
    pub weight: u32,
    /// May it be picked.
    pub serving: bool,
    /// What ended.
    pub requests: u64,
    /// How many of them failed.
    pub errors: u64,
    /// Its mean latency, in seconds.
    pub mean: Option<f64>,
    /// How many attempts it takes at once.
    pub max_in_flight: Option<u64>,
    /// How often it went down or was ejected.
    pub falls: u64,
}

/// How a service is checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checks {
    /// How often, in seconds.
    pub interval: f64,
    /// The same once one has failed.
    pub interval_unsure: f64,
    /// A check without an answer by then has failed, in seconds.
    pub timeout: f64,
    /// So many passed ones bring a backend up.
    pub rise: u64,
    /// So many failed ones bring it down.
    pub fall: u64,
    /// The 99th percentile of those that passed, in seconds.
    pub p99: Option<f64>,
    /// Requests that failed on backends that a check brought down later, until it did.
    pub failed_before: u64,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Its name: what clients ask for.
    pub name: String,
    /// It ends then.
    pub until: Moment,
}

/// A limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// What it is of.
    pub name: String,
    /// Its place in the configuration; nothing where it cannot be set.
    pub path: Vec<String>,
    /// The most that was used.
    pub peak: u64,
    /// It.
    pub limit: u64,
    /// How often it was in the way.
    pub refused: u64,
}

impl Service {
    /// Takes in what a watch has of the last hour: the service's figures, and those of each backend that is here already. Who is in the
    /// watch alone has left, and is no fact. Cost: some microseconds for each backend.
    pub fn measure(&mut self, watch: &ServiceWatch) {
        let whole = watch.series().over(Span::Hour);
        (self.requests, self.errors, self.p99) = (whole.requests, whole.errors, whole.p99);
        for backend in &mut self.backends {
            let Some(series) = watch.backend(&backend.id) else {
                continue;
            };
            let seen = series.over(Span::Hour);
            (backend.requests, backend.errors, backend.mean) =
                (seen.requests, seen.errors, seen.mean);
        }
    }
}
