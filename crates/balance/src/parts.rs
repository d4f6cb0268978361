//! Owns the parts of a published table, where a service has tiers or zones: which part an ask goes to, and where it goes on when
//! nobody there can be had.
//!
//! ```text
//! tier drawn by coin ----> zone that is preferred, or others by weight ----> all of the tier ----> the next tier, ... , the first
//! ```
//! A part is a run of lanes with a policy of its own, so every policy chooses within it as it would in a service of these alone. The
//! coin is made of the key where keys choose, so that a key keeps its tier and zone while shares stand, else of chance; it is never
//! the word that the policy draws with. A table without parts never comes here: `Flags::PARTS` says so. Shares are made at
//! publication (`membership/parted`). Read next: `choice`.

use std::sync::Arc as StdArc;

use crate::ask::Ask;
use crate::choice::{self, Taken};
use crate::facts::{Facts, OwnLine};
use crate::hashing;
use crate::pick::Refusal;
use crate::policy::{Candidates, Prepared, Turn, unit};
use crate::shares::WHOLE;
use crate::spill::Spill;
use crate::sync::{AtomicU64, Ordering};
use crate::table::{Member, Table};
use crate::time::Instant;
use crate::zone::{Zone, ZoneId};

/// Keeps a tier's coin apart from what chooses the backend: "tier" in ASCII.
const TIER: u64 = 0x7469_6572;

/// The same of a zone's.
const ZONE: u64 = 0x7a6f_6e65;

/// So many tiers of a service are counted, each for itself; the picks of further ones are not counted by tier.
pub(crate) const COUNTED: usize = 16;

/// How a table is parted.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Those that have a lane, in order.
    pub(crate) tiers: Box<[Tier]>,
    /// None: zones are not heeded.
    pub(crate) zones: Option<Zones>,
    /// On trial, where nobody of their tier and zone has a lane: no coin falls there, so no key would ever try them.
    pub(crate) apart: Box<[usize]>,
}

/// How zones are heeded.
#[derive(Debug)]
pub(crate) struct Zones {
    /// The zone of who prefers none.
    pub(crate) local: Option<Zone>,
}

/// One tier.
#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) tier: u16,
    /// A tier before it has members of some weight.
    pub(crate) is_behind: bool,
    /// Coins below this go here, or before.
    pub(crate) up_to: u64,
    pub(crate) whole: Part,
    /// In the order of their lanes; empty where zones are not heeded.
    pub(crate) zones: Box<[ZonePart]>,
    /// Of picks. None: so many tiers are counted already.
    pub(crate) picked: Option<StdArc<OwnLine<AtomicU64>>>,
}

/// The lanes of one zone in one tier.
#[derive(Debug)]
pub(crate) struct ZonePart {
    /// None: of backends that have none.
    pub(crate) zone: Option<ZoneId>,
    /// Who prefers it stays with coins below this.
    pub(crate) keeps: u64,
    /// It has fewer backends than it must, and keeps nobody.
    pub(crate) few: bool,
    /// Of those that spill over from other zones.
    pub(crate) weight: f64,
    pub(crate) part: Part,
}

/// A run of lanes, and who chooses among them.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) tier: u16,
    /// None: all of them.
    pub(crate) zone: Option<Option<ZoneId>>,
    /// Its mean share by that of its tier, which lanes are compared with.
    pub(crate) scale: f32,
    pub(crate) prepared: Prepared,
    /// Where its rotation stands. Of all workers: each of them sees few of its turns.
    pub(crate) turn: StdArc<OwnLine<AtomicU64>>,
}

impl Part {
    /// Whether a member that has no lane, being half-open, would have it here.
    pub(crate) fn holds(&self, member: &Member) -> bool {
        let zone = member.zone.as_ref().map(Zone::id);
        member.tier == self.tier && self.zone.is_none_or(|of| of == zone)
    }
}

/// A part that an ask comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'t> {
    pub(crate) tier: &'t Tier,
    pub(crate) part: &'t Part,
    /// It is in the tier that was drawn.
    pub(crate) drawn: bool,
    /// What it says of a preferred zone.
    pub(crate) zone: Option<Spill>,
}

impl Step<'_> {
    /// What a pick here is, of tiers.
    pub(crate) fn tier_spill(&self) -> Option<Spill> {
        match (self.tier.is_behind, self.drawn) {
            (false, _) => None,
            (true, true) => Some(Spill::TierHealth),
            (true, false) => Some(Spill::TierFull),
        }
    }

    #[inline]
    fn count(&self, facts: &Facts) {
        if let Some(picked) = &self.tier.picked {
            picked.0.fetch_add(1, Ordering::Relaxed);
        }
        for spill in [self.tier_spill(), self.zone].into_iter().flatten() {
            facts.spills.0.count(spill);
        }
    }
}

/// How far an ask goes for somebody whom it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Through all parts.
    All,
    /// Not beyond the part that is drawn: who is kept where it comes to is to be kept where its exchanges belong.
    Drawn,
}

/// The parts that an ask tries, one after the other: each tier is among them whole, so who finds nobody here finds nobody.
#[derive(Debug)]
pub(crate) struct Way<'t> {
    parts: &'t Parts,
    coin: u64,
    preferred: Option<ZoneId>,
    first: usize,
    behind: usize,
    /// In the tier where it stands: what became of the preferred zone. None: it was not asked.
    zoned: Option<Spill>,
}

