//! Owns weights that follow what backends do: a controller for each service that has `adjust`, stepped once an interval by the one writer.
//!
//! What it makes of a backend is a factor of the core's, beside the weight: what operators write, slow start, drains and reloads stay what
//! they are. Nothing is counted for it: an interval is what the counters that are there rose by. A service without `adjust` takes nothing.
//! Read next: `evenkeel_watch::controller`, which decides.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_balance::backend::BackendId;
use evenkeel_balance::settings::PolicyChoice;
use evenkeel_balance::snapshot::BackendSnapshot;
use evenkeel_balance::standing::Standing;
use evenkeel_balance::time::Instant;
use evenkeel_config::plan::{AdjustPlan, ServicePlan};
use evenkeel_proxy::clock::Clock;
use evenkeel_proxy::live::{Live, LiveService};
use evenkeel_watch::bytes::Unreadable;
pub use evenkeel_watch::controller::{Adjustment, Effect, Frozen, Why};
use evenkeel_watch::controller::{Controller, ControllerSettings, Report, Seen};
use evenkeel_watch::interval::Interval;
use evenkeel_watch::time::Moment;

use crate::command::Refused;
use crate::control::find;
use crate::monitor::tap::Tap;
use crate::monitor::today;
use trial::Trial;

/// What is told of it.
mod asked;

/// Other policies, tried.
mod trial;

/// The words of it.
mod words;

pub use asked::{AdjustedPart, AdjustingPart};
pub use trial::{PolicyName, Turn};
pub(crate) use words::{detail, effect, told, untried};
pub use words::{frozen_word, value, word};

/// Steps of a service that are remembered.
pub const STEPS: usize = 32;

/// Adjustments of one step that are remembered, and told as events; what is beyond is counted.
pub const EACH_STEP: usize = 64;

/// Backends that are adjusted at most, of all services together: a model and an interval are some 700 bytes, so that all take 7 MiB. The
/// services that come later are not adjusted, and say so.
pub const MOST_ADJUSTED: usize = 10_000;

/// An interval of a service that moved something, or what would have been.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number among those of the service, the first 1.
    pub number: u64,
    /// When.
    pub at: Moment,
    /// What was moved, the first [`EACH_STEP`].
    pub adjustments: Vec<Adjustment>,
    /// How many more.
    pub more: usize,
    /// What it did to those who got more. None: that is not known yet, or nothing was done.
    pub effect: Option<Effect>,
}

/// What came of a step, to be told.
#[derive(Clone, Debug)]
pub enum News {
    /// A weight was moved.
    Adjusted(Arc<str>, Adjustment),
    /// More were than are told one by one.
    More(Arc<str>, usize),
    /// What the step before did, which stays or was undone.
    Judged(Arc<str>, Box<Effect>),
    /// Another policy is tried, or what became of that: the control plane does it.
    Trial(Arc<str>, Turn),
}

/// The controller of one service, and what it goes by.
#[derive(Debug)]
struct Adjusted {
    controller: Controller,
    taps: BTreeMap<String, Tap>,
    /// When the interval began.
    began: Instant,
    due: Instant,
    /// One step was made ahead of its time, which was this: no other is until then.
    ahead: Option<Instant>,
    acts: bool,
    frozen: Option<Frozen>,
    /// Made where other policies are tried.
    trial: Option<Box<Trial>>,
    steps: VecDeque<Step>,
    number: u64,
    counts: AdjustCounts,
}

/// What adjusting a service came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdjustCounts {
    /// Weights that were moved, those back by an undone step among them.
    pub moved: u64,
    /// Steps that stayed.
    pub kept: u64,
    /// Steps that were undone.
    pub undone: u64,
}

#[derive(Debug, Default)]
struct State {
    services: BTreeMap<Arc<str>, Box<Adjusted>>,
    /// What a process before learned, until its service begins.
    learned: BTreeMap<Arc<str>, Controller>,
    /// Backends of all of them, at the last tick.
    taken: usize,
}

/// The controllers of all services. Written by the one writer, read by whoever asks.
#[derive(Debug, Default)]
pub struct Adjuster(Mutex<State>);

/// Whether weights are moved under this policy: one that looks at latency does the same, faster. Keys stay where they are.
#[must_use]
pub const fn acts(policy: &PolicyChoice) -> bool {
    !policy.heeds_latency() && !policy.is_keyed()
}

/// Whether its weights follow what its backends do.
pub(crate) fn is_adjusted(plan: &ServicePlan) -> bool {
    plan.adjust.is_some() && acts(&plan.settings.policy)
}

fn settings(plan: &AdjustPlan, acts: bool) -> ControllerSettings {
    ControllerSettings {
        interval_ms: u64::try_from(plan.interval.as_millis()).unwrap_or(u64::MAX),
        performance_threshold: plan.performance_threshold,
        health_threshold: plan.health_threshold,
        learning: plan.learning,
        acts,
        ..ControllerSettings::default()
    }
}

