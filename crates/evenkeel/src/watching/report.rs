//! Owns what is told of a service that is watched, and how it is to be.

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::standing::Standing;
use evenkeel_watch::alert::Alert;
use evenkeel_watch::controller::{ControllerSettings, Learning, Report};
use evenkeel_watch::metric::Metric;
use evenkeel_watch::overall::{Distribution, Health};
use evenkeel_watch::recommend::Recommendation;
use evenkeel_watch::series::{Series, Span, Summary, WINDOWS};
use evenkeel_watch::service::WatchSettings;
use evenkeel_watch::trend::{Over, Trend, trend};

#[cfg(doc)]
use super::SPREAD_OVER;
use crate::pick::Pick;
use crate::service::ServiceHandle;

/// What trends are looked for in.
const TRENDS: [Metric; 5] = [
    Metric::Mean,
    Metric::P95,
    Metric::P99,
    Metric::Throughput,
    Metric::ErrorRate,
];

/// How a service is watched.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WatchingSettings {
    /// What is looked for: limits, an objective, who stands out among peers and beside its own past.
    pub look_for: WatchSettings,
    /// How what backends get follows what they do. None, which is what holds by default: it does not.
    pub adjust: Option<ControllerSettings>,
    /// Whether reports have recommendations; by default they do.
    pub recommendations: bool,
}

impl Default for WatchingSettings {
    fn default() -> Self {
        Self {
            look_for: WatchSettings::default(),
            adjust: None,
            recommendations: true,
        }
    }
}

impl WatchingSettings {
    /// Looks for this.
    #[must_use]
    pub fn look_for(self, look_for: WatchSettings) -> Self {
        Self { look_for, ..self }
    }

    /// What backends get follows what they do.
    #[must_use]
    pub fn adjust(self, adjust: ControllerSettings) -> Self {
        Self {
            adjust: Some(adjust),
            ..self
        }
    }

    /// Whether reports have recommendations.
    #[must_use]
    pub fn recommendations(self, recommendations: bool) -> Self {
        Self {
            recommendations,
            ..self
        }
    }
}

/// A pick, and what the service is beside it when that is asked for.
#[derive(Debug)]
pub struct Balanced {
    /// The right to send one attempt.
    pub pick: Pick,
    pub(super) service: ServiceHandle,
}

impl Balanced {
    /// How requests were spread, as [`PerformanceReport::distribution`].
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        self.service.monitor_performance().distribution
    }

    /// How healthy the service is.
    #[must_use]
    pub fn health(&self) -> HealthReport {
        self.service.monitor_health()
    }

    /// How well it does.
    #[must_use]
    pub fn performance(&self) -> PerformanceReport {
        self.service.monitor_performance()
    }
}

/// How healthy a service is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HealthReport {
    /// It as a whole.
    pub health: Health,
    /// Its backends, in the order of configuration.
    pub backends: Vec<BackendHealth>,
    /// What is wrong, and was within a week.
    pub alerts: Vec<Alert>,
    /// What to do about it, what matters most first.
    pub recommendations: Vec<Recommendation>,
}

/// How healthy a backend is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackendHealth {
    /// Who.
    pub id: BackendId,
    /// How.
    pub health: Health,
    /// May it be picked?
    pub standing: Standing,
    /// The share of the last hour in which it could be, as far as it was watched.
    pub availability: Option<f64>,
}

/// How well a service does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PerformanceReport {
    /// It as a whole.
    pub service: Figures,
    /// Its backends, in the order of configuration.
    pub backends: Vec<(BackendId, Figures)>,
    /// What each got of the requests of [`SPREAD_OVER`] beside what it was to get; both sum to 100 where there were any.
    pub distribution: Distribution,
    /// What is wrong, and was within a week.
    pub alerts: Vec<Alert>,
    /// What to do about it, what matters most first.
    pub recommendations: Vec<Recommendation>,
}

/// Figures of a service or a backend; none before anything ended.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// Over the last ten seconds to day.
    pub windows: Vec<(Span, Summary)>,
    /// Where they go, as far as that is sure.
    pub trends: Vec<(Metric, Over, Trend)>,
}

impl Figures {
    /// Those of one window.
    #[must_use]
    pub fn over(&self, span: Span) -> Option<&Summary> {
        let own = self.windows.iter().find(|(one, _)| *one == span);
        own.map(|(_, summary)| summary)
    }

    pub(super) fn of(series: Option<&Series>) -> Self {
        let Some(series) = series else {
            return Self::default();
        };
        let each = TRENDS.into_iter().flat_map(|metric| {
            [Over::Hour, Over::Day].map(|over| Some((metric, over, trend(series, metric, over)?)))
        });
        Self {
            windows: WINDOWS.map(|span| (span, series.over(span))).to_vec(),
            trends: each.flatten().collect(),
        }
    }
}

/// What adjusting came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdjustReport {
    /// The last step: what it moved and why, or why nothing, and what the one before it did.
    pub step: Report,
    /// The part of its weight that each backend has, 0.25 to 2.
    pub factors: Vec<(BackendId, f64)>,
    /// What was learned.
    pub learning: Learning,
}
