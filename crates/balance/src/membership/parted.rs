//! Owns what tiers and zones are taken to carry, and the making of a table's parts from that.
//!
//! Counted when a table is made, from standing, weight and slow start: no pick divides. What counts as healthy, and of what:
//!
//! | member | healthy | of |
//! |---|---|---|
//! | serves | weight x ramp | weight |
//! | is unproven | nothing, nor is it missed; where nobody is proven, its weight | its weight then |
//! | down, ejected, half-open, draining, disabled | nothing | weight |
//! | joined beside others, and was not out since | weight x ramp | weight x ramp |
//!
//! So who joins takes nothing away from a tier that serves, and who returns takes up again what others took for it, as it warms up.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc as StdArc;

use super::{Entry, Ledger};
use crate::eligibility::{Admission, Rung};
use crate::facts::{Flags, OwnLine};
use crate::parts::{COUNTED, Part, Parts, Tier, ZonePart, Zones};
use crate::policy::Prepared;
use crate::ramp::ramp;
use crate::settings::ZoneSettings;
use crate::shares::{self, Capacity};
use crate::snapshot::TierSnapshot;
use crate::standing::Standing;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::table::{Lane, Table};
use crate::time::Instant;
use crate::zone::{Zone, ZoneId};

/// How exchanges are shared, as the last table has it.
#[derive(Default)]
pub(super) struct Sharing {
    /// Of each tier that has members of some weight, its share.
    tiers: Vec<(u16, f64)>,
    /// Picks of the tiers that are counted, from when they were first seen.
    picked: BTreeMap<u16, StdArc<OwnLine<AtomicU64>>>,
    /// By what the weights of members of each tier are multiplied, where there are several.
    scales: BTreeMap<u16, f64>,
    /// The published table has parts.
    parted: bool,
}

impl Sharing {
    /// The share of a tier.
    pub(super) fn of(&self, tier: u16) -> f64 {
        let found = self.tiers.iter().find(|(one, _)| *one == tier);
        found.map_or(0.0, |(_, share)| *share)
    }
}

fn zone_of(entry: &Entry) -> Option<ZoneId> {
    entry.spec.zone.as_ref().map(Zone::id)
}

impl Ledger {
    /// What one member counts for.
    fn capacity(&self, entry: &Entry, now: Instant) -> Capacity {
        let weight = f64::from(entry.spec.weight.get());
        let whole = match entry.standing {
            Standing::Serving => {
                let warm = ramp(entry.warming, self.settings.slow_start, now).unwrap_or(1.0);
                let healthy = weight * f64::from(warm);
                return Capacity {
                    healthy,
                    whole: if entry.new { healthy } else { weight },
                };
            }
            Standing::Unproven if self.footing.rung == Rung::Unproven => {
                return Capacity {
                    healthy: weight,
                    whole: weight,
                };
            }
            Standing::Unproven => 0.0,
            _ if entry.new => 0.0,
            _ => weight,
        };
        Capacity {
            healthy: 0.0,
            whole,
        }
    }

    /// What each tier has, and zone in it where `by_zone`.
    fn capacities(&self, by_zone: bool, now: Instant) -> BTreeMap<(u16, Option<ZoneId>), Capacity> {
        let mut all: BTreeMap<_, Capacity> = BTreeMap::new();
        for entry in self.members.iter().filter(|entry| !entry.zero_weight()) {
            let zone = zone_of(entry).filter(|_| by_zone);
            let place = all.entry((entry.spec.tier, zone)).or_default();
            place.add(self.capacity(entry, now));
        }
        all
    }

    /// Shares the exchanges out among the tiers, from here on. Cost: members, where there are several tiers.
    pub(super) fn share_out(&mut self, now: Instant) {
        if let Some(only) = self.tiers.only() {
            // It has all of them while anybody of it may be picked.
            let share = f64::from(u8::from(self.footing.tier.is_some()));
            self.footing.last = self.footing.tier;
            self.sharing.tiers = vec![(only, share)];
            return;
        }
        let capacities = self.capacities(false, now);
        let factor = self.settings.overprovision.factor();
        // Where too few are healthy, tiers share nothing.
        let believed = self.footing.tier.is_some();
        let health = |one: &Capacity| if believed { one.health(factor) } else { 0.0 };
        let health: Vec<f64> = capacities.values().map(health).collect();
        let tiers = capacities.keys().map(|(tier, _)| *tier);
        let tiers: Vec<(u16, f64)> = tiers.zip(shares::loads(&health)).collect();
        if self.footing.tier.is_some() {
            let has_share = |&&(_, share): &&(u16, f64)| share > 0.0;
            let last = tiers.iter().rfind(has_share).map(|(tier, _)| *tier);
            self.footing.last = last.max(self.footing.tier);
        }
        if tiers.len() > 1 {
            let picked = &mut self.sharing.picked;
            for (tier, _) in &tiers {
                if picked.len() < COUNTED {
                    picked.entry(*tier).or_default();
                }
            }
        }
        self.sharing.tiers = tiers;
    }

