//! WHO gets the request: the decision core of Evenkeel.
//!
//! A [`Service`](service::Service) is asked with an [`Ask`](ask::Ask) and answers with a [`Pick`](pick::Pick) or a
//! [`Refusal`](pick::Refusal); what a pick records becomes standing at the next tick. No I/O, no clock, no randomness of
//! its own: time and chance are arguments. Below, the modules in the order of an exchange.
//!
//! ```
//! use evenkeel_balance::{ask::Ask, backend::BackendSpec, service::Service, settings::ServiceSettings};
//! use evenkeel_balance::{time::Instant, verdict::{Outcome, Verdict}};
//!
//! let backends = vec![BackendSpec::new("10.0.0.1:80"), BackendSpec::new("10.0.0.2:80")];
//! let now = Instant::ZERO;
//! let service = Service::new("api", ServiceSettings::default(), backends, std::sync::Arc::new(()), now)?;
//! let mut pick = service.pick(&Ask::new(0x5EED), now)?;
//! println!("send it to {}", pick.backend().id());
//! pick.answered(Verdict::Success, now); // the response head
//! pick.finish(Outcome::Completed, now); // the last byte
//! service.tick(now); // ten times a second
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

/// Time, as the caller tells it.
pub mod time;

/// What a service may be told to do, with defaults and reasons.
pub mod settings;

/// Backends: identity, configuration, running state.
pub mod backend;

/// Who may pass, before anybody is picked: token buckets by key.
pub mod rate;

/// Zones, by name and number.
pub mod zone;

/// Which zone a client's address is nearest to.
pub mod regions;

/// The question before a pick.
pub mod ask;

/// How settings are told.
mod setters;

/// Keeping a client on its backend.
pub mod affinity;

/// The one pinned key hash: which client belongs to which backend.
pub mod hashing;

/// A service: its pick, and everything that changes it.
pub mod service;

/// What a service publishes to its pickers.
mod table;

/// From an ask to a charged backend.
mod choice;

/// How exchanges are shared among tiers and zones.
mod shares;

/// Parts of a table: tiers and zones, and the way of an ask through them.
mod parts;

/// Where a pick went beside where it would go first.
pub mod spill;

/// Who may be picked, and why not.
pub mod eligibility;

/// The policies, and the trait for others.
pub mod policy;

/// Weighted random picks in constant time.
pub mod alias;

/// Weighted round robin without a lock.
pub mod stride;

/// Consistent hashing by a look-up table.
pub mod maglev;

/// Consistent hashing by points on a ring.
pub mod ring;

/// Consistent hashing by the highest score.
pub mod rendezvous;

/// The right to send one attempt, and what its end teaches.
pub mod pick;

/// Attempts in flight on one backend, exactly.
mod charge;

/// How many attempts at once one backend takes well.
pub(crate) mod limit;

/// How many attempts at one backend failed in a row.
mod row;

/// The bounded trials of a half-open breaker.
mod trials;

/// Who waits while a service is full, and in which order they go.
pub mod queue;

/// What the response head said, and how the attempt ended.
pub mod verdict;

/// Whether a failed attempt is tried again.
pub mod retry;

/// Whether another is begun beside one that is slow.
pub mod hedge;

/// What picks record about their service.
mod facts;

/// What is remembered of past attempts: means, windows, distributions.
pub mod learn;

/// Who belongs to a service; facts become standing.
pub mod membership;

/// What checks and hands say of a backend.
pub mod health;

/// Ejection by live traffic.
pub mod breaker;

/// Slow start.
mod ramp;

/// How far a backend is trusted beside its peers.
mod trust;

/// What backends report of their load, and the weights that follow.
pub mod load;

/// May a backend be picked: the one answer.
pub mod standing;

/// Where would this go, and why.
pub mod explain;

/// A service at one moment.
pub mod snapshot;

/// What goes over to another process.
pub mod carried;

/// What happens to a service, for listeners.
pub mod event;

/// Atomics and the one publication, from `std` or from the model checker.
mod sync;
