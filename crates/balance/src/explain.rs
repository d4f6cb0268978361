//! Owns the answer to "where would this go, and why": the same code as a pick, stopped before the charge.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc as StdArc;

use crate::affinity::{self, Lost};
use crate::ask::Ask;
use crate::backend::BackendId;
use crate::choice;
use crate::eligibility::{self, Admission, Bar, Rung};
use crate::facts::{Facts, Flags};
use crate::learn::speed::Learned;
use crate::load::LoadShare;
use crate::parts::{self, Parts, Step};
use crate::pick::Refusal;
use crate::policy::{Candidates, Turn};
use crate::settings::QueueSettings;
use crate::shares::WHOLE;
use crate::spill::Spill;
use crate::standing::Standing;
use crate::table::{Member, Table};
use crate::time::Instant;
use crate::zone::{Zone, ZoneId};

/// What a pick would do, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The policy's word.
    pub policy: StdArc<str>,
    /// On which rung of the ladder the service stands.
    pub rung: Rung,
    /// The first tier that serves; none: no backend is healthy, or too few are.
    pub tier: Option<u16>,
    /// The tiers of whom somebody could be picked, with the share that each gets; none: the service has one tier and heeds no zones, or
    /// none is healthy.
    pub tiers: Vec<(u16, f64)>,
    /// Where among them the ask comes to: where it is served, or was to be first; none as above, or its client is kept.
    pub place: Option<Place>,
    /// Who would be picked, or why nobody.
    pub result: Result<BackendId, Refusal>,
    /// Who waits and how many may, where the service has a queue: one that is refused with
    /// [`Refusal::AllFull`] would wait there.
    pub queue: Option<(usize, QueueSettings)>,
    /// Whether it would be a trial of a half-open breaker.
    pub trial: bool,
    /// Whether a client that is kept stays there, or why not; none: it is not kept, or the service has no affinity.
    pub kept: Option<Result<(), Lost>>,
    /// Every member, in the order of configuration; or of more than were asked for, who would be picked and those around it.
    pub candidates: Vec<Candidate>,
    /// How many members there are.
    pub members: usize,
}

/// Where among tiers and zones an ask comes to, and why there.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The tier.
    pub tier: u16,
    /// Why it is not the first one.
    pub tier_spill: Option<Spill>,
    /// The zone that is preferred; none: zones are not heeded, or the ask prefers none.
    pub preferred: Option<ZoneId>,
    /// The part of those who prefer it that this zone keeps in this tier, 0 to 1; none: none of its backends serves there.
    pub keeps: Option<f64>,
    /// Whether it serves, or why not.
    pub zone_spill: Option<Spill>,
}

/// One member in an explanation.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which.
    pub id: BackendId,
    /// Its standing.
    pub standing: Standing,
    /// Its tier.
    pub tier: u16,
    /// Its zone, where zones are heeded.
    pub zone: Option<Zone>,
    /// Why it may not be picked; none: it may.
    pub bar: Option<Bar>,
    /// What the policy holds against it, lower is better; none where it does not compare.
    pub score: Option<f64>,
    /// Weight times ramp, and times what the policy makes of it; 0 for those that may not be picked.
    pub share: f32,
    /// Of that, what its reports make of it, and why; none where the policy goes by none.
    pub load: Option<LoadShare>,
    /// Attempts under way.
    pub in_flight: u32,
    /// The limit on them that follows its latency, where that is the one that holds.
    pub adaptive_limit: Option<u32>,
    /// What traffic taught of it.
    pub learned: Learned,
}

