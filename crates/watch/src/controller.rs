//! Owns how weights are adjusted: a slow controller above a policy that does not look at latency.
//!
//! Each interval, a backend that is slower or fails more than its peers loses weight, one that is faster gains, by at most 10 % and
//! within a quarter and twice what is configured. A step is judged by what happened to those who got more for it, and undone where they
//! became worse. Nothing moves where little is known or everything is bad: a controller that acts on trouble it does not understand
//! makes it worse. What is learned of each backend (`model`) says how boldly it may be moved.

mod form;
mod judge;
mod measured;
mod model;

use std::collections::BTreeMap;

use crate::latencies::Latencies;
use crate::number::median;
use judge::Before;
pub use judge::Effect;
use measured::{Measured, middle, trusted};
pub use model::Model;

/// No weight falls below this part of what is configured.
pub const LEAST_FACTOR: f64 = 0.25;
/// Nor rises above this many times of it.
pub const MOST_FACTOR: f64 = 2.0;
/// How many backends of one service are adjusted; of more, none.
pub const MOST_BACKENDS: usize = 10_000;

/// What a step leaves of a weight at least.
const DOWN: f64 = 0.9;
/// What it makes of it at most.
const UP: f64 = 1.1;
/// The same for one that lost its share by failing: it regains it slowly.
const REGAIN: f64 = 1.05;
/// Where even the better half fails more, no weight helps.
const EVERYTHING_BAD: f64 = 0.05;
/// It stops where no more than this (of a logarithm, 4 %) is left.
const NEAR: f64 = 0.04;

/// How it adjusts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControllerSettings {
    /// How often, in milliseconds.
    pub interval_ms: u64,
    /// A backend whose peers take less than this part of its time is slow; as much faster is fast.
    pub performance_threshold: f64,
    /// A backend of whose requests a smaller share succeeds, and a smaller one than its peers', is at the least.
    pub health_threshold: f64,
    /// What serving backends have together never falls below this part of what is configured.
    pub capacity_floor: f64,
    /// Does what was learned of a backend say how boldly it is moved.
    pub learning: bool,
    /// Does it act. Else it says what it would do: the policy looks at latency itself.
    pub acts: bool,
}

impl Default for ControllerSettings {
    /// A minute, as most answers of a step have come by then; the thresholds of the specification that asked for it.
    fn default() -> Self {
        Self {
            interval_ms: 60_000,
            performance_threshold: 0.8,
            health_threshold: 0.9,
            capacity_floor: 0.6,
            learning: true,
            acts: true,
        }
    }
}

/// A backend over the last interval.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Who.
    pub id: &'a str,
    /// Its configured weight.
    pub weight: f64,
    /// May it be picked.
    pub serving: bool,
    /// What ended.
    pub requests: u64,
    /// How many of them failed.
    pub errors: u64,
    /// How long those took that succeeded.
    pub latencies: &'a Latencies,
}

/// Why a weight was moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// It takes so many times as long as its peers.
    Slower(f64),
    /// It takes such a part of their time.
    Faster(f64),
    /// Such a share more of its requests fails than of theirs.
    FailsMore(f64),
    /// It is as its peers are again.
    Recovers,
    /// The last step made those worse who got more for it.
    Undone,
}

/// A weight that was moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjustment {
    /// Whose.
    pub backend: String,
    /// The part of the configured weight that it had.
    pub old: f64,
    /// And has.
    pub new: f64,
    /// Why.
    pub why: Why,
    /// It was done; else it would have been.
    pub applied: bool,
}

/// Why nothing was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// Of fewer than two backends enough is known.
    Thin,
    /// Even the better half of them fails.
    EverythingBad,
    /// Members came or went: what follows of that comes first.
    Membership,
    /// A step was undone lately.
    Undone,
    /// More would leave too little capacity.
    CapacityFloor,
    /// There are more backends than are adjusted.
    TooMany,
}

/// What an interval came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What was moved.
    pub adjustments: Vec<Adjustment>,
    /// Why not, or not more.
    pub frozen: Option<Frozen>,
    /// What the step before did.
    pub effect: Option<Effect>,
}

/// What has been learned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Learning {
    /// Requests that it was learned from.
    pub samples: u64,
    /// Steps that were judged: the version of the models.
    pub version: u64,
    /// By how much the mean latency of those who got more fell over all steps, as a part of it; below nought it rose.
    pub improvement: f64,
    /// How far the models can be relied on, 0 to 1.
    pub confidence: f64,
}

/// The controller of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Controller {
    models: BTreeMap<String, Model>,
    before: Option<Before>,
    hold: u32,
    undone: u32,
    judged: u64,
    gained: f64,
}

/// What is wanted of one.
#[derive(Clone, Copy, Debug)]
struct Wish<'a> {
    seen: Seen<'a>,
    old: f64,
    new: f64,
    gap: f64,
    why: Why,
}