impl Adjuster {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps those whose interval is over. Cost: services; of one that steps, its backends.
    pub(crate) fn tick(&self, live: &Live, clock: Clock) -> Vec<News> {
        self.turn(live, clock.now(), today)
    }

    fn turn(&self, live: &Live, now: Instant, at: impl Fn() -> Moment) -> Vec<News> {
        let mut state = self.state();
        let mut news = state.let_go(live, now);
        for service in &live.services {
            let Some(plan) = &service.plan.adjust else {
                continue;
            };
            let Some(one) = state.adjusted(service, plan, now) else {
                continue;
            };
            one.follow(service, now);
            if now >= one.due {
                news.extend(one.step(service, plan, now, at()));
                one.due = now + plan.interval;
            }
        }
        // Of services that are not there, or not adjusted: nobody asks for it later.
        state.learned.clear();
        news
    }

    /// Steps one now, once ahead of its time: the step that was due takes place all the same, so that of any intervals in a row at most one
    /// has two.
    ///
    /// # Errors
    /// There is no such service, it is not adjusted, or it has stepped ahead already.
    pub(crate) fn step(
        &self,
        live: &Live,
        name: &str,
        clock: Clock,
    ) -> Result<(u64, Vec<News>), Refused> {
        self.step_at(live, name, clock.now(), today())
    }

    fn step_at(
        &self,
        live: &Live,
        name: &str,
        now: Instant,
        at: Moment,
    ) -> Result<(u64, Vec<News>), Refused> {
        let service = find(live, name)?;
        let not = |why: &str| Refused::NotOfThese(format!("service `{name}` {why}"));
        let plan = (service.plan.adjust.as_ref()).ok_or_else(|| not("has no `adjust`"))?;
        let mut state = self.state();
        let one = state
            .adjusted(service, plan, now)
            .ok_or_else(|| not("is not adjusted: too many backends are already"))?;
        one.follow(service, now);
        if let Some(due) = one.ahead.filter(|due| now < *due) {
            return Err(Refused::TooSoon(due.since(now)));
        }
        let news = one.step(service, plan, now, at);
        one.ahead = Some(one.due.max(now));
        let told = news.iter().map(|one| match one {
            News::Adjusted(..) => 1,
            News::More(_, more) => *more as u64,
            News::Judged(..) | News::Trial(..) => 0,
        });
        Ok((told.sum(), news))
    }

    /// Ends trials that run, before their time: whoever serves next is to begin with what an operator chose.
    pub(crate) fn end_trials(&self) -> Vec<News> {
        let mut state = self.state();
        let each = state.services.iter_mut();
        each.filter_map(|(name, one)| {
            let turn = one.trial.as_mut()?.end()?;
            Some(News::Trial(name.clone(), turn))
        })
        .collect()
    }

    /// What was learned of each service, for who keeps it over a restart: some 100 bytes a backend.
    #[must_use]
    pub fn bytes(&self) -> Vec<(Arc<str>, Vec<u8>)> {
        let state = self.state();
        let each = state.services.iter();
        each.map(|(name, one)| (name.clone(), one.controller.to_bytes()))
            .collect()
    }

    /// Takes in what [`bytes`](Self::bytes) gave, before the first tick. Factors hold at once from there on, as far as the configuration
    /// still has the service and the backend.
    ///
    /// # Errors
    /// What is wrong with them; then nothing was taken.
    pub fn take_over(&self, service: &str, bytes: &[u8]) -> Result<(), Unreadable> {
        let controller = Controller::from_bytes(bytes)?;
        self.state().learned.insert(service.into(), controller);
        Ok(())
    }
}

impl State {
    /// Those that are adjusted no more, or for which there is no room any more, have the weights that are configured.
    fn let_go(&mut self, live: &Live, now: Instant) -> Vec<News> {
        let (mut taken, mut news) = (0, Vec::new());
        self.services.retain(|name, one| {
            let Some(service) = live.service(name) else {
                return false;
            };
            let takes = one.taps.len().max(service.state.members());
            let stays = service.plan.adjust.is_some() && taken + takes <= MOST_ADJUSTED;
            if stays {
                taken += takes;
            } else {
                one.controller.reset();
                one.apply(service, now);
                let turn = one.trial.as_mut().and_then(|trial| trial.end());
                news.extend(turn.map(|turn| News::Trial(name.clone(), turn)));
            }
            stays
        });
        self.taken = taken;
        news
    }

    /// The one of this service, which begins with this if there was none. None: there is no room for it.
    fn adjusted(
        &mut self,
        service: &LiveService,
        plan: &AdjustPlan,
        now: Instant,
    ) -> Option<&mut Adjusted> {
        let name = &service.plan.name;
        if !self.services.contains_key(name) {
            let taken = self.taken + service.state.members();
            if taken > MOST_ADJUSTED {
                return None;
            }
            self.taken = taken;
            let controller = self.learned.remove(name).unwrap_or_default();
            let begun = Adjusted::begin(controller, service, plan, now);
            self.services.insert(name.clone(), Box::new(begun));
        }
        self.services.get_mut(name).map(|one| &mut **one)
    }
}

