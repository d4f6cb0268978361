//! Owns the making of the table that pickers read, from what the writer knows.
//!
//! The only place where a member becomes a lane; who becomes one is `eligibility`'s to say.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::due::Due;
use super::{Entry, Ledger};
use crate::affinity;
use crate::backend::{Backend, BackendId};
use crate::eligibility::{self, Admission, admission};
use crate::facts::Flags;
use crate::limit::Limit;
use crate::policy::Prepared;
use crate::ramp::ramp;
use crate::settings::PolicyChoice;
use crate::standing::Standing;
use crate::sync::Arc;
use crate::table::{Lane, Member, Table};
use crate::time::Instant;

fn most(limit: Option<NonZeroU32>) -> u32 {
    limit.map_or(u32::MAX, NonZeroU32::get)
}

fn configured(entry: &Entry) -> u32 {
    most(entry.spec.max_in_flight)
}

/// A ramp in parts of 2^32.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ramp is 0.1 to 1, and what is too much saturates"
)]
fn parts(ramp: f32) -> u32 {
    (f64::from(ramp) * f64::from(u32::MAX)) as u32
}

impl Ledger {
    /// The table that pickers read from now on, by what was added up.
    pub(crate) fn table(&mut self, now: Instant, before: Option<&Table>) -> Table {
        self.due = Due::made(now);
        let has_lane = |at: &usize| self.admitted(&self.members[*at]).has_lane();
        let mut in_lanes: Vec<usize> = (0..self.members.len()).filter(has_lane).collect();
        let parted = self.is_parted();
        if parted {
            self.in_runs(&mut in_lanes);
        }
        let (lanes, beside, trials) = self.lanes(&in_lanes, now);
        let members = self.placed(&in_lanes, trials);
        // Of a table with parts, each of them has its own, but for the table of keys.
        let prepared = self.prepared(if parted { &[][..] } else { &lanes[..] }, before);
        let parts = match parted {
            true => Some(self.parts(&in_lanes, &lanes, &prepared, before, now)),
            false => {
                self.no_parts();
                None
            }
        };
        Table {
            limited: lanes.iter().any(|lane| lane.limit != u32::MAX),
            warming: lanes.iter().any(|lane| lane.warmth != u32::MAX),
            lanes,
            trials,
            beside,
            aside: match self.settings.policy.bound() {
                Some(_) => self.aside(),
                None => Box::default(),
            },
            identities: match self.settings.affinity {
                Some(_) => affinity::identities(&members, before),
                None => Arc::default(),
            },
            members,
            footing: self.footing,
            most: most(self.settings.max_in_flight),
            queue: self.settings.queue,
            parts,
            prepared,
            policy: self.policy.clone(),
        }
    }

    /// The lanes of these members, those beside them, and how many of these are on trial.
    fn lanes(&self, in_lanes: &[usize], now: Instant) -> (Box<[Lane]>, Box<[Lane]>, usize) {
        let warmth = |entry: &Entry| ramp(entry.warming, self.settings.slow_start, now);
        let share = |entry: &Entry| {
            f32::from(entry.spec.weight.get()) * warmth(entry).unwrap_or(1.0) * self.trusted(entry)
        };
        let serving = || in_lanes.iter().map(|&at| &self.members[at]);
        // Of its tier, where tiers stand apart: members of another are nobody whom a policy compares it with.
        let by_tier = self.is_parted();
        let tier_of = |entry: &Entry| if by_tier { entry.spec.tier } else { 0 };
        let mut means: BTreeMap<u16, (f32, f32)> = BTreeMap::new();
        for entry in serving() {
            let (count, shares) = means.entry(tier_of(entry)).or_default();
            *count += 1.0;
            *shares += share(entry);
        }
        let lane = |entry: &Entry, limit: u32| {
            let (count, shares) = means.get(&tier_of(entry)).copied().unwrap_or_default();
            let mean = shares / count.max(1.0);
            let share = share(entry);
            Lane {
                backend: entry.backend.clone(),
                share,
                per_share: mean / share,
                limit,
                warmth: warmth(entry).map_or(u32::MAX, parts),
            }
        };
        let adaptive = |entry: &Entry| entry.limit.as_ref().map_or(u32::MAX, Limit::in_use);
        let in_lane = |entry: &Entry| lane(entry, adaptive(entry).min(configured(entry)));
        let lanes = serving().map(in_lane).collect();
        // A trial is one of few already, and who is kept has been served there: what others made of its latency bars neither.
        let aside = |entry: &Entry| lane(entry, configured(entry));
        // Who fails open has its trials all the same.
        let on_trial = |entry: &&Entry| {
            let barred = matches!(self.admitted(entry), Admission::Barred(_));
            entry.standing == Standing::Probing && !barred
        };
        let on_trial = self.members.iter().filter(on_trial);
        let mut beside: Vec<Lane> = on_trial.map(aside).collect();
        let trials = beside.len();
        let kept = |entry: &&Entry| self.is_kept(entry);
        beside.extend(self.members.iter().filter(kept).map(aside));
        (lanes, beside.into(), trials)
    }

    pub(super) fn admitted(&self, entry: &Entry) -> Admission {
        let tier = entry.spec.tier;
        admission(entry.standing, entry.zero_weight(), tier, self.footing)
    }

    /// Whether only those who are kept there may have it.
    pub(super) fn is_kept(&self, entry: &Entry) -> bool {
        self.settings.affinity.is_some() && eligibility::keeps(entry.standing, self.admitted(entry))
    }

