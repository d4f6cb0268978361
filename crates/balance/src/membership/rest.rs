//! Owns when a tick has nothing to walk: a service without traffic, whose members have become all that time alone makes of them.
//!
//! ```text
//! awake --a tick finds nobody on the way to anything--> dozing --the next one finds the same, undisturbed--> at rest
//! any change by the writer, a failed check, anything that a pick records --> awake
//! ```
//! A tick costs a look at each member otherwise, ten times a second: of 10,000 that is most of what an idle process does, and of 1,000
//! services the same. Next: `tick`, which asks here; `Flags::RESTS`, by which picks say that something was recorded.

use std::time::Duration;

use super::{Entry, Ledger};
use crate::backend::Admin;
use crate::breaker::Gate;
use crate::facts::Flags;
use crate::settings::{BreakerSettings, PolicyChoice};

/// How far a service is on its way to rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rest {
    /// A tick walks its members.
    #[default]
    Awake,
    /// A tick found nothing to come, and asked picks to say when something does. What was recorded while it looked, by a pick that was
    /// not asked yet, the next one finds.
    Dozing,
    /// A tick has nothing to walk.
    Resting,
}

impl Ledger {
    /// Something changes that ticks are to follow.
    pub(crate) fn wake(&mut self) {
        self.rest = Rest::Awake;
        self.news_of_any();
    }

    /// It does of this member.
    pub(super) fn wake_for(&mut self, at: usize) {
        self.rest = Rest::Awake;
        self.news_of(at);
    }

    /// Whether a tick may leave its members alone.
    pub(super) fn rests(&self) -> bool {
        self.rest == Rest::Resting && self.facts.flags.has(Flags::RESTS)
    }

    /// What a tick does where nothing happens: what retries may cost is earned by time, too.
    pub(super) fn tick_at_rest(&mut self, elapsed: Duration) {
        let budget = &self.settings.retry.budget;
        self.facts.budget.refill(0, elapsed, budget);
        if !self.departed.is_empty() {
            self.forget();
        }
    }

    /// At the end of a tick that walked.
    pub(super) fn lie_down(&mut self) {
        let quiet = self.settings_rest() && {
            let breaker = self.settings.breaker;
            let mut members = self.members.iter();
            // The first that is on its way to something answers for all, so that this is cheap where there is traffic.
            members.all(|entry| entry.is_still(breaker.as_ref()))
        };
        // That it is asked for still says that nobody recorded anything since it was.
        let undisturbed = self.facts.flags.has(Flags::RESTS);
        self.rest = match (quiet, self.rest) {
            (false, _) => Rest::Awake,
            (true, Rest::Dozing | Rest::Resting) if undisturbed => Rest::Resting,
            (true, _) => Rest::Dozing,
        };
        if undisturbed != quiet {
            self.facts.flags.set(Flags::RESTS, quiet);
        }
    }

    /// Whether time alone changes nothing in the end: what such settings learn goes on without traffic.
    fn settings_rest(&self) -> bool {
        use PolicyChoice::{HealthBased, PeakEwma, WeightedByLoad};
        let learns = matches!(
            self.settings.policy,
            HealthBased | PeakEwma | WeightedByLoad
        );
        !learns && self.settings.adaptive_limit.is_none() && self.settings.hedge.is_none()
    }
}

impl Entry {
    /// Whether a tick finds the same of it until somebody records something or the writer changes something.
    fn is_still(&self, breaker: Option<&BreakerSettings>) -> bool {
        let draining = self.spec.admin == Admin::Draining && !self.drain_told;
        let moves = self.warming.is_some() || draining || self.health.expires();
        let judged = breaker.is_some_and(|settings| {
            self.breaker.gate() != Gate::Closed
                || !self.breaker.is_forgiven()
                || self.charges().trigger(settings).is_some()
        });
        !moves && self.window.is_blank() && self.backend.speed.is_forgiven() && !judged
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