impl Adjusted {
    fn begin(
        controller: Controller,
        service: &LiveService,
        plan: &AdjustPlan,
        now: Instant,
    ) -> Self {
        let mut begun = Self {
            controller,
            taps: BTreeMap::new(),
            began: now,
            due: now + plan.interval,
            ahead: None,
            acts: acts(&service.plan.settings.policy),
            frozen: None,
            trial: None,
            steps: VecDeque::new(),
            number: 0,
            counts: AdjustCounts::default(),
        };
        if !begun.acts {
            begun.controller.reset();
        }
        begun.apply(service, now);
        // What ended before is no part of the first interval.
        begun.seen(service, now);
        begun
    }

    /// Another policy may look at latency itself, or may not any more.
    fn follow(&mut self, service: &LiveService, now: Instant) {
        let acts = acts(&service.plan.settings.policy);
        if std::mem::replace(&mut self.acts, acts) && !acts {
            self.controller.reset();
            self.apply(service, now);
        }
    }

    /// What ended on each backend since the last time.
    fn seen(
        &mut self,
        service: &LiveService,
        now: Instant,
    ) -> (Vec<BackendSnapshot>, Vec<Interval>) {
        let state = &service.state;
        let millis = u32::try_from(now.since(self.began).as_millis()).unwrap_or(u32::MAX);
        self.began = now;
        let backends = state.service.snapshot(now).backends;
        let mut old = std::mem::take(&mut self.taps);
        let mut each = Vec::with_capacity(backends.len());
        for one in &backends {
            let id = one.id.as_str();
            let mut tap = old.remove(id).unwrap_or_default();
            each.push(tap.backend(state, one, millis));
            self.taps.insert(id.to_owned(), tap);
        }
        (backends, each)
    }

    fn step(
        &mut self,
        service: &LiveService,
        plan: &AdjustPlan,
        now: Instant,
        at: Moment,
    ) -> Vec<News> {
        let (backends, each) = self.seen(service, now);
        for one in &backends {
            let id = one.id.as_str();
            if self.given(id).to_bits() != one.factor.to_bits() {
                // It left and came back meanwhile: it is somebody else.
                self.controller.forget(id);
            }
        }
        let seen: Vec<_> = backends.iter().zip(&each).map(as_seen).collect();
        let report = (self.controller).step(&seen, &settings(plan, self.acts));
        self.apply(service, now);
        let mut news = self.remember(report, at, &service.plan.name);
        news.extend(self.judge(service, plan, &each));
        news
    }

    /// The factor that the core has by this.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a factor of 24 bits is as good"
    )]
    fn given(&self, id: &str) -> f32 {
        self.controller.factor(id) as f32
    }

    /// Has the core's members as the controller has them; who is unknown to it has what is configured.
    fn apply(&self, service: &LiveService, now: Instant) {
        let core = &service.state.service;
        let of = |(id, _): (&str, _)| (BackendId::from(id), self.given(id));
        let factors: Vec<_> = self.controller.models().map(of).collect();
        core.adjust(&factors, now);
    }

    fn remember(&mut self, report: Report, at: Moment, name: &Arc<str>) -> Vec<News> {
        let mut news = Vec::new();
        self.frozen = report.frozen;
        if let Some(effect) = report.effect {
            match effect.kept {
                true => self.counts.kept += 1,
                false => self.counts.undone += 1,
            }
            let done = |step: &&mut Step| step.adjustments.iter().any(|one| one.applied);
            if let Some(step) = self.steps.iter_mut().rev().find(done) {
                step.effect = Some(effect.clone());
            }
            news.push(News::Judged(name.clone(), Box::new(effect)));
        }
        let mut adjustments = report.adjustments;
        if adjustments.is_empty() {
            return news;
        }
        let more = adjustments.len().saturating_sub(EACH_STEP);
        if adjustments[0].applied {
            self.counts.moved += adjustments.len() as u64;
            let told = adjustments.iter().take(EACH_STEP).cloned();
            news.extend(told.map(|one| News::Adjusted(name.clone(), one)));
            if more > 0 {
                news.push(News::More(name.clone(), more));
            }
        }
        adjustments.truncate(EACH_STEP);
        self.number += 1;
        if self.steps.len() == STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(Step {
            number: self.number,
            at,
            adjustments,
            more,
            effect: None,
        });
        news
    }
}

/// Whoever warms up, or is out, is not compared with those that serve.
fn as_seen<'a>((core, ended): (&'a BackendSnapshot, &'a Interval)) -> Seen<'a> {
    Seen {
        id: core.id.as_str(),
        weight: f64::from(core.spec.weight.get()),
        serving: core.standing == Standing::Serving && core.ramp >= 1.0,
        requests: u64::from(ended.requests),
        errors: u64::from(ended.errors),
        latencies: &ended.latencies,
    }
}

#[cfg(test)]
mod tests;
