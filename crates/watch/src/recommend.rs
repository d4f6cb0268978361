//! Owns what to do about what is seen: checks over facts, each with its code, its figures, and what it would change.
//!
//! A check is a pure function. It says something where its figures are clear, and else nothing: advice that is wrong once is not read
//! twice. What it would change is a path of the configuration and a value; whoever shows it applies it as any other change, so that it
//! has a revision and can be taken back.

/// What a check is given.
pub mod facts;

mod backends;
mod edges;
mod timing;
mod workload;

use facts::Facts;

use crate::metric::Unit;
use crate::number::float;
use crate::threshold::Severity;

/// What is found, by name. A name means the same for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Weights say otherwise than backends do.
    WrongWeights,
    /// With one backend less the rest would not do.
    PoolTooSmall,
    /// Answers come after the deadline that would have come soon.
    DeadlineTooShort,
    /// Who waits for a dead backend waits needlessly long.
    DeadlineTooLong,
    /// Requests fail long before a check would find out.
    ChecksTooSlow,
    /// A check gives up on answers that come.
    CheckTimeoutTooShort,
    /// A backend goes and comes.
    Flapping,
    /// Everything hangs on one.
    SinglePointOfFailure,
    /// Retries that might have helped were not made.
    RetryBudgetSpent,
    /// One worker has much more to do than another.
    WorkerSkew,
    /// Clients that are kept make the load uneven.
    AffinityUnbalances,
    /// A certificate ends soon.
    CertificateExpires,
    /// A limit is about to be reached, or was.
    LimitNear,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::WrongWeights,
        Self::PoolTooSmall,
        Self::DeadlineTooShort,
        Self::DeadlineTooLong,
        Self::ChecksTooSlow,
        Self::CheckTimeoutTooShort,
        Self::Flapping,
        Self::SinglePointOfFailure,
        Self::RetryBudgetSpent,
        Self::WorkerSkew,
        Self::AffinityUnbalances,
        Self::CertificateExpires,
        Self::LimitNear,
    ];

    /// Its name, as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongWeights => "wrong_weights",
            Self::PoolTooSmall => "pool_too_small",
            Self::DeadlineTooShort => "deadline_too_short",
            Self::DeadlineTooLong => "deadline_too_long",
            Self::ChecksTooSlow => "checks_too_slow",
            Self::CheckTimeoutTooShort => "check_timeout_too_short",
            Self::Flapping => "flapping",
            Self::SinglePointOfFailure => "single_point_of_failure",
            Self::RetryBudgetSpent => "retry_budget_spent",
            Self::WorkerSkew => "worker_skew",
            Self::AffinityUnbalances => "affinity_unbalances",
            Self::CertificateExpires => "certificate_expires",
            Self::LimitNear => "limit_near",
        }
    }
}

/// A figure that something rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// It.
    pub value: f64,
    /// What it is counted in; none is a plain number.
    pub unit: Option<Unit>,
}

/// A value of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// Anything else, as it is written: `150ms`, `30%`.
    Text(String),
}

/// What would be changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Keys and names, from the top.
    pub path: Vec<String>,
    /// What is to stand there; none takes it away.
    pub value: Option<Value>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// What was found.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// Of whom: a service, a backend of it, a certificate, a limit; none is the instance.
    pub subject: Vec<String>,
    /// Why, in a sentence.
    pub reason: String,
    /// By which figures.
    pub figures: Vec<Figure>,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
    /// What would be changed; nothing where only the operator can, as with another backend.
    pub patch: Vec<Patch>,
}

/// A check.
type Check = fn(&Facts, &mut Vec<Recommendation>);

const CHECKS: [Check; 12] = [
    backends::weights,
    backends::flapping,
    backends::single_point,
    backends::affinity,
    timing::deadlines,
    timing::checks,
    timing::check_timeouts,
    workload::pool,
    workload::retries,
    workload::workers,
    edges::certificates,
    edges::limits,
];

/// All that the facts say, what matters most first. Cost: the facts.
#[must_use]
pub fn recommend(facts: &Facts) -> Vec<Recommendation> {
    let mut all = Vec::new();
    for check in CHECKS {
        check(facts, &mut all);
    }
    all.sort_by(|left, right| {
        right
            .severity
            .cmp(&left.severity)
            .then(right.confidence.total_cmp(&left.confidence))
    });
    all
}

const fn figure(name: &'static str, value: f64, unit: Option<Unit>) -> Figure {
    Figure { name, value, unit }
}

fn path(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn set(keys: &[&str], value: Value) -> Patch {
    Patch {
        path: path(keys),
        value: Some(value),
    }
}

/// How sure something is that rests on so many, where `half` of them would be half sure.
fn sure(count: u64, half: u64) -> f64 {
    float(count) / (float(count) + float(half.max(1)))
}

/// A length of time as configurations have it: whole milliseconds below ten seconds, whole seconds above.
fn duration(seconds: f64) -> Value {
    if seconds < 10.0 {
        Value::Text(format!(
            "{}ms",
            crate::number::whole((seconds * 1e3).max(1.0))
        ))
    } else {
        Value::Text(format!("{}s", crate::number::whole(seconds)))
    }
}

/// The next rounder one above: 1, 2 or 5 times a power of ten.
fn rounder(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|round| *round >= value * 0.999)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests;
