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
        let usual = self.usual_slowness();
        let (mut sum, mut count) = (0.0_f32, 0.0_f32);
        for entry in &mut self.members {
            let Ok(capacity) = entry.load.known() else {
                continue;
            };
            let (target, reason) = match middle {
                Some(middle) => {
                    let slower = entry.backend.learned().slowness / usual;
                    let claim = (capacity / middle).log2().max(-most);
                    entry.load.believed(claim, slower, &settings)
                }
                None => (0.0, LoadReason::Alone),
            };
            sum += target.exp2();
            count += 1.0;
            self.dirty |= entry.load.step(target, reason);
        }
        // Of whom nothing is known, it is taken to be as the others in the mean: as far as they are believed, or one liar would send
        // its own excess to whoever is silent.
        let mean = match count > 0.0 {
            true => (sum / count).log2(),
            false => 0.0,
        };
        for entry in &mut self.members {
            if let Err(reason) = entry.load.known() {
                self.dirty |= entry.load.step(mean, reason);
            }
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
