//! The embeddable library of Evenkeel: the decision core joined to tokio.
//!
//! A [`LoadBalancer`] holds services by name. A [`Pick`] is the right to send one attempt to one backend; what it is
//! told of the attempt teaches the next picks. Decides nothing itself: every decision is [`balance`]'s. The [`guide`] has a
//! chapter for each use. Below, the modules in the order of an exchange.
//!
//! ```
//! use evenkeel::{LoadBalancer, Outcome, ServiceSettings, Verdict};
//!
//! let balancer = LoadBalancer::new();
//! balancer.register("api", ServiceSettings::default(), ["10.0.0.1:80", "10.0.0.2:80"])?;
//! let mut pick = balancer.select("api")?;
//! println!("send it to {}", pick.id());
//! pick.answered(Verdict::Success); // the response head
//! pick.finish(Outcome::Completed); // the last byte
//! # Ok::<(), evenkeel::Error>(())
//! ```
#![forbid(unsafe_code)]
// docs.rs builds with a nightly compiler, and says there what a feature brings.
#![cfg_attr(docsrs, feature(doc_cfg))]

/// How it is used, one chapter for each use; what it costs and what it guarantees.
pub mod guide;

/// Services by name.
pub mod balancer;

/// One service, without the look-up.
pub mod service;

/// The question before a pick.
pub mod ask;

/// Which clients are near which zone.
pub mod regions;

/// The right to send one attempt, with a clock of its own.
pub mod pick;

/// A charge that ends with a body.
pub mod follow;

/// Clients that are kept on their backends, by name.
mod clients;

/// One exchange over all its attempts.
pub mod exchange;

/// Services for tower: the pick follows the response.
#[cfg(feature = "tower")]
pub mod tower;

/// What a backend measures of itself, for balancers that go by it.
pub mod load;

/// What is counted, and what each number means.
pub mod stats;

/// What a service sees of itself over time: health, performance, and shares that follow them.
pub mod watching;

/// What happens, for subscribers.
pub mod events;

/// The order in which services that come and go are told of.
mod untold;

/// Where a backend is reached.
pub mod address;

/// One check of one backend: the trait, TCP, HTTP.
pub mod probe;

/// Checks of all backends, over and over.
pub mod sweep;

/// A balancer's own health checkers.
mod checkers;

/// The task that turns facts into standing.
mod ticker;

/// Time and chance, from the operating system.
mod clock;

/// What can go wrong.
pub mod error;

pub use evenkeel_balance as balance;

pub use address::Address;
pub use ask::Ask;
pub use balance::affinity::{ClientsCounts, ClientsSettings};
pub use balance::ask::{ClassId, Tried};
pub use balance::backend::{Admin, BackendId, BackendSpec, Counts, Weight};
pub use balance::event::{Event, EventKind};
pub use balance::explain::Explanation;
pub use balance::health::{CheckFault, CheckReport, CheckResult};
pub use balance::hedge::{HedgeAt, HedgeSettings, Quantile};
pub use balance::load::LoadReport;
pub use balance::pick::Refusal;
pub use balance::policy::named::Policies;
pub use balance::retry::budget::BudgetSettings;
pub use balance::retry::{Attempt, Decision, Progress, RetryOn, RetrySettings};
pub use balance::settings::{
    ActiveSettings, AdaptiveLimit, AffinitySettings, BreakerSettings, HashMethod, LoadBound,
    LoadSettings, MinHealthy, OnAllDown, Overprovision, PolicyChoice, QueueSettings,
    ServiceSettings, ZoneSettings,
};
pub use balance::snapshot::{BackendSnapshot, ServiceSnapshot};
pub use balance::standing::Standing;
pub use balance::verdict::{Fault, Outcome, Verdict};
pub use balance::zone::{Zone, ZoneId};
pub use balancer::{BalancerSettings, LoadBalancer, WeakLoadBalancer};
pub use error::Error;
pub use events::{EventName, Events, Subscription};
pub use exchange::{Exchange, ExchangeError, Failed, Failure, Target, retry_after};
pub use follow::Followed;
pub use pick::Pick;
pub use probe::{HttpCheck, HttpProbe, Probe, TcpProbe};
pub use regions::Regions;
pub use service::ServiceHandle;
pub use stats::{BackendStats, ServiceStats};
pub use sweep::{CheckerSettings, HealthChecker, Whom};
pub use watching::{AdjustReport, Balanced, HealthReport, PerformanceReport, WatchingSettings};
