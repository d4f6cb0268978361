//! Owns the trial of other policies, of a service that says so: which one runs, which would be next, and what became of the last.
//!
//! It says what is to be done; the control plane does it, as a revision like any other. Where somebody else has chosen meanwhile, all begins
//! anew with that choice.

use std::sync::Arc;

use evenkeel_balance::settings::PolicyChoice;
use evenkeel_config::plan::{AdjustPlan, Metric, TrialPlan};
use evenkeel_proxy::live::LiveService;
use evenkeel_watch::experiment::{Decision, ExperimentSettings, Experiments};
use evenkeel_watch::interval::Interval;
use evenkeel_watch::overall::score;
use evenkeel_watch::series::Summary;

use super::{Adjusted, News};

/// Of fewer requests in an interval nothing is said of the policy.
const FEWEST_JUDGED: u64 = 100;

/// What is to be done, or was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// This policy is to be tried, in the place of that.
    Try(PolicyName, PolicyName),
    /// The one that was tried stays: the score of before, and with it.
    Keep(PolicyName, f64, f64),
    /// It did not help: back to this one, from that.
    Back(PolicyName, PolicyName),
}

/// The word of a policy.
pub type PolicyName = Arc<str>;

/// The trials of one service.
#[derive(Debug, Default)]
pub(super) struct Trial {
    experiments: Experiments,
    /// The service's own, then those that are tried.
    policies: Vec<PolicyName>,
    /// Which of them is to run.
    runs: usize,
    /// Which ran before the one that is on trial. None: none is.
    from: Option<usize>,
}

impl Trial {
    /// Takes in what an interval came to under the policy that runs.
    pub(super) fn judge(
        &mut self,
        plan: Option<&TrialPlan>,
        runs: &PolicyChoice,
        score: Option<f64>,
    ) -> Option<Turn> {
        let Some(plan) = plan else {
            // Who turns trials off while one runs has what was.
            let turn = self.end();
            *self = Self::default();
            return turn;
        };
        let tried: Vec<_> = plan.policies.iter().map(name).collect();
        let is_same = self.policies.get(1..).is_some_and(|all| {
            let others = tried
                .iter()
                .filter(|one| Some(*one) != self.policies.first());
            others.eq(all)
        });
        let own = name(runs);
        if !is_same || self.policies.get(self.runs) != Some(&own) {
            if self.policies.get(self.runs) == Some(&own)
                && let Some(turn) = self.end()
            {
                return Some(turn);
            }
            let others: Vec<_> = tried.into_iter().filter(|one| *one != own).collect();
            *self = Self {
                policies: std::iter::once(own).chain(others).collect(),
                ..Self::default()
            };
        }
        let settings = ExperimentSettings {
            threshold: plan.threshold,
            patience: plan.patience,
            lasts: plan.lasts,
            gain: plan.gain,
            rest: plan.rest,
            most: plan.most,
        };
        let count = self.policies.len();
        let decision = (self.experiments).learn(score, self.runs, count, &settings)?;
        let named = |at: usize| self.policies.get(at).cloned();
        let now = named(self.runs)?;
        match decision {
            Decision::Try(next) => {
                let turn = Turn::Try(named(next)?, now);
                self.from = Some(self.runs);
                self.runs = next;
                Some(turn)
            }
            Decision::Keep(before, after) => {
                self.from = None;
                Some(Turn::Keep(now, before, after))
            }
            Decision::Back(to) => {
                let turn = Turn::Back(named(to)?, now);
                self.from = None;
                self.runs = to;
                Some(turn)
            }
        }
    }

    /// Ends a trial that runs before its time.
    pub(super) fn end(&mut self) -> Option<Turn> {
        let from = self.from.take()?;
        let named = |at: usize| self.policies.get(at).cloned();
        let turn = Turn::Back(named(from)?, named(self.runs)?);
        self.runs = from;
        self.experiments.reset();
        Some(turn)
    }
}

impl Adjusted {
    /// Whether another policy is tried, by how well the service did under the one that runs.
    pub(super) fn judge(
        &mut self,
        service: &LiveService,
        plan: &AdjustPlan,
        each: &[Interval],
    ) -> Option<News> {
        if plan.policy.is_none() && self.trial.is_none() {
            return None;
        }
        let mut all = Interval::default();
        for one in each {
            all.requests = all.requests.saturating_add(one.requests);
            all.errors = all.errors.saturating_add(one.errors);
            all.latencies.merge(&one.latencies);
        }
        let monitoring = service.plan.monitoring.as_ref();
        let limits = monitoring.into_iter().flat_map(|plan| &plan.thresholds);
        let mut limits = limits.filter(|one| one.metric == Metric::ResponseTime);
        let target = limits.next().map(|one| one.limit);
        let seen = Summary {
            requests: u64::from(all.requests),
            errors: u64::from(all.errors.min(all.requests)),
            p95: all.latencies.quantile(0.95),
            ..Summary::default()
        };
        let enough = seen.requests >= FEWEST_JUDGED;
        let score = score(&seen, target).filter(|_| enough);
        let trial = self.trial.get_or_insert_default();
        let turn = trial.judge(plan.policy.as_ref(), &service.plan.settings.policy, score);
        if plan.policy.is_none() {
            self.trial = None;
        }
        turn.map(|turn| News::Trial(service.plan.name.clone(), turn))
    }
}

/// Those that may be tried have no parameters, so that their word is all of them.
fn name(policy: &PolicyChoice) -> PolicyName {
    policy.name().into()
}
