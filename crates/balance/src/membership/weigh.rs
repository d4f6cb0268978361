//! Owns the weighing of members by what they report: once a second, within the tick, for the `weighted_by_load` policy.

use super::Ledger;
use crate::backend::BackendId;
use crate::eligibility::Admission;
use crate::load::{LoadReason, LoadReport, lower_median};
use crate::membership::MembershipError;
use crate::settings::PolicyChoice;
use crate::time::Instant;

impl Ledger {
    /// Where each backend's share is on its way: to what it can do, by its own word, beside the middle one of those that say.
    pub(super) fn weigh(&mut self, now: Instant) {
        if !self.weighs() || !self.scales.are_due(now) {
            return;
        }
        let settings = self.settings.load;
        for entry in &mut self.members {
            let window = entry.window.tally();
            let seen = (
                entry.window.per_second(),
                window.failure_ratio().unwrap_or_default(),
            );
            let said = entry.backend.cold.reported.read();
            entry.load.hear(said, seen, &settings, now);
        }
        let known = || {
            self.members
                .iter()
                .filter_map(|entry| entry.load.known().ok())
        };
        let mut capacities: Vec<f32> = known().collect();
        let middle = lower_median(&mut capacities).filter(|_| capacities.len() > 1);
        let most = settings.octaves();
        // Of whom nothing is known, it is taken to be as the others in the mean, each as far as it counts.
        let mean = middle.map(|middle| {
            let factor = |capacity: f32| (capacity / middle).log2().clamp(-most, most).exp2();
            #[expect(clippy::cast_precision_loss, reason = "a count of members")]
            let count = capacities.len() as f32;
            (capacities.iter().copied().map(factor).sum::<f32>() / count).log2()
        });
        let usual = self.usual_slowness();
        for entry in &mut self.members {
            let slower = entry.backend.learned().slowness / usual;
            let (target, reason) = match (entry.load.known(), middle, mean) {
                (Ok(capacity), Some(middle), _) => {
                    let claim = (capacity / middle).log2().max(-most);
                    entry.load.believed(claim, slower, &settings)
                }
                (Ok(_), None, _) => (0.0, LoadReason::Alone),
                (Err(reason), _, mean) => (mean.unwrap_or_default(), reason),
            };
            self.dirty |= entry.load.step(target, reason);
        }
    }

    pub(super) fn weighs(&self) -> bool {
        matches!(self.settings.policy, PolicyChoice::WeightedByLoad)
    }

    /// The middle slowness of those that serve.
    fn usual_slowness(&self) -> f32 {
        let serving = self
            .members
            .iter()
            .filter(|entry| self.admitted(entry) == Admission::Lane);
        let mut all: Vec<f32> = serving
            .map(|entry| entry.backend.learned().slowness)
            .collect();
        lower_median(&mut all).unwrap_or(1.0)
    }

    /// Takes a report in that somebody else has heard.
    pub(crate) fn report_load(
        &self,
        id: &BackendId,
        report: &LoadReport,
        now: Instant,
    ) -> Result<(), MembershipError> {
        let at = self.find(id)?;
        self.members[at].backend.report_load(report, now);
        Ok(())
    }
}