/// `turn` is what the policy's own turns would go on from; `most` bounds the candidates. Cost: each candidate, and a look at each member.
pub(crate) fn explain(
    table: &Table,
    facts: &Facts,
    ask: &Ask<'_>,
    (turn, most): (u64, usize),
    now: Instant,
) -> Explanation {
    let full = facts.flags.has(Flags::PLACES) && facts.places.0.taken() >= table.most;
    let kept = ask
        .kept
        .map(|identity| affinity::lane(table, identity, ask, now));
    let view = Candidates::new(table, ask, Turn::Peek(Cell::new(turn)));
    let (chosen, step) = match (affinity::settled(table, ask, now), &table.parts) {
        (Ok(lane), _) => (Some(lane), None),
        (Err(_), Some(parts)) => parts::look(parts, table, facts, ask, now),
        (Err(_), None) => {
            let (prepared, broke) = (&table.prepared, facts.policy_broke());
            let chosen = choice::choose(table, prepared, facts, &view, ask, broke, now);
            (chosen, None)
        }
    };
    let chosen = chosen.filter(|_| !full);
    Explanation {
        policy: table.policy.clone(),
        rung: table.footing.rung,
        tier: table.footing.tier,
        tiers: table.parts.as_ref().map_or_else(Vec::new, Parts::shares),
        place: step.map(|step| place(table, &step, ask)),
        result: chosen
            .map(|index| table.lane(index).backend.id().clone())
            .ok_or_else(|| match full {
                true => choice::refusal_full(table, ask),
                false => choice::refusal(table, ask),
            }),
        queue: table
            .queue
            .map(|queue| (facts.queue.snapshot().waiting, queue)),
        trial: chosen.is_some_and(|index| {
            (table.lanes.len()..table.lanes.len() + table.trials).contains(&index)
        }),
        kept: kept.map(|lane| lane.map(|_| ())),
        candidates: around(table, chosen, most)
            .iter()
            .map(|member| candidate(table, (&view, step.as_ref()), member, ask))
            .collect(),
        members: table.members.len(),
    }
}

/// So many members, among them the one of this lane.
fn around(table: &Table, lane: Option<usize>, most: usize) -> &[Member] {
    let members = &table.members;
    if members.len() <= most {
        return members;
    }
    let is_it = |lane: usize| {
        let backend = &*table.lane(lane).backend;
        members
            .iter()
            .position(|one| ptr::eq(&*one.backend, backend))
    };
    let at = lane.and_then(is_it).unwrap_or(0);
    let first = at.saturating_sub(most / 2).min(members.len() - most);
    &members[first..first + most]
}

#[expect(clippy::cast_precision_loss, reason = "at most 2^32")]
fn place(table: &Table, step: &Step<'_>, ask: &Ask<'_>) -> Place {
    let parts = table.parts.as_ref();
    let preferred = parts.and_then(|parts| parts.preferred(ask));
    let zone = preferred.and_then(|preferred| step.tier.zone(preferred));
    Place {
        tier: step.tier.tier,
        tier_spill: step.tier_spill(),
        preferred,
        keeps: zone.map(|zone| match zone.few {
            true => 0.0,
            false => zone.keeps as f64 / WHOLE as f64,
        }),
        zone_spill: step.zone,
    }
}

/// What the policy of its own tier, or of all, holds against it.
fn score(table: &Table, view: &Candidates<'_>, member: &Member, ask: &Ask<'_>) -> Option<f64> {
    let lane = usize::try_from(member.lane).ok()?;
    let Some(parts) = &table.parts else {
        return table.prepared.score(view, lane, ask);
    };
    let part = &parts.tier(member.tier)?.whole;
    let view = Candidates::peek_part(table, part, ask);
    part.prepared.score(&view, view.local(lane), ask)
}

fn candidate(
    table: &Table,
    (view, step): (&Candidates<'_>, Option<&Step<'_>>),
    member: &Member,
    ask: &Ask<'_>,
) -> Candidate {
    let index = usize::try_from(member.lane).unwrap_or(usize::MAX);
    let comes_here = step.is_some_and(|step| step.tier.tier == member.tier);
    let bar = match member.admission {
        Admission::Barred(bar) => Some(bar),
        Admission::Reserve if !comes_here => Some(Bar::Standby),
        Admission::Reserve | Admission::Lane => eligibility::bar(table.lane(index), ask),
        Admission::Trial => {
            eligibility::bar(table.lane(index), ask)
                .or((!member.backend.trials.available()).then_some(Bar::NoTrialLeft))
        }
    };
    let admitted = !matches!(member.admission, Admission::Barred(_));
    Candidate {
        id: member.backend.id().clone(),
        standing: member.standing,
        tier: member.tier,
        zone: member.zone.clone(),
        bar,
        score: if bar.is_none() {
            score(table, view, member, ask)
        } else {
            None
        },
        share: if admitted {
            table.lane(index).share
        } else {
            0.0
        },
        load: member.load,
        in_flight: member.backend.in_flight(),
        adaptive_limit: (admitted && table.lane(index).limit < member.configured)
            .then(|| table.lane(index).limit),
        learned: member.backend.learned(),
    }
}