    /// Whether the table has parts: those who serve stand in tiers, or zones are heeded. Who fails open asks for neither.
    pub(super) fn is_parted(&self) -> bool {
        let several = self.sharing.tiers.len() > 1 || self.settings.zones.is_some();
        several && self.footing.tier.is_some()
    }

    /// In this order lanes stand in runs: by tier, then zone, then as configured.
    pub(super) fn in_runs(&self, members: &mut [usize]) {
        let by_zone = self.settings.zones.is_some();
        members.sort_by_key(|&at| {
            let entry = &self.members[at];
            (entry.spec.tier, zone_of(entry).filter(|_| by_zone))
        });
    }

    /// The parts of a table with these lanes, which stand in runs; `members` has the member of each.
    pub(super) fn parts(
        &mut self,
        members: &[usize],
        lanes: &[Lane],
        prepared: &Prepared,
        before: Option<&Table>,
        now: Instant,
    ) -> Parts {
        self.sharing.parted = true;
        // Before the first table that has parts is published: who reads it looks at this behind it.
        self.facts.flags.set(Flags::PARTS, true);
        let make = Make {
            ledger: &*self,
            members,
            lanes,
            prepared,
            before: before.and_then(|before| before.parts.as_ref()),
            zones: self.settings.zones.as_ref(),
            capacities: match self.settings.zones {
                Some(_) => self.capacities(true, now),
                None => BTreeMap::new(),
            },
        };
        make.parts()
    }

    /// The table to be published has none.
    pub(super) fn no_parts(&mut self) {
        self.sharing.parted = false;
    }

    /// Once nobody reads a table with parts any more, picks need not look for them. To be called behind publication.
    pub(crate) fn parts_left(&self) {
        let flags = &self.facts.flags;
        let has = |table: &Arc<Table>| table.parts.is_some();
        if flags.has(Flags::PARTS) && !self.sharing.parted && !self.retired.iter().any(has) {
            flags.set(Flags::PARTS, false);
        }
    }

    /// What weights are multiplied by, so that members of a tier whose weights come to this get its share together.
    pub(super) fn scale(&mut self, tiers: &BTreeMap<u16, f64>) {
        let sharing = &self.sharing;
        let scale =
            |(&tier, &sum): (&u16, &f64)| (sum > 0.0).then(|| (tier, sharing.of(tier) / sum));
        self.sharing.scales = match sharing.tiers.len() {
            0 | 1 => BTreeMap::new(),
            _ => tiers.iter().filter_map(scale).collect(),
        };
    }

    pub(super) fn scale_of(&self, tier: u16) -> f64 {
        match self.sharing.tiers.len() {
            0 | 1 => 1.0,
            _ => self.sharing.scales.get(&tier).copied().unwrap_or_default(),
        }
    }

    /// The tiers that are counted, in order.
    pub(super) fn tier_snapshots(&self) -> Vec<TierSnapshot> {
        let counted = self.sharing.picked.iter();
        let seen = counted.map(|(&tier, picked)| TierSnapshot {
            tier,
            share: self.sharing.of(tier),
            picked: picked.0.load(Ordering::Relaxed),
        });
        seen.collect()
    }
}

/// The making of parts.
struct Make<'l> {
    ledger: &'l Ledger,
    members: &'l [usize],
    lanes: &'l [Lane],
    prepared: &'l Prepared,
    before: Option<&'l Parts>,
    zones: Option<&'l ZoneSettings>,
    capacities: BTreeMap<(u16, Option<ZoneId>), Capacity>,
}

