//! Owns what is watched of a service, and what follows from it: alerts, advice, weights that are adjusted, another policy tried.

use std::time::Duration;

use evenkeel_balance::settings::PolicyChoice;

use crate::limits;

/// How a service is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitoringPlan {
    /// What is measured, in the order of [`Metric::ALL`]; at least one.
    pub metrics: Vec<Metric>,
    /// Limits that an operator set, each of a metric that is measured; at most one of each.
    pub thresholds: Vec<ThresholdPlan>,
    /// The share of requests that is to succeed, below 1; none: no budget of errors burns.
    pub objective: Option<f64>,
    /// Backends are compared with their peers, and all with their own past.
    pub anomalies: bool,
    /// What is wrong is told as alerts.
    pub alerting: bool,
    /// What to do about it is told.
    pub recommendations: bool,
}

impl Default for MonitoringPlan {
    /// All that needs no figure of an operator.
    fn default() -> Self {
        Self {
            metrics: Metric::ALL.into(),
            thresholds: Vec::new(),
            objective: None,
            anomalies: true,
            alerting: true,
            recommendations: true,
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The time to the response head; its limit, in seconds, holds for what 95 % of the answers took at most.
    ResponseTime,
    /// What ended in a second; bad below its limit.
    Throughput,
    /// The share of what ended that failed.
    ErrorRate,
    /// The share of the time in which a backend could be picked; bad below its limit.
    Availability,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ResponseTime,
        Self::Throughput,
        Self::ErrorRate,
        Self::Availability,
    ];

    /// Its name, as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResponseTime => "response_time",
            Self::Throughput => "throughput",
            Self::ErrorRate => "error_rate",
            Self::Availability => "availability",
        }
    }
}

/// A limit of one metric: which side of it is bad, the metric says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdPlan {
    /// Of what.
    pub metric: Metric,
    /// In seconds, a second, or a share of 1.
    pub limit: f64,
}

/// How weights follow what backends do.
#[derive(Clone, Debug, PartialEq)]
pub struct AdjustPlan {
    /// How often, at least a second.
    pub interval: Duration,
    /// A backend whose peers take less than this part of its time is slow, 0 to 1.
    pub performance_threshold: f64,
    /// A backend of whose requests a smaller share succeeds gets the least, 0 to 1.
    pub health_threshold: f64,
    /// What was learned of a backend says how boldly it is moved.
    pub learning: bool,
    /// Whether other policies are tried; none: none is.
    pub policy: Option<TrialPlan>,
}

impl Default for AdjustPlan {
    fn default() -> Self {
        Self {
            interval: limits::ADJUST_EVERY,
            performance_threshold: limits::PERFORMANCE_THRESHOLD,
            health_threshold: limits::HEALTH_THRESHOLD,
            learning: true,
            policy: None,
        }
    }
}

/// How other policies are tried.
#[derive(Clone, Debug)]
pub struct TrialPlan {
    /// Which, in this order; at least one, and none twice. The service's own may be among them, and is not tried.
    pub policies: Vec<PolicyChoice>,
    /// A score (0 to 1) of the service under this is too low.
    pub threshold: f64,
    /// For so many intervals in a row.
    pub patience: u32,
    /// A trial lasts so many.
    pub lasts: u32,
    /// It stays where the score rose by so much.
    pub gain: f64,
    /// After one that did not, nothing is tried for so many; twice as many after each.
    pub rest: u32,
    /// So many trials in all.
    pub most: u32,
}

impl PartialEq for TrialPlan {
    fn eq(&self, other: &Self) -> bool {
        // Named one by one, so that a new part is not forgotten here.
        let Self {
            policies,
            threshold,
            patience,
            lasts,
            gain,
            rest,
            most,
        } = self;
        let mut pairs = policies.iter().zip(&other.policies);
        policies.len() == other.policies.len()
            && pairs.all(|(one, other)| one.is_same(other))
            && (*threshold, *patience, *lasts) == (other.threshold, other.patience, other.lasts)
            && (*gain, *rest, *most) == (other.gain, other.rest, other.most)
    }
}

impl Default for TrialPlan {
    fn default() -> Self {
        Self {
            policies: limits::TRIED.into(),
            threshold: limits::TRIAL_THRESHOLD,
            patience: 5,
            lasts: 5,
            gain: 0.05,
            rest: 30,
            most: 6,
        }
    }
}
