//! Owns the answer to "where would this go, and why": the same code as a pick, stopped before the charge.

use std::cell::Cell;
use std::sync::Arc as StdArc;

use crate::affinity::{self, Lost};
use crate::ask::Ask;
use crate::backend::BackendId;
use crate::choice;
use crate::eligibility::{self, Admission, Bar, Rung};
use crate::facts::{Facts, Flags};
use crate::learn::speed::Learned;
use crate::load::LoadShare;
use crate::pick::Refusal;
use crate::policy::{Candidates, Turn};
use crate::settings::QueueSettings;
use crate::standing::Standing;
use crate::sync::Ordering;
use crate::table::{Member, Table};
use crate::time::Instant;

/// What a pick would do, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The policy's word.
    pub policy: StdArc<str>,
    /// On which rung of the ladder the service stands.
    pub rung: Rung,
    /// The tier that serves, those behind it standing by; none: no tier is healthy.
    pub tier: Option<u16>,
    /// Who would be picked, or why nobody.
    pub result: Result<BackendId, Refusal>,
    /// Who waits and how many may, where the service has a queue: one that is refused with
    /// [`Refusal::AllFull`] would wait there.
    pub queue: Option<(usize, QueueSettings)>,
    /// Whether it would be a trial of a half-open breaker.
    pub trial: bool,
    /// Whether a client that is kept stays there, or why not; none: it is not kept, or the service has no affinity.
    pub kept: Option<Result<(), Lost>>,
    /// Every member, in the order of configuration.
    pub candidates: Vec<Candidate>,
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

pub(crate) fn explain(table: &Table, facts: &Facts, ask: &Ask<'_>, now: Instant) -> Explanation {
    let turn = Turn::Peek(Cell::new(facts.turn.0.load(Ordering::Relaxed)));
    let view = Candidates::new(table, ask, turn);
    let full = facts.flags.has(Flags::PLACES) && facts.places.0.taken() >= table.most;
    let kept = ask
        .kept
        .map(|identity| affinity::lane(table, identity, ask, now));
    let chosen = affinity::settled(table, ask, now).ok();
    let chosen =
        chosen.or_else(|| choice::choose(table, facts, &view, ask, facts.policy_broke(), now));
    let chosen = chosen.filter(|_| !full);
    Explanation {
        policy: table.policy.clone(),
        rung: table.footing.rung,
        tier: table.footing.tier,
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
        candidates: table
            .members
            .iter()
            .map(|member| candidate(table, &view, member, ask))
            .collect(),
    }
}

fn candidate(table: &Table, view: &Candidates<'_>, member: &Member, ask: &Ask<'_>) -> Candidate {
    let index = usize::try_from(member.lane).unwrap_or(usize::MAX);
    let bar = match member.admission {
        Admission::Barred(bar) => Some(bar),
        Admission::Lane => eligibility::bar(table.lane(index), ask),
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
        bar,
        score: if bar.is_none() {
            table.prepared.score(view, index, ask)
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
