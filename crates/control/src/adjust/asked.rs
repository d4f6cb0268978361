//! Owns what is told of weights that follow what backends do.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_watch::controller::{Frozen, Learning};

use super::{AdjustCounts, Adjusted, Adjuster, Step, is_adjusted};
use crate::command::Refused;
use crate::control::find;
use crate::snapshot::{Paged, Span, Watch, page};

/// What is known of a service whose weights are adjusted, or would be.
#[derive(Clone, Debug)]
pub struct AdjustingPart {
    /// Its name.
    pub service: Arc<str>,
    /// How often. None: its weights are as they are configured.
    pub interval: Option<Duration>,
    /// Weights are moved. Else it says what it would do: the policy looks at latency itself, or keys stay where they are.
    pub acts: bool,
    /// The next step. None: there is no room for it, or it has not begun.
    pub due_in: Option<Duration>,
    /// A step may be asked for ahead of its time after so long; nought: now.
    pub ahead_in: Duration,
    /// Why nothing was moved at the last step, or not more.
    pub frozen: Option<Frozen>,
    /// What was learned in all.
    pub learning: Learning,
    /// What it came to.
    pub counts: AdjustCounts,
    /// The last steps that moved something, the newest first.
    pub steps: Vec<Step>,
}

/// What is known of one of its backends.
#[derive(Clone, Debug)]
pub struct AdjustedPart {
    /// Who.
    pub id: String,
    /// Its weight, as it is configured.
    pub weight: u16,
    /// The part of it that it has.
    pub factor: f64,
    /// Requests that its model was learned from.
    pub samples: u64,
    /// Intervals.
    pub intervals: u32,
    /// How far its latency follows its load, 0 to 4.
    pub elasticity: f64,
    /// How far that can be relied on, 0 to 1.
    pub confidence: f64,
    /// How long it mostly takes, by what its peers take.
    pub usual: f64,
}

impl Watch {
    /// What is known of the weights of a service. Cost: its backends, and what is remembered of steps.
    ///
    /// # Errors
    /// There is no such service, or it has no backend of the name that the span begins behind.
    pub fn adjustments(
        &self,
        service: &str,
        span: &Span,
    ) -> Result<(AdjustingPart, Paged<AdjustedPart>), Refused> {
        let (live, now) = self.live();
        let service = find(&live, service)?;
        let name = &service.plan.name;
        let plan = service.plan.adjust.as_ref();
        let core = service.state.service.snapshot(now);
        let state = self.adjuster.state();
        let known = state.services.get(name);
        let whole = AdjustingPart {
            service: name.clone(),
            interval: plan.map(|plan| plan.interval),
            acts: is_adjusted(&service.plan),
            due_in: known.map(|one| one.due.since(now)),
            ahead_in: known
                .and_then(|one| one.ahead)
                .map_or(Duration::ZERO, |due| due.since(now)),
            frozen: known.and_then(|one| one.frozen),
            learning: known
                .map(|one| one.controller.learning())
                .unwrap_or_default(),
            counts: known.map(|one| one.counts).unwrap_or_default(),
            steps: known.map(|one| one.newest_first()).unwrap_or_default(),
        };
        let row = |one: &evenkeel_balance::snapshot::BackendSnapshot| {
            let id = one.id.as_str();
            let model = known.and_then(|known| known.controller.model(id));
            let model = model.copied().unwrap_or_default();
            Some(AdjustedPart {
                id: id.to_owned(),
                weight: one.spec.weight.get(),
                factor: model.factor,
                samples: model.samples,
                intervals: model.intervals,
                elasticity: model.elasticity(),
                confidence: model.confidence(),
                usual: model.usual.exp(),
            })
        };
        let rows = page("backend", &core.backends, |one| one.id.as_str(), span, row)?;
        Ok((whole, rows))
    }
}

impl Adjuster {
    /// What adjusting came to, of each service that has it.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, AdjustCounts)> {
        let state = self.state();
        let each = state.services.iter();
        each.map(|(name, one)| (name.clone(), one.counts)).collect()
    }
}

impl Adjusted {
    fn newest_first(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }
}