    /// Whose attempts are no part of what those with a lane share. Who is neither on trial nor kept gets no more of them, and is left out
    /// once it has none.
    fn aside(&self) -> Box<[Arc<Backend>]> {
        let gets = |entry: &Entry| entry.standing == Standing::Probing || self.is_kept(entry);
        let has = |entry: &Entry| entry.backend.in_flight() > 0;
        let out = self
            .members
            .iter()
            .filter(|entry| !self.admitted(entry).has_lane() && (gets(entry) || has(entry)));
        let out = out.map(|entry| entry.backend.clone());
        let left = self
            .departed
            .values()
            .filter_map(|backend| backend.upgrade());
        out.chain(left.filter(|backend| backend.in_flight() > 0))
            .collect()
    }

    /// Members with their places: these have lanes, so many are on trial, and those who keep their clients follow.
    fn placed(&self, in_lanes: &[usize], trials: usize) -> Box<[Member]> {
        let after = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut lanes = vec![u32::MAX; self.members.len()];
        for (lane, &at) in (0..).zip(in_lanes) {
            lanes[at] = lane;
        }
        let mut next_trial = after(in_lanes.len());
        let mut next_kept = after(in_lanes.len() + trials);
        let draining = self.settings.affinity.map(|keeps| keeps.draining);
        let by_zone = self.settings.zones.is_some();
        let members = self.members.iter().zip(lanes).map(|(entry, lane)| {
            let admission = self.admitted(entry);
            let next = match admission {
                Admission::Trial => Some(&mut next_trial),
                Admission::Barred(_) if self.is_kept(entry) => Some(&mut next_kept),
                Admission::Lane | Admission::Reserve | Admission::Barred(_) => None,
            };
            let lane = next.map_or(lane, |next| std::mem::replace(next, *next + 1));
            Member {
                backend: entry.backend.clone(),
                standing: entry.standing,
                admission,
                tier: entry.spec.tier,
                zone: entry.spec.zone.clone().filter(|_| by_zone),
                lane,
                load: self.weighs().then(|| entry.load.share()),
                configured: configured(entry),
                keeps_until: match (draining, entry.standing) {
                    (Some(draining), Standing::Draining) => entry.since + draining,
                    _ => Instant::from_nanos(u64::MAX),
                },
            }
        });
        members.collect()
    }

    /// The part of its share that the policy gives it, and whoever watches.
    pub(super) fn trusted(&self, entry: &Entry) -> f32 {
        let by_policy = match &self.settings.policy {
            PolicyChoice::HealthBased => entry.trust.part(),
            PolicyChoice::WeightedByLoad => entry.load.share().factor,
            // Keys stay where they are.
            keyed if keyed.is_keyed() => return 1.0,
            _ => 1.0,
        };
        by_policy * entry.factor
    }

    /// What picks and their ends heed of the settings without a look at them.
    pub(super) fn settings_to_facts(&mut self) {
        let breaker = self.settings.breaker;
        self.facts
            .set_slow(breaker.and_then(|breaker| breaker.slow));
        self.facts
            .set_prompt_at(breaker.map_or(0, |breaker| breaker.consecutive));
        self.facts
            .retry
            .store(Arc::new(self.settings.retry.clone()));
        self.facts.flags.set(Flags::BROKE, false);
        let policy = &self.settings.policy;
        if self.settings.max_in_flight.is_some() || policy.bound().is_some() {
            self.facts.flags.set(Flags::PLACES, true);
        }
        let peaks = matches!(policy, PolicyChoice::PeakEwma);
        self.facts.flags.set(Flags::PEAKS, peaks);
        let keeps = self.settings.affinity.is_some();
        self.facts.flags.set(Flags::KEEPS, keeps);
        let paces = self.settings.adaptive_limit.is_some();
        self.facts.flags.set(Flags::PACES, paces);
        if self.settings.histograms {
            self.facts.flags.set(Flags::HISTOGRAMS, true);
        }
        self.facts.flags.set(Flags::HEDGES, self.measures());
        self.facts.set_hooks(match policy {
            PolicyChoice::Custom(policy) => Some(policy.clone()),
            _ => None,
        });
        self.hedges_follow();
    }

    /// Keeps a table that was replaced until nobody reads it any more. A worker that let go of it last would free all of it between two
    /// picks: of 10,000 members that takes it longer than most exchanges.
    pub(crate) fn retire(&mut self, before: Arc<Table>) {
        self.retired.push(before);
    }

    /// Those that nobody reads any more, to be freed by the writer.
    pub(crate) fn unread(&mut self) -> Vec<Arc<Table>> {
        let alone = |table: &mut Arc<Table>| Arc::strong_count(table) == 1;
        self.retired.extract_if(.., alone).collect()
    }

    /// The policy with the tables that it makes of these lanes, and of the membership.
    fn prepared(&self, lanes: &[Lane], before: Option<&Table>) -> Prepared {
        let named = |entry: &Entry| (entry.spec.id.clone(), entry.spec.weight.get());
        let weights: Vec<(BackendId, u16)> = match self.settings.policy.is_keyed() {
            true => self.members.iter().map(named).collect(),
            false => Vec::new(),
        };
        Prepared::new(
            &self.settings.policy,
            lanes,
            &weights,
            before.map(|before| &before.prepared),
        )
    }
}