impl Make<'_> {
    fn parts(&self) -> Parts {
        let runs = self.runs(0..self.lanes.len(), |entry| entry.spec.tier);
        let sharing = &self.ledger.sharing;
        // Tiers that have a share have a lane; those that have none draw nothing, wherever they stand.
        let loads: Vec<f64> = runs.iter().map(|(tier, _)| sharing.of(*tier)).collect();
        let bounds = shares::bounds(&loads);
        let tiers = runs.into_iter().zip(bounds).map(|((tier, run), up_to)| {
            let first = sharing.tiers.first();
            Tier {
                tier,
                is_behind: first.is_some_and(|(first, _)| *first < tier),
                up_to,
                zones: self.zone_parts(tier, run.clone()),
                whole: self.part(tier, None, run),
                picked: sharing.picked.get(&tier).cloned(),
            }
        });
        let tiers: Box<[Tier]> = tiers.collect();
        Parts {
            apart: self.apart(&tiers),
            tiers,
            zones: self.zones.map(|zones| Zones {
                local: zones.local.clone(),
            }),
        }
    }

    /// The lanes of those on trial to whom no part leads. In the order in which these stand behind the others.
    fn apart(&self, tiers: &[Tier]) -> Box<[usize]> {
        let on_trial = |entry: &&Entry| self.ledger.admitted(entry) == Admission::Trial;
        let leads = |entry: &Entry| {
            let tier = tiers.iter().find(|tier| tier.tier == entry.spec.tier);
            let zone = |tier: &Tier| tier.zones.iter().any(|zone| zone.zone == zone_of(entry));
            tier.is_some_and(|tier| self.zones.is_none() || zone(tier))
        };
        let on_trial = self.ledger.members.iter().filter(on_trial);
        let placed = (self.lanes.len()..).zip(on_trial);
        let apart = placed.filter(|(_, entry)| !leads(entry));
        apart.map(|(lane, _)| lane).collect()
    }

    /// Where lanes of the same kind stand.
    fn runs<K: PartialEq>(
        &self,
        within: Range<usize>,
        kind: impl Fn(&Entry) -> K,
    ) -> Vec<(K, Range<usize>)> {
        let mut runs: Vec<(K, Range<usize>)> = Vec::new();
        for lane in within {
            let kind = kind(&self.ledger.members[self.members[lane]]);
            match runs.last_mut() {
                Some((last, run)) if *last == kind => run.end = lane + 1,
                _ => runs.push((kind, lane..lane + 1)),
            }
        }
        runs
    }

    fn zone_parts(&self, tier: u16, within: Range<usize>) -> Box<[ZonePart]> {
        let Some(settings) = self.zones else {
            return Box::default();
        };
        let least = usize::try_from(settings.min_backends).unwrap_or(usize::MAX);
        let factor = self.ledger.settings.overprovision.factor();
        let zones = self.runs(within, zone_of).into_iter();
        let part = |(zone, run): (Option<ZoneId>, Range<usize>)| {
            let capacity = self.capacities.get(&(tier, zone)).copied();
            ZonePart {
                zone,
                keeps: shares::parts(capacity.unwrap_or_default().health(factor)),
                few: run.len() < least,
                weight: self.share(&run),
                part: self.part(tier, Some(zone), run),
            }
        };
        zones.map(part).collect()
    }

    fn share(&self, run: &Range<usize>) -> f64 {
        let lanes = self.lanes[run.clone()].iter();
        lanes.map(|lane| f64::from(lane.share)).sum()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a factor, of fewer lanes than 24 bits count"
    )]
    fn part(&self, tier: u16, zone: Option<Option<ZoneId>>, run: Range<usize>) -> Part {
        let lanes = &self.lanes[run.clone()];
        // Lanes are compared with the mean of their tier: any of them says what that is.
        let mean = |lane: &Lane| f64::from(lane.share) * f64::from(lane.per_share);
        let of_tier = lanes.first().map_or(1.0, mean);
        let own = self.share(&run) / lanes.len().max(1) as f64;
        Part {
            from: run.start,
            to: run.end,
            tier,
            zone,
            scale: (own / of_tier) as f32,
            prepared: match self.prepared {
                // Made of all members, and of no lane: who is elsewhere is stepped over.
                Prepared::Hash(hash) => Prepared::Hash(hash.clone()),
                _ => Prepared::new(&self.ledger.settings.policy, lanes, &[], None),
            },
            turn: self.turn(tier, zone),
        }
    }

    /// A rotation goes on where it stood.
    fn turn(&self, tier: u16, zone: Option<Option<ZoneId>>) -> StdArc<OwnLine<AtomicU64>> {
        let before = self.before.and_then(|before| before.tier(tier));
        let part = before.and_then(|tier| match zone {
            None => Some(&tier.whole),
            Some(zone) => {
                let found = tier.zones.iter().find(|one| one.zone == zone);
                found.map(|one| &one.part)
            }
        });
        part.map(|part| part.turn.clone()).unwrap_or_default()
    }
}