impl Controller {
    /// The part of its configured weight that a backend is to have.
    #[must_use]
    pub fn factor(&self, id: &str) -> f64 {
        self.models.get(id).map_or(1.0, |model| model.factor)
    }

    /// What is known of a backend.
    #[must_use]
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.models.get(id)
    }

    /// What is known of each backend.
    pub fn models(&self) -> impl Iterator<Item = (&str, &Model)> {
        self.models.iter().map(|(id, model)| (id.as_str(), model))
    }

    /// What has been learned.
    #[must_use]
    pub fn learning(&self) -> Learning {
        let samples = self
            .models
            .values()
            .map(|model| model.samples)
            .fold(0, u64::saturating_add);
        let confidence = median(
            &mut self
                .models
                .values()
                .map(Model::confidence)
                .collect::<Vec<_>>(),
        )
        .unwrap_or(0.0);
        Learning {
            samples,
            version: self.judged,
            improvement: 1.0 - self.gained.exp(),
            confidence,
        }
    }

    /// Somebody else is meant by this identity now: nothing is known of who was.
    pub fn forget(&mut self, id: &str) {
        self.models.remove(id);
    }

    /// All weights are as configured again, and nothing is to be judged; what was learned stays.
    pub fn reset(&mut self) {
        self.before = None;
        for model in self.models.values_mut() {
            model.release();
        }
    }

    /// Takes in an interval, when it is over, and moves weights. Cost: backends, 80 counters each.
    pub fn step(&mut self, seen: &[Seen<'_>], settings: &ControllerSettings) -> Report {
        let frozen = |why| Report {
            frozen: Some(why),
            ..Report::default()
        };
        if seen.len() > MOST_BACKENDS {
            return frozen(Frozen::TooMany);
        }
        if self.members(seen) {
            self.before = None;
            return frozen(Frozen::Membership);
        }
        let measured: Vec<Measured<'_>> = seen.iter().filter_map(Measured::of).collect();
        self.learn(&measured);
        let effect = self.before.take().map(|before| before.judge(seen));
        if let Some(effect) = &effect {
            self.judged += 1;
            self.gained = (self.gained + effect.change()).clamp(-50.0, 50.0);
        }
        if let Some(effect) = effect.clone().filter(|effect| !effect.kept) {
            return self.undo(effect);
        }
        let why = self.why_frozen(&measured);
        if why.is_some() {
            return Report {
                frozen: why,
                effect,
                ..Report::default()
            };
        }
        let wishes = self.wishes(&measured, settings);
        let (granted, frozen) = self.within_capacity(wishes, seen, settings);
        let adjustments = self.apply(&granted, seen, settings);
        Report {
            adjustments,
            frozen,
            effect,
        }
    }

    /// Makes the models those of the members; did they change.
    fn members(&mut self, seen: &[Seen<'_>]) -> bool {
        let before = self.models.len();
        let mut old = std::mem::take(&mut self.models);
        let mut known = 0;
        for one in seen {
            let model = old.remove(one.id);
            known += usize::from(model.is_some());
            self.models
                .insert(one.id.to_owned(), model.unwrap_or_default());
        }
        before != known || before != self.models.len()
    }

    fn learn(&mut self, measured: &[Measured<'_>]) {
        let Some(middle) = middle(measured) else {
            return;
        };
        for one in measured {
            if let (Some(logs), Some(model)) = (one.logs, self.models.get_mut(one.seen.id)) {
                model.learn(one.seen.requests, logs.mean - middle);
            }
        }
    }

    fn why_frozen(&mut self, measured: &[Measured<'_>]) -> Option<Frozen> {
        if measured.len() < 2 {
            return Some(Frozen::Thin);
        }
        let mut failed: Vec<f64> = measured.iter().map(|one| one.failed).collect();
        failed.sort_unstable_by(f64::total_cmp);
        if failed[(failed.len() - 1) / 2] > EVERYTHING_BAD {
            return Some(Frozen::EverythingBad);
        }
        if self.hold > 0 {
            self.hold -= 1;
            return Some(Frozen::Undone);
        }
        None
    }

    /// Where each should go, by one step.
    fn wishes<'a>(
        &mut self,
        measured: &[Measured<'a>],
        settings: &ControllerSettings,
    ) -> Vec<Wish<'a>> {
        let Some(middle) = middle(measured) else {
            return Vec::new();
        };
        let totals = measured.iter().fold((0, 0), |(all, failed), one| {
            (all + one.seen.requests, failed + one.seen.errors)
        });
        let mut wishes = Vec::new();
        for one in measured {
            let Some(model) = self.models.get_mut(one.seen.id) else {
                continue;
            };
            let off = one.logs.map_or(0.0, |logs| logs.mean - middle);
            let chance = one
                .logs
                .map_or(0.0, |logs| (2.0 * logs.variance / logs.count).sqrt());
            let excess = one.excess(totals);
            let trusted = trusted(one, excess, settings);
            // To answer fast is no merit of one that fails.
            let off = if trusted < 1.0 { off.max(0.0) } else { off };
            let wanted = (trusted.ln() - off).clamp(LEAST_FACTOR.ln(), MOST_FACTOR.ln());
            let gap = wanted - model.factor.ln();
            // To return to what is configured takes half the reason that leaving it takes.
            let returns = gap * model.factor.ln() < 0.0;
            let matters = -settings.performance_threshold.clamp(0.1, 0.99).ln()
                / if returns { 2.0 } else { 1.0 };
            let start = matters.max(3.0 * chance);
            let is_far = gap.abs()
                > if model.moving {
                    NEAR.max(chance)
                } else {
                    start
                }
                || (trusted < 1.0 && gap < -NEAR);
            model.moving = is_far;
            model.failing = trusted < 1.0 || (model.failing && model.factor < 1.0 - NEAR);
            if !is_far {
                continue;
            }
            let up = if model.failing { REGAIN } else { UP };
            let by = (model.gain(settings.learning) * gap).exp().clamp(DOWN, up);
            let new = (model.factor * by).clamp(LEAST_FACTOR, MOST_FACTOR);
            let why = match gap {
                _ if trusted < 1.0 => Why::FailsMore(excess),
                gap if gap > 0.0 && model.factor < 1.0 => Why::Recovers,
                gap if gap > 0.0 => Why::Faster(off.exp()),
                _ => Why::Slower(off.exp()),
            };
            if new.to_bits() != model.factor.to_bits() {
                wishes.push(Wish {
                    seen: one.seen,
                    old: model.factor,
                    new,
                    gap,
                    why,
                });
            }
        }
        wishes
    }

    /// Those that leave what serves enough, the most needed first.
    fn within_capacity<'a>(
        &self,
        mut wishes: Vec<Wish<'a>>,
        seen: &[Seen<'_>],
        settings: &ControllerSettings,
    ) -> (Vec<Wish<'a>>, Option<Frozen>) {
        let serving = seen.iter().filter(|one| one.serving);
        let (all, mut now) = serving.fold((0.0, 0.0), |(all, now), one| {
            (all + one.weight, now + one.weight * self.factor(one.id))
        });
        let floor = settings.capacity_floor.clamp(0.0, 1.0) * all;
        wishes.sort_by(|left, right| {
            (right.new > right.old)
                .cmp(&(left.new > left.old))
                .then(left.gap.total_cmp(&right.gap))
        });
        let mut frozen = None;
        wishes.retain(|wish| {
            let after = now + wish.seen.weight * (wish.new - wish.old);
            let is_granted = wish.new > wish.old || after >= floor;
            if is_granted {
                now = after;
            } else {
                frozen = Some(Frozen::CapacityFloor);
            }
            is_granted
        });
        (wishes, frozen)
    }

    fn apply(
        &mut self,
        granted: &[Wish<'_>],
        seen: &[Seen<'_>],
        settings: &ControllerSettings,
    ) -> Vec<Adjustment> {
        let adjustment = |wish: &Wish<'_>| Adjustment {
            backend: wish.seen.id.to_owned(),
            old: wish.old,
            new: wish.new,
            why: wish.why,
            applied: settings.acts,
        };
        if settings.acts && !granted.is_empty() {
            let old: BTreeMap<String, f64> = self
                .models
                .iter()
                .map(|(id, model)| (id.clone(), model.factor))
                .collect();
            for wish in granted {
                if let Some(model) = self.models.get_mut(wish.seen.id) {
                    model.factor = wish.new;
                }
            }
            self.before = Some(Before::new(old, seen, |id| self.factor(id)));
            self.undone = self
                .undone
                .saturating_sub(u32::from(self.judged.is_multiple_of(8)));
        }
        granted.iter().map(adjustment).collect()
    }

    fn undo(&mut self, effect: Effect) -> Report {
        self.undone = (self.undone + 1).min(4);
        self.hold = 1 << self.undone;
        let mut adjustments = Vec::new();
        for (id, old) in effect.old_factors() {
            if let Some(model) = self
                .models
                .get_mut(id)
                .filter(|model| model.factor.to_bits() != old.to_bits())
            {
                adjustments.push(Adjustment {
                    backend: id.to_owned(),
                    old: model.factor,
                    new: old,
                    why: Why::Undone,
                    applied: true,
                });
                model.factor = old;
            }
        }
        Report {
            adjustments,
            frozen: Some(Frozen::Undone),
            effect: Some(effect),
        }
    }
}

#[cfg(test)]
mod tests;