impl Parts {
    /// The way of this ask, as this coin says.
    pub(crate) fn way<'t>(&'t self, ask: &Ask<'_>, coin: u64) -> Way<'t> {
        let drawn = hashing::mix(coin, TIER) >> 32;
        let place = self.tiers.iter().position(|tier| drawn < tier.up_to);
        Way {
            coin,
            preferred: self.preferred(ask),
            first: place.unwrap_or(0),
            behind: 0,
            zoned: None,
            parts: self,
        }
    }

    /// The zone that this ask prefers.
    pub(crate) fn preferred(&self, ask: &Ask<'_>) -> Option<ZoneId> {
        let zones = self.zones.as_ref()?;
        ask.zone.or_else(|| zones.local.as_ref().map(Zone::id))
    }

    /// Each tier with its share.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^32")]
    pub(crate) fn shares(&self) -> Vec<(u16, f64)> {
        let mut before = 0;
        let share = |tier: &Tier| {
            let part = tier.up_to - std::mem::replace(&mut before, tier.up_to);
            (tier.tier, part as f64 / WHOLE as f64)
        };
        self.tiers.iter().map(share).collect()
    }

    /// The tier of this number.
    pub(crate) fn tier(&self, tier: u16) -> Option<&Tier> {
        self.tiers.iter().find(|one| one.tier == tier)
    }
}

impl Tier {
    /// The lanes of a zone.
    pub(crate) fn zone(&self, zone: ZoneId) -> Option<&ZonePart> {
        self.zones.iter().find(|one| one.zone == Some(zone))
    }

    /// Where who prefers this zone goes first: there, or elsewhere by weight. None: to all of the tier.
    fn zone_for(&self, zone: ZoneId, coin: u64) -> (Option<&ZonePart>, Spill) {
        let Some(own) = self.zone(zone) else {
            return (None, Spill::ZoneNobody);
        };
        if own.few {
            return (None, Spill::ZoneFew);
        }
        if hashing::mix(coin, ZONE) >> 32 < own.keeps {
            return (Some(own), Spill::ZoneKept);
        }
        let others = || self.zones.iter().filter(|one| one.zone != Some(zone));
        let total: f64 = others().map(|one| one.weight).sum();
        // With a coin of its own: the one above has said that it is a high one.
        let mut left = unit(hashing::mix(coin, ZONE + 1)) * total;
        let mut drawn = None;
        for one in others() {
            drawn = Some(one);
            left -= one.weight;
            if left < 0.0 {
                break;
            }
        }
        match drawn {
            Some(other) => (Some(other), Spill::ZoneShare),
            // There is no other one to go to.
            None => (Some(own), Spill::ZoneKept),
        }
    }
}

impl<'t> Iterator for Way<'t> {
    type Item = Step<'t>;

    fn next(&mut self) -> Option<Step<'t>> {
        let tiers = &self.parts.tiers;
        if self.behind >= tiers.len() {
            return None;
        }
        // From the one that was drawn to the last, then from the first on.
        let at = (self.first + self.behind) % tiers.len();
        let tier = tiers.get(at)?;
        let step = |part, zone| Step {
            tier,
            part,
            drawn: at == self.first,
            zone,
        };
        if let (None, Some(preferred)) = (self.zoned, self.preferred) {
            let (zone, said) = tier.zone_for(preferred, self.coin);
            if let Some(zone) = zone {
                self.zoned = Some(said);
                return Some(step(&zone.part, Some(said)));
            }
            self.behind += 1;
            return Some(step(&tier.whole, Some(said)));
        }
        // Nobody of the zone that was drawn could be had.
        let zone = self.zoned.take().map(|_| Spill::ZoneFull);
        self.behind += 1;
        Some(step(&tier.whole, zone))
    }
}

/// What draws for an ask: its key, where keys choose.
fn coin(table: &Table, ask: &Ask<'_>) -> u64 {
    let key = ask.key.filter(|_| table.prepared.keyed());
    key.unwrap_or(ask.chance)
}

/// Chooses and charges, part by part.
pub(crate) fn take(
    parts: &Parts,
    table: &Table,
    facts: &Facts,
    ask: &Ask<'_>,
    reach: Reach,
    now: Instant,
) -> Result<Taken, Refusal> {
    let coin = coin(table, ask);
    let (coin, most) = match reach {
        Reach::All => (coin, usize::MAX),
        // Where it is known by a hash, that has drawn where it belongs.
        Reach::Drawn => (ask.client.unwrap_or(coin), 1),
    };
    for step in parts.way(ask, coin).take(most) {
        let turn = Turn::Shared(&step.part.turn.0);
        let view = Candidates::of_part(table, step.part, ask, turn);
        if let Some(taken) = choice::take_of(table, &step.part.prepared, facts, &view, ask, now) {
            // A trial is of whoever is half-open, wherever that one stands.
            if taken.trial.is_none() {
                step.count(facts);
            }
            return Ok(taken);
        }
    }
    Err(match reach {
        Reach::All => choice::refusal(table, ask),
        // Whoever is beyond is not asked how it is.
        Reach::Drawn => Refusal::AllTried,
    })
}

/// The same, charging nothing: the lane, and the step that found it; where nobody is found, the first step alone.
pub(crate) fn look<'t>(
    parts: &'t Parts,
    table: &Table,
    facts: &Facts,
    ask: &Ask<'_>,
    now: Instant,
) -> (Option<usize>, Option<Step<'t>>) {
    let mut way = parts.way(ask, coin(table, ask));
    let first = way.next();
    for step in first.into_iter().chain(way) {
        let view = Candidates::peek_part(table, step.part, ask);
        let broke = facts.policy_broke();
        let found = choice::choose(table, &step.part.prepared, facts, &view, ask, broke, now);
        if let Some(index) = found {
            return (Some(view.global(index)), Some(step));
        }
    }
    (None, first)
}
